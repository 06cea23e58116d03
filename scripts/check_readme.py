"""Check that what README.md says is so: its numbers, its tables, its plot, and all that it names.

    make check-readme    # lists every fault with its line
    make readme          # writes numbers, tables and plot anew from the stored results, then checks

A measured number is tied to a stored result by a comment right behind it, `0.616<!--=demo/dsi+bm25/RR@10-->`:
scripts/stored_results.py says which names there are, scripts/readme_numbers.py which numbers need one. The table
between `<!-- begin results -->` and `<!-- end results -->` is written (scripts/readme_tables.py), docs/results.svg is
drawn (scripts/draw_results.py). Links, headings, make
targets, commands with their options, configurations, keys and Python examples must exist (scripts/readme_names.py).
"""

import argparse
import sys
from pathlib import Path

import draw_results
import readme_names
import readme_numbers
import readme_tables
from stored_results import BY_HAND, RECORDED, ROOT, Results, read_results

from dsi.errors import DsiError

PLOT = "docs/results.svg"
"""The plot of the stored results, relative to the README."""
LONGEST = 250
"""The largest number of lines of the README."""
OTHERS = ("SECURITY.md", "docs/architecture.md", "docs/guide.md", "docs/log.md", "docs/scale.md")
"""Texts that must name only what exists, too."""


def main() -> int:
    """Check a README. Returns the exit status: 0, 1 if it has a fault, 2 if the stored results have one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readme", nargs="?", type=Path, default=ROOT / "README.md")
    parser.add_argument("--recorded", type=Path, default=RECORDED, help="JSON file of recorded runs")
    parser.add_argument("--by-hand", type=Path, default=BY_HAND, help="YAML file of other measurements")
    parser.add_argument("--write", action="store_true", help="write tied numbers and tables first")
    options = parser.parse_args()
    try:
        results = read_results(options.recorded, options.by_hand)
    except DsiError as error:
        print(*error.faults, sep="\n", file=sys.stderr)
        return 2
    text = options.readme.read_text(encoding="utf-8")
    if options.write:
        text = readme_tables.rewritten(readme_numbers.rewritten(text, results), results)
        options.readme.write_text(text, encoding="utf-8")
    faults = [(options.readme.name, *fault) for fault in found(text, options.readme.parent, results)]
    if options.readme.resolve() == ROOT / "README.md":
        for path in map(ROOT.joinpath, OTHERS):
            named = readme_names.faults(path.read_text(encoding="utf-8"), path.parent)
            faults += [(path.name, *fault) for fault in named]
    for name, line, fault in faults:
        print(f"{name}:{line}: {fault}", file=sys.stderr)
    return 1 if faults else 0


def found(text: str, folder: Path, results: Results) -> list[tuple[int, str]]:
    """Every fault of a README in `folder` with its line, in order of lines."""
    lines, plot = text.count("\n"), folder / PLOT
    faults = {
        *readme_numbers.faults(text, results),
        *readme_tables.faults(text, results),
        *readme_names.faults(text, folder),
    }
    if lines > LONGEST:
        faults.add((lines, f"{lines} lines are more than {LONGEST}"))
    if plot.exists() and plot.read_text(encoding="utf-8") != draw_results.drawn(draw_results.marks(results)):
        faults.add((lines, f"{PLOT} is not what the stored results give: make readme draws it"))
    return sorted(faults)


if __name__ == "__main__":
    sys.exit(main())
