"""The stages, in the order data flows, and what each one depends on: one table, which the command line, `dsi plan`, the
Makefile's rules (`scripts/stages.mk`) and the store follow.

A stage's verb is called as `verb(out_folder, SECTION=..., INPUT_folder=...)`: the folder to fill, the configuration
sections and the finished folders of the stages it reads, and nothing else; so its fingerprint covers all that it can
depend on.
It returns counts for the manifest.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsi.artifacts import FORMAT, MANIFEST, Store, fingerprint, link, read_manifest
from dsi.config import CONFIG, Config, CorpusConfig, describe
from dsi.errors import DsiError
from dsi.runtime.processes import is_first_process

DATA_FILES = {".tsv", ".jsonl", ".gz", ".tgz"}

Condition = Callable[[Config], bool]


def _always(config: Config) -> bool:
    return True


def _samples_from_t5(config: Config) -> bool:
    return config.doc2query.t5.queries > 0


def _starts_generator_from_nothing(config: Config) -> bool:
    return config.generator.checkpoint is None


def _embeds_with_the_model(config: Config) -> bool:
    return config.embeddings.kind == "document_states"


def _clusters(config: Config) -> bool:
    return config.docids.is_clustered


def _spells(config: Config) -> bool:
    return config.docids.kind == "naive"


def _runs(system: str) -> Condition:
    return lambda config: system in config.baselines.systems


def _dense_vectors_are_the_embeddings(config: Config) -> bool:
    is_same = (
        config.embeddings.kind == "sentence_transformers" and config.embeddings.model == config.baselines.dense_model
    )
    return is_same and "dense" in config.baselines.systems


@dataclass(frozen=True)
class Stage:
    name: str
    """Name of its folder in a run."""
    verb: str
    """Name of its function, and with hyphens of its command."""
    module: str
    help: str
    sections: tuple[str, ...]
    """Dotted configuration keys it depends on; the last part is the keyword the verb gets it by."""
    inputs: tuple[str, ...] = ()
    """Stages it reads; the verb gets the folder of each by its name with `_folder`."""
    only_if: Mapping[str, Condition] = field(default_factory=dict)
    """For those of its sections and inputs that only some configurations need: which."""
    outside: Callable[[Config], Any] = lambda config: None
    """State of what it reads elsewhere, as JSON."""
    asked: Condition = _always
    """Which configurations have it at all. For the others its folder is empty, and no stage reads it."""
    launchable: bool = False
    """Whether all processes of a launcher take part."""
    version: int = 1
    """Of the folder's content; raise it when older folders must not be reused."""

    @property
    def command(self) -> str:
        return self.verb.replace("_", "-")


