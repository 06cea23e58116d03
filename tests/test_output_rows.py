"""Output rows outside the model's parameters: the softmax over them against one that keeps all logits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models import random_model
from safetensors.torch import load_file
from scipy.stats import chisquare
from test_distillation import DOCUMENTS, atomic, batch_of, loss_and_gradients, soft
from test_heads import docids_in, model_for

from dsi.config import ModelConfig, TrainingConfig
from dsi.config.training import FULL_ROWS
from dsi.docids.store import Docids
from dsi.errors import DsiError
from dsi.model.architecture import DifferentiableSearchIndex, placed
from dsi.model.heads.layout import Targets
from dsi.objectives import row_softmax
from dsi.objectives.choice import cluster_rows, objective_of
from dsi.objectives.output_rows import OutputRows, Share, stochastically_rounded
from dsi.objectives.row_files import SQUARES_FILE, read_rows, write_rows
from dsi.objectives.row_softmax import Label, chunks, softmax_loss
from dsi.objectives.sampling import Clusters, Sampler, with_draws
from dsi.runtime.processes import Rank
from dsi.training.room import check_room
from dsi.training.rounds import training_arguments

RATE = 0.5
Gradients = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def _several_visits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks so small that there are some."""
    monkeypatch.setattr(row_softmax, "ROWS_AT_ONCE", 7)


def outside(
    model: DifferentiableSearchIndex, training: TrainingConfig, docids: Docids, batch: dict[str, Any], steps: int = 1
) -> tuple[float, Gradients, torch.Tensor]:
    """The loss and the gradients of a step with rows outside the model's parameters, and the rows afterwards."""
    head, weight = model.config.docid_head, model.docid_head.weight.detach().clone()
    rows = OutputRows(weight.clone(), training.row_optimizer, RATE, getattr(torch, training.row_precision))
    sampled = training.softmax == "sampled"
    clusters = Clusters(cluster_rows(training, head, docids, weight)) if sampled else None
    objective = objective_of(training, head, docids, rows, clusters)
    model.zero_grad()
    model.docid_head.register_parameter("weight", None)
    for _ in range(steps):
        loss = model(objective, batch)
        loss.backward()
        rows.end_step()
    gradients = {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}
    model.docid_head.register_parameter("weight", torch.nn.Parameter(weight))
    return loss.item(), gradients, rows.weight


def case(folder: Path, kind: str, head: str, labels: str) -> tuple[DifferentiableSearchIndex, Docids, dict[str, Any]]:
    """A model, its docids and a batch of four queries, two of which are texts of the same document."""
    docids = atomic(folder) if kind == "atomic" else docids_in(folder)
    model = random_model(DOCUMENTS, 1) if kind == "atomic" else model_for(docids, head)
    has_rows = kind == "atomic" or head == "hierarchical_softmax"  # of documents
    label = soft if labels == "teacher" and has_rows else None
    return model, docids, batch_of(docids, head, label, np.array([3, 7, 20, 3]), np.full(4, 0.4))


def gradient_sizes(
    model: DifferentiableSearchIndex, head: str, states: torch.Tensor, batch: dict[str, Any]
) -> torch.Tensor:
    """The sum over docid tokens of the size of the gradient of each row's logit, one token at a time."""
    targets, weight = Targets.of(batch), model.docid_head.weight
    query, position = targets.tokens()
    sizes = torch.zeros(len(weight))
    for token in range(len(query)):
        predicted = model.docid_head(states, targets)
        if "label_rows" in batch and head == "plain":
            of_label = predicted.values.view(len(query), -1)[token, batch["label_rows"][token]]
            loss = -(batch["label_weights"][token] * of_label).sum()
        else:
            loss = -predicted.of_targets[token]
        [gradient] = torch.autograd.grad(loss, weight)
        sizes += gradient.norm(dim=1) / states[query[token], position[token]].norm()
    return sizes


