"""Faults that were met: texts, ids and judgements out of step, and files that are not what their names say."""

import gzip
import io
import json
import os
import resource
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsi.config import CorpusConfig, Doc2QueryConfig, KnownItemConfig, PredictionsConfig, load_config
from dsi.corpus import files as files_module
from dsi.corpus import ingest as ingest_module
from dsi.corpus import store
from dsi.corpus.ingest import check, ingest, open_source
from dsi.corpus.store import Corpus, Document, Query, write_rows
from dsi.doc2query import predictions
from dsi.doc2query.expand import expand
from dsi.doc2query.shards import read_shards
from dsi.errors import DsiError

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
WORDS = ["heron", "oven", "roof", "lamp", "violin", "goats"]
TEXTS = [f"{word} stands alone{number}" for number, word in enumerate(WORDS)]
FILES = {
    "collection.tsv": "".join(f"{number}\t{text}\n" for number, text in enumerate(TEXTS)),
    "queries.dev.tsv": "q1\theron\nq2\toven\n",
    "qrels.dev.tsv": "q1 0 0 1\nq2 0 1 1\n",
}
Files = dict[str, str | bytes]


def write(folder: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def read(path: Path, source: str = "msmarco", **config: Any) -> tuple[Corpus, dict[str, Any]]:
    out = path.with_name(f"{path.name}-out")
    out.mkdir(exist_ok=True)
    counts = ingest(out, corpus=CorpusConfig(source=source, path=str(path), **config))  # type: ignore[arg-type]
    return Corpus(out), counts


def fault(path: Path, source: str = "msmarco", **config: Any) -> str:
    with pytest.raises(DsiError) as raised:
        read(path, source, **config)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def member(name: str, content: bytes = b"", **header: Any) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    for key, value in header.items():
        setattr(entry, key, value)
    return entry, content


def pack(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for entry, content in members:
            archive.addfile(entry, io.BytesIO(content))
    return path


def members(files: dict[str, str], prefix: str = "") -> list[tuple[tarfile.TarInfo, bytes]]:
    return [member(prefix + name, content.encode()) for name, content in files.items()]


# Released queries


@pytest.fixture
def expanded(tmp_path: Path) -> Callable[..., list[tuple[str, str]]]:
    """Write released queries and expand the six documents with them; return pairs of document id and query."""
    corpus, _ = read(write(tmp_path / "corpus", FILES))

    def run(released: dict[str, Any], only: str = "") -> list[tuple[str, str]]:
        folder = write(tmp_path / "released", released)
        config = Doc2QueryConfig(
            known_item=KnownItemConfig(queries=0), predictions=PredictionsConfig(path=str(folder / only))
        )
        out = tmp_path / "doc2query"
        out.mkdir()
        expand(out, doc2query=config, corpus_folder=corpus.folder)
        rows = [row for numbers, texts in read_shards(out) for row in zip(numbers.tolist(), texts, strict=True)]
        return [(corpus[number].doc_id, text) for number, text in rows]

    return run


def sample(number: int, part: int, lines: list[str]) -> dict[str, str]:
    return {f"predicted_queries_topk_sample{number:02}.part{part:03}.txt": "".join(f"{line}\n" for line in lines)}


def test_prediction_parts_out_of_step(expanded: Any) -> None:
    released = sample(0, 0, TEXTS[:4]) | sample(0, 1, TEXTS[4:]) | sample(1, 0, TEXTS[:3]) | sample(1, 1, TEXTS[4:])
    with pytest.raises(DsiError, match=r"sample01.part000.txt has 3 lines, but .*sample00.part000.txt has 4"):
        expanded(released)


@pytest.mark.parametrize(
    ("released", "said"),
    [
        (sample(0, 0, TEXTS) | sample(1, 0, TEXTS[:3]) | sample(1, 1, TEXTS[4:]), "5 lines, but .*6"),
        (sample(0, 1, TEXTS) | sample(0, 2, TEXTS) | sample(0, 4, TEXTS), "numbered one by one from 0 or 1"),
        (sample(0, 2, TEXTS), "numbered one by one from 0 or 1"),
        (sample(0, 0, TEXTS[:5]), "5 lines, but the source has 6 documents"),
        (sample(0, 0, [*TEXTS, "more"]), "7 lines, but the source has 6 documents"),
        (sample(0, 0, ["query", *TEXTS[1:]]), "line 1: looks like a header, 'query'"),
        (sample(0, 0, [f"{number}\t{text}" for number, text in enumerate(TEXTS)]), "line 1: has a tab"),
        (sample(0, 0, TEXTS) | {"README.txt": "40 queries a passage\n"}, "has 6 lines, but .*README.txt has 1"),
        (sample(0, 0, TEXTS) | {"all.jsonl": "{}\n"}, "are of two formats"),
        ({"a.jsonl": "{}\n", "a.jsonl.gz": gzip.compress(b"{}\n", mtime=0)}, "are the same file twice"),
        ({"one.txt": "\r".join(TEXTS)}, "end in CR alone"),
        ({"one.jsonl": '{"id": true, "predicted_queries": []}'}, "id must be a string or a number, found True"),
        ({"one.jsonl": '{"id": "1", "predicted_queries": ["\\ud83d"]}'}, "half of a surrogate pair"),
        ({"one.jsonl": '{"id": "1", "predicted_queries": ' + "[" * 100_000}, "line 1: not valid JSON"),
        ({"one.jsonl": '{"id": ' + "1" * 5_000 + "}"}, "line 1: not valid JSON"),
    ],
)
def test_released_queries_that_are_out_of_step(expanded: Any, released: dict[str, str], said: str) -> None:
    with pytest.raises(DsiError, match=said):
        expanded(released)


def test_blank_lines_and_many_parts_keep_their_documents(expanded: Any) -> None:
    parts = [["heron"], [""], ["roof"], *([[text] for text in TEXTS[3:]])]
    released: dict[str, str] = {}
    for number, lines in enumerate(parts):  # part10 comes after part9 whatever the number of digits
        released |= {f"sample0.part{number}.txt": "".join(f"{line}\n" for line in lines)}
    assert expanded(released) == [("0", "heron"), ("2", "roof"), *((str(n), TEXTS[n]) for n in (3, 4, 5))]


def test_parts_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    write(tmp_path, {f"sample{s}.txt{part}": f"s{s} l{part}\n" for part in range(12) for s in (0, 10, 2)})
    rows = list(predictions.open_source(str(tmp_path)))
    assert rows == [(str(part), [f"s{s} l{part}" for s in (0, 2, 10)]) for part in range(12)]


def test_prediction_ids_repeated(expanded: Any) -> None:
    rows = [("0", ["first", "second"]), ("1", ["other"]), ("0", ["third\u2028\n", " "]), ("9", ["lost"]), ("0", ["4"])]
    lines = "".join(json.dumps({"id": doc_id, "predicted_queries": texts}) + "\n" for doc_id, texts in rows)
    pairs = expanded({"rows.jsonl": lines}, only="rows.jsonl")
    assert pairs == [("0", "first"), ("0", "second"), ("0", "third\u2028\n"), ("0", "4"), ("1", "other")]


@pytest.mark.parametrize("shift", [0, 1])
def test_queries_of_other_documents_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], shift: int) -> None:
    texts = [f"the word{number} of thing{number}" for number in range(30)]
    lines = "".join(f"{number}\t{text}\n" for number, text in enumerate(texts))
    corpus, _ = read(write(tmp_path / "in", FILES | {"collection.tsv": lines}))
    rows = [json.dumps({"id": n, "predicted_queries": [texts[(n + shift) % 30]]}) for n in range(30)]
    write(tmp_path, {"rows.jsonl": "\n".join(rows)})
    predictions.read_predictions(str(tmp_path / "rows.jsonl"), corpus, tmp_path / "work" / "p.sqlite")
    told = "of 30 documents, 0 share more words with their own queries" in capsys.readouterr().err
    assert told == bool(shift)