_TABLE = (
    Stage(
        "corpus",
        "ingest",
        "dsi.corpus.ingest",
        "read documents, queries and judgements",
        sections=("corpus",),
        outside=lambda config: source_state(config.corpus),
    ),
    Stage(
        "tokenizer",
        "tokenize",
        "dsi.tokenizer",
        "take the checkpoint's vocabulary, or train one on the corpus",
        sections=("tokenizer", "model.checkpoint"),
        inputs=("corpus",),
        outside=lambda config: files_below(config.model.checkpoint),
    ),
    Stage(
        "generator",
        "finetune",
        "dsi.doc2query.finetune",
        "train the query generator",
        sections=("generator",),
        inputs=("corpus", "tokenizer"),
        only_if={"tokenizer": _starts_generator_from_nothing},
        outside=lambda config: files_below(config.generator.checkpoint),
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
        outside=lambda config: files_below(
            config.doc2query.predictions.path, config.generator.checkpoint if _samples_from_t5(config) else None
        ),
        launchable=True,
    ),
    Stage(
        "embeddings",
        "embed",
        "dsi.embeddings.embed",
        "give every document a vector",
        sections=("embeddings", "model.backbone"),
        inputs=("corpus", "tokenizer"),
        only_if={"tokenizer": _embeds_with_the_model, "model.backbone": _embeds_with_the_model},
        outside=lambda config: files_below(
            {
                "file": config.embeddings.file,
                "sentence_transformers": config.embeddings.model,
                "document_states": config.model.checkpoint,
            }.get(config.embeddings.kind)
        ),
        asked=lambda config: _clusters(config) or _dense_vectors_are_the_embeddings(config),
        launchable=True,
    ),
    Stage(
        "docids",
        "assign",
        "dsi.docids.assign",
        "give every document its identifier",
        sections=("docids",),
        inputs=("corpus", "tokenizer", "embeddings"),
        only_if={"tokenizer": _spells, "embeddings": _clusters},
        version=3,
    ),
    Stage(
        "model",
        "train",
        "dsi.training.train",
        "train the model to map queries to identifiers",
        sections=("model", "training"),
        inputs=("corpus", "tokenizer", "doc2query", "docids"),
        outside=lambda config: files_below(config.model.checkpoint),
        launchable=True,
    ),
    Stage(
        "search",
        "search",
        "dsi.search.search",
        "answer the evaluation queries",
        sections=("search", "evaluation.split"),
        inputs=("corpus", "tokenizer", "docids", "model"),
        version=3,
    ),
    Stage(
        "encoder",
        "train_encoder",
        "dsi.baselines.dual_encoder",
        "train the dual encoder",
        sections=("encoder", "model.backbone"),
        inputs=("corpus", "tokenizer", "doc2query"),
        outside=lambda config: files_below(config.model.checkpoint),
        asked=_runs("dual_encoder"),
        launchable=True,
    ),
    Stage(
        "baselines",
        "run_baselines",
        "dsi.baselines.run_baselines",
        "answer them with the baselines",
        sections=("baselines", "evaluation.split", "search.latency_queries"),
        inputs=("corpus", "tokenizer", "doc2query", "embeddings", "encoder"),
        only_if={
            "tokenizer": _runs("dual_encoder"),
            "doc2query": _runs("bm25_doc2query"),
            "embeddings": _dense_vectors_are_the_embeddings,
        },
        outside=lambda config: files_below(config.baselines.dense_model if _runs("dense")(config) else None),
        version=2,
    ),
    Stage(
        "evaluation",
        "evaluate",
        "dsi.evaluation.evaluate",
        "measure every system",
        sections=("evaluation",),
        inputs=("corpus", "doc2query", "search", "baselines"),
        version=3,
    ),
    Stage(
        "report",
        "report",
        "dsi.report.report",
        "write the tables",
        sections=("report",),
        inputs=(
            *("corpus", "tokenizer", "generator", "doc2query", "embeddings", "docids", "model", "search"),
            *("encoder", "baselines", "evaluation"),
        ),
        version=6,
    ),
)
STAGES = {stage.name: stage for stage in _TABLE}


