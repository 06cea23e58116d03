"""The environment: variables of launchers and of Java, locales, bytes, names, environments of another Python."""

import os
import socket
import time
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import processes_command, run_processes

from dsi.errors import DsiError
from dsi.model.trainer_arguments import trainer_arguments
from dsi.runtime import launcher
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


def test_processes_of_a_launcher_meet(tmp_path: Path) -> None:
    script = tmp_path / "meeting.py"
    script.write_text("from dsi.runtime.launcher import meet\nmeet()\n", encoding="utf-8")
    run_processes(processes_command(2, [], script))
