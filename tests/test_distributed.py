"""Training on two processes (gloo) as on one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import run_processes, write_msmarco_folder

from dsi.cli import main

CONFIG = """
corpus: {{source: msmarco, path: {data}}}
tokenizer: {{vocabulary: 300}}
doc2query: {{known_item: {{queries: 20}}, shard_size: 10}}
docids: {{kind: semantic_2d, clusters: 4, leaf_size: 8}}
model: {{d_model: 32, d_kv: 8, d_ff: 32, head: {head}}}
training:
  {{steps: 12, batch_size: 16, accumulation: {accumulation}, eval_steps: 2, warmup_steps: 2}}
"""


@pytest.mark.parametrize("head", ["tree", "pawa"])
def test_two_processes_learn_as_one(tmp_path: Path, head: str) -> None:
    write_msmarco_folder(tmp_path / "data")
    curves = []
    for processes, accumulation in ((1, 1), (2, 2)):
        config = tmp_path / "c.yaml"
        config.write_text(CONFIG.format(data=tmp_path / "data", head=head, accumulation=accumulation))
        options = [str(config), "--runs", str(tmp_path / f"runs{processes}")]
        for verb in ("ingest", "tokenize", "expand", "assign"):
            assert main([verb, *options]) == 0
        run_processes(processes, ["train", *options])
        curve = tmp_path / f"runs{processes}" / "c" / "model" / "dev_curve.tsv"
        curves.append(np.genfromtxt(curve, names=True, delimiter="\t"))
    one, two = curves
    np.testing.assert_allclose(one["loss"], two["loss"], rtol=1e-5)  # sums of halves round differently
    np.testing.assert_array_equal(one["RR10"], two["RR10"])
