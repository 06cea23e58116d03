"""What is known of a teacher: whoever reads a distilled system's scores must know what the teacher had seen."""

from pathlib import Path
from typing import Any

import yaml

from dsi.artifacts import read_manifest
from dsi.config import STATED_OF_TEACHER, TeacherConfig
from dsi.model.card import UNKNOWN
from dsi.teacher.labels import TeacherLabels

FACTS = ("teacher", *STATED_OF_TEACHER)
BM25 = {"teacher": "BM25 (tantivy)", "licence": "MIT", "trained_on": "nothing"}


def about(teacher: TeacherConfig) -> dict[str, str]:
    """The name of the teacher, its licence and what it was trained on, as far as its model card or the configuration
    say; of a cross-encoder also those of the teacher that finds its candidates. Nothing of BM25 was trained."""
    if teacher.kind == "bm25":
        facts = dict(BM25)
    elif teacher.kind == "run":
        facts = {"teacher": Path(teacher.path or "").name, "licence": UNKNOWN, "trained_on": UNKNOWN}
    else:
        facts = _of_model(teacher.model)
    if teacher.kind == "cross_encoder":
        finds = _of_model(teacher.candidates_model) if teacher.candidates == "bi_encoder" else BM25
        facts["teacher"] += f" on the candidates of {finds['teacher']}"
        if finds is not BM25:
            facts |= {key: f"{facts[key]}; that of the candidates: {finds[key]}" for key in STATED_OF_TEACHER}
    return facts | {key: value for key in STATED_OF_TEACHER if (value := getattr(teacher, key))}


def learnt(labels: TeacherLabels | None, teacher_folder: Path | None, checkpoint: str | None) -> dict[str, Any]:
    """What a trained system has to say of its teachers: `labels`, what these are like, and `distilled`, who gave them;
    also where only the checkpoint that it started from has learnt from a teacher, as its model card says."""
    counts = (read_manifest(teacher_folder) or {"counts": {}})["counts"] if teacher_folder is not None else {}
    given = {key: counts[key] for key in FACTS if key in counts}
    before = _front_matter(checkpoint).get("distilled") if checkpoint is not None else None
    if isinstance(before, dict):
        before = {key: str(before.get(key, UNKNOWN)) for key in FACTS}
        same = not given or given == before
        given = before if same else {key: f"{given[key]}; of its checkpoint: {before[key]}" for key in FACTS}
    return {**({"labels": labels.facts} if labels else {}), **({"distilled": given} if given else {})}


def _of_model(model: str) -> dict[str, str]:
    card = _front_matter(model)
    name = card.get("name")
    return {
        "teacher": name if isinstance(name, str) and name else Path(model).name,
        "licence": _listed(card.get("license_name") if card.get("license") == "other" else card.get("license")),
        "trained_on": _listed(card.get("datasets")),
    }


def _listed(value: Any) -> str:
    """A value of a model card, which may be one or several."""
    return ", ".join(map(str, value if isinstance(value, list) else [value] if value else [])) or UNKNOWN


def _front_matter(model: str) -> dict[str, Any]:
    """The YAML at the beginning of a model's README.md; empty where there is none."""
    path = Path(model) / "README.md"
    if not Path(model).is_dir():
        from transformers.utils import cached_file

        from dsi.tokenizer import ABSENT

        found = cached_file(model, "README.md", **ABSENT)
        path = Path(found) if found else path
    if not path.is_file():
        return {}
    before, _, rest = path.read_text(encoding="utf-8", errors="replace").partition("---\n")
    if before.strip("\ufeff\n "):  # a line below text is a rule
        return {}
    try:
        values = yaml.safe_load(rest.partition("\n---")[0])
    except yaml.YAMLError:
        return {}
    return values if isinstance(values, dict) else {}
