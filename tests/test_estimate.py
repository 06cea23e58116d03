"""Tests of the estimate of an experiment's cost."""

from pathlib import Path

import pytest
import torch

from dsi.config import Config, ModelConfig, TrainingConfig, load_config
from dsi.estimate import RATES, Cost, Scale, backbone_sizes, estimate, sizes_of
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.build import random_shape
from dsi.model.config import DsiConfig
from dsi.model.cost import forward_flops
from dsi.pipeline import STAGES

DOCUMENTS = 1_000


@pytest.mark.parametrize(
    "keys",
    [
        {"docids.kind": "atomic"},
        {"docids.kind": "naive"},
        {"docids.kind": "semantic", "model.num_layers": 2, "model.num_decoder_layers": 3},
        {"docids.kind": "semantic", "model.head": "hierarchical_softmax"},
        {"docids.kind": "semantic_2d", "model.head": "pawa"},
        {"docids.kind": "residual", "model.head": "pawa", "model.pawa": "matrix", "model.pawa_layers": 2},
    ],
)
def test_parameters_and_flops_are_those_of_the_model(keys: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("")
    config = load_config(path, [f"{key}={value}" for key, value in keys.items()])
    sizes = sizes_of(config, DOCUMENTS)
    docids = config.docids
    levels = [docids.codebook] * docids.levels if docids.kind == "residual" else [docids.clusters, docids.leaf_size]
    with torch.device("meta"):
        model = DifferentiableSearchIndex(
            DsiConfig(
                **random_shape(config.model, config.tokenizer.vocabulary),
                docid_tokens={"atomic": DOCUMENTS}.get(docids.kind, sizes.docid_inputs),
                docid_length=sizes.docid_length,
                docid_head=config.model.head,
                docid_nodes=round(1.1 * DOCUMENTS),
                docid_siblings=sizes.siblings,
                docid_sizes=levels,
                pawa=config.model.pawa,
                pawa_layers=config.model.pawa_layers,
            )
        )
    assert sizes.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert sizes.forward_flops(20, 3) == pytest.approx(forward_flops(model, 20, 3))


def test_a_sample_costs_the_same_for_more_documents_and_no_moments() -> None:
    def cost(softmax: str, documents: int) -> Cost:
        training = TrainingConfig(softmax=softmax, neighbour_negatives=0)  # type: ignore[arg-type]
        config = Config(model=ModelConfig(warm_start=False), training=training)
        return estimate(Scale(config, documents, queries=100, speed=1e11))["model"]

    (full, chunked, sampled), small = (
        (cost(softmax, 1_000_000) for softmax in ("full", "chunked", "sampled")),
        cost("sampled", 10_000),
    )
    pairs = RATES["write_pair"] * Config().doc2query.known_item.queries * 990_000  # all that grows without clusters
    assert (sampled.seconds or 0) - (small.seconds or 0) == pytest.approx(pairs, rel=0.05)
    assert 1.2 < (chunked.seconds or 0) / (full.seconds or 1) < 4 / 3
    assert full.memory > 2 * chunked.memory
    assert chunked.memory == sampled.memory


def test_every_stage_has_an_estimate() -> None:
    costs = estimate(Scale(Config(), DOCUMENTS, queries=100, speed=1e11))
    assert list(costs) == list(STAGES)
    assert (costs["model"].seconds or 0) > (costs["corpus"].seconds or 0) > 0
    assert costs["generator"].seconds == 0  # the default has none


def test_a_checkpoint_has_its_own_sizes(tmp_path: Path) -> None:
    DsiConfig(d_model=48, num_layers=2, d_ff=96, vocab_size=77).save_pretrained(tmp_path)
    sizes = backbone_sizes(Config().model.model_copy(update={"checkpoint": str(tmp_path)}), 100)
    assert (sizes["d_model"], sizes["num_layers"], sizes["vocab_size"], sizes["is_gated"]) == (48, 2, 77, False)
