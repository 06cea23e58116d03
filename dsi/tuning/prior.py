"""The stage `prior`: chooses on dev queries how much the words of a query count beside the index.

The dev queries are searched with a prior that weighs nothing and with one that weighs something. What is found, with
its log-probability, is then ranked by the total of every weight and epsilon, without a further search: for docids of
several tokens an estimate, as what a beam decodes depends on the weight a little. A search without a prior gives the
rankings whose linear fusion gets its weight.

prior.json    the prior, its weight and epsilon, the weight of the linear fusion, and how they were chosen
tried.tsv     weight, epsilon and value of all that were tried
"""

from collections.abc import Sequence
from dataclasses import asdict
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
from dsi.search.lexical_prior import CHOICE, lexical_priors
from dsi.search.prior import PLAIN, Mixture
from dsi.search.ranking import Ranking as SearchRanking
from dsi.search.searcher import Searcher
from dsi.search.text_searcher import IndexFolders, TextSearcher
from dsi.tuning.dev_queries import DevQueries

WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.5, 4.0, 6.0, 8.0)
EPSILONS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)
UNTUNED = Mixture(weight=1.0, epsilon=1e-2)
"""What is used where there are no queries to choose on; also how the dev queries are searched with the prior."""
BEAM = {"path": 10, "leaf": 40}
"""The beam for the dev queries, which for a planned path is enough (docs/log.md)."""
POOLED = 100
"""The number of documents of a search for an atomic docid, which knows no beam."""


def tune_prior(
    out_folder: Path,
    *,
    prior: str,
    prior_documents: int,
    prior_weight: float | str,
    prior_epsilon: float | str,
    ranking: Ranking,
    beam: int,
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
    (`labelled` above 0). Without queries the weight is 1 and the epsilon 0.01. The linear fusion is one of rankings of
    `beam` documents.

    Returns:
        What is in `prior.json`: prior, ranking, weight, epsilon, linear_weight, and whether each of these three was
        configured, is the default or was chosen on which split (`chosen`).

    Raises:
        DsiError: the model cannot be searched.
    """
    corpus, given = Corpus(corpus_folder), {"weight": prior_weight, "epsilon": prior_epsilon}
    split = next((split for split in (DEV, *(() if labelled else (TRAIN,))) if split in corpus.splits), None)
    chosen = {key: split or "default" if value == "auto" else "configured" for key, value in given.items()}
    chosen["linear_weight"] = split or "default"
    values = {key: getattr(UNTUNED, key) if value == "auto" else float(value) for key, value in given.items()}
    choice: dict[str, Any] = {"prior": prior, "ranking": ranking, "chosen": chosen}
    if split is None:
        say("dsi: warning: there are no queries to choose the weight of the prior on; search.prior_weight sets it")
        choice |= {**values, "linear_weight": UNTUNED.weight}
    else:
        terms_folder = lexical_folder or lexical_doc2query_folder
        assert terms_folder is not None  # the table of stages gives that of the prior, and no other
        folders = IndexFolders(tokenizer_folder, docids_folder, model_folder)
        index = TextSearcher(folders, SearchConfig(ranking=ranking, beam=beam))
        queries = DevQueries(corpus, DEV_MEASURE, split, "search.prior_weight")
        found = found_for(queries, corpus, index, Terms(terms_folder), prior_documents)
        weights = WEIGHTS if prior_weight == "auto" else (values["weight"],)
        epsilons = EPSILONS if prior_epsilon == "auto" else (values["epsilon"],)
        choice |= _choose(out_folder, queries, found, [Mixture(*pair) for pair in product(weights, epsilons)])
    write_json(out_folder / CHOICE, choice)
    return choice


def _choose(
    out_folder: Path, queries: DevQueries, found: Sequence["Found"], mixtures: Sequence[Mixture]
) -> dict[str, Any]:
    """The first of the best mixtures and of the best weights of the linear fusion, and how they were chosen."""
    values = [
        queries.value({each.query_id: each.ranking(mixture, queries.depth(POOLED)) for each in found})
        for mixture in progress(mixtures, "tune prior", unit="pairs")
    ]
    fused = [
        queries.value({each.query_id: linear(each.plain, each.lexical, weight) for each in found}) for weight in WEIGHTS
    ]
    best = values.index(max(values))
    rows = ((mixture.weight, mixture.epsilon, value) for mixture, value in zip(mixtures, values, strict=True))
    write_tsv(out_folder / "tried.tsv", ["weight", "epsilon", queries.measure], rows)
    return {
        **asdict(mixtures[best]),
        "linear_weight": WEIGHTS[fused.index(max(fused))],
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
        """The `depth` best documents by the total of this mixture, scored by their order."""
        gains = mixture.gains(self.log_probs, self.priors).numpy()
        order = np.lexsort((-self.log_probs.numpy(), -gains))[:depth].tolist()
        return [(self.doc_ids[place], -float(rank)) for rank, place in enumerate(order) if gains[place] > -np.inf]


def found_for(queries: DevQueries, corpus: Corpus, index: TextSearcher, terms: Terms, documents: int) -> list[Found]:
    """What is found for each query, with priors of so many documents."""
    questions, config, plain = queries.questions, index.config, index.searcher
    texts = [query.text for query in questions.queries]
    encoded, priors = index.encode(texts), lexical_priors(terms, texts, documents)
    beam = BEAM[config.ranking] if plain.trie is not None else POOLED
    weightless, weighted = (
        Searcher(plain.model, plain.docids, ranking=config.ranking, mixture=mixture).search(
            encoded, beam, config.batch_size, priors
        )
        for mixture in (PLAIN, UNTUNED)
    )
    found = []
    alone = plain.search(encoded, config.beam, config.batch_size)
    for query, prior, *of_query in zip(questions.queries, priors, alone, weightless, weighted, strict=True):
        pooled, log_probs = _pooled(*of_query[1:])
        found.append(
            Found(
                query.query_id,
                corpus.doc_ids(pooled.tolist()),
                torch.from_numpy(log_probs),
                torch.from_numpy(prior.of_documents(pooled)),
                questions.without_own(query.query_id, _hits(corpus, of_query[0].doc_index, of_query[0].score)),
                questions.without_own(query.query_id, _hits(corpus, *prior.best(config.beam))),
            )
        )
    return found


def _pooled(one: SearchRanking, other: SearchRanking) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The documents of two rankings for a query and their log-probabilities, those of the second in the unit of the
    first: by ranking leaf they are softmaxes over different leaves."""
    _, of_one, of_other = np.intersect1d(one.doc_index, other.doc_index, assume_unique=True, return_indices=True)
    shifts = one.log_prob[of_one] - other.log_prob[of_other]
    shift = np.median(shifts[np.isfinite(shifts)]) if np.isfinite(shifts).any() else np.float32(0)
    documents, first = np.unique(np.concatenate([one.doc_index, other.doc_index]), return_index=True)
    return documents, np.concatenate([one.log_prob, other.log_prob + shift])[first]


def _hits(corpus: Corpus, doc_index: NDArray[np.int64], scores: NDArray[np.float32]) -> Hits:
    return list(zip(corpus.doc_ids(doc_index.tolist()), scores.tolist(), strict=True))
