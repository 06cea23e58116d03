"""The source `documents`: every format and form of a text of one's own, queries that are simulated, faulty input."""

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import tiny_documents
from hypothesis import given
from hypothesis import strategies as st

from dsi.config import CorpusConfig, KnownItemConfig, load_config
from dsi.corpus.ingest import check, ingest, open_source, splits_of
from dsi.corpus.records import documents_of, split
from dsi.corpus.source import Where
from dsi.corpus.store import Corpus, Document
from dsi.errors import DsiError
from dsi.estimate import count_documents
from dsi.from_documents.given import write_documents, write_qrels, write_queries
from dsi.pipeline import STAGES, Run

TEXTS = [document._replace(text=f'{document.text} "quoted", and') for document in tiny_documents(12)]


def read(path: Path, **keys: Any) -> list[Document]:
    source = open_source(CorpusConfig(source="documents", path=str(path), **keys))
    return [document for _, document in source.documents()]


def write_jsonl(path: Path, documents: list[Document]) -> None:
    path.write_text("".join(json.dumps(document._asdict()) + "\n" for document in documents))


def write_csv(path: Path, documents: list[Document]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([Document._fields, *documents])


def write_tsv(path: Path, documents: list[Document]) -> None:
    path.write_text("".join("\t".join(row) + "\n" for row in [Document._fields, *documents]))


def write_parquet(path: Path, documents: list[Document]) -> None:
    pq.write_table(pa.table(dict(zip(Document._fields, zip(*documents, strict=True), strict=True))), path)


FORMATS: dict[str, Callable[[Path, list[Document]], None]] = {
    "jsonl": write_jsonl,
    "csv": write_csv,
    "tsv": write_tsv,
    "parquet": write_parquet,
}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_documents(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"texts.{form}"
    FORMATS[form](path, TEXTS)
    assert read(path) == TEXTS
    if form != "parquet":
        for ending, codec in ((".gz", "gzip"), (".zst", "zstd")):
            packed = tmp_path / f"texts.{form}{ending}"
            with pa.CompressedOutputStream(pa.OSFile(str(packed), "wb"), codec) as stream:
                stream.write(path.read_bytes())
            assert read(packed) == TEXTS
            packed.write_bytes(packed.read_bytes()[:-20])
            with pytest.raises(DsiError, match=r"texts\.\w+\.\w+: cannot be read"):
                read(packed)
    (tmp_path / "parts").mkdir()
    for part in range(3):
        FORMATS[form](tmp_path / f"parts/part-{part}.{form}", TEXTS[4 * part : 4 * part + 4])
    assert read(tmp_path / "parts") == TEXTS
    assert count_documents(CorpusConfig(source="documents", path=str(path))) == len(TEXTS)


def test_a_field_of_a_csv_may_have_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text('\n\nID, Text\n1,"one\n\ntwo"\n\n2,three\n')
    assert [document.text for document in read(path)] == ["one\n\ntwo", "three"]


def test_a_folder_of_text_files(tmp_path: Path) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/er/my notes.md").write_text("# On fish #\n\nThey swim.\n\n## Food\n\nThey eat.\n")
    (tmp_path / "a.txt").write_text("One.\r\n\r\nTwo.\n\n\n")
    (tmp_path / ".hidden.txt").write_text("not read")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"packed"))
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    whole = read(tmp_path)
    assert [document.doc_id for document in whole] == ["a.txt", "b.txt", "deep/er/my%20notes.md"]
    assert [document.title for document in whole] == ["a", "b", "On fish"]
    assert [document.text for document in read(tmp_path, passages="paragraph")] == [
        "One.",
        "Two.",
        "packed",
        "# On fish #\nThey swim.",
        "## Food\nThey eat.",
    ]
    (tmp_path / "c.jsonl").write_text("{}\n")
    with pytest.raises(DsiError, match=r"holds files of several formats \(text, \.jsonl\); name one file"):
        read(tmp_path)


@given(st.lists(st.text(alphabet="ab #.\n", max_size=12), max_size=6))
def test_paragraphs_keep_every_word(blocks: list[str]) -> None:
    document = Document("d", "t", "\n\n".join(blocks))
    parts = list(split(document))
    assert " ".join(part.text for part in parts).split() == document.text.split()
    if not document.text.strip():
        assert parts == [document]
        return
    assert [part.doc_id for part in parts] == [f"d#{number}" for number in range(1, len(parts) + 1)]
    assert all(part.text.strip() and part.title == "t" for part in parts)


def test_forms_of_a_document() -> None:
    records: list[Any] = [
        ("a", "text"),
        [7, "text"],
        {"_id": np.int64(8), "contents": "text", "title": None},
        {"doc_id": "b", "id": "other", "title": "only a title"},
    ]
    found = [document for _, document in documents_of((Where("x", 1), record) for record in records)]
    assert [document.doc_id for document in found] == ["a", "7", "8", "b"]
    assert [document.content() for document in found] == ["text", "text", "text", "only a title"]


