"""Queries a second of our sampling against Hugging Face `generate`, t5-small shape, on the passages of a run.

    make bench-doc2query [CONFIG=...]         the passages of that experiment

The weights are random, then trained for a moment so that queries end as real ones do (a model that never ends would
flatter us: `generate` waits for the longest query, we do not). Both sample 40 queries a passage from the ten most
probable pieces. The bound is the time of our multiplications alone at the speed of a large one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration, set_seed

from dsi.config import KnownItemConfig, T5GeneratorConfig
from dsi.corpus.store import Corpus, Document
from dsi.doc2query.known_item import KnownItemGenerator, read_collection
from dsi.doc2query.t5 import T5Generator
from dsi.report.tables import text_table

SHAPE = {"vocab_size": 32_128, "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8}
QUERIES, TOP_K, LONGEST, DOCUMENT = 40, 10, 64, 512
TRAINING_STEPS, TRAINING_BATCH, TRAINING_TOKENS = 60, 16, 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run with a corpus and a tokenizer, e.g. runs/demo")
    parser.add_argument("--passages", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8, help="passages a call of `generate`")
    options = parser.parse_args()
    text = AutoTokenizer.from_pretrained(options.run / "tokenizer")
    corpus = Corpus(options.run / "corpus")
    documents = [corpus[int(n)] for n in np.random.default_rng(0).permutation(len(corpus))[: options.passages]]
    set_seed(0)
    model = T5ForConditionalGeneration(T5Config(**SHAPE, decoder_start_token_id=0))
    learn_to_end(model, text, corpus)

    ours = generator(model, text)
    theirs_seconds, theirs_pieces = timed(lambda: hugging_face(model, text, documents, options.batch))
    our_seconds, our_pieces = timed(lambda: count_pieces(text, ours(documents, np.random.default_rng(0))))
    lengths = [
        len(text(document.content(), truncation=True, max_length=DOCUMENT)["input_ids"]) for document in documents
    ]
    bound = flops(sum(lengths), our_pieces) / multiplication_speed()
    queries = options.passages * QUERIES
    rows = [
        ["generate", f"{theirs_seconds:.1f}", f"{queries / theirs_seconds:.1f}", f"{theirs_pieces / queries:.1f}"],
        ["dsi", f"{our_seconds:.1f}", f"{queries / our_seconds:.1f}", f"{our_pieces / queries:.1f}"],
        ["bound of dsi", f"{bound:.1f}", f"{queries / bound:.1f}", ""],
    ]
    print(f"{options.passages} passages of {np.mean(lengths):.0f} pieces on average, {QUERIES} queries each")
    print(text_table(["", "seconds", "queries/s", "pieces a query"], rows))
    print(
        f"ratio={theirs_seconds / our_seconds:.2f} queries_per_second={queries / our_seconds:.1f}"
        f" share_of_bound={bound / our_seconds:.2f}"
    )


def learn_to_end(model: T5ForConditionalGeneration, text: AutoTokenizer, corpus: Corpus) -> None:
    """A few steps on known-item queries of short beginnings of passages."""
    random = np.random.default_rng(1)
    simulate = KnownItemGenerator(KnownItemConfig(queries=1), read_collection(corpus.contents(), len(corpus)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    for _ in range(TRAINING_STEPS):
        chosen = [corpus[int(number)] for number in random.integers(len(corpus), size=TRAINING_BATCH)]
        pairs = [(d.content(), own[0]) for d, own in zip(chosen, simulate(chosen, random), strict=True) if own]
        contents, queries = zip(*pairs, strict=True)
        limits = {"truncation": True, "padding": True, "return_tensors": "pt"}
        batch = text(list(contents), max_length=TRAINING_TOKENS, **limits)
        labels = text(list(queries), max_length=TRAINING_TOKENS, **limits)["input_ids"]
        loss = model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            labels=labels.masked_fill(labels == text.pad_token_id, -100),
        ).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()


def generator(model: T5ForConditionalGeneration, text: AutoTokenizer) -> T5Generator:
    """Ours around a model that is in memory already."""
    ours = T5Generator.__new__(T5Generator)
    ours.config = T5GeneratorConfig(
        queries=QUERIES, top_k=TOP_K, query_length=LONGEST, document_length=DOCUMENT, precision="float32"
    )
    ours.model, ours.text = model, text
    return ours


def hugging_face(
    model: T5ForConditionalGeneration, text: AutoTokenizer, documents: list[Document], batch_size: int
) -> int:
    """Pieces that `generate` samples, passages sorted by length as for us."""
    contents = sorted((document.content() for document in documents), key=len)
    pieces = 0
    for start in range(0, len(contents), batch_size):
        batch = text(
            contents[start : start + batch_size],
            truncation=True,
            max_length=DOCUMENT,
            padding=True,
            return_tensors="pt",
        )
        drawn = model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            do_sample=True,
            top_k=TOP_K,
            num_return_sequences=QUERIES,
            max_new_tokens=LONGEST,
        )
        pieces += count_pieces(text, [text.batch_decode(drawn, skip_special_tokens=True)])
    return pieces


def count_pieces(text: AutoTokenizer, queries: list[list[str]]) -> int:
    """Pieces of the queries with their ends."""
    return sum(len(row) for own in queries for row in text(own)["input_ids"])


def timed(work: Callable[[], int]) -> tuple[float, int]:
    start = time.perf_counter()
    pieces = work()
    return time.perf_counter() - start, pieces


def flops(read: int, written: int) -> float:
    """Of the matrices alone: encoder and cross-attention keys and values by piece read, the rest by piece written."""
    inner, d_model, d_ff = SHAPE["num_heads"] * SHAPE["d_kv"], SHAPE["d_model"], SHAPE["d_ff"]
    encoder = SHAPE["num_layers"] * (4 * d_model * inner + 2 * d_model * d_ff + 2 * d_model * inner)
    decoder = SHAPE["num_layers"] * (6 * d_model * inner + 2 * d_model * d_ff) + SHAPE["vocab_size"] * d_model
    return 2.0 * (read * encoder + written * decoder)


def multiplication_speed() -> float:
    """FLOPs a second of a multiplication as large as ours."""
    rows, size = 1024, 2048
    one, other = torch.randn(rows, size), torch.randn(size, size)
    one @ other
    start, times = time.perf_counter(), 10
    for _ in range(times):
        one @ other
    return times * 2.0 * rows * size * size / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
