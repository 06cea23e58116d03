"""A teacher's labels: made once for every training query, resumed, and turned into weights of documents."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ON_CPU, Stages, kill_when, processes_command, read_all, run_processes, write_msmarco_folder
from numpy.typing import NDArray

from dsi.cli import main
from dsi.config import STATED_OF_TEACHER, Config, DistillationConfig, TeacherConfig, TrainingConfig
from dsi.corpus.store import Corpus, Document, Qrel, Query, write_rows
from dsi.corpus.vectors import VECTORS
from dsi.embeddings.sentence_encoder import check_bi_encoder
from dsi.errors import DsiError
from dsi.lexical.index_terms import Terms, index_terms
from dsi.model.card import UNKNOWN
from dsi.pipeline import STAGES, Run
from dsi.teacher import bi_encoder
from dsi.teacher import teach as stage
from dsi.teacher.card import about
from dsi.teacher.cross_encoder import CrossEncoder, check_cross_encoder, load_cross_encoder
from dsi.teacher.given import check_scores
from dsi.teacher.kinds import check_teacher
from dsi.teacher.labels import TeacherLabels
from dsi.teacher.queries import TrainingQueries
from dsi.teacher.store import DOC_INDEX, SCORES, SoftLabels, write_labels
from dsi.teacher.teach import label, teach

Best = tuple[NDArray[np.uint32], NDArray[np.float32]]


class Table:
    """A teacher that gives every text the same row."""

    def __init__(self, doc_index: list[int], scores: list[float]) -> None:
        self.row, self.asked = (doc_index, scores), list[str]()

    def best(self, texts: Sequence[str], count: int) -> Best:
        self.asked += texts
        doc_index, scores = (np.array([values] * len(texts)) for values in self.row)
        return doc_index[:, :count].astype(np.uint32), scores[:, :count].astype(np.float32)


@pytest.fixture(scope="module")
def lexical(tiny: Stages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lexical")
    index_terms(folder, language="en", corpus_folder=tiny.corpus)
    return folder


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "QUERIES_PER_SHARD", 64)


def taught(tiny: Stages, out: Path, lexical: Path | None = None, **keys: Any) -> dict[str, Any]:
    """The counts of the stage teacher in the folder `out`."""
    out.mkdir(exist_ok=True)
    config = TeacherConfig(**{"documents": 7, **keys})
    return teach(
        out, teacher=config, corpus_folder=tiny.corpus, doc2query_folder=tiny.doc2query, lexical_folder=lexical
    )


def with_train_queries(tiny: Stages, folder: Path) -> Stages:
    """The tiny corpus with a split train: the title of each of ten documents."""
    folder.mkdir()
    documents = list(Corpus(tiny.corpus))
    write_rows(folder / "documents.arrow", Document, documents)
    write_rows(folder / "queries.train.arrow", Query, (Query(f"t{n}", d.title) for n, d in enumerate(documents[:10])))
    write_rows(folder / "qrels.train.arrow", Qrel, (Qrel(f"t{n}", d.doc_id, 1) for n, d in enumerate(documents[:10])))
    return Stages(folder, tiny.tokenizer, tiny.doc2query, tiny.docids, tiny.text)


@pytest.mark.usefixtures("small_shards")
def test_every_training_query_has_the_best_documents(tiny: Stages, lexical: Path, tmp_path: Path) -> None:
    stages = with_train_queries(tiny, tmp_path / "corpus")
    counts = taught(stages, tmp_path / "out", lexical)
    queries = [*read_all(tiny.doc2query), *((n, Corpus(stages.corpus)[n].title) for n in range(10))]
    soft = SoftLabels(tmp_path / "out")
    assert soft.tasks == {"d2q": len(queries) - 10, "labelled": 10}
    assert len(soft) == counts["queries"] == len(queries)
    doc_index, scores = Terms(lexical).best([text for _, text in queries], 7)
    np.testing.assert_array_equal(soft.doc_index, doc_index)
    expected = np.where(scores > -np.inf, scores - scores[:, :1], -np.inf)
    np.testing.assert_allclose(soft.scores.astype(np.float32), expected, rtol=1e-3, atol=1e-6)
    own = np.array([number for number, _ in queries])
    known = (doc_index == own[:, None]) & (scores > -np.inf)
    assert counts["own_found"] == round(known.any(axis=1).mean(), 4) > 0.9
    assert counts["own_first"] == round(known[:, 0].mean(), 4)
    assert counts["bytes_per_million_queries"] == 42_000_000
    assert counts["teacher"] == "BM25 (tantivy)"


@pytest.mark.usefixtures("small_shards")
def test_a_start_goes_on_from_the_shards_that_are_there(tiny: Stages, lexical: Path, tmp_path: Path) -> None:
    taught(tiny, tmp_path / "whole", lexical)
    taught(tiny, tmp_path / "resumed", lexical)
    shards = sorted((tmp_path / "resumed/work/labels").glob("shard-*"))
    assert len(shards) == 5
    times = [shard.stat().st_mtime_ns for shard in shards]
    shards[1].unlink()
    for name in (DOC_INDEX, SCORES):
        (tmp_path / "resumed" / name).unlink()
    taught(tiny, tmp_path / "resumed", lexical)
    assert [shard.stat().st_mtime_ns == time for shard, time in zip(shards, times, strict=True)].count(False) == 1
    for name in (DOC_INDEX, SCORES):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


CONFIG = """
corpus: {{source: msmarco, path: {path}}}
tokenizer: {{vocabulary: 300}}
doc2query: {{known_item: {{queries: 600}}, shard_size: 10}}
teacher: {{documents: 5}}
model: {{d_model: 16, d_kv: 4, d_ff: 16}}
training: {{labels: teacher, steps: 5, batch_size: 64, eval_steps: 5, warmup_steps: 1}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration, whose stages up to the teacher are made."""
    folder = tmp_path_factory.mktemp("project")
    write_msmarco_folder(folder / "data")
    (folder / "my.yaml").write_text(CONFIG.format(path=folder / "data").replace("queries: 600", "queries: 20"))
    for command in ("ingest", "tokenize", "expand", "index-terms", "teach"):
        assert main([command, str(folder / "my.yaml"), "--runs", str(folder / "runs")]) == 0
    return folder


def test_killed_and_by_two_processes_it_is_the_same(tmp_path: Path) -> None:
    write_msmarco_folder(tmp_path / "data")
    config = tmp_path / "my.yaml"
    config.write_text(CONFIG.format(path=tmp_path / "data"))
    labels = {}
    for name in ("whole", "killed", "two"):
        runs = tmp_path / name
        command = ["teach", str(config), "--runs", str(runs)]
        for before in ("ingest", "expand", "index-terms"):
            assert main([before, *command[1:]]) == 0
        if name == "killed":
            partial = "teacher-*.partial/work/labels/shard-*.npz"
            kill_when([sys.executable, "-m", "dsi", *command], runs / ".store", partial, ON_CPU)
        if name == "two":
            run_processes(processes_command(2, command))
        assert main(command) == 0
        labels[name] = [(runs / "my/teacher" / file).read_bytes() for file in (DOC_INDEX, SCORES)]
        assert len(SoftLabels(runs / "my/teacher")) == 36_000
    assert labels["whole"] == labels["killed"] == labels["two"]


def test_a_text_is_asked_once_and_scores_are_those_above_the_best() -> None:
    teacher = Table([4, 2, 9], [1000.25, 999.75, -np.inf])
    doc_index, scores = label(teacher, ["b", "a", "b"], 3)
    assert teacher.asked == ["b", "a"]
    assert doc_index.tolist() == [[4, 2, 9]] * 3
    assert scores.tolist() == [[0, -0.5, -np.inf]] * 3
    nothing, none = label(Table([0, 0], [-np.inf, -np.inf]), ["a"], 2)
    assert (nothing.tolist(), none.tolist()) == ([[0, 0]], [[-np.inf, -np.inf]])


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_refused(score: float) -> None:
    with pytest.raises(DsiError, match="teacher: its scores for query 'a' are NaN or infinite"):
        label(Table([1, 2], [score, 0.0]), ["a", "b"], 2)


@pytest.mark.parametrize("unit", [1e-9, 3e-8, 1.0, 3e6, 1e30])
def test_scores_of_ones_own_may_have_any_unit(tiny: Stages, tmp_path: Path, unit: float) -> None:
    """Weights depend on differences of scores only, up to the unit of the temperature, and not on where they start."""
    queries = dict(read_all(tiny.doc2query)[:200])
    numbers, ids = list(enumerate(queries.items())), [document.doc_id for document in Corpus(tiny.corpus)]
    weights = []
    for name, scale, start in (("one", 1.0, 0.0), ("other", unit, 1e9 if unit == 1.0 else 0.0)):
        rows = [
            {
                "query": text,
                "scores": {ids[(own + n) % 60]: start + scale * ((row + 2 * n) % 7 - 3 * n) for n in range(3)},
            }
            for row, (own, text) in numbers
        ]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        taught(tiny, tmp_path / f"{name}-out", kind="run", path=str(tmp_path / name), documents=3)
        soft, own = SoftLabels(tmp_path / f"{name}-out"), np.array([n for n, _ in read_all(tiny.doc2query)])
        labels = TeacherLabels(soft, {"d2q": 300}, own, DistillationConfig(own_weight=0.8))
        weights.append(labels(np.arange(300), own))
    np.testing.assert_array_equal(weights[0][0], weights[1][0])
    np.testing.assert_allclose(weights[0][1], weights[1][1], atol=1e-5)


@pytest.mark.usefixtures("small_shards")
def test_a_last_shard_whose_documents_are_not_found_is_no_fault(
    tiny: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = set(read_all(tiny.doc2query)[256:])

    class AllButTheLast:
        def best(self, texts: Sequence[str], count: int) -> Best:
            own = {text: number for number, text in read_all(tiny.doc2query) if (number, text) not in last}
            numbers = np.array([[own.get(text, 0)] for text in texts], np.uint32)
            return numbers, np.ones((len(texts), 1), np.float32)

    monkeypatch.setattr(stage, "open_teacher", lambda *_: AllButTheLast())
    assert 0.8 < taught(tiny, tmp_path / "out", documents=1)["own_found"] < 1
    monkeypatch.setattr(stage, "open_teacher", lambda *_: Table([4_000], [2.0]))
    with pytest.raises(DsiError, match="finds none of 64 training queries' own documents"):
        taught(tiny, tmp_path / "other", documents=1)


def test_a_teacher_of_other_documents_is_refused(tiny: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "open_teacher", lambda *_: Table([4_000, 5_000], [2.0, 1.0]))
    with pytest.raises(DsiError, match="finds none of 300 training queries' own documents"):
        taught(tiny, tmp_path / "out", documents=2)


def soft_labels(folder: Path, doc_index: list[list[int]], scores: Any, **tasks: int) -> SoftLabels:
    with (folder / "shard.npz").open("wb") as file:
        np.savez(file, doc_index=np.array(doc_index, np.uint32), scores=np.array(scores, np.float16))
    write_labels(folder, [folder / "shard.npz"], tasks)
    return SoftLabels(folder)


def test_weights_of_documents(tmp_path: Path) -> None:
    """Rows of tasks d2q (two), daq (one, which has no teacher) and labelled (two, the second without any score)."""
    scores = [[0, -1, -np.inf], [0, -2, -4], [0, 0, 0], [-np.inf] * 3]
    soft = soft_labels(tmp_path, [[7, 3, 0], [1, 2, 3], [4, 5, 6], [0, 0, 0]], scores, d2q=2, labelled=2)
    own = np.array([3, 9, 5, 4, 0], dtype=np.uint32)
    for share in (0.0, 0.25, 1.0):
        config = DistillationConfig(temperature=2.0, hard_share=share)
        labels = TeacherLabels(soft, {"d2q": 2, "daq": 1, "labelled": 2}, own, config)
        rows = np.array([0, 1, 2, 3, 4, 0])
        documents, weights = labels(rows, own[rows])
        assert documents[:, 0].tolist() == [3, 9, 5, 4, 0, 3]
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
        found = [
            dict(sorted(zip(*row, strict=True), key=lambda pair: pair[1]))
            for row in zip(documents, weights, strict=True)
        ]
        first = np.exp([0, -0.5]) / np.exp([0, -0.5]).sum()
        second = np.exp([0, -1, -2]) / np.exp([0, -1, -2]).sum()
        assert found[0][7] == pytest.approx((1 - share) * first[0])
        assert found[0][3] == pytest.approx(share + (1 - share) * first[1])
        assert [found[1][d] for d in (9, 1, 2, 3)] == pytest.approx([share, *((1 - share) * second)])
        assert found[2][5] == found[4][0] == 1
        assert [found[3][d] for d in (4, 5, 6)] == pytest.approx([share + (1 - share) / 3, *[(1 - share) / 3] * 2])
        assert found[5] == found[0]


def test_the_automatic_temperature_gives_the_own_document_its_weight(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for unit in (0.05, 3.0, 400.0):  # of cosines, of BM25, and of something else
        scores = -np.sort(random.exponential(unit, size=(2_000, 8)), axis=1)
        scores -= scores[:, :1]
        doc_index = random.permuted(np.tile(np.arange(8), (2_000, 1)), axis=1)
        own = doc_index[np.arange(2_000), random.integers(0, 3, 2_000)].astype(np.uint32)
        folder = tmp_path / str(unit)
        folder.mkdir()
        soft = soft_labels(folder, doc_index.tolist(), scores.tolist(), d2q=2_000)
        for wanted in (0.3, 0.6, 0.95):
            labels = TeacherLabels(soft, {"d2q": 2_000}, own, DistillationConfig(own_weight=wanted))
            _, weights = labels(np.arange(2_000), own)
            is_first = doc_index[:, 0] == own
            assert weights[is_first, 0].mean() == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize("scores", [[[0.0]] * 4, [[0.0, 0.0]] * 4, [[0.0, -np.inf]] * 4], ids=["one", "tied", "alone"])
def test_a_weight_that_no_temperature_gives_is_refused(tmp_path: Path, scores: list[list[float]]) -> None:
    doc_index = [[number, 9][: len(scores[0])] for number in range(4)]
    soft = soft_labels(tmp_path, doc_index, scores, d2q=4)
    reached = "1.000 to 1.000" if len(set(scores[0])) == len(scores[0]) else "0.500 to 0.500"
    with pytest.raises(DsiError, match=f"own_weight=0.6: its scores allow {reached}; set training"):
        TeacherLabels(soft, {"d2q": 4}, np.arange(4), DistillationConfig())


def test_labels_of_other_queries_than_those_trained_on_are_refused(tmp_path: Path) -> None:
    soft = soft_labels(tmp_path, [[1, 2]] * 4, [[0, -1]] * 2 + [[-np.inf] * 2] * 2, d2q=2, labelled=2)
    own, given = np.array([1, 1]), DistillationConfig(temperature=1.0)
    assert TeacherLabels(soft, {"d2q": 2}, own, given).facts["known"] == 1
    with pytest.raises(DsiError, match="no scores for any of the queries that are trained on"):
        TeacherLabels(soft, {"labelled": 2}, own, given)


def test_labels_out_of_step_with_the_examples_are_refused(tmp_path: Path) -> None:
    soft = soft_labels(tmp_path, [[1], [2]], [[0], [0]], d2q=2)
    own = np.array([1, 2, 3])
    with pytest.raises(DsiError, match=r"labels for 2 queries of training\.tasks\.d2q, but there are 3"):
        TeacherLabels(soft, {"d2q": 3}, own, DistillationConfig())
    with pytest.raises(DsiError, match=r"own document of no training query first"):
        TeacherLabels(soft, {"d2q": 2}, own[1:], DistillationConfig())


class Encoder:
    """A sentence encoder: the letters of a text, counted."""

    def encode_query(self, texts: list[str], **_: Any) -> Any:
        import torch

        return torch.from_numpy(self.encode_document(texts))

    def encode_document(self, texts: list[str], **_: Any) -> NDArray[np.float32]:
        counts = np.array(
            [[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts], np.float32
        )
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


@pytest.mark.usefixtures("small_shards")
def test_a_bi_encoder_searches_all_vectors(tiny: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bi_encoder, "sentence_encoder", lambda name, key: Encoder())
    taught(tiny, tmp_path / "out", kind="bi_encoder", model=str(tmp_path))
    documents = Encoder().encode_document(list(Corpus(tiny.corpus).contents()))
    queries = Encoder().encode_document([text for _, text in read_all(tiny.doc2query)])
    products = queries @ documents.T
    soft = SoftLabels(tmp_path / "out")
    found = np.take_along_axis(products, soft.doc_index.astype(np.int64), axis=1)
    np.testing.assert_allclose(found, -np.sort(-products, axis=1)[:, :7], atol=2e-3)  # vectors are kept in float16
    np.testing.assert_allclose(soft.scores, found - found[:, :1], atol=2e-3)
    assert np.load(tmp_path / "out" / VECTORS).shape == (60, 26)


def test_a_cross_encoder_orders_what_another_finds(
    tiny: Stages, lexical: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Longest:
        def predict(self, pairs: list[tuple[str, str]], **_: Any) -> NDArray[np.float32]:
            return np.array([len(document) + len(query) for query, document in pairs], dtype=np.float32)

    monkeypatch.setattr("dsi.teacher.cross_encoder.load_cross_encoder", lambda name: Longest())
    corpus, terms = Corpus(tiny.corpus), Terms(lexical)
    texts = [text for _, text in read_all(tiny.doc2query)[:20]] + [""]
    candidates, found = terms.best(texts, 5)
    doc_index, scores = CrossEncoder("longest", terms, corpus).best(texts, 5)
    for row, text in enumerate(texts):
        known = found[row] > -np.inf
        assert set(doc_index[row, scores[row] > -np.inf]) == set(candidates[row, known])
        lengths = [len(corpus[int(number)].content()) + len(text) for number in doc_index[row, : known.sum()]]
        assert lengths == sorted(lengths, reverse=True) == scores[row, : known.sum()].tolist()


def test_a_cross_encoder_of_the_library(tiny: Stages, lexical: Path, tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast

    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]))
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    shape = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 8,
        "vocab_size": 15,
    }
    BertForSequenceClassification(BertConfig(**shape, num_labels=1)).save_pretrained(tmp_path)
    doc_index, scores = CrossEncoder(str(tmp_path), Terms(lexical), Corpus(tiny.corpus)).best(["bade", "gi fo"], 3)
    assert doc_index.shape == scores.shape == (2, 3)
    logits = CrossEncoder(str(tmp_path), Terms(lexical), Corpus(tiny.corpus)).model.predict([("bade", "gi fo")] * 2)
    trained = BertForSequenceClassification.from_pretrained(tmp_path)
    tokens = BertTokenizerFast.from_pretrained(tmp_path)("bade", "gi fo", return_tensors="pt")
    assert logits == pytest.approx(trained.eval()(**tokens).logits.item(), abs=1e-5)  # no sigmoid
    BertForSequenceClassification(BertConfig(**shape, num_labels=3)).save_pretrained(tmp_path)
    with pytest.raises(DsiError, match=r"teacher\.model: .* gives 3 scores for a pair"):
        CrossEncoder(str(tmp_path), Terms(lexical), Corpus(tiny.corpus))
    with pytest.raises(DsiError, match="gives 3 scores for a pair"):
        check_cross_encoder(str(tmp_path))
    with pytest.raises(DsiError, match="is a BertForSequenceClassification, which gives no vectors of texts"):
        check_bi_encoder(str(tmp_path), "teacher.model")
    BertModel(BertConfig(**shape)).save_pretrained(tmp_path)
    check_bi_encoder(str(tmp_path), "teacher.model")
    for refuses in (check_cross_encoder, load_cross_encoder):  # sentence-transformers would make up a head
        with pytest.raises(DsiError, match=r"teacher\.model: .* does not score pairs of texts: it is a BertModel"):
            refuses(str(tmp_path))
    pretended = json.loads((tmp_path / "config.json").read_text()) | {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "score"},
    }
    (tmp_path / "config.json").write_text(json.dumps(pretended))
    with pytest.raises(DsiError, match=r"teacher\.model: .*classifier"):
        load_cross_encoder(str(tmp_path))


def test_scores_of_ones_own(tiny: Stages, tmp_path: Path) -> None:
    stages = with_train_queries(tiny, tmp_path / "corpus")
    corpus = Corpus(stages.corpus)
    queries = TrainingQueries(corpus, tiny.doc2query)
    own, texts = queries.rows(range(len(queries)))
    some = dict(zip(texts[:40], own[:40].tolist(), strict=True))
    records = [
        {"query": text, "scores": {corpus[n].doc_id: 3, corpus[(n + 1) % 60].doc_id: 1.5}} for text, n in some.items()
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    taught(stages, tmp_path / "json", kind="run", path=str(tmp_path / "mine.jsonl"))
    soft = SoftLabels(tmp_path / "json")
    for row, text in enumerate(texts):
        hits = [(some[text], 0), ((some[text] + 1) % 60, -1.5)] if text in some else []
        assert list(zip(soft.doc_index[row].tolist(), soft.scores[row].tolist(), strict=True))[: len(hits)] == hits
        assert (soft.scores[row, len(hits) :] == -np.inf).all()
    lines = [f"t{n} Q0 {corpus[n].doc_id} 1 {2 - n / 10} me\n" for n in range(10)]
    (tmp_path / "mine.run").write_text("".join(lines))
    counts = taught(stages, tmp_path / "trec", kind="run", path=str(tmp_path / "mine.run"))
    assert counts["without_scores"] == len(texts) - sum(text in {corpus[n].title for n in range(10)} for text in texts)
    assert SoftLabels(tmp_path / "trec").doc_index[-10:, 0].tolist() == list(range(10))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "is empty"),
        ('{"query": "\\ud800", "scores": {}}', "line 1: "),
        ('{"query": "a"}', r'line 1: expected {"query": text, "scores"'),
        ('{"query": "a", "scores": {"D0": NaN}}', r"line 1: the score of document 'D0' must be a finite number"),
        ('{"query": "a", "scores": {"D0": true}}', r"line 1: the score of document 'D0' must be a finite number"),
        (
            '{"query": "a", "scores": {"D0": 1}}\n{"query": "a", "scores": {"D10": 1}}',
            r"line 2: the query 'a' comes again, with other",
        ),
        ('{"query": "a", "scores": {"nobody": 1}}', r"line 1: the corpus has no document 'nobody'"),
        ('[{"query": "a", "scores": {"D0": 1}}]', r"is a JSON list; give JSON lines"),
        ("t1 Q0 D0 1 2.0", r"line 1: expected 6 fields"),
        (
            "query Q0 doc rank score tag",
            r"line 1: the score must be a finite number, found 'score', or is this a header",
        ),
        (
            "t1 Q0 D0 1 2.0 me\nt2 Q0 D0 1 2.0 me\nt1 Q0 D10 2 1.0 me",
            r"comes again, .*lines of a query must stand together",
        ),
        ("t1 Q0 D0 1 nan me", r"line 1: the score must be a finite number, found 'nan'"),
        ("t1 Q0 D0 1 2.0 me\nt1 Q0 D0 2 1.0 me", r"line 2: document 'D0' comes twice for query 't1'"),
        ("t99 Q0 D0 1 2.0 me", r"line 1: split train has no query 't99'; .* as JSON lines"),
        ("t1 Q0 nobody 1 2.0 me", r"line 1: the corpus has no document 'nobody'"),
    ],
)
def test_faulty_scores_are_named(tiny: Stages, tmp_path: Path, lines: str, said: str) -> None:
    stages = with_train_queries(tiny, tmp_path / "corpus")
    (tmp_path / "mine").write_text(lines)
    with pytest.raises(DsiError, match=said):
        taught(stages, tmp_path / "out", kind="run", path=str(tmp_path / "mine"))
    if any(word in said for word in ("corpus", "split", "comes again")):  # which takes the corpus to know
        return
    with pytest.raises(DsiError, match=said):
        check_scores(str(tmp_path / "mine"))


def test_what_is_known_of_a_teacher(tmp_path: Path) -> None:
    unknown = {"teacher": tmp_path.name, "licence": "not stated", "trained_on": "not stated"}
    bi_encoder = TeacherConfig(kind="bi_encoder", model=str(tmp_path))
    assert about(bi_encoder) == unknown
    (tmp_path / "README.md").write_text(
        "---\nlicense: apache-2.0\ndatasets:\n- ms_marco\n- natural_questions\n---\n# A model\n"
    )
    assert about(bi_encoder) == {**unknown, "licence": "apache-2.0", "trained_on": "ms_marco, natural_questions"}
    said = TeacherConfig(kind="bi_encoder", model=str(tmp_path), licence="MIT", trained_on="a billion pairs")
    assert about(said) == {**unknown, "licence": "MIT", "trained_on": "a billion pairs"}
    (tmp_path / "README.md").write_text("---\n: [\n---\n")
    assert about(bi_encoder) == unknown
    assert about(TeacherConfig())["trained_on"] == "nothing"
    ranker = tmp_path / "ranker"
    ranker.mkdir()
    (tmp_path / "README.md").write_text("---\nlicense: [mit, other]\ndatasets: ms_marco\nname: [a]\n---\n")
    assert about(bi_encoder) == {**unknown, "licence": "mit, other", "trained_on": "ms_marco"}
    both = about(TeacherConfig(kind="cross_encoder", model=str(ranker), candidates_model=str(tmp_path)))
    assert both == {
        "teacher": "ranker on the candidates of BM25 (tantivy)",
        **dict.fromkeys(STATED_OF_TEACHER, UNKNOWN),
    }
    both = about(
        TeacherConfig(kind="cross_encoder", model=str(ranker), candidates="bi_encoder", candidates_model=str(tmp_path))
    )
    assert both["teacher"] == f"ranker on the candidates of {tmp_path.name}"
    assert both["trained_on"] == "not stated; that of the candidates: ms_marco"


@pytest.mark.parametrize(
    "keys",
    [
        ["training.consistency=0.1", "model.dropout=0.1", "training.distillation.hard_share=0.2"],
        ["docids.kind=semantic", "docids.clusters=4", "docids.leaf_size=5", "model.head=hierarchical_softmax"],
        ["docids.kind=residual", "docids.levels=2", "docids.codebook=4", "model.head=pawa", "training.consistency=0.1"],
        ["docids.kind=naive", "training.tasks.first_p=1", "training.distillation.temperature=2.0"],
    ],
    ids=["atomic", "hierarchical", "pawa", "naive"],
)
def test_every_kind_of_docid_learns_from_a_teacher(project: Path, keys: list[str]) -> None:
    for command in ("embed", "assign", "train"):
        assert main([command, str(project / "my.yaml"), "--runs", str(project / "runs"), "--set", *keys]) == 0
    counts = json.loads((project / "runs/my/model/manifest.json").read_text())["counts"]
    assert counts["distilled"] == {"teacher": "BM25 (tantivy)", "licence": "MIT", "trained_on": "nothing"}
    assert counts["labels"]["temperature"] > 0
    assert 0 < counts["labels"]["own_first"] <= counts["labels"]["own_found"] <= counts["labels"]["known"] <= 1
    assert counts["RR@10"] > 0


def test_what_no_label_depends_on_makes_nothing_again(tmp_path: Path) -> None:
    def made_from(**keys: Any) -> Any:
        config = Config(training=TrainingConfig(labels="teacher"), teacher=TeacherConfig(**keys))
        return Run(config, "my", tmp_path).inputs(STAGES["teacher"])["teacher"]

    assert made_from() == made_from(model="another", licence="MIT", trained_on="much", candidates="bi_encoder")
    assert made_from() != made_from(documents=8)
    assert made_from(kind="bi_encoder", model="a") != made_from(kind="bi_encoder", model="b")
    assert made_from(kind="bi_encoder") == made_from(kind="bi_encoder", candidates_model="b", trained_on="much")
    assert made_from(kind="cross_encoder") != made_from(kind="cross_encoder", candidates="bi_encoder")
    assert made_from(kind="cross_encoder") == made_from(kind="cross_encoder", candidates_model="b")

    def trained_from(labels: str, **keys: Any) -> Any:
        training = TrainingConfig.model_validate({"labels": labels, "distillation": keys})
        return Run(Config(training=training), "my", tmp_path).inputs(STAGES["model"])["training"]

    assert trained_from("document") == trained_from("document", own_weight=0.5)
    assert trained_from("teacher") != trained_from("teacher", own_weight=0.5)
    assert trained_from("teacher", temperature=1.0) == trained_from("teacher", temperature=1.0, own_weight=0.5)


def test_a_run_of_queries_that_no_one_trains_on_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "mine.run"
    run.write_text("t1 Q0 D0 1 2.0 me\n")
    teacher = TeacherConfig(kind="run", path=str(run))
    check_teacher(teacher, labelled=True)
    with pytest.raises(DsiError, match=r"is a TREC run, whose queries are those of split train\. The index"):
        check_teacher(teacher, labelled=False)
    run.write_text('{"query": "a", "scores": {"D0": 1}}\n')
    check_teacher(teacher, labelled=False)
    with pytest.raises(DsiError, match=r"teacher\.path: .* is a folder"):
        check_teacher(TeacherConfig(kind="run", path=str(tmp_path)), labelled=True)
    with pytest.raises(ValueError, match=r"teacher\.documents=1 leaves .*auto nothing to weigh"):
        Config(training=TrainingConfig(labels="teacher"), teacher=TeacherConfig(documents=1))
    with pytest.raises(ValueError, match="expected auto or a number above 0, found 0"):
        DistillationConfig(temperature=0.0)


def test_scores_of_queries_that_are_none_are_told(
    tiny: Stages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [document.doc_id for document in Corpus(tiny.corpus)]
    rows = [{"query": text, "scores": {ids[own]: 2.0, ids[0]: 1.0}} for own, text in read_all(tiny.doc2query)[:9]]
    rows.insert(4, {"query": "never a query", "scores": {ids[1]: 1.0}})
    (tmp_path / "mine").write_text("".join(json.dumps(row) + "\n" for row in rows))
    taught(tiny, tmp_path / "out", kind="run", path=str(tmp_path / "mine"))
    said = capsys.readouterr().err
    assert "1 queries of " in said
    assert "are no training queries, the first on line 5; their scores are not used" in said
    assert "291 of 300 training queries have no scores" in said
