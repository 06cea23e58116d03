"""What the command line hands to other programs: answers as JSON and as a run, corpora in their formats, completion."""

import json
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import ir_measures
import pytest
from conftest import tiny_documents, write_tiny_corpus
from ir_measures import RR

import dsi
from dsi.artifacts import write_manifest
from dsi.cli import main
from dsi.config import CorpusConfig
from dsi.corpus.ingest import ingest
from dsi.corpus.store import Corpus, Document, Query, write_rows
from dsi.index.index import Index

DSI = [sys.executable, "-m", "dsi"]
CONFIG = """
corpus: {source: beir, path: data}
tokenizer: {vocabulary: 200}
doc2query: {known_item: {queries: 3}}
model: {d_model: 16, d_kv: 4, d_ff: 16}
training: {steps: 2, batch_size: 8, eval_steps: 2, warmup_steps: 1}
search: {latency_queries: 0, batch_size: 4}
"""
ODD = Document("Dé", 'a "heron"', "un héron\x1b[31m rouge\x9b\n\tdans\u2028le \\ øresund 🪶\x00")
TEXTS = [document.text[:30] for document in tiny_documents()[:9]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, whose corpus has an odd document, and a query of two splits."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "data/qrels").mkdir(parents=True)
    documents = [*tiny_documents(), ODD]
    queries = [Query(f"q{number}", " ".join(document.text.split()[2:5])) for number, document in enumerate(documents)]
    lines = [json.dumps({"_id": each.doc_id, "title": each.title, "text": each.text}) for each in documents]
    (folder / "data/corpus.jsonl").write_text("\n".join(lines))
    lines = [json.dumps({"_id": each.query_id, "text": each.text}) for each in queries]
    (folder / "data/queries.jsonl").write_text("\n".join(lines))
    for split, numbers in {"dev": range(0, 60, 9), "test": range(0, 61, 6)}.items():
        rows = [f"q{number}\t{documents[number].doc_id}\t{1 + number % 2}" for number in numbers]
        rows.append(f"q{numbers[-1]}\tD0\t0")
        (folder / f"data/qrels/{split}.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]))
    (folder / "a.yaml").write_text(CONFIG)
    assert main(["run", str(folder / "a.yaml"), "--runs", str(folder / "runs")]) == 0
    return folder / "runs/a"


@pytest.fixture(scope="module")
def index(finished: Path) -> Index:
    return dsi.load(finished)


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.removesuffix("\n").split("\n")]


def test_answers_as_json(finished: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "queries.tsv").write_text("".join(f"q{number}\t{text}\n" for number, text in enumerate(TEXTS)))
    assert main(["query", str(finished), "--file", str(tmp_path / "queries.tsv"), "--json", "-k", "61"]) == 0
    answers = objects(capsys.readouterr().out)
    assert [answer["query_id"] for answer in answers] == [f"q{number}" for number in range(9)]
    assert [answer["query"] for answer in answers] == TEXTS
    for text, answer in zip(TEXTS, answers, strict=True):
        assert list(answer) == ["query_id", "query", "hits"]
        assert {tuple(hit) for hit in answer["hits"]} == {("rank", "doc_id", "score", "title", "text")}
        hits = index.search(text, k=61)
        assert [hit["doc_id"] for hit in answer["hits"]] == [hit.doc_id for hit in hits]
        assert [hit["rank"] for hit in answer["hits"]] == list(range(1, 62))
        assert [hit["score"] for hit in answer["hits"]] == pytest.approx([hit.score for hit in hits], abs=1e-4)
        assert Document(*ODD) in [Document(hit["doc_id"], hit["title"], hit["text"]) for hit in answer["hits"]]


def test_json_is_utf8_whatever_the_terminal(finished: Path) -> None:
    command = [*DSI, "query", str(finished), "-k", "61", "--json", "un héron"]
    done = subprocess.run(command, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=True)
    [answer] = objects(done.stdout.decode())
    assert "Dé" in [hit["doc_id"] for hit in answer["hits"]]
    assert "Dé".encode() in done.stdout
    assert "\x1b" not in done.stdout.decode(), "JSON escapes control characters"


def test_answers_as_a_run(finished: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "queries.tsv").write_text("".join(f"q{number}\t{text}\n" for number, text in enumerate(TEXTS)))
    assert main(["query", str(finished), "--file", str(tmp_path / "queries.tsv"), "--trec", "-k", "20"]) == 0
    rows = [line.split(" ") for line in capsys.readouterr().out.splitlines()]
    for number, text in enumerate(TEXTS):
        of_query = [row for row in rows if row[0] == f"q{number}"]
        assert [row[2] for row in of_query] == [hit.doc_id for hit in index.search(text, k=20)]
        assert [row[3] for row in of_query] == [str(rank) for rank in range(1, 21)]
        scores = [float(row[4]) for row in of_query]
        assert scores == sorted(set(scores), reverse=True)
    assert {(row[1], row[5]) for row in rows} == {("Q0", "dsi")}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_lines_without_ids_have_their_numbers(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    lines = [TEXTS[0], "", f"x\t {TEXTS[1]}\tetc ", "  ", "y\t", TEXTS[2]]
    (tmp_path / "queries").write_text(ending.join(lines), newline="")
    assert main(["query", str(finished), "--file", str(tmp_path / "queries"), "--json", "-k", "1"]) == 0
    answers = [(answer["query_id"], answer["query"]) for answer in objects(capsys.readouterr().out)]
    assert answers == [("1", TEXTS[0]), ("x", f" {TEXTS[1]}\tetc "), ("y", ""), ("6", TEXTS[2])]
    assert main(["query", str(finished), "--file", str(tmp_path / "queries"), "-k", "1"]) == 0
    headings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("== ")]
    assert len(headings) == 4
    assert headings[1:3] == [f"== {TEXTS[1]}\N{REPLACEMENT CHARACTER}etc", "== y"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"a\tone\na\ttwo\n", "queries, line 2: query id 'a' is used already: {file}, line 1; give one another id"),
        (b"one\n\n1\tthree\n", "queries, line 3: query id '1' is used already: {file}, line 1; give one another id"),
        (b"\n\tone\n", "queries, line 2: the query id is empty; give it one"),
        (b"a b\tone\n", "queries, line 1: query id 'a b' contains white space, which TREC files cannot hold"),
        (b"a\tone\nb\t\xff\n", "queries, line 2: not UTF-8, byte 3 of the line is 0xff"),
        (None, "queries: cannot be read: No such file or directory"),
    ],
)
@pytest.mark.parametrize("form", ["--json", "--trec"])
def test_faulty_lines_are_named(
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    lines: bytes | None,
    message: str,
    form: str,
) -> None:
    if lines is not None:
        (tmp_path / "queries").write_bytes(lines)
    assert main(["query", str(finished), "--file", str(tmp_path / "queries"), form]) == 2
    error = capsys.readouterr().err
    assert message.format(file=tmp_path / "queries") in error
    assert len(error.splitlines()) == 1


