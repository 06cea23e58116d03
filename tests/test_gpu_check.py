"""The check of a graphics card, in small: on the CPU, with no packages but those of a bare machine."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
BARE = {"torch", "numpy", "transformers", "safetensors", "tokenizers", "regex", "tqdm", "PyYAML"}
"""Packages of a bare machine: four, and those that transformers needs."""
MODULES = {"ir-datasets": "ir_datasets", "ir-measures": "ir_measures", "scikit-learn": "sklearn"}
"""The modules of packages that have other names."""


def test_it_runs_on_a_bare_machine(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    needed = [*project["dependencies"], *(name for extra in extras for name in extra)]
    names = {re.match(r"[\w.-]+", name).group() for name in needed} - BARE  # type: ignore[union-attr]
    absent = sorted({MODULES.get(name, name.replace("-", "_")) for name in names} - {"dsi"})
    assert {"tantivy", "pyarrow", "pydantic", "sentencepiece"} <= set(absent)
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nsys.modules |= dict.fromkeys({absent})\n", encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/gpu_check.py"), "--small"],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *table, last = done.stdout.splitlines()
    assert last.endswith("failed=0")
    figures = dict(figure.split("=") for figure in last.split())
    assert {"step_s", "sampled_bfloat16", "beam5_1", "generate_over_ours_5", "samples_s"} <= set(figures)
    assert sum(line.startswith("oracle") for line in table) == 6
