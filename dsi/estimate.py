"""What an experiment will cost on this machine, stage by stage, before any of it is run.

Parameters and FLOPs are counted from the configuration, without building a model: importing transformers alone takes
longer than all of `dsi check`. What is not FLOPs is a rate a document, a pair or a query (`RATES`).
"""

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from dsi.config import BackboneConfig, Config, CorpusConfig, GeneratorConfig, TrainingConfig
from dsi.report.quantities import count, duration, large, size
from dsi.report.tables import text_table

T5_BASE = {"vocab_size": 32_128, "d_model": 768, "d_kv": 64, "d_ff": 2048, "num_layers": 12, "num_heads": 12}
"""The sizes of T5-base, which stand for a checkpoint of the hub that is not here."""
STATES = {"adamw": 4.0, "adafactor": 2.0}
"""The numbers kept per parameter while training: itself, its gradient, and AdamW's two moments."""
TRAINING = 3
"""The FLOPs of a forward and a backward pass, divided by those of the forward pass."""
COMPRESSION, PACKED = 3, (".gz", ".tgz", ".zst", ".parquet")
"""The size of texts in a compressed file, divided by that of the file, and the endings of such files."""
PYDOC_DOCUMENTS = 1_250
"""The documents that the standard library gives, and roughly each large package."""
UNKNOWN_QUERIES = 1_000
"""The number of evaluation queries where the configuration does not say."""
QUERY_TOKENS = 8.0
"""The mean number of tokens of a query."""
BYTES_PER_PAIR = 22.5
"""The bytes of a pair in the example store (scripts/bench_examples.py), for queries of so many tokens."""
EFFICIENCY = 0.4
"""The FLOPs a second of models, as a share of those of plain products of large matrices."""
START_SECONDS = 3.0
"""The time to start a process and to import torch and transformers."""
BASE_MEMORY = 1.2e9
"""The bytes of a process that has done so, and of a batch of the default's sizes."""
DOCUMENT_BYTES, QUERY_BYTES, VECTOR_BYTES, RANKING_BYTES = 500.0, 15.0, 1500.0, 3500.0
"""The bytes on disk of a document, of a synthetic query, of a vector and of the ranking of a query."""
POSTINGS_BYTES, LABEL_BYTES = 100.0, 6.0
"""The bytes on disk of a document's postings, and of one document of a teacher's label."""
TUNING_SECONDS = 20.0
"""The time to measure all weights of a prior on the dev queries."""
TOKENIZER_BYTES, DOCUMENT_CHARACTERS = 12.0, 600.0
"""The bytes of memory of a character while a tokenizer is trained, and the characters of a document."""
RATES = {
    "ingest": 20e-6,
    "tokenize": 230e-9,
    "simulate": 8e-6,
    "tfidf": 110e-6,
    "cluster": 20e-6,
    "write_pair": 5e-6,
    "index": 100e-6,
    "index_terms": 25e-6,
    "teach_bm25": 100e-6,
    "teach_run": 100e-6,
    "bm25": 6.5e-3,
    "evaluate": 1.3e-3,
}
"""The seconds a document, a pair or a query takes on two cores; measured on the default and on 36,594 passages."""


@dataclass(frozen=True)
class Cost:
    """The cost of a stage. None is not known."""

    seconds: float | None
    memory: float
    """The largest memory of the process, in bytes."""
    disk: float
    """The bytes that the stage keeps or needs meanwhile."""


