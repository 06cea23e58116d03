"""Sample many continuations of each text from a T5, faster than the library's `generate`.

A text is encoded once, its cross-attention keys and values stay at one row for all its samples, samples that agree so
far are decoded once, finished ones leave the batch at once, and only the `top_k` logits are normalised.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import T5ForConditionalGeneration

from dsi.model.decoding import StepDecoder


@torch.inference_mode()
def sample(
    model: T5ForConditionalGeneration,
    input_ids: Tensor,
    attention_mask: Tensor,
    samples: int,
    top_k: int,
    temperature: float,
    max_length: int,
    random: np.random.Generator,
) -> list[list[int]]:
    """`samples` continuations of each text, with the end token unless cut to `max_length` tokens.

    A token is drawn from the `top_k` most probable ones; 1 is greedy decoding. `input_ids` and `attention_mask` are
    (texts, tokens), the mask 0 on padding.

    Returns:
        texts x samples lists of tokens, those of a text together.
    """
    texts, device, config = len(input_ids), input_ids.device, model.config
    # All draws in advance: a sample's do not depend on how long the others get.
    uniform = torch.from_numpy(random.random((max_length, texts * samples), dtype=np.float32)).to(device)
    encoded = model.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
    decoder = StepDecoder(model.decoder, encoded, attention_mask, max_length)
    drawn = torch.full((texts * samples, max_length), config.pad_token_id, device=device)
    alive = torch.arange(texts * samples, device=device)
    owners, parents = torch.arange(texts, device=device), None
    inputs = torch.full((texts,), config.decoder_start_token_id, device=device)
    row = owners.repeat_interleave(samples)  # that each sample alive is decoded in
    for step in range(max_length):
        logits, choices = top_logits(model, decoder.step(model.shared(inputs), owners, parents), top_k)
        token_ids = draw(logits[row], choices[row], temperature, uniform[step, alive])
        drawn[alive, step] = token_ids
        going = token_ids != config.eos_token_id
        if not going.any():
            break
        prefixes, next_row = torch.unique(row[going] * config.vocab_size + token_ids[going], return_inverse=True)
        parents, inputs = prefixes // config.vocab_size, prefixes % config.vocab_size
        alive, row, owners = alive[going], next_row, owners[parents]
        if torch.equal(parents, torch.arange(len(logits), device=device)):
            parents = None  # every row goes on as it is: nothing to copy
    return [row[: end + 1] for row, end in zip(drawn.tolist(), _ends(drawn, config.eos_token_id), strict=True)]


def top_logits(model: T5ForConditionalGeneration, state: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest logits of each state and their tokens, each (states, count), best first."""
    if getattr(model.config, "scale_decoder_outputs", False):  # T5 with tied embeddings; mT5 has no such key
        state = state * model.config.d_model**-0.5
    logits = model.lm_head(state).float()
    values, token_ids = logits.topk(min(count, logits.shape[-1]), dim=-1)
    return values, token_ids


def draw(logits: Tensor, token_ids: Tensor, temperature: float, uniform: Tensor) -> Tensor:
    """One of the `tokens` of each row by the inverse of its cumulative distribution, (rows,).

    `logits` are those of `tokens`, both (rows, choices); `uniform` are (rows,) numbers in [0, 1).
    """
    cumulative = (logits / temperature).softmax(dim=-1).cumsum(dim=-1)
    choice = (uniform.unsqueeze(1) >= cumulative[:, :-1]).sum(dim=1, keepdim=True)
    return token_ids.gather(1, choice).squeeze(1)


def _ends(drawn: Tensor, end: int) -> NDArray[np.int64]:
    """Position of the end token in each row, or the last."""
    is_end = (drawn == end).cpu().numpy()
    is_end[:, -1] = True
    return np.asarray(is_end.argmax(axis=1))
