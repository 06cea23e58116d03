"""Training tasks: which texts the model maps to a document's docid (Pradeep et al. 2023, section 3.2).

d2q        the document's synthetic queries
first_p    its first tokens (FirstP; Tay et al. 2022)
daq        random spans of it (document as query; NCI, Wang et al. 2022)
labelled   its real queries of split train
"""

from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from dsi.config import TRAIN, TasksConfig
from dsi.corpus.store import Corpus
from dsi.doc2query.shards import read_shard, shard_paths
from dsi.training.examples import Pairs, Task

CHUNK = 10_000
"""The number of documents per shard, and of real queries tokenised at once."""


def training_tasks(
    config: TasksConfig,
    corpus: Corpus,
    doc2query_folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    query_length: int,
    seed: int,
) -> dict[str, Task]:
    """The tasks that have a weight, by name; their pairs are made when they are asked for, a shard at a time.

    Queries are cut to `query_length` tokens, passages and spans to `config.passage_length`.

    Raises:
        DsiError: the task `labelled` has a weight, but the corpus has no split train.
    """
    query_shards, document_shards = shard_paths(doc2query_folder), -(-len(corpus) // CHUNK)

    def synthetic_queries(shard: int) -> Pairs:
        doc_index, texts = read_shard(query_shards[shard])
        return doc_index, _cut(tokenizer, texts, query_length)

    def random_spans(shard: int) -> Pairs:
        numbers, texts = _documents(corpus, shard)
        random = np.random.default_rng([seed, int(numbers[0])])
        documents_spans = [
            _spans(token_ids, config.spans, config.passage_length - 1, random)  # the end of the text is a token too
            for token_ids in tokenizer(texts, add_special_tokens=False)["input_ids"]
        ]
        token_ids = [[*span, tokenizer.eos_token_id] for spans in documents_spans for span in spans]
        return np.repeat(numbers, [len(spans) for spans in documents_spans]), token_ids

    def labelled_queries(_: int) -> Pairs:
        pairs = list(corpus.relevant(TRAIN))
        texts = [query.text for query, _ in pairs]
        chunks = (_cut(tokenizer, texts[start : start + CHUNK], query_length) for start in range(0, len(texts), CHUNK))
        return np.array([number for _, number in pairs], dtype=np.uint32), list(chain.from_iterable(chunks))

    if config.labelled:
        corpus.check_split("training.tasks.labelled", TRAIN)
    tasks = {
        "d2q": Task(len(query_shards), synthetic_queries),
        "first_p": document_task(corpus, tokenizer, config.passage_length),
        "daq": Task(document_shards, random_spans),
        "labelled": Task(1, labelled_queries),
    }
    return {name: task for name, task in tasks.items() if getattr(config, name)}


def document_task(corpus: Corpus, tokenizer: PreTrainedTokenizerBase, length: int) -> Task:
    """The task of the first `length` tokens of every document, in corpus order."""

    def pairs(shard: int) -> Pairs:
        numbers, texts = _documents(corpus, shard)
        return numbers, _cut(tokenizer, texts, length)

    return Task(-(-len(corpus) // CHUNK), pairs)


def _documents(corpus: Corpus, shard: int) -> tuple[NDArray[np.uint32], list[str]]:
    texts = [document.content() for document in corpus.rows(shard * CHUNK, (shard + 1) * CHUNK)]
    return np.arange(shard * CHUNK, shard * CHUNK + len(texts), dtype=np.uint32), texts


def _cut(tokenizer: PreTrainedTokenizerBase, texts: list[str], length: int) -> list[list[int]]:
    token_ids: list[list[int]] = tokenizer(texts, truncation=True, max_length=length)["input_ids"] if texts else []
    return token_ids


def _spans(token_ids: list[int], count: int, length: int, random: np.random.Generator) -> list[list[int]]:
    """`count` spans of `length` tokens at random places; a document that is not longer than that is its only span."""
    if len(token_ids) <= length:
        return [token_ids]
    return [token_ids[start : start + length] for start in random.integers(len(token_ids) - length + 1, size=count)]
