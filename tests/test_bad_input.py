"""Every fault in what the user gives ends with status 2 and one line that says where it is and what to do."""

import gzip
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import ir_datasets
import pytest
import yaml
from ir_datasets.formats import BaseDocs, BaseQueries

from dsi.cli import main

MSMARCO = {
    "collection.tsv": "d1\tone fish\nd2\ttwo fish\nd3\tred fish\n",
    "queries.train.tsv": "t1\tred\n",
    "qrels.train.tsv": "t1 0 d3 1\n",
    "queries.dev.tsv": "q1\tone\nq2\ttwo\n",
    "qrels.dev.tsv": "q1 0 d1 1\nq2 0 d2 1\n",
}
BEIR = {
    "corpus.jsonl": '{"_id": "a", "title": "", "text": "one fish"}\n{"_id": "b", "text": "two fish"}\n',
    "queries.jsonl": '{"_id": "1", "text": "one"}\n',
    "qrels/test.tsv": "query-id\tcorpus-id\tscore\n1\ta\t1\n",
}
HEADER = "query-id\tcorpus-id\tscore\n"

Files = dict[str, str | bytes]
Fault = Callable[..., str]


@pytest.fixture
def fault(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fault:
    """Run `dsi ingest` on a configuration (text or values) with `files` below in/; return the one line it prints."""
    monkeypatch.chdir(tmp_path)

    def run(config: str | dict[str, object], files: Files | None = None, overrides: list[str] | None = None) -> str:
        for name, content in (files or {}).items():
            path = Path("in", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        text = config if isinstance(config, str) else yaml.safe_dump({"corpus": config})
        Path("bad.yaml").write_text(text, encoding="utf-8")
        arguments = ["ingest", "bad.yaml", "--runs", "runs", *(f"--set={value}" for value in overrides or [])]
        assert main(arguments) == 2
        return one_line(capsys.readouterr().err)

    return run


def one_line(stderr: str) -> str:
    """The message of the only line, after making sure that nothing was published."""
    assert stderr.endswith("\n")
    assert stderr.count("\n") == 1
    assert stderr.startswith("dsi: error: ")
    assert not Path("runs", "bad", "corpus").is_symlink()
    return stderr.removeprefix("dsi: error: ").strip()


def msmarco(**more: object) -> dict[str, object]:
    return {"source": "msmarco", "path": "in", **more}


def without(files: dict[str, str], name: str) -> Files:
    return {other: text for other, text in files.items() if other != name}


# A file of the MS MARCO layout, the fault in it, and what the message must say


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("collection.tsv", "d1\tone\nd2 two\n", ["line 2", "2 fields", "tabs", "found 1"]),
        ("collection.tsv", "d1\tone\td2\ttwo\n", ["line 1", "2 fields", "found 4"]),
        ("collection.tsv", b"d1\tone\nd2\tna\xefve\n", ["line 2", "not UTF-8", "0xef"]),
        ("collection.tsv", "d1\tone\nd2\ttwo\nd1\tagain\n", ["line 3", "document id 'd1'", "collection.tsv, line 1"]),
        ("collection.tsv", "d1\tone\nd2\ttwo\nd1\t\n", ["line 3", "document id 'd1'", "line 1"]),
        ("collection.tsv", "\tone\n", ["line 1", "document id is empty"]),
        ("collection.tsv", "d1\tone\nd 2\ttwo\n", ["line 2", "'d 2'", "white space"]),
        ("queries.dev.tsv", "q1\tone\nq2\n", ["line 2", "2 fields"]),
        ("queries.dev.tsv", "q1\tone\nq1\ttwo\n", ["line 2", "query id 'q1'", "queries.dev.tsv, line 1"]),
        ("queries.dev.tsv", "q1\tone\nu\tunjudged\nu\tagain\n", ["line 3", "query id 'u'", "line 2"]),
        ("queries.dev.tsv", "q1\tone\n\ttwo\n", ["line 2", "query id is empty"]),
        ("queries.dev.tsv", "q1\tone\nq\xa02\ttwo\n", ["line 2", "white space"]),
        ("queries.dev.tsv", b"q1\tone\nq2\t\xff\n", ["line 2", "not UTF-8"]),
        ("qrels.dev.tsv", "q1 0 d1 1\nq2 d2 1\n", ["line 2", "4 fields", "white space", "found 3"]),
        ("qrels.dev.tsv", "q1 0 d1 1\nq2 0 d2 1.5\n", ["line 2", "relevance", "'1.5'"]),
        ("qrels.dev.tsv", "q1 0 d1 yes\n", ["line 1", "relevance", "'yes'"]),
        ("qrels.dev.tsv", "q1 0 d1 99999999999\n", ["line 1", "relevance", "out of range"]),
        ("qrels.dev.tsv", "q1 0 d1 1\nq2 0 d2 1\nq1 0 d1 0\n", ["line 3", "'d1'", "'q1'", "qrels.dev.tsv, line 1"]),
        ("qrels.dev.tsv", "q1 0 d1 1\nq1 0 d9 1\n", ["line 2", "'d9'", "2 judgements of split dev", "share of 0.5"]),
        ("qrels.dev.tsv", "q1 0 d1 1\nq9 0 d2 1\n", ["line 2", "'q9'", "1 an unknown query", "corpus.max_unknown"]),
    ],
)
def test_faulty_file(fault: Fault, name: str, content: str | bytes, said: list[str]) -> None:
    message = fault(msmarco(), MSMARCO | {name: content})
    for part in (f"in/{name}, ", *said):
        assert part in message


