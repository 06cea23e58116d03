"""Retrieval quality on the dev queries, measured while training goes on."""

from collections.abc import Callable
from pathlib import Path

from dsi.config import DEV, Ranking
from dsi.corpus.store import Corpus
from dsi.docids.store import Docids
from dsi.evaluation.measures import DEV_MEASURE, parse_measures, score_run
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.search.searcher import Searcher
from dsi.tokenizer import open_tokenizer

DEV_BEAM = {"path": 10, "leaf": 100}
"""The beam for each way of ranking documents, enough for RR@10: a ranking of leaves is the better the more of them the
beam finds."""

DevEvaluator = Callable[[DifferentiableSearchIndex], dict[str, float]]
"""A function from a model to its measures on the dev queries, by name."""


def dev_evaluator(
    corpus: Corpus, docids: Docids, tokenizer_folder: Path, limit: int, length: int, ranking: Ranking = "path"
) -> DevEvaluator | None:
    """The evaluator on the first `limit` dev queries, cut to `length` tokens, with documents ordered by `ranking`; None
    if the corpus has no dev split."""
    if DEV not in corpus.splits:
        return None
    queries = corpus.queries(DEV)[:limit]
    known = {query.query_id for query in queries}
    qrels = [qrel for qrel in corpus.qrels(DEV) if qrel.query_id in known]
    tokenizer = open_tokenizer(tokenizer_folder)
    token_ids = tokenizer([query.text for query in queries], truncation=True, max_length=length)["input_ids"]
    measures = parse_measures([DEV_MEASURE])
    identical = corpus.identical(DEV)
    beam = DEV_BEAM[ranking] + bool(identical)

    def evaluate(model: DifferentiableSearchIndex) -> dict[str, float]:
        rankings = Searcher(model, docids, ranking=ranking).search(token_ids, beam, batch_size=256)
        run = {
            query.query_id: dict(zip(corpus.doc_ids(result.doc_index.tolist()), result.score.tolist(), strict=True))
            for query, result in zip(queries, rankings, strict=True)
        }
        for query_id in identical & run.keys():
            run[query_id].pop(query_id, None)
        return score_run(measures, qrels, run)

    return evaluate
