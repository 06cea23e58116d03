"""Reading collections: every source and packing, what is left out and counted, nested subsets."""

import gzip
import io
import json
import tarfile
from array import array
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import ir_datasets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ir_datasets.formats import BaseDocs, BaseQrels, BaseQueries, GenericDoc, GenericQuery, TrecQrel

from dsi.config import CorpusConfig
from dsi.corpus import checks, docstrings
from dsi.corpus.checks import check_unique
from dsi.corpus.ingest import ingest
from dsi.corpus.source import Where
from dsi.corpus.store import Corpus, Document, Qrel, Query

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason=f"no real collections in {DATA}")

MSMARCO = {
    "collection.tsv": "d1\tone fish\nd2\ttwo fish\nd3\tred fish\nd4\tblue fish\n",
    "queries.train.tsv": "t1\tred\n",
    "qrels.train.tsv": "t1 0 d3 1\n",
    "queries.dev.tsv": "q1\tone\nq2\tnobody judged this\nq3\t  \n",
    "qrels.dev.tsv": "q1\t0\td1\t1\nq1\t0\td2\t0\nq3\t0\td2\t1\n",
    "queries.eval.tsv": "e1\tofficial, without judgements\n",
}


def write(folder: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return str(folder)


def run(out: Path, **config: Any) -> tuple[Corpus, dict[str, Any]]:
    out.mkdir(parents=True, exist_ok=True)
    counts = ingest(out, corpus=CorpusConfig(**config))
    return Corpus(out), counts


def ids(corpus: Corpus) -> list[str]:
    return [document.doc_id for document in corpus]


def pack(path: Path, files: dict[str, str], prefix: str = "") -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(prefix + name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))


# MS MARCO


def test_msmarco(tmp_path: Path) -> None:
    corpus, counts = run(tmp_path / "out", source="msmarco", path=write(tmp_path / "in", MSMARCO))
    assert corpus[0] == Document("d1", "", "one fish")
    assert ids(corpus) == ["d1", "d2", "d3", "d4"]
    assert corpus.splits == ["dev", "train"]
    assert corpus.queries("dev") == [Query("q1", "one")]
    assert corpus.qrels("dev") == [Qrel("q1", "d1", 1), Qrel("q1", "d2", 0)]
    dev = counts["splits"]["dev"]
    assert (dev["queries"], dev["queries_in_source"], dev["queries_without_judgement"]) == (1, 3, 1)
    assert (dev["empty_queries"], dev["qrels_of_empty_queries"], dev["qrels"], dev["qrels_in_source"]) == (1, 1, 2, 3)
    assert (counts["documents"], counts["documents_in_source"], counts["empty_documents"]) == (4, 4, 0)


