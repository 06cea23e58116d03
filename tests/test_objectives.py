"""Objectives, and the layout of what heads say to them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from models import random_model, random_queries
from test_heads import HEADS, docids_in, model_for

from dsi.model.heads.layout import Targets
from dsi.objectives.consistency import Consistency, symmetric_divergence
from dsi.objectives.softmax import negative_log_likelihood
from dsi.training.targets import DocidTargets


@pytest.mark.parametrize("head", HEADS)
def test_every_head_has_the_same_layout(tmp_path: Path, head: str) -> None:
    docids = docids_in(tmp_path)
    model = model_for(docids, head)
    numbers = np.array([3, 7, 20, 3])  # docids of two, three and four tokens
    arrays = DocidTargets(docids, head == "hierarchical_softmax")(numbers, numbers, np.zeros(len(numbers)))
    targets = Targets.of({"more": torch.zeros(4), **{name: torch.from_numpy(array) for name, array in arrays.items()}})
    ids = torch.tensor(random_queries(2)[1:] * 4)
    states = model.decoder_states(model.encode(ids, torch.ones_like(ids)), torch.ones_like(ids), targets.codes)
    predicted = model.docid_head(states, targets)

    tokens = [(query, position) for position in range(4) for query in range(4) if targets.codes[query, position] >= 0]
    assert list(zip(predicted.query.tolist(), predicted.position.tolist(), strict=True)) == tokens
    counts = predicted.start.diff()
    assert int(predicted.start[-1]) == len(predicted.values)
    sums = [values.exp().sum().item() for values in predicted.values.split(counts.tolist())]
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    assert ((predicted.start[:-1] <= predicted.target) & (predicted.target < predicted.start[1:])).all()
    within = (predicted.target - predicted.start[:-1]).tolist()
    for (query, position), alternative, count in zip(tokens, within, counts.tolist(), strict=True):
        token = int(targets.codes[query, position])
        if head == "hierarchical_softmax":
            assert targets.siblings is not None
            assert count == targets.siblings[query, position]
            parent = 0 if position == 0 else int(targets.nodes[query, position - 1])  # type: ignore[index]
            assert docids.trie.token[int(docids.trie.first_child[parent]) + alternative] == token
        elif head == "plain":
            assert (alternative, count) == (token, docids.vocabulary.tokens)
        else:
            sizes = docids.vocabulary.sizes
            assert (alternative, count) == (token - sum(sizes[:position]), sizes[position])
    [alone] = [model.docid_head(states[2:3], Targets.of({k: torch.from_numpy(v[2:3]) for k, v in arrays.items()}))]
    torch.testing.assert_close(predicted.of_targets[predicted.query == 2], alone.of_targets)


def test_consistency_loss_pulls_two_passes_together(tmp_path: Path) -> None:
    docids = docids_in(tmp_path)
    ids = torch.tensor(random_queries(1) * 4)
    batch = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "codes": torch.tensor(docids.codes[:4]).long(),
    }
    for dropout, larger in ((0.0, False), (0.3, True)):
        losses = []
        for weight in (0.0, 1.0):
            model = random_model(docids.vocabulary.tokens, 4, dropout_rate=dropout).train()
            torch.manual_seed(0)
            losses.append(float(model(Consistency(negative_log_likelihood, weight), batch)))
        assert (losses[1] > losses[0] + 1e-3) == larger
        assert larger or losses[1] == pytest.approx(losses[0], abs=1e-5)


def test_consistency_loss_is_finite_where_probabilities_underflow() -> None:
    logits = torch.tensor([[900.0, -900.0, 0.0], [-900.0, 900.0, 0.0]], requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        one, other = logits.float().log_softmax(dim=1), logits.flip(0).float().log_softmax(dim=1)
        divergence = symmetric_divergence(one, other)
    divergence.backward()
    assert torch.isfinite(divergence)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
