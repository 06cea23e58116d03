"""Estimates what an experiment costs: parameters, FLOPs, GPU hours, memory, disk. Nothing is trained.

python scripts/estimate_cost.py configs/msmarco-1m.yaml --set docids.kind=semantic
"""

import argparse
import math

import torch
from transformers import AutoConfig

from dsi.config import Config, load_config
from dsi.errors import DsiError
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.build import random_shape
from dsi.model.config import DsiConfig
from dsi.model.cost import training_flops
from dsi.objectives.choice import objective_of
from dsi.report.quantities import count, large, size
from dsi.report.tables import text_table

T5_BASE = {"vocab_size": 32_128, "d_model": 768, "d_kv": 64, "d_ff": 2048, "num_layers": 12, "num_heads": 12}
"""The sizes of T5.1.1-base, so that its checkpoint need not be read."""
BYTES_PER_PAIR, QUERY_TOKENS = 22.5, 8.0
"""The bytes of a pair in the example store (scripts/bench_examples.py), for queries of so many tokens."""
STATES = {"adamw": 4.0, "adafactor": 2.0}
"""The numbers kept per parameter while training: itself, its gradient, and AdamW's two moments."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--documents", type=int, help="number of documents, if corpus.size is null (MS MARCO: 8841823)")
    parser.add_argument("--speed", type=float, default=125e12, help="FLOPs/s (40 %% of an A100's bfloat16 peak)")
    options = parser.parse_args()
    try:
        config = load_config(options.config, options.set)
    except DsiError as error:
        parser.error(str(error))
    documents = options.documents or config.corpus.size
    if documents is None:
        parser.error("corpus.size is null: --documents says how many there are")
    with torch.device("meta"):
        model = DifferentiableSearchIndex(DsiConfig(**shape_of(config), **docids_of(config, documents)))
    length = model.config.docid_length
    flops = training_flops(model, mean_tokens(config), length, objective_of(config.training).passes)
    examples = config.training.steps * config.training.rounds * config.training.batch_size
    parameters = sum(parameter.numel() for parameter in model.parameters())
    generators = config.doc2query
    queries = generators.t5.queries + generators.known_item.queries
    queries += generators.predictions.queries if generators.predictions.path else 0
    rows = [
        ["documents", count(documents)],
        ["parameters", large(parameters)],
        ["examples", large(examples)],
        ["FLOPs an example", large(flops)],
        ["training FLOPs", f"{flops * examples:.2g}"],
        ["GPU hours of training", f"{flops * examples / options.speed / 3600:,.0f}"],
        ["memory for parameters, gradients, moments", size(4.0 * parameters * STATES[config.training.optimizer])],
        ["synthetic queries", large(queries * documents)],
        ["disk for their pairs", size(queries * documents * BYTES_PER_PAIR)],
        ["the same while shards are put together", size(2 * queries * documents * BYTES_PER_PAIR)],
    ]
    print(text_table(["", options.config], rows))


def mean_tokens(config: Config) -> float:
    """The mean number of tokens of an example's text, if no document is shorter than what is read of it."""
    tasks = config.training.tasks
    passages, queries = tasks.first_p + tasks.daq, tasks.d2q + tasks.labelled
    return (passages * tasks.passage_length + queries * QUERY_TOKENS) / (passages + queries)


def shape_of(config: Config) -> dict[str, object]:
    """The sizes of the backbone: those of its checkpoint, or of the configuration."""
    sizes, checkpoint = random_shape(config.model, config.tokenizer.vocabulary), config.model.checkpoint
    if checkpoint is None:
        return sizes
    if checkpoint == "google/t5-v1_1-base":
        return {**sizes, **T5_BASE, "num_decoder_layers": 12}
    known = AutoConfig.from_pretrained(checkpoint).to_dict()
    return {**sizes, **{key: known[key] for key in (*T5_BASE, "num_decoder_layers")}}


def docids_of(config: Config, documents: int) -> dict[str, object]:
    """The docid keys of the model's configuration, if trees are balanced."""
    kind, clusters, leaf = config.docids.kind, config.docids.clusters, config.docids.leaf_size
    if kind == "atomic":
        return {"docid_tokens": documents}
    if kind == "naive":
        return {"docid_tokens": 11, "docid_length": len(str(documents)) + 1}
    if kind == "residual":
        sizes = [config.docids.codebook] * config.docids.levels
    else:
        inner = max(math.ceil(math.log(documents / leaf, clusters)), 0)
        sizes = [clusters] * inner + [leaf]
    return {
        "docid_tokens": max(sizes) if kind == "semantic" else sum(sizes),
        "docid_length": len(sizes),
        "docid_sizes": sizes,
        "docid_head": config.model.head,
        "docid_nodes": round(1.1 * documents),
        "docid_siblings": float(sum(sizes) / len(sizes)),
        "pawa": config.model.pawa,
        "pawa_layers": config.model.pawa_layers,
    }


if __name__ == "__main__":
    main()
