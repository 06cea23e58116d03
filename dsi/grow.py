"""How good an index is that grows, beside one that is trained on all documents at once.

A YAML file beside the experiment says what comes later:

    config: msmarco-6k-cpu.yaml         # the experiment, relative to this file
    set: {baselines.systems: []}        # keys of it, if any
    backbone: msmarco-6k-cpu.yaml       # an experiment run first on the same documents, whose model becomes its
                                        # model.checkpoint; none by default
    later: 1000                         # documents that come later: a number, or a share below 1
    batches: 5                          # in which they come
    steps: 400                          # of the consolidation; null: as `dsi consolidate` chooses
    delete: 0.1                         # the share of all documents that are deleted in the end
    seeds: [0, 1, 2]                    # each chooses at random what comes later, and what is deleted

For each seed the experiment is run on the other documents, and its index grows: documents are added, it is
consolidated, and some are deleted. After every step queries are asked of it and of the index of an experiment on all
documents, from which those that are not there are deleted.

    runs/grow/NAME/all                  the run on all documents, NAME the name of the file
    runs/grow/NAME/retrained-HASH       its saved index
    runs/grow/NAME/seed-SEED-HASH       of one seed: corpus, the documents that are there from the start, in BEIR's
                                        format; before, the run on them; index, which grows; measured/NN.json, a step
    runs/grow/NAME/grow.md, grow.json   the report, and the numbers of every step

What is finished is not done again: interrupted, the same command goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from dsi.artifacts import fingerprint, is_written, read_manifest, write_json
from dsi.config import Config, CorpusConfig, FilePath, Override, Rate, Section, load_config, read_section
from dsi.config.section import Count, Seed
from dsi.corpus.part import relevant_ids, write_part
from dsi.corpus.store import Corpus
from dsi.errors import DsiError
from dsi.evaluation.measures import DEV_MEASURE
from dsi.index.asked import Asked
from dsi.index.convert import write_beir
from dsi.index.generations import Generation
from dsi.index.index import Index, load
from dsi.pipeline import STAGES, Run
from dsi.report.grow_report import (
    BEFORE,
    CONSOLIDATED,
    RETRAINED,
    Facts,
    Measured,
    read_measured,
    write_growth_report,
)
from dsi.runtime.new_folder import new_folder
from dsi.runtime.processes import rank
from dsi.search.answering import Questions
from dsi.search.run_files import DSI

LATER, DELETED = 0, 1
"""What sets the random numbers of the two choices of a seed apart."""
NOT_OF_AN_INDEX = ("search", "encoder", "baselines", "evaluation", "report")
"""The stages by which no part of an index is made."""
Numbers = NDArray[np.int64]
"""Row numbers of documents in the whole corpus."""


class GrowConfig(Section):
    """The file of an index that grows, as above."""

    config: FilePath
    set: dict[str, Any] = Field(default_factory=dict)
    backbone: FilePath | None = None
    later: Rate
    batches: Count = 5
    steps: Count | None = None
    delete: Annotated[float, Field(ge=0, lt=1)] = 0.1
    seeds: Annotated[list[Seed], Field(min_length=1)] = Field(default=[0])

    @model_validator(mode="after")
    def _says_which_documents(self) -> Self:
        faults = []
        if self.later >= 1 and not self.later.is_integer():
            faults.append(f"later: expected a number of documents, or a share of them below 1, found {self.later:g}")
        if 1 <= self.later < self.batches:
            faults.append(f"later: {self.later:g} documents cannot come in {self.batches} batches")
        if len({*self.seeds}) < len(self.seeds):
            faults.append(f"seeds: one of {self.seeds} is given twice")
        if faults:
            raise ValueError("\n".join(faults))
        return self


@dataclass(frozen=True)
class Experiment:
    """The experiment of a file, which is run on all documents and on parts of them."""

    config: Config
    backbone: Config | None
    """The experiment that is run first, if any."""
    runs_folder: Path

    @classmethod
    def of(cls, grow: GrowConfig, overrides: Sequence[str], runs_folder: Path) -> Self:
        """Read the configurations that the file names; overrides are for both.

        Raises:
            DsiError: one of them is faulty.
        """
        settings: list[Override] = [*grow.set.items(), *overrides]
        config, backbone = load_config(grow.config, settings), None
        if grow.backbone is not None:
            of_corpus = [(key, value) for key, value in grow.set.items() if key.split(".")[0] == "corpus"]
            backbone = load_config(grow.backbone, [*of_corpus, *overrides])
        return cls(config, backbone, runs_folder)

    def run(self, name: str, corpus: CorpusConfig) -> tuple[Run, float]:
        """Run it on a corpus under a name; the finished run, and the seconds that everything took that its index is
        made by."""
        config, seconds = self.config.model_copy(update={"corpus": corpus}), 0.0
        if self.backbone is not None:
            first = Run(self.backbone.model_copy(update={"corpus": corpus}), f"{name}-backbone", self.runs_folder)
            first.run(["model"])
            model = config.model.model_copy(update={"checkpoint": str((first.folder / "model").absolute())})
            config, seconds = config.model_copy(update={"model": model}), _seconds(first)
        run = Run(config, name, self.runs_folder)
        run.run()
        return run, seconds + _seconds(run)


@dataclass(frozen=True)
class Step:
    """A change of the index that grows, and what is there then."""

    name: str
    changed: int
    """How many documents it concerns."""
    missing: Numbers
    """Those that are not there afterwards."""
    change: Callable[[Index], Generation] | None = None


def grow(path: Path, overrides: Sequence[str], runs_folder: Path) -> Path:
    """Do what the file NAME.yaml says; write the report into the folder grow/NAME below that of all runs, and return
    it. `overrides`, `section.key=value`, are for the experiment.

    Raises:
        DsiError: the file or a configuration is faulty, in which case nothing is run, or a stage or a change fails.
    """
    if rank().processes > 1:
        raise DsiError("dsi grow works in one process; start it without a launcher")
    config = read_section(path, GrowConfig)
    experiment = Experiment.of(config, overrides, runs_folder)
    name = f"grow/{path.stem}"
    print("==== all documents", flush=True)
    whole, building = experiment.run(f"{name}/all", experiment.config.corpus)
    corpus = Corpus(whole.folder / "corpus")
    split = corpus.evaluation_split(experiment.config.evaluation.split)
    made_of = whole.fingerprint(STAGES["search"])
    saved = runs_folder / name / f"retrained-{made_of}"
    if not saved.exists():
        load(whole.folder).save(saved, include_documents=False)
    retrained = Asked(saved, RETRAINED)
    seeds, part, later = dict[int, list[Measured]](), whole, 0
    for seed in config.seeds:
        print(f"==== seed {seed}", flush=True)
        says = config.model_dump(include={"later", "batches", "steps", "delete"})
        of_seed = f"{name}/seed-{seed}-{fingerprint({'whole': made_of, 'seed': seed, 'says': says})}"
        steps = _steps(config, seed, corpus)
        part, later = _before(experiment, of_seed, corpus, steps[0].missing), len(steps[0].missing)
        seeds[seed] = _measured(runs_folder / of_seed, part, steps, retrained, corpus, split)
    facts = Facts(
        measure=DEV_MEASURE,
        split=split,
        documents=len(corpus),
        later=later,
        training_steps=(_manifest(whole, "model")["counts"]["steps"], _manifest(part, "model")["counts"]["steps"]),
        training=_manifest(whole, "model")["seconds"],
        building=building,
    )
    write_growth_report(runs_folder / name, facts, seeds)
    return runs_folder / name


def _before(experiment: Experiment, name: str, corpus: Corpus, later: Numbers) -> Run:
    """The finished run on the documents that do not come later."""
    folder, given = experiment.runs_folder / name / "corpus", experiment.config.corpus
    if not folder.exists():
        with TemporaryDirectory(prefix="dsi-") as temporary, new_folder(folder) as partial:
            part = write_part(Path(temporary), corpus, np.setdiff1d(np.arange(len(corpus)), later).tolist())
            write_beir(part, partial)
    of_part = CorpusConfig(
        source="beir",
        path=str(folder.absolute()),
        splits={path.stem: path.stem for path in sorted((folder / "qrels").glob("*.tsv"))},
        language=given.language,
        ignore_identical_ids=given.has_identical_ids,
        licence=given.licence,
    )
    return experiment.run(f"{name}/before", of_part)[0]


def _steps(grow: GrowConfig, seed: int, corpus: Corpus) -> list[Step]:
    """The steps of an index, in order, with the documents that a seed chooses.

    Raises:
        DsiError: none would be there from the start, or there are fewer later ones than batches.
    """
    later = round(grow.later * len(corpus)) if grow.later < 1 else int(grow.later)
    if not grow.batches <= later < len(corpus):
        raise DsiError(
            f"later: {grow.later:g} of {len(corpus):,} documents; let at least one come in each of the"
            f" {grow.batches:,} batches, and fewer than all"
        )
    deleted = round(grow.delete * len(corpus))
    chosen, gone = (np.random.default_rng([seed, choice]).permutation(len(corpus)) for choice in (LATER, DELETED))

    def adding(batch: Numbers) -> Callable[[Index], Generation]:
        return lambda index: index.add([corpus[number]._asdict() for number in batch.tolist()])

    steps, coming = [Step(BEFORE, 0, chosen[:later])], chosen[:later]
    for place, batch in enumerate(np.array_split(coming, grow.batches), start=1):
        coming = coming[len(batch) :]
        steps.append(Step(f"added {place} of {grow.batches}", len(batch), coming, adding(batch)))
    steps.append(Step(CONSOLIDATED, later, coming, lambda index: index.consolidate(grow.steps)))
    if deleted:
        ids = corpus.doc_ids(gone[:deleted].tolist())
        steps.append(Step("deleted", deleted, gone[:deleted], lambda index: index.delete(ids)))
    return steps


def _measured(
    folder: Path, part: Run, steps: Sequence[Step], retrained: Asked, corpus: Corpus, split: str
) -> list[Measured]:
    """What is measured after each step of the index in a folder, which is the result of as many steps as it has
    generations."""
    if not (folder / "index").exists():
        load(part.folder).save(folder / "index")
    (folder / "measured").mkdir(exist_ok=True)
    growing = Asked(folder / "index", DSI)
    found = []
    for number, step in enumerate(steps):
        path = folder / "measured" / f"{number:02d}.json"
        if not is_written(path):
            generation = _after(step, number, growing.index, path)
            retrained.restrict(corpus.doc_ids(step.missing.tolist()))
            seconds = generation.seconds if generation is not None else 0.0
            write_json(path, asdict(_measure(step, seconds, growing, retrained, corpus, split, steps[0].missing)))
        found.append(read_measured(path))
        print(f"   {step.name}: {found[-1].documents:,} documents", flush=True)
    return found


def _after(step: Step, number: int, index: Index, path: Path) -> Generation | None:
    """The generation that a step has made or makes, its number that of the step."""
    done = index.log()
    there = done[-1].number if done else 0
    if there == number - 1 and step.change is not None:
        return step.change(index)
    if there != number:
        raise DsiError(f"{path}: it is missing, and the index is at generation {there}; remove {path.parent.parent}")
    return done[-1] if done else None


def _measure(
    step: Step, seconds: float, growing: Asked, retrained: Asked, corpus: Corpus, split: str, later: Numbers
) -> Measured:
    """Ask both indexes the queries whose relevant documents are all there."""
    gone, late = (set(corpus.doc_ids(each.tolist())) for each in (step.missing, later))
    relevant = {query: ids for query, ids in relevant_ids(corpus, split).items() if not ids & gone}
    if not relevant:
        raise DsiError(
            f"{step.name}: of no query of split {split} are all relevant documents there; let fewer come later"
        )
    queries = [query for query in corpus.queries(split) if query.query_id in relevant]
    qrels = [qrel for qrel in corpus.qrels(split) if qrel.query_id in relevant]
    questions = Questions(queries, corpus.identical(split))
    values = growing.values(questions, qrels, with_words=True) | retrained.values(questions, qrels)
    new = [query.query_id for query in queries if relevant[query.query_id] & late]
    return Measured(step.name, len(corpus) - len(step.missing), step.changed, seconds, new, values)


def _seconds(run: Run) -> float:
    """The seconds of the stages by which the index of a run, or its model, is made."""
    made_by = (run.folder / stage for stage in STAGES if stage not in NOT_OF_AN_INDEX)
    return float(sum((read_manifest(folder) or {"seconds": 0.0})["seconds"] for folder in made_by))


def _manifest(run: Run, stage: str) -> dict[str, Any]:
    """The manifest of a stage, which is finished."""
    manifest = read_manifest(run.folder / stage)
    assert manifest is not None
    return manifest
