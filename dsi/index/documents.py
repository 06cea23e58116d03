"""The documents that a user sees of an index: a mapping from their ids."""

from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from itertools import chain

from dsi.corpus.store import Document
from dsi.errors import DsiError
from dsi.index.opened import Opened


class Documents(Mapping[str, Document]):
    """The documents of an index by their ids."""

    def __init__(self, index: Opened) -> None:
        self._corpus, self._has_texts = index.corpus, index.parts.has_documents

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
        chunks = self._corpus.documents["doc_id"].chunks
        return self._corpus.undeleted(chain.from_iterable(chunk.to_pylist() for chunk in chunks))

    def __len__(self) -> int:
        return len(self._corpus) - len(self._corpus.deleted)

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
        return self._corpus.living()

    def _check_texts(self) -> None:
        if not self._has_texts:
            raise DsiError(f"{self._corpus.folder.parent} was saved without its documents; it has their ids only")


class _Values(ValuesView[Document]):
    def __iter__(self) -> Iterator[Document]:
        return self._mapping.rows()  # type: ignore[attr-defined]


class _Items(ItemsView[str, Document]):
    def __iter__(self) -> Iterator[tuple[str, Document]]:
        return ((document.doc_id, document) for document in self._mapping.rows())  # type: ignore[attr-defined]
