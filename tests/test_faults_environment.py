"""The environment: variables of launchers and of Java, locales, bytes, names, environments of another Python."""

import ast
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import processes_command, run_processes, write_msmarco_folder

from dsi.artifacts import write_json
from dsi.baselines import java
from dsi.cli import main
from dsi.config import Config, CorpusConfig, describe, load_config
from dsi.errors import DsiError
from dsi.index.index import load
from dsi.model.trainer_arguments import trainer_arguments
from dsi.pipeline import Run
from dsi.runtime import launcher
from dsi.runtime.device import compute_device
from dsi.runtime.launcher import PLACE, meet, prepare_environment

CONFIG = """
corpus: {source: msmarco, path: data}
tokenizer: {vocabulary: 150}
doc2query: {known_item: {queries: 5}}
model: {d_model: 32, num_heads: 2, d_kv: 16, d_ff: 64, document_length: 32, query_length: 16}
training: {steps: 4, batch_size: 16, eval_steps: 4, warmup_steps: 2, precision: float32}
search: {latency_queries: 2}
baselines: {systems: []}
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment of its own for each test, without a launcher's variables."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in [name for name in os.environ if name in PLACE or name.startswith("ACCELERATE_")]:
        del os.environ[name]
    meet.cache_clear()


@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp8", "junk"])
def test_mixed_precision_from_environment(tmp_path: Path, precision: str) -> None:
    os.environ |= {"ACCELERATE_MIXED_PRECISION": precision, "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "x"}
    os.environ |= {"ACCELERATE_DYNAMO_BACKEND": "inductor", "ACCELERATE_USE_FSDP": "true"}
    prepare_environment()
    arguments = trainer_arguments(tmp_path, section="training", batch_size=4, eval_steps=1, bf16=False)
    assert arguments.mixed_precision == "no"
    assert not [name for name in os.environ if name.startswith("ACCELERATE_")]


def test_what_accelerate_launch_sets_for_several_processes_stays() -> None:
    os.environ |= {"LOCAL_RANK": "0", "ACCELERATE_USE_FSDP": "True", "ACCELERATE_USE_CPU": "no", "FSDP_VERSION": "2"}
    prepare_environment()
    assert (os.environ["ACCELERATE_USE_FSDP"], os.environ["ACCELERATE_USE_CPU"]) == ("true", "false")
    assert os.environ["FSDP_VERSION"] == "2"


@pytest.mark.parametrize("name", ["ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM", "ACCELERATE_USE_CPU"])
def test_a_way_of_training_that_there_is_not_is_named(name: str) -> None:
    os.environ[name] = "maybe" if name == "ACCELERATE_USE_CPU" else "true"
    with pytest.raises(DsiError, match=f"{name}=.*unset {name}"):
        prepare_environment()


@pytest.mark.parametrize(
    "variables",
    [
        "RANK=1 WORLD_SIZE=2",
        "RANK=0 WORLD_SIZE=2",
        "RANK=1",
        "RANK=abc",
        "RANK=3 WORLD_SIZE=2",
        "WORLD_SIZE=0",
        "LOCAL_RANK=0",
        "RANK=0 LOCAL_RANK=x",
        "RANK=1 LOCAL_RANK=1 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=FREE",
        "RANK=0 LOCAL_RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=FREE",
        "RANK=1 LOCAL_RANK=1 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=abc",
        "RANK=0 LOCAL_RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=99999999",
    ],
)
def test_launcher_variables(monkeypatch: pytest.MonkeyPatch, variables: str) -> None:
    monkeypatch.setattr(launcher, "FIRST_WAIT", timedelta(seconds=1))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= dict(pair.split("=") for pair in variables.replace("FREE", str(port)).split())
    start = time.monotonic()
    with pytest.raises(DsiError, match=r"(RANK|WORLD_SIZE)=.*unset") as error:
        meet()
    assert "\n" not in str(error.value)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("variables", ["", "RANK=0", "RANK=0 WORLD_SIZE=1", "MASTER_ADDR=nowhere", "SLURM_PROCID=3"])
def test_variables_of_a_single_process_do_no_harm(variables: str) -> None:
    os.environ |= dict(pair.split("=") for pair in variables.split())
    meet()


def test_a_gpu_that_there_is_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert compute_device() == torch.device("cuda", 0)
    os.environ["LOCAL_RANK"] = "1"
    with pytest.raises(DsiError, match="LOCAL_RANK=1: there are 1 GPUs"):
        compute_device()


def test_processes_of_a_launcher_meet(tmp_path: Path) -> None:
    script = tmp_path / "meeting.py"
    script.write_text("from dsi.runtime.launcher import together\nwith together(): pass\n", encoding="utf-8")
    run_processes(processes_command(2, [], script))


def a_java(folder: Path, script: str | None) -> Path:
    """The home folder of a Java whose command is this shell script, if any."""
    (folder / "bin").mkdir(parents=True)
    (folder / "release").write_text('JAVA_VERSION="21.0.1"\n', encoding="utf-8")
    if script is not None:
        (folder / "bin/java").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (folder / "bin/java").chmod(0o755)
    return folder


@pytest.mark.parametrize("script", [None, "exit 127", "echo broken >&2; exit 1", "kill -9 $$"])
def test_a_java_that_does_not_start_is_told_before_the_work(tmp_path: Path, script: str | None) -> None:
    os.environ["JAVA_HOME"] = str(a_java(tmp_path, script))
    with pytest.raises(DsiError, match=rf"the Java in {tmp_path} does not start .*JAVA_HOME"):
        java.check_java()


@pytest.mark.parametrize("name", java.USERS_OPTIONS)
def test_wrong_options_of_java_are_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.undo()  # what Java is started with is the environment itself
    monkeypatch.setenv(name, "-Xbogus")
    with pytest.raises(DsiError, match=rf"Xbogus.*; mend or unset {name}=-Xbogus"):
        java.check_java()


def test_java_says_nothing_of_the_options_that_it_took_over() -> None:
    program = (
        "from dsi.baselines.java import start_java; start_java()\n"
        "from pyserini.pyclass import autoclass; import os\n"
        "print(autoclass('java.lang.Runtime').getRuntime().maxMemory() >> 20, os.environ['JAVA_TOOL_OPTIONS'])\n"
    )
    options = {"JAVA_TOOL_OPTIONS": "-Xmx64m -Da='b c'", "JDK_JAVA_OPTIONS": "-Xbogus"}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **options}, capture_output=True, encoding="utf-8"
    )
    assert done.stdout == "64 -Xmx64m -Da='b c'\n", done.stderr
    assert "Picked up" not in done.stderr


def run_dsi(*arguments: str | bytes, **variables: str) -> tuple[int, bytes, bytes]:
    """The exit status, the output and the errors of `dsi ARGUMENTS` with variables beside those of this process."""
    command = [sys.executable, "-m", "dsi", *arguments]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, input="héron\n".encode())
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an experiment, `b.yaml`, that is finished in `runs/b`, on a corpus of names and texts with é."""
    folder = tmp_path_factory.mktemp("finished")
    corpus = write_msmarco_folder(folder / "bücher", count=20)
    with (corpus / "collection.tsv").open("a", encoding="utf-8") as collection:
        collection.write("Dé\tun héron\x1b[31m rouge\x9b dans le øresund\n")
    (folder / "b.yaml").write_text(CONFIG.replace("path: data", f"path: {corpus}"), encoding="utf-8")
    assert main(["run", str(folder / "b.yaml"), "--runs", str(folder / "runs")]) == 0
    return folder


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_output_encoding(finished: Path) -> None:
    status, out, error = run_dsi("query", str(finished / "runs/b"), "héron", "-k", "21", PYTHONIOENCODING="ascii")
    assert (status, error) == (0, b"")
    assert rb"un h\xe9ron\ufffd[31m rouge\ufffd dans" in out


