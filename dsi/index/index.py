"""The search index that a user holds: texts in, ranked documents out; saved to a folder, shared on the hub."""

from collections.abc import ItemsView, Iterable, Iterator, Mapping, Set, ValuesView
from itertools import chain, islice
from numbers import Integral
from pathlib import Path
from typing import Any, overload

from dsi.config import SearchConfig
from dsi.corpus.store import Corpus, Document
from dsi.errors import DsiError, first_line
from dsi.index import hub, saved
from dsi.index.explain import explain
from dsi.index.explanation import Explanation
from dsi.index.hits import Hit, Hits
from dsi.index.parts import Parts
from dsi.index.run import open_run
from dsi.search.ranking import Ranking
from dsi.search.text_searcher import TextSearcher

HITS = 10
"""The number of hits of a search that does not say how many."""


class Documents(Mapping[str, Document]):
    """The documents of an index by their ids."""

    def __init__(self, corpus: Corpus, has_texts: bool) -> None:
        self._corpus, self._has_texts = corpus, has_texts

    def __getitem__(self, doc_id: str) -> Document:
        """The document with this id: its doc_id, title and text.

        Raises:
            KeyError: there is none.
            DsiError: the index was saved without titles and texts.
        """
        doc_index = self._corpus.doc_index(doc_id)
        self._check_texts()
        return self._corpus[doc_index]

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(chunk.to_pylist() for chunk in self._corpus.documents["doc_id"].chunks)

    def __len__(self) -> int:
        return len(self._corpus)

    def __repr__(self) -> str:
        return f"<{len(self):,} documents{'' if self._has_texts else ', without titles and texts'}>"

    def __contains__(self, doc_id: object) -> bool:
        try:
            return self._corpus.doc_index(doc_id) >= 0  # type: ignore[arg-type]
        except KeyError:
            return False

    def values(self) -> "_Values":
        """The documents in order."""
        return _Values(self)

    def items(self) -> "_Items":
        """The documents in order with their ids."""
        return _Items(self)

    def rows(self) -> Iterator[Document]:
        """The documents in order, read in the batches of the file.

        Raises:
            DsiError: the index was saved without titles and texts.
        """
        self._check_texts()
        return iter(self._corpus)

    def _check_texts(self) -> None:
        if not self._has_texts:
            raise DsiError(f"{self._corpus.folder.parent} was saved without its documents; it has their ids only")


class _Values(ValuesView[Document]):
    def __iter__(self) -> Iterator[Document]:
        return self._mapping.rows()  # type: ignore[attr-defined]


class _Items(ItemsView[str, Document]):
    def __iter__(self) -> Iterator[tuple[str, Document]]:
        return ((document.doc_id, document) for document in self._mapping.rows())  # type: ignore[attr-defined]


