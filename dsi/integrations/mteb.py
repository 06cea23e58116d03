"""An index as a search model of MTEB.

import mteb
from dsi.integrations.mteb import DsiSearch

mteb.evaluate(DsiSearch("my-index"), task)              # whose corpus is that of the index
mteb.evaluate(DsiSearch(folder="indexes"), task)        # builds one of each corpus first
"""

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from dsi.artifacts import fingerprint
from dsi.config import configuration, load_config
from dsi.corpus.store import Document
from dsi.corpus.words import nfc
from dsi.errors import DsiError
from dsi.from_documents.build import build
from dsi.index.index import Index, load
from dsi.integrations.rankings import Rankings, opened
from dsi.runtime.extras import require

NAME = "dsi/index"
"""The name of the model in the results, whose revision is the hash of the index."""
COMPARED = 1_000
"""The number of documents whose texts are compared."""
SHOWN = 3
"""The number of ids that a message names."""


class DsiSearch:
    """A model with MTEB's `SearchProtocol`: the index that it is given, or one that it builds of the corpus of a task.

    By default the rankings are those of `dsi evaluate`: as many documents as the beam has, so `beam=1000` for measures
    that look at 1,000.

    Args:
        index: an index, or what `dsi.load` opens; None to build one in `index`.
        k: the number of documents a query; None for as many as the beam has. MTEB's `top_k` may lower it.
        beam: the beam; None for that of the configuration.
        ignore_identical_ids: whether queries are documents, as in Quora and ArguAna; give it for tasks that have it, as
            the document with the id of a query is then asked for in addition to the others.
        name: the name of the model in MTEB's results, OWNER/NAME.
        folder: a folder for the indexes that are built, `TASK-SUBSET-SPLIT-HASH` each, which are opened the next time
            for the same documents and configuration; None builds temporary ones.
        config: a configuration to build by (see `dsi.build`).
        keys: keys of the configuration with other values, e.g. `{"search.beam": 20}`.

    Raises:
        DsiError: MTEB is not installed, there is no such index, or both an index and how to build one are given.
        ValueError: `k` or `beam` is below 1.
    """

    def __init__(
        self,
        index: Index | str | Path | None = None,
        k: int | None = None,
        beam: int | None = None,
        ignore_identical_ids: bool = False,
        name: str = NAME,
        *,
        folder: str | Path | None = None,
        config: str | Path | None = None,
        keys: Mapping[str, Any] | None = None,
    ) -> None:
        require("mteb", "dsi.integrations.mteb")
        for name_of, value in (("k", k), ("beam", beam)):
            if value is not None and value < 1:
                raise ValueError(f"{name_of} must be above 0, not {value}")
        if index is not None and (folder, config, keys or None) != (None, None, None):
            raise DsiError("DsiSearch: folder, config and keys say how to build an index; it is given one")
        self.builds = index is None
        self.name, self.folder, self.config, self.keys = name, folder, config, dict(keys or {})
        self._asking = (k, beam, ignore_identical_ids)
        self._rankings: Rankings | None = None
        if index is not None:
            self._take(opened(index))

    def _take(self, index: Index) -> None:
        self._rankings = Rankings.of(index, *self._asking)

    @property
    def mteb_model_meta(self) -> Any:
        """What MTEB notes of the model. It keeps results by name and revision, so the revision is a hash of the index
        and of how it is asked; where it is yet to be built, of how."""
        from mteb.models.model_meta import ModelMeta

        how: list[Any] = [self._asking]
        if self.builds:
            how.append(self._building)
        elif self._rankings is not None:
            how.append(self._rankings.index.fingerprint)
        return ModelMeta.create_empty({"name": self.name, "revision": fingerprint({"how": how}), "model_type": []})

    @property
    def _building(self) -> dict[str, Any]:
        """How an index is built: the configuration, whatever its file is called, and the keys."""
        keys = {key: str(value) for key, value in self.keys.items()}
        if self.config is None:
            return {"keys": keys}
        config = load_config(configuration(str(self.config)), list(self.keys.items()))
        return {"config": config.model_dump(mode="json"), "keys": keys}

    def index(self, corpus: Any, *, task_metadata: Any, hf_split: str, hf_subset: str, **_: Any) -> None:
        """See that the documents of the index are those of a corpus (rows with `id`, `text` and perhaps `title`), some
        of their texts too, or build it of them.

        Raises:
            DsiError: the index has others, which are named, or it cannot be built.
        """
        if self.builds:
            self._take(self._built(corpus, f"{task_metadata.name}-{hf_subset}-{hf_split}"))
        assert self._rankings is not None
        _check_documents(self._rankings.index, corpus, task_metadata.name)

    def _built(self, corpus: Any, name: str) -> Index:
        if self.folder is None:
            return build(_documents(corpus), None, config=self.config, keys=self.keys)
        made_of = fingerprint({"how": self._building, "documents": _hash(corpus)})
        place = Path(self.folder) / f"{name}-{made_of}"
        place.parent.mkdir(parents=True, exist_ok=True)
        return load(place) if place.exists() else build(_documents(corpus), place, config=self.config, keys=self.keys)

    def search(
        self, queries: Any, *, task_metadata: Any, top_k: int, top_ranked: Any = None, **_: Any
    ) -> dict[str, dict[str, float]]:
        """The scores of the documents found for queries (rows with `id`, `text` and perhaps `instruction`), by id.

        Raises:
            DsiError: `index` was not called, the task gives documents to rerank, or a query is no text.
        """
        if self._rankings is None:
            raise DsiError("DsiSearch: there is no index yet; call index(corpus) first")
        if top_ranked:
            raise DsiError(f"{task_metadata.name}: documents to rerank are given, and an index ranks all that it has")
        asked = list(_queries(queries, task_metadata.name))
        found = self._rankings.to(top_k)(asked)
        return {
            query_id: {hit.doc_id: hit.score for hit in hits} for (query_id, _), hits in zip(asked, found, strict=True)
        }