@pytest.mark.parametrize("packing", ["gz", "archive in the folder", "archive alone", "archive with folders"])
def test_packed_files_read_like_plain_ones(tmp_path: Path, packing: str) -> None:
    plain, counts = run(tmp_path / "plain", source="msmarco", path=write(tmp_path / "in", MSMARCO))
    folder = tmp_path / "packed"
    folder.mkdir()
    path = folder
    if packing == "gz":
        for name, text in MSMARCO.items():
            (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    elif packing == "archive in the folder":
        collection = MSMARCO["collection.tsv"]
        pack(folder / "collection.tar.gz", {"collection.tsv": collection, "._collection.tsv": "not the collection"})
        write(folder, {name: text for name, text in MSMARCO.items() if name != "collection.tsv"})
    else:
        path = folder / "collectionandqueries.tar.gz"
        pack(path, MSMARCO, prefix="./msmarco/" if packing == "archive with folders" else "")
    packed, packed_counts = run(tmp_path / "out", source="msmarco", path=str(path))
    assert packed_counts == counts
    assert list(packed) == list(plain)
    assert packed.queries("dev") == plain.queries("dev")


def test_lines_end_with_line_feeds_only(tmp_path: Path) -> None:
    separators = "a\x0bb\x0c\x1c\x1d\x1e\x85\u2028\u2029\rc"
    files = {"collection.tsv": f"\ufeffd1\t{separators}\r\n\r\nd2\tlast, without line end"}
    corpus, _ = run(tmp_path / "out", source="msmarco", path=write(tmp_path / "in", files))
    assert list(corpus) == [Document("d1", "", separators), Document("d2", "", "last, without line end")]


def test_named_splits_come_beside_the_usual_ones(tmp_path: Path) -> None:
    files = {name.replace("dev", "dev.small"): text for name, text in MSMARCO.items()}
    files |= {"queries.dev.tsv": "not\tread, because dev is dev.small\n"}
    path = write(tmp_path / "in", files)
    corpus, _ = run(tmp_path / "out", source="msmarco", path=path, splits={"dev": "dev.small", "again": "dev.small"})
    assert corpus.splits == ["again", "dev", "train"]
    assert corpus.queries("again") == corpus.queries("dev") == [Query("q1", "one")]


# BEIR


def test_beir(tmp_path: Path) -> None:
    records = [
        {"_id": "a", "title": "Fish", "text": "swims"},
        {"_id": "b", "title": None, "text": "only text"},
        {"_id": "c", "title": "only title", "text": "", "metadata": {}},
        {"_id": "e", "title": " ", "text": "\n"},
    ]
    files = {
        "queries.jsonl": '{"_id": "1", "text": "of test"}\n{"_id": "2", "text": "of train"}\n',
        "qrels/test.tsv": "query-id\tcorpus-id\tscore\n1\ta\t2\n1\tb\t1\n",
        "qrels/train.tsv": "query-id\tcorpus-id\tscore\n2\tc\t1\n",
    }
    folder = tmp_path / "in"
    write(folder, files)
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, records)).encode()))
    corpus, counts = run(tmp_path / "out", source="beir", path=str(folder))
    assert [document.content() for document in corpus] == ["Fish swims", "only text", "only title"]
    assert corpus.queries("test") == [Query("1", "of test")]
    assert corpus.qrels("test") == [Qrel("1", "a", 2), Qrel("1", "b", 1)]
    assert corpus.queries("train") == [Query("2", "of train")]
    assert counts["splits"]["test"]["queries_without_judgement"] == 0
    assert counts["empty_documents"] == 1


# ir_datasets


class TitledDoc(GenericDoc):
    title = "Fish"

    def default_text(self) -> str:
        return f"{self.title} {self.text}"


class UntitledDoc(GenericDoc):
    title = "Fish"


class Docs(BaseDocs):
    def docs_iter(self) -> Iterator[GenericDoc]:
        return iter([GenericDoc("a", "no title"), TitledDoc("b", "swims"), UntitledDoc("c", "Fishing")])


class Queries(BaseQueries):
    def queries_iter(self) -> Iterator[GenericQuery]:
        return iter([GenericQuery("1", "what swims"), GenericQuery("2", "unjudged")])


class Qrels(BaseQrels):
    def qrels_iter(self) -> Iterator[TrecQrel]:
        return iter([TrecQrel("1", "b", 3, "0")])


def test_ir_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = {
        "toy": ir_datasets.Dataset(Docs()),
        "toy/dev": ir_datasets.Dataset(Docs(), Queries(), Qrels()),
    }
    monkeypatch.setattr(ir_datasets, "load", catalogue.__getitem__)
    corpus, counts = run(tmp_path, source="ir_datasets", dataset="toy", splits={"dev": "toy/dev"})
    assert list(corpus) == [
        Document("a", "", "no title"),
        Document("b", "Fish", "swims"),
        Document("c", "Fish", "Fishing"),
    ]
    assert corpus.queries("dev") == [Query("1", "what swims")]
    assert corpus.qrels("dev") == [Qrel("1", "b", 3)]
    assert counts["splits"]["dev"]["queries_without_judgement"] == 1