class Index:
    """A trained index over documents: searches them, hands them out, explains, saves and shares itself.

    It is made by `dsi.build` or opened by `dsi.load`. Several threads may search it at the same time.

    Raises:
        DsiError: a part is damaged or does not fit the others, the device cannot compute in the configured precision,
            or the head cannot be searched as configured.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        try:
            self.corpus = Corpus(parts.corpus)
            self.searcher = TextSearcher(parts.folders, parts.search)
            self._check_parts()
        except saved.UNREADABLE as error:
            if parts.saved is None:
                raise
            what = "cannot be opened, a file is not what its name says"
            raise DsiError(f"{parts.folder}: {what}: {first_line(error)}") from error
        self.documents = Documents(self.corpus, parts.has_documents)
        """The documents by their ids: `index.documents["D7"].text`."""

    def __len__(self) -> int:
        """The number of documents."""
        return len(self.corpus)

    def __repr__(self) -> str:
        kind = self.searcher.searcher.docids.vocabulary.kind
        ranked = self.config.prior if self.config.prior != "none" else "without a prior"
        ids = "" if self._parts.has_documents else ", their ids only"
        return f"<dsi.Index of {len(self):,} documents{ids}, {kind} docids, {ranked}, from {self._parts.folder}>"

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
    def search(self, texts: str, k: int = HITS, beam: int | None = None) -> Hits: ...  # type: ignore[overload-overlap]

    @overload
    def search(self, texts: Iterable[str], k: int = HITS, beam: int | None = None) -> list[Hits]: ...

    def search(self, texts: str | Iterable[str], k: int = HITS, beam: int | None = None) -> Hits | list[Hits]:
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
        hits = [Hits() for _ in queries]
        for number, ranking in zip(asked, rankings, strict=True):
            hits[number] = self._hits(ranking, k)
        return hits[0] if isinstance(texts, str) else hits

    def explain(self, query: str, doc_id: str) -> Explanation:
        """Why a document has the score that it has for a query, whether or not a search finds it.

        Its rank is that of the index's default search, which looks further than the hits it shows.

        >>> print(dsi.load("runs/demo").explain("copy a directory tree", "shutil.copytree"))  # doctest: +SKIP

        Raises:
            DsiError: the index was saved without documents.
            TypeError: the query is not a string.
            ValueError: the query has no word, or half a surrogate pair.
            KeyError: there is no document with this id; it is named.
        """
        if not self._parts.has_documents:
            raise DsiError(f"{self._parts.folder} was saved without its documents, which an explanation needs")
        _check_text("query", query)
        if self.searcher.encode([query])[0] == self.searcher.blank:
            raise ValueError("the query has no word")
        beam = max(min(HITS, len(self.corpus)), self.config.beam)
        return explain(self.corpus, self.searcher, beam, query, doc_id)

    def save(self, folder: str | Path, include_documents: bool = True) -> None:
        """Write the index to a new folder that needs nothing else (see dsi.index.saved), whole or not at all.

        Without documents, their titles and texts stay here: hits then have ids and scores only, nothing is explained,
        and what later documents would need is left out. The words of the documents stay in the postings of a prior.

        Raises:
            DsiError: the folder exists, or this index has changed on the disk since it was opened.
            OSError: the folder cannot be written.
        """
        from dsi.index.saving import save  # which needs what reports need, and searching does not

        save(self._parts, Path(folder), include_documents)

    def push_to_hub(self, repo: str, private: bool = True, include_documents: bool = True) -> str:
        """Save the index as the content of a repository of the Hugging Face hub, OWNER/NAME, and return its address.

        It is made if there is none. The token is that of `hf auth login` or HF_TOKEN, as for all of Hugging Face's.

        Raises:
            DsiError: the hub refuses it or cannot be reached.
        """
        from dsi.index.saving import push

        return push(self._parts, repo, private, include_documents)

    def _hits(self, ranking: Ranking, k: int) -> Hits:
        return Hits(
            Hit(rank, document.doc_id, score, document.title, document.text)
            for rank, (doc_index, score) in enumerate(islice(ranking.hits(), k), start=1)
            for document in [self.corpus[doc_index]]
        )

    def _check_parts(self) -> None:
        """See that the parts are of one number of documents, and the trie is one; DsiError if not."""
        docids, terms = self.searcher.searcher.docids, self.searcher.terms
        sizes = {"corpus": len(self.corpus), "docids": len(docids.codes)}
        if self._parts.saved is not None:
            sizes["config.json"] = self._parts.saved["documents"]
        if terms is not None:
            sizes["lexical"] = len(terms)
        if len(set(sizes.values())) > 1:
            counted = ", ".join(f"{part} {size:,}" for part, size in sizes.items())
            raise DsiError(f"{self._parts.folder}: its parts are not of the same documents ({counted})")
        if self._parts.saved is not None and not docids.is_atomic:
            docids.trie.check(len(self.corpus))


def _listed(texts: Iterable[str]) -> list[str]:
    """Several texts in order; TypeError for what has no order, or is a table, whose column names would be searched."""
    is_table = getattr(texts, "ndim", 1) != 1
    if is_table or isinstance(texts, bytes | Set | Mapping) or not isinstance(texts, Iterable):
        raise TypeError(f"texts must be a string, or a list or other sequence of strings, not {type(texts).__name__}")
    return list(texts)


def _check(texts: list[str]) -> None:
    for number, text in enumerate(texts):
        _check_text(f"texts[{number}]", text)


def _check_text(name: str, text: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a string, not {type(text).__name__}: {text!r:.80}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} has half a surrogate pair at character {error.start}") from None


def _above_0(name: str, value: int) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number above 0, not {value!r}")
    return int(value)


def load(folder: str | Path, revision: str | None = None, **search: Any) -> Index:
    """The index of a finished run, of a saved folder, or of a repository of the Hugging Face hub, OWNER/NAME.

    Its section `search` says how it searches; `search` are keys of that section with other values, e.g.
    `load("runs/demo", beam=20, exact=True)`. `revision` is a branch, tag or commit of the repository.

    Raises:
        DsiError: there is no such index, it is damaged or was made by another version, or there is no such key or
            value.
    """
    if hub.is_name(str(folder)):
        fetched = hub.fetch(str(folder), revision)
        return Index(saved.open_saved(fetched, search, root=hub.cache_of(fetched)))
    if revision is not None:
        raise DsiError(f"revision={revision!r:.60} is for repositories of the hub; {folder} is a folder")
    path = Path(folder).absolute()  # it stays the same wherever the process goes
    return Index((saved.open_saved if saved.is_saved(path) else open_run)(path, search))
