"""Milliseconds per query of our constrained search against Hugging Face `generate`, with the same weights and docids.

    make bench-search

200,000 docids of the shape that hierarchical k-means gives (k=10, c=100); models of the shapes of T5-small and T5-base
with random weights in float32: (a) `generate` with `prefix_allowed_tokens_fn` over a dict trie, as DSI-QG,
GenRet and GENRE search; (b) `generate` without a constraint; (c) as (a), with a model that has no tokens but those of
docids, so that what our docid head saves is saved there too. The bound is the time of the multiplications of our search
at the speed of a large one. tests/test_search.py shows that both sides find the same docids with the same scores.
`planned` is our search with a prior of 1,000 documents a query, groups of neighbours in the tree as a query's best ones
are: what planning adds, without the look-up of the words (`make bench-terms`). It and the plain search take turns, and
the ratio is that of medians. The plain search of random weights ends early, at the shortest docids, planning goes on
to those of the prior's documents: so the ratio of the prefixes decoded is given too, and that of the times a prefix.
"""

import argparse
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import torch
from docid_shapes import dict_trie, kmeans_shaped
from timing import timed
from transformers import T5Config, T5ForConditionalGeneration, set_seed

from dsi.docids.store import Docids, Vocabulary, write_docids
from dsi.model.architecture import START, DifferentiableSearchIndex
from dsi.model.config import DsiConfig
from dsi.model.decoding import StepDecoder
from dsi.model.precision import to_precision
from dsi.report.tables import text_table
from dsi.runtime.device import multiplication_speed
from dsi.search.prior import Mixture, Prior
from dsi.search.searcher import Searcher