def test_locale_without_utf8(finished: Path) -> None:
    status, out, error = run_dsi("query", str(finished / "runs/b"), "-k", "21", **ASCII)
    assert (status, error) == (0, b"")
    assert "un héron�[31m rouge� dans".encode() in out, "the terminal takes no commands from a document"
    status, _, error = run_dsi("report", str(finished / "b.yaml"), "--runs", str(finished / "runs"), **ASCII)
    assert (status, error) == (0, b"")


def test_query_bytes(finished: Path, tmp_path: Path) -> None:
    assert run_dsi("query", str(finished / "runs/b"), b"h\xe9ron")[::2] == (0, b"")
    config = Config(corpus=CorpusConfig(source="msmarco", path=os.fsdecode(b"b\xe9")))
    (tmp_path / "config.yaml").write_text(describe(values=config), encoding="utf-8")
    assert os.fsencode(load_config(tmp_path / "config.yaml").corpus.path or "").endswith(b"b\xe9")


def test_files_are_read_and_written_in_utf8_whatever_the_locale() -> None:
    root = Path(__file__).parent.parent
    for path in [*root.glob("dsi/**/*.py"), *root.glob("scripts/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            keywords = {keyword.arg: ast.unparse(keyword.value).strip("'") for keyword in node.keywords}
            modes = [value for value in (ast.unparse(argument).strip("'") for argument in node.args) if len(value) < 4]
            as_text = name == "open" and any(mode[:1] in "rwax" and "b" not in mode for mode in modes if mode.isalpha())
            if as_text or name in ("read_text", "write_text") or ("text" in keywords and name in ("run", "Popen")):
                assert keywords.get("encoding") == "utf-8", f"{path}, line {node.lineno}"


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".store", "../x", "/x", "x/", "x//y", "a\nb", "b\udce9", "\x1b[31m", "x" * 300]
)
def test_a_name_that_would_leave_the_runs_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DsiError, match=r"cannot be the name of a run") as error:
        Run(Config(), name, tmp_path)
    assert str(error.value).isprintable()


