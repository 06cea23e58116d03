"""Compares two folders of runs file by file, but for what says how long something took and how much memory it used."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dsi.artifacts import MANIFEST
from dsi.runtime.tsv import read_tsv

FILES = {"training_args.bin", "summary.txt", "report.md", "report.html"}
"""Files of which only the name is compared: they hold paths, or show seconds."""
BY_CHANCE = "postings"
"""The folder of files whose names tantivy draws; what is found with them is in the labels of the teacher."""
MEMORY = {Path(".store/contents.json")}
"""The hashes of files that were read long enough after a change, which is no result."""
COLUMNS = {"seconds", "milliseconds", "examples_per_second", "tokens_per_second", "share_of_bound"}
"""The columns of tables that are left out."""
KEYS = {
    *("seconds", "training_seconds", "seconds_index", "examples_per_second", "queries_per_second", "latency_ms"),
    *("seconds_per_million_queries", "peak_memory_bytes", "resident_bytes", "anonymous_bytes"),
    *("date", "files", "digest"),
}
"""The keys of manifests that are left out; files are compared themselves, and the digest covers the other keys."""
FOLDERS = {"figures", "tables"}
"""Folders in reports, of whose files only the names are compared."""
LUCENE = {"bm25", "bm25_doc2query"}
"""Systems whose index_bytes are left out: Lucene's threads divide the documents among segments as they come."""


def differences(expected: Path, found: Path) -> Iterator[str]:
    """Yield the relative path of everything that is in one folder only or differs, and what is wrong with it."""
    both = [{path.relative_to(root) for path in root.rglob("*")} for root in (expected, found)]
    for path in sorted((both[0] | both[1]) - MEMORY):
        if BY_CHANCE in path.parts:
            continue
        if path not in both[1]:
            yield f"{path} is missing"
        elif path not in both[0]:
            yield f"{path} is one too many"
        elif compared(expected / path) != compared(found / path):
            yield f"{path} differs"


def compared(path: Path) -> Any:
    """What is compared of a file, a link or a folder."""
    if path.is_symlink():
        return os.readlink(path)
    if path.is_dir() or path.name in FILES or path.parent.name in FOLDERS:
        return None
    if path.name == MANIFEST:
        return without_costs(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".tsv":
        return [{key: value for key, value in row.items() if key not in COLUMNS} for row in read_tsv(path)]
    if path.name == "README.md":
        return re.sub(r"in [\d,]+ seconds", "", path.read_text(encoding="utf-8"))
    return path.read_bytes()


def without_costs(value: Any, name: str = "") -> Any:
    """A value of a manifest without `KEYS`; `name` is the key it stands under."""
    if not isinstance(value, dict):
        return value
    left_out = KEYS | ({"index_bytes"} if name in LUCENE else set())
    return {key: without_costs(part, key) for key, part in value.items() if key not in left_out}
