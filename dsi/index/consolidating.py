"""A short training of an index on what was added since it was trained, beside older queries, which are replayed.

A third of the queries of a batch are of added documents, the learning rates are half of the training's. Document states
are then added to all rows, if those of the training have them, and the rows of added documents brought to the length
that is right beside the others. docs/log.md has what each of these gives.

Synthetic queries that are held out, of old documents and of added ones, say which step is best. What the index was
before has seen them: the old ones in its training, the new ones in the rows of added documents. The index is written
anew first; the training resumes from its last checkpoint where it was interrupted.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsi.artifacts import is_written, write_json
from dsi.config import DEV, TrainingConfig
from dsi.corpus.store import DOCUMENTS, Corpus, Qrel, Query, write_rows
from dsi.docids.store import Docids
from dsi.errors import DsiError
from dsi.evaluation.measures import DEV_MEASURE
from dsi.index.compacting import write_living
from dsi.index.generations import BASE, WORK, Claim, Generation
from dsi.index.growth import ROWS, UNTRAINED, Growth, document_rows, write_tensors
from dsi.index.opened import Opened
from dsi.index.parts import base_hash
from dsi.index.row_strength import OtherQueries, strong_enough
from dsi.index.saving import describe
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.build import open_index
from dsi.model.document_states import StateEncoder
from dsi.runtime.device import compute_device
from dsi.runtime.system import link_or_copy
from dsi.tokenizer import open_tokenizer
from dsi.training.dev import dev_evaluator
from dsi.training.examples import Task, write_examples
from dsi.training.rounds import (
    ROUND,
    Round,
    RoundContext,
    head_rate,
    read_round,
    train_round,
)

SHARE_OF_NEW = 1 / 3
"""The share of a batch that are queries of added documents."""
SLOWER = 0.5
"""The learning rates, as a share of those of the training."""
MOST_STEPS = 0.25
"""The most steps that are done where nobody says how many, as a share of those of the training."""
HELD_OUT = 500
"""The most queries of old documents, and of added ones, that are held out, and a tenth of them at most."""
BALANCED = 1_000
"""The number of old rows, and of new ones, whose strength is compared."""
STARTED = "started.json"
"""The file of the work that says that the index is written anew, from which training starts."""


@dataclass(frozen=True)
class Queries:
    """Synthetic queries and the row numbers of their documents."""

    doc_index: NDArray[np.uint32]
    texts: list[str]

    def __getitem__(self, places: NDArray[np.int64]) -> "Queries":
        return Queries(self.doc_index[places], [self.texts[place] for place in places.tolist()])

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def joined(cls, *several: "Queries") -> "Queries":
        """All queries of several."""
        return cls(
            np.concatenate([each.doc_index for each in several]), [text for each in several for text in each.texts]
        )


def consolidate(index: Opened, claim: Claim, steps: int | None) -> Generation:
    """Publish a generation whose model has learnt what was added.

    Raises:
        DsiError: nothing was added since the model was trained, or training fails.
    """
    if not len(index.untrained):
        raise DsiError(f"{index.parts.folder}: nothing was added since the index was trained")
    work = claim.folder.with_name(f".consolidating-{claim.before.number if claim.before else 0}-{steps or 'auto'}")
    for other in claim.folder.parent.glob(WORK):
        if other != work:  # of an index that has changed since
            shutil.rmtree(other)
    start = work / "start"
    if not is_written(work / STARTED):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        write_living(index, start)
        write_json(work / STARTED, len(index))
    growth = Growth(start / "growth", Corpus(start / "corpus"))
    queries = Queries(*growth.replay())
    is_new = np.isin(queries.doc_index, growth.untrained)
    (new, dev_new), (old, dev_old) = (_held_out(queries[np.flatnonzero(each)]) for each in (is_new, ~is_new))
    if not len(new):
        raise DsiError(f"{index.parts.folder}: what was added has no words to make queries of")
    training, held_out = _shorter(growth, steps, len(new)), {"old": dev_old, "new": dev_new}
    done = _train(work, start, growth, training, {"old": old, "new": new}, held_out)
    folder = claim.folder / BASE
    shutil.copytree(  # what is written below is no second name of what is in `start`
        start, folder, ignore=shutil.ignore_patterns("model", ROWS, UNTRAINED), copy_function=link_or_copy
    )
    model, docids = open_index(done.folder).to(compute_device()), Docids(folder / "docids")
    _balance(model, docids, growth, Queries.joined(*held_out.values()), folder / "tokenizer")
    model.save_pretrained(folder / "model")
    facts: dict[str, float] = {"steps": training.steps, "kept_of_step": done.best_step}
    for name, queries in held_out.items():
        if len(queries):
            facts |= _compared(work / f"dev-{name}", start, model, growth, training, queries, name)
    write_tensors(folder / "growth", model, docids, growth.corpus, folder / "tokenizer", growth.model)
    generation = claim.publish(
        "consolidate",
        facts,
        base=claim.number,
        segments=(),
        docids=0,
        rows=len(index),
        deleted=0,
        base_hash=base_hash(describe(index, folder)),
    )
    shutil.rmtree(work)
    return generation


def _held_out(queries: Queries) -> tuple[Queries, Queries]:
    """Most of some queries, to learn from, and the others, evenly spaced; of a single one none is held out."""
    count = min(HELD_OUT, -(-len(queries) // 10), len(queries) // 2)
    is_held_out = np.zeros(len(queries), dtype=np.bool_)
    is_held_out[np.linspace(0, len(queries) - 1, count).astype(np.int64)] = True
    return queries[np.flatnonzero(~is_held_out)], queries[np.flatnonzero(is_held_out)]


def _shorter(growth: Growth, steps: int | None, new: int) -> TrainingConfig:
    """The training of so many steps, or of so many that each of the `new` queries is learnt from once."""
    training = growth.training
    if steps is None:
        once, most = -(-new // round(SHARE_OF_NEW * training.batch_size)), MOST_STEPS * training.steps * training.rounds
        steps = max(min(once, round(most)), 1)
    changes = {
        "steps": steps,
        "rounds": 1,
        "labels": "document",
        "eval_steps": max(steps // 4, 1),
        "warmup_steps": min(training.warmup_steps, steps // 10),
        "patience": None,
        "dev_queries": 2 * HELD_OUT,
        "head_learning_rate": SLOWER * head_rate(training, len(growth.corpus)),
        **{
            name: SLOWER * getattr(training, name)
            for name in ("learning_rate", "embedding_learning_rate", "row_learning_rate")
        },
    }
    return training.model_copy(update=changes).settled(len(growth.corpus), growth.model.head)


def _train(
    work: Path,
    start: Path,
    growth: Growth,
    training: TrainingConfig,
    learnt: Mapping[str, Queries],
    held_out: Mapping[str, Queries],
) -> Round:
    """The finished training of the index in the folder `start`."""
    tokenizer, length = open_tokenizer(start / "tokenizer"), growth.model.query_length

    def task(queries: Queries) -> Task:
        def pairs(_: int) -> tuple[NDArray[np.uint32], list[list[int]]]:
            return queries.doc_index, tokenizer(queries.texts, truncation=True, max_length=length)["input_ids"]

        return Task(1, pairs)

    tasks = {name: task(queries) for name, queries in learnt.items() if len(queries)}
    context = RoundContext(
        examples=write_examples(work / "examples", tasks, len(tokenizer)),
        model=growth.model,
        training=training,
        corpus=_dev_corpus(work / "dev", growth.corpus, held_out),
        tokenizer_folder=start / "tokenizer",
        docids=Docids(start / "docids"),
        weights={"old": 1 - SHARE_OF_NEW, "new": SHARE_OF_NEW},
        add_states=growth.states_added,  # known-item queries that are held out would prefer what has learnt from others
    )
    before = Round(start / "model", 0.0, 0, 0.0, [], [], {}, 0, False, None)
    folder = work / "round-0"
    if not is_written(folder / ROUND):
        train_round(folder, 0, before, context)
    return read_round(folder)


def _dev_corpus(folder: Path, corpus: Corpus, held_out: Mapping[str, Queries]) -> Corpus:
    """The documents of a corpus with the queries held out as split dev."""
    folder.mkdir(exist_ok=True)
    if not (folder / DOCUMENTS).exists():
        link_or_copy(corpus.folder / DOCUMENTS, folder / DOCUMENTS)
    pairs = [
        (Query(f"{name}-{place}", text), number)
        for name, queries in held_out.items()
        for place, (number, text) in enumerate(zip(queries.doc_index.tolist(), queries.texts, strict=True))
    ]
    write_rows(folder / f"queries.{DEV}.arrow", Query, (query for query, _ in pairs))
    doc_ids = corpus.doc_ids(number for _, number in pairs)
    qrels = (Qrel(query.query_id, doc_id, 1) for (query, _), doc_id in zip(pairs, doc_ids, strict=True))
    write_rows(folder / f"qrels.{DEV}.arrow", Qrel, qrels)
    return Corpus(folder)


@torch.no_grad()
def _balance(
    model: DifferentiableSearchIndex, docids: Docids, growth: Growth, queries: Queries, tokenizer_folder: Path
) -> None:
    """Make the rows of added documents as long as is right beside the others (see dsi.index.row_strength)."""
    rows = document_rows(model, docids)
    if rows is None or not len(queries) or len(growth.untrained) == len(growth.corpus):
        return
    states = StateEncoder(model, tokenizer_folder, growth.model.query_length)(queries.texts)
    others = OtherQueries(torch.from_numpy(states), torch.from_numpy(queries.doc_index.astype(np.int64)))
    new, centre = torch.from_numpy(growth.untrained), rows.mean(dim=0)
    old = torch.from_numpy(np.setdiff1d(np.arange(len(rows)), growth.untrained))
    some_old, some_new = (each[:: -(-len(each) // BALANCED)] for each in (old, new))
    of_old = others.log_sums(rows[old])

    def log_sums(factor: float) -> Tensor:
        return torch.logaddexp(of_old, others.log_sums(centre + factor * (rows[new] - centre)))

    factor = strong_enough(
        lambda factor: others.log_mass(centre + factor * (rows[some_new] - centre), some_new, log_sums(factor)),
        lambda factor: others.log_mass(rows[some_old], some_old, log_sums(factor)),
    )
    places = new if docids.is_atomic else torch.from_numpy(np.unique(docids.trie.leaf_of[growth.untrained])).long()
    weight, centre = model.docid_head.weight, centre.to(model.device)
    weight[places] = (centre + factor * (weight[places].float() - centre)).to(weight.dtype)


def _compared(
    folder: Path,
    start: Path,
    trained: DifferentiableSearchIndex,
    growth: Growth,
    training: TrainingConfig,
    queries: Queries,
    name: str,
) -> dict[str, float]:
    """RR@10 of some queries before a training, from which they were held out, and after it."""
    docids, length = Docids(start / "docids"), growth.model.query_length
    corpus = _dev_corpus(folder, growth.corpus, {name: queries})
    evaluate = dev_evaluator(corpus, docids, start / "tokenizer", len(queries), length, training.dev_ranking)
    assert evaluate is not None
    models = {"before": open_index(start / "model").to(compute_device()), "after": trained}
    return {f"{name}_{DEV_MEASURE}_{when}": round(evaluate(model)[DEV_MEASURE], 4) for when, model in models.items()}
