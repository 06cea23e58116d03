"""One decoder step at a time for many continuations of a text, over the modules of a Hugging Face T5.

Cross-attention keys and values stay at one row a text, with its continuations folded into the query axis; only the
short self-attention cache follows the continuations. Equal to the full decoder up to rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from transformers.models.t5.modeling_t5 import T5Stack


class StepDecoder:
    """Decodes continuations ("rows") of `texts` encoded texts, at most `length` steps.

    Args:
        stack: the decoder of a T5, T5.1.1 or mT5 model.
        encoded: (texts, tokens, d_model) encoder states.
        attention_mask: (texts, tokens) 1 for text, 0 for padding.
    """

    def __init__(self, stack: T5Stack, encoded: Tensor, attention_mask: Tensor, length: int) -> None:
        self.stack = stack
        self.heads, self.head_size = stack.config.num_heads, stack.config.d_kv
        mask = torch.zeros_like(attention_mask, dtype=encoded.dtype)
        self.mask = mask.masked_fill_(attention_mask == 0, torch.finfo(encoded.dtype).min)[:, None, None, :]
        self.cross = [
            (self._split(attention.k(encoded)).transpose(1, 2), self._split(attention.v(encoded)).transpose(1, 2))
            for attention in (block.layer[1].EncDecAttention for block in stack.block)
        ]
        self.bias = stack.block[0].layer[0].SelfAttention.compute_bias(length, length, encoded.device)[0]
        self.cache: list[tuple[Tensor, Tensor]] = []
        self.steps = 0

    def step(self, inputs: Tensor, owners: Tensor | None, parents: Tensor | None) -> Tensor:
        """State of every row after one more token, shape (rows, d_model).

        Args:
            inputs: (rows, d_model) embedding of each row's last token.
            owners: (rows,) text that each row continues, in increasing order; None where all texts have equally many.
            parents: (rows,) row of the previous step that each row continues; None where it is the row itself.
        """
        hidden, bias = inputs, self.bias[:, None, self.steps, : self.steps + 1]
        fold = _Even(len(self.mask)) if owners is None else _Uneven(owners, len(self.mask))
        for number, block in enumerate(self.stack.block):
            layer = block.layer[0]
            normed = layer.layer_norm(hidden)
            query = self._split(layer.SelfAttention.q(normed)).unsqueeze(2)
            keys = self._split(layer.SelfAttention.k(normed)).unsqueeze(2)  # (rows, heads, steps, head_size)
            values = self._split(layer.SelfAttention.v(normed)).unsqueeze(2)
            if self.steps:
                old_keys, old_values = self.cache[number]
                if parents is not None:
                    old_keys, old_values = old_keys.index_select(0, parents), old_values.index_select(0, parents)
                keys = torch.cat([old_keys, keys], dim=2)
                values = torch.cat([old_values, values], dim=2)
            self.cache[number : number + 1] = [(keys, values)]
            attended = functional.scaled_dot_product_attention(query, keys, values, attn_mask=bias, scale=1.0)
            hidden = hidden + layer.SelfAttention.o(attended.flatten(1))

            layer = block.layer[1]
            query = fold.by_text(layer.EncDecAttention.q(layer.layer_norm(hidden)))
            keys, values = self.cross[number]
            attended = functional.scaled_dot_product_attention(
                self._split(query).transpose(1, 2), keys, values, attn_mask=self.mask, scale=1.0
            )
            hidden = hidden + layer.EncDecAttention.o(fold.by_row(attended.transpose(1, 2).flatten(2)))

            hidden = block.layer[2](hidden)
        self.steps += 1
        return self.stack.final_layer_norm(hidden)

    def _split(self, projected: Tensor) -> Tensor:
        """(..., inner) to (..., heads, head_size)."""
        return projected.unflatten(-1, (self.heads, self.head_size))


class _Even:
    """Rows of texts that have equally many, between (rows, n) and (texts, rows a text, n)."""

    def __init__(self, texts: int) -> None:
        self.texts = texts

    def by_text(self, rows: Tensor) -> Tensor:
        return rows.unflatten(0, (self.texts, -1))

    def by_row(self, texts: Tensor) -> Tensor:
        return texts.flatten(0, 1)


class _Uneven:
    """The same for any number of rows a text; what a text lacks of the largest number is zeros."""

    def __init__(self, owners: Tensor, texts: int) -> None:
        counts = torch.bincount(owners, minlength=texts)
        self.shape = (texts, int(counts.max()))
        self.place = owners, torch.arange(len(owners), device=owners.device) - (counts.cumsum(0) - counts)[owners]

    def by_text(self, rows: Tensor) -> Tensor:
        texts = rows.new_zeros(*self.shape, rows.shape[-1])
        texts[self.place] = rows
        return texts

    def by_row(self, texts: Tensor) -> Tensor:
        return texts[self.place]
