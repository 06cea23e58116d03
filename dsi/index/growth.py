"""What an index keeps for documents that come later, in the folder `growth` of a saved one.

rows.safetensors   state_centre, query_centre (d_model,): the mean state of documents, and of synthetic queries, by
                   which later ones are centred; row_centre (d_model,): the mean output row of a document; row_length
                   (1,): the length of an added one without the centre; not of heads without rows for documents
generator.json     how synthetic queries were drawn, and of how many documents the words were counted
settings.json      the sections model, training and docids by which the index was made, and whether document states
                   are in its rows
words.parquet      the number of documents that each word is in, by bin (see dsi.corpus.known_item)
replay.parquet     doc_index, text: a sample of the synthetic queries, to learn beside those of new documents; all of
                   them where the words of a prior are theirs too
untrained.npy      the row numbers of the documents that were added since the model was trained, if any were
embeddings/        what gives a later document the vector that its docid is found by, for docids that are clustered
generator/         the T5 that generated queries, unless it is on the hub

The centroids or codebooks that give a later document its docid are in the folder `docids`.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, compress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from dsi.artifacts import read_manifest, write_json
from dsi.config import CONFIG, Doc2QueryConfig, DocidsConfig, GeneratorConfig, ModelConfig, TrainingConfig, read_part
from dsi.corpus.known_item import BINS, Collection, KnownItemGenerator, read_collection, sampled_documents
from dsi.corpus.store import NO_DOCUMENTS, Corpus
from dsi.corpus.vectors import VECTORS, Encode
from dsi.corpus.words import words_of
from dsi.doc2query.shards import SCHEMA, count_queries, read_shard, shard_paths
from dsi.docids.store import Docids
from dsi.errors import DsiError
from dsi.index.files import copy_files
from dsi.index.parts import Parts
from dsi.index.row_strength import OtherQueries, strong_enough
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.build import open_index
from dsi.model.document_states import StateEncoder
from dsi.runtime.checkpoint_files import read_object
from dsi.runtime.device import compute_device
from dsi.runtime.progress import progress

STATES = 2_000
"""The number of documents, and of synthetic queries, evenly spaced, whose states make the centres."""
REPLAYED = 50_000
"""The most synthetic queries that are kept, beside those of `CALIBRATED` documents."""
CALIBRATED = 300
"""The number of documents by which the length of the rows of later ones is found."""
ROWS, GENERATOR_FILE, SETTINGS = "rows.safetensors", "generator.json", "settings.json"
WORDS, REPLAY = "words.parquet", "replay.parquet"
EMBEDDINGS, GENERATOR, UNTRAINED = "embeddings", "generator", "untrained.npy"


@dataclass(frozen=True)
class Growth:
    """Read access to the folder `growth` of a saved index."""

    folder: Path
    corpus: Corpus
    """The documents that the index was trained on."""

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """What is in `rows.safetensors`."""
        tensors: dict[str, Tensor] = load_file(self.folder / ROWS)
        return tensors

    def check(self) -> None:
        """See that all is there that later documents and an index written anew need; DsiError if not."""
        if not all((self.folder / name).is_file() for name in (SETTINGS, GENERATOR_FILE, REPLAY)):
            raise DsiError(
                f"{self.folder}: this index was saved by an older version, which kept less than documents added later"
                " need; export it again from its run"
            )

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What is in `settings.json`."""
        return read_object(self.folder / SETTINGS, "index")

    @property
    def states_added(self) -> bool:
        """Whether document states are in the output rows, which was better on dev queries of the training."""
        return bool(self.settings["states_added"])

    @property
    def model(self) -> ModelConfig:
        """The section of the model, whose weights and sizes are those of the index."""
        return ModelConfig(**{**self.settings["model"], "checkpoint": str(self.folder.parent / "model")})

    @property
    def training(self) -> TrainingConfig:
        return TrainingConfig(**self.settings["training"])

    @cached_property
    def drawn(self) -> dict[str, Any]:
        """What is in `generator.json`."""
        return read_object(self.folder / GENERATOR_FILE, "index")

    @cached_property
    def doc2query(self) -> Doc2QueryConfig:
        """How synthetic queries are drawn."""
        return Doc2QueryConfig(**{name: self.drawn[name] for name in ("known_item", "t5", "seed")})

    @cached_property
    def known_item(self) -> KnownItemGenerator | None:
        """The generator of known-item queries, with words counted as at first; None if the index was made without."""
        config = self.doc2query.known_item
        if not config.queries:
            return None
        counted = pq.read_table(self.folder / WORDS)
        frequencies = np.zeros(BINS, dtype=np.int32)
        frequencies[counted["bin"].to_numpy()] = counted["documents"].to_numpy()
        sample = pa.array([], pa.string())
        if config.noise:  # which is drawn from the words of some of the documents
            numbers = sampled_documents(len(self.corpus))
            words = (words_of(self.corpus[number].content(), pairs=True) for number in numbers)
            sample = pa.array(chain.from_iterable(words), pa.string())
        return KnownItemGenerator(config, Collection(frequencies, self.drawn["documents"], sample))

    @cached_property
    def encode(self) -> Encode | None:
        """What gives a later document its vector; None for docids that are not clustered.

        Raises:
            DsiError: the vectors of the training came from a file.
        """
        from dsi.embeddings.embed import encoder  # which loads scikit-learn, and few need it

        folder = self.folder / EMBEDDINGS
        return encoder(folder) if folder.is_dir() else None

    @property
    def untrained(self) -> NDArray[np.int64]:
        """The row numbers of the documents of this index that were added since its model was trained."""
        path = self.folder / UNTRAINED
        return np.load(path).astype(np.int64) if path.exists() else NO_DOCUMENTS

    def replay(self) -> tuple[NDArray[np.uint32], list[str]]:
        """The `doc_index` and the text of the synthetic queries that were kept."""
        return read_shard(self.folder / REPLAY)


