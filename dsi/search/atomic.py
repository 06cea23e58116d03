"""Search with atomic docids: one decoder step, then the rows of the docid head with the largest logits."""

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor
from torch.nn import functional

from dsi.model.architecture import DifferentiableSearchIndex
from dsi.search.changes import NONE, Changes
from dsi.search.rounded_rows import MANY, RoundedOnce
from dsi.search.top_k import top_k_of_chunks

ROWS_PER_CHUNK = 1 << 16
"""The number of output rows scored at once."""
CANDIDATES = 4
"""The number of documents scored again in float32 for each one wanted, where logits are rounded."""


class AtomicRows:
    """The output rows of atomic docids: those of a model and behind them those added since; deleted ones do not count.

    Args:
        weight: the rows of the model, (documents, d_model), which are not copied.
        changes: what has been added and deleted.
        rounded: the rounded rows of `weight`, with which the best documents are the same, and log-probabilities differ
            by about 0.01 at most.

    Raises:
        ValueError: added rows are not as wide as those of the model, or a deleted document has no row.
    """

    def __init__(self, weight: Tensor, changes: Changes = NONE, rounded: RoundedOnce | None = None) -> None:
        self.weight, self.changes, self.rounded = weight, changes, rounded
        self.added: Tensor | None = None
        if changes.rows is not None and len(changes.rows):
            if changes.rows.shape[1:] != weight.shape[1:]:
                raise ValueError(
                    f"added rows have {changes.rows.shape[1]} numbers, those of the model {weight.shape[1]}"
                )
            self.added = changes.rows.detach().to(weight.device)
        if len(changes.deleted) and changes.deleted[-1] >= self.documents:
            raise ValueError(f"document {changes.deleted[-1]} is deleted; the index has {self.documents}")

    @property
    def documents(self) -> int:
        """The number of rows, deleted ones too."""
        return len(self.weight) + (0 if self.added is None else len(self.added))

    @property
    def living(self) -> int:
        """The number of documents that are not deleted."""
        return self.documents - len(self.changes.deleted)

    def best(self, states: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """The documents with the largest logits for each state and these logits, both (queries, at most count), and the
        logarithm of the sum of exp(logit) over all documents, (queries,); `states` are (queries, d_model)."""
        rounded = self.rounded() if self.rounded is not None else None
        living = len(self.weight) - len(self.changes.deleted_within(0, len(self.weight)))
        if rounded is None or count > MANY * living:
            return self._best_read(states, min(count, self.living))
        documents, logits, log_sum, is_proven = rounded.best(states.float(), count, self.changes)
        if self.added is not None:
            of_added = self._best_read(states.float(), count, first=len(self.weight))
            documents, both = (torch.cat(each, dim=1) for each in zip((documents, logits), of_added[:2], strict=True))
            logits, places = both.topk(count, dim=1)
            documents, log_sum = documents.gather(1, places), torch.logaddexp(log_sum, of_added[2])
        if len(doubtful := (~is_proven).nonzero().flatten()):
            documents[doubtful], logits[doubtful], log_sum[doubtful] = self._best_read(states[doubtful], count)
        return documents, logits, log_sum

    def logits(self, states: Tensor, documents: Tensor) -> Tensor:
        """The logits of some documents for each state, (queries, documents) float32; -inf of deleted ones."""
        logits = torch.einsum("qd,qnd->qn", states.float(), self._rows(documents).to(states.device).float())
        if len(self.changes.deleted):
            is_deleted = torch.from_numpy(self.changes.is_deleted(documents.cpu().numpy()))
            logits = logits.masked_fill(is_deleted.to(logits.device), -torch.inf)
        return logits

    @torch.inference_mode()
    def nearest(self, doc_index: int, count: int) -> tuple[Tensor, Tensor]:
        """The `count` other documents whose rows have the largest cosine to a document's, and these cosines, both
        (at most count,), best first."""
        row = functional.normalize(self._rows(torch.tensor(doc_index)).float(), dim=0)

        def cosines() -> Iterator[Tensor]:
            start = 0
            for rows in self._chunks(0):
                lengths = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float32)
                of_rows = rows.float() @ row / lengths.clamp(min=torch.finfo(torch.float32).tiny)
                if start <= doc_index < start + len(rows):
                    of_rows[doc_index - start] = -torch.inf
                yield self._masked(of_rows.unsqueeze(0), start)
                start += len(rows)

        others = self.living - int(not self.changes.is_deleted(torch.tensor(doc_index).numpy()))
        documents, scores = top_k_of_chunks(cosines(), min(count, others))
        return documents[0], scores[0]

    def _best_read(self, states: Tensor, count: int, first: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """What `best` returns, of all rows from `first` on, which are read one after the other. Where fewer than
        `count` are not deleted, deleted ones with -inf may follow."""
        totals: list[Tensor] = []

        def logits() -> Iterator[Tensor]:
            start = first
            for rows in self._chunks(first):
                chunk = self._masked(functional.linear(states, rows.to(states)).float(), start)
                totals.append(chunk.logsumexp(dim=1))
                yield chunk
                start += len(rows)

        if states.dtype == torch.float32:
            documents, scores = top_k_of_chunks(logits(), count)
            documents += first
        else:  # bfloat16 rounds logits of 16 to 32 to eighths
            candidates, _ = top_k_of_chunks(logits(), CANDIDATES * count)
            exact = self.logits(states, candidates + first)
            scores, best = exact.topk(min(count, exact.shape[1]), dim=1)
            documents = candidates.gather(1, best) + first
        return documents, scores, torch.stack(totals).logsumexp(dim=0)

    def _chunks(self, first: int) -> Iterator[Tensor]:
        """All rows, or those added alone, where `first` is the number of the first one added; a chunk at a time."""
        base = () if first else self.weight.split(ROWS_PER_CHUNK)
        return chain(base, () if self.added is None else self.added.split(ROWS_PER_CHUNK))

    def _masked(self, scores: Tensor, start: int) -> Tensor:
        """Scores of a chunk of rows from number `start` on, (queries, rows), with -inf for deleted documents."""
        if not len(self.changes.deleted):
            return scores
        deleted = torch.from_numpy(self.changes.deleted_within(start, start + scores.shape[1]))
        return scores.index_fill_(1, deleted.to(scores.device), -torch.inf)

    def _rows(self, documents: Tensor) -> Tensor:
        """The rows of some documents, (..., d_model)."""
        documents = documents.to(self.weight.device)  # while training, it may lie in main memory, and in bfloat16
        if self.added is None:
            return self.weight[documents]
        of_added = self.added[(documents - len(self.weight)).clamp(min=0)]
        is_added = (documents >= len(self.weight)).unsqueeze(-1)
        return torch.where(is_added, of_added, self.weight[documents.clamp(max=len(self.weight) - 1)])


@torch.inference_mode()
def top_documents(
    model: DifferentiableSearchIndex,
    input_ids: Tensor,
    attention_mask: Tensor,
    count: int,
    others: Tensor | None = None,
    rows: AtomicRows | None = None,
) -> tuple[Tensor, Tensor]:
    """The doc_index and the log-probability of each text's `count` most probable documents, best first.

    Both are (queries, at most count): all documents if there are fewer. `others`, (queries, documents), are documents
    whose log-probability is wanted too, -inf of deleted ones; they come behind the best ones, which they may repeat.
    `rows` are by default those of the model alone.
    """
    states, rows = model.first_states(input_ids, attention_mask), rows or AtomicRows(model.docid_head.weight)
    documents, logits, log_sum = rows.best(states, count)
    if others is not None:
        documents = torch.cat([documents, others], dim=1)
        logits = torch.cat([logits, rows.logits(states, others)], dim=1)
    return documents, logits - log_sum.unsqueeze(1)
