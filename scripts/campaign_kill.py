"""Kills a tiny experiment at random moments of all its stages, and gives the same command again until it is done.

    make campaign-kill

Half of the kills go to one process, half to two that share the work as those of a launcher do. A kill comes at a random
time of a stage, or just before a random change of a file in it. It is mostly SIGKILL, to a process alone or to its
children and the other process too; now and then SIGTERM or SIGINT. What is left in the end is compared with a run that
nothing disturbed. Every process has one thread, so that sums round the same way.

lost: shards, checkpoints, rounds and stages that were finished and are done again, and runs that could not go on.
wrong: files and folders that are not those of the undisturbed run, missing ones and those too many included. Durations,
memory, and the report's pages, which show them, are not compared (scripts/same_runs.py).

The exit status is 1 if anything is lost or wrong.
"""

import argparse
import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from same_runs import differences
from witness import BLOW, START, Blow, Change, Witness, read_journal, strike

from dsi.pipeline import STAGES
from dsi.report.tables import text_table
from dsi.runtime.progress import progress

CONFIG = """
corpus: {{source: msmarco, path: {data}}}
tokenizer: {{vocabulary: 300}}
generator:
  {{checkpoint: null, d_model: 32, d_kv: 8, d_ff: 32, simulated_steps: 4, steps: 8, eval_steps: 3, batch_size: 8}}
doc2query:
  known_item: {{queries: 5}}
  t5: {{queries: 2, query_length: 8}}
  predictions: {{path: {data}/predictions.jsonl, queries: 1}}
  shard_size: 6
embeddings: {{kind: document_states}}
docids: {docids}
model: {{d_model: 32, d_kv: 8, d_ff: 32, head: hierarchical_softmax, dropout: 0.1}}
teacher: {{documents: 4}}
training: {{labels: teacher, rounds: 2, steps: 12, eval_steps: 3, batch_size: 16, warmup_steps: 2}}
search: {{beam: 10, latency_queries: 2, prior: bm25_doc2query}}
encoder: {{labels: teacher, steps: 9, save_steps: 3, batch_size: 16}}
baselines: {{systems: [bm25, bm25_doc2query, dual_encoder], depth: 10}}
"""
DOCIDS = {1: "{kind: semantic, clusters: 3, leaf_size: 4}", 2: "{kind: residual, levels: 2, codebook: 4}"}
"""The docids of the experiment for one process and for two."""
DOCUMENTS, VECTORS_PER_SHARD = 48, 16

SPARED = 10
"""The most runs in a row that may end without a kill."""
PARTS = [START, *STAGES]
SIGNALS = {signal.SIGKILL: 0.9, signal.SIGTERM: 0.05, signal.SIGINT: 0.05}
"""The share of each signal among the kills."""
SECONDS_TO_END = 15
"""How long a process has to end after SIGTERM or SIGINT, before it gets SIGKILL, as from a launcher."""
SECONDS_OF_SILENCE = 300
"""How long a start may change no file before it counts as one that cannot go on."""