WRONG: list[tuple[list[Any], str]] = [
    ([], "documents: there are none"),
    ([None], r"documents, document 1: a document is a text, a pair .* found NoneType None"),
    (["a", 3], r"documents, document 2: a document is a text, .* found int 3"),
    (["a", ("1", "b")], "documents, document 2: this document has an id, and those before have none"),
    ([("1", "a"), "b"], "documents, document 2: this document has no id, and those before have"),
    ([("1", None)], "documents, document 1: the text must be a string, found NoneType"),
    ([(None, "a")], "documents, document 1: the id of this pair is None"),
    ([{"id": "1", "text": None}], "documents, document 1: this document has no text; .* are the keys id, text"),
    ([{"body": "a"}], "documents, document 1: this document has no text; .* are the keys body"),
    ([{"id": True, "text": "a"}], "documents, document 1: an id is a string or a whole number, found bool True"),
    ([{"id": 1.5, "text": "a"}], "an id is a string or a whole number, found float"),
    ([{"id": "a b", "text": "a"}], "document id 'a b' contains white space"),
    ([("1", "a"), ("2", "b"), ("1", "c")], r"documents, document 3: document id '1' is used already: documents, docum"),
    (["half \ud800"], "half of a surrogate pair"),
]


@pytest.mark.parametrize(("documents", "said"), WRONG)
def test_faulty_documents_are_named_and_nothing_is_written(tmp_path: Path, documents: list[Any], said: str) -> None:
    with pytest.raises(DsiError, match=said):
        write_documents(tmp_path / "documents.jsonl", iter(documents))
    assert not list(tmp_path.iterdir())


