"""What a training leaves to read: the dev curve and the record of its speed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dsi.runtime.tsv import write_tsv
from dsi.training.batch_trainer import DEV_MEASURE


def dev_curve(history: list[dict[str, Any]], batch_size: int, steps_before: int = 0) -> list[dict[str, Any]]:
    """Points of the curve from the Trainer's log: step, examples, seconds, loss, and the dev measure if any."""
    curve: list[dict[str, Any]] = []
    loss = float("nan")
    for entry in history:
        loss = entry.get("loss", loss)
        if "eval_seconds" in entry:
            step = steps_before + entry["step"]
            point = {"step": step, "examples": step * batch_size, "seconds": entry["eval_seconds"]}
            point["loss"] = loss
            if f"eval_{DEV_MEASURE}" in entry:
                point[DEV_MEASURE] = entry[f"eval_{DEV_MEASURE}"]
            curve.append(point)
    return curve


def training_record(history: list[dict[str, Any]], steps_before: int = 0) -> list[dict[str, Any]]:
    """What the Trainer logged of the steps: loss, speed and share of the machine's multiplication speed."""
    kept = ("seconds", "loss", "grad_norm", "examples_per_second", "tokens_per_second", "share_of_bound")
    return [
        {"step": steps_before + entry["step"], **{name: entry[name] for name in kept if name in entry}}
        for entry in history
        if "loss" in entry
    ]


def write_points(path: Path, points: list[dict[str, Any]]) -> None:
    """A row a point; an empty file of none."""
    rows = ([f"{value:.7g}" for value in point.values()] for point in points)
    write_tsv(path, list(points[0]) if points else [], rows)
