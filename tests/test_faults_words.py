"""Words and languages: combining marks, normal forms, scripts without blanks, analyzers, BM25's parameters."""
# ruff: noqa: RUF001 (letters of many scripts look like Latin ones)

import unicodedata
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from transformers import AutoTokenizer

from dsi.baselines.bm25 import OWN_WORDS
from dsi.baselines.java import start_java
from dsi.baselines.run_baselines import run_baselines
from dsi.baselines.tuning import Tuning
from dsi.config import BaselinesConfig, Bm25Config, Config, CorpusConfig, KnownItemConfig, TokenizerConfig
from dsi.config.corpus import Language
from dsi.corpus.ingest import ingest
from dsi.corpus.known_item import KnownItemGenerator, read_collection
from dsi.corpus.language import warn_of_language
from dsi.corpus.store import Corpus, Document, Qrel, Query, write_rows
from dsi.corpus.words import joined, words_of
from dsi.doc2query.shards import read_shard, write_shard
from dsi.embeddings.tfidf import Tfidf
from dsi.errors import DsiError
from dsi.evaluation.measures import parse_measures, score_run
from dsi.pipeline import STAGES, Run
from dsi.search.run_files import read_run
from dsi.tokenizer import tokenize

HINDI = ["किताब मेज पर रखी है", "बच्चा नदी में तैरता है", "रसोई में दीपक जल रहा है", "पहाड़ी पर बकरी चढ़ती है"]
THAI = ["ที่บ้านมีแมว", "นกบินบนฟ้า", "ปลาว่ายน้ำในทะเล"]
CHINESE = ["渔夫在河边修补渔网", "海上有船", "船在海上", "去上海的铁路经过三座山和两条河", "石の壁を登る"]
ENGLISH = ["the baker lights the oven before dawn", "rain drums on the tin roof of the shed"]


def write_corpus(folder: Path, texts: list[str], queries: dict[str, int], split: str = "test") -> Corpus:
    """A corpus stage folder with these documents, and queries by the number of their relevant document."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "documents.arrow", Document, (Document(f"d{n}", "", text) for n, text in enumerate(texts)))
    write_rows(folder / f"queries.{split}.arrow", Query, (Query(f"q{n}", text) for n, text in enumerate(queries)))
    qrels = (Qrel(f"q{n}", f"d{document}", 1) for n, document in enumerate(queries.values()))
    write_rows(folder / f"qrels.{split}.arrow", Qrel, qrels)
    return Corpus(folder)


def bm25_of(out: Path, corpus: Corpus, language: str) -> float:
    """RR@10 of BM25 on the split test."""
    out.mkdir()
    run_baselines(out, baselines=BaselinesConfig(), split=None, corpus_folder=corpus.folder, language=language)
    return score_run(parse_measures(["RR@10"]), corpus.qrels("test"), read_run(out / "bm25.run"))["RR@10"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("किताब", "किताब"),
        ("हिन्दी", "हिन्दी"),
        (unicodedata.normalize("NFD", "Brûlé"), "brûlé"),
        ("ที่บ้าน", "ที่บ้าน"),
        ("İzmir", "izmir"),
        ("i\u0307zmir", "izmir"),  # Python's small İzmir
        ("Straße", "straße"),
        ("ΟΔΟΣ", "οδος"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("كتـاب", "كتـاب"),
        ("co\u00adoperate", "cooperate"),
        ("葛\U000e0100城", "葛城"),
    ],
)
def test_a_word_keeps_its_marks(text: str, word: str) -> None:
    assert words_of(text) == words_of(unicodedata.normalize("NFD", text)) == [word]


def test_a_mark_alone_is_no_word() -> None:
    assert words_of("\u0301 ❤\ufe0f x\u200c \u200dy 1\ufe0f\u20e3") == ["x", "y", "1"]


@pytest.mark.parametrize("punctuation", [False, True])
def test_combining_marks(tmp_path: Path, punctuation: bool) -> None:
    corpus = write_corpus(tmp_path / "corpus", HINDI + THAI + ["le pré", "la İzmir d'été"] + ENGLISH * 20, {})
    config = TokenizerConfig(vocabulary=300, punctuation=punctuation)
    tokenize(tmp_path, tokenizer=config, checkpoint=None, corpus_folder=corpus.folder)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert not any(tokenizer.unk_token_id in tokenizer(text)["input_ids"] for text in corpus.contents())
    for one, other in (("किताब", "कतब"), ("दीपक", "दपक"), ("पहाड़ी", "पहड़"), ("pré", "pre"), ("ฟ้า", "ฟา")):
        for form in ("NFC", "NFD"):
            assert tokenizer.tokenize(unicodedata.normalize(form, one)) == tokenizer.tokenize(one)
        assert tokenizer.tokenize(one) != tokenizer.tokenize(other)
    assert tokenizer.tokenize("İzmir") == tokenizer.tokenize("izmir")
    assert tokenizer.tokenize("میخواهم") == tokenizer.tokenize("می\u200cخواهم")


def test_a_rare_letter_has_a_token(tmp_path: Path) -> None:
    """The digits of the default corpus are rarer than SentencePiece's character coverage allows."""
    corpus = write_corpus(tmp_path / "corpus", ENGLISH * 200 + ["gate 7", "gate 9", "gate ζ"], {})
    tokenize(tmp_path, tokenizer=TokenizerConfig(), checkpoint=None, corpus_folder=corpus.folder)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.unk_token_id not in tokenizer("gate 79ζ")["input_ids"]
    assert "▁" in tokenizer.get_vocab()