# Rows of tables


def test_header_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, counts = read(write(tmp_path / "plain", FILES))
    assert capsys.readouterr().err == ""
    headers = {
        "collection.tsv": "docid\ttext\n",
        "queries.dev.tsv": "Query ID\tquery\n",
        "qrels.dev.tsv": "query_id iter doc_id relevance\n",
    }
    corpus, headed = read(write(tmp_path / "headed", {name: headers[name] + FILES[name] for name in FILES}))
    assert (list(corpus), headed) == (list(plain), counts)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 3  # once a file, however often it is read
    assert f"{tmp_path}/headed/collection.tsv, line 1: left out, it is a header: 'docid\\ttext'" in told


def test_header_rows_in_the_middle(tmp_path: Path) -> None:
    header = "docid\ttext\n"
    corpus, _ = read(write(tmp_path / "in", FILES | {"collection.tsv": header + FILES["collection.tsv"] + header}))
    assert len(corpus) == 6


def test_a_first_row_that_may_be_a_header_is_kept_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "Nummer\tden Text\n" + FILES["collection.tsv"]
    corpus, _ = read(write(tmp_path / "in", FILES | {"collection.tsv": text}))
    assert (len(corpus), corpus[0].doc_id) == (7, "Nummer")
    assert "line 1: 'Nummer' is read as an id; if this line is a header, remove it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("collection.tsv", "text\tdocid\n", "line 1: the columns must be document id, text"),
        ("collection.tsv", "0 heron\n", "found 1"),
        ("collection.tsv", "0,heron\n", "found 1"),
        ("collection.tsv", "0\ttitle\theron\n", "found 3"),
        ("collection.tsv", "a\0b\theron\n", "line 1: byte 2 of the line is NUL"),
        ("collection.tsv", FILES["collection.tsv"].encode("utf-16"), "collection.tsv: is UTF-16; convert it"),
        ("collection.tsv", FILES["collection.tsv"].encode("utf-16-le"), "NUL; convert the file if it is UTF-16"),
        ("collection.tsv", gzip.compress(b"0\theron\n", mtime=0), "collection.tsv: is compressed with gzip"),
        ("collection.tsv", "version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ("collection.tsv", FILES["collection.tsv"] + "\ufeff7\tmore\n", "contains a byte order mark"),
        ("queries.dev.tsv", "q1\theron\rq2\toven\r", "queries.dev.tsv: its lines end in CR alone"),
        ("qrels.dev.tsv", "q1;0;0;1\n", "found 1"),
        ("qrels.dev.tsv", "q1 0 1\n", "expected 4 fields"),
        ("qrels.dev.tsv", "query-id corpus-id score\n", "expected 4 fields"),
        ("qrels.dev.tsv", "q1 0 0 Urteil\n", "line 1: relevance must be a whole number, found 'Urteil', or is"),
        (
            "qrels.dev.tsv",
            "q1 1 0 1\nq2 2 0 1\n",
            "column 3 (document id) has fewer different values, 1, than column 2",
        ),
        ("qrels.dev.tsv", "q1 1 0 0\nq2 1 1 0\n", "none of the 2 judgements of split dev is above 0"),
        ("qrels.dev.tsv", "q1 0 0 NaN\n", "relevance must be a whole number"),
        ("qrels.dev.tsv", "q1 0 0 1e400\n", "relevance must be a whole number"),
        ("qrels.dev.tsv", "q1 0 0 1_0\n", "relevance must be a whole number"),
        ("qrels.dev.tsv", "q1 0 0 " + "9" * 5_000, "is out of range"),
    ],
)
def test_tables_out_of_step(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    assert said in fault(write(tmp_path / "in", FILES | {name: content}))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("qrels/test.tsv", "corpus-id\tquery-id\tscore\na\t1\t1\n", "the columns must be query id, document id"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\n1\ta\tInfinity\n", "relevance must be a whole number"),
        ("corpus.jsonl", '{"_id": "a", "text": "x"}\r{"_id": "b", "text": "x"}\r', "end in CR alone"),
        ("corpus.jsonl", '{"_id": ' + "1" * 5_000 + ', "text": "x"}', "not valid JSON"),
        ("corpus.jsonl", '{"_id": ' + "[" * 900 + "]" * 900 + ', "text": "x"}', "_id must be a string"),
        ("corpus.jsonl", '{"_id": "a\\u0000", "text": "x"}', "contains NUL"),
    ],
)
def test_beir_files_out_of_step(tmp_path: Path, name: str, content: str, said: str) -> None:
    files = {
        "corpus.jsonl": '{"_id": "a", "text": "x"}\n',
        "queries.jsonl": '{"_id": "1", "text": "one"}\n',
        "qrels/test.tsv": "query_id\tdoc_id\trelevance\n1\ta\t1\n",
    }
    read(write(tmp_path / "in", files), "beir")
    assert said in fault(write(tmp_path / "in", {name: content}), "beir")


