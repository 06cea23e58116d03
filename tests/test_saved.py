"""Saved indexes: a round trip, the hub, folders from others that are damaged or mean harm, an old one."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import tiny_documents
from hub import TOKEN, Hub, stand_in
from safetensors.torch import load_file, save_file
from test_faults_python_api import together

import dsi
from dsi.cli import main
from dsi.corpus import known_item
from dsi.corpus.known_item import read_collection
from dsi.corpus.store import Corpus
from dsi.doc2query.shards import count_queries
from dsi.docids.store import Docids
from dsi.errors import DsiError
from dsi.index.card import warnings_of
from dsi.index.files import state_of
from dsi.index.growth import Growth
from dsi.index.hits import Hit, Hits
from dsi.index.row_strength import LONGEST, SHORTEST

DOCUMENTS = [document._replace(title=f"<script>{number}</script>") for number, document in enumerate(tiny_documents())]
QUERIES = [" ".join(document.text.split()[3:6]) for document in DOCUMENTS[::7]]
SMALL = {
    "tokenizer.vocabulary": 200,
    "doc2query.known_item.queries": 5,
    "model.d_model": 16,
    "model.d_kv": 4,
    "model.d_ff": 16,
    "training.steps": 3,
    "training.eval_steps": 3,
    "search.latency_queries": 0,
    "corpus.licence": "CC BY-NC 4.0",
}
TREE = {"docids.kind": "semantic", "docids.leaf_size": 8, "model.head": "hierarchical_softmax"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "index"
    dsi.build((document._asdict() for document in DOCUMENTS), folder, keys=SMALL)
    return folder


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree") / "index"
    dsi.build((document._asdict() for document in DOCUMENTS), folder, keys=SMALL | TREE)
    return folder


def in_fresh_process(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


SHOW = "print([[(hit.doc_id, hit.score, hit.title, hit.text) for hit in hits] for hits in index.search({queries!r})])"


def shown(folder: Path | str, **environment: str) -> str:
    """What a fresh process finds in an index."""
    return in_fresh_process(
        f"import dsi; index = dsi.load({str(folder)!r}); " + SHOW.format(queries=QUERIES), **environment
    )


def test_a_round_trip(saved: Path, tmp_path: Path) -> None:
    index = dsi.load(saved)
    found = [[(hit.doc_id, hit.score, hit.title, hit.text) for hit in hits] for hits in index.search(QUERIES)]
    index.save(tmp_path / "copy")
    assert shown(saved) == shown(tmp_path / "copy") == f"{found}\n"
    with pytest.raises(DsiError, match="exists already; name a new folder"):
        index.save(tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    assert 'dsi.load("copy")' in (tmp_path / "copy/README.md").read_text()
    changed = dsi.load(saved, beam=7, prior="none")
    changed.save(tmp_path / "plain")
    assert dsi.load(tmp_path / "plain").config.beam == 7
    assert not (tmp_path / "plain/lexical").exists()
    with pytest.raises(DsiError, match="saved without a prior"):
        dsi.load(tmp_path / "plain", prior="bm25")
    with pytest.raises(DsiError, match="the prior of this index is bm25, not bm25_doc2query"):
        dsi.load(saved, prior="bm25_doc2query")


def test_what_a_user_holds(saved: Path) -> None:
    index = dsi.load(saved)
    assert len(index) == len(index.documents) == len(DOCUMENTS)
    assert list(index.documents) == [document.doc_id for document in DOCUMENTS]
    assert index.documents["D70"] == DOCUMENTS[7]
    assert dict(index.documents) == dict(index.documents.items()) == {each.doc_id: each for each in DOCUMENTS}
    assert list(index.documents.values()) == DOCUMENTS
    assert "D71" not in index.documents
    with pytest.raises(KeyError, match="there is no document 'D71'"):
        index.documents["D71"]
    assert repr(index) == f"<dsi.Index of 60 documents, atomic docids, bm25, from {saved}>"
    hits = index.search(QUERIES[0], k=3)
    assert isinstance(hits, Hits)
    assert str(hits).count("\n") == 5
    assert all(hit.doc_id in str(hits) for hit in hits)
    page = hits._repr_html_()
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") == 3
    evil = Hits([Hit(1, "\x1b[31m", 0.5, "\x1b]0;x", "<img src=x onerror=alert(1)>")])
    assert "\x1b" not in str(evil) + evil._repr_html_()
    assert "<img" not in evil._repr_html_()


def test_the_report_that_is_saved_has_no_texts(saved: Path) -> None:
    text = (saved / "report/report.md").read_text()
    assert "## Cost" in text
    assert "](figures/" not in text
    assert not any(document.text[:20] in text for document in DOCUMENTS)


def test_without_documents(saved: Path, tmp_path: Path) -> None:
    assert main(["export", str(saved), str(tmp_path / "ids"), "--without-documents"]) == 0
    ids, whole = dsi.load(tmp_path / "ids"), dsi.load(saved)
    for query in QUERIES:
        assert [(hit.doc_id, hit.score) for hit in ids.search(query)] == [
            (hit.doc_id, hit.score) for hit in whole.search(query)
        ]
    assert ids.search(QUERIES[0])[0].text == ""
    assert not (tmp_path / "ids/growth").exists()
    text = DOCUMENTS[0].text.encode()
    assert not any(text in path.read_bytes() for path in (tmp_path / "ids").rglob("*") if path.is_file())
    assert "D0" in ids.documents
    assert list(ids.documents) == list(whole.documents)
    for read in (lambda: ids.documents["D0"], lambda: list(ids.documents.values())):
        with pytest.raises(DsiError, match="was saved without its documents; it has their ids only"):
            read()
    assert "60 documents, their ids only" in repr(ids)
    with pytest.raises(DsiError, match="was saved without its documents, which an explanation needs"):
        ids.explain(QUERIES[0], "D0")
    with pytest.raises(DsiError, match=r"save it with include_documents=False .--without-documents., too"):
        ids.save(tmp_path / "whole")
    ids.save(tmp_path / "again", include_documents=False)
    assert dsi.load(tmp_path / "again").search(QUERIES[0]) == ids.search(QUERIES[0])


def test_what_growing_needs(saved: Path, tree: Path) -> None:
    for folder, rows in ((saved, len(DOCUMENTS)), (tree, None)):
        tensors = load_file(folder / "growth/rows.safetensors")
        head = load_file(folder / "model/model.safetensors")["docid_head.weight"]
        assert rows in (None, len(head))
        of_documents = head if rows else head[Docids(folder / "docids").trie.leaf_of.astype(int)]
        np.testing.assert_allclose(tensors["row_centre"], of_documents.mean(dim=0), atol=1e-6)
        assert SHORTEST < float(tensors["row_length"]) < LONGEST
        assert tensors["state_centre"].shape == tensors["query_centre"].shape == (16,)
        settings = json.loads((folder / "growth/settings.json").read_text())
        assert (settings["training"]["steps"], settings["model"]["d_model"]) == (3, 16)
        assert (folder / "growth/embeddings").is_dir() == (folder == tree)
        generator = json.loads((folder / "growth/generator.json").read_text())
        assert (generator["known_item"]["queries"], generator["documents"]) == (5, 60)
        pq = pytest.importorskip("pyarrow.parquet")
        words = pq.read_table(folder / "growth/words.parquet")
        corpus = Corpus(folder / "corpus")
        expected = read_collection(corpus.contents(), len(corpus)).frequencies
        assert (expected[words["bin"].to_numpy()] == words["documents"].to_numpy()).all()
        assert words["documents"].to_numpy().sum() == expected.sum()
        assert count_queries(folder / "growth/replay.parquet") == 300
    assert (tree / "docids/centroids.npy").exists() or list((tree / "docids").glob("*centroid*"))


@pytest.mark.parametrize("most", [7, 60, 1_000])
def test_noise_of_later_queries_has_the_words_of_some_documents(
    saved: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """The same words that noise was drawn from at first, without reading all documents."""
    monkeypatch.setattr(known_item, "SAMPLED_DOCUMENTS", most)
    growth = Growth(saved / "growth", Corpus(saved / "corpus"))
    growth.drawn["known_item"]["noise"] = 0.5
    assert growth.known_item is not None
    expected = read_collection(growth.corpus.contents(), len(growth.corpus)).sample
    assert growth.known_item.collection.sample.equals(expected)


def test_the_card(saved: Path) -> None:
    text = (saved / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["library_name"] == "dsi"
    assert (front["license"], front["license_name"]) == ("other", "CC BY-NC 4.0")
    assert "**The licence of the corpus (CC BY-NC 4.0) forbids commercial use.**" in text
    assert "| dsi+bm25 |" in text
    assert "The corpus came without queries" in text
    assert not any(str(parent) in text for parent in saved.parents if len(parent.parts) > 2)
    assert warnings_of({"corpus": "not stated", "teacher": "apache-2.0"}) == []
    assert warnings_of({"teacher": "non-commercial research purposes only"})
    assert warnings_of({"teacher": "MS-PL, Academic use only"})


def test_the_card_of_a_distilled_index(tmp_path: Path) -> None:
    teacher = {"training.labels": "teacher", "teacher.kind": "bm25", "teacher.licence": "research purposes only"}
    dsi.build((document._asdict() for document in DOCUMENTS), tmp_path / "index", keys=SMALL | teacher)
    text = (tmp_path / "index/README.md").read_text()
    assert "distillation" in yaml.safe_load(text.split("---\n")[1])["tags"]
    assert "It learnt from the labels of the teacher BM25 (tantivy), licence: research purposes only" in text
    assert "**The licence of the teacher (research purposes only) forbids commercial use.**" in text


def resign(folder: Path) -> None:
    """Give the files of an index the hashes that they have, as someone would who means harm."""
    config = json.loads((folder / "config.json").read_text())
    config["files"] = {name: state_of(folder / name) for name in config["files"]}
    (folder / "config.json").write_text(json.dumps(config))


def edit(folder: Path, file: str, **changes: Any) -> None:
    values = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(values | changes))
    if file != "config.json":
        resign(folder)


def other_array(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    path = folder / "docids" / f"{name}.npy"
    np.save(path, change(np.load(path)))
    resign(folder)


def pickled(folder: Path) -> None:
    np.save(folder / "docids/codes.npy", np.array([{"a": 1}] * 60, dtype=object), allow_pickle=True)
    resign(folder)


def huge_array(folder: Path) -> None:
    path = folder / "docids/codes.npy"
    path.write_bytes(path.read_bytes().replace(b"(60, ", b"(6" + b"0" * 15 + b", ").replace(b" " * 15 + b"\n", b"\n"))
    resign(folder)


def huge_weights(folder: Path) -> None:
    edit(folder, "model/config.json", d_ff=10**9)


def many_layers(folder: Path) -> None:
    edit(folder, "model/config.json", num_layers=10**5)


def other_weights(folder: Path) -> None:
    path = folder / "model/model.safetensors"
    tensors = load_file(path)
    tensors["docid_head.weight"] = tensors["docid_head.weight"][:-1].contiguous()
    save_file(tensors, path, metadata={"format": "pt"})
    resign(folder)


def garbage(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        [path] = folder.glob(name)
        path.write_bytes(b"\xff\x00garbage" * 20)
        resign(folder)

    return change


def out_of_the_folder(folder: Path) -> None:
    (folder / "prior/prior.json").rename(folder.parent / "prior.json")
    (folder / "prior/prior.json").symlink_to(folder.parent / "prior.json")


def a_name_out_of_the_folder(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    edit(folder, "config.json", files={**config["files"], "../README.md": [1, "0"]})


HARMFUL: list[tuple[str, Callable[[Path], object], str]] = [
    ("saved", lambda folder: (folder / "model/evil.bin").write_bytes(b"x") and None, "model/evil.bin: no file of the"),
    ("saved", lambda folder: (folder / "evil.py").write_text("x") and None, "evil.py: no file of the index"),
    (
        "saved",
        lambda folder: (folder / "prior/prior.json").write_text("{}") and None,
        "prior.json: this file is damaged",
    ),
    ("saved", lambda folder: (folder / "prior/prior.json").unlink(), "prior.json: this file is missing"),
    ("saved", out_of_the_folder, "prior.json: a link out of the folder"),
    ("saved", a_name_out_of_the_folder, "README.md: this file is missing"),
    ("saved", pickled, "cannot be opened, .*Python objects"),
    ("saved", huge_array, "cannot be opened|not of the same documents"),
    ("saved", huge_weights, r"has weight .* of shape .* where its sizes in config.json ask for"),
    ("saved", many_layers, "says there are more layers than"),
    ("saved", other_weights, "has weight docid_head.weight of shape 59 x 16"),
    ("saved", lambda folder: other_array(folder, "codes", lambda codes: codes[:-1]), "corpus 60, docids 59"),
    ("saved", garbage("corpus/documents.arrow"), "cannot be opened"),
    ("saved", garbage("model/model.safetensors"), "is cut or damaged"),
    ("saved", garbage("tokenizer/tokenizer.json"), "cannot be opened"),
    ("saved", garbage("lexical/postings/*.term"), "cannot be opened"),
    ("saved", garbage("lexical/postings/meta.json"), "cannot be opened"),
    ("saved", garbage("prior/prior.json"), "cannot be opened"),
    ("saved", garbage("docids/vocabulary.json"), "cannot be opened"),
    ("saved", lambda folder: edit(folder, "prior/prior.json", weight=float("inf")), "cannot be opened"),
    ("saved", lambda folder: edit(folder, "config.json", format=2), "has format 2, and this version of dsi reads"),
    ("saved", lambda folder: edit(folder, "config.json", **{"class": "os.system"}), "no index of dsi, whose class"),
    ("saved", lambda folder: edit(folder, "config.json", documents=61), "config.json 61"),
    ("saved", lambda folder: edit(folder, "config.json", files=[]), "damaged: files, documents, include_documents"),
    ("saved", lambda folder: edit(folder, "config.json", search=None), "damaged: files, documents, include_documents"),
    ("saved", lambda folder: edit(folder, "config.json", include_documents="no"), "damaged: files, documents, incl"),
    ("saved", lambda folder: (folder / "config.json").write_text("[" * 10**5), "is not valid JSON"),
    ("saved", lambda folder: edit(folder, "config.json", search={"beam": "x"}), r"search\.beam"),
    (
        "tree",
        lambda folder: other_array(folder, "trie.first_child", lambda nodes: nodes * 0 + 2**31),
        "is no tree over",
    ),
    ("tree", lambda folder: other_array(folder, "trie.documents", lambda numbers: numbers * 0), "is no tree over"),
    ("tree", lambda folder: other_array(folder, "trie.level_start", lambda starts: starts[::-1]), "cannot be opened"),
]


@pytest.mark.parametrize("number", range(len(HARMFUL)))
def test_a_folder_from_others(request: pytest.FixtureRequest, tmp_path: Path, number: int) -> None:
    source, change, said = HARMFUL[number]
    shutil.copytree(request.getfixturevalue(source), tmp_path / "index")
    change(tmp_path / "index")
    with pytest.raises(DsiError, match=said):
        dsi.load(tmp_path / "index")


def test_no_code_of_a_folder_is_run(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "index")
    (tmp_path / "x.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w').close()\nclass Tok: pass\n")
    edit(
        tmp_path / "index",
        "tokenizer/tokenizer_config.json",
        auto_map={"AutoTokenizer": [f"{tmp_path}--x.Tok", None]},
        tokenizer_class="Tok",
    )
    with pytest.raises(DsiError, match=r"tokenizer_config.json: it names code of its own .auto_map., which is not run"):
        dsi.load(tmp_path / "index")
    script = f"from dsi.tokenizer import open_tokenizer; open_tokenizer({str(tmp_path / 'index/tokenizer')!r})"
    done = subprocess.run([sys.executable, "-c", script], input="y\ny\n", capture_output=True, text=True)
    assert done.returncode
    assert "[y/N]" not in done.stdout
    assert not (tmp_path / "run").exists()


def test_an_index_is_saved_as_it_was_opened(saved: Path, tree: Path, tmp_path: Path, monkeypatch: Any) -> None:
    for number, source in enumerate((saved, tree)):
        shutil.copytree(source, tmp_path / f"{number}/index")
    monkeypatch.chdir(tmp_path / "0")
    index = dsi.load("index")
    monkeypatch.chdir(tmp_path / "1")
    index.save("copy")
    assert dsi.load("copy").search(QUERIES) == index.search(QUERIES)
    shutil.rmtree(tmp_path / "0/index")
    shutil.copytree(tree, tmp_path / "0/index")
    with pytest.raises(DsiError, match="has changed since the index was opened; open it again"):
        index.save("other")
    assert not (tmp_path / "1/other").exists()
    shutil.rmtree(tmp_path / "0/index")
    with pytest.raises(DsiError, match="the index was opened there, and is gone"):
        index.save("other")
    assert sorted(path.name for path in (tmp_path / "1").iterdir()) == ["copy", "index"]


def test_what_looks_like_a_folder_in_the_making_stays(saved: Path, tmp_path: Path) -> None:
    for name in (".copy.old.partial", ".copy.partial", f".copy.{2**70}.x.partial"):
        (tmp_path / name).mkdir()
    dsi.load(saved).save(tmp_path / "copy")
    assert len(list(tmp_path.iterdir())) == 4


def test_of_several_that_save_one_does(saved: Path, tmp_path: Path) -> None:
    index, ended = dsi.load(saved), list[str]()

    def work() -> None:
        try:
            index.save(tmp_path / "copy")
            ended.append("saved")
        except DsiError as error:
            ended.append("exists" if "exists already" in str(error) else str(error))

    together(work, 4)
    assert sorted(ended) == ["exists"] * 3 + ["saved"]
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    assert dsi.load(tmp_path / "copy").search(QUERIES) == index.search(QUERIES)


def test_a_trie_is_checked(tree: Path) -> None:
    docids = Docids(tree / "docids")
    docids.trie.check(60)
    with pytest.raises(ValueError, match="is no tree over 61"):
        docids.trie.check(61)


def test_an_index_of_the_first_format_stays_loadable() -> None:
    folder = Path(__file__).parent / "data/index-format-1"
    index = dsi.load(folder)
    expected = json.loads((folder.parent / "index-format-1.hits.json").read_text())
    for query, hits in expected.items():
        found = index.search(query, k=len(hits))
        assert [hit.doc_id for hit in found] == [doc_id for doc_id, _ in hits]
        np.testing.assert_allclose([hit.score for hit in found], [score for _, score in hits], atol=1e-3)
    assert "nearest" in str(index.explain(next(iter(expected)), "d0"))


def test_several_threads_share_an_index(tree: Path) -> None:
    index, found, explained = dsi.load(tree), list[Any](), list[Any]()
    alone = [index.search(query) for query in QUERIES], str(index.explain(QUERIES[0], "D0"))

    def work() -> None:
        found.append([index.search(query) for query in QUERIES])
        explained.append(str(index.explain(QUERIES[0], "D0")))

    together(work, 6)
    assert (found, explained) == ([alone[0]] * 6, [alone[1]] * 6)


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with stand_in() as hub:
        yield hub


def test_the_hub(saved: Path, tmp_path: Path, hub: Hub) -> None:
    environment = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path), "HF_TOKEN": TOKEN}
    script = f"""
