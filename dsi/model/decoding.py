"""Decodes many continuations of each text one step at a time, with the modules of a Hugging Face T5.

Cross-attention keys and values stay at one row per text, with its continuations folded into the query axis; only the
short self-attention cache follows the continuations. States equal those of the whole decoder up to rounding.
"""

import torch
from torch import Tensor
from torch.nn import functional
from transformers.models.t5.modeling_t5 import T5Stack


class StepDecoder:
    """Decodes continuations, called rows, of encoded texts.

    Args:
        stack: the decoder of a T5, T5.1.1 or mT5 model.
        encoded: (texts, tokens, d_model) encoder states.
        attention_mask: (texts, tokens) 1 for text, 0 for padding.
        length: largest number of steps.
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
        """The decoder state of every row after one more token, (rows, d_model).

        Args:
            inputs: (rows, d_model) embedding of each row's last token.
            owners: (rows,) number of the text that each row continues, in increasing order; None if all texts have
                equally many rows.
            parents: (rows,) number of the row of the previous step that each row continues; None if rows stay the same.
        """
        hidden, bias = inputs, self.bias[:, None, self.steps, : self.steps + 1]
        layout = _RowsByText(owners, len(self.mask))
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
            query = layout.by_text(layer.EncDecAttention.q(layer.layer_norm(hidden)))
            keys, values = self.cross[number]
            attended = functional.scaled_dot_product_attention(
                self._split(query).transpose(1, 2), keys, values, attn_mask=self.mask, scale=1.0
            )
            hidden = hidden + layer.EncDecAttention.o(layout.by_row(attended.transpose(1, 2).flatten(2)))

            hidden = block.layer[2](hidden)
        self.steps += 1
        return self.stack.final_layer_norm(hidden)

    def _split(self, projected: Tensor) -> Tensor:
        """`projected`, (..., heads x head_size), with an axis for the heads: (..., heads, head_size)."""
        return projected.unflatten(-1, (self.heads, self.head_size))


class _RowsByText:
    """Rearranges arrays between (rows, n) and (texts, rows per text, n), with zeros where a text has fewer rows."""

    def __init__(self, owners: Tensor | None, texts: int) -> None:
        self.shape, self.place = (texts, -1), None
        if owners is not None:
            counts = torch.bincount(owners, minlength=texts)
            self.shape = (texts, int(counts.max()))
            self.place = owners, torch.arange(len(owners), device=owners.device) - (counts.cumsum(0) - counts)[owners]

    def by_text(self, rows: Tensor) -> Tensor:
        if self.place is None:
            return rows.unflatten(0, self.shape)
        texts = rows.new_zeros(*self.shape, rows.shape[-1])
        texts[self.place] = rows
        return texts

    def by_row(self, texts: Tensor) -> Tensor:
        return texts.flatten(0, 1) if self.place is None else texts[self.place]