FINISHED = re.compile(r"\.store/\w+-\w{16}$|/shard-[^/]+$|/round-\d+/round\.json$|/steps\.json$|/tasks\.json$")
"""The paths of what is never done again once a rename has published it."""
CHECKPOINT = re.compile(r"(.*/)checkpoint-(\d+)/trainer_state\.json$")
"""The last file of a checkpoint."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="how many kills in all (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="seed of their moments (default: 0)")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], choices=[1, 2], help="(default: 1 2)")
    parser.add_argument("--until", default=PARTS[-1], choices=STAGES, help="the last stage to do (default: all)")
    parser.add_argument("--keep", type=Path, help="a folder to work in that is not removed; it must not exist")
    options = parser.parse_args()
    began = time.monotonic()
    # a killed process leaves semaphores, of which Python would warn after the last line
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore:resource_tracker:UserWarning"}
    stages = list(STAGES.values())[: list(STAGES).index(options.until) + 1]
    multiprocessing.set_forkserver_preload(["accelerate", "dsi.cli", *(stage.module for stage in stages)])
    folder = options.keep or Path(tempfile.mkdtemp(prefix="campaign-kill-"))
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=options.keep is None)
    tally = Tally()
    try:
        write_data(folder / "data")
        kills = (
            kill
            for number, processes in enumerate(options.processes)
            for kill in campaign(
                folder / f"processes-{processes}",
                processes,
                options.until,
                spread(options.kills, len(options.processes))[number],
                np.random.default_rng([options.seed, processes]),
                tally,
            )
        )
        for _ in progress(kills, "campaign", total=options.kills, unit="kills"):
            pass
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(tally.table([START, *(stage.name for stage in stages)]))
    print(f"{(time.monotonic() - began) / 60:.1f} minutes, seed {options.seed}, done {tally.lives} times")
    lost, wrong = tally.lost.total(), tally.wrong.total()
    print(f"kills={tally.kills.total()} lost={lost} wrong={wrong}")
    return int(lost + wrong > 0)


class Tally:
    """What has happened, by stage."""

    def __init__(self) -> None:
        self.kills, self.lost, self.wrong = Counter[str](), Counter[str](), Counter[str]()
        self.lives = 0

    def add(self, counter: Counter[str], part: str, message: str) -> None:
        """Count something in a counter of this tally, and say it."""
        counter[part] += 1
        kind = "lost" if counter is self.lost else "wrong"
        print(f"{kind}: {part}: {message}", file=sys.stderr, flush=True)

    def table(self, parts: list[str]) -> str:
        """The counts of each part, as text."""
        counters = (self.kills, self.lost, self.wrong)
        rows = [[part, *(str(counter[part]) for counter in counters)] for part in parts]
        return text_table(["stage", "kills", "lost", "wrong"], rows)


def spread(count: int, parts: int) -> list[int]:
    """`count` divided among parts as evenly as possible."""
    return [count // parts + (number < count % parts) for number in range(parts)]


def write_data(folder: Path) -> None:
    """A corpus of made-up words in the layout of MS MARCO, and a released query for every document."""
    folder.mkdir()
    random = np.random.default_rng(0)
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    words = ["".join(random.choice(syllables, size=size)) for size in random.integers(2, 4, size=400)]
    texts = [" ".join(random.choice(words, size=25)) for _ in range(DOCUMENTS)]
    (folder / "collection.tsv").write_text(
        "".join(f"{number}\t{text}\n" for number, text in enumerate(texts)), encoding="utf-8"
    )
    for number, split in enumerate(("train", "dev", "test")):
        chosen = range(number, DOCUMENTS, 4)
        queries = (f"{split}{row}\t{' '.join(texts[row].split()[3:6])}\n" for row in chosen)
        (folder / f"queries.{split}.tsv").write_text("".join(queries), encoding="utf-8")
        (folder / f"qrels.{split}.tsv").write_text(
            "".join(f"{split}{row}\t0\t{row}\t1\n" for row in chosen), encoding="utf-8"
        )
    lines = [{"id": str(row), "predicted_queries": [" ".join(text.split()[7:9])]} for row, text in enumerate(texts)]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


class Ended(NamedTuple):
    """How a start ended: killed by `blow`, with a `failure`, or else done."""

    part: str
    """The part in which it ended."""
    blow: Blow | None
    failure: str
    began: float
    """The time of its beginning, as of `Change.at`."""
    journals: list[list[Change]]
    """The changes of each process."""


class Life:
    """An experiment, from its first start until it is done, in a folder of its own."""

    def __init__(self, folder: Path, config: Path, processes: int, until: str) -> None:
        self.folder, self.runs, self.processes = folder, folder / "runs", processes
        options = [str(config), "--runs", str(self.runs)]
        stages = list(STAGES.values())[: list(STAGES).index(until) + 1]
        self.commands = [["run", *options]] if until == PARTS[-1] else [[stage.command, *options] for stage in stages]
        self.starts = 0
        self.published = set[str]()
        self.orphans: list[int] = []
        folder.mkdir(parents=True)

    def start(self, blows: dict[str, Blow]) -> Ended:
        """Give the command, on all processes; return when all have ended, by themselves or by a blow."""
        context = multiprocessing.get_context("forkserver")
        began, port, processes, files = time.monotonic(), free_port(), [], []
        for number in range(self.processes):
            record = self.folder / f"start-{self.starts:03d}-{number}"
            own = {part: blow for part, blow in blows.items() if blow.process == number}
            environment = launched(number, self.processes, port) if self.processes > 1 else {}
            arguments = (self.commands, environment, self.runs, record, own)
            processes.append(context.Process(target=work, args=arguments, daemon=True))
            processes[-1].start()
            files.append(record.with_suffix(".journal"))
        self.starts += 1
        blow, failure = self._watch(processes, files, blows, began)
        end(processes, blow)
        for group in self.orphans:  # they had the time of this start to spoil it
            strike(group, Blow(START, 0, signal.SIGKILL, whole=True))
        journals = [read_journal(file) for file in files]
        part = journals[0][-1].part if journals[0] else START
        own_blows = [change.part for changes in journals for change in changes if change.event == BLOW]
        if own_blows:
            blow = blows[own_blows[0]]
        self.orphans = [process.pid for process in processes if process.exitcode and process.pid]
        if not any(process.exitcode for process in processes):
            blow = None
        elif blow is None and not failure:
            failure = f"exit status {', '.join(str(process.exitcode) for process in processes)}"
        return Ended(part, blow, failure, began, journals)

    def _watch(
        self, processes: list[Any], files: list[Path], blows: dict[str, Blow], began: float
    ) -> tuple[Blow | None, str]:
        """Return when a process has failed or been killed, or all are done: the blow that was given here, if one was,
        and what is wrong if nothing happens any more."""
        part, part_began, size, heard = START, began, 0, began
        while any(process.is_alive() for process in processes) and not any(process.exitcode for process in processes):
            now, size_now = time.monotonic(), sum(file.stat().st_size for file in files if file.exists())
            if size_now != size:
                size, heard = size_now, now
                changes = read_journal(files[0])
                if changes and changes[-1].part != part:
                    part = changes[-1].part
                    part_began = next(change.at for change in changes if change.part == part)
            blow = blows.get(part)
            if blow is not None and not blow.change and now >= part_began + blow.seconds:
                for process in processes if blow.whole else [processes[blow.process]]:
                    strike(process.pid, blow)
                return blow, ""
            if now > heard + SECONDS_OF_SILENCE:
                return None, f"no file was changed for {SECONDS_OF_SILENCE} seconds"
            time.sleep(0.004)
        return None, ""

    def lost(self, ended: Ended, checkpoints: dict[str, int]) -> Iterator[tuple[str, str]]:
        """Yield the part and a message for whatever a start did that had been done before it.

        `checkpoints` are the last steps saved before the start, by folder.
        """
        for changes in ended.journals:
            for number, change in enumerate(changes):
                saved = CHECKPOINT.match(change.path)
                if change.event == "open" and saved and int(saved[2]) <= checkpoints.get(saved[1], 0):
                    yield change.part, f"{change.path} is written again"
                if change.event != "os.rename" or not FINISHED.search(change.path):
                    continue
                if change.path in self.published:
                    yield change.part, f"{change.path} is made again"
                followed = number + 1 < len(changes) and changes[number + 1].event != BLOW
                is_interrupted = ended.blow is not None and ended.blow.signal == signal.SIGINT
                if (followed and not is_interrupted) or (self.runs / change.path).exists():
                    self.published.add(change.path)

    def checkpoints(self) -> dict[str, int]:
        """The step of the last whole checkpoint in each folder of them, by the folder's path below that of runs."""
        steps: dict[str, int] = {}
        for path in self.runs.glob(".store/*.partial/work/**/checkpoint-*/trainer_state.json"):
            saved = CHECKPOINT.match(str(path.relative_to(self.runs)))
            assert saved is not None
            try:
                json.loads(path.read_text(encoding="utf-8"))
            except ValueError:  # half written
                continue
            steps[saved[1]] = max(steps.get(saved[1], 0), int(saved[2]))
        return steps


