"""Faults of the kind "configuration": what YAML and paths are taken for."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsi import reproduce, sweep
from dsi.cli import main
from dsi.config import Config, describe, load_config, read_part, read_section
from dsi.config.search import SearchConfig
from dsi.errors import DsiError
from dsi.pipeline import Run
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
        *("corpus.path", "corpus.queries", "corpus.qrels", "generator.checkpoint", "generator.extra"),
        "doc2query.predictions.path",
        *("embeddings.model", "embeddings.file", "teacher.model", "teacher.candidates_model", "teacher.path"),
        *("model.checkpoint", "baselines.dense_model"),
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
    scores.write_text("runs: {a: {config: base.yaml, set: {search.beam: x}}}")
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


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("model.checkpoint=", "--set model.checkpoint: there is no value; write null"),
        ("corpus.size= ", "--set corpus.size: there is no value; write null"),
        ("search=", "--set search: there is no value; write null"),
        ("evaluation.measures=[RR@10] # x", "not valid YAML"),
        ("doc2query.t5.prefix='a' # x", "not valid YAML"),
        ("doc2query.t5.prefix='a', 'b'", "expected one value, found 2"),
        ("training.learning_rate=e5", "--set training.learning_rate: input should be a valid number, found 'e5'"),
        ("training.learning_rate=.e5", "found '.e5'"),
        ("training.learning_rate=+.", "found '+.'"),
        ("training.steps=१२", "--set training.steps: input should be a valid integer"),
        ("baselines.bm25.k1=1e999", "--set baselines.bm25.k1: input should be a finite number"),
        ("training.consistency=1e999", "--set training.consistency: input should be a finite number"),
        ("search..beam=3", "expected section.key=value"),
        (".beam=3", "expected section.key=value"),
        ("search.=3", "expected section.key=value"),
        (" search.beam=3", "expected section.key=value"),
        ("search\n.beam=3", "expected section.key=value"),
        ("search.beam.x=3", "--set search.beam: input should be a valid integer"),
        (".".join("a" * 3_000) + "=1", "--set a: unknown key"),
        ("corpus.path=''", "--set corpus.path: expected a path, found ''"),
        ('model.checkpoint="a\\0b"', "--set model.checkpoint: expected a path"),
    ],
)
def test_options_that_mean_nothing_are_refused(override: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(DsiError) as error:
        value_of(override, tmp_path)
    (fault,) = error.value.faults
    assert says in fault
    assert "\n" not in fault


def test_an_option_for_a_section_changes_its_keys_only(tmp_path: Path) -> None:
    text = "docids: {kind: semantic, clusters: 80}\ncorpus: {splits: {train: a}}"
    docids = value_of("docids={leaf_size: 5}", tmp_path, text)
    assert (docids.kind, docids.clusters, docids.leaf_size) == ("semantic", 80, 5)
    assert value_of("corpus.splits={dev: b}", tmp_path, text) == {"dev": "b"}  # a key of the user's own names
    assert value_of("search.beam= 20", tmp_path) == 20


def test_a_heading_with_nothing_below_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("search: {beam: 200}\nextends:\n")
    for section, beam in (("search:", 200), ("search: {}", 200), ("search: null", SearchConfig().beam)):
        (tmp_path / "a.yaml").write_text(f"extends: base.yaml\n{section}\n")
        assert load_config(tmp_path / "a.yaml").search.beam == beam
    (tmp_path / "a.yaml").write_text("search: ~")
    assert read_part(tmp_path / "a.yaml", "search", SearchConfig, {"beam": 7}).beam == 7
    (tmp_path / "a.yaml").write_text("null")
    assert load_config(tmp_path / "a.yaml") == Config()


def test_a_path_beside_the_shell_but_not_beside_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("configs", "runs/x/model", "t5-small", "data"):
        Path(folder).mkdir(parents=True)
    for text, path in (
        ("model: {checkpoint: runs/x/model}", "runs/x/model"),
        ("model: {checkpoint: t5-small}", "t5-small"),  # transformers would take the folder, too
        ("corpus: {source: beir, path: data}", "data"),
    ):
        Path("configs/a.yaml").write_text(text)
        with pytest.raises(DsiError, match=rf"configs/a\.yaml: .*relative to their file.* write \.\./{path}$"):
            load_config("configs/a.yaml")
    Path("configs/a.yaml").write_text("model: {checkpoint: runs/later/model}")  # no name on the hub has three parts
    assert load_config("configs/a.yaml").model.checkpoint == str(tmp_path / "configs/runs/later/model")
    assert load_config("configs/a.yaml", ["model.checkpoint=t5-small"]).model.checkpoint == str(tmp_path / "t5-small")


def test_paths_beside_a_linked_folder(tmp_path: Path) -> None:
    for folder in ("real/configs", "real/data", "data"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "configs").symlink_to("real/configs")
    text = "corpus: {source: beir, path: ../data}\nmodel: {checkpoint: ../data}"
    (tmp_path / "configs/a.yaml").write_text(text)
    config = load_config(tmp_path / "configs/a.yaml")
    assert config.corpus.path is not None
    assert Path(config.corpus.path).resolve() == tmp_path / "real/data"  # as extends and the shell find it
    assert config.model.checkpoint == str(tmp_path / "real/data")


def test_all_combinations_that_are_impossible_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("model: {head: pawa}\ntraining: {dev_ranking: leaf}\nevaluation: {baseline: x}")
    with pytest.raises(DsiError) as error:
        load_config(tmp_path / "a.yaml")
    assert len(error.value.faults) == 3
    (tmp_path / "a.yaml").write_text('"a\\nb": 1')
    with pytest.raises(DsiError, match=r"a\.yaml: 'a\\nb': unknown key"):
        load_config(tmp_path / "a.yaml")


@pytest.mark.parametrize("name", ["..", "../x", "a/../b", "/tmp/x", "", "a//b", ".store", "x" * 256, "a\0b"])
def test_names_stay_among_the_runs(name: str, tmp_path: Path) -> None:
    with pytest.raises(DsiError, match="cannot be the name of a run"):
        Run(Config(), name, tmp_path)
    (tmp_path / "base.yaml").write_text("")
    (tmp_path / "scores.yaml").write_text(json.dumps({"runs": {f"x/{name}": {"config": "base.yaml"}}}))
    with pytest.raises(DsiError, match="cannot be the name of a run"):
        reproduce.planned(tmp_path / "scores.yaml", [], tmp_path / "runs")


@pytest.mark.parametrize(
    ("grid", "options", "faults"),
    [
        ("{a: {..: {search.beam: 5}}}", [], ["'grid/..' cannot be the name of a run"]),
        ("{a: {x/y: {}, x-y: {}}}", [], ["grid: two combinations would be the run grid/x-y"]),
        ("{a: {b: {search.beam: 5}}, search.beam: [5]}", [], ["grid: a and search.beam both set search.beam"]),
        ("{a: {b: {docids.kind: naive}}}", ["docids={seed: 1}"], ["--set docids: the grid of"]),
        ("{a: []}", [], ["grid: a has no values"]),
        ("{a: {b: {search.beam: x}, c: {search.beem: 1}}}", ["search.max_beam"], ["--set 'search", "beam", "beem"]),
    ],
)
def test_faults_of_a_sweep_are_told_together(grid: str, options: list[str], faults: list[str], tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("")
    (tmp_path / "grid.yaml").write_text(f"config: base.yaml\ngrid: {grid}\nx: a")
    with pytest.raises(DsiError) as error:
        sweep.planned(tmp_path / "grid.yaml", options, tmp_path / "runs")
    assert len(error.value.faults) == len(faults)
    assert all(expected in fault for expected, fault in zip(faults, sorted(error.value.faults), strict=True))
    assert not (tmp_path / "runs").exists()


def test_an_option_that_scores_set_themselves_is_refused(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("")
    scores = tmp_path / "scores.yaml"
    scores.write_text("runs: {a: {config: base.yaml, set: {search.beam: 5}}}")
    with pytest.raises(DsiError, match=r"--set search\.beam: runs\.a of .* sets it"):
        reproduce.planned(scores, ["search.beam=9"], tmp_path)
    assert reproduce.planned(scores, ["search.max_beam=99"], tmp_path)["a"].config.search.beam == 5