import os, dsi
print(dsi.load({str(saved)!r}).push_to_hub("someone/fish"))
index = dsi.load("someone/fish")
{SHOW.format(queries=QUERIES)}
index.push_to_hub("someone/ids", include_documents=False)
print(len(dsi.load("someone/ids")))
dsi.load({str(saved)!r}, prior="none").push_to_hub("someone/fish", private=False)
print(dsi.load("someone/fish").config.prior)
print(dsi.load("someone/fish", revision="{2:040x}").config.prior)
os.environ["HF_TOKEN"] = "wrong"
for call in (lambda: dsi.load("someone/none"), lambda: index.push_to_hub("a/b")):
    try:
        print(call())
    except dsi.DsiError as error:
        print(str(error).splitlines()[0])
"""
    address, found, ids, prior, prior_before, none, refused = in_fresh_process(script, **environment).splitlines()
    assert address == f"{hub.address}/someone/fish"
    assert f"{found}\n" == shown(saved)
    assert (ids, prior, prior_before) == ("60", "none", "bm25")
    assert none.startswith("someone/none: there is no such folder, and no index of that name can be had from the hub: ")
    assert refused.startswith("a/b: cannot be written on the hub: ")
    assert hub.private == {"someone/fish": True, "someone/ids": True}  # what is there stays private
    assert b'dsi.load("someone/fish")' in hub.files["someone/fish"]["README.md"]
    # what was pushed again took the place of what was there
    assert not any(name.startswith("lexical") for name in hub.files["someone/fish"])
    assert not any(name.startswith("growth") for name in hub.files["someone/ids"])
    offline = "import dsi; print(len(dsi.load('someone/fish')))"
    assert in_fresh_process(offline, **environment, HF_HUB_OFFLINE="1") == "60\n"


def test_what_is_no_name_of_a_repository(tmp_path: Path) -> None:
    for name in ("/no/where", str(tmp_path / "nowhere"), "nowhere"):
        with pytest.raises(DsiError, match="there is no such folder"):
            dsi.load(name)
    with pytest.raises(DsiError, match="revision='main' is for repositories of the hub"):
        dsi.load(tmp_path, revision="main")
