"""Synthetic queries per second: our sampling against Hugging Face `generate`, t5-small shape, on the passages of a run.

    make bench-doc2query [CONFIG=...]         the passages of that experiment

Both sample 40 queries per passage from the ten most probable tokens, in float32. The weights are random and never end a
query, so both write exactly as many tokens. Real queries end at different lengths; `generate` waits for the longest and
we do not, so that real ratios are larger. The bound is the time of the multiplications alone, at the speed of a large
one, if every sample were decoded by itself.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from timing import timed
from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration, set_seed

from dsi.config import T5GeneratorConfig
from dsi.corpus.store import Corpus, Document
from dsi.doc2query.t5 import T5Generator
from dsi.report.tables import text_table
from dsi.runtime.device import multiplication_speed

SHAPE = {"vocab_size": 32_128, "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8}
QUERIES, TOP_K, TOKENS, DOCUMENT = 40, 10, 10, 512
BATCHES = (4, 8, 16)
"""The numbers of passages per call of `generate`; the ratio is to the fastest."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run with a corpus and a tokenizer, e.g. runs/demo")
    parser.add_argument("--passages", type=int, default=32)
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(options.run / "tokenizer")
    corpus = Corpus(options.run / "corpus")
    documents = [corpus[int(n)] for n in np.random.default_rng(0).permutation(len(corpus))[: options.passages]]
    set_seed(0)
    model = T5ForConditionalGeneration(T5Config(**SHAPE, decoder_start_token_id=0)).eval()
    model.generation_config.eos_token_id = None

    queries = len(documents) * QUERIES
    rows, theirs = [], []
    for batch_size in BATCHES:
        theirs.append(timed(partial(hugging_face, model, tokenizer, documents, batch_size))[0])
        rows.append([f"generate, {batch_size} passages a batch", f"{theirs[-1]:.1f}", f"{queries / theirs[-1]:.1f}"])
    model.config.eos_token_id = -1
    sampling = T5GeneratorConfig(queries=QUERIES, top_k=TOP_K, query_length=TOKENS, document_length=DOCUMENT)
    generator = T5Generator(sampling, model, tokenizer)
    own, _ = timed(lambda: generator(documents, np.random.default_rng(0)))
    read = sum(map(len, tokenizer([document.content() for document in documents])["input_ids"]))
    bound = flops(read, queries * TOKENS) / multiplication_speed(torch.device("cpu"))
    rows.append(["dsi", f"{own:.1f}", f"{queries / own:.1f}"])
    rows.append(["bound, nothing shared", f"{bound:.1f}", f"{queries / bound:.1f}"])
    print(f"{len(documents)} passages of {read / len(documents):.0f} tokens, {QUERIES} queries of {TOKENS} tokens each")
    print(text_table(["", "seconds", "queries/s"], rows))
    print(f"ratio={min(theirs) / own:.2f} queries_per_second={queries / own:.1f} share_of_bound={bound / own:.2f}")


def hugging_face(
    model: T5ForConditionalGeneration, tokenizer: AutoTokenizer, documents: list[Document], batch_size: int
) -> None:
    """Sample with `generate`, the passages sorted by length as in our sampling, and decode."""
    contents = sorted((document.content() for document in documents), key=len)
    for start in range(0, len(contents), batch_size):
        texts, options = contents[start : start + batch_size], {"truncation": True, "padding": True}
        batch = tokenizer(texts, max_length=DOCUMENT, return_tensors="pt", **options)
        sampling = {"do_sample": True, "top_k": TOP_K, "num_return_sequences": QUERIES, "max_new_tokens": TOKENS}
        sampled = model.generate(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], **sampling)
        tokenizer.batch_decode(sampled, skip_special_tokens=True)


def flops(read: int, written: int) -> float:
    """FLOPs of the matrices: encoder and cross-attention keys and values per token read, the rest per token written."""
    inner, d_model, d_ff = SHAPE["num_heads"] * SHAPE["d_kv"], SHAPE["d_model"], SHAPE["d_ff"]
    encoder = SHAPE["num_layers"] * (4 * d_model * inner + 2 * d_model * d_ff + 2 * d_model * inner)
    decoder = SHAPE["num_layers"] * (6 * d_model * inner + 2 * d_model * d_ff) + SHAPE["vocab_size"] * d_model
    return 2.0 * (read * encoder + written * decoder)


if __name__ == "__main__":
    main()
