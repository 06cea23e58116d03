"""The model card that is saved beside the weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dsi.config import ModelConfig, TrainingConfig, describe

UNKNOWN = "not stated"


def distillation(who: str, distilled: Mapping[str, Any]) -> str:
    """What a reader of the scores of `who` must know of its teacher, in a sentence. `distilled` has teacher, licence
    and trained_on, as far as they are known.

    >>> print(distillation("dsi", {"teacher": "A", "licence": "MIT"}).partition(";")[0])
    dsi learnt from the labels of the teacher A, licence: MIT, trained on: not stated
    """
    teacher, licence, trained_on = (distilled.get(key, UNKNOWN) for key in ("teacher", "licence", "trained_on"))
    return (
        f"{who} learnt from the labels of the teacher {teacher}, licence: {licence}, trained on: {trained_on}; figures"
        ' "without a real training query" do not hold where the teacher saw such queries.'
    )


def write_card(
    folder: Path, model: ModelConfig, training: TrainingConfig, corpus: Mapping[str, Any], counts: Mapping[str, Any]
) -> None:
    """Write README.md for the Hugging Face hub; `corpus` has source, documents and docids, `counts` are training's."""
    measures = {name: value for name, value in counts.items() if "@" in name}
    front: dict[str, Any] = {
        "library_name": "transformers",
        "tags": ["generative-retrieval", "differentiable-search-index", "t5"],
        "pipeline_tag": "feature-extraction",
    }
    if "distilled" in counts:
        front["tags"].append("distillation")
        front["distilled"] = dict(counts["distilled"])  # what starts from this model is distilled, too
    if model.checkpoint is not None:
        front["base_model"] = model.checkpoint
    if measures:
        name = str(corpus["source"])
        results = [
            {
                "task": {"type": "text-retrieval"},
                "dataset": {"type": name, "name": f"{name}, dev queries, {corpus['documents']:,} documents"},
                "metrics": [{"type": measure, "value": round(value, 4)} for measure, value in measures.items()],
            }
        ]
        front["model-index"] = [{"name": f"dsi, {corpus['docids']} docids", "results": results}]
    parts = ", ".join(f"{name} {number:,}" for name, number in counts["parameters_by_part"].items())
    lines = [
        "---",
        yaml.safe_dump(front, sort_keys=False).strip(),
        "---",
        "",
        "# A differentiable search index",
        "",
        f"Maps a query to identifiers of {corpus['documents']:,} documents ({corpus['source']}),"
        f" {corpus['docids']} docids. {counts['parameters']:,} parameters ({parts}).",
        "",
        f"Trained for {counts['steps']:,} steps on {counts['examples']:,} pairs in"
        f" {counts['training_seconds']:,.0f} seconds; kept is the model of step {counts['best_step']:,}"
        + (", with the document states of its documents added to its rows." if counts["states_added"] else "."),
        *(f"{measure} on dev queries, by which it was chosen: {value:.4f}." for measure, value in measures.items()),
        "",
        *([distillation("It", counts["distilled"]), ""] if "distilled" in counts else []),
        "It knows these documents only, and their identifiers from the folder `docids` of the run:",
        "",
        "```python",
        "import dsi",
        "",
        'index = dsi.load("runs/NAME")  # or a folder that `dsi export runs/NAME FOLDER` made',
        'index.search(["a query"])',
        "```",
        "",
        "## Recipe",
        "",
        "```yaml",
        "model:",
        describe(type(model), model, "  "),
        "training:",
        describe(type(training), training, "  "),
        "```",
    ]
    (folder / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
