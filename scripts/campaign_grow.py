"""Kills what changes a tiny index at random moments, while another process searches it all the time.

    make campaign-grow

A process adds, deletes, consolidates or compacts (every other time with --purge), one change after another, and is
killed (SIGKILL) at a time that is spread evenly over what such a change takes. Before each change it notes which
documents the next generation is to have, and after it that this generation is published. The searcher refreshes its
index or opens it anew, and compares the documents that a search finds with those noted for the generation that it has
open.

lost: generations that were published, and are not there after a kill.
mixed: answers that are not of the documents of one generation, and texts that are of others.
failed: indexes that cannot be opened or searched, and commands after a kill that do not succeed.

The exit status is 1 if anything is lost, mixed or failed.
"""

import argparse
import json
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import dsi
from dsi.errors import DsiError
from dsi.index.index import Index
from dsi.report.tables import text_table
from dsi.runtime.progress import progress

KEYS = {
    "tokenizer.vocabulary": 200,
    "doc2query.known_item.queries": 5,
    "model.d_model": 16,
    "model.d_kv": 4,
    "model.d_ff": 16,
    "training.steps": 16,
    "training.eval_steps": 8,
    "search.latency_queries": 0,
}
DOCUMENTS, FEWEST, STEPS = 48, 20, 4
"""The documents at first, the fewest that deletions leave, and the steps of a consolidation."""
EVERY = 10_000
"""More hits than there are documents."""
SECONDS = 300
"""How long a change may take before it counts as one that hangs."""
SEARCH = "search"
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="how many kills in all (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="seed of their moments (default: 0)")
    parser.add_argument("--keep", type=Path, help="a folder to work in that is not removed; it must not exist")
    options = parser.parse_args()
    began = time.monotonic()
    # a killed process leaves semaphores, of which Python would warn after the last line
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore:resource_tracker:UserWarning"}
    multiprocessing.set_forkserver_preload(["dsi.index.consolidating", "dsi.from_documents", "dsi.index.changing"])
    folder = options.keep or Path(tempfile.mkdtemp(prefix="campaign-grow-"))
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=options.keep is None)
    tally = Tally()
    try:
        kills = campaign(folder, options.kills, np.random.default_rng(options.seed), tally)
        for _ in progress(kills, "campaign", total=options.kills, unit="kills"):
            pass
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(tally.table())
    print(f"{(time.monotonic() - began) / 60:.1f} minutes, seed {options.seed}, {tally.answers:,} answers compared")
    totals = {name: counter.total() for name, counter in tally.counters.items()}
    print(" ".join(f"{name}={total}" for name, total in totals.items()))
    return int(sum(totals.values()) > totals["kills"])


class Tally:
    """What has happened, by change."""

    def __init__(self) -> None:
        self.counters = {name: Counter[str]() for name in ("kills", "lost", "mixed", "failed")}
        self.answers = 0

    def add(self, name: str, change: str, message: str = "") -> None:
        """Count something, and say it if there is a message."""
        self.counters[name][change] += 1
        if message:
            print(f"{name}: {change}: {message}", file=sys.stderr, flush=True)

    def table(self) -> str:
        """The counts of each change, as text."""
        rows = [[change, *(str(each[change]) for each in self.counters.values())] for change in (*CHANGES, SEARCH)]
        return text_table(["change", *self.counters], rows)


class Journal:
    """What writers note: the documents of each generation to come, when a change begins, and what was published."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.planned: dict[int, set[str]] = {0: set(map(id_of, range(DOCUMENTS)))}
        self.published, self.purged = 0, 0
        """The last generation that a writer has published, and the last one that was to be purged."""
        self.begun = list[tuple[str, float]]()
        """The changes that were begun, with their times, as of `time.monotonic()`."""
        self.done = list[float]()
        self._read = 0

    def note(self, **values: Any) -> None:
        """Append a line, whole, as it is one write."""
        with self.path.open("ab", buffering=0) as file:
            file.write(json.dumps(values | {"at": time.monotonic()}).encode() + b"\n")

    def read(self) -> "Journal":
        """Take what was written since, but for a line that is not whole."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            content = file.read()
        content = content[: content.rfind(b"\n") + 1]
        self._read += len(content)
        for values in map(json.loads, content.splitlines()):
            if "planned" in values:
                self.planned[values["planned"]] = set(values["ids"])
                self.purged = values["planned"] if values["purge"] else self.purged
                self.begun.append((values["change"], values["at"]))
            else:
                self.published = values["published"]
                self.done.append(values["at"])
        return self