def _documents(corpus: Any) -> Iterator[dict[str, str]]:
    for row in corpus:
        yield {"id": row["id"], "title": row.get("title") or "", "text": row["text"]}


def _queries(queries: Any, task: str) -> Iterator[tuple[str, str]]:
    for row in queries:
        text, instruction = row["text"], row.get("instruction")
        if not isinstance(text, str):
            raise DsiError(f"{task}: query {row['id']!r} is a conversation; an index is searched with a text")
        yield row["id"], f"{text} {instruction}" if instruction else text


def _hash(corpus: Any) -> str:
    """A hash of the documents of a corpus."""
    digest = sha256()
    for document in _documents(corpus):
        digest.update(json.dumps(document, sort_keys=True).encode())
    return digest.hexdigest()


def _check_documents(index: Index, corpus: Any, task: str) -> None:
    """See that the documents of a corpus and of an index have the same ids, and some of them, at even distances, the
    same texts."""
    ids, own = set(corpus["id"]), set(index.documents)
    faults = [
        f"{what}: {len(lacking):,}, e.g. {', '.join(map(repr, sorted(lacking)[:SHOWN]))}"
        for what, lacking in (
            (f"documents of {task} that it lacks", ids - own),
            ("documents that only it has", own - ids),
        )
        if lacking
    ]
    if faults:
        raise DsiError(f"{index!r} is not an index of this corpus: {'; '.join(faults)}")
    for place in range(0, len(corpus), -(-len(corpus) // COMPARED)) if index.has_documents else ():
        row = corpus[place]
        given = Document(row["id"], row.get("title") or "", row["text"])
        if _words_in_order(given) != _words_in_order(index.documents[given.doc_id]):
            raise DsiError(
                f"{index!r} is not an index of this corpus: document {row['id']!r} of {task} has another text"
            )


def _words_in_order(document: Document) -> list[str]:
    return nfc(document.content()).split()
