"""What a training leaves to read: the dev curve and the record of the loss and the speed."""

from pathlib import Path
from typing import Any

from dsi.evaluation.measures import DEV_MEASURE
from dsi.runtime.tsv import write_tsv


def dev_curve(history: list[dict[str, Any]], batch_size: int, steps_before: int = 0) -> list[dict[str, Any]]:
    """The points of the dev curve in the Trainer's log: step, examples, seconds, loss, and the dev measure if any.

    `steps_before` are the steps of earlier rounds.
    """
    curve: list[dict[str, Any]] = []
    loss = float("nan")
    for entry in history:
        loss = entry.get("loss", loss)
        if "eval_seconds" in entry:
            step = steps_before + entry["step"]
            point = {"step": step, "examples": step * batch_size, "seconds": entry["eval_seconds"], "loss": loss}
            if f"eval_{DEV_MEASURE}" in entry:
                point[DEV_MEASURE] = entry[f"eval_{DEV_MEASURE}"]
            curve.append(point)
    return curve


def training_record(history: list[dict[str, Any]], steps_before: int = 0) -> list[dict[str, Any]]:
    """The Trainer's log of its steps: the loss, the speed, and its share of the machine's multiplication speed."""
    kept = ("seconds", "loss", "grad_norm", "examples_per_second", "tokens_per_second", "share_of_bound")
    return [
        {"step": steps_before + entry["step"], **{name: entry[name] for name in kept if name in entry}}
        for entry in history
        if "loss" in entry
    ]


def write_points(path: Path, points: list[dict[str, Any]]) -> None:
    """Write one row per point; without points the file has an empty header."""
    rows = ([f"{value:.7g}" for value in point.values()] for point in points)
    write_tsv(path, list(points[0]) if points else [], rows)