def test_line_ends(tmp_path: Path) -> None:
    crlf = {name: text.replace("\n", "\r\n") for name, text in FILES.items()}
    assert list(read(write(tmp_path / "crlf", crlf))[0]) == list(read(write(tmp_path / "lf", FILES))[0])
    cr = {name: text.replace("\n", "\r") for name, text in FILES.items()}
    assert "tr '\\r' '\\n'" in fault(write(tmp_path / "cr", cr))


# Large texts


def test_two_gigabytes_in_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CHARACTERS_PER_BATCH", 100)
    documents = [Document(str(number), "", "word " * (number % 7)) for number in range(50)]
    assert write_rows(tmp_path / "documents.arrow", Document, iter(documents)) == 50
    corpus = Corpus(tmp_path)
    assert max(sum(len(text) for text in batch["text"].to_pylist()) for batch in corpus.documents.to_batches()) < 130
    assert list(corpus) == documents
    assert list(corpus.rows(13, 31)) == documents[13:31]
    assert list(corpus.rows(45, 99)) == documents[45:]
    assert list(corpus.rows(60, 99)) == list(corpus.rows(5, 5)) == []
    # A batch is full with a record of the largest size at most, of 4 bytes a character.
    assert 4 * (1 << 26) + 4 * store.MAX_TEXT < 2**31


