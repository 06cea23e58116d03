"""Section `corpus`: documents, queries and judgements."""

from collections.abc import Collection
from typing import Literal, Self

from pydantic import Field, model_validator

from dsi.config.scalars import FilePath
from dsi.config.section import Count, CountOrZero, Section, Seed, Share

TRAIN, DEV, TEST = USUAL_SPLITS = ("train", "dev", "test")
"""The splits that are read without being named where a source has them."""


# fmt: off
Language = Literal[
    "ar", "bn", "da", "de", "en", "es", "fa", "fi", "fr", "hi", "hu", "id", "it", "ja", "km", "ko", "lo", "my", "nl",
    "no", "pl", "pt", "ru", "sv", "te", "th", "tr", "uk", "zh", "other",
]
# fmt: on


def reported_split(split: str | None, splits: Collection[str]) -> str:
    """The split to report of those that a corpus has: `split` if given, else test, else dev, which it may lack.

    >>> reported_split(None, ["dev", "train"])
    'dev'
    """
    return split or (TEST if TEST in splits else DEV)


class CorpusConfig(Section):
    """The documents, the queries and the relevance judgements."""

    source: Literal["pydoc", "msmarco", "beir", "ir_datasets", "documents"] = "pydoc"
    """pydoc: docstrings of Python and of installed packages. msmarco: the official TSV files. beir: a folder in BEIR's
    format. ir_datasets: a dataset of that catalogue. documents: texts of your own, which need no queries: .jsonl, .csv,
    .tsv, .parquet, .txt, .md, a folder of them, or a dataset of the Hugging Face hub."""
    path: FilePath | None = None
    """msmarco, beir: the folder that holds the files, as they are, with .gz added or in .tar.gz there; or a .tar.gz.
    documents: the file, plain, .gz or .zst, or the folder."""
    dataset: str | None = None
    """ir_datasets: the id of the dataset that has the documents, e.g. msmarco-passage. documents: a name of the Hugging
    Face hub, whose split train is read, in place of a path."""
    passages: Literal["document", "paragraph"] = "document"
    """documents: whether a text is one document, or each of its paragraphs, which blank lines divide."""
    queries: FilePath | None = None
    """documents: queries with judgements, lines of JSON with id and text or of an id, a tab and a text. Half of them,
    by a hash of the id, are split dev and the others test."""
    qrels: FilePath | None = None
    """documents: their judgements, lines of query id, document id and relevance, or TREC's of four columns."""
    simulated_queries: CountOrZero | None = None
    """Number of known-item queries (see doc2query.known_item; other draws than those to train on) that make split dev
    where the source has no queries. Null: 1,000 for source documents, none for others."""
    licence: str | None = Field(default=None, exclude=True)
    """The licence of the documents, which the card of a saved index states."""
    packages: list[str] = []
    """pydoc: installed packages to read beside the standard library."""
    language: Language = Field(default="en", exclude=True)  # decides nothing of what is read
    """The language of the documents, which chooses the analyzer of bm25 and bm25_doc2query. zh, ko: pairs of letters;
    ja: Kuromoji's words. km, lo, my, th: pairs of letters, of our own. other: our own words, without stems and stop
    words. The rest: Lucene's analyzer of the language."""
    splits: dict[str, str] = {}
    """Splits that must exist: the name that each gets, and its name in the source, e.g. {dev: dev.small} for msmarco,
    {dev: msmarco-passage/dev/small} for ir_datasets. Splits train, dev and test of a folder need not be named."""
    size: Count | None = None
    """Number of documents to keep: first those judged for evaluation queries, then those judged for training queries,
    then random ones. A smaller subset is contained in every larger one. If it cannot hold those judged for evaluation
    queries, a sample of these queries is kept (seed), those whose documents fit. Null keeps all."""
    evaluation_queries: Count | None = None
    """Number of judged queries to keep in every split but train, the first ones. Null keeps all."""
    ignore_identical_ids: bool | None = None
    """Whether a query whose id is a document's is that document (ArguAna, Quora), which its ranking leaves out then.
    Null: for BEIR's collections (source beir, and ir_datasets' beir/...), as in published results; for others, where
    ids may be equal by chance, only if that document has all words of the query. One that is relevant to it is kept."""
    max_unknown: Share = 0.0
    """Largest tolerated share of judgements that name an unknown query or an unknown or empty document."""
    seed: Seed = 0
    """Seed of the choice of random documents and of the sample of queries (size)."""

    @property
    def has_identical_ids(self) -> bool:
        """Whether a query and a document of the same id are the same."""
        is_beir = self.source == "beir" or (self.dataset or "").startswith("beir/")
        return is_beir if self.ignore_identical_ids is None else self.ignore_identical_ids

    @property
    def simulated(self) -> int:
        """The number of queries to simulate if the source has none."""
        has_own = self.source != "documents" or self.queries is not None
        return (0 if has_own else 1_000) if self.simulated_queries is None else self.simulated_queries

    @property
    def unused(self) -> set[str]:
        """The keys of source documents, where that is another one."""
        others = set() if self.simulated_queries is not None else {"simulated_queries"}
        return others if self.source == "documents" else {"passages", "queries", "qrels"} | others

    @model_validator(mode="after")
    def _source_has_its_keys(self) -> Self:
        if self.source in ("msmarco", "beir") and self.path is None:
            raise ValueError(f"corpus.path is needed with corpus.source={self.source}")
        if self.source == "ir_datasets" and (self.dataset is None or not self.splits):
            raise ValueError("corpus.dataset and corpus.splits are needed with corpus.source=ir_datasets")
        if self.source == "documents" and (self.path is None) == (self.dataset is None):
            raise ValueError("corpus.path or corpus.dataset is needed with corpus.source=documents, and not both")
        if (self.queries is None) != (self.qrels is None):
            raise ValueError("corpus.queries and corpus.qrels are given together")
        return self
