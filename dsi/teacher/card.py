"""What is known of a teacher: whoever reads a distilled system's scores must know what the teacher had seen."""

from pathlib import Path
from typing import Any

import yaml

from dsi.artifacts import read_manifest
from dsi.config import TeacherConfig
from dsi.model.card import UNKNOWN


def about(teacher: TeacherConfig) -> dict[str, Any]:
    """The name of the teacher, its licence and what it was trained on, as far as its model card or the configuration
    say; nothing of BM25 was trained."""
    if teacher.kind == "bm25":
        return {"teacher": "BM25 (tantivy)", "licence": "MIT", "trained_on": "nothing"}
    card = {} if teacher.kind == "run" else _front_matter(teacher.model)
    name = Path(teacher.path or "").name if teacher.kind == "run" else card.get("name") or Path(teacher.model).name
    datasets = card.get("datasets")
    trained_on = teacher.trained_on or (", ".join(map(str, datasets)) if isinstance(datasets, list) else UNKNOWN)
    licence = teacher.licence or str(card.get("license") or UNKNOWN)
    return {"teacher": name, "licence": licence, "trained_on": trained_on}


def taught(teacher_folder: Path) -> dict[str, Any]:
    """What a system that learnt from the labels of a folder has to say of its teacher."""
    counts = (read_manifest(teacher_folder) or {}).get("counts", {})
    return {key: counts[key] for key in ("teacher", "licence", "trained_on") if key in counts}


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
    _, _, rest = path.read_text(encoding="utf-8", errors="replace").partition("---\n")
    try:
        values = yaml.safe_load(rest.partition("\n---")[0])
    except yaml.YAMLError:
        return {}
    return values if isinstance(values, dict) else {}
