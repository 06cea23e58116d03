"""A T5 whose decoder generates docids: the Differentiable Search Index (Tay et al. 2022).

Docids have a vocabulary, input embeddings and an output head of their own; the text vocabulary is not touched (resizing
it discards the trained head of an untied T5). Weights of T5, T5.1.1 and mT5 checkpoints load under their own names.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import T5Model
from transformers.models.t5.modeling_t5 import T5Stack

from dsi.model.config import DsiConfig
from dsi.model.heads.layout import Targets
from dsi.model.heads.pawa import PawaHead
from dsi.model.heads.table import HEADS, Head

START = 0
"""The row of the docid embedding that the decoder reads first; docid token t has row t + 1."""


class Objective(Protocol):
    """What a training step minimises (see dsi.objectives)."""

    @property
    def passes(self) -> int:
        """How many times the model reads a batch, each time with its own dropout."""

    def __call__(self, states: Sequence[Tensor], head: Head, targets: Targets, batch: Mapping[str, Tensor]) -> Tensor:
        """The loss, a scalar, from the decoder states of each pass, each (queries, length, d_model x decoders)."""


class DifferentiableSearchIndex(T5Model):
    """A T5 encoder and decoder, docid embeddings (START and one row per docid token) and a docid head."""

    config_class = DsiConfig
    _keys_to_ignore_on_load_unexpected = (r"lm_head\.weight", r"EncDecAttention\.relative_attention_bias\.weight")

    def __init__(self, config: DsiConfig) -> None:
        super().__init__(config)
        self.set_input_embeddings(self.shared)  # one module, not three that share a weight, which FSDP refuses
        self.docid_embedding = nn.Embedding(START + 1 + config.docid_inputs, config.d_model)
        self.docid_head: Head = HEADS[config.docid_head](config)
        if config.docid_head == "pawa":
            prefix_config = deepcopy(config)
            prefix_config.is_decoder, prefix_config.num_layers = True, config.pawa_layers
            self.prefix_decoder = T5Stack(prefix_config)
            self.prefix_decoder.embed_tokens = None  # it reads docid embeddings only
        self.post_init()

    @property
    def stacks(self) -> list[T5Stack]:
        """The decoders whose states, concatenated, the head reads: one, with PAWA two."""
        return [self.decoder, self.prefix_decoder] if self.config.docid_head == "pawa" else [self.decoder]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, tuple(HEADS.values())):
            nn.init.normal_(self.docid_head.weight, std=self.config.d_model**-0.5)
            if isinstance(module, PawaHead):
                for projection in module.projections.parameters():
                    nn.init.normal_(projection, std=0.1 / self.config.d_model)
        elif module is getattr(self, "docid_embedding", None):
            nn.init.normal_(self.docid_embedding.weight)  # as T5's text embeddings
        else:
            super()._init_weights(module)

    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The encoder states of texts, (queries, tokens, d_model); `attention_mask` is 0 on padding."""
        return self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    def decoder_states(self, encoded: Tensor, attention_mask: Tensor, codes: Tensor) -> Tensor:
        """The states (queries, length, d_model x decoders) from which the head predicts `codes`, (queries, length)."""
        rows = functional.pad(codes[:, :-1] + 1, (1, 0), value=START)  # padding (-1) reads START; its loss is ignored
        inputs = self.docid_embedding(rows)
        states = [
            stack(
                inputs_embeds=inputs,
                encoder_hidden_states=encoded,
                encoder_attention_mask=attention_mask,
                use_cache=False,
            ).last_hidden_state
            for stack in self.stacks
        ]
        return torch.cat(states, dim=2)

    def first_states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The decoder state of each text before the first docid token, (queries, d_model x decoders)."""
        codes = input_ids.new_zeros(len(input_ids), 1)  # of which the decoder reads nothing but START
        return self.decoder_states(self.encode(input_ids, attention_mask), attention_mask, codes)[:, 0]

    def forward(self, objective: Objective, batch: Mapping[str, Tensor]) -> Tensor:
        """The loss of a training batch, a scalar; computed here, as DDP and FSDP gather weights in `forward` only.

        `batch` has input_ids and attention_mask, (queries, tokens), the mask 0 on padding; the arrays of `Targets`; and
        rows, (queries,) the row numbers of the examples.
        """
        ids, mask, targets = batch["input_ids"], batch["attention_mask"], Targets.of(batch)
        states = [self.decoder_states(self.encode(ids, mask), mask, targets.codes) for _ in range(objective.passes)]
        return objective(states, self.docid_head, targets, batch)


def placed(model: DifferentiableSearchIndex, device: torch.device) -> DifferentiableSearchIndex:
    """The model, moved to a device; of atomic docids, whose rows the search reads some at a time from where they are
    (dsi.search.atomic), all but these, which may have no room there."""
    head, weight = model.docid_head, model.docid_head.weight
    is_atomic = model.config.docid_length == 1 and model.config.docid_head == "plain"
    if is_atomic:
        head.register_parameter("weight", None)
    model.to(device)
    if is_atomic:
        head.register_parameter("weight", weight)
    return model


def parameters_by_part(model: nn.Module) -> dict[str, int]:
    """The number of parameters in the embeddings, the docid head, PAWA if there is one, and the rest (backbone)."""
    parts = {"embeddings": 0, "head": 0, "backbone": 0}
    for name, parameter in model.named_parameters():
        part = part_of(name)
        parts[part] = parts.get(part, 0) + parameter.numel()
    return parts


def part_of(parameter_name: str) -> str:
    """The part of the model that a parameter belongs to, which decides its learning rate.

    >>> [part_of(name) for name in ("shared.weight", "docid_head.weight", "prefix_decoder.weight", "norm.weight")]
    ['embeddings', 'head', 'pawa', 'backbone']
    """
    if "docid_head.projections" in parameter_name or "prefix_decoder" in parameter_name:
        return "pawa"
    if "docid_head" in parameter_name:
        return "head"
    return "embeddings" if "shared" in parameter_name or "docid_embedding" in parameter_name else "backbone"
