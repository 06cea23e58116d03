"""The stage `search`: runs the evaluation queries through the index and measures what the search costs and misses."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.config import SearchConfig
from dsi.corpus.store import Corpus
from dsi.lexical.index_terms import Terms
from dsi.model.cost import search_flops
from dsi.search.answering import Hits, Questions, ask
from dsi.search.fusion import linear, reciprocal_ranks
from dsi.search.lexical_prior import CHOICE, lexical_priors
from dsi.search.ranking import Ranking
from dsi.search.run_files import DSI, LINEAR, PLANNED, RECIPROCAL_RANKS, read_run, write_run
from dsi.search.search_errors import is_certified, search_errors
from dsi.search.text_searcher import IndexFolders, TextSearcher

BATCHES = 32
"""The number of batches searched between two updates of the progress display."""


class IndexSystem:
    """The index as a `System`, which counts the token ids it has read and keeps what it knows of its rankings."""

    def __init__(self, corpus_folder: Path, folders: IndexFolders, search: SearchConfig, depth: int) -> None:
        self.corpus = Corpus(corpus_folder)
        self.index = TextSearcher(folders, search.model_copy(update={"beam": depth}))
        self.token_ids = 0
        self.certified: list[bool] = []
        self.is_docid: list[NDArray[np.bool_]] = []
        self.without_prior = 0
        """The number of queries none of whose terms occurs in the documents."""

    def answer(self, texts: Sequence[str]) -> Iterator[Hits]:
        step = BATCHES * self.index.config.batch_size
        for start in range(0, len(texts), step):
            batch = texts[start : start + step]
            queries, priors = self.index.encode(batch), self.index.priors(batch)
            self.token_ids += sum(map(len, queries))
            self.without_prior += sum(not len(prior.doc_index) for prior in priors or ())
            for ranking in self.index.rank(queries, priors=priors):
                self.certified.append(is_certified(ranking))
                self.is_docid.append(ranking.is_docid)
                doc_ids = self.corpus.doc_ids(ranking.doc_index.tolist())
                yield list(zip(doc_ids, ranking.score.tolist(), strict=True))

    def answer_alone(self, text: str) -> list[Ranking]:
        return self.index.rank(self.index.encode([text]), priors=self.index.priors([text]))


def search(
    out_folder: Path,
    *,
    search: SearchConfig,
    split: str | None,
    corpus_folder: Path,
    tokenizer_folder: Path,
    docids_folder: Path,
    model_folder: Path,
    lexical_folder: Path | None = None,
    lexical_doc2query_folder: Path | None = None,
    prior_folder: Path | None = None,
) -> dict[str, Any]:
    """Write SYSTEM.run and SYSTEM.latency.tsv (query_id, milliseconds) for the queries of a split, None for the
    default.

    The systems are `dsi`, and with a prior `dsi+PRIOR`; then there are `rrf.run` and `linear.run` too, fusions of the
    finished rankings of `dsi` and of the prior. The last three folders are given where the search has a prior.

    Raises:
        DsiError: the device cannot compute in the configured precision, or the head cannot be searched as configured.
    """
    corpus = Corpus(corpus_folder)
    split = corpus.evaluation_split(split)
    questions = Questions.of(corpus, split, search.latency_queries)
    folders = IndexFolders(tokenizer_folder, docids_folder, model_folder)
    plain = search.model_copy(update={"prior": "none"})
    systems = {DSI: _ask(out_folder, DSI, corpus_folder, folders, plain, questions)}
    if prior_folder is not None:
        terms_folder = lexical_folder or lexical_doc2query_folder
        assert terms_folder is not None  # the table of stages gives that of the prior, and no other
        name, folders = PLANNED + search.prior, replace(folders, prior=prior_folder, terms=terms_folder)
        systems[name] = _ask(out_folder, name, corpus_folder, folders, search, questions)
        choice = json.loads((prior_folder / CHOICE).read_text(encoding="utf-8"))
        _fuse(out_folder, corpus, Terms(terms_folder), questions, search.beam, choice["linear_weight"])
    return {"split": split, "systems": systems}


def _ask(
    out_folder: Path,
    name: str,
    corpus_folder: Path,
    folders: IndexFolders,
    search: SearchConfig,
    questions: Questions,
) -> dict[str, Any]:
    """Write the answers of the index, plain or with a prior, and return what they cost and what is known of them."""
    open_system = partial(IndexSystem, corpus_folder, folders, search)
    system, measured = ask(out_folder, name, open_system, search.beam, questions)
    files = [*folders.model.glob("*.safetensors"), folders.docids / "codes.npy", *folders.docids.glob("trie.*.npy")]
    if folders.terms is not None:
        files += [path for path in folders.terms.rglob("*") if path.is_file()]
    counts: dict[str, Any] = {"index_bytes": sum(file.stat().st_size for file in files), **measured}
    searcher = system.index.searcher
    if search.constrained and not search.exact:  # otherwise the beam does not bound the number of prefixes
        tokens, config = system.token_ids / max(len(questions.queries), 1), searcher.model.config
        counts["flops_per_query"] = search_flops(config, searcher.docids, tokens, search.beam, search.ranking)
        if folders.terms is not None and (searcher.trie is None or search.ranking == "leaf"):  # the prior's own rows
            counts["flops_per_query"] += 2.0 * min(search.prior_documents, len(system.corpus)) * config.d_model
    if not search.constrained:
        counts["invalid_docids"] = _share(~flags for flags in system.is_docid)
        counts["invalid_first"] = _share(~flags[:1] for flags in system.is_docid)
    elif searcher.trie is not None and search.ranking == "path":
        counts["certified_ten"] = _share([np.array(system.certified)])
    if folders.terms is not None:
        counts["prior"] = asdict(searcher.mixture) | {"documents": search.prior_documents}
        counts["queries_without_prior"] = system.without_prior
    if search.error_queries and searcher.trie is not None:
        texts = [query.text for query in questions.queries[: search.error_queries]]
        queries, priors = system.index.encode(texts), system.index.priors(texts)
        errors, certified = search_errors(searcher, queries, search.max_beam, search.batch_size, priors)
        counts["search_errors"] = {
            "queries": len(queries),
            "certified": round(certified, 4),
            "beams": {str(of_beam.beam): of_beam._asdict() for of_beam in errors},
        }
    return counts


def _fuse(
    out_folder: Path, corpus: Corpus, terms: Terms, questions: Questions, depth: int, linear_weight: float
) -> None:
    """Write the fusions of `dsi.run` with the rankings of as many documents by the prior."""
    priors = lexical_priors(terms, [query.text for query in questions.queries], questions.depth(depth))
    run, fused = read_run(out_folder / f"{DSI}.run"), list[tuple[str, Hits, Hits]]()
    for query, prior in zip(questions.queries, priors, strict=True):
        doc_index, scores = prior.best(len(prior.doc_index))
        by_words = list(zip(corpus.doc_ids(doc_index.tolist()), scores.tolist(), strict=True))
        by_words = questions.without_own(query.query_id, by_words)[:depth]
        fused.append((query.query_id, list(run.get(query.query_id, {}).items()), by_words))
    of_ranks = ((query_id, reciprocal_ranks([hits, by_words])[:depth]) for query_id, hits, by_words in fused)
    write_run(out_folder / f"{RECIPROCAL_RANKS}.run", RECIPROCAL_RANKS, of_ranks)
    of_scores = ((query_id, linear(hits, by_words, linear_weight)[:depth]) for query_id, hits, by_words in fused)
    write_run(out_folder / f"{LINEAR}.run", LINEAR, of_scores)


def _share(flags: Iterable[NDArray[np.bool_]]) -> float:
    """The share of true values in all arrays together."""
    return round(float(np.concatenate(list(flags)).mean()), 4)
