"""What is sure to end an experiment later, found before the work: configuration, files, checkpoints, Java, room.

A stage's checks need no finished stage, and read headers and first lines only, so that all of them take seconds.
"""

import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from dsi.config import DEV, Config, reported_split
from dsi.errors import DsiError
from dsi.estimate import Cost
from dsi.report.quantities import size
from dsi.runtime.reporting import check_loggers
from dsi.runtime.system import total_memory

LUCENE = {"bm25", "bm25_doc2query"}
ASKING = {"search", "baselines", "evaluation"}
"""The stages that need queries with judgements."""


def find_faults(config: Config, stages: Collection[str], splits: Collection[str] | None = None) -> list[str]:
    """What would end these stages of an experiment, in the order of the stages, each fault once.

    `splits` are those of the corpus where it is built already; else its source says which there are.
    """
    checks = list(dict.fromkeys(check for stage, checks in CHECKS.items() if stage in stages for check in checks))
    if not ASKING.isdisjoint(stages):
        checks.append(lambda config: check_splits(config, splits))
    faults: dict[str, None] = {}
    for check in checks:
        try:
            check(config)
        except DsiError as error:
            faults |= dict.fromkeys(error.faults)
    return list(faults)


def check_splits(config: Config, splits: Collection[str] | None = None) -> None:
    """See that there are queries to report, and dev queries where something is chosen on them.

    Raises:
        DsiError: a split is missing.
    """
    if splits is None:
        from dsi.corpus.ingest import splits_of

        splits = splits_of(config.corpus)
    split = reported_split(config.evaluation.split, splits)
    there = f"the corpus has {', '.join(sorted(splits)) or 'no queries with judgements'}"
    if split not in splits:
        raise DsiError(
            f"evaluation.split: there is no split {split!r}: {there}; name another, or add one under corpus.splits. For"
            " an index alone, make the stages up to train (`make model`), which `dsi query` searches"
        )
    if config.baselines.bm25.tune and DEV not in splits:
        raise DsiError(f"baselines.bm25.tune: there is no split {DEV!r} to choose k1 and b on: {there}")


def room_faults(costs: Mapping[str, Cost], runs_folder: Path) -> list[str]:
    """What stages of these costs need of memory and disk and this machine does not have."""
    existing = next(folder for folder in (runs_folder, *runs_folder.absolute().parents) if folder.exists())
    free, memory = shutil.disk_usage(existing).free, total_memory()
    disk, faults = sum(cost.disk for cost in costs.values()), list[str]()
    if disk > free:
        faults.append(f"{runs_folder}: the stages need some {size(disk)} of disk, and {size(free)} are free")
    for stage, cost in costs.items():
        if cost.memory > memory:
            faults.append(f"{stage}: it needs some {size(cost.memory)} of memory, and this machine has {size(memory)}")
    return faults


def _source(config: Config) -> None:
    from dsi.corpus.ingest import check

    check(config.corpus)


def _checkpoint(config: Config) -> None:
    if config.model.checkpoint is not None:
        from dsi.model.build import check_checkpoint

        check_checkpoint(config.model)


def _generator(config: Config) -> None:
    if config.generator.checkpoint is not None and (config.doc2query.t5.queries or config.generator.is_trained):
        from dsi.doc2query.t5 import check_generator

        check_generator(config.generator)


def _predictions(config: Config) -> None:
    if config.doc2query.predictions.path is not None:
        from dsi.doc2query.predictions import check

        check(config.doc2query.predictions.path)


def _embeddings(config: Config) -> None:
    if config.embeddings.kind in ("file", "sentence_transformers"):
        from dsi.embeddings.embed import check_embeddings

        check_embeddings(config.embeddings)


def _teacher(config: Config) -> None:
    from dsi.teacher.kinds import check_teacher

    check_teacher(config.teacher, config.training.tasks.labelled > 0 and not config.encoder_has_teacher)


def _teacher_as_system(config: Config) -> None:
    if config.baselines.asks_teacher:
        _teacher(config)


def _java(config: Config) -> None:
    if LUCENE & set(config.baselines.systems):
        from dsi.baselines.java import check_java

        check_java()


def _dense(config: Config) -> None:
    if "dense" in config.baselines.systems:
        from dsi.baselines.dense import check_dense

        check_dense(config.baselines.dense_model)


def _loggers(config: Config) -> None:
    check_loggers("training.report_to", config.training.report_to)


def _measures(config: Config) -> None:
    from dsi.evaluation.measures import parse_measures

    faults = list[str]()
    for measure in config.evaluation.measures:
        try:
            parse_measures([measure])
        except DsiError as error:
            faults += error.faults
    if faults:
        raise DsiError(*faults)


CHECKS: Mapping[str, tuple[Callable[[Config], None], ...]] = {
    "corpus": (_source,),
    "tokenizer": (_checkpoint,),
    "generator": (_generator, _loggers),
    "doc2query": (_generator, _predictions),
    "embeddings": (_embeddings,),
    "teacher": (_teacher,),
    "model": (_checkpoint, _loggers),
    "encoder": (_checkpoint, _loggers),
    "baselines": (_java, _dense, _teacher_as_system),
    "evaluation": (_measures,),
}
"""The checks of each stage."""