# Documentation


def test_docstrings_are_shared_out_between_dev_and_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [(Document(f"module.f{i}", f"module.f{i}", "The backbone."), f"Summary {i}") for i in range(400)]
    monkeypatch.setattr(docstrings, "records", lambda packages: iter(records))
    corpus, counts = run(tmp_path, source="pydoc")
    assert list(corpus) == [document for document, _ in records]
    queries = {split: corpus.queries(split) for split in corpus.splits}
    assert sorted(queries) == ["dev", "test"]
    assert sorted(queries["dev"] + queries["test"]) == sorted(Query(d.doc_id, summary) for d, summary in records)
    assert 150 < len(queries["dev"]) < 250
    assert corpus.qrels("test") == [Qrel(query.query_id, query.query_id, 1) for query in queries["test"]]
    # The list must stay what it is, or results on it cannot be compared.
    assert queries["dev"][0].query_id == "module.f1"
    assert counts["splits"]["dev"]["queries"] == len(queries["dev"])


# What is left out


def test_unknown_ids_up_to_the_tolerated_share_are_dropped(tmp_path: Path) -> None:
    files = MSMARCO | {
        "collection.tsv": MSMARCO["collection.tsv"] + "d5\t \n",
        "queries.dev.tsv": "q1\tone\nq2\ttwo\n",
        "qrels.dev.tsv": "q1 0 d1 1\nq1 0 d1 1\nq1 0 nowhere 1\nq2 0 d5 1\nnobody 0 d1 1\n",
    }
    path = write(tmp_path / "in", files)
    corpus, counts = run(tmp_path / "out", source="msmarco", path=path, max_unknown=0.75)
    assert corpus.queries("dev") == [Query("q1", "one")]
    assert corpus.qrels("dev") == [Qrel("q1", "d1", 1)]
    dev = counts["splits"]["dev"]
    assert (dev["unknown_documents"], dev["unknown_queries"], dev["repeated_qrels"]) == (2, 1, 1)
    assert (dev["queries_in_source"], dev["queries_without_judgement"]) == (2, 1)
    assert counts["empty_documents"] == 1


def test_equal_hashes_of_different_ids_are_no_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "id_hash", lambda identifier, seed: 7)
    places = [(Where("file", line), f"d{line}") for line in range(1, 4)]
    check_unique("document", array("Q", [7, 7, 7]), places, seed=0)


# Subsets

WORDS = [f"d{i}\ttext {i}" for i in range(60)]
SUBSETS = {
    "collection.tsv": "\n".join([*WORDS[:30], "empty\t", *WORDS[30:]]),
    "queries.train.tsv": "\n".join(f"t{i}\tquery" for i in range(10, 30)),
    "qrels.train.tsv": "\n".join(f"t{i} 0 d{i} 1" for i in range(10, 30)),
    "queries.dev.tsv": "q1\tquery\nq2\tquery",
    "qrels.dev.tsv": "q1 0 d7 1\nq1 0 d50 0\nq2 0 d10 2",
    "queries.test.tsv": "q3\tquery",
    "qrels.test.tsv": "q3 0 d59 1",
}
JUDGED = ["d7", "d10", "d50", "d59"]


