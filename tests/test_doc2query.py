"""Known-item simulation, shards, released predictions and the quality sheet."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from conftest import Stages, read_all

from dsi.config import Doc2QueryConfig, KnownItemConfig, PredictionsConfig
from dsi.corpus.known_item import KnownItemGenerator, read_collection
from dsi.corpus.store import Corpus, Document
from dsi.corpus.words import words_of
from dsi.doc2query import expand as expand_module
from dsi.doc2query.expand import expand
from dsi.doc2query.quality import quality_sheet
from dsi.doc2query.shards import write_shard
from dsi.errors import DsiError


def generate(config: KnownItemConfig, documents: list[Document]) -> list[list[str]]:
    collection = read_collection((document.content() for document in documents), len(documents))
    return KnownItemGenerator(config, collection)(documents, np.random.default_rng(0))


def untitled(*texts: str) -> list[Document]:
    return [Document(str(number), "", text) for number, text in enumerate(texts)]


def test_simulated_queries_are_words_of_their_document() -> None:
    documents = untitled("Copy a directory tree, copy it twice!", "the the the", "", "!?", "Zebra")
    queries = generate(KnownItemConfig(queries=30), documents)
    assert [len(texts) for texts in queries] == [30, 30, 0, 0, 30]
    for document, texts in zip(documents, queries, strict=True):
        for text in texts:
            words = text.split()
            assert len(words) == len(set(words)) >= 1
            assert set(words) <= set(words_of(document.text))
    lengths = Counter(len(text.split()) for text in queries[0])
    assert {2, 3, 4, 5} <= set(lengths) <= {1, 2, 3, 4, 5, 6}  # six different words


def test_half_of_the_queries_keep_the_words_in_order() -> None:
    words = [f"w{number}" for number in range(100, 200)]
    queries = generate(KnownItemConfig(queries=2_000, min_words=3, mean_words=3), untitled(" ".join(words)))[0]
    in_order = sum(text.split() == sorted(text.split()) for text in queries)
    assert 0.54 < in_order / len(queries) < 0.63  # a half, and one sixth of the others by chance


def test_lengths_follow_the_model() -> None:
    text = " ".join(f"w{number}" for number in range(10_000))
    queries = generate(KnownItemConfig(queries=5_000, min_words=2, mean_words=5), untitled(text))[0]
    lengths = np.array([len(query.split()) for query in queries])
    assert lengths.min() == 2
    assert abs(lengths.mean() - 5) < 0.1  # standard error 0.024
    assert abs(lengths.var() - 3) < 0.3  # Poisson of mean 3


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ("popular", {"often": 3, "once": 1, "common": 1}),
        ("discriminative", {"often": 1, "once": 1, "common": 1 / 51}),
        ("tf_idf", {"often": 2 * np.log(52), "once": np.log(52), "common": np.log(2)}),
    ],
)
def test_words_are_drawn_by_the_term_model(terms: Any, expected: dict[str, float]) -> None:
    config = KnownItemConfig(queries=20_000, min_words=1, mean_words=1, terms=terms, discrimination=1.0)
    drawn = Counter(generate(config, untitled("often once often common often", *["common"] * 50))[0])
    total = sum(expected.values())
    for word, weight in expected.items():
        share = weight / total
        assert abs(drawn[word] / 20_000 - share) < 5 * np.sqrt(share / 20_000)


def test_title_words_count_more() -> None:
    documents = [Document("1", "title", "text"), Document("2", "title", "text")]
    config = KnownItemConfig(queries=10_000, min_words=1, mean_words=1, terms="popular", title_weight=3.0)
    assert abs(Counter(generate(config, documents)[0])["title"] / 10_000 - 0.75) < 0.03


def test_spans_are_consecutive_words_and_noise_comes_from_the_collection() -> None:
    documents = untitled("one two three two one six", "seven eight")
    spans = generate(KnownItemConfig(queries=50, spans=1.0), documents)
    assert all(text in documents[0].text for text in spans[0])
    assert all(text in documents[1].text for text in spans[1])
    noisy = generate(KnownItemConfig(queries=2_000, noise=0.5), documents)[1]
    words = Counter(word for text in noisy for word in text.split())
    assert set(words) == set(words_of("one two three six seven eight"))
    assert abs((words["one"] + words["two"] + words["three"] + words["six"]) / words.total() - 0.5 * 6 / 8) < 0.05


def test_expansion_goes_on_after_an_interruption(tiny: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Doc2QueryConfig(known_item=KnownItemConfig(queries=3), shard_size=7)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    counts = expand(whole, doc2query=config, corpus_folder=tiny.corpus)
    assert counts["queries"] == len(read_all(whole)) == 3 * len(Corpus(tiny.corpus))
    assert [doc_index for doc_index, _ in read_all(whole)] == sorted([*range(len(Corpus(tiny.corpus)))] * 3)

    original = expand_module.write_shard
    written: list[Path] = []

    def write_then_die(path: Path, *arguments: object) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        original(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(expand_module, "write_shard", write_then_die)
    with pytest.raises(KeyboardInterrupt):
        expand(parts, doc2query=config, corpus_folder=tiny.corpus)
    monkeypatch.setattr(expand_module, "write_shard", original)
    assert expand(parts, doc2query=config, corpus_folder=tiny.corpus) == counts
    files = sorted(path.name for path in whole.iterdir())
    assert files == sorted(path.name for path in parts.iterdir())
    assert all((whole / name).read_bytes() == (parts / name).read_bytes() for name in files)


def expand_predictions(tiny: Stages, out: Path, source: Path | str, **options: Any) -> dict[str, Any]:
    out.mkdir()
    config = Doc2QueryConfig(
        known_item=KnownItemConfig(queries=0),
        predictions=PredictionsConfig(path=str(source), **options),
        shard_size=25,
    )
    return expand(out, doc2query=config, corpus_folder=tiny.corpus)


def test_json_predictions_find_their_documents(
    tiny: Stages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = Corpus(tiny.corpus)
    records: list[dict[str, Any]] = [
        {"id": document.doc_id, "predicted_queries": [document.title, "b", "c"]} for document in corpus
    ]
    records = [{"id": 5, "predicted_queries": ["lost"]}, *records[:0:-1]]  # an unknown id; not the first document
    (tmp_path / "predictions.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    counts = expand_predictions(tiny, tmp_path / "out", tmp_path / "predictions.jsonl", queries=2)
    assert read_all(tmp_path / "out") == [
        pair for number in range(1, len(corpus)) for pair in ((number, corpus[number].title), (number, "b"))
    ]
    assert counts["predictions"] == {
        "documents_without": 1,
        "documents_without_ids": ["D0"],
        "unknown": 1,
        "unknown_ids": ["5"],
    }
    complaints = capsys.readouterr().err
    assert "1 documents have no predictions: D0" in complaints
    assert "5" in complaints


def test_doctttttquery_files_are_samples_by_line_number(tiny: Stages, tmp_path: Path) -> None:
    folder = tmp_path / "released"
    folder.mkdir()
    # Two samples in two parts each; line numbers go on in the second part. D10 is document 1, and so on.
    for sample in (0, 1):
        (folder / f"predicted_queries_topk_sample00{sample}.txt000-5").write_text(
            "".join(f"s{sample} l{line}\n" for line in range(5))
        )
        (folder / f"predicted_queries_topk_sample00{sample}.txt001-5").write_text(
            "".join(f"s{sample} l{line}\n" for line in range(5, 12))
        )
    ids = {int(document.doc_id[1:]): number for number, document in enumerate(Corpus(tiny.corpus))}
    with pytest.raises(
        DsiError, match=r"nothing for any document; its ids are like 0, 1, 2, 3, 4, the corpus's like D0"
    ):
        expand_predictions(tiny, tmp_path / "bad", folder)
    stages = renamed(tiny, tmp_path / "numbered")
    expand_predictions(stages, tmp_path / "out", folder)
    assert read_all(tmp_path / "out") == [(ids[line], f"s{sample} l{line}") for line in (0, 10) for sample in (0, 1)]


def renamed(tiny: Stages, folder: Path) -> Stages:
    """The tiny corpus with the numbers alone as document ids."""
    from dsi.corpus.store import write_rows

    folder.mkdir()
    documents = (document._replace(doc_id=document.doc_id[1:]) for document in Corpus(tiny.corpus))
    write_rows(folder / "documents.arrow", Document, documents)
    return Stages(folder, tiny.tokenizer, tiny.doc2query, tiny.docids, tiny.text)


def test_predictions_of_a_hugging_face_dataset(tiny: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"id": "D20", "predicted_queries": ["one", "two"]}, {"id": "D10", "predicted_queries": ["three"]}]
    monkeypatch.setattr(datasets, "load_dataset", lambda name, split, streaming: iter(rows))
    expand_predictions(tiny, tmp_path / "out", "someone/expansions")
    assert read_all(tmp_path / "out") == [(1, "three"), (2, "one"), (2, "two")]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 2: not valid JSON"),
        ('{"id": "D0"}', "line 2: predicted_queries must be a list of strings, found None"),
        ('{"predicted_queries": []}', "line 2: id must be a string or a number, found None"),
    ],
)
def test_faulty_predictions_are_named(tiny: Stages, tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "predictions.jsonl"
    path.write_text('{"id": "D0", "predicted_queries": ["a"]}\n' + line)
    with pytest.raises(DsiError, match=complaint):
        expand_predictions(tiny, tmp_path / "out", path)
    with pytest.raises(DsiError, match=r"has neither \.jsonl nor \.txt"):
        expand_predictions(tiny, tmp_path / "out2", tiny.corpus)


def test_quality_sheet(tiny: Stages, tmp_path: Path) -> None:
    corpus = Corpus(tiny.corpus)
    words = [document.text.split() for document in corpus]
    # Each document: its first two words twice, and its fourth to sixth word, which are a dev query.
    queries = [[" ".join(own[:2]), " ".join(own[:2]), " ".join([*own[3:6], "elsewhere"])] for own in words]
    write_shard(tmp_path / "shard-00000.parquet", 0, queries[:40])
    write_shard(tmp_path / "shard-00001.parquet", 40, queries[40:])
    sheet = quality_sheet(corpus, tmp_path)
    assert sheet == {
        "sampled_queries": 180,
        "unique": 0.6667,
        "words": 2.67,
        "copied": 0.875,
        "max_jaccard": {"mean": 0.75, "buckets": [0, 0, 0, 6, 0]},
    }
