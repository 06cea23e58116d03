"""A finished run as a search index: texts in, ranked documents out."""

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import Any, overload

from dsi.artifacts import check_files, check_path, read_manifest
from dsi.config import CONFIG, SearchConfig, describe, read_part
from dsi.corpus.store import Corpus
from dsi.errors import DsiError
from dsi.runtime.new_folder import new_folder
from dsi.search.searcher import Ranking
from dsi.search.text_searcher import IndexFolders, TextSearcher

SNIPPET = 160
"""The largest number of characters of a snippet."""


@dataclass(frozen=True)
class Hit:
    """A document that a search has found."""

    rank: int
    doc_id: str
    score: float
    """The log-probability of the document's docid given the query, at most 0; with ranking leaf, its leaf's logit. With
    a prior the total: log(P + epsilon) + weight * prior, where P is 0 for a document that no beam has decoded, and with
    ranking leaf the softmax over the leaves found."""
    title: str
    text: str

    def snippet(self) -> str:
        """The beginning of title and text on one line."""
        line = re.sub(r"\s+", " ", f"{self.title} {self.text}").strip()
        return line if len(line) <= SNIPPET else line[:SNIPPET].rsplit(" ", 1)[0] + " ..."


class Index:
    """Searches a corpus with a trained model, both read from stage folders, as `search` says.

    Raises:
        DsiError: the device cannot compute in the configured precision, or the head cannot be searched as configured.
    """

    def __init__(self, corpus_folder: Path, folders: IndexFolders, search: SearchConfig) -> None:
        self.corpus = Corpus(corpus_folder)
        self.searcher = TextSearcher(folders, search)

    @property
    def config(self) -> SearchConfig:
        """How the index searches by default."""
        return self.searcher.config

    @property
    def total(self) -> str:
        """What the index ranks documents by if it has a prior, in words."""
        leaf = ", P the softmax over the leaves found" if self.config.ranking == "leaf" else ""
        return self.searcher.searcher.mixture.formula(self.config.prior) + leaf

    def lacks_prior(self, text: str) -> bool:
        """Whether the index has a prior, and none for this text, none of whose terms occurs in the documents."""
        return not all(len(prior.doc_index) for prior in self.searcher.priors([text]) or ())

    @overload
    def search(self, texts: str, k: int = 10, beam: int | None = None) -> list[Hit]: ...  # type: ignore[overload-overlap]

    @overload
    def search(self, texts: Iterable[str], k: int = 10, beam: int | None = None) -> list[list[Hit]]: ...

    def search(self, texts: str | Iterable[str], k: int = 10, beam: int | None = None) -> list[Hit] | list[list[Hit]]:
        """The `k` best documents for a text, best first, or a list of them for each of several texts.

        There are fewer if the corpus is smaller, and none for a text without a word, e.g. `""`. A text is cut to the
        query length that the model was trained with. The beam is `beam`, by default that of the configuration, and at
        least `k`. Several threads may search at the same time.

        >>> dsi.load("runs/demo").search("copy a directory tree", k=10)  # doctest: +SKIP

        Raises:
            TypeError: `texts` has no order, or one of them is not a string.
            ValueError: `k` or `beam` is not a whole number above 0, or a text has half a surrogate pair.
        """
        queries = [texts] if isinstance(texts, str) else _listed(texts)
        k = min(_above_0("k", k), len(self.corpus))
        beam = max(k, self.config.beam if beam is None else _above_0("beam", beam))
        _check(queries)
        encoded = self.searcher.encode(queries) if queries else []
        asked = [number for number, token_ids in enumerate(encoded) if token_ids != self.searcher.blank]
        priors = self.searcher.priors([queries[number] for number in asked])
        rankings = self.searcher.rank([encoded[number] for number in asked], beam, priors)
        hits: list[list[Hit]] = [[] for _ in queries]
        for number, ranking in zip(asked, rankings, strict=True):
            hits[number] = self._hits(ranking, k)
        return hits[0] if isinstance(texts, str) else hits

    def _hits(self, ranking: Ranking, k: int) -> list[Hit]:
        return [
            Hit(rank, document.doc_id, score, document.title, document.text)
            for rank, (doc_index, score) in enumerate(islice(ranking.hits(), k), start=1)
            for document in [self.corpus[doc_index]]
        ]


