"""A tiny corpus, and stages built on it once for the tests that only read them."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from hypothesis import settings
from transformers import AutoTokenizer

from dsi.config import BackboneConfig, Doc2QueryConfig, DocidsConfig, EmbeddingsConfig, KnownItemConfig, TokenizerConfig
from dsi.corpus.store import Document, Qrel, Query, write_rows
from dsi.doc2query.expand import expand
from dsi.doc2query.shards import read_shards
from dsi.docids.assign import assign
from dsi.docids.store import Docids
from dsi.embeddings.embed import embed
from dsi.report import figures
from dsi.tokenizer import tokenize

torch.set_num_threads(1)  # on tiny tensors, more only wait for each other
settings.register_profile("dsi", deadline=None)  # a busy machine is not a failure
settings.load_profile("dsi")
EVERY_FORMAT = figures.FILES
figures.FILES = {
    "svg": EVERY_FORMAT["svg"]
}  # PNG and PDF take a third of a tiny run's time; test_figures.py draws them

DOCUMENTS = 60
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


def tiny_documents(count: int = DOCUMENTS) -> list[Document]:
    """Documents of made-up words, each with some that no other has."""
    random = np.random.default_rng(0)
    words = ["".join(random.choice(SYLLABLES, size=size)) for size in random.integers(2, 4, size=600)]
    return [
        Document(f"D{10 * number}", words[number % len(words)], " ".join(random.choice(words, size=25)))
        for number in range(count)
    ]


def write_tiny_corpus(folder: Path, count: int = DOCUMENTS) -> Path:
    """A corpus stage folder with splits dev and test; queries are three words of a document."""
    folder.mkdir(parents=True, exist_ok=True)
    documents = tiny_documents(count)
    write_rows(folder / "documents.arrow", Document, documents)
    for split, first in (("dev", 0), ("test", 5)):
        chosen = documents[first::10]
        write_rows(
            folder / f"queries.{split}.arrow",
            Query,
            (Query(f"{split}{n}", " ".join(document.text.split()[3:6])) for n, document in enumerate(chosen)),
        )
        write_rows(
            folder / f"qrels.{split}.arrow",
            Qrel,
            (Qrel(f"{split}{n}", document.doc_id, 1) for n, document in enumerate(chosen)),
        )
    return folder


def write_msmarco_folder(folder: Path, count: int = DOCUMENTS) -> Path:
    """The same corpus as official MS MARCO files."""
    folder.mkdir(parents=True)
    documents = tiny_documents(count)
    lines = "".join(f"{document.doc_id}\t{document.content()}\n" for document in documents)
    (folder / "collection.tsv").write_text(lines)
    for split, first in (("dev", 0), ("test", 5)):
        chosen = documents[first::10]
        queries = "".join(f"{split}{n}\t{' '.join(doc.text.split()[3:6])}\n" for n, doc in enumerate(chosen))
        (folder / f"queries.{split}.tsv").write_text(queries)
        (folder / f"qrels.{split}.tsv").write_text(
            "".join(f"{split}{n}\t0\t{d.doc_id}\t1\n" for n, d in enumerate(chosen))
        )
    return folder


@dataclass(frozen=True)
class Stages:
    corpus: Path
    tokenizer: Path
    doc2query: Path
    docids: Docids
    text: Any
    """The tokenizer, loaded."""


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """Corpus, tokenizer, doc2query and naive docids of the tiny corpus."""
    root = tmp_path_factory.mktemp("tiny")
    for name in ("tokenizer", "doc2query", "docids"):
        (root / name).mkdir()
    corpus = write_tiny_corpus(root / "corpus")
    tokenize(root / "tokenizer", tokenizer=TokenizerConfig(vocabulary=200), checkpoint=None, corpus_folder=corpus)
    expand(root / "doc2query", doc2query=Doc2QueryConfig(known_item=KnownItemConfig(queries=5)), corpus_folder=corpus)
    assign(
        root / "docids", docids=DocidsConfig(kind="naive"), corpus_folder=corpus, tokenizer_folder=root / "tokenizer"
    )
    return Stages(
        corpus,
        root / "tokenizer",
        root / "doc2query",
        Docids(root / "docids"),
        AutoTokenizer.from_pretrained(root / "tokenizer"),
    )


def assign_tiny(out: Path, tiny: Stages, docids: DocidsConfig, **options: Any) -> dict[str, Any]:
    """Fill `out` with docids of the tiny corpus, whose vectors, if needed, are made with `options` of their section."""
    vectors = None
    if docids.is_clustered:
        vectors = out / "embeddings"
        vectors.mkdir(parents=True)
        config, backbone = EmbeddingsConfig(**options), BackboneConfig(d_model=16, d_kv=4, d_ff=16)
        embed(vectors, embeddings=config, corpus_folder=tiny.corpus, tokenizer_folder=tiny.tokenizer, backbone=backbone)
    return assign(
        out, docids=docids, corpus_folder=tiny.corpus, tokenizer_folder=tiny.tokenizer, embeddings_folder=vectors
    )


def read_all(folder: Path) -> list[tuple[int, str]]:
    """Every (doc_index, query) of a doc2query stage folder."""
    return [pair for doc_index, texts in read_shards(folder) for pair in zip(doc_index.tolist(), texts, strict=True)]


def processes_command(processes: int, arguments: list[str], script: Path | None = None) -> list[str]:
    """`dsi ARGUMENTS`, or a script, on CPU processes that talk by gloo, as `accelerate launch` does on GPUs.

    (`accelerate launch --cpu` starts a single one on one machine, whatever --num_processes says.)
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    return [*command, *([str(script)] if script is not None else ["-m", "dsi"]), *arguments]


ON_CPU = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
"""The environment of such processes."""


def run_processes(command: list[str]) -> None:
    """Run `processes_command` to its end."""
    done = subprocess.run(command, env=ON_CPU, timeout=300, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def kill_when(command: list[str], folder: Path, pattern: str, environment: Mapping[str, str] | None = None) -> None:
    """Start a command and kill it and its children, without warning, as soon as a path below the folder matches."""
    process = psutil.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(folder.glob(pattern)):
        assert process.poll() is None, "finished before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    for each in [process, *process.children(recursive=True)]:
        each.kill()
    process.wait()