def work(
    commands: list[list[str]], environment: dict[str, str], runs: Path, record: Path, blows: dict[str, Blow]
) -> None:
    """What a process of a start does: `dsi` with each of `commands`; `record`.log gets what it prints, `record`.journal
    the files that it changes."""
    os.setpgrp()
    with record.with_suffix(".log").open("ab") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    os.environ |= environment
    from dsi.cli import main
    from dsi.corpus import vectors

    vectors.SHARD = VECTORS_PER_SHARD
    sys.addaudithook(Witness(runs, record.with_suffix(".journal"), blows))
    for command in commands:
        if status := main(command):
            raise SystemExit(status)


def launched(process: int, processes: int, port: int) -> dict[str, str]:
    """What a launcher tells a process by its environment."""
    return {
        "RANK": str(process),
        "LOCAL_RANK": str(process),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
    }


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def end(processes: list[Any], blow: Blow | None) -> None:
    """Wait for processes one of which may have ended by a blow or failed; the others get what a launcher sends them."""
    if blow is not None and blow.signal != signal.SIGKILL:
        processes[blow.process].join(SECONDS_TO_END)
    if any(process.exitcode for process in processes) or blow is not None:
        for process in processes:
            if process.is_alive():
                process.terminate()
        for process in processes:
            process.join(SECONDS_TO_END)
    for process in processes:
        if process.is_alive():
            process.kill()
        process.join()


