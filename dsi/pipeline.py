"""The stages, in the order in which data flows, and what each one depends on: one table, which the command line, `dsi
plan`, the Makefile's rules (`scripts/stages.mk`) and the store follow.

The function of a stage, its verb, is called as `verb(out_folder, SECTION=..., INPUT_folder=...)`: the folder to fill,
the configuration sections and the finished folders of the stages that it reads, and nothing else, so that the
fingerprint covers all it can depend on. It returns counts for the manifest.
"""

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dsi.artifacts import FORMAT, MANIFEST, Store, check_files, check_name, check_path, fingerprint, link, read_manifest
from dsi.check import find_faults, room_faults
from dsi.config import CONFIG, STATED_OF_TEACHER, Config, CorpusConfig, describe, reported_split
from dsi.errors import DsiError
from dsi.estimate import UNKNOWN_QUERIES, Scale, count_documents, estimate
from dsi.fingerprints import with_contents
from dsi.runtime.contents import Contents
from dsi.runtime.extras import lacking
from dsi.runtime.processes import array_task, is_first_process
from dsi.runtime.reporting import reporting_to
from dsi.runtime.shards import published

LOGS = "logs"
"""The folder in a run with the files of its loggers, a folder a training (training.report_to)."""
Condition = Callable[[Config], bool]


def _samples_from_t5(config: Config) -> bool:
    return config.doc2query.t5.queries > 0


def _embeds_with_the_model(config: Config) -> bool:
    return config.embeddings.kind == "document_states"


def _runs(system: str) -> Condition:
    return lambda config: system in config.baselines.systems


def _has_teacher(config: Config) -> bool:
    return config.has_teacher


def _encoder_has_teacher(config: Config) -> bool:
    return config.encoder_has_teacher


def _teacher_reads_words(config: Config) -> bool:
    return config.has_teacher and config.teacher.retriever == "bm25"


def _teacher_vectors_are_the_embeddings(config: Config) -> bool:
    is_encoder = config.embeddings.kind == "sentence_transformers"
    return config.has_teacher and is_encoder and config.embeddings.model == config.teacher.retriever_model


def _asks_teacher_with_words(config: Config) -> bool:
    return _asks_teacher(config) and _teacher_reads_words(config)


def _asks_teacher_with_embeddings(config: Config) -> bool:
    return _asks_teacher(config) and _teacher_vectors_are_the_embeddings(config)


def _asks_teacher_with_its_own_vectors(config: Config) -> bool:
    has_vectors = config.teacher.retriever_model is not None
    return _asks_teacher(config) and has_vectors and not _teacher_vectors_are_the_embeddings(config)


def _asks_teacher(config: Config) -> bool:
    return config.baselines.asks_teacher


def _has_prior(config: Config) -> bool:
    return config.search.prior != "none"


def _prior_is(prior: str) -> Condition:
    return lambda config: config.search.prior == prior


def _runs_bm25(config: Config) -> bool:
    return _runs("bm25")(config) or _runs("bm25_doc2query")(config)


def _tunes_bm25(config: Config) -> bool:
    return _runs_bm25(config) and config.baselines.bm25.tune


def _dense_vectors_are_the_embeddings(config: Config) -> bool:
    is_encoder = config.embeddings.kind == "sentence_transformers"
    is_same = is_encoder and config.embeddings.model == config.baselines.dense_model
    return is_same and "dense" in config.baselines.systems


@dataclass(frozen=True)
class Stage:
    """A row of the table of stages."""

    name: str
    """The name of the stage's folder in a run."""
    verb: str
    """The name of its function; with hyphens, of its command."""
    module: str
    help: str
    sections: tuple[str, ...]
    """The dotted configuration keys that it depends on; the verb gets each by the last part of the key."""
    inputs: tuple[str, ...] = ()
    """The stages that it reads; the verb gets the folder of each as `NAME_folder`."""
    only_if: Mapping[str, Condition] = field(default_factory=dict)
    """The condition under which a configuration needs one of these sections or inputs, if not always. An input that is
    called as a section is stands here with a slash behind it."""
    outside: Callable[[Config], Any] = lambda config: None
    """The state, as JSON, of what the stage reads outside the run, beside the files that its keys name."""
    asked: Condition = lambda config: True
    """Whether a configuration has the stage at all. If not, its folder is empty, and no stage reads it."""
    launchable: bool = False
    """Whether all processes of a launcher take part."""
    by_shards: bool = False
    """Whether they share nothing but files of shards, so that tasks of a job array, at any time, can take part too."""
    version: int = 1
    """The version of the folder's content; raise it when older folders must not be reused."""

    @property
    def command(self) -> str:
        return self.verb.replace("_", "-")