def path_and_leaf_gradients(
    model: DifferentiableSearchIndex, states: torch.Tensor, batch: dict[str, Any], both: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The two parts of the gradient of a tree's rows: of the paths, and what is left of `both`, of the leaves."""
    predicted = model.docid_head(states, Targets.of(batch))
    [of_paths] = torch.autograd.grad(-predicted.of_targets.sum() / len(states), model.docid_head.weight)
    return of_paths, both - of_paths


def leaf_gradient_sizes(
    docids: Docids, weight: torch.Tensor, states: torch.Tensor, batch: dict[str, Any]
) -> torch.Tensor:
    """The sum over queries of the size of the gradient of each leaf's logit."""
    logits = (states @ weight.T).masked_fill(torch.from_numpy(~docids.trie.is_leaf), -torch.inf)
    gradient = logits.softmax(dim=1).scatter_add(1, batch["label_rows"], -batch["label_weights"])
    return gradient.abs().sum(dim=0)


CASES = [("atomic", "plain"), ("tree", "plain"), ("tree", "hierarchical_softmax")]


@pytest.mark.parametrize("labels", ["document", "teacher"])
@pytest.mark.parametrize(("kind", "head"), CASES)
def test_chunks_have_the_gradients_of_the_whole_softmax(tmp_path: Path, kind: str, head: str, labels: Any) -> None:
    model, docids, batch = case(tmp_path, kind, head, labels)
    loss, _ = loss_and_gradients(model, TrainingConfig(labels=labels), docids, batch)
    whole = {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}
    states: list[torch.Tensor] = []
    model.docid_head.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0]))
    model(objective_of(TrainingConfig(), head, docids), batch)

    found, gradients, rows = outside(model, TrainingConfig(labels=labels, softmax="chunked"), docids, batch)
    assert found == pytest.approx(loss, rel=1e-6)
    of_rows, before = whole.pop("docid_head.weight"), model.docid_head.weight.detach()
    sizes = gradient_sizes(model, head, states[0].detach(), batch).clamp(min=1)[:, None]
    assert float(sizes.max()) > 1.2
    assert gradients.keys() == whole.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, whole[name], rtol=1e-5, atol=1e-5 * float(whole[name].abs().max()))
    squares = states[0].detach().square().sum(dim=2)
    square, square_first = float(squares[batch["codes"] >= 0].mean()), float(squares[:, 0].mean())
    if labels == "teacher" and head == "hierarchical_softmax":  # two losses, with states and sizes of their own
        of_paths, of_leaves = path_and_leaf_gradients(model, states[0].detach(), batch, of_rows)
        leaf_sizes = leaf_gradient_sizes(docids, before, states[0].detach()[:, 0], batch).clamp(min=1)[:, None]
        step = of_paths / sizes / square + of_leaves / leaf_sizes / square_first
    else:
        step = of_rows / sizes / square
    torch.testing.assert_close(rows, before - RATE * 4 * step, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("labels", ["document", "teacher"])
@pytest.mark.parametrize(("kind", "head"), CASES)
def test_a_sample_tends_to_the_whole_softmax_as_it_grows(tmp_path: Path, kind: str, head: str, labels: Any) -> None:
    model, docids, batch = case(tmp_path, kind, head, labels)
    loss, _, whole = outside(model, TrainingConfig(labels=labels, softmax="chunked"), docids, batch)
    before, errors = model.docid_head.weight.detach(), []
    for draws in (4, 400, 40_000):
        training = TrainingConfig(
            labels=labels, softmax="sampled", uniform_negatives=draws, neighbour_negatives=draws // 2
        )
        found, _, rows = outside(model, training, docids, batch)
        errors.append(abs(found - loss))
        if draws == 40_000:
            assert float((rows - whole).norm()) < 0.05 * float((whole - before).norm())
    assert errors[-1] < 0.01 * loss
    assert errors[-1] <= errors[0]


def test_the_sum_over_a_sample_is_that_over_all_rows_on_average() -> None:
    random = np.random.default_rng(0)
    weight, states = torch.randn(300, 8), torch.randn(6, 8)
    label = Label(torch.randint(300, (6, 3)), torch.rand(6, 3).softmax(dim=1))
    sampler = Sampler(Clusters(random.integers(20, size=300)), uniform=30, neighbours=30, seed=0)
    sums = []
    for step in range(3000):
        rows, offsets = sampler.sample(label, step)
        sums.append((states @ weight[rows].T + torch.from_numpy(offsets)).exp().sum(dim=1))
    mean, error = torch.stack(sums).mean(dim=0), torch.stack(sums).std(dim=0) / 3000**0.5
    exact = (states @ weight.T).exp().sum(dim=1)
    assert (((mean - exact) / error).abs() < 4).all()
    assert (error / exact < 0.1).all()


@given(st.sets(st.integers(0, 30), min_size=1), st.lists(st.integers(0, 30), max_size=60))
def test_a_sample_has_each_row_once_in_order(sure: set[int], draws: list[int]) -> None:
    rows, offsets = with_draws(np.array(sorted(sure)), np.array(draws, dtype=int), lambda rows: np.full(len(rows), 0.5))
    assert rows.tolist() == sorted(sure | set(draws))
    expected = [0.0 if row in sure else np.log(draws.count(row) / 0.5) for row in rows.tolist()]
    np.testing.assert_allclose(offsets, expected, rtol=1e-6)


def test_neighbours_are_drawn_from_the_clusters_of_labels_alone() -> None:
    of_row = np.repeat(np.arange(10), 10)
    of_row[:10] = -1  # rows that are never drawn
    sampler = Sampler(Clusters(of_row), uniform=1, neighbours=50, seed=1)
    label = Label.certain(torch.tensor([25, 71, 72]))
    drawn = [sampler.sample(label, step) for step in range(200)]
    counts = np.bincount(np.concatenate([rows for rows, _ in drawn]), minlength=100)
    assert counts[:10].sum() == 0
    assert counts[70:80].sum() > counts[20:30].sum() > 1500
    assert counts[30:70].sum() + counts[80:].sum() <= 200
    again, _ = sampler.sample(Label.certain(torch.tensor([72, 25, 71])), 7)  # the processes' parts, in another order
    np.testing.assert_array_equal(again, drawn[7][0])


def test_rounding_is_right_on_average() -> None:
    generator = torch.Generator().manual_seed(0)
    below, above = 1.0, 1.0 + 2**-7  # the spacing of bfloat16 at 1
    for share in (0.1, 0.5, 0.75):
        values = torch.full((20_000,), below + share * (above - below))
        noise = torch.randint(1 << 16, values.shape, dtype=torch.int32, generator=generator)
        for sign in (1, -1):
            rounded = sign * stochastically_rounded(sign * values, noise).float()
            ups = int((rounded == above).sum())
            assert int((rounded == below).sum()) + ups == len(values)
            assert chisquare([len(values) - ups, ups], np.array([1 - share, share]) * len(values)).pvalue > 1e-3
    exact = torch.tensor([0.0, 1.0, -3.5, 1e-30])
    largest = torch.full(exact.shape, 65_535, dtype=torch.int32)
    torch.testing.assert_close(stochastically_rounded(exact[:3], largest[:3]).float(), exact[:3], rtol=0, atol=0)


def test_steps_below_the_spacing_of_bfloat16_add_up(tmp_path: Path) -> None:
    model, docids, batch = case(tmp_path, "atomic", "plain", "document")
    rows = {}
    for precision in ("float32", "bfloat16"):
        training: Any = TrainingConfig(softmax="chunked", row_precision=precision)
        rows[precision] = outside(model, training, docids, batch, steps=30)[2].float()
    changed = rows["float32"] - model.docid_head.weight.detach()
    assert float((rows["bfloat16"] - rows["float32"]).norm()) < 0.2 * float(changed.norm())


def test_adagrad_divides_a_step_by_what_its_row_has_changed() -> None:
    weight, states = torch.randn(12, 4), torch.randn(5, 4)
    label = Label.certain(torch.tensor([1, 1, 5, 2, 11]))
    rows, by_hand, squares = OutputRows(weight.clone(), "adagrad", RATE), weight.clone(), torch.ones(12)
    for _ in range(3):
        softmax_loss(states.clone().requires_grad_(), label, rows, chunks).backward()
        rows.end_step()
        gradient = (states @ by_hand.T).softmax(dim=1)
        gradient[torch.arange(5), label.rows[:, 0]] -= 1
        gradient /= gradient.abs().sum(dim=0).clamp(min=1)
        length = states.square().sum(dim=1).mean().sqrt()
        of_rows = gradient.T @ states / length
        squares += of_rows.square().sum(dim=1)
        by_hand -= RATE / length * of_rows / squares.sqrt()[:, None]
        torch.testing.assert_close(rows.weight, by_hand)
    assert rows.squares is not None
    torch.testing.assert_close(rows.squares, squares)


def test_the_learning_rate_is_what_a_logit_gains() -> None:
    weight = torch.nn.functional.normalize(torch.randn(1000, 64), dim=1) * 1e-3
    for scale in (1.0, 8.0):
        states, wanted = scale * torch.nn.functional.normalize(torch.randn(16, 64), dim=1), torch.arange(16) * 50
        rows = OutputRows(weight.clone(), "sgd", RATE)
        softmax_loss(states.requires_grad_(), Label.certain(wanted), rows, chunks).backward()
        gains = ((rows.weight - weight)[wanted] * states).sum(dim=1)
        torch.testing.assert_close(gains, torch.full((16,), RATE), rtol=0.1, atol=0)


@pytest.mark.parametrize("count", [2, 10, 100])
def test_rows_that_many_queries_ask_for_at_once_settle(count: int) -> None:
    torch.manual_seed(0)
    rows, texts = OutputRows(torch.zeros(count, 16), "sgd", 3.0), torch.randn(count, 16)
    losses = []
    for _ in range(100):
        wanted = torch.randint(count, (256,))
        states = (1.0 + texts[wanted]).requires_grad_()  # most of a state is common to all, as T5's are
        loss = softmax_loss(states, Label.certain(wanted), rows, chunks) / 256
        loss.backward()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.1
    assert max(losses) < 2 * losses[0]


def test_a_loss_that_is_not_finite_changes_no_row() -> None:
    weight = torch.randn(20, 4)
    rows, states = OutputRows(weight.clone(), "sgd", RATE), torch.full((2, 4), torch.inf).requires_grad_()
    with pytest.raises(DsiError, match="the loss is nan; the output rows are as they were"):
        softmax_loss(states, Label.certain(torch.tensor([1, 2])), rows, chunks)
    torch.testing.assert_close(rows.weight, weight)


@pytest.mark.parametrize("rule", ["sgd", "adagrad"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_are_read_from_disk_as_they_were(
    tmp_path: Path, rule: Any, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsi.objectives.row_files.AT_ONCE", 6)
    monkeypatch.setattr("dsi.objectives.output_rows.AT_ONCE", 6)
    model = random_model(DOCUMENTS, 1)
    rows = OutputRows(torch.randn(DOCUMENTS, 16), rule, RATE, dtype)
    if rows.squares is not None:
        rows.squares += torch.rand(DOCUMENTS)
    model.docid_head.register_parameter("weight", None)
    model.save_pretrained(tmp_path)
    write_rows(tmp_path, rows, with_squares=True)

    for process in range(3):  # whatever the number of processes that go on
        part = OutputRows(torch.zeros(DOCUMENTS, 16), rule, RATE, dtype, Rank(process, 3))
        read_rows(tmp_path, part)
        own = slice(part.share.start, part.share.stop)
        torch.testing.assert_close(part.weight, rows.weight[own], rtol=0, atol=0)
        assert (part.squares is None) == (rows.squares is None) == (not (tmp_path / SQUARES_FILE).exists())
        if part.squares is not None and rows.squares is not None:
            torch.testing.assert_close(part.squares, rows.squares[own], rtol=0, atol=0)
    assert load_file(tmp_path / "model.safetensors")["docid_head.weight"].dtype == dtype
    read = DifferentiableSearchIndex.from_pretrained(tmp_path, dtype=torch.float32)
    torch.testing.assert_close(read.docid_head.weight.detach(), rows.weight.float(), rtol=0, atol=0)
    torch.testing.assert_close(read.shared.weight, model.shared.weight)


def test_shares_are_all_rows() -> None:
    for processes in (1, 2, 3, 7):
        shares = [Share.of(23, Rank(process, processes)) for process in range(processes)]
        assert [row for share in shares for row in range(share.start, share.stop)] == list(range(23))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"accumulation": 2}, "needs training.accumulation=1"),
        ({"consistency": 0.1}, "training.consistency needs training.softmax=full"),
    ],
)
def test_what_does_not_go_with_rows_that_change_in_the_backward_pass(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingConfig(softmax="chunked", **keys)
    TrainingConfig(**keys)


@pytest.mark.parametrize(
    ("keys", "rows", "head", "softmax"),
    [
        ({}, FULL_ROWS, "plain", "full"),
        ({}, FULL_ROWS + 1, "plain", "sampled"),
        ({}, FULL_ROWS + 1, "hierarchical_softmax", "full"),
        ({}, FULL_ROWS + 1, "pawa", "full"),
        ({"consistency": 0.1}, FULL_ROWS + 1, "plain", "full"),
        ({"accumulation": 2}, FULL_ROWS + 1, "plain", "full"),
        ({"softmax": "chunked"}, 10, "plain", "chunked"),
        ({"softmax": "full"}, 10 * FULL_ROWS, "plain", "full"),
    ],
)
def test_the_softmax_that_is_chosen_for_a_number_of_rows(
    keys: dict[str, Any], rows: int, head: str, softmax: str
) -> None:
    assert TrainingConfig(**keys).settled(rows, head).softmax == softmax


def test_rows_without_room_are_told_with_what_would_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsi.training.room.total_memory", lambda: 512e9)
    monkeypatch.setattr("dsi.training.room._memory", lambda device: 24e9)
    rows, card = 8_841_823, torch.device("cuda", 0)

    def check(times: int = 1, head: Any = "plain", processes: int = 1, here: int = 1, **keys: Any) -> None:
        monkeypatch.setenv("WORLD_SIZE", str(processes))
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(here))
        check_room(TrainingConfig(**keys), ModelConfig(head=head), times * rows, 768, card)

    with pytest.raises(DsiError) as error:
        check(softmax="full")
    assert "8,841,823 output rows of 768 numbers take 126.8 GB" in str(error.value)
    assert "has 24.0 GB" in str(error.value)
    assert "training.softmax=chunked training.row_precision=bfloat16 (13.6 GB)" in str(error.value)
    assert "row_precision=float32" not in str(error.value)
    check(softmax="sampled", row_precision="bfloat16")
    check(softmax="sampled", processes=2)
    with pytest.raises(DsiError, match="bfloat16 on 3 devices"):
        check(4, softmax="sampled")
    with pytest.raises(DsiError, match=r"has 24\.0 GB; what fits: a smaller model\.d_model"):
        check(softmax="full", head="hierarchical_softmax", processes=2)
    for keys in ({"accumulation": 4}, {"consistency": 0.1}):  # which have no other softmax
        with pytest.raises(DsiError) as error:
            check(softmax="full", **keys)
        assert "chunked" not in str(error.value)
        assert "sampled" not in str(error.value)
    with pytest.raises(DsiError, match=r"take 54\.3 GB in main memory .* each of 10 processes here has 51\.2 GB"):
        check(softmax="sampled", processes=10, here=10)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    check(softmax="full", processes=8)
    check(softmax="full", head="hierarchical_softmax", processes=8, batch_size=4096)  # no logits of all nodes


@pytest.mark.parametrize(("kind", "head", "stay"), [("atomic", "plain", True), (*CASES[1], False), (*CASES[2], False)])
def test_only_rows_that_the_search_reads_where_they_are_stay_behind(
    tmp_path: Path, kind: str, head: str, stay: bool
) -> None:
    model, _, _ = case(tmp_path, kind, head, "document")
    weight = model.docid_head.weight
    placed(model, torch.device("meta"))
    assert (model.docid_head.weight.device.type == "cpu") == stay
    assert model.docid_head.weight is weight or not stay
    others = {name: each.device.type for name, each in model.named_parameters() if name != "docid_head.weight"}
    assert set(others.values()) == {"meta"}
    assert model.device.type == "meta"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_bfloat16_without_a_gpu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DsiError, match=r"training\.precision=bfloat16: there is no GPU"):
        training_arguments(TrainingConfig(precision="bfloat16"), tmp_path, has_dev=False)