def test_tfidf_weighs_words_with_their_marks() -> None:
    texts = [*HINDI, "कतब मज"]
    encoder, _ = Tfidf.fit(texts, len(texts), seed=0)
    assert "किताब" in encoder.words.vocabulary_
    decomposed = unicodedata.normalize("NFD", "पहाड़ी बकरी")
    assert np.array_equal(encoder([decomposed]), encoder(["पहाड़ी बकरी"]))


def test_normal_forms(tmp_path: Path) -> None:
    decompose = partial(unicodedata.normalize, "NFD")
    documents = [("d\u0301", decompose("crème brûlée")), ("d1", "forêt gelée"), ("d2", decompose("smörgåsbord"))]
    queries = [("e\u0301", "brûlée"), ("q1", decompose("gelée")), ("q2", "smörgåsbord")]
    folder = tmp_path / "source"
    folder.mkdir()
    lines = {"collection.tsv": documents, "queries.test.tsv": queries}
    for name, rows in lines.items():
        (folder / name).write_text("".join(f"{key}\t{text}\n" for key, text in rows), encoding="utf-8")
    qrels = "".join(f"{query} 0 {doc} 1\n" for (query, _), (doc, _) in zip(queries, documents, strict=True))
    (folder / "qrels.test.tsv").write_text(qrels, encoding="utf-8")
    (tmp_path / "corpus").mkdir()
    ingest(tmp_path / "corpus", corpus=CorpusConfig(source="msmarco", path=str(folder)))
    corpus = Corpus(tmp_path / "corpus")
    texts = [*(document.text for document in corpus), *(query.text for query in corpus.queries("test"))]
    assert all(unicodedata.is_normalized("NFC", text) for text in texts)
    assert [corpus[0].doc_id, corpus.queries("test")[0].query_id] == ["d\u0301", "e\u0301"]  # ids as they came
    assert bm25_of(tmp_path / "out", corpus, "en") == 1.0


def test_synthetic_queries_are_in_the_normal_form_of_the_corpus(tmp_path: Path) -> None:
    write_shard(tmp_path / "shard-0.parquet", 0, [["cre\u0300me"]])
    assert read_shard(tmp_path / "shard-0.parquet")[1] == ["cr\u00e8me"]


def test_languages_without_spaces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = write_corpus(tmp_path / "corpus", CHINESE, {"上海": 3, "石の壁": 4})
    warn_of_language(corpus, "zh")
    assert capsys.readouterr().err == ""
    warn_of_language(corpus, "en")
    assert "corpus.language=en, but 100%" in (warning := capsys.readouterr().err)
    assert "set corpus.language (zh, ja, ko)" in warning
    assert bm25_of(tmp_path / "en", corpus, "en") < 1.0 == bm25_of(tmp_path / "zh", corpus, "zh")


@pytest.mark.parametrize("texts", [CHINESE, THAI, ["ភាសាខ្មែរជាភាសា"], ["ພາສາລາວເປັນພາສາ"], ["မြန်မာဘာသာစကား"]])
def test_queries_of_a_script_without_blanks_differ(texts: list[str]) -> None:
    documents = [Document(str(number), "", text) for number, text in enumerate(texts)]
    generator = KnownItemGenerator(KnownItemConfig(queries=10, spans=0.5), read_collection(texts, len(texts)))
    for text, queries in zip(texts, generator(documents, np.random.default_rng(0)), strict=True):
        assert len(set(queries)) > 2
        assert not any(" " in query for query in queries)
        assert all(set(query) <= set(text) for query in queries)