def _listed(texts: Iterable[str]) -> list[str]:
    """Several texts in order; TypeError for what has no order, or is a table, whose column names would be searched."""
    is_table = getattr(texts, "ndim", 1) != 1
    if is_table or isinstance(texts, bytes | Set | Mapping) or not isinstance(texts, Iterable):
        raise TypeError(f"texts must be a string, or a list or other sequence of strings, not {type(texts).__name__}")
    return list(texts)


def _check(texts: list[str]) -> None:
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{number}] must be a string, not {type(text).__name__}: {text!r:.80}")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"texts[{number}] has half a surrogate pair at character {error.start}") from None


def _above_0(name: str, value: int) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number above 0, not {value!r}")
    return int(value)


STAGES = ("corpus", "tokenizer", "docids", "model")
"""The stages whose folders an index needs, beside the section `search` of the configuration."""
TERMS = {"bm25": "lexical", "bm25_doc2query": "lexical_doc2query"}
"""The stage whose postings each prior is read from; it and the stage `prior` are needed too."""


def stages(search: SearchConfig) -> list[str]:
    """The stages whose folders an index needs that searches so: the corpus, then those of `IndexFolders`."""
    return [*STAGES, *(["prior", TERMS[search.prior]] if search.prior in TERMS else [])]


def load(run: str | Path, **search: Any) -> Index:
    """The index of a finished run or of a folder that `export` wrote.

    The run's section `search` says how it searches; `search` are keys of that section with other values, e.g.
    `load("runs/demo", beam=20, exact=True)`.

    Raises:
        DsiError: the run has no finished model or was made by another version, or there is no such key or value.
    """
    (corpus, *others), config = _opened(Path(run), search)
    return Index(corpus, IndexFolders(*others), config)


def export(run_folder: Path, folder: Path) -> None:
    """Copy what `load` reads of a finished run to a new folder, which then needs neither the run nor its store.

    Raises:
        DsiError: the run has no finished model, or the folder is there already.
    """
    check_path(folder)
    with new_folder(folder) as partial:
        folders, search = _opened(run_folder, {})
        for source in folders:
            shutil.copytree(source, partial / source.name)
        (partial / CONFIG).write_text(f"search:\n{describe(SearchConfig, search, '  ')}\n", encoding="utf-8")


def _opened(run_folder: Path, changes: dict[str, Any]) -> tuple[list[Path], SearchConfig]:
    """The folders of the stages that an index needs of a run, and its section `search` with these changes; DsiError if
    a stage is not finished, or they are not of one run."""
    check_path(run_folder)
    if not run_folder.is_dir():
        raise DsiError(f"{run_folder}: there is no such folder; name that of a run, e.g. runs/demo")
    made: dict[str, str] = {}
    _check_stages(run_folder, STAGES, made)  # told before a configuration is looked for where there is no run
    search = read_part(run_folder / CONFIG, "search", SearchConfig, changes)
    needed = stages(search)
    _check_stages(run_folder, needed[len(STAGES) :], made)
    return [run_folder / stage for stage in needed], search


def _check_stages(run_folder: Path, stages: Sequence[str], made: dict[str, str]) -> None:
    """See that these stages are finished and made from those whose fingerprints are in `made`; add theirs.

    Raises:
        DsiError: one is not.
    """
    for stage in stages:
        manifest = read_manifest(run_folder / stage)
        if stage not in STAGES and (manifest is None or not manifest["counts"]):
            raise DsiError(
                f"{run_folder / stage}: the run was made without this prior; search with prior=none, or make the run"
                " with search.prior"
            )
        if manifest is None:
            raise DsiError(f"{run_folder / stage}: no finished stage {stage} there; is {run_folder} a run?")
        check_files(run_folder / stage)
        made[stage] = manifest["fingerprint"]
        for upstream in made:
            if manifest["inputs"].get(f"{upstream}/", made[upstream]) != made[upstream]:
                raise DsiError(
                    f"{run_folder}: its {stage} was not made from its {upstream}; copy all stages of one run, or make"
                    " them with `dsi run`"
                )
