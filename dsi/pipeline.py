"""The stages, in the order data flows, and what each one depends on.

A stage's verb is called as `verb(out, SECTION=..., UPSTREAM=...)`: the folder to fill, the configuration sections and
the finished folders of the stages it reads, and nothing else; so its fingerprint covers all that it can depend on.
It returns counts for the manifest.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsi.artifacts import MANIFEST, Store, fingerprint, link, read_manifest
from dsi.config import Config, CorpusConfig, describe
from dsi.errors import DsiError
from dsi.processes import is_first_process

DATA_FILES = {".tsv", ".jsonl", ".gz", ".tgz"}


Condition = Callable[[Config], bool]


def _asks_generator(config: Config) -> bool:
    return config.doc2query.t5.queries > 0


def _asks_for(system: str) -> Condition:
    return lambda config: system in config.baselines.systems


@dataclass(frozen=True)
class Stage:
    name: str
    """Name of its folder in a run."""
    verb: str
    """Name of its command and of its function."""
    module: str
    sections: tuple[str, ...]
    """Dotted configuration keys it depends on; the last part is the keyword the verb gets it by."""
    upstream: tuple[str, ...]
    """Stages it reads."""
    only_if: Mapping[str, Condition] = field(default_factory=dict)
    """For those of its sections and upstream stages that only some configurations need: which."""
    version: int = 1
    """Of the folder's format; raise it when older folders must not be reused."""
    parallel: bool = False
    """Whether all processes of a launcher take part."""
    help: str = ""


