"""Step-by-step decoding against the whole decoder."""

import pytest
import torch
from models import random_model

from dsi.model.architecture import START
from dsi.model.decoding import StepDecoder


@pytest.mark.parametrize("ff", ["relu", "gated-gelu"])
@torch.inference_mode()
def test_steps_equal_the_whole_decoder(ff: str) -> None:
    model = random_model(6, 5, feed_forward_proj=ff)
    ids = torch.tensor([[5, 6, 7, 1], [8, 1, 0, 0]])
    mask = (ids != 0).long()
    codes = torch.tensor([[1, 2, 3, 4, 5], [5, 0, 5, 1, 2]])
    encoded = model.encode(ids, mask)
    expected = model.decoder_states(encoded, mask, codes)
    decoder = StepDecoder(model.decoder, encoded, mask, length=5)
    rows, owners, parents = torch.full((2,), START), None, None
    # The rows of a step, each as (text, whether it follows `codes`); the number of rows a text changes.
    plan = [
        [(0, True), (1, True)],
        [(0, False), (0, True), (1, False), (1, True)],
        [(0, True), (1, False), (1, False), (1, True)],
        [(0, True), (0, False), (1, True)],
        [(1, True)],
    ]
    for step, kinds in enumerate(plan):
        states = decoder.step(model.docid_embedding(rows), owners, parents)
        for row, (text, follows) in enumerate(kinds):
            if follows:
                torch.testing.assert_close(states[row], expected[text, step], atol=1e-5, rtol=1e-5)
        if step + 1 < len(plan):
            parents = torch.tensor([kinds.index((text, True)) for text, _ in plan[step + 1]])
            rows = torch.tensor([codes[text, step] + 1 if follows else 4 for text, follows in plan[step + 1]])
            owners = torch.tensor([text for text, _ in plan[step + 1]])