def test_words_are_joined_as_their_script_writes_them() -> None:
    for text in ("去上海的铁路", "时间 and 船", "ที่บ้านมีแมว", "カード", "한국어 문서", "a heron"):
        assert joined(" ".join(words_of(text, pairs=True))) == text


@pytest.mark.parametrize(
    ("language", "texts", "query"),
    [
        ("th", THAI, "แมว"),
        ("ar", ["الكتاب على الطاولة", "القلم في الدرج"], "كتاب"),
        ("hi", HINDI[3:] + HINDI[:3], "बकरियाँ पहाड़ियों"),
        ("ru", ["книги на столе", "карандаш в ящике"], "книга"),
        ("other", ["το βιβλίο είναι εδώ", "η θάλασσα"], "ΒΙΒΛΊΟ"),
    ],
)
def test_bm25_speaks_the_language(tmp_path: Path, language: str, texts: list[str], query: str) -> None:
    assert bm25_of(tmp_path / "out", write_corpus(tmp_path / "corpus", texts, {query: 0}), language) == 1.0


def test_lucene_has_an_analyzer_for_every_other_language() -> None:
    start_java()
    from pyserini.pyclass import autoclass

    known = autoclass("io.anserini.analysis.AnalyzerMap").analyzerMap
    assert all(known.containsKey(language) for language in {*get_args(Language)} - {*OWN_WORDS, "en"})


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(ValueError, match="'zh' or 'other'"):
        CorpusConfig(language="xx")  # type: ignore[arg-type]


def test_another_language_changes_the_baselines_only(tmp_path: Path) -> None:
    runs = [Run(Config(corpus=CorpusConfig(language=language)), "x", tmp_path) for language in ("en", "fr")]
    changed = [name for name, stage in STAGES.items() if len({run.fingerprint(stage) for run in runs}) > 1]
    assert changed == ["baselines", "evaluation", "report"]


def test_bm25_is_tuned_on_dev(tmp_path: Path) -> None:
    """The relevant document has the word more often but is long: large k1 and small b find it."""
    texts = ["heron " * 4 + "filler " * 30, "heron pond", "other words here"]
    corpus = write_corpus(tmp_path / "corpus", texts, {"heron": 0}, "dev")
    write_corpus(tmp_path / "corpus", texts, {"heron": 0})
    tuned = BaselinesConfig(bm25=Bm25Config(tune=True, k1=0.9, b=0.9))
    values = []
    for name, config in (("tuned", tuned), ("fixed", BaselinesConfig(bm25=Bm25Config(k1=0.9, b=0.9)))):
        out = tmp_path / name
        out.mkdir()
        folder = corpus.folder
        costs = run_baselines(out, baselines=config, split="test", corpus_folder=folder, measures=["RR@10", "R@5"])
        values += [score_run(parse_measures(["RR@10"]), corpus.qrels("test"), read_run(out / "bm25.run"))["RR@10"]]
        assert ("tuned" in costs["bm25"]) == (name == "tuned")
    assert values == [1.0, 0.5]


def test_parameters_as_good_as_any_are_kept(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", ENGLISH, {"baker": 0, "rain": 1}, "dev")
    config = BaselinesConfig(bm25=Bm25Config(tune=True, k1=1.1, b=0.35))
    costs = run_baselines(tmp_path, baselines=config, split="dev", corpus_folder=corpus.folder, measures=["RR@10"])
    assert (costs["bm25"]["k1"], costs["bm25"]["b"]) == (1.1, 0.35)
    assert costs["bm25"]["tuned"]["measure"] == "RR@10"
    assert costs["bm25"]["tuned"]["value"] == 1.0


def test_tuning_without_dev_queries_is_refused_before_the_work(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", ENGLISH, {"baker": 0})
    with pytest.raises(DsiError, match=r"baselines\.bm25\.tune: the corpus has no split 'dev'"):
        Tuning(corpus, "RR@10")
    source = tmp_path / "source"
    source.mkdir()
    (source / "collection.tsv").write_text("d0\tbaker\n")
    (source / "queries.test.tsv").write_text("q0\tbaker\n")
    (source / "qrels.test.tsv").write_text("q0 0 d0 1\n")
    values = {
        "corpus": {"source": "msmarco", "path": str(source)},
        "baselines": {"bm25": {"tune": True}},
    }
    with pytest.raises(DsiError, match=r"baselines\.bm25\.tune"):
        Run(Config.model_validate(values), "x", tmp_path / "runs").check()
    with pytest.raises(ValueError, match=r"baselines\.bm25\.tune needs a split dev"):
        Config.model_validate(
            {**values, "corpus": {"source": "ir_datasets", "dataset": "x", "splits": {"test": "x/test"}}}
        )
