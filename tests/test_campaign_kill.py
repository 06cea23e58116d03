"""The campaign of kills: that it counts what is lost or wrong; and the faults that it has found."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from dsi.artifacts import MANIFEST, WORK, Store
from dsi.model import checkpoints
from dsi.runtime.shards import published
from dsi.training.batch_trainer import BatchTrainer

SCRIPTS = Path(__file__).parents[1] / "scripts"
SHARD = ".store/doc2query-0123456789abcdef.partial/shard-00001.parquet"
CHECKPOINTS = ".store/model-0123456789abcdef.partial/work/checkpoints-0/"


def test_a_campaign_of_three_kills() -> None:
    """On the first two stages, which take a moment."""
    options = ["--kills", "3", "--until", "tokenizer", "--processes", "1"]
    command = [sys.executable, str(SCRIPTS / "campaign_kill.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "kills=3 lost=0 wrong=0", done.stdout + done.stderr
    assert done.returncode == 0


@pytest.fixture
def lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A function from the journals of starts, each with the signal that ended it, to what was lost in all of them."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from campaign_kill import Ended, Life
    from witness import Blow, Change

    life = Life(tmp_path / "life", tmp_path / "config.yaml", processes=1, until="report")

    def run(*starts: tuple[int, list[tuple[str, str]]], saved: dict[str, int] | None = None) -> list[str]:
        found = []
        for kind, changes in starts:
            journal = [Change(0.0, "model", event, path) for event, path in changes]
            blow = Blow("model", 0, kind, whole=True) if kind else None
            found += [message for _, message in life.lost(Ended("model", blow, "", 0.0, [journal]), saved or {})]
        return found

    return run


def test_a_shard_that_is_made_twice_is_lost(lost: Callable[..., list[str]]) -> None:
    made = [("os.rename", SHARD), ("open", "other")]
    assert lost((signal.SIGKILL, made), (0, made)) == [f"{SHARD} is made again"]


def test_a_shard_whose_rename_a_kill_prevented_is_not(lost: Callable[..., list[str]]) -> None:
    made = [("os.rename", SHARD), ("open", "other")]
    assert not lost((signal.SIGKILL, made[:1]), (signal.SIGKILL, [made[0], ("blow", "")]), (0, made))


def test_steps_that_are_done_again_are_lost(lost: Callable[..., list[str]]) -> None:
    again, new = (("open", f"{CHECKPOINTS}checkpoint-{step}/{TRAINER_STATE_NAME}") for step in (6, 9))
    assert lost((0, [again, new]), saved={CHECKPOINTS: 6}) == [f"{again[1]} is written again"]


def test_what_differs_from_the_undisturbed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from same_runs import differences

    one, two = tmp_path / "one", tmp_path / "two"
    for folder, seconds in ((one, 1), (two, 2)):
        folder.mkdir()
        (folder / MANIFEST).write_text(json.dumps({"seconds": seconds, "counts": {"documents": 3}}))
        (folder / "dev_curve.tsv").write_text(f"step\tseconds\n1\t{seconds}\n")
        (folder / "codes.npy").write_bytes(b"123")
    assert not list(differences(one, two))
    (two / "codes.npy").write_bytes(b"124")
    (two / "dev_curve.tsv").write_text("step\tseconds\n2\t1\n")
    (two / MANIFEST).unlink()
    (two / ".codes.npy.77").touch()
    assert list(differences(one, two)) == [
        ".codes.npy.77 is one too many",
        "codes.npy differs",
        "dev_curve.tsv differs",
        f"{MANIFEST} is missing",
    ]


def test_work_that_a_kill_left_in_a_published_stage_goes(tmp_path: Path) -> None:
    def make(out: Path) -> dict[str, Any]:
        return {}

    folder = Store(tmp_path).build("corpus", {}, make)
    (folder / WORK / "checkpoints").mkdir(parents=True)
    assert Store(tmp_path).build("corpus", {}, make) == folder
    assert not (folder / WORK).exists()


def test_what_a_killed_process_left_is_removed_when_the_file_is_published(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f".manifest.json.{ended.pid}").touch()
    (tmp_path / ".manifest.json.1").touch()  # of a process that runs
    with published(tmp_path / "manifest.json") as temporary:
        temporary.touch()
    assert {path.name for path in tmp_path.iterdir()} == {"manifest.json", ".manifest.json.1"}


def test_a_manifest_that_a_killed_process_did_not_publish_is_no_file_of_the_stage(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    def make(out: Path) -> dict[str, Any]:
        (out / f".{MANIFEST}.{ended.pid}").touch()
        (out / "vectors.npy").touch()
        return {}

    folder = Store(tmp_path).build("corpus", {}, make)
    assert {path.name for path in folder.iterdir()} == {MANIFEST, "vectors.npy"}
    assert list(json.loads((folder / MANIFEST).read_text())["files"]) == ["vectors.npy"]


def test_a_checkpoint_is_not_whole_before_all_random_states_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(Trainer, "_save_rng_state", lambda *_: done.append("saved"))
    monkeypatch.setattr(checkpoints, "wait_for_everyone", lambda: done.append("waited"))
    checkpoints.ResumableTrainer.__new__(checkpoints.ResumableTrainer)._save_rng_state(str(tmp_path))
    assert done == ["saved", "waited"]


def test_the_checkpoint_that_training_resumed_from_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    monkeypatch.setattr(Trainer, "_save_checkpoint", lambda self, *_: steps.append(self.state.global_step))
    trainer = checkpoints.ResumableTrainer.__new__(checkpoints.ResumableTrainer)
    trainer.args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    for step, text in ((3, '{"global_step": 3}'), (6, '{"global_')):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / TRAINER_STATE_NAME).write_text(text)
    for step in (3, 6, 9):  # whole, half written, new
        trainer.state = TrainerState(global_step=step)
        trainer._save_checkpoint(None, None)
    assert steps == [6, 9]


def test_reading_batches_leaves_the_random_state_of_dropout() -> None:
    """Resumed training sets that state from the checkpoint, and then begins to read batches."""
    trainer = BatchTrainer.__new__(BatchTrainer)
    trainer.train_dataset = [{"input_ids": torch.zeros(1)}]
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert len(list(trainer.get_train_dataloader())) == 1
    assert torch.equal(torch.get_rng_state(), before)
