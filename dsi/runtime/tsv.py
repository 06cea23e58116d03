"""Tab-separated tables with a header, the format of every table in a run."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path


def write_tsv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a header and one line per row; floats are written so that they are read back without loss."""
    with path.open("w", encoding="utf-8") as file:
        for row in (header, *rows):
            file.write("\t".join(map(str, row)) + "\n")


def read_tsv(path: Path) -> Iterator[dict[str, str]]:
    """Yield each row as its values by the names in the header."""
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
