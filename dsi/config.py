"""One YAML file is one experiment: its keys, types, defaults and meanings are all here.

`dsi config` prints this file's content as commented YAML. A config file names only what differs from the defaults;
`--set section.key=value` (`make SET="..."`) overrides both. Unknown keys, wrong types and impossible combinations
raise `DsiError`, which names the file, the key and what is allowed.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Set
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from dsi.errors import DsiError, first_line

AnySection = TypeVar("AnySection", bound="Section")
Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class CorpusConfig(Section):
    source: Literal["pydoc", "msmarco", "beir", "ir_datasets"] = "pydoc"
    """pydoc: documentation of Python and of installed packages; msmarco: the official TSV files; beir: a BEIR folder;
    ir_datasets: any id of that catalogue."""
    path: str | None = None
    """msmarco, beir: the folder that holds the files; msmarco also takes the official .tar.gz."""
    dataset: str | None = None
    """ir_datasets: the id that has the documents, e.g. msmarco-passage."""
    packages: list[str] = []
    """pydoc: installed packages to read beside the standard library."""
    splits: dict[str, str] = {}
    """Our split name -> the source's (msmarco {dev: dev.small}; ir_datasets {dev: msmarco-passage/dev/small}); these
    must exist. Splits named train, dev and test are read without being named here where a folder has them."""
    size: Count | None = None
    """Keep this many documents: first those judged for the evaluation queries, then those of the training queries,
    then random ones. A smaller subset is contained in every larger one. Null keeps all."""
    evaluation_queries: Count | None = None
    """Keep the first so many judged queries of every split but train, whose documents a small subset must hold. Null
    keeps all."""
    max_unknown: Share = 0.0
    """Largest tolerated share of judgements that name an unknown (or empty) document or an unknown query."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _source_has_its_keys(self) -> Self:
        if self.source in ("msmarco", "beir") and self.path is None:
            raise ValueError(f"corpus.path is needed with corpus.source={self.source}")
        if self.source == "ir_datasets" and (self.dataset is None or not self.splits):
            raise ValueError("corpus.dataset and corpus.splits are needed with corpus.source=ir_datasets")
        return self


class TokenizerConfig(Section):
    vocabulary: Count = 16_000
    """Size of the SentencePiece vocabulary trained on the corpus. A model.checkpoint brings its own."""
    lowercase: bool = True
    """Fold case before training the vocabulary (queries rarely keep it)."""
    punctuation: bool = False
    """Whether a vocabulary trained here has pieces for it. Without, `(status,` and `status` are the same piece."""


class KnownItemConfig(Section):
    """Term models and noise are those of Azzopardi et al. 2007."""

    queries: Annotated[int, Field(ge=0)] = 40
    """Simulated queries a document; 0 turns the generator off."""
    min_words: Count = 2
    """Words of the shortest query (fewer if a word is drawn twice)."""
    mean_words: Rate = 4.5
    """Mean number of words; those above min_words follow a Poisson distribution."""
    terms: Literal["tf_idf", "popular", "discriminative"] = "tf_idf"
    """How a document's words are drawn. tf_idf: damped frequency times a power of the inverse document frequency;
    popular: by frequency in the document; discriminative: inversely to the number of documents."""
    discrimination: Annotated[float, Field(ge=0)] = 1.5
    """tf_idf: that power. More prefers rare words."""
    title_weight: Annotated[float, Field(gt=0)] = 1.0
    """tf_idf, popular: occurrences that one in the title counts as."""
    noise: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Chance that a word is replaced by one of the collection: what a query says that its document does not."""
    spans: Share = 0.0
    """Share of queries that are consecutive words of the document instead: for queries that are whole sentences."""

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        if self.mean_words < self.min_words:
            raise ValueError("doc2query.known_item.mean_words is below min_words")
        return self


class T5GeneratorConfig(Section):
    """Defaults are docTTTTTquery's and the paper's (section 6.1)."""

    queries: Annotated[int, Field(ge=0)] = 0
    """Queries sampled a document from the model of section `generator`; 0 turns it off."""
    top_k: Count = 10
    """A piece is drawn from this many most probable ones; 1 is greedy."""
    temperature: Rate = 1.0
    document_length: Count = 512
    """Input tokens of a document, the rest is cut."""
    query_length: Count = 64
    """Longest query, in tokens."""
    prefix: str = ""
    """Text before every document, for checkpoints that expect one."""
    batch_tokens: Count = 32_768
    """Tokens, read and at most written, of the documents that go together: bounds the memory."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 where the GPU has it."""