def test_a_record_too_large_to_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_TEXT", 1_000)
    with pytest.raises(DsiError, match=r"document 'd1' has 1,003 characters, and the most are 1,000"):
        write_rows(tmp_path / "documents.arrow", Document, [Document("d1", "t", "x" * 1_000)])


def test_a_line_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "MAX_LINE", 1_000)
    write(tmp_path / "in", FILES | {"collection.tsv": "0\ta\n1\t" + "x" * 1_000})
    assert fault(tmp_path / "in").endswith("line 2: longer than 1,000 bytes; shorten it, or cut it into several")


# What comes from strangers


def test_same_name_deeper_in_an_archive(tmp_path: Path) -> None:
    old = {name: text.replace("heron", "old") for name, text in FILES.items()}
    for name, packed in {
        "first": members(old, "old/") + members(FILES, "./"),
        "last": members(FILES) + members(old, "a/b/"),
    }.items():
        path = pack(tmp_path / name / "all.tar.gz", packed)
        assert read(path)[0][0].text == TEXTS[0]
        assert read(path.parent)[0][0].text == TEXTS[0]


def test_an_archive_is_listed_once_and_again_when_it_has_changed(tmp_path: Path) -> None:
    path = pack(tmp_path / "all.tar.gz", members(FILES))
    before = files_module._list_archive.cache_info().misses
    assert read(path)[0][0].text == read(path)[0][0].text == TEXTS[0]
    assert files_module._list_archive.cache_info().misses == before + 1
    pack(path, members({name: text.replace("heron", "other") for name, text in FILES.items()}))
    assert read(path)[0][0].text == TEXTS[0].replace("heron", "other")


def test_several_files_that_could_be_meant(tmp_path: Path) -> None:
    old = {name: text.replace("heron", "older") for name, text in FILES.items()}
    path = pack(tmp_path / "one" / "all.tar.gz", members(old, "a/") + members(FILES, "b/"))
    said = f"{path}/a/collection.tsv and {path}/b/collection.tsv are two different files; remove one of them"
    assert fault(path) == said
    path = pack(tmp_path / "appended.tar.gz", members(FILES) + members(FILES))
    assert "two different files" in fault(path)
    # Two archives with the same content, as MS MARCO's collection.tar.gz and collectionandqueries.tar.gz.
    pack(tmp_path / "two" / "a.tar.gz", members(FILES))
    pack(tmp_path / "two" / "b.tar.gz", members({"collection.tsv": FILES["collection.tsv"]}))
    assert read(tmp_path / "two")[0][0].text == TEXTS[0]
    pack(tmp_path / "two" / "b.tar.gz", members(old))
    assert "b.tar.gz/collection.tsv are two different files" in fault(tmp_path / "two")


@pytest.mark.parametrize(
    "header",
    [
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.LNKTYPE, "linkname": "../../secret"},
        {"type": tarfile.CHRTYPE},
        {"type": tarfile.FIFOTYPE},
    ],
)
def test_members_that_are_no_files(tmp_path: Path, header: dict[str, Any]) -> None:
    rest = {name: text for name, text in FILES.items() if name != "collection.tsv"}
    path = pack(tmp_path / "all.tar.gz", [member("collection.tsv", **header), *members(rest)])
    assert "collection.tsv is a link or a device" in fault(path)


