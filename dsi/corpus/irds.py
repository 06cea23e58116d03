"""The source `ir_datasets`: any dataset of that catalogue, which downloads what it needs on first use."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dsi.config import CorpusConfig
from dsi.corpus.files import parse_relevance
from dsi.corpus.source import Source, Where
from dsi.corpus.store import Document, Qrel, Query
from dsi.errors import DsiError
from dsi.runtime.extras import require


def open_source(config: CorpusConfig) -> Source:
    """Look up `config.dataset` and `config.splits`; DsiError if there is no catalogue, or it lacks one of them or its
    records."""
    require("ir-datasets", "corpus.source=ir_datasets")
    assert config.dataset is not None  # CorpusConfig checks it
    return IrDatasets(config.dataset, config.splits)


class IrDatasets:
    """The documents of one catalogue entry, with the queries and judgements of one entry per split."""

    def __init__(self, dataset: str, splits: dict[str, str]) -> None:
        self._dataset, self.splits = dataset, splits
        _load("corpus.dataset", dataset, ["docs"])
        for split, name in splits.items():
            _load(f"corpus.splits.{split}", name, ["queries", "qrels"])

    @property
    def files(self) -> Mapping[str, Path]:
        return {}

    def documents(self) -> Iterator[tuple[Where, Document]]:
        for where, record in _iterate(self._dataset, "document", lambda dataset: dataset.docs_iter()):
            title = getattr(record, "title", None) or ""
            yield where, Document(record.doc_id, title, _without_title(title, _text(where, record)))

    def queries(self, split: str) -> Iterator[tuple[Where, Query]]:
        for where, record in _iterate(self.splits[split], "query", lambda dataset: dataset.queries_iter()):
            yield where, Query(record.query_id, _text(where, record))

    def qrels(self, split: str) -> Iterator[tuple[Where, Qrel]]:
        for where, record in _iterate(self.splits[split], "judgement", lambda dataset: dataset.qrels_iter()):
            yield where, Qrel(record.query_id, record.doc_id, parse_relevance(where, str(record.relevance)))


def _load(key: str, name: str, parts: list[str]) -> None:
    import ir_datasets

    try:
        dataset = ir_datasets.load(name)
    except KeyError:
        raise DsiError(f"{key}: {name!r} is not in the ir_datasets catalogue, see https://ir-datasets.com") from None
    for part in parts:
        if not dataset.has(part):
            raise DsiError(f"{key}: {name} has no {part}; see https://ir-datasets.com for the ids that do")


def _iterate(name: str, unit: str, records: Callable[[Any], Iterable[Any]]) -> Iterator[tuple[Where, Any]]:
    import ir_datasets

    try:
        for number, record in enumerate(records(ir_datasets.load(name)), start=1):
            yield Where(name, number, unit), record
    except (OSError, RuntimeError) as error:  # a failed download
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise DsiError(f"ir_datasets cannot provide {name}: {reason[0]}") from None


def _text(where: Where, record: Any) -> str:
    if hasattr(record, "default_text"):
        return str(record.default_text())
    if hasattr(record, "text"):
        return str(record.text)
    raise DsiError(f"{where}: has no text, only {', '.join(record._fields)}; this dataset cannot be used")


def _without_title(title: str, text: str) -> str:
    """The text without the title that `default_text()` of nearly all datasets puts before it.

    >>> _without_title("Fish", "Fish swim."), _without_title("Fish", "Fishing is fun.")
    ('swim.', 'Fishing is fun.')
    """
    rest = text.removeprefix(title)
    return rest.lstrip() if not rest or rest[0].isspace() else text