SHAPES: dict[str, dict[str, Any]] = {
    "t5-small": {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8},
    "t5-base": {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
}
VOCABULARY, END, FIRST_TOKEN = 32_128, 1, 100
"""The size of T5's vocabulary, the text token that ends a docid for `generate`, and the one that stands for docid token
0."""
DOCIDS, CLUSTERS, LEAF_SIZE, LENGTH = 200_000, 10, 100, 10
"""LENGTH is the number of tokens of a query, about the mean of MS MARCO."""
BEAMS, QUERIES = (10, 40, 100), 8
"""The widths of the beam, and the number of queries that are searched together."""
ROUNDS = 2
"""The number of times that each search is run; the fastest counts."""
PLANNED_ROUNDS = 9
"""The number of times that the planned search and the plain one are run in turn, whose difference is small."""
BEST_SCORE, FALL = 10.8, -0.25
"""The BM25 score at rank r is about BEST_SCORE * r ** FALL, as measured on 36,594 MS MARCO passages."""
PRIOR_DOCUMENTS, CLOSE, MIXTURE = 1_000, 20, Mixture(weight=1.0, epsilon=1e-2)
"""The documents of a prior, and how many of them stand together in the tree."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    options = parser.parse_args()
    speed = multiplication_speed(torch.device("cpu"))
    rows, ratios, added = [], {}, {}
    with TemporaryDirectory() as name:
        codes = kmeans_shaped(DOCIDS, CLUSTERS, LEAF_SIZE)
        tokens = int(codes.max()) + 1
        write_docids(Path(name), Vocabulary("semantic", tokens, codes.shape[1]), codes)
        docids = Docids(Path(name))
        trie, small_trie = (
            dict_trie([*(code[code >= 0] + shift).tolist(), END] for code in codes) for shift in (FIRST_TOKEN, 2)
        )
        for shape in options.shapes:
            t5, narrow, model = models(SHAPES[shape], tokens, codes.shape[1])
            quantised = to_precision(deepcopy(model), "int8", "precision")
            for beam in BEAMS:
                queries = torch.randint(3, VOCABULARY, (QUERIES, LENGTH), generator=torch.Generator().manual_seed(beam))
                searches: dict[str, Callable[[], object]] = {
                    "a": partial(generate, t5, queries, beam, codes.shape[1], trie),
                    "b": partial(generate, t5, queries, beam, codes.shape[1], None),
                    "c": partial(generate, narrow, queries, beam, codes.shape[1], small_trie),
                    "dsi": partial(Searcher(model, docids).search, queries.tolist(), beam, QUERIES),
                    "int8": partial(Searcher(quantised, docids).search, queries.tolist(), beam, QUERIES),
                }
                planned = Searcher(model, docids, mixture=MIXTURE).search
                with_prior = partial(planned, queries.tolist(), beam, QUERIES, random_priors(docids, beam))
                in_turn = [(timed(searches["dsi"])[0], timed(with_prior)[0]) for _ in range(PLANNED_ROUNDS)]
                plain_median, planned_median = np.median(in_turn, axis=0)
                prefixes = decoded(with_prior) / decoded(searches["dsi"])
                added[shape, beam] = planned_median / plain_median, planned_median / plain_median / prefixes
                seconds = {name: min(timed(search)[0] for _ in range(ROUNDS)) for name, search in searches.items()}
                ms = {name: 1000 * fastest / QUERIES for name, fastest in seconds.items()}
                bound = 1000 * flops(SHAPES[shape], docids, beam, tokens) / speed
                ratios[shape, beam] = ms["a"] / ms["dsi"]
                rows.append(
                    [f"{shape}, beam {beam}", *(f"{milliseconds:.1f}" for milliseconds in ms.values())]
                    + [f"{ms[which] / ms['dsi']:.2f}" for which in "abc"]
                    + [
                        f"{bound / ms['dsi']:.2f}",
                        f"{1000 * planned_median / QUERIES:.1f}",
                        f"{added[shape, beam][0]:.2f}",
                        f"{prefixes:.2f}",
                    ]
                )
    print(f"milliseconds a query, {DOCIDS:,} docids of {tokens} tokens, queries of {LENGTH} tokens")
    header = [
        "",
        "a",
        "b",
        "c",
        "dsi",
        "dsi int8",
        "a/dsi",
        "b/dsi",
        "c/dsi",
        "share of bound",
        "planned",
        "planned/dsi",
        "prefixes",
    ]
    print(text_table(header, rows))
    first = options.shapes[0]
    print(
        *(f"ratio_beam{beam}={ratios[first, beam]:.2f}" for beam in BEAMS),
        *(f"planned_beam{beam}={added[first, beam][0]:.3f}" for beam in BEAMS),
        *(f"planned_prefix_beam{beam}={added[first, beam][1]:.3f}" for beam in BEAMS),
    )


def decoded(search: Callable[[], object]) -> int:
    """The number of prefixes that a search decodes."""
    rows: list[int] = []

    class Counting(StepDecoder):
        def step(self, inputs: torch.Tensor, *others: Any) -> torch.Tensor:
            rows.append(len(inputs))
            return super().step(inputs, *others)

    with mock.patch("dsi.search.beam.StepDecoder", Counting):
        search()
    return sum(rows)


def random_priors(docids: Docids, seed: int) -> list[Prior]:
    """A prior for each query, of groups of neighbours in the tree."""
    random, in_tree = np.random.default_rng(seed), docids.trie.documents
    priors = []
    for _ in range(QUERIES):
        starts = random.choice(DOCIDS // CLOSE, size=PRIOR_DOCUMENTS // CLOSE, replace=False) * CLOSE
        documents = np.sort(in_tree[(starts[:, None] + np.arange(CLOSE)).ravel()]).astype(np.int64)
        scores = BEST_SCORE * random.permutation(np.arange(1, len(documents) + 1)) ** FALL
        priors.append(Prior(documents, scores.astype(np.float32)))
    return priors


def models(
    shape: dict[str, Any], tokens: int, length: int
) -> tuple[T5ForConditionalGeneration, T5ForConditionalGeneration, DifferentiableSearchIndex]:
    """A T5, a T5 with docid tokens for a vocabulary, and our model, all with the same encoder and decoder weights."""
    set_seed(0)
    options = {**shape, "num_decoder_layers": shape["num_layers"], "decoder_start_token_id": 0}
    t5 = T5ForConditionalGeneration(T5Config(vocab_size=VOCABULARY, **options)).eval()
    model = DifferentiableSearchIndex(
        DsiConfig(vocab_size=VOCABULARY, docid_tokens=tokens, docid_length=length, **options)
    ).eval()
    narrow = T5ForConditionalGeneration(T5Config(vocab_size=tokens + 2, **options)).eval()
    rows = t5.shared.weight[FIRST_TOKEN : FIRST_TOKEN + tokens]
    with torch.no_grad():
        model.load_state_dict({k: v for k, v in t5.state_dict().items() if "lm_head" not in k}, strict=False)
        model.docid_embedding.weight[START] = t5.shared.weight[0]
        model.docid_embedding.weight[START + 1 :] = rows
        model.docid_head.weight.copy_(rows * shape["d_model"] ** -0.5)
        narrow.load_state_dict({k: v for k, v in t5.state_dict().items() if ".block." in k}, strict=False)
        narrow.shared.weight[2:] = rows
    # the narrow model's encoder must read all text tokens
    narrow.encoder.embed_tokens = torch.nn.Embedding.from_pretrained(t5.shared.weight)
    return t5, narrow, model


@torch.inference_mode()
def generate(
    t5: T5ForConditionalGeneration, queries: torch.Tensor, beam: int, length: int, trie: dict[int, Any] | None
) -> None:
    """Search with `generate`, constrained by a dict trie if one is given."""

    def allowed(_: int, prefix: torch.Tensor) -> list[int]:
        node = trie
        for token in prefix.tolist()[1:]:
            node = (node or {}).get(token)
        return list(node) if node else [END]

    t5.generate(
        input_ids=queries,
        attention_mask=torch.ones_like(queries),
        num_beams=beam,
        num_return_sequences=beam,
        max_new_tokens=length + 1,
        prefix_allowed_tokens_fn=allowed if trie is not None else None,
        length_penalty=0.0,
        eos_token_id=END,
        pad_token_id=0,
    )


def flops(shape: dict[str, Any], docids: Docids, beam: int, tokens: int) -> float:
    """The FLOPs of the matrix products of our search for one query."""
    d_model, d_ff, layers = shape["d_model"], shape["d_ff"], shape["num_layers"]
    inner = shape["num_heads"] * shape["d_kv"]
    read = layers * (4 * d_model * inner + 2 * d_model * d_ff + 2 * d_model * inner)
    row = layers * (6 * d_model * inner + 2 * d_model * d_ff + 2 * inner * LENGTH) + tokens * d_model
    starts = docids.trie.level_start.tolist()
    leaves = docids.trie.first_child[1:] == docids.trie.first_child[:-1]
    inner_nodes = [int((~leaves[start:stop]).sum()) for start, stop in pairwise(starts)]
    return 2.0 * (LENGTH * read + row * sum(min(beam, nodes) for nodes in inner_nodes))


if __name__ == "__main__":
    main()
