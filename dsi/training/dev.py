"""Retrieval on the dev queries while training goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from transformers import AutoTokenizer

from dsi.corpus.store import Corpus
from dsi.docids.store import Docids
from dsi.evaluation.measures import parse_measures, score_run
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.search.searcher import Searcher
from dsi.training.batch_trainer import DEV_MEASURE

DEV_SPLIT = "dev"
DEV_BEAM = {"path": 10, "leaf": 100}
"""Enough for RR@10, by how documents are ranked: leaves rank the better the more of them the beam finds."""

DevEvaluator = Callable[[DifferentiableSearchIndex], dict[str, float]]


def dev_evaluator(corpus: Corpus, docids: Docids, tokenizer: Path, limit: int, length: int) -> DevEvaluator | None:
    """A function from a model to its measures on the first `limit` dev queries; None without a dev split."""
    if DEV_SPLIT not in corpus.splits:
        return None
    queries = corpus.queries(DEV_SPLIT)[:limit]
    known = {query.query_id for query in queries}
    qrels = [qrel for qrel in corpus.qrels(DEV_SPLIT) if qrel.query_id in known]
    text = AutoTokenizer.from_pretrained(tokenizer)
    pieces = text([query.text for query in queries], truncation=True, max_length=length)["input_ids"]
    doc_ids = corpus.documents["doc_id"]
    measures = parse_measures([DEV_MEASURE])

    def evaluate(model: DifferentiableSearchIndex) -> dict[str, float]:
        rankings = Searcher(model, docids).search(pieces, DEV_BEAM[model.config.docid_ranking], batch_size=256)
        run = {
            query.query_id: {doc_ids[number]: score for number, score in ranking.hits()}
            for query, ranking in zip(queries, rankings, strict=True)
        }
        return score_run(measures, qrels, run)

    return evaluate