class T5Sizes(Section):
    """Of a T5 that starts from random weights. The defaults suit two CPU cores: a second encoder layer costs more in
    steps than it brings."""

    d_model: Count = 256
    num_layers: Count = 1
    num_decoder_layers: Count = 1
    num_heads: Count = 4
    d_kv: Count = 64
    d_ff: Count = 512


class GeneratorConfig(T5Sizes):
    """The model behind `doc2query.t5`, and its training on pairs of a document and a real query (the paper's in-domain
    D2Q)."""

    checkpoint: str | None = "castorini/doc2query-t5-base-msmarco"
    """A sequence-to-sequence checkpoint, hub name or folder. Null starts a T5 from random weights with the sizes above
    and the corpus's own vocabulary."""
    steps: Annotated[int, Field(ge=0)] = 0
    """Training steps on labelled pairs; 0 uses the checkpoint as it is."""
    split: str = "train"
    """Queries of the corpus whose relevant documents make the pairs."""
    extra: list[str] = []
    """BEIR folders whose pairs, of all their splits, are added."""
    simulated_steps: Annotated[int, Field(ge=0)] = 0
    """Steps before those on known-item queries of the corpus's documents, which teach a random model to copy."""
    batch_size: Count = 64
    """Pairs a step, over all processes."""
    learning_rate: Rate = 1e-4
    """docTTTTTquery's."""
    embedding_learning_rate: Rate = 1e-4
    """Step of the embeddings: the same for a checkpoint, larger from random weights (see `training`)."""
    eval_steps: Count = 200
    """Steps between two evaluations on held-out pairs; the best model is kept."""
    held_out: Count = 200
    """Labelled pairs held out (at most a tenth of them)."""
    document_length: Count = 512
    query_length: Count = 64
    """Tokens, the rest is cut."""
    dropout: Share = 0.1
    seed: Seed = 0

    @property
    def is_trained(self) -> bool:
        """Whether it is trained before it is used."""
        return self.steps + self.simulated_steps > 0


class PredictionsConfig(Section):
    path: str | None = None
    """Released queries. docTTTTTquery's text files, a folder or one file: line n, from 0, belongs to the document with
    id n, and several files are several samples. JSON lines {"id": ..., "predicted_queries": [...]}, a folder or one
    file. Or the name of a Hugging Face dataset with these two columns."""
    queries: Count = 40
    """The first so many a document."""


class Doc2QueryConfig(Section):
    """Generators that are on (queries above 0, a path) add up to a mixture."""

    known_item: KnownItemConfig = KnownItemConfig()
    """Known-item simulation (Azzopardi et al. 2007): words drawn from the document by discriminative power."""
    t5: T5GeneratorConfig = T5GeneratorConfig()
    """Queries sampled from a sequence-to-sequence model (docTTTTTquery)."""
    predictions: PredictionsConfig = PredictionsConfig()
    """Queries that others have generated and released."""
    shard_size: Count = 10_000
    """Documents a shard: the unit of resuming and of randomness."""
    seed: Seed = 0


class DocidsConfig(Section):
    kind: Literal["atomic", "naive", "semantic", "semantic_2d", "residual"] = "atomic"
    """atomic: one token a document; naive: the collection's own id as a string; semantic: the path through a tree of
    k-means clusters, the same k tokens on every level; semantic_2d: the same with tokens of its own on every level;
    residual: residual quantisation, as RIPOR and TIGER."""
    alphabet: Literal["characters", "pieces"] = "characters"
    """naive: one docid token a character of the id, or the pieces of the text tokenizer (as the paper)."""
    clusters: Annotated[int, Field(ge=2)] = 10
    """semantic, semantic_2d: k, children of an inner node."""
    leaf_size: Count = 100
    """semantic, semantic_2d: c, the largest cluster that is not split further."""
    levels: Count = 3
    """residual: codes a document (RIPOR: 32, TIGER: 3), and one more for documents whose codes are the same."""
    codebook: Annotated[int, Field(ge=2)] = 256
    """residual: centroids of a level."""
    seed: Seed = 0

    @property
    def is_clustered(self) -> bool:
        """Whether this kind is made of vectors (section `embeddings`)."""
        return self.kind not in ("atomic", "naive")