def test_a_text_may_stand_behind_options(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for arguments in (["--json", "-k", "1", str(finished), TEXTS[0]], [str(finished), "--json", "-k", "1", TEXTS[0]]):
        assert main(["query", *arguments]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != ""
    for arguments in ([TEXTS[0], "-k", "1", TEXTS[1]], ["--file", "a", "-k", "1", TEXTS[1]], ["--jsonl"]):
        with pytest.raises(SystemExit, match="2"):
            main(["query", str(finished), *arguments])
        assert "unrecognized arguments" in capsys.readouterr().err


def test_a_text_and_a_file_are_one_too_many(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["a", "--file", "b"], ["a", "--json", "--trec"]):
        with pytest.raises(SystemExit, match="2"):
            main(["query", str(finished), *arguments])
        assert "not allowed with argument" in capsys.readouterr().err


def test_a_file_is_answered_in_batches_and_input_line_by_line(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, search = list[int](), Index.search

    def counted(self: Index, texts: list[str], **options: int) -> Any:
        sizes.append(len(texts))
        return search(self, texts, **options)

    monkeypatch.setattr(Index, "search", counted)
    (tmp_path / "queries").write_text("\n".join(TEXTS))
    assert main(["query", str(finished), "--file", str(tmp_path / "queries"), "--trec"]) == 0
    assert sizes == [4, 4, 1]
    with (tmp_path / "queries").open() as lines:
        monkeypatch.setattr(sys, "stdin", lines)
        assert main(["query", str(finished), "--trec"]) == 0
    assert sizes[3:] == [1] * 9


@pytest.mark.parametrize("form", [[], ["--json"], ["--trec"]])
def test_a_line_is_answered_before_the_next_is_written(finished: Path, form: list[str]) -> None:
    command = [*DSI, "query", str(finished), "-k", "1", *form]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    assert process.stdin is not None
    assert process.stdout is not None
    for text in TEXTS[:2]:
        process.stdin.write(f"{text}\n".encode())
        assert select.select([process.stdout], [], [], 120)[0], "no answer"
        assert process.stdout.read(10_000).count(b"\n") == (1 if form else 3)
    process.stdin.close()
    assert process.wait() == 0
    process.stdout.close()


def test_a_broken_pipe_ends_quietly(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "queries").write_text("\n".join(TEXTS * 20))
    command = [*DSI, "query", str(finished), "--file", str(tmp_path / "queries"), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0
    process.stderr.close()


def ingested(folder: Path, out: Path) -> Corpus:
    out.mkdir()
    ingest(out, corpus=CorpusConfig(source="beir", path=str(folder)))
    return Corpus(out)


def test_a_corpus_as_beir_is_read_back(finished: Path, tmp_path: Path) -> None:
    assert main(["convert", str(finished), "--to", "beir", "-o", str(tmp_path / "beir")]) == 0
    names = sorted(path.relative_to(tmp_path / "beir").as_posix() for path in (tmp_path / "beir").rglob("*.*"))
    assert names == ["corpus.jsonl", "qrels/dev.tsv", "qrels/test.tsv", "queries.jsonl"]
    before, after = Corpus(finished / "corpus"), ingested(tmp_path / "beir", tmp_path / "corpus")
    assert list(after) == list(before)
    assert ODD in list(after)
    assert after.splits == before.splits == ["dev", "test"]
    for split in before.splits:
        assert after.qrels(split) == before.qrels(split)
        assert sorted(after.queries(split)) == sorted(before.queries(split))


def test_a_text_that_no_line_holds_is_named(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(finished), "--to", "trec", "-o", str(tmp_path / "trec")]) == 2
    assert capsys.readouterr().err == (
        "dsi: error: document Dé contains NUL, which a line of text cannot hold; remove it, or convert to beir\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.fixture
def plain_run(finished: Path, tmp_path: Path) -> Path:
    """The stages of the run that are converted, over a corpus without NUL."""
    run = tmp_path / "run"
    for stage in ("corpus", "search", "baselines"):
        shutil.copytree(finished / stage, run / stage)
    texts = [each._replace(text=each.text.replace("\0", "")) for each in Corpus(finished / "corpus")]
    rewritten(run / "corpus", texts)
    return run


def rewritten(corpus: Path, documents: list[Document], **splits: list[Query]) -> None:
    """Give a corpus stage other documents and queries; it stays a finished stage."""
    manifest = json.loads((corpus / "manifest.json").read_text())
    write_rows(corpus / "documents.arrow", Document, documents)
    for split, queries in splits.items():
        write_rows(corpus / f"queries.{split}.arrow", Query, queries)
    del manifest["digest"]
    write_manifest(corpus, manifest)


def test_a_run_as_trec_gives_the_figures_of_the_report(finished: Path, plain_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "trec"
    assert main(["convert", str(plain_run), "--to", "trec", "-o", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        *("bm25.run", "collection.tsv", "dsi.run"),
        *("qrels.dev.txt", "qrels.test.txt", "topics.dev.tsv", "topics.test.tsv"),
    ]
    collection = [line.split("\t") for line in (out / "collection.tsv").read_text().split("\n")[:-1]]
    assert collection == [[each.doc_id, " ".join(each.content().split())] for each in Corpus(plain_run / "corpus")]
    assert collection[-1] == ["Dé", 'a "heron" un héron\x1b[31m rouge\x9b dans le \\ øresund 🪶']
    queries = Corpus(plain_run / "corpus").queries("test")
    topics = [line.split("\t") for line in (out / "topics.test.tsv").read_text().split("\n")[:-1]]
    assert topics == [[query.query_id, " ".join(query.text.split())] for query in queries]
    qrels = list(ir_measures.read_trec_qrels(str(out / "qrels.test.txt")))
    assert [tuple(qrel)[:3] for qrel in qrels] == [tuple(qrel) for qrel in Corpus(plain_run / "corpus").qrels("test")]
    systems = json.loads((finished / "evaluation/metrics.json").read_text())["systems"]
    for system in ("dsi", "bm25"):
        run = list(ir_measures.read_trec_run(str(out / f"{system}.run")))
        measured = ir_measures.calc_aggregate([RR @ 10], qrels, run)[RR @ 10]
        assert measured == pytest.approx(systems[system]["RR@10"])


def test_rankings_of_another_corpus_are_left_out(
    plain_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = json.loads((plain_run / "search/manifest.json").read_text())
    del manifest["digest"]
    write_manifest(plain_run / "search", {**manifest, "inputs": {"corpus/": "another"}})
    assert main(["convert", str(plain_run), "--to", "trec", "-o", str(tmp_path / "trec")]) == 0
    assert [path.name for path in (tmp_path / "trec").glob("*.run")] == ["bm25.run"]
    assert "search: left out, it was not made from" in capsys.readouterr().err


def test_an_exported_index_is_converted(finished: Path, tmp_path: Path) -> None:
    assert main(["export", str(finished), str(tmp_path / "index")]) == 0
    for folder, name in ((tmp_path / "index", "one"), (finished, "two")):
        assert main(["convert", str(folder), "--to", "beir", "-o", str(tmp_path / name)]) == 0
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["corpus.jsonl"]
    assert (tmp_path / "one/corpus.jsonl").read_bytes() == (tmp_path / "two/corpus.jsonl").read_bytes()
    assert main(["export", str(finished), str(tmp_path / "ids"), "--without-documents"]) == 0
    assert main(["convert", str(tmp_path / "ids"), "--to", "beir", "-o", str(tmp_path / "three")]) == 2


def test_a_corpus_without_queries(tmp_path: Path) -> None:
    corpus = write_tiny_corpus(tmp_path / "run/corpus")
    for path in [*corpus.glob("queries.*"), *corpus.glob("qrels.*")]:
        path.unlink()
    write_manifest(corpus, {"stage": "corpus", "fingerprint": "a", "inputs": {}})
    for to, file in (("beir", "corpus.jsonl"), ("trec", "collection.tsv")):
        assert main(["convert", str(tmp_path / "run"), "--to", to, "-o", str(tmp_path / to)]) == 0
        assert [path.name for path in (tmp_path / to).iterdir()] == [file]
    assert list(ingested(tmp_path / "beir", tmp_path / "again")) == tiny_documents()


def test_what_cannot_be_converted_is_said(plain_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, out = plain_run / "corpus", tmp_path / "out"

    def fault(to: str, run: Path = plain_run) -> str:
        assert main(["convert", str(run), "--to", to, "-o", str(out)]) == 2
        assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1
        return error

    assert "no finished stage corpus there; is " in fault("beir", tmp_path / "run/search")
    documents = list(Corpus(corpus))
    rewritten(corpus, documents, dev=[Query("q0", "another text")])
    assert "query 'q0' has one text in split dev and another in test" in fault("beir")
    rewritten(corpus, [*documents, Document("a b", "", "text")])
    for to in ("beir", "trec"):
        assert "documents.arrow, row 62: document id 'a b' contains white space" in fault(to)
    (corpus / "documents.arrow").write_bytes(b"")
    assert "documents.arrow: this file is damaged" in fault("beir")
    out.mkdir()
    assert main(["convert", str(plain_run), "--to", "beir", "-o", str(out)]) == 2
    assert capsys.readouterr().err == f"dsi: error: {out} exists already; name a new folder\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"dsi {dsi.__version__}\n"


def test_bash_completes_commands_options_and_files(tmp_path: Path) -> None:
    script = subprocess.run([*DSI, "--print-completion", "bash"], capture_output=True, text=True, check=True).stdout
    (tmp_path / "dsi.bash").write_text(script)
    subprocess.run(["bash", "-n", tmp_path / "dsi.bash"], check=True)
    (tmp_path / "runs/demo").mkdir(parents=True)
    (tmp_path / "run.yaml").touch()
    for words, completed in (
        ("dsi con", "convert config consolidate"),
        ("dsi query ru", "runs"),
        ("dsi query --file ru", "runs run.yaml"),
        ("dsi run ru", "runs run.yaml"),
        ("dsi query --js", "--json"),
        ("dsi convert runs/demo --to b", "beir"),
        ("dsi convert runs/demo -o ru", "runs"),
    ):
        complete = f"COMP_WORDS=({words}); COMP_CWORD={len(words.split()) - 1}; _shtab_dsi; echo ${{COMPREPLY[*]}}"
        command = ["bash", "-c", f"source dsi.bash; {complete}"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert sorted(done.stdout.split()) == sorted(completed.split()), words


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_is_printed_for_every_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--print-completion", shell])
    assert "convert" in capsys.readouterr().out
