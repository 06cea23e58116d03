"""Document states: what the model's decoder says about a document before the first docid token.

They start the output rows of atomic docids (the warm start: logits then compare a query's state with each document's)
and can be clustered into semantic docids. Those of an atomic index are its output rows, what training has made of them.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoTokenizer

from dsi.artifacts import read_manifest
from dsi.config import BodyConfig
from dsi.corpus.store import Corpus
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.build import trained_index
from dsi.progress import progress

DOCUMENTS_A_BATCH = 64


def states_before_training(
    config: BodyConfig, model: DifferentiableSearchIndex, tokenizer: Path, corpus: Corpus
) -> Tensor:
    """The output rows, centred, where the checkpoint that `model` starts from is an atomic index of this very corpus;
    `document_states` otherwise. Shape (documents, d_model), float32."""
    trained = trained_index(config.checkpoint)
    if trained is None or trained.config.docid_length > 1 or not _is_of(config.checkpoint, corpus):
        return document_states(model, tokenizer, corpus, config.document_length)
    rows = trained.docid_head.weight.detach()
    return rows - rows.mean(dim=0)


def _is_of(checkpoint: str | None, corpus: Corpus) -> bool:
    """Whether the index that a run has made, in this folder, is of this corpus."""
    index, documents = read_manifest(Path(str(checkpoint))), read_manifest(corpus.folder)
    return index is not None and documents is not None and index["inputs"]["corpus/"] == documents["fingerprint"]


@torch.inference_mode()
def document_states(model: DifferentiableSearchIndex, tokenizer: Path, corpus: Corpus, length: int) -> Tensor:
    """First decoder state of every document's first `length` tokens, centred and of unit length, on the CPU.

    Returns:
        (documents, d_model) float32.
    """
    text = AutoTokenizer.from_pretrained(tokenizer)
    model.eval()
    states = torch.empty(len(corpus), model.config.d_model)
    for start in progress(
        range(0, len(corpus), DOCUMENTS_A_BATCH), "document states", unit=f"x {DOCUMENTS_A_BATCH} docs"
    ):
        contents = [document.content() for document in corpus.rows(start, start + DOCUMENTS_A_BATCH)]
        batch = text(contents, truncation=True, max_length=length, padding=True, return_tensors="pt").to(model.device)
        encoded = model.encode(batch["input_ids"], batch["attention_mask"])
        first = torch.zeros(len(contents), 1, dtype=torch.long, device=model.device)
        states[start : start + len(contents)] = model.decoder_states(encoded, batch["attention_mask"], first)[
            :, 0
        ].float()
    states -= states.mean(dim=0)
    return functional.normalize(states, dim=1)
