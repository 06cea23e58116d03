"""Tab-separated tables with a header, the form of every table that a run keeps."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path


def write_tsv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows of values; floats that are not spelled out come with enough digits to read them back as they were."""
    with path.open("w", encoding="utf-8") as file:
        for row in (header, *rows):
            file.write("\t".join(map(str, row)) + "\n")


def read_tsv(path: Path) -> Iterator[dict[str, str]]:
    """Each row by the header's names."""
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