class EmbeddingsConfig(Section):
    """A vector a document, which all docid kinds but atomic and naive cluster. The baseline `dense` uses them too where
    they are its model's."""

    kind: Literal["tfidf", "document_states", "sentence_transformers", "file"] = "tfidf"
    """TF-IDF + truncated SVD, the untrained model's own document states (section `model`), a sentence-transformers
    model, or a file."""
    model: str = "sentence-transformers/sentence-t5-base"
    """sentence_transformers: name or folder of the model."""
    file: str | None = None
    """file: a .npy file of floating-point numbers, a row a document in corpus order; it may be larger than memory."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _file_is_named(self) -> Self:
        if self.kind == "file" and self.file is None:
            raise ValueError("embeddings.file is needed with embeddings.kind=file")
        return self


class BodyConfig(T5Sizes):
    """What an index and the dual encoder that it is compared with have in common."""

    checkpoint: str | None = None
    """A T5, T5.1.1 or mT5 checkpoint (hub name or folder). Null starts from random weights with the sizes above. Or
    runs/NAME/model, a trained index: it passes on its body, whose document states then start the output rows."""
    dropout: Share = 0.0
    query_length: Count = 32
    """Input tokens of a query, the rest is cut."""
    document_length: Count = 96
    """Input tokens of a document, the rest is cut."""


class ModelConfig(BodyConfig):
    head: Literal["plain", "tree", "pawa"] = "plain"
    """plain: an output row a docid token. tree: a row a node of the docid trie, softmax over siblings. pawa: rows that
    change with the prefix (docids.kind semantic_2d or residual)."""
    pawa: Literal["additive", "matrix"] = "additive"
    """pawa: how (see dsi.model.heads)."""
    pawa_layers: Count = 1
    """pawa: layers of the decoder that reads the prefix and the query."""
    warm_start: bool = True
    """atomic and head=tree: start each output row from the model's states for its documents before any training."""

    @property
    def body(self) -> BodyConfig:
        return BodyConfig(**{key: getattr(self, key) for key in BodyConfig.model_fields})


Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Ranking = Literal["path", "leaf"]


class TasksConfig(Section):
    """Share of each training task in the examples, up to a common factor; 0 leaves it out. The paper's best for MS
    MARCO is synthetic queries alone; it gives no shares for mixtures (DSI: 32 texts to a labelled query)."""

    d2q: Weight = 1.0
    """Synthetic query to docid."""
    first_p: Weight = 0.0
    """First pieces of the document to docid (FirstP)."""
    daq: Weight = 0.0
    """Random spans of the document to docid (DaQ)."""
    labelled: Weight = 0.0
    """Queries of split train to the docids of their relevant documents."""
    passage_length: Count = 64
    """first_p, daq: pieces of a text."""
    spans: Count = 10
    """daq: spans a document; one that is not longer than a span is its only one."""

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if not self.d2q + self.first_p + self.daq + self.labelled:
            raise ValueError("training.tasks: all weights are 0")
        return self


class TrainingConfig(Section):
    tasks: TasksConfig = TasksConfig()
    steps: Count = 3_000
    rounds: Count = 1
    """Trainings of so many steps, one after the other, each with its own warm-up and decay. After each one, the output
    rows are refreshed with the document states of the model as trained (where model.warm_start applies), if that ranks
    the dev queries better."""
    batch_size: Count = 256
    """Examples an optimiser step, over all processes and accumulated micro-batches."""
    accumulation: Count = 1
    """Micro-batches an optimiser step."""
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    """adafactor: T5's, for output rows too many for AdamW's two moments; its steps are relative to the parameters'
    size, so that the three learning rates can be equal (T5 and the paper: 1e-3; from random weights 1e-2)."""
    learning_rate: Rate = 1e-3
    """Step of the transformer's matrices."""
    embedding_learning_rate: Rate = 2e-2
    """Step of the input embeddings. T5 starts them at standard deviation 1, some 16 times the matrices' scale."""
    head_learning_rate: Rate | None = None
    """Step of the docid output rows. Null: 12 divided by the number of documents, within 1e-4 and 2e-3; a larger one
    ruins a warm start."""
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    eval_steps: Count = 500
    """Steps between two points of the dev curve, each also a checkpoint."""
    dev_queries: Count = 1_000
    """Dev queries behind a point of the curve (the first in corpus order)."""
    dev_ranking: Ranking = "path"
    """How documents are ordered for the curve; see search.ranking."""
    patience: Count | None = None
    """Stop after this many points without a better dev RR@10. Null never stops early."""
    consistency: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the consistency loss, the divergence between two passes with different dropout (NCI: 0.15 and
    model.dropout=0.1). Doubles the cost of a step."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 where the GPU has it. float16 is not offered: T5 overflows in it."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _whole_micro_batches(self) -> Self:
        if self.batch_size % self.accumulation:
            raise ValueError("training.batch_size must be a multiple of training.accumulation")
        return self