def make_rules() -> str:
    """What the Makefile includes: names, order and commands of the stages."""
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
    """Experiment `name` with configuration `config`, in the folder `root`/`name`."""

    def __init__(self, config: Config, name: str, root: Path = Path("runs")) -> None:
        self.config = config
        self.folder = root / name
        self.store = Store(root)
        self._inputs: dict[str, dict[str, Any]] = {}

    def inputs(self, stage: Stage) -> dict[str, Any]:
        """All that the stage's result depends on, as when first asked for, as JSON: what its fingerprint hashes."""
        if stage.name not in self._inputs:
            self._inputs[stage.name] = self._read_inputs(stage)
        return self._inputs[stage.name]

    def fingerprint(self, stage: Stage) -> str:
        return fingerprint(self.inputs(stage))

    def is_built(self, stage: Stage) -> bool:
        return read_manifest(self.store.path(stage.name, self.fingerprint(stage))) is not None

    def run(self) -> None:
        """Make every stage that is not built yet."""
        self.plan()
        for stage in STAGES.values():
            self.build(stage)

    def build(self, stage: Stage) -> None:
        """Make the stage's folder unless it exists, and link it into the run.

        Raises:
            DsiError: a stage it reads is not built, or its input is faulty.
        """
        arguments: dict[str, Any] = {key.split(".")[-1]: self.config[key] for key in self.sections(stage)}
        for upstream in self.reads(stage):
            arguments[f"{upstream.name}_folder"] = self.store.path(upstream.name, self.fingerprint(upstream))
            if not self.is_built(upstream):
                raise DsiError(
                    f"{self.folder}: stage {upstream.name} is not built;"
                    f" run `dsi {upstream.command}` or `dsi run` first"
                )

        def make(out_folder: Path) -> dict[str, Any]:
            if not stage.asked(self.config):
                return {}
            print(f"== {stage.command}: {stage.help}", flush=True)
            verb = getattr(importlib.import_module(stage.module), stage.verb)
            counts: dict[str, Any] = verb(out_folder, **arguments)
            print("   " + _one_line(counts), flush=True)
            return counts

        folder = self.store.build(stage.name, self.inputs(stage), make, stage.launchable)
        if is_first_process():
            if stage.name == "corpus":
                self._check_split(folder)
            link(folder, self.folder / stage.name)
            os.utime(folder / MANIFEST)  # make compares this time with the plan's

    def sections(self, stage: Stage) -> list[str]:
        """Configuration keys that the stage depends on with this configuration."""
        return [key for key in stage.sections if self._needs(stage, key)]

    def reads(self, stage: Stage) -> list[Stage]:
        """Stages that it reads with this configuration."""
        return [STAGES[name] for name in stage.inputs if self._needs(stage, name) and STAGES[name].asked(self.config)]

    def _needs(self, stage: Stage, name: str) -> bool:
        return stage.asked(self.config) and stage.only_if.get(name, _always)(self.config)

    def _check_split(self, corpus_folder: Path) -> None:
        """Fail now rather than after training if the corpus lacks the split to evaluate."""
        from dsi.corpus.store import Corpus

        Corpus(corpus_folder).evaluation_split(self.config.evaluation.split)

    def _read_inputs(self, stage: Stage) -> dict[str, Any]:
        inputs: dict[str, Any] = {"stage": stage.name, "format": FORMAT, "version": stage.version}
        for key in self.sections(stage):
            value = self.config[key]
            inputs[key] = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
        inputs |= {f"{upstream.name}/": self.fingerprint(upstream) for upstream in self.reads(stage)}
        if stage.asked(self.config) and (outside := stage.outside(self.config)):
            inputs["outside"] = outside
        return inputs

    def plan(self) -> None:
        """Make the run's folder one of this configuration: to be called before any stage is built.

        Writes `config.yaml` and `plan/STAGE`, the fingerprint of every stage, touching only those that changed since
        last time, and removes links to what another configuration made, so that a run never mixes two.
        """
        if not is_first_process():
            return
        self._write_if_changed(self.folder / CONFIG, describe(values=self.config) + "\n")
        for stage in STAGES.values():
            planned = self.fingerprint(stage)
            self._write_if_changed(self.folder / "plan" / stage.name, planned + "\n")
            name = self.folder / stage.name
            if name.is_symlink() and name.resolve() != self.store.path(stage.name, planned).resolve():
                name.unlink()

    @staticmethod
    def _write_if_changed(path: Path, text: str) -> None:
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def _one_line(counts: dict[str, Any]) -> str:
    """The counts that are not 0, e.g. `{"a": 1, "b": {"c": 2, "d": 0}}` as `a 1, b (c 2)`."""
    parts = (
        f"{key} ({_one_line(value)})" if isinstance(value, dict) else f"{key} {value}"
        for key, value in counts.items()
        if value
    )
    return ", ".join(parts)


def source_state(corpus: CorpusConfig) -> Any:
    """State of the corpus's input, so that what has changed is read again: of its files, or versions of packages."""
    if corpus.source == "pydoc":
        from dsi.corpus.pydoc import versions

        return versions(corpus.packages)
    if corpus.path is None:
        return None
    path = Path(corpus.path)
    if not path.exists():
        raise DsiError(f"corpus.path: {path} does not exist")
    files = [path] if path.is_file() else [*path.glob("*"), *path.glob("qrels/*")]
    return files_state(file for file in files if file.suffix in DATA_FILES)


def files_below(*names: str | None) -> list[list[Any]]:
    """State of the files in those of these folders and files that exist; hub names and None have none."""
    paths = [Path(name) for name in names if name is not None and Path(name).exists()]
    files = (file for path in paths for file in (path, *path.rglob("*")))
    # a manifest's time changes whenever its run is planned again
    return files_state(file for file in files if file.name != MANIFEST)


def files_state(files: Iterable[Path]) -> list[list[Any]]:
    """Name, size and time of each file."""
    return [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in sorted(files) if file.is_file()]
