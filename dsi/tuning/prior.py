"""The stage `prior`: chooses on dev queries how much the words of a query count beside the index.

The dev queries are searched with a prior that weighs nothing and with one that weighs something. What is found, with
its log-probability, is then ranked by the total of every weight and epsilon, without a further search: for docids of
several tokens an estimate, as what a beam decodes depends on the weight a little. A search without a prior gives the
rankings whose linear fusion gets its weight.

prior.json    the prior, its weight and epsilon, the weight of the linear fusion, and how they were chosen
tried.tsv     weight, epsilon and value of all that were tried
"""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsi.artifacts import write_json
from dsi.config import DEV, TRAIN, Ranking, SearchConfig
from dsi.corpus.store import Corpus
from dsi.evaluation.measures import DEV_MEASURE
from dsi.lexical.index_terms import Terms
from dsi.runtime.progress import progress, say
from dsi.runtime.tsv import write_tsv
from dsi.search.answering import Hits
from dsi.search.fusion import linear
from dsi.search.prior import CHOICE, PLAIN, Mixture, lexical_priors
from dsi.search.text_searcher import IndexFolders, TextSearcher
from dsi.tuning.dev_queries import DevQueries

WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.5, 4.0, 6.0, 8.0)
EPSILONS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)
UNTUNED = Mixture(weight=1.0, epsilon=1e-2)
"""What is used where there are no queries to choose on; also how the dev queries are searched with the prior."""
BEAM = {"path": 10, "leaf": 40}
"""The beam for the dev queries, which for a planned path is enough (docs/log.md); atomic docids know no beam."""
DEPTH = 100
"""The number of documents of each ranking that are fused."""


def tune_prior(
    out_folder: Path,
    *,
    prior: str,
    prior_documents: int,
    prior_weight: float | str,
    prior_epsilon: float | str,
    ranking: Ranking,
    labelled: float,
    corpus_folder: Path,
    tokenizer_folder: Path,
    docids_folder: Path,
    model_folder: Path,
    lexical_folder: Path | None = None,
    lexical_doc2query_folder: Path | None = None,
) -> dict[str, Any]:
    """Write the weight and the epsilon, of those that are `auto`, with which the measure of dev queries is best.

    The queries are those of split dev, or where there is none those of split train, unless the index learns from them
    (`labelled` above 0). Without queries the weight is 1 and the epsilon 0.01.

    Returns:
        What is in `prior.json`.

    Raises:
        DsiError: the model cannot be searched.
    """
    corpus = Corpus(corpus_folder)
    weights = WEIGHTS if prior_weight == "auto" else (float(prior_weight),)
    epsilons = EPSILONS if prior_epsilon == "auto" else (float(prior_epsilon),)
    chosen: dict[str, Any] = {"prior": prior}
    split = next((split for split in (DEV, *(() if labelled else (TRAIN,))) if split in corpus.splits), None)
    if split is None:
        say("dsi: warning: there are no queries to choose the weight of the prior on; search.prior_weight sets it")
        chosen |= {
            "weight": weights[0] if len(weights) == 1 else UNTUNED.weight,
            "epsilon": epsilons[0] if len(epsilons) == 1 else UNTUNED.epsilon,
            "linear_weight": UNTUNED.weight,
        }
    else:
        terms_folder = lexical_folder if prior == "bm25" else lexical_doc2query_folder
        assert terms_folder is not None  # the table of stages gives that of the prior
        folders = IndexFolders(tokenizer_folder, docids_folder, model_folder)
        index = TextSearcher(folders, SearchConfig(ranking=ranking))
        queries = DevQueries(corpus, DEV_MEASURE, split, "search.prior_weight")
        found = found_for(queries, corpus, index, Terms(terms_folder), prior_documents)
        chosen |= _choose(out_folder, queries, found, [Mixture(*pair) for pair in product(weights, epsilons)])
    write_json(out_folder / CHOICE, chosen)
    return chosen


def _choose(
    out_folder: Path, queries: DevQueries, found: Sequence["Found"], mixtures: Sequence[Mixture]
) -> dict[str, Any]:
    """The first of the best mixtures and of the best weights of the linear fusion, and how they were chosen."""
    depth = queries.depth(DEPTH)
    values = [
        queries.value({each.query_id: each.ranking(mixture, depth) for each in found})
        for mixture in progress(mixtures, "tune prior", unit="pairs")
    ]
    fused = [
        queries.value({each.query_id: linear(each.plain, each.lexical, weight)[:depth] for each in found})
        for weight in WEIGHTS
    ]
    best = values.index(max(values))
    rows = ((*mixture, value) for mixture, value in zip(mixtures, values, strict=True))
    write_tsv(out_folder / "tried.tsv", ["weight", "epsilon", queries.measure], rows)
    return {
        **mixtures[best]._asdict(),
        "linear_weight": WEIGHTS[fused.index(max(fused))],
        "split": queries.split,
        "queries": len(found),
        "measure": queries.measure,
        "value": round(values[best], 4),
        "pairs": len(mixtures),
    }


class Found(NamedTuple):
    """What the searches for a query have found."""

    query_id: str
    doc_ids: list[str]
    log_probs: Tensor
    """The log-probability of each document, (documents,)."""
    priors: Tensor
    """The prior of each document, (documents,)."""
    plain: Hits
    """The ranking by probability alone."""
    lexical: Hits
    """The ranking by the prior alone."""

    def ranking(self, mixture: Mixture, depth: int) -> Hits:
        """The `depth` best documents by the total of this mixture."""
        totals = mixture.total(self.log_probs, self.priors)
        best = totals.sort(descending=True, stable=True).indices[:depth].tolist()
        return [(self.doc_ids[place], float(totals[place])) for place in best if totals[place] > -torch.inf]


def found_for(queries: DevQueries, corpus: Corpus, index: TextSearcher, terms: Terms, documents: int) -> list[Found]:
    """What is found for each query, with priors of so many documents; a query that is a document does not find it."""
    questions, searcher = queries.questions, index.searcher
    texts = [query.text for query in questions.queries]
    encoded, priors = index.encode(texts), lexical_priors(terms, texts, documents)
    beam, size = BEAM[index.config.ranking] if searcher.trie is not None else DEPTH, index.config.batch_size
    of_searches = [searcher.search(encoded, DEPTH, size)]
    for mixture in (PLAIN, UNTUNED):
        searcher.mixture = mixture
        of_searches.append(searcher.search(encoded, beam, size, priors))
    found = []
    for query, prior, plain, light, heavy in zip(questions.queries, priors, *of_searches, strict=True):

        def hits(doc_index: NDArray[np.int64], scores: NDArray[np.float32], own: str = query.query_id) -> Hits:
            pairs = zip(corpus.doc_ids(doc_index.tolist()), scores.tolist(), strict=True)
            return [pair for pair in pairs if pair[0] != own or own not in questions.identical]

        pooled, first = np.unique(np.concatenate([light.doc_index, heavy.doc_index]), return_index=True)
        log_probs = hits(pooled, np.concatenate([light.log_prob, heavy.log_prob])[first])
        of_prior = hits(pooled, prior.of_documents(pooled))
        found.append(
            Found(
                query.query_id,
                [doc_id for doc_id, _ in log_probs],
                torch.tensor([value for _, value in log_probs]),
                torch.tensor([value for _, value in of_prior]),
                hits(plain.doc_index, plain.score),
                hits(*prior.best(DEPTH)),
            )
        )
    return found