class SearchConfig(Section):
    beam: Count = 100
    """Hypotheses kept a step, and so documents returned a query."""
    ranking: Ranking = "path"
    """How the documents that the beam finds are ordered. path: by the probability of their docid; leaf (head tree): by
    their leaf's row alone, as an atomic index would."""
    constrained: bool = True
    """Whether the beam follows only docids that exist. False is the paper's unconstrained beam: documents of the docids
    that happen to exist are returned, and the manifest tells the share of those that do not."""
    exact: bool = False
    """Widen the beam of a query until its first ten documents are certainly the most probable ones of all."""
    budget: Count = 10_000
    """exact: widest beam to try."""
    loss_queries: Annotated[int, Field(ge=0)] = 0
    """The first so many queries are also searched exactly and with narrow beams, to tell how often these miss the most
    probable documents (search loss)."""
    precision: Literal["auto", "float32", "bfloat16", "int8"] = "auto"
    """auto: bfloat16 where the GPU has it, else float32. int8 is for the CPU, about 1.5 times faster than float32."""
    batch_size: Count = 32
    """Queries searched together."""
    latency_queries: Annotated[int, Field(ge=0)] = 100
    """Queries also searched one at a time to measure latency."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.exact and not self.constrained:
            raise ValueError("search.exact follows docids that exist; search.constrained must be true")
        if self.ranking == "leaf" and (self.exact or self.loss_queries):
            raise ValueError(
                "search.exact and search.loss_queries are about probabilities; search.ranking must be path"
            )
        if self.precision == "int8" and (self.exact or self.loss_queries):
            raise ValueError(
                "search.precision=int8 rounds by the batch; search.exact and search.loss_queries need another"
            )
        return self

    def check_head(self, head: str) -> None:
        """Raise ValueError if a model with this head cannot be searched so."""
        if self.ranking == "leaf" and head != "tree":
            raise ValueError("search.ranking=leaf needs model.head=tree")
        if head == "tree" and not self.constrained:
            raise ValueError("model.head=tree knows no docids but those that exist; search.constrained must be true")


class EncoderConfig(Section):
    """Training of the baseline dual_encoder, GTR's recipe; its sizes, or its checkpoint, are those of `model`."""

    steps: Count = 500
    """A step reads whole documents, so that it takes several times as long as one of the index."""
    batch_size: Count = 256
    """Pairs a step, over all processes; each process's share are the negatives of its queries."""
    learning_rate: Rate = 1e-3
    embedding_learning_rate: Rate = 2e-2
    save_steps: Count = 100
    seed: Seed = 0


class Bm25Config(Section):
    k1: Annotated[float, Field(ge=0)] = 0.9
    b: Share = 0.4


class BaselinesConfig(Section):
    systems: list[Literal["bm25", "bm25_doc2query", "dense", "dual_encoder"]] = ["bm25"]
    """bm25: Lucene through pyserini, English analyzer; bm25_doc2query: the same over passages with their synthetic
    queries; dense: a sentence-transformers model, exact inner product; dual_encoder: one trained here on the synthetic
    queries (section `encoder`)."""
    bm25: Bm25Config = Bm25Config()
    """Defaults are Lucene's in pyserini and Anserini."""
    dense_model: str = "sentence-transformers/gtr-t5-base"
    """dense: name or folder of the model; the paper's is GTR-Base."""
    depth: Count = 100
    """Documents returned a query."""


class EvaluationConfig(Section):
    split: str | None = None
    """Queries to search and report. Null: test, or dev where the corpus has no test."""
    measures: Annotated[list[str], Field(min_length=1)] = ["RR@10", "Success@1", "Success@10", "R@100", "nDCG@10"]
    """Names as ir-measures spells them."""
    baseline: str | None = None
    """System that the others are compared with, e.g. bm25. Null: the first baseline."""


