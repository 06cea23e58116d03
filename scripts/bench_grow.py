"""What adding documents to a saved index costs, whatever its size, and how well they are found then.

    make bench-grow

A hundred documents are added to saved indexes of made-up documents, with their synthetic queries, until a search in the
same process finds one of them; every time to the index as it was saved. The bound is the time of the matrix products
for the states of documents and queries: the FLOPs of dsi/model/cost.py at the speed of a large product in the same
process. `dsi add` is a process of its own, which opens the index first. The made-up indexes stay in the folder of runs
for the next time, 2 GiB for a million documents.

How well is what `dsi grow` finds on the default corpus, a sixth of which comes later: RR@10 after all was added and
nothing learnt, of queries whose documents were there before (old) and of others (new), and of the latter with the index
that was trained on all documents (retrained). The last line is of the search by default, with the prior.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from shutil import copytree, rmtree
from statistics import mean, median
from typing import Any

import torch
from made_up_index import documents_to_add, made_up_index
from timing import timed

import dsi
from dsi.corpus.store import Document
from dsi.index.adding import synthetic_queries
from dsi.model.cost import forward_flops
from dsi.report.tables import text_table
from dsi.runtime.device import multiplication_speed

SIZES = [36_594, 1_000_000]
ADDED, DELETED = 100, 10
FOLDER = Path("runs/bench-grow")
PER_DOCUMENT, BOUND = f"a document, {ADDED} added until one is found", "its matrix products alone"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs=2, default=SIZES, help="the two sizes")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the made-up indexes are, or will be")
    parser.add_argument("--turns", type=int, default=5, help="how often each change is made")
    parser.add_argument("--grow", type=Path, default=Path("configs/grow.yaml"), help="what `dsi grow` does")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="its folder of runs")
    parser.add_argument("--costs-only", action="store_true", help="train nothing")
    options = parser.parse_args()
    columns = [costs(made_up_index(options.folder, size), options.turns) for size in options.documents]
    print(f"{torch.get_num_threads()} threads, medians of {options.turns} turns")
    rows = [[name, *(f"{column[name]:,.1f}" for column in columns)] for name in columns[0]]
    rows.append(["times the matrix products", *(f"{column[PER_DOCUMENT] / column[BOUND]:.2f}" for column in columns)])
    print(text_table(["milliseconds", *(f"{size:,} documents" for size in options.documents)], rows))
    small, large = (column[PER_DOCUMENT] for column in columns)
    found = {} if options.costs_only else quality(options.grow, options.runs)
    print(f"ms_36k={small:.1f} ms_1m={large:.1f}", *(f"{name}={value:.3f}" for name, value in found.items()))


def quality(file: Path, runs: Path) -> dict[str, float]:
    """RR@10 of the grown index for old and for new queries, and of the retrained one for new ones."""
    subprocess.run([sys.executable, "-m", "dsi", "grow", str(file), "--runs", str(runs)], check=True, stdout=sys.stderr)
    grown = json.loads((runs / "grow" / file.stem / "grow.json").read_text(encoding="utf-8"))
    seeds: list[list[dict[str, Any]]] = [*grown["seeds"].values()]
    ours = [system for system in seeds[0][0]["systems"] if system.startswith("dsi")]  # alone, and with the prior
    systems = [name for system in ours for name in (system, system.replace("dsi", "retrained"))]
    columns = [(system, group) for system in systems for group in ("old", "new")]
    table, after_adding = list[list[str]](), dict[tuple[str, str], float]()
    for steps in zip(*seeds, strict=True):
        name = steps[0]["step"]
        values = {pair: [step["systems"][pair[0]][pair[1]] for step in steps] for pair in columns}
        means = {pair: mean(each) for pair, each in values.items() if None not in each}  # no query is new at first
        table.append([name, *(f"{means[pair]:.3f}" if pair in means else "-" for pair in columns)])
        if name.startswith("added"):
            after_adding = means
    print(text_table([grown["measure"], *(f"{system}, {group}" for system, group in columns)], table))
    old, new, _, retrained = (after_adding[pair] for pair in columns[-4:])
    return {"old": old, "new": new, "retrained": retrained}


def costs(folder: Path, turns: int) -> dict[str, float]:
    """The milliseconds of each change to a copy of a saved index."""
    copy = folder.with_name(f"{folder.name}-changed")
    rmtree(copy, ignore_errors=True)
    copytree(folder, copy, copy_function=os.link)
    times: dict[str, list[float]] = {}

    def measure(name: str, work: Callable[[], object], per: int = 1) -> None:
        times.setdefault(name, []).append(1e3 * timed(work)[0] / per)

    try:
        opening, index = timed(partial(dsi.load, copy))
        times["open the index"] = [1e3 * opening]
        text = documents_to_add(1)[0].content()
        measure("the first search, which rounds rows", partial(index.search, text))
        for turn in range(turns):
            documents = documents_to_add(ADDED + 1, turn)
            measure("a search", partial(index.search, text))
            measure(PER_DOCUMENT, partial(add, index, documents[:-1]), per=ADDED)
            measure("the next search", partial(index.search, text))
            measure("one document added and found", partial(add, index, documents[-1:]))
            measure(f"{DELETED} documents deleted", partial(index.delete, [f"d{number}" for number in range(DELETED)]))
            index.restore(0)
            times.setdefault(BOUND, []).append(1e3 * products(index, documents[:-1]) / ADDED)
        times["of them the first time"] = times[PER_DOCUMENT][:1]
        for turn in range(turns):
            file = copy.with_name(f"{copy.name}.jsonl")
            file.write_text(json.dumps(documents_to_add(1, turns + turn)[0]._asdict()), encoding="utf-8")
            command = [sys.executable, "-m", "dsi", "add", str(copy), str(file)]
            measure("`dsi add` of one document", partial(subprocess.run, command, check=True, capture_output=True))
            file.unlink()
    finally:
        rmtree(copy)
    return {name: median(each) for name, each in times.items()}


def add(index: dsi.Index, documents: Sequence[Document]) -> None:
    """Add documents, and find the last one."""
    index.add([document._asdict() for document in documents])
    assert index.search(documents[-1].content())[0].doc_id == documents[-1].doc_id


def products(index: dsi.Index, documents: Sequence[Document]) -> float:
    """The seconds of the matrix products of the states of documents and of their synthetic queries."""
    opened = index._now
    queries = synthetic_queries(opened, documents)
    model, tokenizer, growth = opened.trained.searcher.model, opened.trained.tokenizer, opened.growth.model
    contents = [document.content() for document in documents]
    texts = {growth.document_length: contents, growth.query_length: [*chain.from_iterable(queries)]}
    ids = [tokenizer(each, truncation=True, max_length=length)["input_ids"] for length, each in texts.items()]
    read = [len(each) for part in ids for each in part]
    flops = forward_flops(model, sum(read), len(read)) - 2.0 * len(read) * model.docid_head.multiplications()
    return flops / multiplication_speed(model.device)


if __name__ == "__main__":
    main()
