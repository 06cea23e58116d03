"""Stage folders: whole or absent, reused when nothing they depend on has changed."""

import json
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import dsi
from dsi.artifacts import FORMAT, Store, check_files, link, read_manifest
from dsi.config import Config
from dsi.errors import DsiError
from dsi.index.run import stages
from dsi.pipeline import STAGES, Run, make_rules


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
    assert 0.55 <= manifest["seconds"] < 60
    assert abs(date.fromisoformat(manifest["date"]) - datetime.now(UTC).date()) <= timedelta(days=1)


def test_links_are_replaced(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / ".store" / name).mkdir(parents=True)
        link(tmp_path / ".store" / name, tmp_path / "run" / "corpus")
        assert (tmp_path / "run" / "corpus").resolve() == (tmp_path / ".store" / name).resolve()


def changed_by(base: dict[str, Any] | None = None, **sections: Any) -> set[str]:
    """Stages whose fingerprint differs from those of the experiment `base`, by default the default one."""

    def inputs(config: Config) -> dict[str, Any]:
        return {name: Run(config, "x").inputs(stage) for name, stage in STAGES.items()}

    values = base or {}
    changed = {key: {**values.get(key, {}), **section} for key, section in sections.items()}
    before, after = inputs(Config.model_validate(values)), inputs(Config.model_validate({**values, **changed}))
    return {name for name in STAGES if before[name] != after[name]}


def test_a_change_repeats_what_depends_on_it_and_nothing_else() -> None:
    after_search = {"search", "evaluation", "report"}
    assert changed_by(search={"beam": 20}) == after_search
    assert changed_by(evaluation={"measures": ["RR"]}) == {"evaluation", "report"}
    assert changed_by(evaluation={"split": "dev"}) == after_search | {"baselines"}
    assert changed_by(training={"steps": 5}) == after_search | {"model"}
    assert changed_by(docids={"kind": "naive"}) == after_search | {"docids", "model"}
    assert changed_by(docids={"kind": "semantic"}) == after_search | {"embeddings", "docids", "model"}
    assert changed_by({"docids": {"kind": "semantic"}}, docids={"kind": "residual"}) == after_search | {
        "docids",
        "model",
    }
    assert changed_by(doc2query={"seed": 1}) == after_search | {"doc2query", "model"}
    assert changed_by(embeddings={"seed": 1}) == set()  # atomic docids need none
    assert changed_by(corpus={"size": 5}) == set(STAGES) - {
        "generator",
        "embeddings",
        "lexical",
        "lexical_doc2query",
        "teacher",
        "prior",
        "encoder",
    }  # nobody asks for these


EVERY_STAGE: dict[str, Any] = {
    "generator": {"checkpoint": None, "steps": 5},
    "doc2query": {"t5": {"queries": 1}},
    "embeddings": {"kind": "document_states"},
    "docids": {"kind": "semantic"},
    "training": {"labels": "teacher"},
    "search": {"prior": "bm25_doc2query"},
    "baselines": {"systems": ["bm25", "bm25_doc2query", "dual_encoder"]},
}
CHANGES: dict[str, dict[str, Any]] = {
    "corpus": {"corpus": {"seed": 1}},
    "tokenizer": {"tokenizer": {"vocabulary": 99}},
    "generator": {"generator": {"seed": 1}},
    "doc2query": {"doc2query": {"seed": 1}},
    "embeddings": {"embeddings": {"seed": 1}},
    "docids": {"docids": {"seed": 1}},
    "teacher": {"teacher": {"documents": 9}},
    "model": {"training": {"seed": 1}},
    "prior": {"search": {"prior_documents": 9}},
    "search": {"search": {"batch_size": 1}},
    "encoder": {"encoder": {"seed": 1}},
    "baselines": {"baselines": {"depth": 1}},
    "evaluation": {"evaluation": {"measures": ["RR"]}},
    "report": {"report": {"published": "nq-100k"}},
}


