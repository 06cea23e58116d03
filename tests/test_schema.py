"""The schema by which editors check configurations: it accepts what the reader accepts, as far as one key goes."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from dsi.cli import main
from dsi.config import Config, load_config
from dsi.config.section import Section
from dsi.errors import DsiError

CONFIGS = Path(__file__).parents[1] / "configs"
SCHEMA = json.loads((CONFIGS / "schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
OTHERS = {
    CONFIGS / "grow.yaml",
    *(path for name in ("sweeps", "grow", "reproduce") for path in CONFIGS.glob(f"{name}/*")),
}
EXPERIMENTS = sorted({*CONFIGS.rglob("*.yaml")} - OTHERS)


def test_the_file_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--schema"]) == 0
    printed = capsys.readouterr().out
    assert (CONFIGS / "schema.json").read_text(encoding="utf-8") == printed, "write it again: make schema"
    VALIDATOR.check_schema(SCHEMA)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_configuration_is_valid_and_names_the_schema(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / named).resolve() == CONFIGS / "schema.json"
    values = yaml.safe_load(text)
    VALIDATOR.validate(values)
    for wrong in ({**values, "serch": {"beam": 3}}, {**values, "search": {"bem": 3}}):
        with pytest.raises(jsonschema.ValidationError, match=r"'(serch|bem)' was unexpected"):
            VALIDATOR.validate(wrong)


def test_what_dsi_config_prints_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    VALIDATOR.validate(yaml.safe_load(capsys.readouterr().out))


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ("", True),
        ("search:", True),
        ("search: ~", True),
        ("doc2query: {known_item: , t5: null}", True),
        ("search: 3", False),
        ("search: []", False),
        ("extends:", True),
        ("search: {beam: 1_000}", True),
        ("search: {beam: 1_000.5}", False),
        ("search: {beam: 7.5}", False),
        ("search: {beam: many}", False),
        ("search: {beam: null}", False),
        ("search: {beam: 0}", False),
        ("training: {learning_rate: 1e-3}", True),
        ("training: {learning_rate: 1.0e-3}", True),
        ("training: {learning_rate: 3}", True),
        ("training: {learning_rate: e3}", False),
        ("training: {learning_rate: 0}", False),
        ("training: {head_learning_rate: null}", True),
        ("training: {head_learning_rate: 1E-4}", True),
        ("training: {patience: auto}", False),
        ("training: {distillation: {temperature: auto}}", True),
        ("training: {distillation: {temperature: 5e-2}}", True),
        ("training: {distillation: {temperature: 0}}", False),
        ("training: {distillation: {temperature: hot}}", False),
        ("search: {prior_weight: 1.5, prior_epsilon: auto}", True),
        ("search: {prior_weight: 1000001}", False),
        ("search: {prior_epsilon: 1.5}", False),
        ("search: {prior: none, precision: int8}", True),
        ("search: {prior: bm26}", False),
        ("search: {exact: true}", True),
        ("search: {exact: 1}", False),
        ("model: {d_model: , checkpoint: null}", True),
        ("model: {checkpoint: 't5-small'}", True),
        ("baselines: {systems: []}", True),
        ("baselines: {systems: [bm25, dense]}", True),
        ("baselines: {systems: bm25}", False),
        ("baselines: {systems: [bm26]}", False),
        ("baselines: {systems: }", False),
        ("baselines: {dense_model: }", False),
        ("baselines: {bm25: {k1: 1, b: 0.75}}", True),
        ("evaluation: {measures: []}", False),
        ("evaluation: {measures: [AP]}", True),
        ("corpus: {splits: {dev: 7, test: true}}", True),
        ("corpus: {splits: [dev]}", False),
        ("corpus: {splits: }", False),
        ("corpus: {packages: [numpy, 3]}", True),
        ("corpus: {dataset: 7, size: 100}", True),
        ("corpus: {dataset: [7]}", False),
        ("corpus: {ignore_identical_ids: null}", True),
        ("doc2query: {t5: {prefix: }}", True),
        ("report: {published: null}", True),
        ("report: {published: msmarco}", False),
    ],
)
def test_reader_and_schema_agree(tmp_path: Path, text: str, is_valid: bool) -> None:
    (tmp_path / "a.yaml").write_text(text)
    assert VALIDATOR.is_valid(yaml.safe_load(text)) == is_valid
    with nullcontext() if is_valid else pytest.raises(DsiError, match=r"a\.yaml: "):
        load_config(tmp_path / "a.yaml")


def test_every_key_is_described_and_has_its_default() -> None:
    def check(section: type[Section], schema: dict[str, Any]) -> None:
        assert schema["additionalProperties"] is False
        assert schema["description"]
        for key, field in section.model_fields.items():
            described = schema["properties"][key]
            if isinstance(field.default, Section):
                check(type(field.default), SCHEMA["$defs"][described["$ref"].removeprefix("#/$defs/")])
            else:
                assert described["description"] == field.description
                assert described["default"] == field.default
        assert schema["properties"].keys() - section.model_fields == ({"extends"} if section is Config else set())

    check(Config, SCHEMA)
