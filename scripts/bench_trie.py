"""Seconds, memory and bytes of the docid trie for all 8,841,823 MS MARCO passages, and of a dict of dicts for 200,000.

    make bench-trie

The docids have the shape that hierarchical k-means gives (k=10, c=100, as in the paper). Each part runs in a process of
its own, so that its peak memory is its own; the codes are read from disk as the stage reads them.
"""

import argparse
import resource
import sys
import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from docid_shapes import dict_trie, kmeans_shaped
from timing import timed

from dsi.docids.store import smallest_signed
from dsi.docids.trie import build_trie
from dsi.report.tables import text_table

PASSAGES, FEW = 8_841_823, 200_000
CLUSTERS, LEAF_SIZE = 10, 100
GIB = 1 << 30


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for documents in (PASSAGES, FEW):
            folder = Path(name, str(documents))
            folder.mkdir()
            apart(write_codes, folder, documents)
            seconds, peak, size = apart(array_trie, folder)
            rows.append(["arrays", f"{documents:,}", f"{seconds:.2f}", f"{peak:.2f}", f"{size / documents:.1f}"])
            if documents == PASSAGES:
                result = f"seconds={seconds:.2f} peak_gib={peak:.2f} bytes_per_docid={size / documents:.2f}"
        seconds, peak, size = apart(nested_dicts, folder)
        rows.append(["dict of dicts, in memory", f"{FEW:,}", f"{seconds:.2f}", f"{peak:.2f}", f"{size / FEW:.1f}"])
    print(f"k={CLUSTERS}, c={LEAF_SIZE}; seconds from codes on disk to the trie; peak of the whole process")
    print(text_table(["trie", "docids", "seconds", "peak GiB", "bytes a docid"], rows))
    print(result)


def apart(work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work` returns, in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def write_codes(folder: Path, documents: int) -> None:
    codes = kmeans_shaped(documents, CLUSTERS, LEAF_SIZE)
    np.save(folder / "codes.npy", codes.astype(smallest_signed(int(codes.max()))))


def array_trie(folder: Path) -> tuple[float, float, int]:
    """The seconds to build and write the trie, the peak GiB of the process, and the bytes on disk."""
    seconds, _ = timed(lambda: build_trie(np.load(folder / "codes.npy", mmap_mode="r")).save(folder))
    return seconds, peak_gib(), sum(path.stat().st_size for path in folder.glob("trie.*"))


def nested_dicts(folder: Path) -> tuple[float, float, int]:
    """The seconds to build nested dicts, the peak GiB of the process, and the bytes by which they made it grow."""
    codes = np.load(folder / "codes.npy")
    before = peak_gib()
    seconds, _ = timed(lambda: dict_trie(code[code >= 0].tolist() for code in codes))
    return seconds, peak_gib(), round((peak_gib() - before) * GIB)


def peak_gib() -> float:
    """The largest resident memory that this process has had, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / GIB


if __name__ == "__main__":
    main()