@pytest.mark.parametrize("content", ["", "d1\t\nd2\t  \n"])
def test_empty_corpus(fault: Fault, content: str) -> None:
    assert fault(msmarco(), MSMARCO | {"collection.tsv": content}).startswith("in: the corpus is empty: none of its ")


def test_split_without_judgements(fault: Fault) -> None:
    message = fault(msmarco(), MSMARCO | {"qrels.dev.tsv": "\n"})
    assert message.startswith("split dev has no query with a judgement")


@pytest.mark.parametrize("name", ["collection.tsv", "queries.dev.tsv", "qrels.dev.tsv", "qrels.train.tsv"])
def test_missing_file(fault: Fault, name: str) -> None:
    assert f"no in/{name}" in fault(msmarco(), without(MSMARCO, name))


def test_missing_named_split(fault: Fault) -> None:
    message = fault(msmarco(splits={"dev": "dev.small"}), dict(MSMARCO))
    assert message == "corpus.splits.dev: there is no in/queries.dev.small.tsv"


def test_split_name_that_cannot_be_a_file_name(fault: Fault) -> None:
    assert "corpus.splits: 'a/b'" in fault(msmarco(splits={"a/b": "dev"}), dict(MSMARCO))


def test_missing_folder(fault: Fault) -> None:
    assert fault(msmarco()) == "corpus.path: in does not exist"


def test_path_of_a_file(fault: Fault) -> None:
    assert "in/collection.tsv is neither" in fault(msmarco(path="in/collection.tsv"), dict(MSMARCO))


def test_size_below_the_judged_documents_of_one_query(fault: Fault) -> None:
    files = MSMARCO | {"qrels.dev.tsv": "q1 0 d1 1\nq1 0 d2 1\n"}
    message = fault(msmarco(size=1), files)
    assert message.startswith("corpus.size: 1 ")
    assert "set it to 2 or more" in message


@pytest.mark.parametrize("size", [None, 3])
def test_judged_document_that_is_empty(fault: Fault, size: int | None) -> None:
    files = MSMARCO | {"collection.tsv": "d1\tone\nd2\t\nd3\tred\nd4\tblue\n"}
    message = fault(msmarco(size=size, max_unknown=0.1), files)
    assert "in/qrels.dev.tsv, line 2" in message
    assert "now 0.1" in message