STAGES = {
    stage.name: stage
    for stage in (
        Stage("corpus", "ingest", "dsi.corpus.ingest", ("corpus",), (), help="read documents, queries and judgements"),
        Stage(
            "tokenizer",
            "tokenize",
            "dsi.tokenizer",
            ("tokenizer", "model.checkpoint"),
            ("corpus",),
            help="take the checkpoint's vocabulary, or train one on the corpus",
        ),
        Stage(
            "generator",
            "finetune",
            "dsi.doc2query.finetune",
            ("generator",),
            ("corpus", "tokenizer"),
            only_if={"tokenizer": lambda config: config.generator.checkpoint is None},
            parallel=True,
            help="train the query generator, if asked to",
        ),
        Stage(
            "doc2query",
            "expand",
            "dsi.doc2query.expand",
            ("doc2query", "generator.checkpoint"),
            ("corpus", "generator"),
            only_if={"generator.checkpoint": _asks_generator, "generator": _asks_generator},
            parallel=True,
            help="generate synthetic queries for every document",
        ),
        Stage(
            "docids",
            "assign",
            "dsi.docids.assign",
            ("docids", "model.body"),
            ("corpus", "tokenizer"),
            only_if={"model.body": lambda config: config.docids.embeddings == "document_states"},
            version=2,
            help="give every document its identifier",
        ),
        Stage(
            "model",
            "train",
            "dsi.training.train",
            ("model", "training"),
            ("corpus", "tokenizer", "doc2query", "docids"),
            parallel=True,
            help="train the model to map queries to identifiers",
        ),
        Stage(
            "search",
            "search",
            "dsi.search.search",
            ("search", "evaluation.split"),
            ("corpus", "tokenizer", "docids", "model"),
            version=2,
            help="answer the evaluation queries",
        ),
        Stage(
            "encoder",
            "embed",
            "dsi.baselines.dual_encoder",
            ("encoder", "model.body", "baselines.has_dual_encoder"),
            ("corpus", "tokenizer", "doc2query"),
            only_if={"tokenizer": _asks_for("dual_encoder"), "doc2query": _asks_for("dual_encoder")},
            parallel=True,
            help="train the dual encoder, if it is among the baselines",
        ),
        Stage(
            "baselines",
            "compare",
            "dsi.baselines.compare",
            ("baselines", "evaluation.split"),
            ("corpus", "tokenizer", "doc2query", "encoder"),
            only_if={
                "tokenizer": _asks_for("dual_encoder"),
                "doc2query": _asks_for("bm25_doc2query"),
                "encoder": _asks_for("dual_encoder"),
            },
            help="answer them with the baselines",
        ),
        Stage(
            "evaluation",
            "evaluate",
            "dsi.evaluation.evaluate",
            ("evaluation",),
            ("corpus", "doc2query", "search", "baselines"),
            version=3,
            help="measure every system",
        ),
        Stage(
            "report",
            "report",
            "dsi.report.report",
            ("report",),
            ("corpus", "doc2query", "docids", "model", "search", "baselines", "evaluation"),
            version=4,
            help="write the tables",
        ),
    )
}


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
        arguments: dict[str, Any] = {key.split(".")[-1]: self.config[key] for key in self._sections(stage)}
        for name in self._upstream(stage):
            upstream = STAGES[name]
            arguments[name] = self.store.path(name, self.fingerprint(upstream))
            if not self.is_built(upstream):
                raise DsiError(
                    f"{self.folder}: stage {name} is not built; run `dsi {upstream.verb}` or `dsi run` first"
                )

        def make(out: Path) -> dict[str, Any]:
            print(f"== {stage.verb}: {stage.help}", flush=True)
            verb = getattr(importlib.import_module(stage.module), stage.verb)
            counts: dict[str, Any] = verb(out, **arguments)
            print("   " + _one_line(counts), flush=True)
            return counts

        folder = self.store.build(stage.name, self.inputs(stage), make, stage.parallel)
        if is_first_process():
            if stage.name == "corpus":
                self._check_split(folder)
            link(folder, self.folder / stage.name)
            os.utime(folder / MANIFEST)  # make compares this time with the plan's

    def _check_split(self, corpus: Path) -> None:
        """Fail now rather than after training if the corpus lacks the split to evaluate."""
        from dsi.corpus.store import Corpus

        Corpus(corpus).evaluation_split(self.config.evaluation.split)

    def _read_inputs(self, stage: Stage) -> dict[str, Any]:
        inputs: dict[str, Any] = {"stage": stage.name, "version": stage.version}
        for key in self._sections(stage):
            value = self.config[key]
            inputs[key] = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
        inputs |= {f"{name}/": self.fingerprint(STAGES[name]) for name in self._upstream(stage)}
        if stage.name == "corpus":
            inputs["files"] = source_state(self.config.corpus)
        config = self.config
        outside = {
            "model": [config.model.checkpoint],
            "model.body": [config.model.checkpoint],
            "model.checkpoint": [config.model.checkpoint],
            "generator": [config.generator.checkpoint],
            "generator.checkpoint": [config.generator.checkpoint],
            "doc2query": [config.doc2query.predictions.path],
            "baselines": [config.baselines.dense_model if "dense" in config.baselines.systems else None],
            "docids": [config.docids.embedding_model, config.docids.embedding_file],
        }
        for key in self._sections(stage):
            paths = [Path(path) for path in outside.get(key, []) if path is not None and Path(path).exists()]
            if paths:
                files = (file for path in paths for file in (path, *path.rglob("*")))
                # a manifest's time changes whenever its run is planned again
                inputs[f"{key} files"] = files_state(file for file in files if file.name != MANIFEST)
        return inputs

    def plan(self) -> None:
        """Make the run's folder one of this configuration: to be called before any stage is built.

        Writes `config.yaml` and `plan/STAGE`, the fingerprint of every stage, touching only those that changed since
        last time, and removes links to what another configuration made, so that a run never mixes two.
        """
        if not is_first_process():
            return
        self._write_if_changed(self.folder / "config.yaml", describe(values=self.config) + "\n")
        for stage in STAGES.values():
            planned = self.fingerprint(stage)
            self._write_if_changed(self.folder / "plan" / stage.name, planned + "\n")
            name = self.folder / stage.name
            if name.is_symlink() and name.resolve() != self.store.path(stage.name, planned).resolve():
                name.unlink()

    def _sections(self, stage: Stage) -> tuple[str, ...]:
        """Configuration keys it depends on with this configuration."""
        return self._needed(stage, stage.sections)

    def _upstream(self, stage: Stage) -> tuple[str, ...]:
        """Stages it reads with this configuration."""
        return self._needed(stage, stage.upstream)

    def _needed(self, stage: Stage, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in names if name not in stage.only_if or stage.only_if[name](self.config))

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


def files_state(files: Iterable[Path]) -> list[list[Any]]:
    """Name, size and time of each file."""
    return [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in sorted(files) if file.is_file()]
