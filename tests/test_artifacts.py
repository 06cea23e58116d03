"""Stage folders: whole or absent, reused when nothing they depend on has changed."""

import time
from pathlib import Path
from typing import Any

import pytest

from dsi.artifacts import Store, link, read_manifest
from dsi.config import Config
from dsi.pipeline import STAGES, Run


def test_a_stage_is_made_once_and_only_published_whole(tmp_path: Path) -> None:
    store, made = Store(tmp_path), []

    def make(out: Path) -> dict[str, Any]:
        made.append(sorted(path.name for path in out.iterdir() if path.is_file()))
        (out / "first").touch()
        if len(made) == 1:
            raise RuntimeError("killed")
        return {"documents": 3}

    with pytest.raises(RuntimeError):
        store.build("corpus", {"a": 1}, make)
    assert not [path for path in store.folder.iterdir() if path.is_dir() and path.suffix != ".partial"]
    folder = store.build("corpus", {"a": 1}, make)
    assert made == [[], ["first"]]  # the second start found what the first one left
    assert store.build("corpus", {"a": 1}, make) == folder
    assert len(made) == 2
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest["counts"] == {"documents": 3}
    assert manifest["inputs"] == {"a": 1}
    assert store.build("corpus", {"a": 2}, make) != folder


def test_the_time_of_a_stage_is_that_of_all_its_starts(tmp_path: Path) -> None:
    store, starts = Store(tmp_path), []

    def make(out: Path) -> dict[str, Any]:
        starts.append(out)
        time.sleep(0.2)
        (out / f"shard-{len(starts)}").touch()
        if len(starts) < 3:
            raise RuntimeError("killed")
        return {}

    for _ in range(2):
        with pytest.raises(RuntimeError):
            store.build("corpus", {"a": 1}, make)
    manifest = read_manifest(store.build("corpus", {"a": 1}, make))
    assert manifest is not None
    assert 0.6 <= manifest["seconds"] < 60


def test_links_are_replaced(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / ".store" / name).mkdir(parents=True)
        link(tmp_path / ".store" / name, tmp_path / "run" / "corpus")
        assert (tmp_path / "run" / "corpus").resolve() == (tmp_path / ".store" / name).resolve()


def changed_by(**sections: Any) -> set[str]:
    """Stages whose fingerprint differs from the default experiment's."""

    def inputs(config: Config) -> dict[str, Any]:
        return {name: Run(config, "x").inputs(stage) for name, stage in STAGES.items()}

    before, after = inputs(Config()), inputs(Config.model_validate(sections))
    return {name for name in STAGES if before[name] != after[name]}


def test_a_change_repeats_what_depends_on_it_and_nothing_else() -> None:
    after_search = {"search", "evaluation", "report"}
    assert changed_by(search={"beam": 20}) == after_search
    assert changed_by(evaluation={"measures": ["RR"]}) == {"evaluation", "report"}
    assert changed_by(evaluation={"split": "dev"}) == after_search | {"baselines"}
    assert changed_by(training={"steps": 5}) == after_search | {"model"}
    assert changed_by(docids={"kind": "naive"}) == after_search | {"docids", "model"}
    assert changed_by(doc2query={"seed": 1}) == after_search | {"doc2query", "model"}
    assert changed_by(corpus={"size": 5}) == set(STAGES)
