"""Synthetic queries on disk: Parquet shards of (doc_index, text), each published whole by a rename.

A shard covers a contiguous range of documents and is the unit of resuming and of randomness: its content depends on
the configuration, the seed and the shard number, not on which process wrote it or when.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

SCHEMA = pa.schema({"doc_index": pa.uint32(), "text": pa.string()})


def shard_path(folder: Path, shard: int) -> Path:
    return folder / f"shard-{shard:05d}.parquet"


def write_shard(path: Path, first_document: int, queries: list[list[str]]) -> None:
    """Publish the queries of documents `first_document`, `first_document + 1`, ..."""
    counts = [len(texts) for texts in queries]
    doc_index = np.repeat(np.arange(first_document, first_document + len(queries), dtype=np.uint32), counts)
    texts = [text for texts in queries for text in texts]
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(pa.table([doc_index, texts], schema=SCHEMA), temporary, compression="zstd")
    temporary.replace(path)


def count_queries(path: Path) -> int:
    """Number of queries in a shard, from its footer."""
    return int(pq.read_metadata(path).num_rows)


def read_shards(folder: Path) -> Iterator[tuple[NDArray[np.uint32], list[str]]]:
    """The shards in order, each as (doc_index, texts) of equal length."""
    for path in sorted(folder.glob("shard-*.parquet")):
        table = pq.read_table(path)
        yield table["doc_index"].to_numpy(), table["text"].to_pylist()


def read_queries_of(folder: Path, documents: Iterable[int]) -> dict[int, list[str]]:
    """Queries of the given documents, by doc_index, without reading the shards of others."""
    queries: dict[int, list[str]] = {number: [] for number in documents}
    wanted = pa.array(queries, pa.uint32())
    for path in sorted(folder.glob("shard-*.parquet")):
        table = pq.read_table(path, filters=pc.field("doc_index").isin(wanted))
        for number, text in zip(table["doc_index"].to_pylist(), table["text"].to_pylist(), strict=True):
            queries[number].append(text)
    return queries