def test_damaged_gzip_file(fault: Fault) -> None:
    lines = "".join(f"d{i}\ttext {i}\n" for i in range(5_000))
    compressed = gzip.compress(lines.encode())
    files = without(MSMARCO, "collection.tsv")
    for damaged in (compressed[:-4], compressed[: len(compressed) // 2], lines.encode(), compressed[:-5] + b"\0" * 5):
        message = fault(msmarco(), files | {"collection.tsv.gz": damaged})
        assert message.startswith("in/collection.tsv.gz: cannot be read")
        assert "fetch it again" in message


def test_damaged_archive(fault: Fault) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in MSMARCO.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    whole = buffer.getvalue()
    for damaged in (whole[: len(whole) // 2], whole[:-6] + b"\0" * 6, b"not an archive", gzip.compress(b"no tar")):
        message = fault(msmarco(path="in/all.tar.gz"), {"all.tar.gz": damaged})
        assert message.startswith("in/all.tar.gz: cannot be read: ")


def test_fault_inside_an_archive_names_the_member(fault: Fault) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("collection.tsv")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"oops"))
    message = fault(msmarco(), without(MSMARCO, "collection.tsv") | {"c.tar.gz": buffer.getvalue()})
    assert message.startswith("in/c.tar.gz/collection.tsv, line 1: expected 2 fields")


# The same for BEIR


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("corpus.jsonl", '{"_id": "a", "text": "x"}\n{"_id": "b", \n', ["line 2", "not valid JSON", "character"]),
        ("corpus.jsonl", '{"_id": "a", "text": "x"}\n["b"]\n', ["line 2", "JSON object"]),
        ("corpus.jsonl", "[" * 100_000, ["line 1", "not valid JSON"]),
        ("corpus.jsonl", '{"text": "x"}\n', ["line 1", "_id must be a string", "there is none"]),
        ("corpus.jsonl", '{"_id": "a", "text": "x"}\n{"_id": "b"}\n', ["line 2", "text must be a string"]),
        ("corpus.jsonl", '{"_id": "a", "text": "x"}\n{"_id": 5, "text": "x"}\n', ["line 2", "_id", "found 5"]),
        ("corpus.jsonl", '{"_id": "a", "title": ["t"], "text": "x"}\n', ["line 1", "title", "found ['t']"]),
        ("corpus.jsonl", '{"_id": "a", "text": "\\ud83d"}\n', ["line 1", "'a'", "surrogate"]),
        ("corpus.jsonl", '{"_id": "a\\n", "text": "x"}\n', ["line 1", "'a\\n'", "white space"]),
        ("corpus.jsonl", '{"_id": "a", "text": "x"}\n{"_id": "a", "text": "y"}\n', ["line 2", "'a'", "line 1"]),
        ("queries.jsonl", "nonsense\n", ["line 1", "not valid JSON"]),
        ("queries.jsonl", '{"_id": "1", "text": "x"}\n{"_id": "1", "text": "y"}\n', ["line 2", "query id '1'"]),
        ("qrels/test.tsv", "1\ta\t1\n", ["line 1", "header"]),
        ("qrels/test.tsv", HEADER + "1 a 1\n", ["line 2", "3 fields", "tabs"]),
        ("qrels/test.tsv", HEADER + "1\ta\t1.0\n", ["line 2", "relevance", "'1.0'"]),
        ("qrels/test.tsv", HEADER + "1\tz\t1\n", ["line 2", "'z'", "share of 1", "corpus.max_unknown"]),
    ],
)
def test_faulty_beir_file(fault: Fault, name: str, content: str, said: list[str]) -> None:
    message = fault({"source": "beir", "path": "in"}, BEIR | {name: content})
    for part in (f"in/{name}, ", *said):
        assert part in message


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl"])
def test_missing_beir_file(fault: Fault, name: str) -> None:
    assert fault({"source": "beir", "path": "in"}, without(BEIR, name)).startswith(f"there is no in/{name}")


def test_missing_beir_split(fault: Fault) -> None:
    message = fault({"source": "beir", "path": "in", "splits": {"dev": "validation"}}, dict(BEIR))
    assert message == "corpus.splits.dev: there is no in/qrels/validation.tsv"


# The same for the other sources


