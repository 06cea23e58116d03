"""Training on two processes (gloo), whole or divided by FSDP, as on one."""

from pathlib import Path

import numpy as np
import pytest
from conftest import ON_CPU, kill_when, processes_command, run_processes, tiny_documents, write_msmarco_folder
from safetensors.numpy import load_file

import dsi
from dsi.artifacts import MANIFEST
from dsi.cli import main
from dsi.corpus import vectors

FSDP = Path(__file__).with_name("fsdp_on_cpu.py")
LATE = Path(__file__).with_name("late_process.py")
COUNTING = Path(__file__).with_name("counting_states.py")
CONFIG = """
corpus: {{source: msmarco, path: {data}}}
tokenizer: {{vocabulary: 300}}
doc2query: {{known_item: {{queries: 20}}, shard_size: 10}}
docids: {{kind: {kind}, clusters: 4, leaf_size: 8}}
model: {{d_model: 32, d_kv: 8, d_ff: 32, head: {head}}}
training:
  {{steps: 12, batch_size: 16, accumulation: {accumulation}, eval_steps: 2, warmup_steps: 2, {keys}}}
"""
ROWS = "row_optimizer: adagrad, row_learning_rate: 0.2, uniform_negatives: 20, neighbour_negatives: 10"
"""Keys of output rows outside the model's parameters."""


def train(
    folder: Path,
    processes: int,
    kind: str,
    head: str,
    accumulation: int = 1,
    fsdp: bool = False,
    killed: bool = False,
    keys: str = "seed: 0",
) -> Path:
    """The model stage of a run on so many processes, with more `keys` of training; `killed` after the first checkpoint,
    and started again."""
    config = folder / f"{processes}.yaml"
    places = {"data": folder / "data", "kind": kind, "head": head, "accumulation": accumulation, "keys": keys}
    config.write_text(CONFIG.format(**places))
    runs = folder / f"runs{processes}"
    options = [str(config), "--runs", str(runs)]
    for verb in ("ingest", "tokenize", "expand", "embed", "assign"):
        assert main([verb, *options]) == 0
    if processes == 1:
        assert main(["train", *options]) == 0
        return runs / "1/model"
    command = processes_command(processes, ["train", *options], FSDP if fsdp else None)
    if killed:
        kill_when(command, runs / ".store", "model-*.partial/work/checkpoints-0/*/trainer_state.json", ON_CPU)
    run_processes(command)
    return runs / str(processes) / "model"


def check_same_curves(one: Path, two: Path) -> None:
    curves = [np.genfromtxt(model / "dev_curve.tsv", names=True, delimiter="\t") for model in (one, two)]
    np.testing.assert_allclose(curves[0]["loss"], curves[1]["loss"], rtol=1e-5)  # sums of halves round differently
    np.testing.assert_array_equal(curves[0]["RR10"], curves[1]["RR10"])


@pytest.mark.parametrize("head", ["hierarchical_softmax", "pawa"])
def test_two_processes_learn_as_one(tmp_path: Path, head: str) -> None:
    write_msmarco_folder(tmp_path / "data")
    one = train(tmp_path, 1, "semantic_2d", head)
    check_same_curves(one, train(tmp_path, 2, "semantic_2d", head, accumulation=2))


@pytest.mark.parametrize("softmax", ["full", "sampled"])
def test_a_model_divided_by_fsdp_learns_the_same_over_a_kill_and_loads_in_one_process(
    tmp_path: Path, softmax: str
) -> None:
    write_msmarco_folder(tmp_path / "data")
    keys = "seed: 0" if softmax == "full" else f"softmax: {softmax}, {ROWS}"
    one = train(tmp_path, 1, "atomic", "plain", keys=keys)
    two = train(tmp_path, 2, "atomic", "plain", fsdp=True, killed=True, keys=keys)
    check_same_curves(one, two)
    query = " ".join(tiny_documents()[3].text.split()[:4])
    rankings = [dsi.load(model.parent).search([query])[0] for model in (one, two)]
    assert [hit.doc_id for hit in rankings[0]] == [hit.doc_id for hit in rankings[1]]
    scores = [[hit.score for hit in ranking] for ranking in rankings]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-4)


def test_two_processes_that_divide_the_rows_learn_as_one(tmp_path: Path) -> None:
    write_msmarco_folder(tmp_path / "data")
    keys = f"softmax: chunked, {ROWS}"
    one, two = (train(tmp_path, processes, "naive", "plain", keys=keys) for processes in (1, 2))
    check_same_curves(one, two)
    rows = [load_file(model / "model.safetensors")["docid_head.weight"] for model in (one, two)]
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-5)


def test_two_processes_compute_each_document_state_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_msmarco_folder(tmp_path / "data")
    config = tmp_path / "states.yaml"
    config.write_text(
        CONFIG.format(
            data=tmp_path / "data", kind="semantic", head="hierarchical_softmax", accumulation=1, keys="seed: 0"
        )
        + "embeddings: {kind: document_states}\n"
    )
    (tmp_path / "counted").mkdir()
    monkeypatch.setattr(vectors, "SHARD", 25)
    monkeypatch.setitem(ON_CPU, "SHARD", "25")
    monkeypatch.setitem(ON_CPU, "COUNTED", str(tmp_path / "counted"))
    for name in ("one", "two"):
        options = [str(config), "--runs", str(tmp_path / name)]
        for verb in ("ingest", "tokenize", "expand", "embed", "assign", "train"):
            if name == "two" and verb in ("embed", "train"):
                run_processes(processes_command(2, [verb, *options], COUNTING))
            else:
                assert main([verb, *options]) == 0
    counts = {file.name: sum(map(int, file.read_text().split())) for file in (tmp_path / "counted").iterdir()}
    # embeddings, the warm start, and the states that are added after the round; of 60 documents in three shards
    assert counts == {"process-0": 3 * 35, "process-1": 3 * 25}
    one, two = (tmp_path / name / "states" for name in ("one", "two"))
    for file in ("embeddings/vectors.npy", "docids/codes.npy"):
        np.testing.assert_array_equal(np.load(one / file), np.load(two / file))
    check_same_curves(one / "model", two / "model")


def test_a_shared_stage_waits_for_a_process_that_is_slow_or_late(tmp_path: Path) -> None:
    run_processes(processes_command(2, [str(tmp_path)], LATE))
    store = tmp_path / ".store"
    assert not list(store.glob("*.partial"))
    folders = [folder for folder in store.iterdir() if folder.is_dir()]
    assert len(folders) == 2
    for folder in folders:
        assert {file.name for file in folder.iterdir()} == {MANIFEST, "process-0", "process-1"}