_TABLE = (
    Stage(
        "corpus",
        "ingest",
        "dsi.corpus.ingest",
        "read documents, queries and judgements",
        sections=("corpus", "doc2query.known_item"),
        only_if={"doc2query.known_item": lambda config: config.corpus.simulated > 0},
        outside=lambda config: versions_of(config.corpus),
        version=2,
    ),
    Stage(
        "tokenizer",
        "tokenize",
        "dsi.tokenizer",
        "take the checkpoint's vocabulary, or train one on the corpus",
        sections=("tokenizer", "model.checkpoint"),
        inputs=("corpus",),
        version=2,
    ),
    Stage(
        "generator",
        "finetune",
        "dsi.doc2query.finetune",
        "train the query generator",
        sections=("generator",),
        inputs=("corpus", "tokenizer"),
        only_if={"tokenizer": lambda config: config.generator.checkpoint is None},
        asked=lambda config: config.generator.is_trained,
        launchable=True,
    ),
    Stage(
        "doc2query",
        "expand",
        "dsi.doc2query.expand",
        "generate synthetic queries for every document",
        sections=("doc2query", "generator.checkpoint"),
        inputs=("corpus", "generator"),
        only_if={"generator.checkpoint": _samples_from_t5, "generator": _samples_from_t5},
        launchable=True,
        by_shards=True,
        version=2,
    ),
    Stage(
        "embeddings",
        "embed",
        "dsi.embeddings.embed",
        "give every document a vector",
        sections=("embeddings", "model.backbone"),
        inputs=("corpus", "tokenizer"),
        only_if={"tokenizer": _embeds_with_the_model, "model.backbone": _embeds_with_the_model},
        asked=lambda config: (
            config.docids.is_clustered
            or _dense_vectors_are_the_embeddings(config)
            or _teacher_vectors_are_the_embeddings(config)
        ),
        launchable=True,
        by_shards=True,
        version=2,
    ),
    Stage(
        "docids",
        "assign",
        "dsi.docids.assign",
        "give every document its identifier",
        sections=("docids",),
        inputs=("corpus", "tokenizer", "embeddings"),
        only_if={
            "tokenizer": lambda config: config.docids.kind == "naive",
            "embeddings": lambda config: config.docids.is_clustered,
        },
        version=3,
    ),
    Stage(
        "lexical",
        "index_terms",
        "dsi.lexical.index_terms",
        "index the words of the documents",
        sections=("corpus.language",),
        inputs=("corpus",),
        asked=lambda config: _teacher_reads_words(config) or config.search.prior == "bm25",
        launchable=True,
        by_shards=True,
    ),
    Stage(
        "lexical_doc2query",
        "index_expanded_terms",
        "dsi.lexical.index_terms",
        "index the words of the documents and of their synthetic queries",
        sections=("corpus.language",),
        inputs=("corpus", "doc2query"),
        asked=_prior_is("bm25_doc2query"),
        launchable=True,
        by_shards=True,
    ),
    Stage(
        "teacher",
        "teach",
        "dsi.teacher.teach",
        "let a better system label the training queries",
        sections=("teacher",),
        inputs=("corpus", "doc2query", "lexical", "embeddings"),
        only_if={"lexical": _teacher_reads_words, "embeddings": _teacher_vectors_are_the_embeddings},
        asked=_has_teacher,
        launchable=True,
        by_shards=True,
    ),
    Stage(
        "model",
        "train",
        "dsi.training.train",
        "train the model to map queries to identifiers",
        sections=("model", "training"),
        inputs=("corpus", "tokenizer", "doc2query", "docids", "teacher"),
        only_if={"teacher": lambda config: config.training.labels == "teacher"},
        launchable=True,
    ),
    Stage(
        "prior",
        "tune_prior",
        "dsi.tuning.prior",
        "choose on dev queries how much the words count beside the model",
        sections=(
            *(
                f"search.{key}"
                for key in ("prior", "prior_documents", "prior_weight", "prior_epsilon", "ranking", "beam")
            ),
            "training.tasks.labelled",
        ),
        inputs=("corpus", "tokenizer", "docids", "lexical", "lexical_doc2query", "model"),
        only_if={"lexical": _prior_is("bm25")},
        asked=_has_prior,
    ),
    Stage(
        "search",
        "search",
        "dsi.search.search",
        "answer the evaluation queries",
        sections=("search", "evaluation.split"),
        inputs=("corpus", "tokenizer", "docids", "model", "lexical", "lexical_doc2query", "prior"),
        only_if={"lexical": _prior_is("bm25")},
        version=4,
    ),
    Stage(
        "encoder",
        "train_encoder",
        "dsi.baselines.dual_encoder",
        "train the dual encoder",
        sections=("encoder", "model.backbone", "training.distillation"),
        inputs=("corpus", "tokenizer", "doc2query", "teacher"),
        only_if={"training.distillation": _encoder_has_teacher, "teacher": _encoder_has_teacher},
        asked=_runs("dual_encoder"),
        launchable=True,
    ),
    Stage(
        "baselines",
        "run_baselines",
        "dsi.baselines.run_baselines",
        "answer them with the baselines",
        sections=(
            *("baselines", "corpus.language", "evaluation.split", "evaluation.measures", "search.latency_queries"),
            "teacher",
        ),
        inputs=("corpus", "tokenizer", "doc2query", "embeddings", "lexical", "teacher", "encoder"),
        only_if={
            "corpus.language": _runs_bm25,
            "evaluation.measures": _tunes_bm25,
            "tokenizer": _runs("dual_encoder"),
            "doc2query": _runs("bm25_doc2query"),
            "embeddings": lambda config: (
                _dense_vectors_are_the_embeddings(config) or _asks_teacher_with_embeddings(config)
            ),
            "lexical": _asks_teacher_with_words,
            "teacher": _asks_teacher,
            "teacher/": _asks_teacher_with_its_own_vectors,
        },
        version=3,
    ),
    Stage(
        "evaluation",
        "evaluate",
        "dsi.evaluation.evaluate",
        "measure every system",
        sections=("evaluation",),
        inputs=("corpus", "doc2query", "search", "baselines"),
        version=6,
    ),
    Stage(
        "report",
        "report",
        "dsi.report.report",
        "write the tables",
        sections=("report", *(f"teacher.{key}" for key in STATED_OF_TEACHER)),
        inputs=(
            *("corpus", "tokenizer", "generator", "doc2query", "embeddings", "docids"),
            *("lexical", "lexical_doc2query", "teacher", "model", "prior", "search"),
            *("encoder", "baselines", "evaluation"),
        ),
        only_if={f"teacher.{key}": _has_teacher for key in STATED_OF_TEACHER},
        outside=lambda config: "without report.html" if lacking("report") else None,  # until its packages are there
        version=12,
    ),
)
STAGES = {stage.name: stage for stage in _TABLE}