def test_unknown_ir_datasets_id(fault: Fault) -> None:
    message = fault({"source": "ir_datasets", "dataset": "no-such", "splits": {"dev": "no-such/dev"}})
    assert message.startswith("corpus.dataset: 'no-such' is not in the ir_datasets catalogue")


def test_ir_datasets_id_without_judgements(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = ir_datasets.Dataset(BaseDocs(), BaseQueries())
    monkeypatch.setattr(ir_datasets, "load", lambda name: dataset)
    message = fault({"source": "ir_datasets", "dataset": "toy", "splits": {"dev": "toy/eval"}})
    assert message.startswith("corpus.splits.dev: toy/eval has no qrels")


def test_failed_download(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    class Offline:
        def has(self, part: str) -> bool:
            return True

        def qrels_iter(self) -> None:
            raise OSError("no route to host\nmore")

    monkeypatch.setattr(ir_datasets, "load", lambda name: Offline())
    message = fault({"source": "ir_datasets", "dataset": "toy", "splits": {"dev": "toy/dev"}})
    assert message == "ir_datasets cannot provide toy/dev: no route to host"


def test_package_that_is_not_installed(fault: Fault) -> None:
    assert "'no-such-package'" in fault({"source": "pydoc", "packages": ["no-such-package"]})


def test_split_that_pydoc_does_not_have(fault: Fault) -> None:
    assert fault({"source": "pydoc", "splits": {"train": "train"}}).startswith("corpus.splits.train: ")


# The command and the configuration


def test_the_old_name_of_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for rest in (["my.yaml", "--set", "search.beam=5"], ["--help"], []):
        done = subprocess.run([sys.executable, "-m", "dsi", "compare", *rest], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, "")
        assert one_line(done.stderr) == "the command compare is called run-baselines now"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("corpus: {siz: 3}", ["bad.yaml: corpus.siz: unknown key", "did you mean size?"]),
        ("korpus: {}", ["bad.yaml: korpus: unknown key", "corpus"]),
        ("corpus: {size: many}", ["bad.yaml: corpus.size", "'many'"]),
        ("corpus: {size: 0}", ["bad.yaml: corpus.size", "found 0"]),
        ("corpus: {source: trec}", ["bad.yaml: corpus.source", "'msmarco'", "'trec'"]),
        ("corpus: {max_unknown: 2}", ["bad.yaml: corpus.max_unknown", "found 2"]),
        ("corpus: {source: beir}", ["bad.yaml", "corpus.path"]),
        ("corpus: {source: ir_datasets, dataset: x}", ["bad.yaml", "corpus.splits"]),
        ("corpus: {source: msmarco, path: in", ["bad.yaml, line 1", "not valid YAML"]),
        ("corpus:\n\tsize: 1\n", ["bad.yaml, line 2", "not valid YAML"]),
        ("corpus:\n  size: 1\n  size: 2\n", ["bad.yaml, line ", "'size' is given twice"]),
        ("just words", ["bad.yaml", "mapping"]),
    ],
)
def test_faulty_configuration(fault: Fault, config: str, said: list[str]) -> None:
    message = fault(config)
    for part in said:
        assert part in message


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("corpus.size", "--set 'corpus.size': expected section.key=value"),
        ("corpus.size=big", "--set corpus.size: "),
        ("corpus.sise=3", "--set corpus.sise: unknown key; did you mean size?"),
        ("corpus.size=[", "--set corpus.size=["),
    ],
)
def test_faulty_override(fault: Fault, override: str, said: str) -> None:
    assert fault("{}", overrides=[override]).startswith(said)


def test_missing_configuration_from_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = subprocess.run([sys.executable, "-m", "dsi", "ingest", "bad.yaml"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "bad.yaml" in one_line(done.stderr)


def test_fault_in_a_file_from_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("collection.tsv").write_text("d1\tone\nd2\n", encoding="utf-8")
    Path("bad.yaml").write_text(json.dumps({"corpus": {"source": "msmarco", "path": "."}}), encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "dsi", "ingest", "bad.yaml"], capture_output=True, text=True)
    assert done.returncode == 2
    assert one_line(done.stderr).startswith("collection.tsv, line 2: expected 2 fields")
