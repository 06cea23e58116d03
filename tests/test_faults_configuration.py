"""Faults of the kind "configuration": what YAML and paths are taken for."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsi.cli import main
from dsi.config import Config, describe, load_config, read_part, read_section
from dsi.config.search import SearchConfig
from dsi.errors import DsiError
from dsi.reproduce import Reproduction
from dsi.sweep import SweepConfig


def value_of(override: str, folder: Path, text: str = "") -> Any:
    (folder / "a.yaml").write_text(text)
    return load_config(folder / "a.yaml", [override])[override.partition("=")[0]]


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("training.steps=0100", 100),
        ("training.steps=1_000", 1000),
        ("training.learning_rate=1e-3", 0.001),
        ("training.learning_rate=5", 5.0),
        ("corpus.splits={dev: dev.small, no: yes}", {"dev": "dev.small", "no": "yes"}),
        ("corpus.path=/data/set #2", "/data/set #2"),
        ("doc2query.t5.prefix=generate # :", "generate # :"),
        ("doc2query.t5.prefix=on", "on"),
        ("doc2query.t5.prefix=2024-01-01", "2024-01-01"),
        ("doc2query.t5.prefix=", ""),
        ("doc2query.t5.prefix='quoted: '", "quoted: "),
        ("corpus.dataset=1e3", "1e3"),
        ("corpus.path=12:30", "12:30"),
        ("corpus.path=~", str(Path.home())),
        ("corpus.path=~/set", str(Path.home() / "set")),
        ("corpus.language=no", "no"),
        ("evaluation.split=null", None),
        ("model.warm_start=false", False),
        ("evaluation.measures=[RR@10, 'AP(rel=2)']", ["RR@10", "AP(rel=2)"]),
        ("corpus.size=null", None),
    ],
)
def test_yaml_surprises(override: str, value: Any, tmp_path: Path) -> None:
    text = "evaluation: {split: x}\ncorpus: {splits: {x: x}}"
    found = value_of(override, tmp_path, text if "split=" in override else "")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "override",
    [
        *(
            "training.steps=1:30",
            "training.steps=0b11",
            "training.steps=0x10",
            "training.steps=1.0",
            "training.steps='5'",
        ),
        *("training.steps=true", "training.steps=", "model.warm_start=no", "model.warm_start=on", "model.warm_start=1"),
        *("training.learning_rate=.inf", "training.learning_rate=nan", "training.learning_rate=inf"),
        *("training.steps=" + "9" * 5_000, "corpus.max_unknown=.nan", "training.steps=[1]", "training=3"),
    ],
)
def test_what_a_key_cannot_mean_is_refused(override: str, tmp_path: Path) -> None:
    with pytest.raises(DsiError, match=f"--set {override.partition('=')[0]}") as error:
        value_of(override, tmp_path)
    assert len(str(error.value)) < 300


@given(st.one_of(st.integers(1, 10**9), st.floats(1e-9, 1e9), st.text(), st.booleans()))
def test_what_a_run_writes_is_read_back(value: Any) -> None:
    key = {int: "steps", float: "learning_rate", str: "precision", bool: "steps"}[type(value)]
    if isinstance(value, str):
        config = Config.model_validate({"doc2query": {"t5": {"prefix": value}}})
        try:
            value.encode()
        except UnicodeEncodeError:
            return
    elif isinstance(value, bool):
        config = Config.model_validate({"model": {"warm_start": value}})
    else:
        config = Config.model_validate({"training": {key: value}})
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.yaml")
        path.write_text(describe(values=config), encoding="utf-8")
        assert load_config(path) == config


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{a: b}: c", "line 1: .*found a mapping"),
        ("[a]: c", "line 1: .*found a list"),
        ("? {corpus: x}\n: y", "found a mapping"),
        ("training:\n  {a: 1}: 2", "line 2"),
        ("null: 1", "null: unknown key"),
        ("1: 1", "1: unknown key"),
        ("'': 1", "found nothing"),
        ("a: !!python/object/apply:os.system ['true']", "tags"),
        ("--- 1\n--- 2", "single document"),
        ("search: {beam: 1}\nsearch: {beam: 2}", "line 2: .*given twice"),
        ("[" * 5_000, "nested too deeply"),
        ("a: &a [*a]", "nested too deeply|recursive"),
        ("a: \0", "not valid YAML"),
        ("\ta: b", "not valid YAML"),
        ("just text", "a configuration is a mapping"),
        ("extends: [a]", "extends: expected the path"),
    ],
)
def test_yaml_keys(text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(DsiError, match=says):
        load_config(tmp_path / "a.yaml")
    assert main(["plan", str(tmp_path / "a.yaml"), "--runs", str(tmp_path / "runs")]) == 2
    assert capsys.readouterr().err.startswith(f"dsi: error: {tmp_path / 'a.yaml'}")


def test_aliases_of_aliases_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    (tmp_path / "a.yaml").write_text("\n".join(lines))
    with pytest.raises(DsiError, match="more than 100000 values"):
        load_config(tmp_path / "a.yaml")


def test_encodings_and_what_yaml_has_besides(tmp_path: Path) -> None:
    text = "base: &base\n  beam: 7\nsearch:\n  <<: *base\n  batch_size: 3\n".replace("base: &base\n  beam: 7\n", "")
    for encoded in ("search: {beam: 7}\r\n".encode("utf-16"), b"\xef\xbb\xbfsearch: {beam: 7}", b"search: {beam: 7}\r"):
        (tmp_path / "a.yaml").write_bytes(encoded)
        assert load_config(tmp_path / "a.yaml").search.beam == 7
    (tmp_path / "a.yaml").write_text(text.replace("*base", "{beam: 7}"))
    assert load_config(tmp_path / "a.yaml").search.beam == 7
    (tmp_path / "a.yaml").write_bytes(b"search: {beam: 7} # \xff")
    with pytest.raises(DsiError, match=r"a\.yaml: not valid YAML"):
        load_config(tmp_path / "a.yaml")


def test_empty_sections_have_their_defaults(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for text in ("search:", "search: ~", "search: null", "search: {}", "search:\ntraining:\n"):
        path.write_text(text)
        assert load_config(path).search == read_part(path, "search", SearchConfig) == SearchConfig()
        assert load_config(path, ["search.beam=200"]).search.beam == 200


def test_paths_are_relative_to_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs/deep").mkdir(parents=True)
    (tmp_path / "shell").mkdir()
    (tmp_path / "configs/set").mkdir()
    base = "corpus: {source: beir, path: set}\ngenerator: {extra: [set, ../other]}\nmodel: {checkpoint: set}"
    (tmp_path / "configs/base.yaml").write_text(base)
    (tmp_path / "configs/deep/a.yaml").write_text("extends: ../base.yaml\nembeddings: {kind: file, file: v.npy}")
    monkeypatch.chdir(tmp_path / "shell")
    config = load_config("../configs/deep/a.yaml", ["doc2query.predictions.path=./p"])
    assert config.corpus.path is not None
    assert Path(config.corpus.path).resolve() == tmp_path / "configs/set"
    assert [Path(path).resolve() for path in config.generator.extra] == [tmp_path / "configs/set", tmp_path / "other"]
    assert config.embeddings.file is not None
    assert Path(config.embeddings.file).resolve() == tmp_path / "configs/deep/v.npy"
    assert config.model.checkpoint == str(tmp_path / "configs/set")
    assert config.doc2query.predictions.path == str(tmp_path / "shell/p")
    # config.yaml of a run means the same from anywhere
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/config.yaml").write_text(describe(values=config))
    again = load_config(tmp_path / "runs/config.yaml")
    assert again.corpus.path == str(tmp_path / "configs/set")
    assert again.embeddings.file == str(tmp_path / "configs/deep/v.npy")


@pytest.mark.parametrize("name", ["google-t5/t5-base", "castorini/doc2query-t5-base-msmarco", "t5-small"])
def test_names_of_the_hub_stay_names(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"model: {{checkpoint: {name}}}\nbaselines: {{dense_model: {name}}}")
    assert load_config(tmp_path / "a.yaml").model.checkpoint == name
    (tmp_path / name).mkdir(parents=True)  # a folder of that name beside the file
    assert load_config(tmp_path / "a.yaml").baselines.dense_model == str(tmp_path / name)
    (tmp_path / "b.yaml").write_text("model: {checkpoint: ../runs/later/model}")
    assert load_config(tmp_path / "b.yaml").model.checkpoint == str(tmp_path.parent / "runs/later/model")


def test_all_keys_that_hold_paths_are_known() -> None:
    assert Config.paths() == [
        *("corpus.path", "generator.checkpoint", "generator.extra", "doc2query.predictions.path"),
        *("embeddings.model", "embeddings.file", "model.checkpoint", "baselines.dense_model"),
    ]


def test_all_faults_at_once_a_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text("trainig: {steps: 3}\nsearch: {beam: 0}\ncorpus: {source: tsv}\n")
    command = ["plan", str(tmp_path / "a.yaml"), "--set", "training.steps=x", "nonsense", "model.nope=1"]
    assert main([*command, "--runs", str(tmp_path / "runs")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert all(line.startswith("dsi: error: ") for line in lines)
    assert not (tmp_path / "runs").exists()


def test_faults_in_sweeps_and_scores_name_their_file(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("")
    sweep = tmp_path / "grid.yaml"
    sweep.write_text("config: base.yaml\nset: {search.beem: 3}\ngrid: {training.seed: [0]}\nx: training.seed")
    config = read_section(sweep, SweepConfig)
    with pytest.raises(DsiError, match=r"grid\.yaml: search\.beem: unknown key"):
        load_config(tmp_path / "base.yaml", config.set.items())
    scores = tmp_path / "scores.yaml"
    scores.write_text("runs: {a: {config: base.yaml, set: {search.beam: x}, expected: {dsi: {RR@10: 0.5}}}}")
    wanted = read_section(scores, Reproduction)
    with pytest.raises(DsiError, match=r"scores\.yaml: search\.beam: input should be a valid integer, found 'x'"):
        load_config(tmp_path / "base.yaml", wanted.runs["a"].set.items())
    sweep.write_text("config: base.yaml\nset: {embeddings.file: v.npy, embeddings.kind: file}\ngrid: {a: [0]}\nx: a")
    of_sweep = load_config(tmp_path / "base.yaml", read_section(sweep, SweepConfig).set.items())
    assert of_sweep.embeddings.file == str(tmp_path / "v.npy")  # relative to the sweep's file


def test_values_of_python_are_as_they_were() -> None:
    assert Config.model_validate(json.loads('{"search": {"beam": 7}}')).search.beam == 7


def test_null_written_in_a_file_is_null(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("generator: {checkpoint: null, d_model: null, steps: 3}\nmodel: {checkpoint: ~}")
    config = load_config(tmp_path / "a.yaml")
    assert (config.generator.checkpoint, config.generator.d_model, config.generator.num_layers) == (None, 256, 1)
