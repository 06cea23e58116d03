"""The whole configuration of an experiment, and which of its keys do not go together."""

from collections.abc import Iterator
from operator import attrgetter
from typing import Any, Self

from pydantic import model_validator

from dsi.config.baselines import BaselinesConfig, EncoderConfig
from dsi.config.corpus import DEV, TEST, USUAL_SPLITS, CorpusConfig
from dsi.config.doc2query import Doc2QueryConfig
from dsi.config.docids import DocidsConfig
from dsi.config.embeddings import EmbeddingsConfig
from dsi.config.evaluation import EvaluationConfig, cutoff_of
from dsi.config.generator import GeneratorConfig
from dsi.config.model import ModelConfig
from dsi.config.report import ReportConfig
from dsi.config.search import SearchConfig
from dsi.config.section import Section
from dsi.config.teacher import TeacherConfig
from dsi.config.tokenizer import TokenizerConfig
from dsi.config.training import TrainingConfig


class Config(Section):
    """One experiment: the sections of keys that its stages read."""

    corpus: CorpusConfig = CorpusConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    generator: GeneratorConfig = GeneratorConfig()
    doc2query: Doc2QueryConfig = Doc2QueryConfig()
    embeddings: EmbeddingsConfig = EmbeddingsConfig()
    docids: DocidsConfig = DocidsConfig()
    teacher: TeacherConfig = TeacherConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    search: SearchConfig = SearchConfig()
    encoder: EncoderConfig = EncoderConfig()
    baselines: BaselinesConfig = BaselinesConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    report: ReportConfig = ReportConfig()

    @model_validator(mode="after")
    def _keys_go_together(self) -> Self:
        if faults := [
            *self._head_faults(),
            *self._generator_faults(),
            *self._teacher_faults(),
            *self._evaluation_faults(),
        ]:
            raise ValueError("\n".join(faults))
        return self

    def _head_faults(self) -> Iterator[str]:
        kind, head = self.docids.kind, self.model.head
        if head == "pawa" and kind not in ("semantic_2d", "residual"):
            yield f"model.head=pawa needs docids.kind semantic_2d or residual, not {kind}"
        if head == "hierarchical_softmax" and kind == "atomic":
            yield (
                "model.head=hierarchical_softmax needs docids of several tokens; atomic ones have none above the leaves"
            )
        if head == "pawa" and self.training.softmax not in ("auto", "full"):
            yield f"model.head=pawa needs training.softmax=full, not {self.training.softmax}; its rows are few"
        if self.training.dev_ranking == "leaf" and head != "hierarchical_softmax":
            yield "training.dev_ranking=leaf needs model.head=hierarchical_softmax"
        try:
            self.search.check_head(head)
        except ValueError as error:
            yield str(error)

    def _generator_faults(self) -> Iterator[str]:
        if self.doc2query.t5.queries and self.generator.checkpoint is None and not self.generator.is_trained:
            yield "doc2query.t5.queries needs generator.checkpoint, or generator.steps above 0"

    def _teacher_faults(self) -> Iterator[str]:
        if self.has_teacher and self.teacher.documents == 1 and self.training.distillation.temperature == "auto":
            yield (
                "teacher.documents=1 leaves training.distillation.temperature=auto nothing to weigh; raise it, or set"
                " the temperature"
            )
        if not self.baselines.asks_teacher:
            return
        if "teacher_int8" in self.baselines.systems and self.teacher.kind != "bi_encoder":
            yield f"baselines.systems: teacher_int8 needs teacher.kind=bi_encoder, not {self.teacher.kind}, for vectors"
        if not self.has_teacher:
            yield (
                "baselines.systems: teacher needs training.labels=teacher, or dual_encoder with encoder.labels=teacher;"
                " without them nobody is taught, and dense is the system to compare with"
            )
        if self.teacher.kind == "run":
            yield (
                "baselines.systems: teacher cannot answer with teacher.kind=run, whose scores are of training queries"
                " only; take teacher out, or another teacher.kind"
            )

    def _evaluation_faults(self) -> Iterator[str]:
        prior = self.search.prior
        systems = ["dsi", *([f"dsi+{prior}", "rrf", "linear"] if prior != "none" else []), *self.baselines.systems]
        if self.evaluation.baseline is not None and self.evaluation.baseline not in systems:
            yield f"evaluation.baseline={self.evaluation.baseline} is not run; there are: {', '.join(systems)}"
        if self.evaluation.measures != EvaluationConfig().measures:
            yield from self.too_deep
        if self.baselines.bm25.tune and self.corpus.source == "ir_datasets" and DEV not in self.corpus.splits:
            yield "baselines.bm25.tune needs a split dev; name one under corpus.splits"

    @model_validator(mode="after")
    def _evaluation_split_is_read(self) -> Self:
        split, corpus = self.evaluation.split, self.corpus
        if split is None or split in USUAL_SPLITS or split in corpus.splits:
            return self
        if corpus.source in ("pydoc", "ir_datasets"):
            known = [DEV, TEST] if corpus.source == "pydoc" else list(corpus.splits)
            raise ValueError(f"evaluation.split={split} is not a split of the corpus; it has: {', '.join(known)}")
        splits = {**corpus.splits, split: split}
        return self.model_copy(update={"corpus": corpus.model_copy(update={"splits": splits})})

    @property
    def has_teacher(self) -> bool:
        """Whether a teacher labels the training queries of any system."""
        return self.training.labels == "teacher" or self.encoder_has_teacher

    @property
    def encoder_has_teacher(self) -> bool:
        """Whether a teacher labels the training queries of the dual encoder."""
        return "dual_encoder" in self.baselines.systems and self.encoder.labels == "teacher"

    @property
    def too_deep(self) -> list[str]:
        """What is wrong with every measure that looks at more results than there are."""
        depths = {"search.beam": self.search.beam}
        if self.baselines.systems:
            depths["baselines.depth"] = self.baselines.depth
        faults = []
        for measure in self.evaluation.measures:
            cutoff = cutoff_of(measure)
            short = [f"{key}={depth}" for key, depth in depths.items() if depth < cutoff]
            if short:
                faults.append(
                    f"evaluation.measures: {measure} needs {cutoff} results for a query, and there are no more"
                    f" than {', '.join(short)}; raise {'them' if len(short) > 1 else 'it'}, or measure less deep"
                )
        return faults

    def __getitem__(self, key: str) -> Any:
        """The value of a dotted key.

        >>> Config()["docids.kind"]
        'atomic'
        """
        return attrgetter(key)(self)
