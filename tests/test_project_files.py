"""The files around the package say the same as each other: versions, the changelog, the workflow and its forms."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import dsi

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FORMS = sorted({*(ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")} - {ROOT / ".github/ISSUE_TEMPLATE/config.yml"})


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version() -> None:
    citation = read_yaml(ROOT / "CITATION.cff")
    assert citation["version"] == dsi.__version__
    assert citation["license"] == "Apache-2.0"


def test_the_changelog_begins_with_what_is_not_released_and_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased, *releases = re.findall(r"^## (.*)$", text, re.M)
    assert unreleased == "[Unreleased]"
    released = [re.fullmatch(r"\[(.+)\] - (\d{4}-\d\d-\d\d)", release) for release in releases]
    versions = [match[1] for match in released if match]
    assert len(versions) == len(releases)
    assert versions[0] == PROJECT["version"]
    assert versions == sorted(versions, key=Version, reverse=True)
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.M)) <= kinds


def test_the_oldest_versions_are_those_that_the_project_allows() -> None:
    extras = PROJECT["optional-dependencies"]
    allowed = [*PROJECT["dependencies"], *(line for extra in extras.keys() - {"all", "dev"} for line in extras[extra])]
    lines = (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if not line.startswith("#")]
    assert lowest(pinned, "==") == lowest(allowed, ">=")


def lowest(requirements: list[str], operator: str) -> dict[str, Version]:
    """The version of each package, all of which are given by this operator alone."""
    versions = {}
    for requirement in map(Requirement, requirements):
        (specifier,) = requirement.specifier
        assert specifier.operator == operator, requirement
        versions[requirement.name] = Version(specifier.version)
    return versions


def test_the_workflow_calls_targets_of_the_makefile() -> None:
    jobs = read_yaml(ROOT / ".github/workflows/tests.yml")["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([\w-]+):(?!=)", makefile, re.M)
    assert commands
    assert {*commands} <= {f"make {target}" for target in targets}


def test_the_workflow_has_every_python_of_the_project_and_versions_that_exist() -> None:
    matrix = read_yaml(ROOT / ".github/workflows/tests.yml")["jobs"]["test"]["strategy"]["matrix"]
    prefix = "Programming Language :: Python :: "
    stated = [line.removeprefix(prefix) for line in PROJECT["classifiers"] if line.startswith(prefix)]
    assert ["3", *matrix["python"]] == stated
    assert PROJECT["requires-python"] == f">={matrix['python'][0]}"
    files = [*matrix["constraints"], *(job["constraints"] for job in matrix["include"])]
    assert all((ROOT / file).exists() for file in files)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_has_questions(path: Path) -> None:
    form = read_yaml(path)
    assert form["name"]
    assert form["description"]
    questions = [question for question in form["body"] if question["type"] != "markdown"]
    assert all(question["attributes"]["label"] for question in questions)
    assert len({question["id"] for question in questions}) == len(questions) >= 3


def test_all_of_it_is_yaml() -> None:
    files = [*(ROOT / ".github").rglob("*.yml")]
    assert len(files) > len(FORMS) > 0
    assert all(isinstance(read_yaml(path), dict) for path in files)