@pytest.mark.parametrize("changed", CHANGES)  # lexical and lexical_doc2query have no key of their own
def test_every_stage_is_followed_by_those_that_read_it(changed: str) -> None:
    run = Run(Config.model_validate(EVERY_STAGE), "x")
    following = {changed}
    for name, stage in STAGES.items():  # inputs come before the stages that read them
        if following & {upstream.name for upstream in run.reads(stage)}:
            following.add(name)
    assert changed_by(EVERY_STAGE, **CHANGES[changed]) == following


def test_dense_retrieval_takes_the_embeddings_of_its_own_model() -> None:
    dense = {"systems": ["dense"], "dense_model": "some/encoder"}

    def reads(**embeddings: Any) -> set[str]:
        config = Config.model_validate({"baselines": dense, "embeddings": embeddings})
        return {stage.name for stage in Run(config, "x").reads(STAGES["baselines"])}

    assert reads(kind="sentence_transformers", model="some/encoder") == {"corpus", "embeddings"}
    assert reads(kind="sentence_transformers", model="other/encoder") == reads() == {"corpus"}


def test_the_teacher_that_answers_searches_what_is_its_own() -> None:
    for kind, own in (("bm25", "lexical"), ("bi_encoder", "teacher")):
        config = Config.model_validate(
            {
                "training": {"labels": "teacher"},
                "teacher": {"kind": kind},
                "search": {"prior": "bm25"},  # which has the words indexed for any teacher
                "baselines": {"systems": ["teacher"]},
            }
        )
        read = {stage.name for stage in Run(config, "x").reads(STAGES["baselines"])}
        assert read & {"lexical", "embeddings"} == {own} - {"teacher"}


def test_the_makefile_follows_the_table() -> None:
    written = Path(__file__).parents[1] / "scripts/stages.mk"
    assert written.read_text() == make_rules(), "run `make stages`"


def test_an_index_is_what_search_reads() -> None:
    for prior in ("none", "bm25", "bm25_doc2query"):
        config = Config.model_validate({"search": {"prior": prior}})
        read = {stage.name for stage in Run(config, "x").reads(STAGES["search"])}
        assert read == {*stages(config.search)}


def test_folders_of_another_format_are_made_again_or_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.build("corpus", {"a": 1}, lambda out: {"documents": 3})
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["format"] == FORMAT
    assert set(manifest["machine"]) >= {"cpu", "instruction_set", "threads"}
    del manifest["format"]  # as the first format was
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DsiError, match=rf"corpus-\w+: this folder has format 1, .* reads format {FORMAT}"):
        read_manifest(folder)
    for stage in STAGES:
        (tmp_path / "run" / stage).mkdir(parents=True)
        (tmp_path / "run" / stage / "manifest.json").write_text(json.dumps({"stage": stage, "counts": {}}))
    with pytest.raises(DsiError, match="run/corpus: this folder has format 1"):
        dsi.load(tmp_path / "run")
    assert all(inputs["format"] == FORMAT for inputs in map(Run(Config(), "x").inputs, STAGES.values()))


def test_a_damaged_folder_is_named_and_a_damaged_manifest_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def make(out: Path) -> dict[str, Any]:
        (out / "deep").mkdir(exist_ok=True)
        (out / "deep/codes.npy").write_bytes(b"0123456789")
        (out / "README.md").write_text("a model card\n")
        return {"documents": 3}

    folder = store.build("docids", {"a": 1}, make)
    check_files(folder)
    (folder / "README.md").write_text("a better model card\n")
    check_files(folder)
    for damage in (b"0123456780", b"01234", None):
        (folder / "deep/codes.npy").unlink()
        if damage is not None:
            (folder / "deep/codes.npy").write_bytes(damage)
        with pytest.raises(DsiError, match=r"codes\.npy: this file is (damaged|missing); remove .*docids-\w+ and give"):
            check_files(folder)
    manifest = (folder / "manifest.json").read_text()
    for text in (manifest.replace('"documents": 3', '"documents": 4'), manifest[:50], "", "[]", "[" * 100_000, "\0"):
        (folder / "manifest.json").write_text(text)
        assert read_manifest(folder) is None
        with pytest.raises(DsiError, match="not a finished stage"):
            check_files(folder)
    assert store.build("docids", {"a": 1}, make) == folder  # made again
    check_files(folder)