@pytest.fixture(scope="module")
def subsets(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("subsets")
    path = write(root / "in", SUBSETS)

    def subset(size: int | None, seed: int = 0, queries: int | None = None) -> tuple[Corpus, dict[str, Any]]:
        options = {"size": size, "seed": seed, "evaluation_queries": queries}
        return run(root / f"{size}-{seed}-{queries}", source="msmarco", path=path, **options)

    return subset


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(small=st.integers(4, 70), large=st.integers(4, 70), seed=st.integers(0, 2))
def test_subsets_are_nested_and_keep_judged_documents(subsets: Any, small: int, large: int, seed: int) -> None:
    small, large = sorted((small, large))
    inner, outer = ids(subsets(small, seed)[0]), ids(subsets(large, seed)[0])
    everything = ids(subsets(None, seed)[0])
    assert len(inner) == min(small, 60)
    assert set(JUDGED) <= set(inner) <= set(outer) <= set(everything)
    assert inner == [doc_id for doc_id in everything if doc_id in set(inner)]  # the order of the source


def test_training_documents_come_before_the_rest(subsets: Any) -> None:
    training = {f"d{i}" for i in range(10, 30)}
    assert set(ids(subsets(12)[0])) <= training | set(JUDGED)
    assert set(ids(subsets(40)[0])) >= training | set(JUDGED)


def test_seed_decides_which_documents(subsets: Any) -> None:
    assert ids(subsets(40, seed=0)[0]) != ids(subsets(40, seed=1)[0])
    assert ids(subsets(40, seed=0)[0]) == ids(subsets(40, seed=0)[0])


def test_training_queries_outside_the_subset_are_counted_not_unknown(subsets: Any) -> None:
    corpus, counts = subsets(4)
    # d10 is judged for dev and for train.
    assert corpus.queries("train") == [Query("t10", "query")]
    train = counts["splits"]["train"]
    assert (train["queries"], train["queries_outside_subset"], train["qrels_outside_subset"]) == (1, 19, 19)
    assert train["unknown_documents"] == train["queries_without_judgement"] == 0
    assert (counts["documents"], counts["documents_in_source"], counts["empty_documents"]) == (4, 61, 1)
    assert counts["splits"]["dev"]["qrels"] == 3


def test_training_split_may_fall_out_of_the_subset(tmp_path: Path) -> None:
    corpus, _ = run(tmp_path / "out", source="msmarco", path=write(tmp_path / "in", MSMARCO), size=2)
    assert corpus.queries("train") == []
    assert corpus.qrels("train") == []


def test_a_small_subset_with_fewer_queries(subsets: Any) -> None:
    everything, _ = subsets(None)
    corpus, counts = subsets(3, queries=1)
    assert corpus.queries("dev") == everything.queries("dev")[:1]
    assert {qrel.query_id for qrel in corpus.qrels("dev")} == {corpus.queries("dev")[0].query_id}
    dev = counts["splits"]["dev"]
    assert dev["queries_left_out"] == len(everything.queries("dev")) - 1
    assert dev["unknown_queries"] == dev["qrels_outside_subset"] == 0


def test_hash_of_the_document_list(subsets: Any) -> None:
    corpus, counts = subsets(20)
    assert counts["documents_sha256"] == sha256("\n".join(ids(corpus)).encode()).hexdigest()


# Real collections


@needs_data
def test_real_passages(tmp_path: Path) -> None:
    config = {"source": "msmarco", "path": str(DATA / "msmarco-36k"), "splits": {"dl19": "dl19"}, "size": 6_000}
    corpus, counts = run(tmp_path, **config)
    assert (len(corpus), counts["documents_in_source"]) == (6_000, 36_594)
    kept = set(ids(corpus))
    for split, queries in (("dev", 1_590), ("dl19", 43)):
        assert len(corpus.queries(split)) == queries
        assert {qrel.doc_id for qrel in corpus.qrels(split)} <= kept
    assert counts["splits"]["train"]["qrels"] + counts["splits"]["train"]["qrels_outside_subset"] == 3_000


@needs_data
def test_real_beir_folder(tmp_path: Path) -> None:
    corpus, counts = run(tmp_path, source="beir", path=str(DATA / "squad-dev"))
    assert (len(corpus), corpus.splits) == (2_067, ["test", "train"])
    assert {split: values["queries"] for split, values in counts["splits"].items()} == {"train": 8_051, "test": 2_519}
    assert corpus[0].title == "Super Bowl 50"
