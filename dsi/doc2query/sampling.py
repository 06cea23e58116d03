"""Samples many continuations of each text from a T5, faster than `generate` of transformers.

A text is encoded once and has one row of cross-attention keys and values for all its samples, samples with the same
prefix are decoded once, finished samples leave the batch at once, and only the `top_k` logits are normalised.
"""

import numpy as np
import torch
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
    """Sample `samples` continuations of each text, of at most `max_length` tokens.

    Each token is drawn from the `top_k` most probable ones, where 1 means greedy decoding. `input_ids` and
    `attention_mask` are (texts, tokens); the mask is 0 on padding.

    Returns:
        texts x samples lists of token ids, one text after another; each ends with the end token unless it is cut.
    """
    texts, device, config = len(input_ids), input_ids.device, model.config
    # All random numbers in advance, so that a sample does not depend on how long the others become.
    uniform = torch.from_numpy(random.random((max_length, texts * samples), dtype=np.float32)).to(device)
    encoded = model.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
    decoder = StepDecoder(model.decoder, encoded, attention_mask, max_length)
    drawn = torch.full((texts * samples, max_length), config.pad_token_id, device=device)
    alive = torch.arange(texts * samples, device=device)  # the unfinished samples
    owners, parents = torch.arange(texts, device=device), None
    inputs = torch.full((texts,), config.decoder_start_token_id, device=device)
    row = owners.repeat_interleave(samples)  # the decoder row of each unfinished sample
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
            parents = None  # every row has one continuation: nothing to reorder
    is_end = (drawn == config.eos_token_id).cpu().numpy()
    is_end[:, -1] = True
    return [token_ids[: end + 1] for token_ids, end in zip(drawn.tolist(), is_end.argmax(axis=1), strict=True)]


def top_logits(model: T5ForConditionalGeneration, state: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest logits of each decoder state and their token ids, both (states, count), best first."""
    if getattr(model.config, "scale_decoder_outputs", False):  # T5 with tied embeddings; mT5 has no such key
        state = state * model.config.d_model**-0.5
    logits = model.lm_head(state).float()
    values, token_ids = logits.topk(min(count, logits.shape[-1]), dim=-1)
    return values, token_ids


def draw(logits: Tensor, token_ids: Tensor, temperature: float, uniform: Tensor) -> Tensor:
    """One of the `token_ids` of each row, (rows,), drawn by inverting the cumulative distribution.

    `token_ids` and their `logits` are (rows, choices); `uniform` are random numbers in [0, 1), (rows,).

    >>> logits, token_ids = torch.tensor([[2.0, 1.0], [2.0, 1.0]]), torch.tensor([[7, 9], [7, 9]])
    >>> draw(logits, token_ids, temperature=1.0, uniform=torch.tensor([0.7, 0.8])).tolist()
    [7, 9]
    """
    cumulative = (logits / temperature).softmax(dim=-1).cumsum(dim=-1)
    choice = (uniform.unsqueeze(1) >= cumulative[:, :-1]).sum(dim=1, keepdim=True)
    return token_ids.gather(1, choice).squeeze(1)
