"""A saved index of made-up documents and random weights, of any size, without training; and documents to add to it.

All but the number of documents is that of configs/demo.yaml, and the tokenizer is the same for every size.
"""

import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from bench_million import blocks, vocabulary
from torch.nn import functional

from dsi.artifacts import WORK, write_json
from dsi.config import Config, load_config
from dsi.corpus.store import DOCUMENTS, Corpus, Document, write_rows
from dsi.doc2query.shards import write_shard
from dsi.docids.atomic import Atomic
from dsi.docids.store import Docids, write_docids
from dsi.index.files import files_below, state_of
from dsi.index.growth import GENERATOR_FILE, REPLAY, SETTINGS, Growth, write_tensors, write_words
from dsi.index.saved import ALSO_THERE, CLASS, CONFIG_FILE, FORMAT
from dsi.lexical.index_terms import index_terms
from dsi.model.build import DocidShape, build_model
from dsi.model.document_states import StateEncoder
from dsi.runtime.new_folder import new_folder
from dsi.search.lexical_prior import CHOICE
from dsi.tokenizer import tokenize

DEMO = Path(__file__).parents[1] / "configs/demo.yaml"
SAMPLE = 10_000
"""The number of documents that the tokenizer is trained on."""
REPLAYED = 500
"""The number of documents whose synthetic queries make the centre."""
BEST = 150
"""The number of output rows that are near the states of queries: more than the beam of a search."""


def made_up_index(runs: Path, documents: int) -> Path:
    """The folder of a saved index of so many documents below `runs`, made if it is not there yet."""
    folder = runs / f"made-up-{documents}"
    if not folder.exists():
        with new_folder(folder) as partial:
            _write(partial, documents, load_config(DEMO))
    return folder


def documents_to_add(count: int, turn: int = 0) -> list[Document]:
    """Documents of the same kind, each with a word of its own in its title, which no other turn has."""
    words, random = vocabulary(), np.random.default_rng([4, turn])
    _, titles, texts = next(blocks(SAMPLE))
    texts = random.permuted(texts[:count], axis=0)  # a word stays in its place and comes from another document
    return [
        Document(f"a{turn}-{number}", " ".join([f"x{turn}x{number}", *words[title]]), " ".join(words[text]))
        for number, (title, text) in enumerate(zip(titles, texts, strict=False))
    ]


def _made_up(documents: int) -> Iterator[Document]:
    """So many documents in order."""
    words = vocabulary()
    for start, titles, texts in blocks(documents):
        for number, title, text in zip(range(start, start + len(texts)), titles, texts, strict=True):
            yield Document(f"d{number}", " ".join(words[title]), " ".join(words[text]))


def _write(folder: Path, documents: int, config: Config) -> None:
    names = ("corpus", "tokenizer", "docids", "prior", "growth", "lexical", "sample")
    corpus_folder, tokenizer, docids_folder, prior, growth, lexical, sample = (folder / name for name in names)
    for each in (corpus_folder, tokenizer, docids_folder, prior, growth, lexical, sample):
        each.mkdir()
    write_rows(sample / DOCUMENTS, Document, islice(_made_up(SAMPLE), SAMPLE))
    tokenize(tokenizer, tokenizer=config.tokenizer, checkpoint=None, corpus_folder=sample)
    shutil.rmtree(sample)
    write_rows(corpus_folder / DOCUMENTS, Document, _made_up(documents))
    corpus = Corpus(corpus_folder)
    _, vocabulary_, codes = Atomic.assign(config.docids, corpus, None, None)
    write_docids(docids_folder, vocabulary_, codes)
    docids = Docids(docids_folder)
    index_terms(lexical, language=config.corpus.language, corpus_folder=corpus_folder)
    shutil.rmtree(lexical / WORK)
    for lock in lexical.rglob(".tantivy*"):
        lock.unlink()
    search = config.search
    write_json(prior / CHOICE, {"prior": search.prior, "ranking": search.ranking, "weight": 1.0, "epsilon": 0.01})
    drawn = config.doc2query.model_dump(mode="json", include={"known_item", "t5", "seed"})
    write_json(growth / GENERATOR_FILE, {**drawn, "documents": documents, "predictions": False})
    sections = {name: getattr(config, name).model_dump(mode="json") for name in ("model", "training", "docids")}
    write_json(growth / SETTINGS, {**sections, "states_added": False})
    write_words(growth, corpus)
    draw = Growth(growth, corpus).known_item
    assert draw is not None
    queries = draw([*islice(corpus, REPLAYED)], np.random.default_rng(0))
    write_shard(growth / REPLAY, 0, queries)
    model = build_model(config.model, tokenizer, 0, DocidShape.of(docids, config.model.head))
    states = StateEncoder(model, tokenizer, config.model.query_length)(queries[0])
    with torch.no_grad():  # a few rows are the best, so that rounded ones prove it, as of a trained model
        near = functional.normalize(torch.from_numpy(states.mean(axis=0)), dim=0)
        model.docid_head.weight[:: -(-documents // BEST)] += near
    model.save_pretrained(folder / "model")
    write_tensors(growth, model, docids, corpus, tokenizer, config.model)
    write_json(
        folder / CONFIG_FILE,
        {
            "class": CLASS,
            "format": FORMAT,
            "documents": documents,
            "include_documents": True,
            "search": search.model_dump(mode="json"),
            "licences": {},
            "files": {name: state_of(path) for name, path in files_below(folder, ALSO_THERE)},
        },
    )