def id_of(number: int) -> str:
    return f"D{number:06}"


def document(doc_id: str) -> dict[str, str]:
    """The document with an id, of words of its own."""
    random = np.random.default_rng(int(doc_id[1:]))
    return {"doc_id": doc_id, "text": " ".join("".join(random.choice(SYLLABLES, size=2)) for _ in range(20))}


class Writer:
    """Makes changes to an index, and notes them."""

    def __init__(self, folder: Path, journal: Path, seed: int) -> None:
        self.index, self.journal = dsi.load(folder), Journal(journal).read()
        self.random = np.random.default_rng(seed)

    def add(self) -> None:
        living = self._living()
        new = [id_of(int(number)) for number in self.random.integers(DOCUMENTS, 10**6, size=3)]
        fresh = [doc_id for doc_id in new if doc_id not in living] or [id_of(DOCUMENTS)]
        self._change("add", living | set(fresh), lambda: self.index.add(map(document, fresh), replace=True))

    def delete(self) -> None:
        while len(self._living()) < FEWEST:
            self.add()
        living = self._living()
        gone = str(self.random.choice(sorted(living)))
        self._change("delete", living - {gone}, lambda: self.index.delete(gone))

    def consolidate(self) -> None:
        try:
            self._change("consolidate", self._living(), lambda: self.index.consolidate(STEPS))
        except DsiError as error:
            if "nothing was added" not in str(error):
                raise
            self.add()
            self.consolidate()

    def compact(self) -> None:
        purge = bool(self.random.random() < 0.5)
        self._change("compact", self._living(), lambda: self.index.compact(purge), purge=purge)

    def _living(self) -> set[str]:
        self.index.refresh()
        return set(self.index.documents)

    def _change(self, name: str, ids: set[str], change: Callable[[], Any], purge: bool = False) -> None:
        number = generation_of(self.index) + 1
        self.journal.note(planned=number, ids=sorted(ids), change=name, purge=purge)
        self.journal.note(published=change().number)


CHANGES: dict[str, Callable[[Writer], None]] = {
    "add": Writer.add,
    "delete": Writer.delete,
    "consolidate": Writer.consolidate,
    "compact": Writer.compact,
}


def generation_of(index: Index) -> int:
    """The number of the generation that an index has open, as it says."""
    found = re.search(r"generation (\d+)>", repr(index))
    return int(found[1]) if found else 0


def quiet(log: Path) -> None:
    """Have what this process prints in a file."""
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())


def build(folder: Path, log: Path) -> None:
    """What the first process does: make the index."""
    quiet(log)
    dsi.build([document(id_of(number)) for number in range(DOCUMENTS)], folder, keys=KEYS)


def write(folder: Path, journal: Path, log: Path, change: str, seed: int, once: bool) -> None:
    """What a writing process does: the same kind of change, `once` or again and again."""
    quiet(log)
    writer = Writer(folder, journal, seed)
    CHANGES[change](writer)
    while not once:
        CHANGES[change](writer)


def faults_of(index: Index, journal: Journal) -> Iterator[str]:
    """Yield what a search finds, and an index says it has, that is not of the generation that is open."""
    number, hits = generation_of(index), index.search("bade fido", k=EVERY)
    expected, found = journal.read().planned[number], {hit.doc_id: hit.text for hit in hits}
    for what, ids in (("found", set(found)), ("there", set(index.documents))):
        if ids != expected:
            yield f"generation {number}: {sorted(ids - expected)} {what}, {sorted(expected - ids)} not"
    if wrong := [doc_id for doc_id, text in found.items() if text != document(doc_id)["text"]]:
        yield f"generation {number}: the texts of {wrong} are others"
    if len(index) != len(expected):
        yield f"generation {number}: {len(index)} documents, and not {len(expected)}"


