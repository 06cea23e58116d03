"""Processes that share work: what Slurm tells them, tasks of a job array that never wait, and one that dies."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from conftest import ON_CPU, tiny_documents, write_msmarco_folder

from dsi.artifacts import MANIFEST, Store, read_manifest
from dsi.cli import main
from dsi.corpus import vectors
from dsi.errors import DsiError
from dsi.pipeline import STAGES
from dsi.runtime.processes import OthersAtWork, Rank, be_array_task, does_own_part, rank, wait_until
from dsi.runtime.shards import Shards, published
from dsi.runtime.slurm import place_in_step, rank_in_array

CONFIG = """
corpus: {{source: msmarco, path: {data}}}
tokenizer: {{vocabulary: 300}}
doc2query: {{known_item: {{queries: 5}}, shard_size: 10}}
embeddings: {{kind: document_states}}
docids: {{kind: semantic, clusters: 4, leaf_size: 8}}
teacher: {{kind: bm25}}
model: {{d_model: 32, d_kv: 8, d_ff: 32, head: hierarchical_softmax}}
training: {{labels: teacher, steps: 4, batch_size: 16}}
"""
BY_SHARDS = {"expand": "doc2query", "embed": "embeddings", "index-terms": "lexical", "teach": "teacher"}
"""The stages that tasks of a job array make, by their commands."""
TOGETHER = """
import os, signal, sys, time
from dsi.runtime.launcher import together
with together():
    if os.environ["RANK"] == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL) if sys.argv[2] == "killed" else sys.exit(2)
    time.sleep(float(sys.argv[3]))
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has an environment of its own, in which nothing of a launcher or of Slurm is set."""
    of_others = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    kept = {name: value for name, value in os.environ.items() if name not in of_others and "SLURM" not in name}
    monkeypatch.setattr(os, "environ", kept)


def step(task: int, tasks: int = 4, **more: str) -> dict[str, str]:
    """The variables of a task of a job step on two nodes."""
    names = {"PROCID": task, "LOCALID": task % 2, "NTASKS": tasks, "JOB_ID": 123_456}
    variables = {f"SLURM_{name}": str(value) for name, value in names.items()}
    return {**variables, "SLURM_STEP_NODELIST": "gpu[03-04]", "SLURM_STEP_TASKS_PER_NODE": "2(x2)", **more}


def array(task: int, tasks: int, first: int = 0) -> dict[str, str]:
    values = {"ID": task, "MIN": first, "MAX": first + tasks - 1, "COUNT": tasks}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


def test_a_task_of_a_job_step_takes_its_place() -> None:
    os.environ.update(step(3))
    assert rank() == (0, 1)  # nobody has asked: a plain command in a job works alone
    place_in_step()
    assert rank() == (3, 4)
    names = ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    assert [os.environ[name] for name in names] == ["1", "2", "gpu03", "23456"]


def test_an_address_that_is_set_stays() -> None:
    os.environ.update(step(0, MASTER_ADDR="10.0.0.1", MASTER_PORT="1234"))
    place_in_step()
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("10.0.0.1", "1234")


@pytest.mark.parametrize("variables", [{}, step(0) | {"SLURM_PROCID": "x"}])
def test_no_job_step(variables: Mapping[str, str]) -> None:
    os.environ.update(variables)
    with pytest.raises(DsiError, match=r"--launcher slurm: SLURM_PROCID.*srun"):
        place_in_step()


def test_the_place_in_a_job_array() -> None:
    os.environ.update(array(7, 4, first=5))
    assert rank_in_array() == (2, 4)
    os.environ["SLURM_ARRAY_TASK_COUNT"] = "2"  # as of --array=5-8:2
    with pytest.raises(DsiError, match="number them without gaps"):
        rank_in_array()


def test_no_job_array(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", "demo", "--launcher", "array"]) == 2
    assert "--launcher array: SLURM_ARRAY_TASK_ID is not set; start it" in capsys.readouterr().err


def same_files(one: Path, two: Path) -> None:
    names = [{path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} for folder in (one, two)]
    assert names[0] == names[1]
    for name in names[0] - {Path(MANIFEST)}:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_the_last_task_of_an_array_finishes_a_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "tasks.yaml"
    config.write_text(CONFIG.format(data=write_msmarco_folder(tmp_path / "data")))
    monkeypatch.setattr(vectors, "SHARD", 10)
    monkeypatch.setattr("dsi.teacher.teach.QUERIES_PER_SHARD", 40)
    monkeypatch.setattr("dsi.lexical.index_terms.SHARD", 10)
    options = {name: [str(config), "--runs", str(tmp_path / name)] for name in ("alone", "array")}
    for verb in ("ingest", "tokenize", "expand", "embed", "assign", "index-terms", "teach"):
        assert main([verb, *options["alone"]]) == 0
        if verb not in BY_SHARDS:
            assert main([verb, *options["array"]]) == 0
            continue
        order = [2, 0, 2, 1]  # in any order, one after the other, one twice
        for place, task in enumerate(order):
            os.environ.update(array(task, 3))
            capsys.readouterr()
            assert main([verb, *options["array"], "--launcher", "array"]) == 0
            done = list((tmp_path / "array/tasks").glob("*/manifest.json"))
            stage = BY_SHARDS[verb]
            assert any(path.parent.name == stage for path in done) == (place == len(order) - 1)
            assert ("has done its part" in capsys.readouterr().err) == (place < len(order) - 1)
        if verb != "index-terms":  # whose files have names by chance
            same_files(*(tmp_path / name / "tasks" / stage for name in ("alone", "array")))
    assert main(["train", *options["array"], "--launcher", "array"]) == 2
    assert "stage model work together" in capsys.readouterr().err
    assert not list((tmp_path / "array/.store").glob("*.partial"))
    for name in [name for name in os.environ if "SLURM" in name]:
        del os.environ[name]
    assert main(["train", *options["array"]]) == 0
    assert read_manifest(tmp_path / "array/tasks/model") is not None


def test_tasks_of_an_array_at_the_same_time(tmp_path: Path) -> None:
    config = tmp_path / "tasks.yaml"
    config.write_text(CONFIG.format(data=write_msmarco_folder(tmp_path / "data")))
    options = [str(config), "--runs", str(tmp_path / "runs")]
    for verb in ("ingest", "tokenize"):
        assert main([verb, *options]) == 0
    command = [sys.executable, "-m", "dsi", "expand", *options, "--launcher", "array"]
    tasks = [subprocess.Popen(command, env=ON_CPU | array(task, 3), stderr=subprocess.PIPE) for task in range(3)]
    errors = [task.communicate(timeout=120)[1].decode() for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0, 0], errors
    manifest = read_manifest(tmp_path / "runs/tasks/doc2query")
    assert manifest is not None
    assert manifest["counts"]["queries"] == 5 * len(tiny_documents())


def test_the_jobs_of_the_paper_s_run_follow_each_other(tmp_path: Path) -> None:
    """A stand-in for sbatch notes what it is given."""
    stand_in = tmp_path / "sbatch"
    stand_in.write_text(f'#!/bin/bash\necho "$@" >> {tmp_path}/jobs\nwc -l < {tmp_path}/jobs\n', encoding="utf-8")
    stand_in.chmod(0o755)
    root = Path(__file__).parents[1]
    (tmp_path / "configs/paper").mkdir(parents=True)
    script = shutil.copy(root / "configs/paper/slurm.sh", tmp_path / "configs/paper")
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(["bash", script, "docids.kind=semantic"], check=True, env=os.environ | {"PATH": path, "TASKS": "5"})
    jobs = (tmp_path / "jobs").read_text(encoding="utf-8").splitlines()
    after = ["", "1", "1", "1", "2:3:4", "5", "6", "7", "8"]
    for needed, job in zip(after, jobs, strict=True):
        assert f"--dependency=afterok:{needed} " in job if needed else "--dependency" not in job
        commands = job.split("--wrap=")[1].split(" && ")
        for command in commands:
            verb = command.removeprefix("srun --cpus-per-task=8 --kill-on-bad-exit=1 ").split()[1]
            assert f"{verb} configs/msmarco-full.yaml --set docids.kind=semantic" in command
            stage = next((stage for stage in STAGES.values() if stage.command == verb), None)
            if "--launcher array" in command:
                assert stage is not None
                assert stage.by_shards
        assert ("--array=0-" in job) == ("--launcher array" in job)
    verbs = [job.split("--wrap=")[1].split(".venv/bin/dsi ")[-1].split()[0] for job in jobs]
    assert verbs == ["tokenize", "index-terms", "expand", "embed", "assign", "teach", "teach", "train", "run"]


def start(script: Path, processes: int, *arguments: str) -> list[subprocess.Popen[str]]:
    """The processes of a step whose launcher does not look after them."""
    with socket.create_server(("localhost", 0)) as free:
        port = str(free.getsockname()[1])
    places = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    return [
        subprocess.Popen(
            [sys.executable, str(script), *arguments],
            env=ON_CPU | places | {"RANK": str(place), "LOCAL_RANK": str(place)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for place in range(processes)
    ]


@pytest.mark.parametrize(
    ("processes", "dead", "how", "others"),
    [
        (2, 1, "killed", "sleep"),
        (4, 2, "killed", "sleep"),
        (4, 0, "failed", "sleep"),
        (4, 3, "failed", "sleep"),
        (3, 1, "killed", "wait for all"),
    ],
)
def test_when_one_dies_the_others_stop_and_name_it(
    tmp_path: Path, processes: int, dead: int, how: str, others: str
) -> None:
    script, text = tmp_path / "together.py", TOGETHER
    if others != "sleep":  # in a collective, which fails when its connections break
        waiting = "from dsi.runtime.processes import wait_for_everyone\n    wait_for_everyone()\n    "
        text = text.replace("    if os.environ", f"    {waiting}if os.environ").replace(
            "time.sleep(float(sys.argv[3]))", "wait_for_everyone()"
        )
    script.write_text(text, encoding="utf-8")
    began = time.monotonic()
    running = start(script, processes, str(dead), how, "100")
    errors = [process.communicate(timeout=90)[1] for process in running]
    assert time.monotonic() - began < 90
    for place, process in enumerate(running):
        if place == dead:
            assert process.returncode == (-signal.SIGKILL if how == "killed" else 2)
        else:
            assert process.returncode == 1
            assert f"process {dead} of {processes} has ended before its work was done" in errors[place]
            assert f"so process {place} stops too" in errors[place]


def test_one_that_is_done_early_stops_nobody(tmp_path: Path) -> None:
    script = tmp_path / "together.py"
    script.write_text(TOGETHER.replace("sys.argv[3])", "os.environ['RANK']) / 2"), encoding="utf-8")
    running = start(script, 3, "none", "none")
    assert [process.communicate(timeout=90)[1] for process in running] == [""] * 3
    assert [process.returncode for process in running] == [0] * 3


def test_a_shard_is_made_by_two_processes_at_once(tmp_path: Path) -> None:
    """As when a task is submitted again while it still runs: the first to end has made it, and nothing is left."""
    shards = Shards(tmp_path, 1, 1, ".npy")
    file, folder = shards.path(0), tmp_path / "folder"
    with published(file) as theirs, published(folder) as other:
        theirs.touch()
        other.mkdir()
        (other / "theirs").touch()
        again = Shards(tmp_path, 1, 1, ".npy")
        assert again.unfinished() == [0]
        (folder / "ours").mkdir(parents=True)  # another process has published its own
        assert theirs.exists()
    assert again.wait() == [file]
    assert [path.name for path in folder.iterdir()] == ["ours"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "shard-00000.npy"]


def test_a_manifest_has_the_seconds_of_all_tasks(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def make(folder: Path) -> dict[str, int]:
        time.sleep(0.3 if does_own_part() else 0)
        (folder / f"part-{rank().process}").touch()
        wait_until(lambda: len(list(folder.glob("part-*"))) >= 3)
        return {}

    for task in range(3):
        be_array_task(Rank(task, 3))
        try:
            with nullcontext() if task == 2 else pytest.raises(OthersAtWork):
                store.build("stage", {}, make, parallel=True)
        finally:
            be_array_task(None)
    [folder] = tmp_path.glob(".store/stage-*[!k]")
    manifest = read_manifest(folder)
    assert manifest is not None
    assert 0.9 <= manifest["seconds"] < 30
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, "part-0", "part-1", "part-2"]


def test_shards_of_processes_of_two_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process of another node writes now is not taken for the leftover of a dead one."""
    path = tmp_path / "shard.npy"
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("platform.node", lambda: "elsewhere")
        elsewhere.setattr("os.getpid", lambda: 2**22 + 1)  # of which there is none here
        with published(path) as theirs:
            np.save(theirs.open("wb"), np.ones(1))
            elsewhere.undo()
            with published(path) as ours:
                ours.touch()
            assert theirs.exists()