def make_rules() -> str:
    """The rules that the Makefile includes: the names, the order and the commands of the stages."""
    lines = [
        "# Written from the table in dsi/pipeline.py by `make stages`; edit that.",
        "",
        f"STAGES := {' '.join(STAGES)}",
        "# Those in which all processes of LAUNCH take part.",
        f"LAUNCHABLE := {' '.join(stage.name for stage in STAGES.values() if stage.launchable)}",
        "",
        *(f"COMMAND_{stage.name} := {stage.command}" for stage in STAGES.values()),
        "",
        "# What each stage reads. Order only: the plan says whether the result is out of date.",
        *(
            f"$(RUN)/{stage.name}/{MANIFEST}: | {' '.join(f'$(RUN)/{name}/{MANIFEST}' for name in stage.inputs)}"
            for stage in STAGES.values()
            if stage.inputs
        ),
    ]
    return "\n".join(lines) + "\n"


class Run:
    """An experiment with its folder among all runs. Loggers write to `logs`, by default in that folder.

    Raises:
        DsiError: no folder of a run can have that name or path.
    """

    def __init__(self, config: Config, name: str, runs_folder: Path = Path("runs"), logs: Path | None = None) -> None:
        check_name(name)
        check_path(runs_folder)
        self.config = config
        self.folder = runs_folder / name
        self.logs = logs or self.folder / LOGS
        self.store = Store(runs_folder)
        if self.store.folder.resolve() in self.folder.resolve().parents:
            raise DsiError(f"--name {name!r}: {self.folder} would lie in a stage of another run; choose another name")
        self.contents = Contents(self.store.folder / "contents.json")
        self._inputs: dict[str, dict[str, Any]] = {}

    def inputs(self, stage: Stage) -> dict[str, Any]:
        """All that the result of a stage depends on, as JSON: what its fingerprint hashes, read at the first call."""
        if stage.name in self._inputs:
            return self._inputs[stage.name]
        inputs: dict[str, Any] = {"stage": stage.name, "format": FORMAT, "version": stage.version}
        recorded = self._recorded(stage) if self._paths(stage) else {}
        for key in self.sections(stage):
            inputs[key] = with_contents(self.config, key, self.contents, recorded.get(key))
        inputs |= {f"{upstream.name}/": self.fingerprint(upstream) for upstream in self.reads(stage)}
        if stage.asked(self.config) and (outside := stage.outside(self.config)):
            inputs["outside"] = outside
        self._inputs[stage.name] = inputs
        return inputs

    def _recorded(self, stage: Stage) -> dict[str, Any]:
        """The inputs of the stage that the run has; none if it has none, or one of another format, to be made again."""
        try:
            manifest = read_manifest(self.folder / stage.name)
        except DsiError:
            manifest = None
        return manifest["inputs"] if manifest else {}

    def fingerprint(self, stage: Stage) -> str:
        """The hash of the inputs of a stage."""
        return fingerprint(self.inputs(stage))

    def stored(self, stage: Stage) -> Path:
        """The folder of a stage in the store, which may not exist yet."""
        return self.store.path(stage.name, self.fingerprint(stage))

    def run(self, goals: Sequence[str] = ()) -> None:
        """Check, plan, then make every stage that is not built yet, by default all; else those that the goals need.

        Raises:
            DsiError: what `check` finds, or an input of a stage is faulty.
        """
        self.check(goals)
        self.plan()
        for stage in self._needed(goals) if goals else STAGES.values():
            self.build(stage)

    def missing(self, goals: Iterable[str] = ()) -> list[Stage]:
        """The stages that are not built yet of those that the goals need, names of stages; by default of all."""
        return [stage for stage in self._needed(goals) if read_manifest(self.stored(stage)) is None]

    def _needed(self, goals: Iterable[str]) -> list[Stage]:
        """The stages with these names, by default all, and those that they need."""
        needed = {*goals} or {*STAGES}
        for stage in reversed(STAGES.values()):
            if stage.name in needed:
                needed |= {upstream.name for upstream in self.reads(stage)}
        return [stage for stage in STAGES.values() if stage.name in needed and stage.asked(self.config)]

    def check(self, goals: Iterable[str] = (), documents: int | None = None) -> None:
        """See that the stages that these goals need, by default all, can be made as far as that is known before.

        Raises:
            DsiError: all faults that were found.
        """
        if not is_first_process():
            return
        try:
            missing = [stage.name for stage in self.missing(goals)]
        except DsiError as error:  # of the corpus's files, without which there is no fingerprint
            found = find_faults(self.config, [stage.name for stage in self._needed(goals)])
            raise DsiError(*dict.fromkeys([*error.faults, *found])) from None
        if not missing:
            return
        corpus, splits = self.stored(STAGES["corpus"]), None
        if "corpus" not in missing:
            from dsi.corpus.store import Corpus

            splits = Corpus(corpus).splits
        if faults := find_faults(self.config, missing, splits):
            raise DsiError(*faults)
        scale = self.scale(documents)
        if scale is None:
            return
        fresh = [name for name in missing if not self.store.partial(name, self.fingerprint(STAGES[name])).exists()]
        costs = estimate(scale)
        if faults := room_faults({name: costs[name] for name in fresh if name in costs}, self.folder.parent):
            raise DsiError(*faults)

    def scale(self, documents: int | None = None, speed: float = 1.0) -> Scale | None:
        """What the estimate of the experiment is made from. Documents that are not given are counted, roughly; None
        where that is not possible. `speed` is in FLOPs a second."""
        documents = documents or self._documents
        if documents is None:
            return None
        return Scale(self.config, documents, self.config.corpus.evaluation_queries or UNKNOWN_QUERIES, speed)

    @cached_property
    def _documents(self) -> int | None:
        """The number of documents, counted roughly where the corpus is not built yet."""
        manifest = read_manifest(self.stored(STAGES["corpus"]))
        return manifest["counts"]["documents"] if manifest else count_documents(self.config.corpus)

    def build(self, stage: Stage) -> None:
        """Make the folder of a stage unless it exists, and link it into the run.

        Raises:
            DsiError: a stage that it reads is not built, or its input is faulty.
        """
        arguments: dict[str, Any] = {key.split(".")[-1]: self.config[key] for key in self.sections(stage)}
        for upstream in self.reads(stage):
            arguments[f"{upstream.name}_folder"] = self.stored(upstream)
            if read_manifest(self.stored(upstream)) is None:
                raise DsiError(
                    f"{self.folder}: stage {upstream.name} is not built;"
                    f" run `dsi {upstream.command}` or `dsi run` first"
                )
            check_files(self.stored(upstream))

        def make(out_folder: Path) -> dict[str, Any]:
            if not stage.asked(self.config):
                print(f"== {stage.command}: this configuration has no use for it", flush=True)
                return {}
            print(f"== {stage.command}: {stage.help}", flush=True)
            verb = getattr(importlib.import_module(stage.module), stage.verb)
            folder = f"{stage.name}-{self.fingerprint(stage)}"  # trainings that differ do not share a curve
            with reporting_to(self.config.training.report_to, self.logs / folder, f"{self.folder.name}.{folder}"):
                counts: dict[str, Any] = verb(out_folder, **arguments)
            if counts:
                print("   " + _one_line(counts), flush=True)
            return counts

        is_one_job = stage.launchable and not stage.by_shards
        if array_task() is not None and is_one_job and read_manifest(self.stored(stage)) is None:
            raise DsiError(
                f"--launcher array: the processes of stage {stage.name} work together; start `dsi {stage.command}` in"
                " one process, or in the tasks of one job with --launcher slurm"
            )
        folder = self.store.build(stage.name, self.inputs(stage), make, stage.launchable, self._paths(stage))
        if is_first_process():
            if stage.name == "corpus":  # what cannot be measured is told now rather than after training
                from dsi.corpus.language import warn_of_language
                from dsi.corpus.store import Corpus
                from dsi.evaluation.measures import check_judgements, parse_measures

                documents, evaluation = Corpus(folder), self.config.evaluation
                split = reported_split(evaluation.split, documents.splits)
                if split in documents.splits:
                    check_judgements(parse_measures(evaluation.measures), documents.qrels(split), split)
                warn_of_language(documents, self.config.corpus.language)
            link(folder, self.folder / stage.name)
            os.utime(folder / MANIFEST)  # make compares this time with the plan's

    def _paths(self, stage: Stage) -> dict[str, Any]:
        """The keys that a stage depends on whose values are paths or names of the hub."""
        sections = tuple(f"{key}." for key in self.sections(stage))
        return {key: self.config[key] for key in Config.paths() if f"{key}.".startswith(sections) and self.config[key]}

    def sections(self, stage: Stage) -> list[str]:
        """The configuration keys that a stage depends on in this experiment."""
        return [key for key in stage.sections if self._needs(stage, key)]

    def reads(self, stage: Stage) -> list[Stage]:
        """The stages that a stage reads in this experiment."""
        needed = (STAGES[name] for name in stage.inputs if self._needs(stage, f"{name}/", name))
        return [upstream for upstream in needed if upstream.asked(self.config)]

    def _needs(self, stage: Stage, *names: str) -> bool:
        """Whether the first of these names that has a condition meets it; always if none has one."""
        conditions = [stage.only_if[name] for name in names if name in stage.only_if]
        return stage.asked(self.config) and (not conditions or conditions[0](self.config))

    def plan(self) -> None:
        """Give the run's folder this configuration; to be called before any stage is built.

        Writes `config.yaml` and the fingerprint of every stage, `plan/STAGE`, if they have changed since the last time,
        and removes links to what another configuration made, so that a run never mixes two.
        """
        if not is_first_process():
            return
        for fault in self.config.too_deep:  # of the default measures, or it would have been refused
            print(f"dsi: warning: {fault}", file=sys.stderr, flush=True)
        self.store.prepare()
        _write_if_changed(self.folder / CONFIG, describe(values=self.config) + "\n")
        for stage in STAGES.values():
            _write_if_changed(self.folder / "plan" / stage.name, self.fingerprint(stage) + "\n")
            linked = self.folder / stage.name
            if linked.is_symlink() and linked.resolve() != self.stored(stage).resolve():
                linked.unlink(missing_ok=True)  # other tasks of a job array do the same


def _write_if_changed(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        with published(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _one_line(counts: dict[str, Any]) -> str:
    """The counts that are not 0, in words.

    >>> _one_line({"a": 1, "b": {"c": 2, "d": 0}})
    'a 1, b (c 2)'
    """
    parts = (
        f"{key} ({_one_line(value)})" if isinstance(value, dict) else f"{key} {value}"
        for key, value in counts.items()
        if value
    )
    return ", ".join(parts)


def versions_of(corpus: CorpusConfig) -> Any:
    """The versions of the packages whose documentation is the corpus; None for other sources."""
    if corpus.source != "pydoc":
        return None
    from dsi.corpus.pydoc import versions

    return versions(corpus.packages)