def search(folder: Path, journal: Path, log: Path, record: Path, ended: Any) -> None:
    """What the searching process does until the end; `record` gets the number of answers, and what was wrong."""
    quiet(log)
    index, notes, answers = dsi.load(folder, prior="none"), Journal(journal), 0
    mixed, failed = list[str](), list[str]()
    while not ended.is_set():
        try:
            if answers % 5:
                index.refresh()
            else:
                index = dsi.load(folder, prior="none")
            mixed += faults_of(index, notes)
        except Exception as error:
            failed.append(f"{type(error).__name__}: {error}")
        answers += 1
        time.sleep(0.01)  # else it takes a core that a change would need
    record.write_text(json.dumps({"answers": answers, "mixed": mixed, "failed": failed}), encoding="utf-8")


def campaign(folder: Path, kills: int, random: np.random.Generator, tally: Tally) -> Iterator[str]:
    """Yield the change that each of the kills came in; count what was lost, mixed and failed in `tally`."""
    context = multiprocessing.get_context("forkserver")
    index, journal, log, record = (folder / name for name in ("index", "journal", "log", "searched.json"))
    journal.touch()
    ended, notes = context.Event(), Journal(journal)

    def started(target: Callable[..., None], *arguments: Any) -> Any:
        process = context.Process(target=target, args=arguments, daemon=True)
        process.start()
        return process

    def changed_once(change: str) -> float:
        """Make a change without a kill; return its seconds."""
        process = started(write, index, journal, log, change, int(random.integers(2**31)), True)
        process.join(SECONDS)
        if process.exitcode != 0:
            process.kill()
            tally.add("failed", change, f"exit status {process.exitcode}\n{tail(log)}")
            return 1.0
        notes.read()
        return notes.done[-1] - notes.begun[-1][1]

    first = started(build, index, log)
    first.join()
    if first.exitcode:
        raise RuntimeError(f"the index cannot be built\n{tail(log)}")
    seconds = {change: changed_once(change) for change in CHANGES}
    searcher = started(search, index, journal, log, record, ended)
    plan = [list(CHANGES)[number % len(CHANGES)] for number in range(kills)]
    due = Counter(plan)
    moments = {
        change: random.permutation((np.arange(count) + random.random(count)) / count) * seconds[change]
        for change, count in due.items()
    }
    given = Counter[str]()
    for change in plan:
        before = len(notes.read().begun)
        process = started(write, index, journal, log, change, int(random.integers(2**31)), False)
        deadline = time.monotonic() + SECONDS
        while process.is_alive() and time.monotonic() < deadline:
            begun = [at for name, at in notes.read().begun[before:] if name == change]
            if begun and time.monotonic() >= begun[0] + moments[change][given[change]]:
                break
            time.sleep(0.001)
        was_alive = process.is_alive()
        process.kill()
        process.join()
        given[change] += 1
        if not was_alive:
            tally.add("failed", change, f"it ended by itself\n{tail(log)}")
            continue
        tally.add("kills", change)
        check(index, notes.read(), change, tally)
        changed_once(change)
        check(index, notes.read(), change, tally)
        yield change
    ended.set()
    searcher.join(SECONDS)
    if not record.exists():
        tally.add("failed", SEARCH, f"the searcher has ended\n{tail(log)}")
        return
    searched = json.loads(record.read_text(encoding="utf-8"))
    tally.answers = searched["answers"]
    for name in ("mixed", "failed"):
        for message in searched[name]:
            tally.add(name, SEARCH, message)


def check(folder: Path, notes: Journal, change: str, tally: Tally) -> None:
    """See that an index can be opened, at the last generation that was published or the one that was being made, and
    that those before are there."""
    try:
        index = dsi.load(folder, prior="none")
        number, there = generation_of(index), {each.number for each in index.log()}
        for message in faults_of(index, notes):
            tally.add("mixed", change, message)
    except Exception as error:
        tally.add("failed", change, f"{type(error).__name__}: {error}")
        return
    lost = set(range(max(notes.purged, 1), notes.published + 1)) - there if notes.purged <= number else set()
    if lost or number not in (notes.published, notes.published + 1):
        tally.add("lost", change, f"{sorted(lost)}; {number} is open, {notes.published} was published")
    notes.published = number


def tail(log: Path) -> str:
    """The last lines that the processes printed."""
    return "\n".join(log.read_text(errors="replace", encoding="utf-8").splitlines()[-12:])


if __name__ == "__main__":
    sys.exit(main())
