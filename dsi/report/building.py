"""The part of the report on how the index came about: its synthetic queries, its dev curve, the cost of its stages."""

from collections.abc import Mapping, Sequence
from typing import Any

from dsi.evaluation.breakdown import bucket_names
from dsi.report.blocks import Block
from dsi.report.cost import Manifests
from dsi.report.quantities import as_written, count, decimal, duration, size
from dsi.report.tables import Table

CURVE_POINTS = 12
"""The number of points shown of the dev curve, at most, beside the best one; the file has all."""


def synthetic_queries(counts: dict[str, Any]) -> list[Block]:
    """The quality of the synthetic queries, in words."""
    sheet = counts.get("quality")
    if sheet is None:
        return ["There is no quality sheet."]
    blocks: list[Block] = [
        f"Of {count(sheet['sampled_queries'])} queries in a sample of documents, {sheet['unique']:.0%} are unique among"
        f" their document's; they have {decimal(sheet['words'], 1)} words on average, {sheet['copied']:.0%} of which"
        " occur in the document."
    ]
    if "max_jaccard" in sheet:
        buckets = sheet["max_jaccard"]["buckets"]
        blocks += [
            "Similarity (Jaccard, of sets of words) of a real dev query to the closest synthetic query of its document:"
            f" {decimal(sheet['max_jaccard']['mean'], 2)} on average.",
            Table(
                "similarity",
                "Dev queries by their similarity to the closest synthetic query of their document.",
                ["similarity", *bucket_names()],
                [["dev queries", *map(count, buckets)]],
            ),
        ]
    predictions = counts.get("predictions")
    if predictions:
        blocks += [f"{count(predictions['documents_without'])} documents have no released prediction."]
    return blocks


def stages(manifests: Manifests) -> Table:
    """What each stage took."""
    rows = [
        [stage, duration(manifest["seconds"]), size(manifest["peak_memory_bytes"])]
        for stage, manifest in manifests.items()
    ]
    return Table("building", "What the stages took.", ["stage", "time", "peak memory"], rows)


def dev_curve(curve: Sequence[Mapping[str, str]]) -> list[Block]:
    """Some points of the dev curve, the last and the best among them, as a table and what it shows."""
    if not curve:
        return ["There is no dev curve."]
    step = max(1, -(-(len(curve) - 1) // (CURVE_POINTS - 1)))
    shown = set(range(len(curve) - 1, -1, -step))  # counted from the end, which is always shown
    has_dev = "RR@10" in curve[0]
    if has_dev:
        shown.add(max(range(len(curve)), key=lambda number: float(curve[number]["RR@10"])))
    rows = [list(map(as_written, curve[number].values())) for number in sorted(shown)]
    kept = "There are no dev queries, so the last point is the model that was kept."
    if has_dev:
        kept = "The point with the best RR@10 on dev queries is the model that was kept."
        if not float(curve[0]["step"]):
            kept += (
                " Step 0 is the warm start; a step's second point is the best model of the round with document states"
                " added to its rows."
            )
    return [Table("dev-curve", "Some points of the dev curve.", list(curve[0]), rows), kept]


def versions(manifests: Manifests) -> str:
    """The versions of the packages; stages made at different times may differ."""
    versions: dict[str, list[str]] = {}
    for manifest in manifests.values():
        for package, version in manifest["packages"].items():
            if version not in versions.setdefault(package, []):
                versions[package].append(version)
    return ", ".join(f"{package} {' and '.join(several)}" for package, several in versions.items())