NOTHING = Cost(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Sizes:
    """The sizes of a T5 and of its docid head, from which parameters and FLOPs follow as in dsi.model.cost."""

    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_decoder_layers: int
    num_heads: int
    is_gated: bool = True
    """Whether the feed-forward layers have three matrices (T5.1.1), not two (T5)."""
    head: str = "plain"
    head_rows: int = 0
    """The output rows: docid tokens, or the nodes of the trie."""
    siblings: float = 0.0
    """hierarchical_softmax: the mean number of rows that a token is chosen from."""
    docid_inputs: int = 0
    """The docid tokens that the decoder reads."""
    docid_length: int = 1
    pawa_layers: int = 0
    pawa_projections: int = 0
    """pawa: the parameters of the matrices that make its rows."""
    pawa_multiplications: float = 0.0
    """pawa: the mean number of multiplications with them for a docid token."""

    @property
    def _attention(self) -> int:
        """The weights of the matrices of one attention."""
        return 4 * self.d_model * self.d_kv * self.num_heads

    @property
    def _layer(self) -> int:
        """The weights of the matrices of an encoder layer; a decoder layer has a second attention."""
        return self._attention + (3 if self.is_gated else 2) * self.d_model * self.d_ff

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        decoders = self.num_decoder_layers + self.pawa_layers
        stacks = 1 + bool(self.num_decoder_layers) + bool(self.pawa_layers)
        matrices = self.num_layers * self._layer + decoders * (self._layer + self._attention)
        norms = (2 * self.num_layers + 3 * decoders + stacks) * self.d_model
        position_biases = stacks * 32 * self.num_heads
        embeddings = (self.vocab_size + 1 + self.docid_inputs) * self.d_model
        return matrices + norms + position_biases + embeddings + self.head_rows * self.d_model + self.pawa_projections

    def forward_flops(self, text_tokens: float, docid_tokens: float) -> float:
        """The FLOPs to read so many tokens of text and to score so many docid tokens (dsi.model.cost)."""
        decoders = self.num_decoder_layers + self.pawa_layers
        of_text = decoders * self._attention / 2  # keys and values of the cross-attention
        rows = self.siblings if self.head == "hierarchical_softmax" else self.head_rows
        if self.head == "pawa":
            rows /= self.docid_length
        scored = rows * self.d_model + self.pawa_multiplications
        of_token = decoders * (self._layer + self._attention) - of_text + scored
        return 2.0 * (text_tokens * (self.num_layers * self._layer + of_text) + docid_tokens * of_token)


def sizes_of(config: Config, documents: int) -> Sizes:
    """The sizes of the index over so many documents, if the trees of k-means are balanced."""
    kind, docids, model = config.docids.kind, config.docids, config.model
    backbone = backbone_sizes(model, config.tokenizer.vocabulary)
    if kind == "atomic":
        return Sizes(**backbone, head_rows=documents)
    if kind == "naive":
        levels = [11] * (len(str(documents)) + 1)
    elif kind == "residual":
        levels = [docids.codebook] * docids.levels
    else:
        depth = math.log(max(documents / docids.leaf_size, 1), docids.clusters)
        levels = [docids.clusters] * math.ceil(depth) + [docids.leaf_size]
    tokens = sum(levels) if kind in ("semantic_2d", "residual") else max(levels)
    keys: dict[str, Any] = {"head_rows": tokens, "docid_inputs": tokens, "docid_length": len(levels)}
    if model.head == "hierarchical_softmax":
        keys |= {"head_rows": round(1.1 * documents), "siblings": sum(levels) / len(levels)}
    if model.head == "pawa":
        outputs = [backbone["d_model"]] if model.pawa == "matrix" else levels
        projections = backbone["d_model"] ** 2 * sum(outputs)
        keys |= {"pawa_projections": projections, "pawa_multiplications": projections / len(outputs)}
        keys |= {"pawa_layers": model.pawa_layers}
    return Sizes(**backbone, head=model.head, **keys)


def backbone_sizes(config: BackboneConfig | GeneratorConfig, vocabulary: int) -> dict[str, Any]:
    """The sizes of a T5: the keys', or those of its checkpoint: of T5-base where that is one of the hub."""
    names = (*T5_BASE, "num_decoder_layers")
    if config.checkpoint is None:
        return {"vocab_size": vocabulary, **{name: getattr(config, name) for name in names if name != "vocab_size"}}
    path = Path(config.checkpoint) / "config.json"
    if not path.exists():
        return {**T5_BASE, "num_decoder_layers": T5_BASE["num_layers"]}
    known = json.loads(path.read_text(encoding="utf-8"))
    sizes = {name: known[name] for name in names if name in known}
    gated = "gated" in known.get("feed_forward_proj", "relu")
    return {"num_decoder_layers": known.get("num_layers"), **sizes, "is_gated": gated}


@dataclass(frozen=True)
class Scale:
    """What the cost of a stage depends on beside the configuration."""

    config: Config
    documents: int
    queries: int
    """The number of evaluation queries."""
    speed: float
    """The FLOPs a second of products of matrices on this machine."""

    @cached_property
    def sizes(self) -> Sizes:
        """The sizes of the index."""
        return sizes_of(self.config, self.documents)

    @property
    def training(self) -> TrainingConfig:
        """The section `training`, with the softmax that one process takes for so many output rows."""
        return self.config.training.settled(self.sizes.head_rows, self.config.model.head)

    @cached_property
    def generator(self) -> Sizes:
        """The sizes of the query generator, whose head predicts tokens of text."""
        sizes = backbone_sizes(self.config.generator, self.config.tokenizer.vocabulary)
        return Sizes(**sizes, head_rows=sizes["vocab_size"])

    @property
    def pairs(self) -> int:
        """The number of synthetic queries."""
        expansion = self.config.doc2query
        released = expansion.predictions.queries if expansion.predictions.path else 0
        return self.documents * (expansion.known_item.queries + expansion.t5.queries + released)

    def seconds(self, flops: float) -> float:
        """The time of so many FLOPs in a model."""
        return flops / (EFFICIENCY * self.speed)

    @property
    def searched(self) -> int:
        """The number of systems that the stage `search` writes rankings of: the index, and with a prior three more."""
        return 1 if self.config.search.prior == "none" else 4

    def document_states(self) -> float:
        """The time to read all documents once."""
        return self.seconds(self.documents * self.sizes.forward_flops(self.config.model.document_length, 1))


def estimate(scale: Scale) -> dict[str, Cost]:
    """The cost of every stage."""
    return {stage: cost(scale) for stage, cost in _COSTS.items()}


def count_documents(corpus: CorpusConfig) -> int | None:
    """The number of documents of a corpus, roughly: none but the first ones are read. None if that does not tell.

    Raises:
        DsiError: the source is missing or faulty.
    """
    if corpus.source == "pydoc":
        return PYDOC_DOCUMENTS * (1 + len(corpus.packages))
    from dsi.corpus.ingest import open_source

    source = open_source(corpus)
    if not source.files:
        return corpus.size
    first = [len(document.content().encode()) for _, document in islice(source.documents(), 1_000)]
    sizes = [path.stat().st_size * (COMPRESSION if path.suffix in PACKED else 1) for path in source.files.values()]
    texts = sum(sizes) if corpus.source == "documents" else max(sizes)  # of others, small ones hold queries
    documents = len(first) if len(first) < 1_000 else round(texts / (sum(first) / len(first) + 10))
    return min(documents, corpus.size or documents)


def _corpus(scale: Scale) -> Cost:
    return Cost(scale.documents * RATES["ingest"], BASE_MEMORY, scale.documents * DOCUMENT_BYTES)


def _tokenizer(scale: Scale) -> Cost:
    if scale.config.model.checkpoint is not None:
        return Cost(START_SECONDS, BASE_MEMORY, 2e6)
    characters = min(scale.documents * DOCUMENT_CHARACTERS, scale.config.tokenizer.sample)
    memory = BASE_MEMORY + characters * TOKENIZER_BYTES
    return Cost(START_SECONDS + characters * RATES["tokenize"] + scale.documents * RATES["ingest"], memory, 2e6)


def _generator(scale: Scale) -> Cost:
    keys = scale.config.generator
    if not keys.is_trained:
        return NOTHING
    flops = TRAINING * scale.generator.forward_flops(keys.document_length, QUERY_TOKENS)
    steps = keys.steps + keys.simulated_steps
    return Cost(scale.seconds(flops * keys.batch_size * steps), *_training_bytes(scale.generator.parameters, "adamw"))


def _doc2query(scale: Scale) -> Cost:
    known_item, t5 = scale.config.doc2query.known_item, scale.config.doc2query.t5
    seconds = scale.documents * known_item.queries * RATES["simulate"]
    memory = BASE_MEMORY
    if t5.queries:
        flops = scale.generator.forward_flops(t5.document_length, t5.queries * QUERY_TOKENS)
        seconds += scale.seconds(scale.documents * flops)
        memory += 4.0 * scale.generator.parameters
    return Cost(seconds, memory, scale.pairs * QUERY_BYTES)


def _embeddings(scale: Scale) -> Cost:
    seconds = {"tfidf": scale.documents * RATES["tfidf"], "document_states": scale.document_states(), "file": 0.0}
    return Cost(seconds.get(scale.config.embeddings.kind), BASE_MEMORY, scale.documents * VECTOR_BYTES)


def _docids(scale: Scale) -> Cost:
    seconds = scale.documents * RATES["cluster"] if scale.config.docids.is_clustered else 0.0
    return Cost(seconds, BASE_MEMORY, scale.documents * 4.0 * scale.sizes.docid_length)


def _lexical(scale: Scale) -> Cost:
    return Cost(scale.documents * RATES["index_terms"], BASE_MEMORY, scale.documents * POSTINGS_BYTES)


def _lexical_doc2query(scale: Scale) -> Cost:
    postings = scale.documents * POSTINGS_BYTES + scale.pairs * QUERY_BYTES
    return Cost((scale.documents + scale.pairs / 10) * RATES["index_terms"], BASE_MEMORY, postings)


def _teacher(scale: Scale) -> Cost:
    keys = scale.config.teacher
    rates = {"bm25": RATES["teach_bm25"], "run": RATES["teach_run"]}
    seconds = START_SECONDS + scale.pairs * rates[keys.kind] if keys.kind in rates else None
    labels = 2 * scale.pairs * keys.documents * LABEL_BYTES  # once more while the shards are put together
    return Cost(seconds, BASE_MEMORY, labels + (scale.documents * VECTOR_BYTES if keys.retriever_model else 0))


def _model(scale: Scale) -> Cost:
    training, sizes = scale.training, scale.sizes
    passes, is_tree = 2 if training.consistency else 1, sizes.head == "hierarchical_softmax"
    scored, is_full = _scored_rows(scale), training.softmax == "full"
    step = (
        TRAINING
        * passes
        * replace(sizes, head_rows=scored).forward_flops(mean_tokens(scale.config), sizes.docid_length)
    )
    of_rows = TRAINING * passes * 2.0 * scored * sizes.d_model
    if training.labels == "teacher" and is_tree:
        step += of_rows
    if training.softmax == "chunked" and (training.labels == "teacher" or not is_tree):
        step += of_rows / TRAINING  # the rows are multiplied once more
    seconds = scale.seconds(step * training.batch_size * training.steps * training.rounds)
    if scale.config.model.warm_start:
        seconds += (1 + training.rounds) * scale.document_states()
    if training.softmax == "sampled" and sizes.docid_length == 1 and training.neighbour_negatives:
        clustering = 4.0 * scale.documents * math.sqrt(scale.documents) * sizes.d_model  # dsi.docids.kmeans
        seconds += training.rounds * scale.seconds(2 * clustering)
    rows = 0 if is_full else sizes.head_rows * sizes.d_model
    memory, disk = _training_bytes(sizes.parameters - rows, training.optimizer)
    if is_full:
        logits = 0.0 if is_tree and training.labels == "document" else scored * sizes.docid_length
        memory += 8.0 * training.batch_size / training.accumulation * logits
    else:
        memory += 2 * 4.0 * rows  # and the document states that they start from
        disk += 3 * (4.0 if training.row_precision == "float32" else 2.0) * rows
    # the pairs, once more while their shards are put together
    return Cost(seconds + scale.pairs * RATES["write_pair"], memory, disk + 2 * scale.pairs * BYTES_PER_PAIR)


def _scored_rows(scale: Scale) -> int:
    """The number of output rows that a training step scores for every query: of a tree, those of leaves."""
    training, rows = scale.training, scale.sizes.head_rows
    if training.softmax != "sampled":
        return rows
    documents = 1 + scale.config.teacher.documents if training.labels == "teacher" else 1
    return min(rows, training.batch_size * documents + training.uniform_negatives + training.neighbour_negatives)


def _prior(scale: Scale) -> Cost:
    queries = min(UNKNOWN_QUERIES, scale.documents)  # no more queries decide
    seconds = START_SECONDS + 2 * queries * _query_seconds(scale, beam=10)
    seconds += TUNING_SECONDS * queries / UNKNOWN_QUERIES
    return Cost(seconds, BASE_MEMORY + 4.0 * scale.sizes.parameters, 1e5)


def _search(scale: Scale) -> Cost:
    searches = min(scale.searched, 2)  # the two fusions are of what is found already
    seconds = searches * (2 * START_SECONDS + scale.queries * _query_seconds(scale, scale.config.search.beam))
    memory = BASE_MEMORY + 4.0 * scale.sizes.parameters
    return Cost(seconds, memory, scale.searched * scale.queries * RANKING_BYTES)


def _query_seconds(scale: Scale, beam: int) -> float:
    """The time of a query; what a prior adds is little beside it."""
    prefixes = 1 + (scale.sizes.docid_length - 1) * beam
    return scale.seconds(scale.sizes.forward_flops(QUERY_TOKENS, prefixes))


def _encoder(scale: Scale) -> Cost:
    keys = scale.config.encoder
    sizes = Sizes(**backbone_sizes(scale.config.model, scale.config.tokenizer.vocabulary))
    tokens = QUERY_TOKENS + scale.config.model.document_length
    seconds = scale.seconds(TRAINING * sizes.forward_flops(tokens, 0) * keys.batch_size * keys.steps)
    return Cost(seconds, *_training_bytes(sizes.parameters, "adamw"))


def _baselines(scale: Scale) -> Cost:
    systems = scale.config.baselines.systems
    seconds = len(systems) * (3 * START_SECONDS + scale.documents * RATES["index"] + scale.queries * RATES["bm25"])
    disk = len(systems) * (scale.documents * DOCUMENT_BYTES + scale.queries * RANKING_BYTES)
    encodes = "dense" in systems or (scale.config.baselines.asks_teacher and scale.config.teacher.kind != "bm25")
    return Cost(None if encodes else seconds, BASE_MEMORY, disk)


def _evaluation(scale: Scale) -> Cost:
    systems = scale.searched + len(scale.config.baselines.systems)
    return Cost(START_SECONDS + scale.queries * systems * RATES["evaluate"], BASE_MEMORY, 1e6)


def _report(scale: Scale) -> Cost:
    return Cost(START_SECONDS, BASE_MEMORY, 1e6)


_COSTS = {
    "corpus": _corpus,
    "tokenizer": _tokenizer,
    "generator": _generator,
    "doc2query": _doc2query,
    "embeddings": _embeddings,
    "docids": _docids,
    "lexical": _lexical,
    "lexical_doc2query": _lexical_doc2query,
    "teacher": _teacher,
    "model": _model,
    "prior": _prior,
    "search": _search,
    "encoder": _encoder,
    "baselines": _baselines,
    "evaluation": _evaluation,
    "report": _report,
}


def mean_tokens(config: Config) -> float:
    """The mean number of tokens of a training text, if no document is shorter than what is read of it."""
    tasks = config.training.tasks
    passages, queries = tasks.first_p + tasks.daq, tasks.d2q + tasks.labelled
    return (passages * tasks.passage_length + queries * QUERY_TOKENS) / (passages + queries)


def _training_bytes(parameters: int, optimizer: str) -> tuple[float, float]:
    """The memory and the disk to train so many parameters: two checkpoints with the optimiser's, the best model."""
    states = 4.0 * parameters * STATES[optimizer]
    return BASE_MEMORY + states, 2 * (states - 4.0 * parameters) + 2 * 4.0 * parameters


def cost_table(scale: Scale, costs: Mapping[str, Cost], missing: Collection[str]) -> str:
    """The costs of stages as a table, with the sum of those that are `missing`; the others are built."""
    rows = [
        [name, duration(cost.seconds), size(cost.memory), size(cost.disk)]
        if name in missing
        else [name, "built", "", ""]
        for name, cost in costs.items()
    ]
    of_missing = [cost for name, cost in costs.items() if name in missing]
    total = [
        "together",
        duration(sum(cost.seconds or 0.0 for cost in of_missing)),
        size(max((cost.memory for cost in of_missing), default=0)),
        size(sum(cost.disk for cost in of_missing)),
    ]
    facts = (
        f"{count(scale.documents)} documents, {large(scale.sizes.parameters)} parameters,"
        f" {large(scale.pairs)} synthetic queries; {large(EFFICIENCY * scale.speed)} FLOPs a second"
    )
    return f"{text_table(['stage', 'time', 'memory', 'disk'], [*rows, total])}\nEstimated for {facts}.\n"
