"""A T5 whose decoder speaks docids: the Differentiable Search Index (Tay et al. 2022).

Docids have a vocabulary, input embeddings and an output head of their own; the text vocabulary is not touched (resizing
it discards the trained head of an untied T5). Weights of T5, T5.1.1 and mT5 checkpoints load under their own names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import T5Config, T5Model
from transformers.utils import ModelOutput

START = 0
"""Row of the docid embedding that starts the decoder; token t has row t + 1."""


class DsiConfig(T5Config):
    """T5's configuration and the shape of the docids.

    Args:
        docid_tokens: size of the docid vocabulary.
        docid_length: tokens of the longest docid; 1 for atomic docids, which need no docid input embeddings.
        query_length: text pieces of a query, the rest is cut.
    """

    docid_tokens: int = 1
    docid_length: int = 1
    query_length: int = 32


class DifferentiableSearchIndex(T5Model):
    """T5 encoder and decoder, docid embeddings (START and one row a token) and a docid head without bias."""

    config_class = DsiConfig
    _keys_to_ignore_on_load_unexpected = (r"lm_head\.weight", r"EncDecAttention\.relative_attention_bias\.weight")

    def __init__(self, config: DsiConfig) -> None:
        super().__init__(config)
        inputs = config.docid_tokens if config.docid_length > 1 else 0
        self.docid_embedding = nn.Embedding(START + 1 + inputs, config.d_model)
        self.docid_head = nn.Linear(config.d_model, config.docid_tokens, bias=False)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if module is getattr(self, "docid_head", None):
            nn.init.normal_(self.docid_head.weight, std=self.config.d_model**-0.5)
        elif module is getattr(self, "docid_embedding", None):
            nn.init.normal_(self.docid_embedding.weight)  # as T5's text embeddings
        else:
            super()._init_weights(module)

    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Encoder states, shape (queries, tokens, d_model)."""
        states: Tensor = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return states

    def decoder_states(self, encoded: Tensor, attention_mask: Tensor, codes: Tensor) -> Tensor:
        """Decoder state before each docid token, shape (queries, length, d_model), for `codes`, (queries, length)."""
        rows = functional.pad(codes[:, :-1] + 1, (1, 0), value=START)  # padding (-1) reads START; its loss is ignored
        states: Tensor = self.decoder(
            inputs_embeds=self.docid_embedding(rows),
            encoder_hidden_states=encoded,
            encoder_attention_mask=attention_mask,
            use_cache=False,
        ).last_hidden_state
        return states

    def forward(self, input_ids: Tensor, attention_mask: Tensor, codes: Tensor) -> ModelOutput:
        """Mean negative log-likelihood of the docids.

        Args:
            input_ids: (queries, tokens) text pieces.
            attention_mask: (queries, tokens) 1 for text, 0 for padding.
            codes: (queries, length) docid tokens padded at the end with -1.
        """
        states = self.decoder_states(self.encode(input_ids, attention_mask), attention_mask, codes)
        logits = self.docid_head(states).flatten(0, 1).float()
        loss = functional.cross_entropy(logits, codes.flatten(), ignore_index=-1, reduction="sum") / len(codes)
        return ModelOutput(loss=loss)


def parameters_by_part(model: nn.Module) -> dict[str, int]:
    """Number of parameters in the embeddings, the docid head and the rest (body)."""
    parts = {"embeddings": 0, "head": 0, "body": 0}
    for name, parameter in model.named_parameters():
        parts[part_of(name)] += parameter.numel()
    return parts


def part_of(parameter_name: str) -> str:
    """Part a parameter belongs to, which decides its learning rate: embeddings, head or body."""
    if "docid_head" in parameter_name:
        return "head"
    return "embeddings" if "shared" in parameter_name or "docid_embedding" in parameter_name else "body"