def write_growth(folder: Path, parts: Parts) -> None:
    """Fill `folder` with what later documents need, from a run."""
    folder.mkdir(parents=True)
    corpus, config = Corpus(parts.corpus), parts.folder / CONFIG
    model_config = read_part(config, "model", ModelConfig)
    model = open_index(parts.folders.model).to(compute_device())
    _write_replay(folder / REPLAY, parts.folder / "doc2query", len(corpus), parts.indexes_queries)
    write_tensors(folder, model, Docids(parts.folders.docids), corpus, parts.folders.tokenizer, model_config)
    sections: dict[str, Any] = {
        "model": model_config,
        "training": read_part(config, "training", TrainingConfig),
        "docids": read_part(config, "docids", DocidsConfig),
    }
    dumped: dict[str, Any] = {name: section.model_dump(mode="json") for name, section in sections.items()}
    dumped["model"]["checkpoint"] = None  # no path of this machine
    counts = (read_manifest(parts.folder / "model") or {"counts": {}})["counts"]
    # a training that bettered nothing leaves the warm start, whose rows are the states
    dumped["states_added"] = bool(counts.get("states_added")) or counts.get("best_step") == 0
    write_json(folder / SETTINGS, dumped)
    expansion = read_part(config, "doc2query", Doc2QueryConfig)
    drawn = expansion.model_dump(mode="json", include={"known_item", "t5", "seed"})  # no paths of this machine
    generator = read_part(config, "generator", GeneratorConfig)
    drawn |= {"documents": len(corpus), "predictions": expansion.predictions.path is not None}
    if expansion.t5.queries:
        drawn["generator"] = _keep_generator(folder / GENERATOR, parts.folder / "generator", generator.checkpoint)
    write_json(folder / GENERATOR_FILE, drawn)
    if expansion.known_item.queries:
        write_words(folder, corpus)
    if sections["docids"].is_clustered:
        copy_files(parts.folder / "embeddings", folder / EMBEDDINGS, without=(VECTORS,))


