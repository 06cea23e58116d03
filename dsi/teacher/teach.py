"""The stage `teacher`: for every training query, the best documents of a better system with their scores.

The queries are the synthetic ones and the real ones of split train, whatever shares training gives them; see
`dsi.teacher.store` for the files. Distillation for generative retrieval: RIPOR (Zeng et al. 2024), PAG (2024).
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.artifacts import WORK
from dsi.config import TeacherConfig
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import VECTORS, encode_shards, join_shards
from dsi.errors import DsiError
from dsi.runtime.once import once
from dsi.runtime.processes import Rank, is_first_process, rank
from dsi.runtime.progress import progress, say
from dsi.runtime.shards import Shards, published
from dsi.teacher.bi_encoder import encoder_of
from dsi.teacher.card import about
from dsi.teacher.given import gather_scores
from dsi.teacher.kinds import Teacher, check_finite, open_teacher
from dsi.teacher.queries import TrainingQueries
from dsi.teacher.store import write_labels

QUERIES_PER_SHARD = 1 << 14
PAIRS_PER_SHARD = 1 << 14
"""The number of pairs of a shard of a cross-encoder, which reads each for itself."""
GIVEN = "given.sqlite"
PRECISION: Mapping[str, type[np.floating[Any]]] = {"run": np.float32}
"""The precision of differences of scores, if not float16: that keeps the digits of BM25's scores, logits and products
of vectors that matter to a softmax, but not those of any unit."""


def teach(
    out_folder: Path,
    *,
    teacher: TeacherConfig,
    corpus_folder: Path,
    doc2query_folder: Path,
    lexical_folder: Path | None = None,
    embeddings_folder: Path | None = None,
) -> dict[str, Any]:
    """Write the labels of all training queries; all processes share the work.

    `lexical_folder` has the words for BM25, `embeddings_folder` the vectors of the documents if they are those of the
    teacher's model; else they are made here, as `vectors.npy`.

    Returns:
        The number of queries, the share of them for which the teacher finds the own document and for which it finds
        nothing, the seconds and bytes that a million queries take, the seconds for vectors where they were made here by
        this start, and what is known of the teacher.

    Raises:
        DsiError: the teacher cannot be opened, finds the own document of no query, or gives a score that is not finite.
    """
    corpus, queries, this = Corpus(corpus_folder), TrainingQueries(Corpus(corpus_folder), doc2query_folder), rank()
    documents = min(teacher.documents, len(corpus))
    size = max(1, PAIRS_PER_SHARD // documents) if teacher.kind == "cross_encoder" else QUERIES_PER_SHARD
    shards = Shards(out_folder / WORK / "labels", len(queries), size, ".npz", this)
    unfinished = shards.unfinished()
    start, are_new = time.monotonic(), not (out_folder / VECTORS).exists()
    vectors = _vectors(out_folder, teacher, corpus, embeddings_folder, this)
    seconds_vectors = round(time.monotonic() - start, 2)
    given = _given(out_folder, teacher, corpus, queries)
    if unfinished:
        opened = open_teacher(teacher, corpus, lexical_folder, vectors, given)
        for shard in progress(unfinished, "teach", unit=f"x {size:,} queries"):
            start = time.monotonic()
            own, texts = queries.rows(shards.range(shard))
            doc_index, scores = label(opened, texts, documents)
            is_own = (doc_index == own[:, None]) & (scores > -np.inf)
            found = [is_own.any(axis=1).sum(), is_own[:, 0].sum(), (scores[:, 0] == -np.inf).sum()]
            is_whole = len(texts) == QUERIES_PER_SHARD  # a teacher may well miss all of a few
            if teacher.kind != "run" and is_whole and not found[0]:  # scores of one's own may be those of some queries
                raise _stranger(len(texts))
            with published(shards.path(shard)) as temporary, temporary.open("wb") as file:
                spent = time.monotonic() - start
                with np.errstate(over="ignore"):
                    kept = scores.astype(PRECISION.get(teacher.kind, np.float16))
                np.savez(file, doc_index=doc_index, scores=kept, facts=np.array(found), seconds=np.array(spent))
    paths = shards.wait()
    if not is_first_process():
        return {}
    facts, seconds = _facts(paths)
    if not facts[0]:
        raise _stranger(len(queries))
    taken = write_labels(out_folder, paths, queries.tasks)
    if 2 * facts[2] > len(queries):
        say(
            f"dsi: warning: teacher: {facts[2]:,} of {len(queries):,} training queries have no scores; they keep the"
            " label of their own document alone"
        )
    return {
        "queries": len(queries),
        "documents": documents,
        "own_found": round(float(facts[0]) / len(queries), 4),
        "own_first": round(float(facts[1]) / len(queries), 4),
        "without_scores": int(facts[2]),
        "seconds_per_million_queries": round(1e6 * seconds / len(queries), 1),
        "bytes_per_million_queries": round(1e6 * taken / len(queries)),
        **({"vectors_seconds": seconds_vectors} if are_new and (out_folder / VECTORS).exists() else {}),
        **about(teacher),
    }


def label(teacher: Teacher, texts: Sequence[str], documents: int) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
    """The best documents of each text and their scores less that of the first, each (texts, documents).

    A text that comes again is asked once.

    Raises:
        DsiError: a score is NaN or infinite.
    """
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    doc_index, scores = teacher.best(list(places), documents)
    check_finite(list(places), scores)
    best = scores[:, :1].astype(np.float64)
    with np.errstate(over="ignore"):  # to -inf, a weight of 0
        differences = np.where(scores > -np.inf, scores - np.where(best > -np.inf, best, 0), -np.inf)
    rows = np.array([places[text] for text in texts])
    return doc_index[rows], differences[rows]


def _vectors(
    out_folder: Path, teacher: TeacherConfig, corpus: Corpus, embeddings_folder: Path | None, this: Rank
) -> Path | None:
    """The file of the vectors of all documents, which is made if the teacher needs one that is not there."""
    if teacher.retriever_model is None:
        return None
    path = (embeddings_folder or out_folder) / VECTORS
    if not path.exists():
        encode = encoder_of(teacher.retriever_model)
        shards = encode_shards(out_folder / WORK / "vectors", corpus, encode, "embed for the teacher", this)

        def join() -> None:
            with published(path) as temporary:
                join_shards(temporary, shards)

        once(path.exists, join, out_folder / WORK / "vectors.lock")
    return path


def _given(out_folder: Path, teacher: TeacherConfig, corpus: Corpus, queries: TrainingQueries) -> Path | None:
    """The SQLite file of scores of one's own, which one process writes for all."""
    if teacher.path is None or teacher.kind != "run":
        return None
    path = out_folder / WORK / GIVEN
    source = teacher.path

    def gather() -> None:
        with published(path) as temporary:
            gather_scores(source, corpus, queries, temporary)

    once(path.exists, gather, path.with_suffix(".lock"))
    return path


def _stranger(queries: int) -> DsiError:
    return DsiError(
        f"teacher: it finds none of {queries:,} training queries' own documents; is it a teacher of this corpus, and"
        " are its scores those of these queries?"
    )


def _facts(paths: Sequence[Path]) -> tuple[NDArray[np.int64], float]:
    """The sums of what the shards say: own documents found, those found first, queries without scores; and seconds."""
    facts, seconds = np.zeros(3, dtype=np.int64), 0.0
    for path in paths:
        with np.load(path) as shard:
            facts, seconds = facts + shard["facts"], seconds + float(shard["seconds"])
    return facts, seconds
