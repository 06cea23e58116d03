"""A whole run on made-up documents: seconds, peak memory and bytes on disk of every stage, and what comes out.

A document has 40 words, a title of two besides: some of its title, some of its topic, the rest of all words by Zipf's
law. Queries have a word of a document's title and two of its text. Nothing but synthetic queries is trained on, and
each stage has a process of its own.

    make bench-million [DOCUMENTS=1000000]
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.artifacts import read_manifest
from dsi.pipeline import STAGES
from dsi.report.tables import text_table

WORDS, TITLE, VOCABULARY, TOPIC_WORDS = 40, 2, 12_000, 100
BLOCK, QUERIES = 10_000, 2_000
OF_TOPIC, OF_TITLE = 0.35, 0.1
"""The shares of a document's words that are of its topic, and of its title."""
SYLLABLES = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
KEYS: dict[str, Any] = {
    "corpus": {"source": "beir", "splits": {"dev": "dev", "test": "test"}},
    "doc2query": {"known_item": {"queries": 5}},
    "model": {"d_model": 128, "d_kv": 32, "num_heads": 4, "d_ff": 256, "document_length": 48},
    "training": {"rounds": 1, "steps": 2_000, "eval_steps": 1_000, "dev_queries": 500},
    "search": {"prior": "bm25"},
    "baselines": {"systems": ["bm25"]},
    "evaluation": {"split": "test"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000, help="how many (default: 1,000,000)")
    parser.add_argument("--folder", type=Path, help="where to work, and to go on where it was stopped")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="configuration keys")
    options = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        run(folder, options.documents, options.set)


def run(folder: Path, documents: int, changes: list[str]) -> None:
    """Make the documents in `folder`, run every stage on them and print the table."""
    source = folder / f"made-up-{documents}"
    if not (source / "qrels").exists():
        write_folder(source, documents)
    config = folder / "config.yaml"
    config.write_text(json.dumps({**KEYS, "corpus": {**KEYS["corpus"], "path": str(source)}}), encoding="utf-8")
    place = ["--runs", str(folder / "runs"), "--name", "million"]
    for stage in STAGES.values():
        command = [sys.executable, "-m", "dsi", stage.command, str(config), *place]
        subprocess.run([*command, *(["--set", *changes] if changes else [])], check=True, stdout=sys.stderr)
    made = folder / "runs/million"
    manifests = {name: manifest for name in STAGES if (manifest := read_manifest(made / name)) is not None}
    asked = {name: manifest for name, manifest in manifests.items() if manifest["files"]}
    rows = [
        [
            name,
            f"{manifest['seconds']:,.1f}",
            f"{manifest['peak_memory_bytes'] / 2**30:.2f}",
            f"{sum(size for size, _ in manifest['files'].values()) / 2**20:,.0f}",
        ]
        for name, manifest in asked.items()
    ]
    systems = json.loads((made / "evaluation/metrics.json").read_text(encoding="utf-8"))["systems"]
    print(f"{documents:,} documents of {WORDS} words")
    print(text_table(["stage", "seconds", "peak GiB", "MiB on disk"], rows))
    print(text_table(["system", "RR@10"], [[name, f"{each['RR@10']:.3f}"] for name, each in systems.items()]))
    print(
        f"seconds={sum(manifest['seconds'] for manifest in asked.values()):.0f}"
        f" peak_gib={max(manifest['peak_memory_bytes'] for manifest in asked.values()) / 2**30:.2f}"
        f" rr10={systems['dsi']['RR@10']:.3f} bm25_rr10={systems['bm25']['RR@10']:.3f}"
    )


def write_folder(folder: Path, documents: int) -> None:
    """Write the documents and their queries in BEIR's layout, the judgements last."""
    folder.mkdir(parents=True, exist_ok=True)
    words = vocabulary()
    asked = np.random.default_rng(1).choice(documents, size=min(2 * QUERIES, documents), replace=False)
    queries: dict[int, list[str]] = {}
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for start, titles, texts in blocks(documents):
            for number, title, text in zip(range(start, start + len(texts)), titles, texts, strict=True):
                record = {"_id": f"d{number}", "title": " ".join(words[title]), "text": " ".join(words[text])}
                file.write(json.dumps(record) + "\n")
            for number in asked[(asked >= start) & (asked < start + len(texts))].tolist():
                random, own = np.random.default_rng([2, number]), texts[number - start]
                queries[number] = [*words[titles[number - start]][:1], *words[random.choice(own, size=2)]]
    with (folder / "queries.jsonl").open("w", encoding="utf-8") as file:
        for number, text in queries.items():
            file.write(json.dumps({"_id": f"q{number}", "text": " ".join(text)}) + "\n")
    partial = folder / "qrels.partial"
    partial.mkdir(exist_ok=True)
    for split, some in (("dev", asked[: len(asked) // 2]), ("test", asked[len(asked) // 2 :])):
        lines = [f"q{number}\td{number}\t1" for number in some.tolist()]
        (partial / f"{split}.tsv").write_text(
            "query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n", encoding="utf-8"
        )
    partial.rename(folder / "qrels")


def blocks(documents: int) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """Some documents at a time: the number of the first one, the words of their titles and those of their texts."""
    topics = np.random.default_rng(0).integers(VOCABULARY, size=(max(documents // 500, 1), TOPIC_WORDS))
    for start in range(0, documents, BLOCK):
        random, count = np.random.default_rng([0, start]), min(BLOCK, documents - start)
        titles = random.integers(VOCABULARY, size=(count, TITLE))
        shape = count, WORDS
        of_topic = topics[random.integers(len(topics), size=(count, 1)), random.integers(TOPIC_WORDS, size=shape)]
        of_title = np.take_along_axis(titles, random.integers(TITLE, size=shape), axis=1)
        any_word, kind = random.zipf(1.2, shape) % VOCABULARY, random.random(shape)
        yield (
            start,
            titles,
            np.where(kind < OF_TITLE, of_title, np.where(kind < OF_TITLE + OF_TOPIC, of_topic, any_word)),
        )


def vocabulary() -> NDArray[Any]:
    """Words of two or three syllables, (VOCABULARY,), few enough for each to be a piece of its own."""
    random, found = np.random.default_rng(3), dict[str, None]()
    while len(found) < VOCABULARY:
        found["".join(random.choice(SYLLABLES, size=random.integers(2, 4)))] = None
    return np.array([*found])


if __name__ == "__main__":
    main()