def write_tensors(
    folder: Path,
    model: DifferentiableSearchIndex,
    docids: Docids,
    corpus: Corpus,
    tokenizer_folder: Path,
    config: ModelConfig,
) -> None:
    """Write `rows.safetensors` of a trained model, if it has rows for documents; the synthetic queries are those in
    `folder` already."""
    rows = document_rows(model, docids)
    if rows is None:
        return
    documents = StateEncoder(model, tokenizer_folder, config.document_length)
    queries = StateEncoder(model, tokenizer_folder, config.query_length)
    owner, texts = read_shard(folder / REPLAY)
    some, others = range(0, len(corpus), -(-len(corpus) // STATES)), slice(None, None, -(-len(texts) // STATES))
    other_queries = torch.from_numpy(queries(texts[others]))
    numbers = _calibration_documents(owner)
    own = np.isin(owner, numbers)
    known = {
        "state_centre": torch.from_numpy(documents([corpus[number].content() for number in some]).mean(axis=0)),
        "query_centre": other_queries.mean(dim=0),
        "row_centre": rows.mean(dim=0),
    }
    directions = row_directions(
        known,
        torch.from_numpy(documents([corpus[number].content() for number in numbers.tolist()])),
        torch.from_numpy(queries(list(compress(texts, own)))),
        torch.from_numpy(np.searchsorted(numbers, owner[own])),
    )
    others_of = OtherQueries(other_queries, torch.from_numpy(owner[others].astype(np.int64)))
    log_sums, of_some = others_of.log_sums(rows), torch.from_numpy(numbers)
    trained = others_of.log_mass(rows[of_some], of_some, log_sums)
    length = strong_enough(
        lambda factor: others_of.log_mass(factor * directions + known["row_centre"], of_some, log_sums),
        lambda _: trained,
    )
    save_file({**known, "row_length": torch.tensor([length])}, folder / ROWS)
    shutil.copymode(folder / REPLAY, folder / ROWS)  # others could not read it


def row_directions(known: Mapping[str, Tensor], documents: Tensor, queries: Tensor, owner: Tensor) -> Tensor:
    """The directions of the rows of documents as they are added, (documents, d_model) of unit length.

    Args:
        known: the centres, as in `rows.safetensors`.
        documents: the states of the documents, (documents, d_model).
        queries: the states of their synthetic queries, (queries, d_model).
        owner: the place of each query's document among them, (queries,).
    """
    sums = torch.zeros_like(documents).index_add(0, owner, queries - known["query_centre"])
    of_documents = functional.normalize(documents - known["state_centre"], dim=1)
    return functional.normalize(of_documents + functional.normalize(sums, dim=1), dim=1)


def document_rows(model: DifferentiableSearchIndex, docids: Docids) -> Tensor | None:
    """The output row of each document, (documents, d_model) float32 on the CPU, that of its leaf in a tree; None of a
    head with none for documents."""
    if not has_document_rows(model, docids):
        return None
    weight = model.docid_head.weight.detach()
    if docids.is_atomic:
        return weight.float().cpu()
    return weight[torch.from_numpy(docids.trie.leaf_of.astype(np.int64)).to(weight.device)].float().cpu()


def has_document_rows(model: DifferentiableSearchIndex, docids: Docids) -> bool:
    """Whether the head has an output row for each document: that of its atomic docid, or of its leaf."""
    return docids.is_atomic or model.config.docid_head == "hierarchical_softmax"


def _calibration_documents(owner: NDArray[np.uint32]) -> NDArray[np.int64]:
    """The row numbers of the documents of which most queries are kept, in increasing order: (at most CALIBRATED,)."""
    documents, counts = np.unique(owner, return_counts=True)
    return np.sort(documents[np.argsort(-counts, kind="stable")[:CALIBRATED]]).astype(np.int64)


def write_words(folder: Path, corpus: Corpus) -> None:
    """Write how many documents of a corpus each word is in."""
    contents = progress(corpus.contents(), "count words", total=len(corpus))
    frequencies = read_collection(contents, len(corpus)).frequencies
    bins = np.flatnonzero(frequencies)
    counted = {"bin": bins.astype(np.uint32), "documents": frequencies[bins]}
    pq.write_table(pa.table(counted), folder / WORDS, compression="zstd")


def _keep_generator(folder: Path, trained_folder: Path, checkpoint: str | None) -> str | None:
    """Copy the T5 of a run unless it is on the hub, whose name is returned then."""
    source = str(trained_folder) if (trained_folder / "config.json").exists() else checkpoint
    if source is None or not Path(source).is_dir():
        return checkpoint
    copy_files(Path(source), folder)
    return None


def _write_replay(path: Path, doc2query_folder: Path, documents: int, keep_all: bool) -> None:
    """Write every n-th synthetic query, so that there are no more than `REPLAYED`, and all of `CALIBRATED` documents;
    or all."""
    shards, seen = shard_paths(doc2query_folder), 0
    stride = 1 if keep_all else max(1, -(-sum(map(count_queries, shards)) // REPLAYED))
    whole = np.arange(0, documents, -(-documents // CALIBRATED))
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for shard in shards:
            table = pq.read_table(shard, schema=SCHEMA)
            strided = np.arange(-seen % stride, len(table), stride)
            kept = np.union1d(strided, np.flatnonzero(np.isin(table["doc_index"].to_numpy(), whole)))
            writer.write_table(table.take(pa.array(kept)))
            seen += len(table)
