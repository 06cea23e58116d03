"""One decoder step at a time for many beams of a query, over the modules of a Hugging Face T5.

Cross-attention keys and values stay at one row a query, with the beams folded into its query axis; only the short
self-attention cache follows the beams. Equal to the full decoder up to rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dsi.model.architecture import DifferentiableSearchIndex


class BeamDecoder:
    """Decodes `queries` with a varying number of beams each, at most `length` steps.

    Args:
        encoded: (queries, tokens, d_model) encoder states.
        attention_mask: (queries, tokens) 1 for text, 0 for padding.
    """

    def __init__(self, model: DifferentiableSearchIndex, encoded: Tensor, attention_mask: Tensor, length: int) -> None:
        self.decoder = model.decoder
        self.heads, self.head_size = model.config.num_heads, model.config.d_kv
        self.mask = torch.zeros_like(attention_mask, dtype=encoded.dtype)
        self.mask.masked_fill_(attention_mask == 0, torch.finfo(encoded.dtype).min)
        self.mask = self.mask[:, None, None, :]
        self.cross = [
            (self._split(attention.k(encoded)).transpose(1, 2), self._split(attention.v(encoded)).transpose(1, 2))
            for attention in (block.layer[1].EncDecAttention for block in self.decoder.block)
        ]
        self.bias = self.decoder.block[0].layer[0].SelfAttention.compute_bias(length, length, encoded.device)[0]
        self.cache: list[tuple[Tensor, Tensor]] = []
        self.steps = 0

    def step(self, inputs: Tensor, parents: Tensor | None) -> Tensor:
        """State after one more token, shape (queries, beams, d_model).

        Args:
            inputs: (queries, beams, d_model) embedding of each beam's last token.
            parents: (queries, beams) beam of the previous step that each beam continues; None in the first step.
        """
        hidden, bias = inputs, self.bias[:, self.steps, : self.steps + 1]
        queries = torch.arange(len(inputs), device=inputs.device)[:, None]
        for number, block in enumerate(self.decoder.block):
            layer = block.layer[0]
            normed = layer.layer_norm(hidden)
            query, key, value = (
                self._split(projection(normed))
                for projection in (layer.SelfAttention.q, layer.SelfAttention.k, layer.SelfAttention.v)
            )
            keys, values = key.unsqueeze(3), value.unsqueeze(3)  # (queries, beams, heads, steps, head_size)
            if parents is None:
                self.cache.append((keys, values))
            else:
                old_keys, old_values = self.cache[number]
                keys = torch.cat([old_keys[queries, parents], keys], dim=3)
                values = torch.cat([old_values[queries, parents], values], dim=3)
                self.cache[number] = keys, values
            scores = (keys @ query.unsqueeze(4)).squeeze(4) + bias
            weights = scores.float().softmax(dim=-1).to(values.dtype)
            attended = (weights.unsqueeze(3) @ values).squeeze(3)
            hidden = hidden + layer.SelfAttention.o(attended.flatten(2))

            layer = block.layer[1]
            query = self._split(layer.EncDecAttention.q(layer.layer_norm(hidden))).transpose(1, 2)
            keys, values = self.cross[number]
            attended = functional.scaled_dot_product_attention(query, keys, values, attn_mask=self.mask, scale=1.0)
            hidden = hidden + layer.EncDecAttention.o(attended.transpose(1, 2).flatten(2))

            hidden = block.layer[2](hidden)
        self.steps += 1
        return self.decoder.final_layer_norm(hidden)

    def _split(self, projected: Tensor) -> Tensor:
        """(queries, n, inner) to (queries, n, heads, head_size)."""
        return projected.unflatten(-1, (self.heads, self.head_size))
