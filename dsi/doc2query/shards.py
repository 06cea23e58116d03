"""Synthetic queries on disk: Parquet shards of (doc_index, text), each for a contiguous range of documents."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dsi.corpus.words import nfc
from dsi.runtime.shards import published

SUFFIX = ".parquet"
SCHEMA = pa.schema({"doc_index": pa.uint32(), "text": pa.string()})


def write_shard(path: Path, first_document: int, queries: list[list[str]]) -> None:
    """Write a shard with the queries, in NFC, of the documents `first_document`, `first_document + 1` and so on."""
    counts = [len(texts) for texts in queries]
    doc_index = np.repeat(np.arange(first_document, first_document + len(queries), dtype=np.uint32), counts)
    texts = [nfc(text) for texts in queries for text in texts]
    with published(path) as temporary:
        pq.write_table(pa.table([doc_index, texts], schema=SCHEMA), temporary, compression="zstd")


def count_queries(path: Path) -> int:
    """The number of queries in a shard, read from its footer."""
    return int(pq.read_metadata(path).num_rows)


def shard_paths(folder: Path) -> list[Path]:
    """The files of the finished shards in order."""
    return sorted(folder.glob(f"shard-*{SUFFIX}"))


def read_shard(path: Path) -> tuple[NDArray[np.uint32], list[str]]:
    """The `doc_index` and the text of each query in a shard; the queries of a document stand together."""
    table = pq.read_table(path)
    return table["doc_index"].to_numpy(), table["text"].to_pylist()


def read_shards(folder: Path, documents: range | None = None) -> Iterator[tuple[NDArray[np.uint32], list[str]]]:
    """The queries of every finished shard in order, as `read_shard` returns them; of those with queries of some
    `documents`, if these are given."""
    return (read_shard(path) for path in shard_paths(folder) if documents is None or _has_any(path, documents))


def _has_any(path: Path, documents: range) -> bool:
    """Whether a shard has queries of some of these documents, as far as its footer tells."""
    footer = pq.read_metadata(path)
    bounds = [footer.row_group(number).column(0).statistics for number in range(footer.num_row_groups)]
    return any(found is None or (found.min < documents.stop and found.max >= documents.start) for found in bounds)


def read_queries_of(folder: Path, documents: Iterable[int]) -> dict[int, list[str]]:
    """The queries of the given documents by `doc_index`; only these are held in memory."""
    queries: dict[int, list[str]] = {number: [] for number in documents}
    wanted = pa.array(queries, pa.uint32())
    for path in shard_paths(folder):
        table = pq.read_table(path, filters=pc.field("doc_index").isin(wanted))
        for number, text in zip(table["doc_index"].to_pylist(), table["text"].to_pylist(), strict=True):
            queries[number].append(text)
    return queries