class ReportConfig(Section):
    published: Literal["nq-100k", "triviaqa", "msmarco-100k", "msmarco-1m", "msmarco-full"] | None = None
    """Setting of the paper whose published figures the report puts beside the run's, marked as such."""


CONFIG = "config.yaml"
"""The whole configuration in a run's folder."""
USUAL_SPLITS = ("train", "dev", "test")
RENAMED = {
    "docids.embeddings": "embeddings.kind",
    "docids.embedding_model": "embeddings.model",
    "docids.embedding_file": "embeddings.file",
    "model.ranking": "search.ranking (training.dev_ranking for the dev queries)",
}
"""Keys that had another name once."""


class Config(Section):
    """A whole experiment."""

    corpus: CorpusConfig = CorpusConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    generator: GeneratorConfig = GeneratorConfig()
    doc2query: Doc2QueryConfig = Doc2QueryConfig()
    embeddings: EmbeddingsConfig = EmbeddingsConfig()
    docids: DocidsConfig = DocidsConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    search: SearchConfig = SearchConfig()
    encoder: EncoderConfig = EncoderConfig()
    baselines: BaselinesConfig = BaselinesConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    report: ReportConfig = ReportConfig()

    @model_validator(mode="after")
    def _head_suits_the_docids(self) -> Self:
        kind, head = self.docids.kind, self.model.head
        if head == "pawa" and kind not in ("semantic_2d", "residual"):
            raise ValueError(f"model.head=pawa needs docids.kind semantic_2d or residual, not {kind}")
        if head == "tree" and kind == "atomic":
            raise ValueError("model.head=tree needs docids of several tokens; atomic ones have none above the leaves")
        if self.training.dev_ranking == "leaf" and head != "tree":
            raise ValueError("training.dev_ranking=leaf needs model.head=tree")
        self.search.check_head(head)
        return self

    @model_validator(mode="after")
    def _generator_exists(self) -> Self:
        generator = self.generator
        exists = generator.checkpoint is not None or generator.is_trained
        if self.doc2query.t5.queries and not exists:
            raise ValueError("doc2query.t5.queries needs generator.checkpoint, or generator.steps above 0")
        return self

    @model_validator(mode="after")
    def _baseline_is_run(self) -> Self:
        systems = ["dsi", *self.baselines.systems]
        if self.evaluation.baseline is not None and self.evaluation.baseline not in systems:
            raise ValueError(
                f"evaluation.baseline={self.evaluation.baseline} is not run; there are: {', '.join(systems)}"
            )
        return self

    @model_validator(mode="after")
    def _evaluation_split_is_read(self) -> Self:
        split, corpus = self.evaluation.split, self.corpus
        if split is None or split in USUAL_SPLITS or split in corpus.splits:
            return self
        if corpus.source in ("pydoc", "ir_datasets"):
            known = ["dev", "test"] if corpus.source == "pydoc" else list(corpus.splits)
            raise ValueError(f"evaluation.split={split} is not a split of the corpus; it has: {', '.join(known)}")
        splits = {**corpus.splits, split: split}
        return self.model_copy(update={"corpus": corpus.model_copy(update={"splits": splits})})

    def __getitem__(self, key: str) -> Any:
        """Value of a dotted key, e.g. `config["evaluation.split"]`."""
        value: Any = self
        for part in key.split("."):
            value = getattr(value, part)
        return value


def load_config(path: str | Path, overrides: list[str] | None = None) -> Config:
    """Read the experiment in the YAML file `path`, then apply `section.key=value` overrides.

    `extends: other.yaml`, relative to the file, takes over what that file says and this one does not.

    Raises:
        DsiError: missing or malformed file, unknown key, wrong type, impossible combination.
    """
    values = _read(Path(path))
    overridden = set()
    for override in overrides or []:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise DsiError(f"--set {override!r}: expected section.key=value")
        _assign(values, key, parse_yaml(value, f"--set {override}"))
        overridden.add(key)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise DsiError("; ".join(_explain(e, str(path), overridden) for e in error.errors())) from None


def overrides_of(keys: dict[str, Any]) -> list[str]:
    """Dotted keys and their values as the overrides that `load_config` takes."""
    return [f"{key}={json.dumps(value)}" for key, value in keys.items()]


