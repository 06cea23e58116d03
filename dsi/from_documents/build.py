"""Builds an index of one's own documents: the stages of a run, then a saved folder that needs nothing else."""

import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dsi.artifacts import MANIFEST
from dsi.config import Config, Override, configuration, load_config
from dsi.corpus.handed_over import existing
from dsi.corpus.ingest import open_source
from dsi.errors import DsiError
from dsi.estimate import estimate
from dsi.from_documents.given import write_documents, write_qrels, write_queries
from dsi.from_documents.sizes import sizes_for
from dsi.index.hub import is_name
from dsi.index.index import Index, load
from dsi.index.opened import Opened
from dsi.index.parts import Parts
from dsi.index.run import open_run
from dsi.index.saving import save
from dsi.pipeline import Run
from dsi.report.quantities import count, duration
from dsi.runtime.device import compute_device, multiplication_speed
from dsi.runtime.processes import is_first_process, rank, wait_for_everyone, wait_until
from dsi.runtime.progress import progress
from dsi.runtime.system import lock

CONFIGURATION = "documents"
"""The configuration that comes with dsi by which an index is built if there is no other."""
RUN = "index"
"""The name of the run in the folder of the work."""


def build(
    documents: Any,
    folder: str | Path | None = None,
    *,
    queries: Any = None,
    qrels: Any = None,
    config: str | Path | None = None,
    keys: Mapping[str, Any] | Iterable[Override] = (),
) -> Index:
    """See `dsi.build`; `keys` may be overrides `section.key=value`, too."""
    if isinstance(keys, str):
        raise DsiError(f"keys: expected a mapping, found {keys!r:.80}")
    overrides = list(keys.items() if isinstance(keys, Mapping) else keys)
    if (queries is None) != (qrels is None):
        raise DsiError("queries and qrels are given together")
    if folder is None:
        if rank().processes > 1:
            raise DsiError("several processes build one index: name its folder")
        work = Path(tempfile.mkdtemp(prefix="dsi-"))
        try:
            index = Index(_run(documents, work, None, queries, qrels, config, overrides))
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        weakref.finalize(index, shutil.rmtree, work, ignore_errors=True)
        return index
    folder = Path(folder).absolute()
    if folder.exists() or folder.is_symlink():
        raise DsiError(f"{folder} exists already; name a new folder, or remove it")
    work = folder.with_name(f".{folder.name}.building")
    with _alone(folder):
        logs = folder.with_name(f"{folder.name}-logs")
        parts = _run(documents, work, logs, queries, qrels, config, overrides)
        if is_first_process():
            save(Opened.of(parts), folder)
            shutil.rmtree(work)
    wait_until(folder.exists)
    return load(folder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one build at a time make a folder; DsiError if another one does."""
    if not is_first_process():
        yield
        return
    path = folder.with_name(f".{folder.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        try:
            lock(file, wait=False)
        except BlockingIOError:
            raise DsiError(f"{folder}: another process is building it; wait, or name another folder") from None
        except OSError:  # some file systems have no locks
            pass
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _run(
    documents: Any,
    work: Path,
    logs: Path | None,
    queries: Any,
    qrels: Any,
    config: str | Path | None,
    overrides: list[Override],
) -> Parts:
    """The parts of the index of a finished run in the folder `work`, which is not left there without a stage. Loggers
    write to `logs`, by default in the run."""
    was_there = work.exists()
    try:
        given = _corpus_keys(documents, work, queries, qrels)
        chosen, number = _configuration(config, given, overrides)
        run = Run(chosen, RUN, work / "runs", logs)
        run.check(documents=number)
        _say_time(run, number)
        run.run()
    except BaseException as error:
        is_empty = not any(work.glob(f"runs/{RUN}/*/{MANIFEST}"))
        if is_first_process() and is_empty and not was_there:
            shutil.rmtree(work, ignore_errors=True)
        if isinstance(error, DsiError):  # of files that are nobody's but ours, or of keys in our configuration
            ours = {f"{work}/": "", f"{configuration(CONFIGURATION)}: ": "keys: "}
            raise DsiError(*(_without(fault, ours) for fault in error.faults)) from error.__cause__
        raise
    if is_first_process():
        print((run.folder / "report/summary.txt").read_text(encoding="utf-8"))
    return open_run(run.folder, {})


def _without(text: str, parts: Mapping[str, str]) -> str:
    for part, instead in parts.items():
        text = text.replace(part, instead)
    return text


def _corpus_keys(documents: Any, work: Path, queries: Any, qrels: Any) -> list[Override]:
    """The keys of section `corpus` that name what is given; what is no path is written to files below `work` first."""
    values: dict[str, Any] = {"source": "documents", "path": None, "dataset": None}
    if isinstance(documents, str | Path):
        is_dataset = isinstance(documents, str) and not os.path.exists(documents) and is_name(documents)
        values["dataset" if is_dataset else "path"] = documents if is_dataset else existing(documents)
    else:
        values["path"] = work / "documents.jsonl"
    if isinstance(queries, str | Path):
        values["queries"] = existing(queries)
    elif queries is not None:
        values["queries"] = work / "queries.jsonl"
    if isinstance(qrels, str | Path):
        values["qrels"] = existing(qrels)
    elif qrels is not None:
        values["qrels"] = work / "qrels.tsv"
    if is_first_process():
        work.mkdir(parents=True, exist_ok=True)
        for key, given, write in (
            ("path", documents, write_documents),
            ("queries", queries, write_queries),
            ("qrels", qrels, write_qrels),
        ):
            if isinstance(values.get(key), Path) and values[key].parent == work:
                write(values[key], given)
    wait_for_everyone()
    return [(f"corpus.{key}", str(value) if isinstance(value, Path) else value) for key, value in values.items()]


def _configuration(config: str | Path | None, given: list[Override], overrides: list[Override]) -> tuple[Config, int]:
    """The configuration, if it is not the user's own with sizes that follow the number of documents, and that number.

    All documents are read for it, so that one at fault is told before hours of work.
    """
    base = configuration(str(config or CONFIGURATION))
    plain = load_config(base, [*given, *overrides])
    documents = sum(1 for _ in progress(open_source(plain.corpus).documents(), "count documents"))
    if not documents:
        raise DsiError("documents: there are none")
    documents = min(documents, plain.corpus.size or documents)
    if config is not None:
        return plain, documents
    sizes = sizes_for(documents).keys
    if plain.model.checkpoint is not None:  # which has its own
        sizes = {key: value for key, value in sizes.items() if not key.startswith(("model.", "tokenizer."))}
    return load_config(base, [*given, *sizes.items(), *overrides]), documents


def _say_time(run: Run, documents: int) -> None:
    """Print how many documents there are and how long it will take on this machine, roughly."""
    scale = run.scale(documents, multiplication_speed(compute_device()))
    if scale is None or not is_first_process():
        return
    costs, missing = estimate(scale), {stage.name for stage in run.missing()}
    seconds = sum(cost.seconds or 0.0 for stage, cost in costs.items() if stage in missing)
    what = "document" if documents == 1 else "documents"
    print(f"{count(documents)} {what}; the index takes some {duration(seconds)}", file=sys.stderr, flush=True)