def test_an_iterator_that_fails_midway(tmp_path: Path) -> None:
    def texts() -> Iterator[str]:
        yield from ("a", "b")
        raise RuntimeError("the connection was lost")

    with pytest.raises(
        DsiError, match=r"documents: the iterator failed after 2: RuntimeError: the connection"
    ) as error:
        write_documents(tmp_path / "documents.jsonl", texts())
    assert isinstance(error.value.__cause__, RuntimeError)
    assert not list(tmp_path.iterdir())
    for wrong in ("a text", b"a text", {"a": "text"}, 7):
        with pytest.raises(DsiError, match="documents: expected a list of them or a path, found"):
            write_documents(tmp_path / "documents.jsonl", wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", "{}\n", "a.jsonl, line 1: this document has no text; .* found are the keys .none"),
        ("a.jsonl", "[1]\n", "a.jsonl, line 1: expected a JSON object"),
        ("a.csv", "id,text\n1,a,b\n", r"a.csv, line 2: 3 fields, where the header has 2: id, text"),
        ("a.csv", "id;text\n1;a\n", "a.csv: its columns are divided by ';'; write them as .csv with commas"),
        ("a.csv", "id,text, Text\n1,a,b\n", "a.csv: the header has 'text' twice"),
        ("a.csv", 'id,text\n1,"a\n', r"a.csv, line \d: not a table of this kind"),
        ("a.tsv", "id\ttext\n1\n", "a.tsv, line 2: 1 fields, where the header has 2"),
        ("a.parquet", "no table", "a.parquet: cannot be read after row 0"),
        ("a.docx", "PK", r"a.docx: unknown format; names of files end in \.jsonl"),
        ("a.txt", "\xff\xfe", "not UTF-8|UTF-16"),
    ],
)
def test_faulty_files(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(DsiError, match=said):
        check(CorpusConfig(source="documents", path=str(tmp_path / name)))


def test_a_dataset_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [document._asdict() for document in TEXTS]

    def load_dataset(name: str, split: str) -> Any:
        assert split == "train"
        if name != "someone/texts":
            raise ConnectionError("no such dataset")
        return datasets.Dataset.from_list(rows)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    source = open_source(CorpusConfig(source="documents", dataset="someone/texts"))
    assert [document for _, document in source.documents()] == TEXTS
    del rows[3]["text"], rows[3]["title"]
    with pytest.raises(DsiError, match="someone/texts, row 4: this document has no text"):
        list(source.documents())
    with pytest.raises(DsiError, match=r"corpus\.dataset: cannot read 'someone/nothing': no such dataset"):
        list(open_source(CorpusConfig(source="documents", dataset="someone/nothing")).documents())


def test_keys_of_the_source(tmp_path: Path) -> None:
    for keys, said in (
        ({}, "corpus.path or corpus.dataset is needed"),
        ({"path": "a", "dataset": "b/c"}, "and not both"),
        ({"path": "a", "queries": "q"}, "corpus.queries and corpus.qrels are given together"),
    ):
        with pytest.raises(ValueError, match=said):
            CorpusConfig.model_validate({"source": "documents", **keys})
    with pytest.raises(DsiError, match=r"corpus\.path: .*nowhere does not exist"):
        open_source(CorpusConfig(source="documents", path=str(tmp_path / "nowhere")))
    write_jsonl(tmp_path / "a.jsonl", TEXTS)
    keys = {"source": "documents", "path": str(tmp_path / "a.jsonl")}
    with pytest.raises(DsiError, match=r"corpus\.queries: there is no file"):
        open_source(CorpusConfig.model_validate({**keys, "queries": "nowhere", "qrels": "nowhere"}))
    # keys of other sources change nothing that is made of this one, and so are in no fingerprint
    assert CorpusConfig(source="pydoc").unused >= {"passages", "queries", "qrels", "simulated_queries"}
    assert "passages" not in CorpusConfig.model_validate(keys).unused


def test_a_changed_file_is_another_corpus(tmp_path: Path) -> None:
    (tmp_path / "texts/deep").mkdir(parents=True)
    (tmp_path / "texts/deep/a.txt").write_text("one")
    keys = [("corpus.source", "documents"), ("corpus.path", str(tmp_path / "texts"))]
    (tmp_path / "a.yaml").write_text("")

    def fingerprint() -> str:
        return Run(load_config(tmp_path / "a.yaml", keys), "a", tmp_path / "runs").fingerprint(STAGES["corpus"])

    first = fingerprint()
    assert fingerprint() == first
    (tmp_path / "texts/deep/a.txt").write_text("other")
    second = fingerprint()
    (tmp_path / "texts/deep/b.txt").write_text("new")
    assert len({first, second, fingerprint()}) == 3


def test_queries_are_simulated_where_there_are_none(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", TEXTS)
    config = CorpusConfig(source="documents", path=str(tmp_path / "a.jsonl"), simulated_queries=8)
    assert splits_of(config) == ["dev"]
    (tmp_path / "corpus").mkdir()
    counts = ingest(tmp_path / "corpus", corpus=config, known_item=KnownItemConfig())
    assert counts["simulated_queries"] == 8
    corpus = Corpus(tmp_path / "corpus")
    pairs = [(query.text, corpus[number].content()) for query, number in corpus.relevant("dev")]
    assert len({text for _, text in pairs}) == 8
    assert all(set(query.split()) <= set(text.lower().replace('"', " ").split()) for query, text in pairs)
    again = tmp_path / "again"
    again.mkdir()
    ingest(again, corpus=config, known_item=KnownItemConfig())
    assert Corpus(again).queries("dev") == corpus.queries("dev")
    none = config.model_copy(update={"simulated_queries": 0})
    assert splits_of(none) == []
    assert CorpusConfig(source="beir", path="x").simulated == 0


@pytest.mark.parametrize("form", ["trec", "beir"])
def test_queries_of_ones_own_are_halved(tmp_path: Path, form: str) -> None:
    write_jsonl(tmp_path / "a.jsonl", TEXTS)
    queries = {f"q{number}": document.title for number, document in enumerate(TEXTS)}
    (tmp_path / "q.tsv").write_text("".join(f"{query_id}\t{text}\n" for query_id, text in queries.items()))
    between = " 0 " if form == "trec" else "\t"
    header = "" if form == "trec" else "query-id\tcorpus-id\tscore\n"
    lines = (f"q{number}{between}{document.doc_id}\t1\n" for number, document in enumerate(TEXTS))
    (tmp_path / "r.txt").write_text(header + "".join(lines))
    path, queries_file, qrels = (str(tmp_path / name) for name in ("a.jsonl", "q.tsv", "r.txt"))
    config = CorpusConfig(source="documents", path=path, queries=queries_file, qrels=qrels)
    (tmp_path / "corpus").mkdir()
    counts = ingest(tmp_path / "corpus", corpus=config, known_item=None)
    corpus = Corpus(tmp_path / "corpus")
    assert corpus.splits == ["dev", "test"]
    assert "simulated_queries" not in counts
    halves = [{query.query_id for query in corpus.queries(split)} for split in corpus.splits]
    assert halves[0] | halves[1] == queries.keys()
    assert not halves[0] & halves[1]
    assert all(
        corpus[number].title == query.text for split in corpus.splits for query, number in corpus.relevant(split)
    )


def test_queries_and_judgements_given_in_python(tmp_path: Path) -> None:
    ir_measures = pytest.importorskip("ir_measures")
    write_queries(tmp_path / "queries.jsonl", {"q1": "one", "q2": "two"})
    assert json.loads((tmp_path / "queries.jsonl").read_text().splitlines()[1])["text"] == "two"
    expected = "q1\td1\t1\nq1\td2\t1\n"
    for qrels in (
        {"q1": ["d1", "d2"]},
        {"q1": {"d1": 1, "d2": 1}},
        [("q1", "d1"), ("q1", "d2", 1)],
        [ir_measures.Qrel("q1", "d1", 1), ir_measures.Qrel("q1", "d2", 1)],
    ):
        assert write_qrels(tmp_path / "qrels.tsv", qrels) == 2
        assert (tmp_path / "qrels.tsv").read_text() == expected
    with pytest.raises(DsiError, match="queries, query 2: query id 'q1' is used already: queries, query 1"):
        write_queries(tmp_path / "queries.jsonl", [("q1", "one"), ("q1", "two")])
    for wrong, said in (([("q1",)], "expected query id"), ([("q1", "d1", "high")], "relevance must be a whole number")):
        with pytest.raises(DsiError, match=f"qrels, judgement 1: {said}"):
            write_qrels(tmp_path / "qrels.tsv", wrong)
    assert (tmp_path / "qrels.tsv").read_text() == expected