def test_members_outside_are_read_and_nothing_is_written(tmp_path: Path) -> None:
    for prefix in ("/", "../../", "a/../"):
        path = pack(tmp_path / "in" / "all.tar.gz", members(FILES, prefix))
        assert len(read(path)[0]) == 6
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in"]


def test_things_that_are_no_files(tmp_path: Path) -> None:
    rest = {name: text for name, text in FILES.items() if name != "collection.tsv"}
    make: dict[str, Callable[[Path], object]] = {
        "fifo": os.mkfifo,
        "folder": Path.mkdir,
        "dangling": lambda path: path.symlink_to("nowhere"),
    }
    for name, create in make.items():
        create(write(tmp_path / name, rest) / "collection.tsv")
        assert f"{name}/collection.tsv is " in fault(tmp_path / name)
    os.mkfifo(tmp_path / "all.tar.gz")
    assert "is neither a folder nor a .tar.gz" in fault(tmp_path / "all.tar.gz")


def test_compression_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "MAX_LINE", 1 << 22)
    rest = {name: text for name, text in FILES.items() if name != "collection.tsv"}
    zeros, size = bytes(1 << 20), 200
    compressed = io.BytesIO()
    with gzip.open(compressed, "wb", compresslevel=1) as stream:
        for _ in range(size):
            stream.write(zeros)
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, size << 20
    bombs = {
        "line": {"collection.tsv.gz": compressed.getvalue()},
        "member": {"c.tar.gz": gzip.compress(_member_of("collection.tsv", size << 20)) + compressed.getvalue()},
        "header": {"c.tar.gz": gzip.compress(header.tobuf()) + compressed.getvalue()},
    }
    said = {"line": "line 1: longer than", "member": "line 1: longer than", "header": "a header of 209,715,200 bytes"}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, files in bombs.items():
        assert said[name] in fault(write(tmp_path / name, rest | files))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB
    monkeypatch.setattr(files_module, "MAX_MEMBERS", 3)
    pack(tmp_path / "many" / "c.tar.gz", members({f"{number}.tsv": "" for number in range(9)}))
    assert "more than 3 members" in fault(tmp_path / "many")