def read_section(path: Path, kind: type[AnySection]) -> AnySection:
    """A file that is one section of its own.

    Raises:
        DsiError: the file cannot be read, or a key of it is wrong.
    """
    try:
        return kind.model_validate(parse_yaml(path.read_text(encoding="utf-8"), str(path)))
    except (OSError, UnicodeDecodeError) as error:
        raise DsiError(f"cannot read {path}: {first_line(error)}") from None
    except ValidationError as error:
        raise DsiError("; ".join(_explain(wrong, str(path), set(), kind) for wrong in error.errors())) from None


def read_part(path: Path, name: str, kind: type[AnySection], changes: dict[str, Any] | None = None) -> AnySection:
    """Section `name` of an experiment's file, or its defaults where the file has none, with `changes` to its keys.

    Raises:
        DsiError: the file cannot be read, or a key of the section is wrong.
    """
    values = _read(path).get(name) or {}
    section = _part(name, kind, values, str(path))
    return _part(name, kind, {**values, **changes}, None) if changes else section


def _part(name: str, kind: type[AnySection], values: dict[str, Any], path: str | None) -> AnySection:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        errors: list[ErrorDetails] = [{**wrong, "loc": (name, *wrong["loc"])} for wrong in error.errors()]
        raise DsiError("; ".join(_explain(wrong, path) for wrong in errors)) from None


def _read(path: Path, extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DsiError(f"cannot read the configuration {path}: {error}") from None
    values = parse_yaml(text, str(path))
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise DsiError(f"{path}: a configuration is a mapping of sections, found {type(values).__name__}")
    base = values.pop("extends", None)
    if base is None:
        return values
    if path.resolve() in extended_by:
        raise DsiError(f"{path}: extends itself, by way of {base}")
    return _merged(_read(path.parent / str(base), (*extended_by, path.resolve())), values)


def _merged(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in values.items()
    }
    return {**base, **both}


def describe(section: type[Section] = Config, values: Section | None = None, indent: str = "") -> str:
    """Commented YAML of every key with its default, or with its value in `values`."""
    lines = []
    for name, field in section.model_fields.items():
        value = getattr(values, name) if values is not None else field.get_default(call_default_factory=True)
        for line in (field.description or "").splitlines():
            lines.append(f"{indent}# {line.strip()}")
        if isinstance(value, Section):
            lines += [f"{indent}{name}:", describe(type(value), value, indent + "  ")]
        else:
            text = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
            allowed = _allowed(field.annotation)
            lines.append(f"{indent}{name}: {text}" + (f"  # {allowed}" if allowed else ""))
    return "\n".join(lines)


class _Loader(yaml.SafeLoader):
    """Safe YAML whose floats include 1e-3 (YAML 1.1 reads it as a string) and whose repeated keys are errors."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def parse_yaml(text: str, origin: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise DsiError(f"{origin}{line}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:  # a control character; an impossible date
        raise DsiError(f"{origin}: not valid YAML: {first_line(error)}") from None


def _assign(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        if values.get(section) is None:
            values[section] = {}
        values = values[section]
        if not isinstance(values, dict):
            raise DsiError(f"--set {key}: {section} is a value, not a section")
    values[last] = value


def _explain(
    error: ErrorDetails, path: str | None, overridden: Set[str] = frozenset(), root: type[Section] | None = None
) -> str:
    """In words; `path` is the file that has the key, if one does, unless it is among those overridden by --set."""
    key = ".".join(str(part) for part in error["loc"])
    file = f"{path}: " if path is not None else ""
    origin = f"--set {key}" if key in overridden else f"{file}{key}" if key else str(path)
    if error["type"] == "extra_forbidden" and key in RENAMED:
        return f"{origin}: this key is called {RENAMED[key]} now"
    if error["type"] == "extra_forbidden":
        siblings = _keys(error["loc"][:-1], root or Config)
        close = difflib.get_close_matches(str(error["loc"][-1]), siblings, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return f"{origin}: unknown key; {hint}allowed here: {', '.join(siblings)}"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{file}{message}"
    return f"{origin}: {message[0].lower()}{message[1:]}, found {error['input']!r}"


def _keys(location: tuple[int | str, ...], root: type[Section]) -> list[str]:
    section: Any = root
    for part in location:
        if not hasattr(section, "model_fields"):  # below a key of the user's own
            return []
        section = section.model_fields[str(part)].annotation
    return list(getattr(section, "model_fields", []))


def _allowed(annotation: Any) -> str:
    values = getattr(annotation, "__args__", ())
    return " | ".join(values) if values and all(isinstance(value, str) for value in values) else ""
