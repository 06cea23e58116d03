"""The teacher itself as a system: it answers by the search that labelled the training queries, so that a reader sees
what distillation keeps of it, and what it saves."""

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from dsi.artifacts import read_manifest
from dsi.baselines.dense import query_flops
from dsi.config import TeacherConfig
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import VECTORS, read_vectors
from dsi.model.cost import encoder_flops
from dsi.search.answering import Hits, Questions, ask
from dsi.teacher.bi_encoder import BiEncoder, quantise
from dsi.teacher.cross_encoder import CrossEncoder
from dsi.teacher.kinds import Teacher, check_finite, open_teacher

QUERIES_PER_BATCH = 256
COUNTED = 32
"""The number of queries, the first ones, over whose pairs the FLOPs of a cross-encoder are averaged."""


class TeacherSystem:
    """A teacher that answers queries.

    Args:
        index_folder: the folder that has what the teacher searches, postings or vectors of all documents.
        depth: the number of documents to return per query; a cross-encoder scores so many candidates.

    Raises:
        DsiError: its model cannot be loaded.
    """

    def __init__(self, config: TeacherConfig, index_folder: Path, corpus_folder: Path, depth: int) -> None:
        self.corpus, self.depth = Corpus(corpus_folder), depth
        self.teacher = open_teacher(config, self.corpus, index_folder, index_folder / VECTORS, given=None)

    def answer(self, texts: Sequence[str]) -> Iterator[Hits]:
        """The ranking for each text; DsiError if a score is not finite."""
        for start in range(0, len(texts), QUERIES_PER_BATCH):
            batch = texts[start : start + QUERIES_PER_BATCH]
            doc_index, scores = self.teacher.best(batch, self.depth)
            check_finite(batch, scores)
            for numbers, values in zip(doc_index, scores, strict=True):
                found = values > -np.inf
                yield list(zip(self.corpus.doc_ids(numbers[found].tolist()), values[found].tolist(), strict=True))

    def answer_alone(self, text: str) -> list[Hits]:
        """The ranking for one text, as the only item of a list."""
        return list(self.answer([text]))


def ask_teacher(
    out_folder: Path,
    name: str,
    config: TeacherConfig,
    corpus_folder: Path,
    questions: Questions,
    depth: int,
    index_folder: Path | None,
) -> dict[str, Any]:
    """Write `NAME.run`: the answers of the teacher to `questions`, `depth` documents each.

    Returns:
        What it costs: seconds_index, index_bytes (of a cross-encoder those of its candidates), parameters and
        flops_per_query where it has a model, documents, and what `ask` measures.

    Raises:
        DsiError: its model cannot be loaded, or gives a score that is not finite.
    """
    assert index_folder is not None  # the table of stages gives one to every teacher that searches
    searched = out_folder / name if name == "teacher_int8" else index_folder
    if searched != index_folder:
        shutil.rmtree(searched, ignore_errors=True)  # left by an interrupted attempt
        searched.mkdir()
        quantise(read_vectors(index_folder), searched)
    opened = partial(TeacherSystem, config, searched, corpus_folder)
    system, measured = ask(out_folder, name, opened, depth, questions)
    texts = [query.text for query in questions.queries]
    costs: dict[str, Any] = {**_index(config, index_folder, searched), "documents": len(system.corpus), **measured}
    if models := _models(system.teacher):
        costs["parameters"] = sum(parameter.numel() for model in models for parameter in model.parameters())
        costs["flops_per_query"] = _flops(system.teacher, texts, questions.depth(depth))
    if searched != index_folder:
        shutil.rmtree(searched)
    return costs


def _index(config: TeacherConfig, stage_folder: Path, folder: Path) -> dict[str, Any]:
    """The seconds that it took to make what the teacher searches, None if that is not known, and its bytes: the stage
    that made it, and the folder that it is in."""
    manifest = read_manifest(stage_folder) or {"stage": None, "counts": {}}
    seconds, counts = manifest.get("seconds"), manifest["counts"]
    if manifest["stage"] == "teacher":
        seconds = counts.get("vectors_seconds")  # the stage took most of its time for the labels
    index_bytes = counts.get("index_bytes") if config.retriever == "bm25" else read_vectors(folder).nbytes
    return {"seconds_index": seconds, "index_bytes": index_bytes}


def _models(teacher: Teacher) -> list[nn.Module]:
    """The models of a teacher: none, one, or that of a cross-encoder and that of its retriever."""
    if isinstance(teacher, CrossEncoder):
        return [teacher.model, *_models(teacher.retriever)]
    return [teacher.model] if isinstance(teacher, BiEncoder) else []


def _flops(teacher: Teacher, texts: Sequence[str], depth: int) -> float:
    """The FLOPs of a query, the mean over these texts; 0 without a model."""
    if isinstance(teacher, BiEncoder):
        return query_flops(teacher.model, teacher.vectors, texts)
    if not isinstance(teacher, CrossEncoder):
        return 0.0
    some = texts[:COUNTED]
    pairs = teacher.pairs(some, *teacher.retriever.best(some, depth))
    read = [teacher.model.tokenizer(text, content, truncation=True)["input_ids"] for text, content in pairs]
    return _flops(teacher.retriever, texts, depth) + encoder_flops(teacher.model, sum(map(len, read)) / len(some))