def _member_of(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf()


# MS MARCO as it is published


def official(folder: Path, *, whole: bool = False) -> Path:
    """60 passages, 40 dev queries, of which 10 are dev.small's, in files as the official ones."""
    queries = {
        "queries.train.tsv": "".join(f"{number}\ttrain thing{number}\n" for number in range(100, 160)),
        "queries.dev.tsv": "".join(f"{number}\twhere is thing{number}\n" for number in range(60)),
        "queries.eval.tsv": "500\tunjudged\n",
    }
    collection = {"collection.tsv": "".join(f"{n}\tpassage about thing{n}\n" for n in range(60))}
    qrels = {
        "qrels.train.tsv": "".join(f"{100 + n}\t0\t{n}\t1\n" for n in range(40, 60)),
        "qrels.dev.small.tsv": "".join(f"{n}\t0\t{n}\t1\n" for n in range(0, 40, 4)),
    }
    if whole:
        small = "".join(f"{number}\twhere is thing{number}\n" for number in range(0, 40, 4))
        pack(folder / "all.tar.gz", members(collection | queries | qrels | {"queries.dev.small.tsv": small}))
    else:
        pack(folder / "collection.tar.gz", members(collection))
        pack(folder / "queries.tar.gz", members(queries))
        write(folder, qrels | {"qrels.dev.tsv": "".join(f"{n}\t0\t{n}\t1\n" for n in range(40))})
    return folder


def test_more_judged_documents_than_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = official(tmp_path / "in")
    kept = dict[int, set[str]]()
    queries = dict[int, set[str]]()
    for size in (20, 30, 50):
        corpus, counts = read(path, size=size)
        kept[size] = {document.doc_id for document in corpus}
        queries[size] = {query.query_id for query in corpus.queries("dev")}
        dev = counts["splits"]["dev"]
        assert (len(corpus), dev["queries"]) == (size, min(size, 40))
        assert dev["queries_outside_subset"] == 40 - min(size, 40)
        assert {qrel.doc_id for qrel in corpus.qrels("dev")} <= kept[size]
    assert kept[20] < kept[30] < kept[50]
    assert queries[20] < queries[30] < queries[50]
    told = capsys.readouterr().err.splitlines()
    assert told[0] == (
        "corpus.size: 20 documents cannot hold the 40 that are judged for evaluation queries: split dev keeps 20 of"
        " its 40 queries, drawn with corpus.seed"
    )
    assert len(told) == 2
    assert {query.query_id for query in read(path, size=20)[0].queries("dev")} == queries[20]
    assert {query.query_id for query in read(path, size=20, seed=1)[0].queries("dev")} != queries[20]


def test_queries_whose_documents_are_cut_are_left_out(tmp_path: Path) -> None:
    qrels = "".join(f"q{n} 0 {d} 1\n" for n in range(3) for d in (2 * n, 2 * n + 1))
    test = {"queries.test.tsv": "t\troof\n", "qrels.test.tsv": "t 0 0 1\n"}
    dev = {"queries.dev.tsv": "q0\ta\nq1\tb\nq2\tc\n", "qrels.dev.tsv": qrels}
    corpus, counts = read(write(tmp_path / "in", FILES | dev | test), size=5)
    assert len(corpus.qrels("dev")) == 2 * len(corpus.queries("dev")) == 4
    assert corpus.queries("test") == [Query("t", "roof")]  # every split keeps its first query
    assert counts["splits"]["dev"]["qrels_outside_subset"] == 2
    assert "not even those of one query of split dev; set it to 6 or more" in fault(tmp_path / "in", size=1)


@pytest.mark.parametrize("name", ["msmarco-6k-cpu", "msmarco-6k-d2q-cpu"])
def test_official_msmarco_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    for whole, queries in ((False, 40), (True, 10)):
        path = official(tmp_path / f"{name}-{whole}", whole=whole)
        config = load_config(CONFIGS / f"{name}.yaml", [f"corpus.path={path}"])
        check(config.corpus)
        (tmp_path / f"out-{whole}").mkdir()
        counts = ingest(tmp_path / f"out-{whole}", corpus=config.corpus)
        assert counts["documents"] == 60
        assert counts["splits"]["dev"]["queries"] == queries
        assert counts["splits"]["train"]["queries"] == 20
    assert "split dev is dev.small" in capsys.readouterr().err


def test_queries_of_dev_small_are_within_those_of_dev(tmp_path: Path) -> None:
    corpus, _ = read(official(tmp_path / "in"), splits={"dev": "dev.small"})
    assert [query.query_id for query in corpus.queries("dev")] == [str(number) for number in range(0, 40, 4)]


# What is read, and a check of it before the work


def test_files_of_a_source(tmp_path: Path) -> None:
    path = official(tmp_path / "in")
    write(path, {"qrels.dev.tsv.gz": b"", "notes.tsv": ""})
    pack(path / "unrelated.tar.gz", members({"other.tsv": ""}))
    expected = {
        name: path / name for name in ("collection.tar.gz", "queries.tar.gz", "qrels.dev.tsv", "qrels.train.tsv")
    }
    assert open_source(CorpusConfig(source="msmarco", path=str(path))).files == expected
    archive = path / "collection.tar.gz"
    pack(archive, members(FILES))
    assert open_source(CorpusConfig(source="msmarco", path=str(archive))).files == {".": archive}
    beir = write(
        tmp_path / "beir",
        {"corpus.jsonl.gz": b"", "queries.jsonl": "", "qrels/test.tsv": "", "qrels/test.old.tsv": "", "x.jsonl": ""},
    )
    names = ["corpus.jsonl.gz", "qrels/test.tsv", "queries.jsonl"]
    assert sorted(open_source(CorpusConfig(source="beir", path=str(beir))).files) == names


def test_check_reads_the_first_lines_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "in", FILES | {"collection.tsv": FILES["collection.tsv"] + "broken\n"})
    config = CorpusConfig(source="msmarco", path=str(path))
    with pytest.raises(DsiError, match=r"collection.tsv, line 7: expected 2 fields"):
        check(config)
    monkeypatch.setattr(ingest_module, "CHECKED", 6)
    check(config)
    write(path, {"queries.dev.tsv": "q1 heron\n"})
    with pytest.raises(DsiError, match=r"queries.dev.tsv, line 1: expected 2 fields"):
        check(config)
    with pytest.raises(DsiError, match=r"corpus.splits.test: there is no"):
        check(config.model_copy(update={"splits": {"test": "t"}}))
    write(tmp_path, {"rows.jsonl": "{}\n"})
    with pytest.raises(DsiError, match="id must be a string"):
        predictions.check(str(tmp_path / "rows.jsonl"))
