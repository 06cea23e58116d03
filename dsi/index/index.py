"""The search index that a user holds: texts in, ranked documents out; saved to a folder, shared on the hub."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from itertools import islice
from numbers import Integral
from pathlib import Path
from threading import Lock
from typing import Any, overload

from dsi.config import SearchConfig
from dsi.corpus.store import Corpus
from dsi.errors import DsiError, first_line
from dsi.index import hub, saved
from dsi.index.documents import Documents
from dsi.index.explain import explain
from dsi.index.explanation import Explanation
from dsi.index.generations import Claim, Generation, changing, current, finished, prune
from dsi.index.hits import Hit, Hits
from dsi.index.opened import Opened
from dsi.index.opening import at, opened
from dsi.index.parts import Parts
from dsi.index.run import open_run
from dsi.index.walk import Walk
from dsi.index.walking import walk
from dsi.runtime.file_faults import file_fault
from dsi.runtime.processes import rank
from dsi.search.ranking import Ranking
from dsi.search.text_searcher import TextSearcher

HITS = 10
"""The number of hits of a search that does not say how many."""


class Index:
    """A trained index over documents: searches them, hands them out, explains, saves and shares itself.

    It is made by `dsi.build` or opened by `dsi.load`. Several threads may search it at the same time.

    Raises:
        DsiError: a part is damaged or does not fit the others, the device cannot compute in the configured precision,
            or the head cannot be searched as configured.
    """

    def __init__(self, parts: Parts) -> None:
        self._now, self._taking = opened(parts), Lock()

    @property
    def corpus(self) -> Corpus:
        """The documents by row number, those that were deleted too."""
        return self._now.corpus

    @property
    def searcher(self) -> TextSearcher:
        return self._now.searcher

    @property
    def documents(self) -> Documents:
        """The documents by their ids: `index.documents["D7"].text`."""
        return Documents(self._now)

    @property
    def has_documents(self) -> bool:
        """Whether it has titles and texts, not ids alone."""
        return self._now.parts.has_documents

    @property
    def generation(self) -> Generation | None:
        """The generation that is searched; None of a run, and of an index as it was saved."""
        return self._now.parts.generation

    def __len__(self) -> int:
        """The number of documents."""
        return len(self._now)

    def __repr__(self) -> str:
        kind = self.searcher.searcher.docids.vocabulary.kind
        ranked = self.config.prior if self.config.prior != "none" else "without a prior"
        parts = self._now.parts
        ids = "" if parts.has_documents else ", their ids only"
        changed = f", generation {parts.generation.number}" if parts.generation else ""
        return f"<dsi.Index of {len(self):,} documents{ids}, {kind} docids, {ranked}, from {parts.folder}{changed}>"

    @property
    def config(self) -> SearchConfig:
        """How the index searches by default."""
        return self.searcher.config

    @property
    def total(self) -> str:
        """What the index ranks documents by, in words."""
        return self.searcher.formula(self.config.prior != "none")

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell the index, as it is and searches now, from others, wherever it lies."""
        return self._now.parts.fingerprint

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
        index = self._now  # the same one to the end, whatever is added meanwhile
        searcher = index.searcher
        k = min(_above_0("k", k), len(index))
        beam = max(k, searcher.config.beam if beam is None else _above_0("beam", beam))
        _check(queries)
        encoded = searcher.encode(queries) if queries else []
        asked = [number for number, token_ids in enumerate(encoded) if token_ids != searcher.blank]
        priors = searcher.priors([queries[number] for number in asked])
        rankings = searcher.rank([encoded[number] for number in asked], beam, priors)
        hits = [Hits() for _ in queries]
        for number, ranking in zip(asked, rankings, strict=True):
            hits[number] = _hits(index.corpus, ranking, k)
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
        index = self._to_show(query, "an explanation")
        beam = max(min(HITS, len(index)), index.searcher.config.beam)
        return explain(index.corpus, index.searcher, beam, query, doc_id)

    def walk(self, query: str, k: int = HITS, beam: int | None = None) -> Walk:
        """What a search for `k` documents does: the branches of the docid tree that its beam looks at and what is below
        them, or for atomic docids how the documents found are weighed. Exact search may go on with a wider beam.

        >>> dsi.load("runs/demo-tree").walk("copy a directory tree").levels[0].branches  # doctest: +SKIP

        Raises:
            DsiError: the index was saved without documents.
            TypeError: the query is not a string.
            ValueError: the query has no word, or half a surrogate pair, or `k` or `beam` is not a whole number above 0.
        """
        index = self._to_show(query, "a walk")
        k = min(_above_0("k", k), len(index))
        beam = max(k, index.searcher.config.beam if beam is None else _above_0("beam", beam))
        return walk(index.corpus, index.searcher, beam, k, query)

    def _to_show(self, query: str, what: str) -> Opened:
        """The index, which is to show what it does for a query, if it can."""
        index = self._now
        if not index.parts.has_documents:
            raise DsiError(f"{index.parts.folder} was saved without its documents, which {what} needs")
        _check_text("query", query)
        if index.searcher.encode([query])[0] == index.searcher.blank:
            raise ValueError("the query has no word")
        return index

    def add(self, documents: Any, replace: bool = False, wait: bool = True) -> Generation:
        """Add documents to a saved index, without training: they are found at once.

        They are pairs of an id and a text, mappings with the keys of `dsi.build`, or a path of a file or folder, and
        all have ids. Documents that are there already are refused, or with `replace` replaced. Nothing of the index is
        copied; its folder gets a new generation (see `log`). `wait` says whether to wait for another process that
        changes the index.

        >>> index.add([("D8", "Birds fly.")])  # doctest: +SKIP

        Raises:
            DsiError: a document has no text or no id of its own, the index is none that can be changed, or the disk is
                full; nothing has changed then.
        """
        from dsi.index import adding

        given = adding.documents_to_add(documents)
        self._check_documents()
        return self._change(lambda index, claim: adding.add(index, claim, given, replace), wait)

    def delete(self, doc_ids: str | Iterable[str], wait: bool = True) -> Generation:
        """Delete the document with this id, or those with several ids: no search finds them any more.

        Their texts and rows stay in the folder until `compact(purge=True)`.

        Raises:
            DsiError: there is no document with one of the ids, or none would be left; nothing has changed then.
        """
        from dsi.index import changing

        if not isinstance(doc_ids, Iterable):
            raise DsiError(f"doc_ids: expected an id or several, found {type(doc_ids).__name__} {doc_ids!r:.60}")
        ids = [doc_ids] if isinstance(doc_ids, str) else list(doc_ids)
        return self._change(lambda index, claim: changing.delete(index, claim, ids), wait)

    def compact(self, purge: bool = False, wait: bool = True) -> Generation:
        """Write the index anew in its folder, without deleted documents, and with those added since among the others.

        With `purge` all other generations are removed, so that no text, row or query of a deleted document is left
        there. What the trained model remembers of it stays, as do the words of its tokenizer.

        Raises:
            DsiError: no document is left, or the index is none that can be changed.
        """
        from dsi.index import changing

        def write(index: Opened, claim: Claim) -> Generation:
            generation = claim.before
            if not purge or generation is None or not generation.is_compact:
                generation = changing.compact(opened(saved.open_saved(index.parts.folder, {})), claim)
            if purge:
                prune(index.parts.folder, generation)
            return generation

        self._check_documents()
        return self._change(write, wait)

    def consolidate(self, steps: int | None = None, wait: bool = True) -> Generation:
        """Train the index for a few steps on the synthetic queries of the documents added since it was trained, beside
        older ones, and write it anew, without deleted documents. Interrupted, the same call goes on.

        Args:
            steps: training steps; None for so many that each query of an added document is learnt about once.
            wait: whether to wait for another process that changes the index.

        Raises:
            DsiError: nothing was added, or the index is none that can be changed.
            ValueError: `steps` is not a whole number above 0.
        """
        from dsi.index import consolidating

        steps = None if steps is None else _above_0("steps", steps)

        def train(index: Opened, claim: Claim) -> Generation:
            return consolidating.consolidate(opened(saved.open_saved(index.parts.folder, {})), claim, steps)

        self._check_documents()
        return self._change(train, wait)

    def log(self) -> list[Generation]:
        """The generations of the index that are there, in order: what was changed, when, and how long it took.

        >>> print(index.log()[-1])  # doctest: +SKIP

        Raises:
            DsiError: a record is damaged.
        """
        return finished(self._now.parts.folder)

    def restore(self, number: int, wait: bool = True) -> Generation:
        """Make the index as it was at an earlier generation, 0 for as it was saved; a new generation, too.

        Raises:
            DsiError: that generation is not there any more.
        """
        from dsi.index import changing

        if not isinstance(number, Integral) or isinstance(number, bool):
            raise ValueError(f"number must be a whole number, not {number!r:.60}")
        return self._change(lambda index, claim: changing.restore(index, claim, int(number)), wait)

    def prune(self, wait: bool = True) -> list[int]:
        """Remove the generations that the present one does not need from the folder; return their numbers."""
        with _disk_faults(folder := self._changeable()), changing(folder, wait) as claim:
            return prune(folder, claim.before) if claim.before is not None else []

    def refresh(self) -> bool:
        """Take the newest generation, which another process may have made; return whether there was a newer one.

        Raises:
            DsiError: it is damaged.
        """
        now = self._now
        newest = current(now.parts.folder) if now.parts.saved is not None else None
        if newest == now.parts.generation:
            return False
        try:
            self._take(at(now, newest))
        except (DsiError, FileNotFoundError):
            if newest == current(now.parts.folder):
                raise
            return self.refresh()  # another process has removed it meanwhile
        return True

    def _change(self, change: Callable[[Opened, Claim], Generation], wait: bool) -> Generation:
        """Make a change to the newest generation, which is searched afterwards."""
        with _disk_faults(folder := self._changeable()), changing(folder, wait) as claim:
            index = at(self._now, claim.before)
            generation = change(index, claim)
            try:
                self._take(at(index, generation))
            except (DsiError, OSError) as error:
                made = f"generation {generation.number} is made, but cannot be opened by this process"
                raise DsiError(f"{folder}: {made}: {first_line(error)}") from error
        return generation

    def _take(self, index: Opened) -> None:
        """Search this index from now on, unless another thread has taken a later generation meanwhile."""
        with self._taking:
            now, then = (each.parts.generation for each in (self._now, index))
            if now is None or then is None or then.number >= now.number:
                self._now = index

    def _check_documents(self) -> None:
        """See that the index has its documents, without which only deleting is possible; DsiError if not."""
        if not self._now.parts.has_documents:
            raise DsiError(
                f"{self._now.parts.folder} was saved without its documents: nothing can be added to it, and it cannot"
                " be written anew; export it with them"
            )

    def _changeable(self) -> Path:
        """The folder of the index; DsiError if it is none that can be changed."""
        parts = self._now.parts
        if parts.saved is None:
            raise DsiError(f"{parts.folder} is a run, whose stages others may share; save the index to a folder first")
        if rank().processes > 1:
            raise DsiError(f"{parts.folder}: one process changes an index; start it without a launcher")
        if parts.is_shared:
            raise DsiError(f"{parts.folder} is in the cache of the hub; save the index to a folder of yours first")
        is_pruned = parts.base != parts.folder and not parts.base.exists()
        base = parts.folder if is_pruned else parts.base
        if not saved.is_saved(base) or (not is_pruned and saved.read_config(base) != parts.saved):
            raise DsiError(f"{parts.folder}: another index is there since this one was opened; open it again")
        return parts.folder

    def save(self, folder: str | Path, include_documents: bool = True) -> None:
        """Write the index to a new folder that needs nothing else (see dsi.index.saved), whole or not at all.

        Without documents, their titles and texts stay here: hits then have ids and scores only, nothing is explained,
        and what later documents would need is left out. The words of the documents stay in the postings of a prior.

        Raises:
            DsiError: the folder exists, or this index has changed on the disk since it was opened.
            OSError: the folder cannot be written.
        """
        from dsi.index.saving import save  # which needs what reports need, and searching does not

        save(self._now, Path(folder), include_documents)

    def push_to_hub(self, repo: str, private: bool = True, include_documents: bool = True) -> str:
        """Save the index as the content of a repository of the Hugging Face hub, OWNER/NAME, and return its address.

        It is made if there is none. The token is that of `hf auth login` or HF_TOKEN, as for all of Hugging Face's.

        Raises:
            DsiError: the hub refuses it or cannot be reached.
        """
        from dsi.index.saving import push

        return push(self._now, repo, private, include_documents)


@contextmanager
def _disk_faults(folder: Path) -> Iterator[None]:
    """Say which index a fault of the disk is about, which leaves it as it was."""
    try:
        yield
    except OSError as error:
        if (fault := file_fault(error)) is None:
            raise
        raise DsiError(f"{folder}: {fault}") from error


def _hits(corpus: Corpus, ranking: Ranking, k: int) -> Hits:
    return Hits(
        Hit(rank, document.doc_id, score, document.title, document.text)
        for rank, (doc_index, score) in enumerate(islice(ranking.hits(), k), start=1)
        for document in [corpus[doc_index]]
    )


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
    if not saved.is_saved(path):
        return Index(open_run(path, search))
    generation = current(path)
    try:
        return Index(saved.open_saved(path, search))
    except DsiError:
        if generation == current(path):
            raise
        return load(path, **search)  # another process has removed what was there when it was to be read
