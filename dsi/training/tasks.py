"""Training tasks: what text leads to a document's docid (Pradeep et al. 2023, section 3.2).

d2q        a synthetic query
first_p    its first tokens (FirstP; Tay et al. 2022)
daq        random spans of it (document as query; NCI, Wang et al. 2022)
labelled   a real query, from split train
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from dsi.config import TRAIN, TasksConfig
from dsi.corpus.store import Corpus
from dsi.doc2query.shards import read_shard, shard_paths
from dsi.training.examples import Pairs, Task

CHUNK = 10_000
"""Documents a shard, and texts tokenised at once."""


def training_tasks(
    config: TasksConfig,
    corpus: Corpus,
    doc2query_folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    query_length: int,
    seed: int,
) -> dict[str, Task]:
    """Every task that has a weight, its pairs made as they are asked for; queries are cut to `query_length` tokens of
    the tokenizer `text`.

    Raises:
        DsiError: the corpus has no labelled queries, and their task has a weight.
    """
    queries = shard_paths(doc2query_folder)
    of_documents = -(-len(corpus) // CHUNK)

    def cut(texts: list[str], length: int) -> list[list[int]]:
        token_ids: list[list[int]] = tokenizer(texts, truncation=True, max_length=length)["input_ids"] if texts else []
        return token_ids

    def documents(shard: int) -> tuple[NDArray[np.uint32], list[str]]:
        texts = [document.content() for document in corpus.rows(shard * CHUNK, (shard + 1) * CHUNK)]
        return np.arange(shard * CHUNK, shard * CHUNK + len(texts), dtype=np.uint32), texts

    def synthetic_queries(shard: int) -> Pairs:
        doc_index, texts = read_shard(queries[shard])
        return doc_index, cut(texts, query_length)

    def first_passages(shard: int) -> Pairs:
        numbers, texts = documents(shard)
        return numbers, cut(texts, config.passage_length)

    def spans(shard: int) -> Pairs:
        numbers, texts = documents(shard)
        random = np.random.default_rng([seed, int(numbers[0])])
        chosen = [
            _spans(token_ids, config.spans, config.passage_length, random)
            for token_ids in tokenizer(texts, add_special_tokens=False)["input_ids"]
        ]
        counts = [len(some) for some in chosen]
        return np.repeat(numbers, counts), [[*span, tokenizer.eos_token_id] for some in chosen for span in some]

    def labelled_queries(_: int) -> Pairs:
        pairs = list(corpus.relevant(TRAIN))
        texts = [query.text for query, _ in pairs]
        token_ids = [
            token_id
            for start in range(0, len(texts), CHUNK)
            for token_id in cut(texts[start : start + CHUNK], query_length)
        ]
        return np.array([number for _, number in pairs], dtype=np.uint32), token_ids

    if config.labelled:
        corpus.check_split("training.tasks.labelled", TRAIN)
    tasks = {
        "d2q": Task(len(queries), synthetic_queries),
        "first_p": Task(of_documents, first_passages),
        "daq": Task(of_documents, spans),
        "labelled": Task(1, labelled_queries),
    }
    return {name: task for name, task in tasks.items() if getattr(config, name)}


def _spans(token_ids: list[int], count: int, length: int, random: np.random.Generator) -> list[list[int]]:
    """Spans at random places; a document that is not longer than one is its only span."""
    length -= 1  # the end of the text is a token too
    if len(token_ids) <= length:
        return [token_ids]
    return [token_ids[start : start + length] for start in random.integers(len(token_ids) - length + 1, size=count)]
