"""A dual encoder trained on the run's own synthetic queries, from the same initialisation as the index.

The recipe is GTR's (Ni et al. 2022): one T5 encoder for queries and documents, mean pooling, a projection, vectors of
unit length, a softmax over the documents of the batch at temperature 0.01. Published comparisons lack this baseline of
equal compute.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import T5Config, T5EncoderModel, set_seed
from transformers.utils import ModelOutput

from dsi.artifacts import WORK
from dsi.config import BackboneConfig, DistillationConfig, EncoderConfig, TasksConfig
from dsi.corpus.store import Corpus
from dsi.model.build import from_checkpoint, random_shape
from dsi.model.checkpoints import last_checkpoint, seconds_done, steps_done
from dsi.model.cost import TRAINING, encoder_flops
from dsi.model.length_batches import length_batches, padded_texts
from dsi.model.trainer_arguments import trainer_arguments
from dsi.runtime.device import compute_device, is_bfloat16
from dsi.runtime.processes import rank
from dsi.teacher.card import learnt
from dsi.teacher.labels import TeacherLabels
from dsi.teacher.store import SoftLabels
from dsi.tokenizer import open_tokenizer
from dsi.training.batch_trainer import BatchTrainer
from dsi.training.batches import Batches
from dsi.training.examples import Examples, write_examples
from dsi.training.targets import Arrays, Integers, drawn
from dsi.training.tasks import training_tasks

TEMPERATURE = 0.01
TEXTS_PER_BATCH = 64


class DualEncoder(T5EncoderModel):
    """The encoder of T5, mean pooling and a projection, for queries and documents alike."""

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.projection = nn.Linear(config.d_model, config.d_model, bias=False)
        self.post_init()

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The vectors of the texts, (texts, d_model) float32 of unit length."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(2).to(states.dtype)
        mean = (states * mask).sum(dim=1) / mask.sum(dim=1)
        return functional.normalize(self.projection(mean).float(), dim=1)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        document_ids: Tensor,
        document_mask: Tensor,
        doc_index: Tensor,
        rows: Tensor | None = None,
    ) -> ModelOutput:
        """The loss: the mean negative log-likelihood of each query's document among the documents of the batch, each of
        which counts once. `rows`, which every batch has, is ignored."""
        queries, documents = self.embed(input_ids, attention_mask), self.embed(document_ids, document_mask)
        with torch.autocast(queries.device.type, enabled=False):  # bfloat16 is too coarse for a cosine / 0.01
            logits = queries @ documents.T / TEMPERATURE
        same = doc_index.unsqueeze(1) == doc_index
        same.fill_diagonal_(False)
        own = torch.arange(len(logits), device=logits.device)
        return ModelOutput(loss=functional.cross_entropy(logits.masked_fill(same, -torch.inf), own))


class DocumentTargets:
    """The beginning of each example's document, or of one that a teacher's label draws, as the targets of a batch."""

    def __init__(self, documents: Examples, pad: int, labels: TeacherLabels | None) -> None:
        self.documents, self.pad, self.labels = documents, pad, labels

    def __call__(self, rows: Integers, doc_index: Integers, draws: NDArray[np.float64]) -> Arrays:
        numbers = doc_index.astype(np.int64)
        if self.labels is not None:
            numbers = drawn(*self.labels(rows, doc_index), draws)
        ids, mask = self.documents.padded(numbers, self.pad)
        return {"document_ids": ids, "document_mask": mask.astype(np.int64), "doc_index": numbers}


def train_encoder(
    out_folder: Path,
    *,
    encoder: EncoderConfig,
    backbone: BackboneConfig,
    corpus_folder: Path,
    tokenizer_folder: Path,
    doc2query_folder: Path,
    distillation: DistillationConfig | None = None,
    teacher_folder: Path | None = None,
) -> dict[str, Any]:
    """Train from the last checkpoint in `out_folder`, or from where the index starts, and save the encoder there. With
    the folder of a teacher, `distillation` says how its scores become labels.

    Returns:
        Parameters, steps, seconds and FLOPs of the training.

    Raises:
        DsiError: the loss is not finite, or the checkpoint to start from cannot be loaded.
    """
    documents, tokenizer = Corpus(corpus_folder), open_tokenizer(tokenizer_folder)
    checkpoints = out_folder / WORK / "checkpoints"
    arguments = trainer_arguments(
        checkpoints,
        section="encoder",
        batch_size=encoder.batch_size,
        max_steps=encoder.steps,
        warmup_steps=min(100, encoder.steps),
        bf16=is_bfloat16("auto", "encoder"),
        seed=encoder.seed,
        logging_steps=50,
        eval_strategy="no",
        eval_steps=encoder.save_steps,
        ignore_data_skip=True,
    )

    def examples(name: str, tasks: TasksConfig) -> Examples:
        wanted = training_tasks(tasks, documents, doc2query_folder, tokenizer, backbone.query_length, encoder.seed)
        return write_examples(out_folder / WORK / name, wanted, len(tokenizer), rank())

    queries = examples("queries", TasksConfig())
    passages = examples("documents", TasksConfig(d2q=0.0, first_p=1.0, passage_length=backbone.document_length))
    labels = None
    if teacher_folder is not None and distillation is not None:
        labels = TeacherLabels(SoftLabels(teacher_folder), queries.tasks, queries.doc_index, distillation)
    last = last_checkpoint(checkpoints)
    set_seed(encoder.seed)
    if backbone.checkpoint is None:
        trained = DualEncoder(T5Config(**random_shape(backbone, len(tokenizer))))
    else:
        changes = {"dropout_rate": backbone.dropout}
        trained = from_checkpoint(DualEncoder, T5Config, backbone, changes, new=("projection",))
    trained.config.document_length = backbone.document_length
    flops_of_token = TRAINING * encoder_flops(trained, 1)
    trainer = BatchTrainer(
        trained,
        arguments,
        Batches(
            queries,
            DocumentTargets(passages, tokenizer.pad_token_id, labels),
            encoder.batch_size,
            tokenizer.pad_token_id,
            encoder.seed,
            encoder.steps,
            {"d2q": 1.0},
            first_step=steps_done(last),
            process=arguments.process_index,
            processes=arguments.world_size,
        ),
        "encoder",
        "adamw",
        {"backbone": encoder.learning_rate, "embeddings": encoder.embedding_learning_rate},
        lambda batch: (batch["input_ids"].numel() + batch["document_ids"].numel()) * flops_of_token,
        seconds_before=seconds_done(last),
    )
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    trainer.save_model(str(out_folder))
    return {
        "parameters": sum(parameter.numel() for parameter in trained.parameters()),
        "steps": encoder.steps,
        "training_seconds": trainer.state.log_history[-1]["seconds"],
        "training_flops": trainer.state.total_flos,
        **learnt(labels, teacher_folder, backbone.checkpoint),
    }


class TextEncoder(nn.Module):
    """A trained dual encoder with the interface of a sentence-transformers model."""

    def __init__(self, folder: Path, tokenizer_folder: Path) -> None:
        super().__init__()
        self.model = DualEncoder.from_pretrained(folder, dtype=torch.float32).to(compute_device()).eval()
        self.tokenizer, self.length = open_tokenizer(tokenizer_folder), self.model.config.document_length

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], show_progress_bar: bool = False) -> NDArray[np.float32]:
        """The vectors of the texts, (texts, d_model) float32 of unit length."""
        vectors = np.empty((len(texts), self.model.config.d_model), dtype=np.float32)
        ids = self.tokenizer(list(texts), truncation=True, max_length=self.length)["input_ids"]
        for rows in length_batches(ids, TEXTS_PER_BATCH):
            batch = padded_texts([ids[row] for row in rows], self.model.config.pad_token_id, self.model.device)
            vectors[rows] = self.model.embed(*batch).cpu().numpy()
        return vectors

    encode_query = encode_document = encode