def test_a_run_cannot_lie_in_a_stage_of_another(tmp_path: Path) -> None:
    (tmp_path / ".store/corpus-1").mkdir(parents=True)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/corpus").symlink_to(tmp_path / ".store/corpus-1")
    with pytest.raises(DsiError, match=r"--name 'demo/corpus/x': .* in a stage of another run"):
        Run(Config(), "demo/corpus/x", tmp_path)


def test_a_folder_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"b\xe9")
    for opened in (partial(Run, Config(), "demo", folder), partial(load, folder)):
        with pytest.raises(DsiError, match="not UTF-8; rename it"):
            opened()


@pytest.mark.parametrize("name", ["demo", "my tiny", "sweep/k1=0.9, b=[1]", "bücher", "it's $HOME", "x" * 200])
def test_other_names_are_taken(tmp_path: Path, name: str) -> None:
    assert Run(Config(), name, tmp_path).folder == tmp_path / name


def test_a_manifest_keeps_the_bytes_of_a_path(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"path": "é b\udce9"})
    assert "é b" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"path": "é b\udce9"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in a folder with blanks, an apostrophe and a dollar, whose environment only shows its arguments."""
    folder, root = tmp_path / "it's a $HOME", Path(__file__).parent.parent
    for name in ("Makefile", "scripts/stages.mk", "pyproject.toml", "constraints.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, folder / name)
    (folder / ".venv/bin").mkdir(parents=True)
    for name in ("dsi", "pip"):
        script = folder / ".venv/bin" / name
        script.write_text("#!/bin/sh\nprintf '[%s]' \"$@\"\n", encoding="utf-8")
        script.chmod(0o755)
    (folder / ".venv/installed").touch()
    return folder


def make(checkout: Path, *arguments: str) -> tuple[int, str, str]:
    """The exit status, the output and the errors of `make ARGUMENTS`, in a shell of its own, not in `make test`."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(["make", *arguments], cwd=checkout, env=environment, capture_output=True, encoding="utf-8")
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "name", ["my run", "it's", "a$$b", "../x", "..", ".x", "", "x;y", '"q"', "a:b", "%", "#x", "ü", "x\ny", "CONFIG"]
)
def test_make_and_blanks(checkout: Path, name: str) -> None:
    given = "CONFIG=my tiny.yaml" if name == "CONFIG" else f"NAME={name}"
    status, out, error = make(checkout, "plan", given)
    assert (status, out) == (2, "")
    assert "letters, digits, . _ and - only" in error
    assert "multiple target" not in error


@pytest.mark.parametrize("config", ["my tiny.yaml", "it's.yaml", 'a "b" $$HOME `c`;#.yaml', "configs/demo.yaml"])
def test_a_configuration_of_any_name_has_a_run_of_a_plain_name(checkout: Path, config: str) -> None:
    status, out, error = make(checkout, "plan", f"CONFIG={config}", "NAME=a.b_c-1")
    assert (status, error) == (0, "")
    assert out.startswith(f"[plan][{config.replace('$$', '$')}][--name][a.b_c-1]")


@pytest.mark.parametrize("broken", ["gone", "no pip"])
def test_environment_of_another_python(checkout: Path, broken: str) -> None:
    for script in (checkout / ".venv/bin").iterdir():
        script.write_text("#!/nonexistent/python3.9\n", encoding="utf-8")
    if broken == "no pip":
        (checkout / ".venv/bin/pip").unlink()
    status, out, error = make(checkout, "corpus")
    assert (status, out) == (2, "")
    assert ".venv was made by a Python that has gone" in error
    assert len(error.splitlines()) == 1
    assert make(checkout, "help")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], "bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e"),
        (["CONSTRAINTS=old.txt"], "bin/pip install --quiet --disable-pip-version-check -c old.txt -e"),
        (["CONSTRAINTS="], "bin/pip install --quiet --disable-pip-version-check  -e"),
        (["OS=Windows_NT"], "Scripts/pip install --quiet --disable-pip-version-check -c constraints.txt -e"),
    ],
    ids=["tested", "given", "newest", "windows"],
)
def test_which_versions_are_installed_and_where(checkout: Path, arguments: list[str], command: str) -> None:
    (checkout / "old.txt").touch()
    status, out, error = make(checkout, "--dry-run", "install", "VENV=new", *arguments)
    assert (status, error) == (0, "")
    assert f"new/{command} '.[dev]'" in out
