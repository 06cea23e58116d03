"""Document states a second against the time of their matrix products alone, tokenising left out.

    make bench-states

Models of the default sizes with random weights read texts at random whose lengths are spread as those of MS MARCO's
passages, cut at the model's longest, in calls of as many documents as a shard has. The bound is the FLOPs of
dsi/model/cost.py at the speed of a large product in the same process.
"""

import argparse
from functools import partial

import numpy as np
import torch
from timing import fastest

from dsi.corpus.vectors import SHARD
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.config import DsiConfig
from dsi.model.cost import forward_flops
from dsi.model.document_states import states_of
from dsi.report.tables import text_table
from dsi.runtime.device import compute_device, multiplication_speed

SHAPES = {256: (128, 64, 512), 128: (48, 32, 256), 64: (48, 16, 128)}
"""By d_model: the longest text in tokens, d_kv and d_ff."""
HEADS, VOCABULARY, RUNS = 4, 16_000, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=2 * SHARD)
    options = parser.parse_args()
    device, random = compute_device(), np.random.default_rng(0)
    rows, shares = list[list[str]](), list[float]()
    for width, (longest, d_kv, d_ff) in SHAPES.items():
        config = DsiConfig(
            vocab_size=VOCABULARY,
            d_model=width,
            d_kv=d_kv,
            d_ff=d_ff,
            num_heads=HEADS,
            num_layers=1,
            num_decoder_layers=1,
            docid_tokens=1,
            docid_length=1,
        )
        model = DifferentiableSearchIndex(config).to(device).eval()
        lengths = np.clip(random.lognormal(4.25, 0.4, options.documents), 8, longest).astype(int)
        ids = [random.integers(3, VOCABULARY, size=length).tolist() for length in lengths]
        seconds = fastest(partial(encode, model, ids), RUNS)
        flops = forward_flops(model, float(lengths.sum()), len(ids))
        share = flops / multiplication_speed(device) / seconds
        shares.append(share)
        rows.append([str(width), f"{lengths.mean():.0f}", f"{len(ids) / seconds:,.0f}", f"{share:.2f}"])
    print(f"{torch.get_num_threads()} threads")
    print(text_table(["d_model", "mean tokens", "documents a second", "share of the bound"], rows))
    print(*(f"share_{row[0]}={share:.2f}" for row, share in zip(rows, shares, strict=True)))


def encode(model: DifferentiableSearchIndex, ids: list[list[int]]) -> None:
    """Compute the states of texts, as many in a call as a shard has."""
    for start in range(0, len(ids), SHARD):
        states_of(model, ids[start : start + SHARD])


if __name__ == "__main__":
    main()