def draw(due: Counter[str], usual: list[dict[str, tuple[float, int]]], random: np.random.Generator) -> dict[str, Blow]:
    """A blow for every part in which kills are due; `usual` has the seconds and the number of changes of each part, for
    each process, in a run that nothing disturbs."""
    blows = {}
    for part in PARTS:
        process = int(random.integers(len(usual)))
        kind = int(random.choice(list(SIGNALS), p=list(SIGNALS.values())))
        whole, at_change = random.random(2) < 0.5
        changes = usual[process].get(part, (0.0, 0))[1]
        change = int(random.integers(changes)) + 1 if at_change and changes else 0
        moment = random.uniform(0, usual[0].get(part, (0.0, 0))[0])
        if due[part] > 0:
            blows[part] = Blow(part, process, kind, bool(whole), change, moment)
    return blows


def campaign(
    folder: Path, processes: int, until: str, kills: int, random: np.random.Generator, tally: Tally
) -> Iterator[str]:
    """Yield the part in which each of `kills` came; count what was killed, lost and wrong in `tally`."""
    folder.mkdir()
    config = folder / "killed.yaml"
    config.write_text(CONFIG.format(data=folder.parent / "data", docids=DOCIDS[processes]), encoding="utf-8")
    whole = Life(folder / "undisturbed", config, processes, until)
    undisturbed = whole.start({})
    if undisturbed.failure:
        raise RuntimeError(f"the run without kills failed: {undisturbed.failure}\n{tail(whole)}")
    usual = [usual_parts(undisturbed.began, changes) for changes in undisturbed.journals]
    parts = PARTS[: PARTS.index(until) + 1]
    order = [parts[number] for number in random.permutation(len(parts))]
    due = Counter(dict(zip(order, spread(kills, len(parts)), strict=True)))
    spared = 0  # runs in a row without a kill: its moment may come after a short stage on a busy machine
    while due.total():
        before = due.total()
        life = Life(folder / f"life-{tally.lives}", config, processes, until)
        tally.lives += 1
        while True:
            checkpoints = life.checkpoints()
            ended = life.start(draw(due, usual, random))
            for part, message in life.lost(ended, checkpoints):
                tally.add(tally.lost, part, message)
            if ended.blow is None:
                break
            due[ended.blow.part] -= 1
            tally.kills[ended.blow.part] += 1
            yield ended.blow.part
        if ended.failure:
            tally.add(tally.lost, ended.part, f"the run cannot go on: {ended.failure}\n{tail(life)}")
        else:
            for difference in differences(whole.runs, life.runs):
                tally.add(tally.wrong, part_of(difference), f"{difference} ({life.folder.name})")
        spared = spared + 1 if due.total() == before else 0
        if spared == SPARED:
            raise RuntimeError(f"{SPARED} whole runs gave no occasion to kill in {', '.join(+due)}")


def usual_parts(began: float, changes: list[Change]) -> dict[str, tuple[float, int]]:
    """The seconds that each part of a start took, and the number of changes that its process made in it."""
    counts = Counter(change.part for change in changes)
    begins = {START: began} | {change.part: change.at for change in reversed(changes) if change.part != START}
    ends = {change.part: change.at for change in changes}
    return {part: (ends[part] - begins[part], count) for part, count in counts.items()}


def part_of(difference: str) -> str:
    """The stage in whose folder a difference is; START for those in a run's own folder."""
    stage = re.match(r"\.store/(\w+)-", difference)
    return stage[1] if stage else START


def tail(life: Life) -> str:
    """The last lines that the processes of the last start printed."""
    logs = sorted(life.folder.glob(f"start-{life.starts - 1:03d}-*.log"))
    return "\n".join(
        line for log in logs for line in log.read_text(errors="replace", encoding="utf-8").splitlines()[-12:]
    )


if __name__ == "__main__":
    sys.exit(main())
