"""Search with atomic docids: one decoder step, then the rows of the docid head with the largest logits."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from dsi.model.architecture import DifferentiableSearchIndex
from dsi.search.rounded_rows import MANY, RoundedRows
from dsi.search.top_k import top_k_of_chunks

ROWS_PER_CHUNK = 1 << 16
"""The number of output rows scored at once."""
CANDIDATES = 4
"""The number of documents scored again in float32 for each one wanted, where logits are rounded."""


@torch.inference_mode()
def top_documents(
    model: DifferentiableSearchIndex,
    input_ids: Tensor,
    attention_mask: Tensor,
    count: int,
    others: Tensor | None = None,
    rounded: RoundedRows | None = None,
) -> tuple[Tensor, Tensor]:
    """The doc_index and the log-probability of each text's `count` most probable documents, best first.

    Both are (queries, at most count): all documents if there are fewer. `others`, (queries, documents), are documents
    whose log-probability is wanted too; they come behind the best ones, which they may repeat. With the `rounded` rows
    of the model the documents are the same, and log-probabilities differ by about 0.01 at most.
    """
    state = model.first_states(input_ids, attention_mask)
    if rounded is None or count > MANY * len(rounded.weight):
        documents, scores, log_sum = _best(model, state, count)
    else:
        documents, scores, log_sum, is_proven = rounded.best(state.float(), count)
        if len(doubtful := (~is_proven).nonzero().flatten()):
            documents[doubtful], scores[doubtful], log_sum[doubtful] = _best(model, state[doubtful], count)
    if others is not None:
        documents = torch.cat([documents, others], dim=1)
        scores = torch.cat([scores, _logits(model, state, others)], dim=1)
    return documents, scores - log_sum.unsqueeze(1)


def _best(model: DifferentiableSearchIndex, state: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The documents with the largest logits for each state and these logits, both (queries, at most count), and the
    logarithm of the sum of exp(logit) over all documents, (queries,)."""
    totals: list[Tensor] = []

    def logits() -> Iterator[Tensor]:
        for rows in model.docid_head.weight.split(ROWS_PER_CHUNK):
            chunk = functional.linear(state, rows.to(state)).float()
            totals.append(chunk.logsumexp(dim=1))
            yield chunk

    if state.dtype == torch.float32:
        documents, scores = top_k_of_chunks(logits(), count)
    else:  # bfloat16 rounds logits of 16 to 32 to eighths
        candidates, _ = top_k_of_chunks(logits(), CANDIDATES * count)
        exact = _logits(model, state, candidates)
        scores, best = exact.topk(min(count, exact.shape[1]), dim=1)
        documents = candidates.gather(1, best)
    return documents, scores, torch.stack(totals).logsumexp(dim=0)


def _logits(model: DifferentiableSearchIndex, state: Tensor, documents: Tensor) -> Tensor:
    """The logits of some documents for each state, (queries, documents) float32."""
    weight = model.docid_head.weight  # while training, it may lie in main memory, and in bfloat16
    return torch.einsum("qd,qnd->qn", state.float(), weight[documents.to(weight.device)].to(state.device).float())


@torch.inference_mode()
def nearest_rows(model: DifferentiableSearchIndex, doc_index: int, count: int) -> tuple[Tensor, Tensor]:
    """The `count` other documents whose output rows have the largest cosine to a document's, and these cosines, both
    (at most count,), best first."""
    weight = model.docid_head.weight
    row = functional.normalize(weight[doc_index].float(), dim=0)

    def cosines() -> Iterator[Tensor]:
        for start, rows in enumerate(weight.split(ROWS_PER_CHUNK)):
            lengths = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float32)
            of_rows = rows.float() @ row / lengths.clamp(min=torch.finfo(torch.float32).tiny)
            if start == doc_index // ROWS_PER_CHUNK:
                of_rows[doc_index % ROWS_PER_CHUNK] = -torch.inf
            yield of_rows.unsqueeze(0)

    documents, scores = top_k_of_chunks(cosines(), min(count, len(weight) - 1))
    return documents[0], scores[0]
