"""training.report_to: what the Trainer's loggers are told, where, and that nothing else changes."""

import importlib.metadata
from pathlib import Path
from typing import Any

import pytest
from conftest import write_msmarco_folder

from dsi.artifacts import read_manifest
from dsi.cli import main
from dsi.config import Config, TrainingConfig, load_config
from dsi.pipeline import LOGS, STAGES, Run
from dsi.runtime.reporting import LEAST, reporting, reporting_to
from dsi.runtime.tsv import read_tsv
from dsi.training.trainer import DocidTrainer

CONFIG = """
corpus: {source: msmarco, path: data}
tokenizer: {vocabulary: 200}
doc2query: {known_item: {queries: 5}}
model: {d_model: 16, d_kv: 4, d_ff: 16, num_layers: 1}
training: {steps: 6, rounds: 2, eval_steps: 2, batch_size: 8, warmup_steps: 1, dev_queries: 4}
generator: {checkpoint: null, simulated_steps: 60, batch_size: 2, d_model: 16, d_kv: 4, d_ff: 16, num_layers: 1}
"""
EVERY_STEP = [2, 4, 6, 8, 10, 12]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_msmarco_folder(tmp_path / "data")
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepared(name: str, *keys: str) -> Run:
    return Run(load_config(Path("tiny.yaml"), list(keys)), name)


def logs_of(run: Run, stage: str = "model") -> Path:
    return run.folder / LOGS / run.stored(STAGES[stage]).name


def scalars(folder: Path, tag: str) -> tuple[list[int], list[float]]:
    """The steps and the values of a curve, as TensorBoard shows it."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder)).Reload()
    points = events.Scalars(tag)
    return [point.step for point in points], [point.value for point in points]


def test_tensorboard_has_all_rounds_on_one_axis_and_the_model_is_the_same(folder: Path) -> None:
    pytest.importorskip("tensorboard")
    plain, told = prepared("plain"), prepared("told", "training.report_to=[tensorboard, tensorboard]")
    assert [plain.fingerprint(stage) for stage in STAGES.values()] == [
        told.fingerprint(stage) for stage in STAGES.values()
    ]
    told.run(["model", "generator"])
    assert not (folder / "runs/plain").exists()
    steps, losses = scalars(logs_of(told), "train/loss")
    assert steps == EVERY_STEP
    assert all(loss > 0 for loss in losses)
    steps, measures = scalars(logs_of(told), "eval/RR@10")
    assert steps == EVERY_STEP
    written = dict[int, float]()
    for row in read_tsv(told.folder / "model/dev_curve.tsv"):  # of the last point of a round there is one with states
        written.setdefault(int(row["step"]), float(row["RR@10"]))
    for step, measure in zip(steps, measures, strict=True):
        assert measure == pytest.approx(written[step], abs=1e-6)
    assert scalars(logs_of(told, "generator"), "train/loss")[0] == [50]
    assert not list(told.stored(STAGES["model"]).rglob("events*")), "a stage holds what it makes, and no logs"
    assert sorted(path.name for path in (told.folder / LOGS).iterdir()) == sorted(
        told.stored(STAGES[stage]).name for stage in ("model", "generator")
    )
    manifest = read_manifest(told.folder / "model")
    assert manifest is not None
    assert "report_to" not in manifest["inputs"]["training"]


def test_a_curve_goes_on_where_a_stopped_training_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    run = prepared("told", "training.report_to=[tensorboard]")
    log = DocidTrainer.log

    def stop(trainer: DocidTrainer, logs: dict[str, float], start_time: float | None = None) -> None:
        log(trainer, logs, start_time)
        if "loss" in logs and trainer.steps_before and trainer.state.global_step == 4:
            raise KeyboardInterrupt  # step 10 is in the log, the last checkpoint is that of step 8

    with monkeypatch.context() as patched:
        patched.setattr(DocidTrainer, "log", stop)
        with pytest.raises(KeyboardInterrupt):
            run.run(["model"])
    assert scalars(logs_of(run), "train/loss")[0] == EVERY_STEP[:5]
    assert reporting().loggers == (), "of no training that comes later"
    run.run(["model"])
    assert scalars(logs_of(run), "train/loss")[0] == EVERY_STEP
    assert scalars(logs_of(run), "eval/RR@10")[0] == EVERY_STEP


def test_what_is_not_there_is_told_before_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"tensorboard": "2.21.0", "trackio": "0.0.6"}

    def version(name: str) -> str:
        if name not in found:
            raise importlib.metadata.PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr("dsi.runtime.reporting.version", version)
    for command in ("check", "run"):
        assert main([command, "tiny.yaml", "--set", "training.report_to=[tensorboard, wandb, trackio]"]) == 2
        assert capsys.readouterr().err.splitlines() == [
            f"dsi: error: training.report_to: wandb is not installed: pip install 'wandb>={LEAST['wandb']}',"
            " or leave it out",
            "dsi: error: training.report_to: trackio 0.0.6 is too old for the Trainer:"
            f" pip install 'trackio>={LEAST['trackio']}'",
        ]
    assert main(["check", "tiny.yaml", "--set", "training.report_to=[tensorbord]"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "training.report_to" in line
    assert "tensorboard" in line
    assert not list((folder / "runs").glob("*/model"))


def test_the_default_reports_to_nothing(tmp_path: Path) -> None:
    assert TrainingConfig().report_to == Config().training.report_to == []
    assert reporting().loggers == ()
    with reporting_to(["wandb", "wandb"], tmp_path, "a"):
        assert reporting().loggers == ("wandb",)
    assert reporting().loggers == ()


def test_wandb_has_one_run_a_training(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DISABLE_GIT", "true")
    monkeypatch.setenv("HOME", str(folder))
    told, log = list[dict[str, float]](), wandb.Run.log

    def keep(run: Any, data: dict[str, float], *arguments: Any, **options: Any) -> None:
        told.append(data)
        log(run, data, *arguments, **options)

    monkeypatch.setattr(wandb.Run, "log", keep)
    run = prepared("told", "training.report_to=[wandb]")
    run.run(["model"])
    assert wandb.run is None, "it has ended with the stage"
    (kept,) = (logs_of(run) / "wandb").glob("offline-run-*")
    assert kept.name.endswith((logs_of(run) / "wandb-id").read_text())
    assert (kept / f"run-{kept.name.split('-')[-1]}.wandb").stat().st_size > 0
    assert [data["train/global_step"] for data in told if "train/loss" in data] == EVERY_STEP


def test_trackio_has_one_run_a_training(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(folder / "trackio"))
    trackio = pytest.importorskip("trackio", minversion=LEAST["trackio"], reason="no trackio that the Trainer can call")
    run = prepared("told", "training.report_to=[trackio]")
    run.run(["model"])
    (found,) = trackio.Api().runs("huggingface")
    assert found.name == f"told.{logs_of(run).name}"
