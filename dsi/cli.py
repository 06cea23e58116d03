"""The command line: one command per stage, `run` for all of them, `query` to search, `config` to see every key."""

import argparse
import gc
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shtab

from dsi import __version__
from dsi.artifacts import check_files
from dsi.config import CONFIG, configuration, describe, json_schema, load_config
from dsi.errors import DsiError
from dsi.pipeline import STAGES, Run
from dsi.runtime.extras import require
from dsi.runtime.file_faults import file_fault
from dsi.runtime.launcher import prepare_environment, together
from dsi.runtime.libraries import settle_libraries
from dsi.runtime.processes import OthersAtWork, be_array_task, is_first_process
from dsi.runtime.slurm import LAUNCHERS, place_in_step, rank_in_array
from dsi.serve.settings import LIMITED, TOKEN, Limits, Settings, token_of

if TYPE_CHECKING:
    from dsi.index.generations import Generation
    from dsi.index.index import Index

RENAMED = {"compare": "run-baselines"}
"""The present names of commands that had other names once."""

INDEX = "folder of a run or of a saved index, or the name of one on the hub, OWNER/NAME"


def main(arguments: list[str] | None = None) -> int:
    """Run one command, by default that of the process's arguments.

    Returns the exit status: 0, 2 for a fault that the user can mend, or 130 if interrupted.
    """
    settle_libraries()
    if arguments is None:
        _use_utf8()
        arguments = sys.argv[1:]
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a character shows its number
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        if arguments and arguments[0] in RENAMED:
            raise DsiError(f"the command {arguments[0]} is called {RENAMED[arguments[0]]} now")
        options = _parsed(arguments)
        if options.launcher == "slurm":
            place_in_step()
        be_array_task(rank_in_array() if options.launcher == "array" else None)
        prepare_environment()
        with together() if options.together else nullcontext():
            options.command(options)
            sys.stdout.flush()  # a reader that has gone is found here, not at exit
    except DsiError as error:
        for fault in error.faults:
            print(f"dsi: error: {fault}", file=sys.stderr)
        return 2
    except OthersAtWork:
        print(
            "dsi: this task of the array has done its part; the last one to do so finishes the stage", file=sys.stderr
        )
        return 0
    except BrokenPipeError:  # the reader of a pipe, e.g. head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still in the buffer
        return 0
    except Exception as error:
        message = file_fault(error)
        if message is None:
            raise
        print(f"dsi: error: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dsi: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _use_utf8() -> None:
    """Start again in Python's UTF-8 mode where names of files would be ASCII, as in the locale C without it."""
    if sys.getfilesystemencoding() == "ascii":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _parsed(arguments: list[str]) -> argparse.Namespace:
    """The options of a command. The text of a query may also stand behind options, where argparse expects none."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    is_text = len(rest) == 1 and not rest[0].startswith("-")
    if is_text and options.command is _query and not (options.text or options.file):
        options.text, rest = rest[0], []
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dsi", description="Generative retrieval, from a corpus to a table.")
    parser.add_argument("--version", action="version", version=f"dsi {__version__}")
    shtab.add_argument_to(parser, help="print a script that completes commands, options and files in this shell")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: object, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help)
        sub.set_defaults(command=function, together=False, launcher=None)
        return sub

    def runs_and_keys_alone(sub: argparse.ArgumentParser) -> None:
        _folder(sub, "--runs", "folder of all runs (default: runs)", default=Path("runs"))
        sub.add_argument("--set", nargs="+", default=[], action="extend", metavar="KEY=VALUE", help="override keys")

    def runs_and_keys(sub: argparse.ArgumentParser) -> None:
        runs_and_keys_alone(sub)
        sub.set_defaults(together=True)  # the processes of a launcher share the work
        sub.add_argument(
            "--launcher",
            choices=LAUNCHERS,
            help="be one of the tasks that srun has started together, or one of a job array, which waits for no other"
            " (default: what torchrun or accelerate launch say)",
        )

    def experiment(sub: argparse.ArgumentParser, or_runs: str = "", **options: Any) -> None:
        _file(sub, "config", f"YAML file of the experiment, or the name of one of ours, e.g. demo{or_runs}", **options)
        sub.add_argument("--name", help="name of the run (default: the file's name)")
        runs_and_keys(sub)

    def several_runs(sub: argparse.ArgumentParser) -> None:
        sub.set_defaults(command=_report)
        experiment(sub, "; or two finished runs or more to compare, folders or names below --runs", nargs="+")
        _folder(sub, "-o", "of several runs: folder to write (default: comparison, below --runs)", dest="folder")
        sub.add_argument("--baseline", metavar="SYSTEM", help="of several runs: compare with it (default: their own)")

    experiment(command("run", _run, "run every stage that is not built yet"))
    for stage in STAGES.values():
        sub = command(stage.command, _stage, f"stage {stage.name}: {stage.help}")
        sub.set_defaults(stage=stage)
        if stage.name == "report":
            several_runs(sub)
        else:
            experiment(sub)
    check = command("check", _check, "find what would fail, and estimate time, memory and disk of every stage")
    experiment(check)
    check.add_argument("--documents", type=_positive, help="number of documents, where the configuration does not say")
    check.add_argument("--speed", type=_speed, help="FLOPs a second of another machine (40 %% of an A100: 125e12)")
    plan = command("plan", _plan, "check, and write the fingerprint of every stage, for make")
    experiment(plan)
    plan.add_argument("--goals", nargs="*", default=[], choices=STAGES, help="stages wanted (default: all)")
    build = command("build", _build, "make an index of your own documents")
    _file(build, "documents", ".jsonl, .csv, .tsv, .parquet, .txt, .md, a folder, or a dataset's name")
    _folder(build, "-o", "folder to make", dest="folder", metavar="FOLDER", required=True)
    build.add_argument("--split", choices=["paragraphs"], help="make every paragraph a document")
    _file(build, "--queries", "queries with judgements: id, tab, text a line; or JSON lines", type=Path)
    _file(build, "--qrels", "their judgements: query id, document id, relevance; or TREC's", type=Path)
    _file(build, "--config", "configuration to build by (default: documents, with sizes for their number)")
    build.add_argument("--set", nargs="+", default=[], action="extend", metavar="KEY=VALUE", help="override keys")
    build.set_defaults(together=True)
    query = command("query", _query, "search an index")
    _folder(query, "index", INDEX)
    given = query.add_mutually_exclusive_group()
    given.add_argument("text", nargs="?", help="the query; without it, every line of the standard input is one")
    _file(given, "--file", "file of queries, one a line", type=Path)
    query.add_argument("-k", type=_positive, default=10, help="documents to show (default: 10)")
    form = query.add_mutually_exclusive_group()
    for name, what in (("json", "a JSON object a query"), ("trec", "a TREC run")):
        note = f"print {what}; a line may be the query's id, a tab and its text"
        form.add_argument(f"--{name}", action="store_const", dest="form", const=name, default="plain", help=note)
    explain = command("explain", _explain, "say why a document has the score that it has for a query")
    _folder(explain, "index", INDEX)
    explain.add_argument("text", help="the query")
    explain.add_argument("doc_id", help="id of the document, as `dsi query` shows it")
    serve = command("serve", _serve, "answer over HTTP, with a page to search, until it is stopped")
    _folder(serve, "index", INDEX)
    serve.add_argument("--mcp", action="store_true", help="be tools of a language model, by standard input and output")
    serve.add_argument("--host", help="address to listen at (default: 127.0.0.1, this machine alone)")
    serve.add_argument("--port", type=int, help="port (default: 8000; 0: any that is free)")
    serve.add_argument("--token", help=f"what requests must bring as a bearer token (default: {TOKEN}, if it is set)")
    serve.add_argument("--allow-host", nargs="+", metavar="NAME", help="names of the server, beside this machine's")
    serve.add_argument("--batch-wait", type=float, metavar="MS", help="how long a batch waits for others (default: 2)")
    for name, most in vars(Limits()).items():
        option = f"--max-{name.replace('_', '-')}"
        serve.add_argument(option, type=_positive, metavar="N", help=f"{LIMITED[name]} (default: {most})")
    serve.add_argument("--log-queries", action="store_true", help="write the texts of queries to the log")
    changed = "folder of a saved index"
    add = command("add", _add, "add documents to a saved index, without training")
    _folder(add, "index", changed)
    _file(add, "documents", ".jsonl, .csv, .tsv, .parquet, .txt, .md or a folder; all documents have ids")
    add.add_argument("--replace", action="store_true", help="replace documents whose ids are there already")
    delete = command("delete", _delete, "delete documents of a saved index")
    _folder(delete, "index", changed)
    delete.add_argument("doc_ids", nargs="*", metavar="ID", help="id of a document, as `dsi query` shows it")
    _file(delete, "--file", "file of ids, one a line", type=Path)
    consolidate = command("consolidate", _consolidate, "train a saved index on what was added, beside older queries")
    _folder(consolidate, "index", changed)
    consolidate.add_argument("--steps", type=_positive, help="training steps (default: by what was added)")
    compact = command("compact", _compact, "write a saved index anew, without deleted documents")
    _folder(compact, "index", changed)
    compact.add_argument(
        "--purge", action="store_true", help="remove older generations, and what was deleted with them"
    )
    log = command("log", _log, "say what changed in a saved index, and when")
    _folder(log, "index", changed)
    restore = command("restore", _restore, "make a saved index as it was at an earlier generation")
    _folder(restore, "index", changed)
    restore.add_argument("generation", type=int, help="its number, as `dsi log` shows it; 0: as it was saved")
    prune = command("prune", _prune, "remove the generations of a saved index that the present one does not need")
    _folder(prune, "index", changed)
    sweep = command("sweep", _sweep, "run an experiment for every combination of some values")
    _file(sweep, "sweep", "YAML file of the sweep, or the name of one, e.g. sweeps/corpus-size")
    runs_and_keys(sweep)
    grow = command("grow", _grow, "measure an index that grows, beside one trained on all documents")
    _file(grow, "grow", "YAML file that says what comes later, or the name of one, e.g. grow/msmarco-6k")
    runs_and_keys_alone(grow)
    scores = command("reproduce", _reproduce, "run experiments and compare their scores with those stored")
    _file(scores, "scores", "YAML file of the experiments, or the name of one, e.g. reproduce/cpu")
    scores.add_argument("--only", nargs="+", default=[], metavar="RUN", help="run these alone; * stands for anything")
    scores.add_argument("--record", action="store_true", help="store the scores found in the .json beside the file")
    runs_and_keys(scores)
    export = command("export", _export, "save the index of a finished run to a folder of its own")
    _folder(export, "run", "folder of the run, e.g. runs/demo")
    _folder(export, "folder", "folder to make, for `dsi query`, dsi.load and the hub")
    export.add_argument("--without-documents", action="store_true", help="leave out titles and texts")
    convert = command("convert", _convert, "write the corpus, and the run files of a run, in a format of other tools")
    _folder(convert, "run", "folder of the run or of a saved index")
    convert.add_argument("--to", required=True, choices=("beir", "trec"), help="format to write")
    _folder(convert, "-o", "folder to make", dest="folder", metavar="FOLDER", required=True)
    config = command("config", _config, "print every configuration key with its default and meaning")
    config.add_argument("--schema", action="store_true", help="print the JSON Schema of a configuration, for editors")
    return parser


def _folder(parser: argparse._ActionsContainer, name: str, help: str, **options: Any) -> None:
    """Add an argument that is a folder, of which a shell completes the name."""
    parser.add_argument(name, type=Path, help=help, **options).complete = shtab.DIRECTORY  # type: ignore[attr-defined]


def _file(parser: argparse._ActionsContainer, name: str, help: str, **options: Any) -> None:
    """Add an argument that is a file, of which a shell completes the name."""
    parser.add_argument(name, help=help, **options).complete = shtab.FILE  # type: ignore[attr-defined]


def _speed(text: str) -> float:
    speed = float(text)
    if not 0 < speed < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return speed


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not above 0")
    return number


def _open(options: argparse.Namespace) -> Run:
    """The experiment that the options of a command name."""
    path = configuration(options.config)
    config = load_config(path, options.set)
    return Run(config, path.stem if options.name is None else options.name, options.runs)


def _run(options: argparse.Namespace) -> None:
    run = _open(options)
    run.run()
    if is_first_process():
        check_files(run.folder / "report")
        print((run.folder / "report/summary.txt").read_text(encoding="utf-8"))


def _check(options: argparse.Namespace) -> None:
    from dsi.estimate import EFFICIENCY, cost_table, estimate
    from dsi.runtime.device import compute_device, multiplication_speed

    run = _open(options)
    run.check(documents=options.documents)
    speed = options.speed / EFFICIENCY if options.speed else multiplication_speed(compute_device())
    scale = run.scale(options.documents, speed)
    if scale is None:
        raise DsiError("no fault was found; for an estimate, say how many documents there are with --documents")
    missing = {stage.name for stage in run.missing()}
    costs = {name: cost for name, cost in estimate(scale).items() if STAGES[name].asked(run.config)}
    print(cost_table(scale, costs, missing))


def _plan(options: argparse.Namespace) -> None:
    run = _open(options)
    run.check(options.goals)
    run.plan()


def _stage(options: argparse.Namespace) -> None:
    run = _open(options)
    run.check([options.stage.name])
    run.plan()
    run.build(options.stage)


def _report(options: argparse.Namespace) -> None:
    """The stage of an experiment, or the report of several finished runs, of which each is a folder or a name."""
    first, *others = options.config
    if not others and not (Path(first) / CONFIG).is_file():
        if options.folder or options.baseline:
            raise DsiError("-o and --baseline are for a report of several runs; name two finished runs or more")
        options.config = first
        _stage(options)
        return
    if options.set or options.name:
        raise DsiError("--set and --name are for an experiment; several runs are compared as they are")
    if is_first_process():
        from dsi.report.figures import without_figures
        from dsi.report.finished_runs import find_run
        from dsi.report.runs_report import report_runs

        folder = options.folder or options.runs / "comparison"
        runs = [find_run(each, options.runs) for each in options.config]
        print(without_figures(report_runs(runs, folder, options.baseline)))
        print(f"report: {folder / 'report.md'}")


def _sweep(options: argparse.Namespace) -> None:
    from dsi.sweep import sweep

    folder = sweep(configuration(options.sweep), options.set, options.runs)
    if is_first_process():
        from dsi.report.figures import without_figures

        print(without_figures((folder / "sweep.md").read_text(encoding="utf-8")))


def _grow(options: argparse.Namespace) -> None:
    from dsi.grow import grow

    folder = grow(configuration(options.grow), options.set, options.runs)
    print((folder / "grow.md").read_text(encoding="utf-8"))


def _build(options: argparse.Namespace) -> None:
    from dsi.from_documents.build import build

    keys = [*options.set, *(["corpus.passages=paragraph"] if options.split == "paragraphs" else [])]
    judged = {"queries": options.queries, "qrels": options.qrels}
    build(options.documents, options.folder, **judged, config=options.config, keys=keys)
    if is_first_process():
        print(f"report: {options.folder}/report/report.md; to search: dsi query {options.folder} 'a query'")


def _export(options: argparse.Namespace) -> None:
    from dsi.index.index import load

    load(options.run).save(options.folder, include_documents=not options.without_documents)


def _add(options: argparse.Namespace) -> None:
    _say_change(options, lambda index: index.add(options.documents, replace=options.replace))


def _delete(options: argparse.Namespace) -> None:
    ids = list(options.doc_ids)
    if options.file is not None:
        from dsi.corpus.files import TextFile

        ids += [line.strip() for _, line in TextFile(options.file).lines()]
    _say_change(options, lambda index: index.delete(ids))


def _consolidate(options: argparse.Namespace) -> None:
    _say_change(options, lambda index: index.consolidate(options.steps))


def _compact(options: argparse.Namespace) -> None:
    _say_change(options, lambda index: index.compact(purge=options.purge))


def _restore(options: argparse.Namespace) -> None:
    _say_change(options, lambda index: index.restore(options.generation))


def _say_change(options: argparse.Namespace, change: Callable[["Index"], "Generation"]) -> None:
    """Change an index as a command says, and print what has changed."""
    from dsi.index.index import load

    print(change(load(options.index)))


def _log(options: argparse.Namespace) -> None:
    from dsi.index.generations import log_table

    print(log_table(options.index))


def _prune(options: argparse.Namespace) -> None:
    from dsi.index.index import load

    gone = load(options.index).prune()
    print(f"removed: {', '.join(f'generation {number}' for number in gone) or 'nothing'}")


def _convert(options: argparse.Namespace) -> None:
    from dsi.index.convert import convert

    convert(options.run, options.to, options.folder)


def _config(options: argparse.Namespace) -> None:
    print(json_schema() if options.schema else describe())


def _reproduce(options: argparse.Namespace) -> None:
    from dsi.reproduce import reproduce

    if not reproduce(configuration(options.scores), options.set, options.runs, options.only, options.record):
        raise DsiError(f"scores differ from those stored beside {options.scores}")


@contextmanager
def _quick_start() -> Iterator[None]:
    """Import torch and transformers without what takes a third of the time: collections of garbage, then and at exit,
    and scipy, which transformers imports where it can, for losses that have nothing to do with T5."""
    gc.disable()
    sys.modules.setdefault("scipy", None)  # type: ignore[arg-type]  # importlib: there is no such module
    try:
        yield
    finally:
        if sys.modules["scipy"] is None:
            del sys.modules["scipy"]
        gc.freeze()
        gc.enable()


def _explain(options: argparse.Namespace) -> None:
    with _quick_start():
        from dsi.index.index import load

    text = options.text.encode(errors="surrogateescape").decode(errors="replace")  # bytes that are not UTF-8
    try:
        print(load(options.index).explain(text, options.doc_id))
    except (KeyError, ValueError) as error:
        raise DsiError(error.args[0]) from None


def _serve(options: argparse.Namespace) -> None:
    given = {name: value for name in ("host", "port", "batch_wait") if (value := getattr(options, name)) is not None}
    limits = Limits(
        **{name: value for name in vars(Limits()) if (value := getattr(options, f"max_{name}")) is not None}
    )
    if options.mcp:
        require("mcp", "dsi serve --mcp")
        if given or options.token is not None or options.allow_host:
            raise DsiError("--mcp answers by standard input and output; it takes no address, token or batches")
        from dsi.index.index import load
        from dsi.serve.mcp_server import mcp_server

        mcp_server(load(options.index), limits).run()
        return
    require("serve", "dsi serve")
    settings = Settings(
        **given,
        token=token_of(options.token),
        allowed_hosts=tuple(map(str.lower, options.allow_host or ())),
        log_queries=options.log_queries,
        limits=limits,
    )
    from dsi.index.index import load
    from dsi.serve.server import serve

    serve(load(options.index), options.index.name, settings)


def _query(options: argparse.Namespace) -> None:
    if options.text is not None and not options.text.strip():
        raise DsiError("the query is empty")
    with _quick_start():
        from dsi.index.answers import answer

    answer(options.index, options.text, options.file, options.k, options.form)
