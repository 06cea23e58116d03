"""The stage `baselines`: answers the evaluation queries with every baseline of the configuration.

bm25               Lucene
bm25_doc2query     Lucene over documents to which their synthetic queries are appended (docTTTTTquery, Nogueira and Lin
                   2019): the run's own queries, so that this system and the index have read the same
dense              a sentence-transformers model; the paper's is GTR-Base (T5 encoder, mean pooling, projection)
dual_encoder       the dual encoder that was trained on the run's own synthetic queries
teacher            the teacher whose labels the index or the dual encoder has learnt from
teacher_int8       the same, which searches vectors of int8, half the bytes of float16
"""

from functools import partial
from pathlib import Path
from typing import Any

from dsi.artifacts import read_manifest
from dsi.baselines.bm25 import bm25
from dsi.baselines.dense import dense
from dsi.baselines.dual_encoder import TextEncoder
from dsi.baselines.teacher import ask_teacher
from dsi.baselines.tuning import Tuning
from dsi.config import TEACHERS, BaselinesConfig, TeacherConfig
from dsi.corpus.store import Corpus
from dsi.doc2query.expanded import contents
from dsi.embeddings.sentence_encoder import sentence_encoder
from dsi.search.answering import Questions


def run_baselines(
    out_folder: Path,
    *,
    baselines: BaselinesConfig,
    split: str | None,
    corpus_folder: Path,
    latency_queries: int = 0,
    language: str = "en",
    measures: list[str] | None = None,
    tokenizer_folder: Path | None = None,
    doc2query_folder: Path | None = None,
    embeddings_folder: Path | None = None,
    encoder_folder: Path | None = None,
    teacher: TeacherConfig | None = None,
    lexical_folder: Path | None = None,
    teacher_folder: Path | None = None,
) -> dict[str, Any]:
    """Write `SYSTEM.run` for every system of the configuration, and return what each system costs.

    Latency and memory are measured on the first `latency_queries` queries. `language` decides how BM25 cuts texts, the
    first of `measures` which parameters it gets if they are tuned. The folders of stages are given where a
    system needs them; `embeddings_folder` where it has the vectors of the model of `dense` or of the teacher,
    `teacher_folder` where it has those of the teacher.

    Raises:
        DsiError: the corpus lacks the split, or a system lacks what it runs on.
    """
    documents = Corpus(corpus_folder)
    questions = Questions.of(documents, documents.evaluation_split(split), latency_queries)
    tuning = Tuning(documents, measures[0]) if baselines.bm25.tune and measures else None
    costs: dict[str, Any] = {}
    for name in baselines.systems:
        if name == "dense":
            load_model = partial(sentence_encoder, baselines.dense_model, "baselines.dense_model")
            depth = baselines.depth
            vectors_folder = _vectors_of_dense(baselines, teacher, teacher_folder, embeddings_folder)
            costs[name] = dense(out_folder, name, load_model, corpus_folder, questions, depth, vectors_folder)
        elif name == "dual_encoder":
            assert encoder_folder is not None  # the table of stages names both for this system
            assert tokenizer_folder is not None
            counts = (read_manifest(encoder_folder) or {"counts": {}})["counts"]
            encoder = partial(TextEncoder, encoder_folder, tokenizer_folder)
            costs[name] = dense(out_folder, name, encoder, corpus_folder, questions, baselines.depth)
            costs[name] |= {key: counts.get(key) for key in ("steps", "training_seconds", "training_flops")}
        elif name in TEACHERS:
            assert teacher is not None  # the table of stages gives it for this system
            searched = lexical_folder or teacher_folder or embeddings_folder
            costs[name] = ask_teacher(out_folder, name, teacher, corpus_folder, questions, baselines.depth, searched)
        else:
            assert doc2query_folder is not None or name == "bm25"
            texts = contents(documents, doc2query_folder if name == "bm25_doc2query" else None)
            costs[name] = bm25(out_folder, name, texts, len(documents), questions, baselines, language, tuning)
    return costs


def _vectors_of_dense(
    baselines: BaselinesConfig,
    teacher: TeacherConfig | None,
    teacher_folder: Path | None,
    embeddings_folder: Path | None,
) -> Path | None:
    """The folder of embeddings, unless they are those of the teacher's model alone."""
    # a teacher without vectors in its own folder searches these
    model = teacher.retriever_model if teacher is not None and teacher_folder is None else None
    return embeddings_folder if model in (None, baselines.dense_model) else None
