"""The model card of a saved index: what it is, what was measured, and the licences that were stated."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dsi.artifacts import read_manifest
from dsi.config import CONFIG, STATED_OF_TEACHER, CorpusConfig, TeacherConfig, read_part
from dsi.corpus.store import Corpus
from dsi.index.parts import Parts
from dsi.model.card import UNKNOWN, distillation
from dsi.report.results import results
from dsi.report.summary import context, headline, simulated

STAGES = ("corpus", "doc2query", "docids", "model", "search", "baselines", "prior", "evaluation")
HUB_LICENCES = re.compile(
    r"apache-2\.0|mit|bsd|bsd-[23]-clause|cc0-1\.0|cc-by(-nc)?(-sa|-nd)?-[234]\.0|gpl-[23]\.0|lgpl-[23]\.0|agpl-3\.0"
    r"|odc-by|pddl|odbl|unlicense"
)
"""The hub's names of common licences; others are written out."""
NOT_COMMERCIAL = re.compile(
    r"\bnc\b|non[- ]?commercial|(academic|research|educational)([- ]| use| purposes?)*\bonly|academic use",
    re.IGNORECASE,
)
CHANGED = "Documents were added or deleted since this index was made. It has"
SAYS = re.compile(r'dsi\.load\("[^"]*"\)')
"""The call in a card that opens the index."""


def licences_of(parts: Parts) -> dict[str, str]:
    """The licences of the documents and of the teacher of a run, if it has one, as they were stated."""
    licences = {"corpus": read_part(parts.folder / CONFIG, "corpus", CorpusConfig).licence or UNKNOWN}
    if distilled := _distilled(parts):
        licences["teacher"] = distilled.get("licence", UNKNOWN)
    return licences


def warnings_of(licences: Mapping[str, str]) -> list[str]:
    """A sentence for each licence that forbids commercial use.

    >>> warnings_of({"corpus": "CC BY-NC 4.0", "teacher": "apache-2.0"})
    ['The licence of the corpus (CC BY-NC 4.0) forbids commercial use.']
    """
    return [
        f"The licence of the {of} ({licence}) forbids commercial use."
        for of, licence in licences.items()
        if NOT_COMMERCIAL.search(licence)
    ]


def without_folders(text: str, run_folder: Path) -> str:
    """The text of a run, in which a checkpoint or another file of this machine is its name alone."""
    for stage in STAGES:
        paths = (read_manifest(run_folder / stage) or {}).get("paths", {}).values()
        for path in (each for value in paths for each in (value if isinstance(value, list) else [value])):
            if Path(path).is_absolute():
                text = text.replace(path, Path(path).name)
    return text


def card(parts: Parts, licences: Mapping[str, str]) -> str:
    """The text of the card of a run's index."""
    manifests = {stage: read_manifest(parts.folder / stage) or {"counts": {}, "inputs": {}} for stage in STAGES}
    documents, kind = len(Corpus(parts.corpus)), manifests["docids"]["counts"].get("kind", "")
    front: dict[str, Any] = {
        "library_name": "dsi",
        "pipeline_tag": "text-ranking",
        "tags": ["generative-retrieval", "differentiable-search-index", "information-retrieval", "t5"],
    }
    licence = licences["corpus"].lower()
    if HUB_LICENCES.fullmatch(licence):
        front["license"] = licence
    elif licence != UNKNOWN:
        front |= {"license": "other", "license_name": licences["corpus"]}
    distilled = _distilled(parts)
    if distilled:
        front["tags"].append("distillation")
    lines = [
        "---",
        yaml.safe_dump(front, sort_keys=False, allow_unicode=True).strip(),
        "---",
        "",
        f"# An index of {documents:,} documents",
        "",
        f"A differentiable search index: one T5 maps a query to the identifiers of these documents ({kind} docids)."
        " It is searched with the Python package dsi (`pip install dsi-retrieval`):",
        "",
        "```python",
        "import dsi",
        "",
        f'index = dsi.load("{parts.folder.name}")',
        'print(index.search("a query"))',
        "```",
        "",
        "## Measured",
        "",
        *_measured(parts.folder / "evaluation/metrics.json", manifests),
        "",
        *([distillation("It", distilled), ""] if distilled else []),
        "## Licences",
        "",
        *(f"- {of}: {stated}" for of, stated in licences.items()),
        "",
        *(f"**{warning}**" for warning in warnings_of(licences)),
    ]
    return without_folders("\n".join(lines).rstrip() + "\n", parts.folder)


def for_repository(text: str, name: str) -> str:
    """The card with the name of a repository where it says how the index is opened."""
    return SAYS.sub(lambda _: f"dsi.load({json.dumps(name, ensure_ascii=False)})", text)


def with_changes(text: str, documents: int) -> str:
    """The card of an index that has so many documents since others were added or deleted."""
    note = f"{CHANGED} {documents:,} documents; what is below was measured before.\n"
    found = re.search(rf"^{CHANGED}.*\n", text, re.MULTILINE)
    if found:
        return text[: found.start()] + note + text[found.end() :]
    return re.sub(r"^(# .*\n)", lambda heading: f"{heading[1]}\n{note}", text, count=1, flags=re.MULTILINE)


def _measured(metrics_file: Path, manifests: Mapping[str, Any]) -> list[str]:
    """The table of results of the run, with what was indexed; what stands for it if nothing was evaluated."""
    if not metrics_file.is_file():
        return ["Nothing was measured: the run has no evaluation."]
    metrics = json.loads(metrics_file.read_text(encoding="utf-8"))
    measured = f"{headline(metrics)} {context(metrics, manifests)}."
    return [measured, "", results(metrics).markdown(), *simulated(manifests)]


def _distilled(parts: Parts) -> dict[str, str]:
    """What is known of the teacher that the model has learnt from; nothing without one."""
    model = read_manifest(parts.folder / "model") or {"counts": {}}
    if "distilled" not in model["counts"]:
        return {}
    teacher = read_part(parts.folder / CONFIG, "teacher", TeacherConfig)
    stated = {key: value for key in STATED_OF_TEACHER if (value := getattr(teacher, key))}
    return {**model["counts"]["distilled"], **stated}
