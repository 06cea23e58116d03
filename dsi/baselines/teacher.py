"""The teacher as a system of its own: whoever reads of a distilled index asks why not to search with its teacher."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dsi.baselines.dense import mean_tokens
from dsi.config import TeacherConfig
from dsi.corpus.store import Corpus
from dsi.lexical.index_terms import POSTINGS
from dsi.model.cost import encoder_flops
from dsi.search.answering import Hits, Questions, ask
from dsi.teacher.bi_encoder import BiEncoder
from dsi.teacher.cross_encoder import CrossEncoder
from dsi.teacher.kinds import Teacher, open_teacher

QUERIES_PER_BATCH = 256
SAMPLE = 20
"""The number of queries whose pairs with documents tell what a cross-encoder reads."""


class TeacherSystem:
    """Answers queries with a teacher, `depth` documents each; `vectors` is the file of a bi-encoder's documents."""

    def __init__(
        self, config: TeacherConfig, corpus_folder: Path, lexical_folder: Path | None, vectors: Path | None, depth: int
    ) -> None:
        self.corpus, self.depth = Corpus(corpus_folder), depth
        self.teacher: Teacher = open_teacher(config, self.corpus, lexical_folder, vectors, None)
        files = [*lexical_folder.glob(f"{POSTINGS}/*")] if lexical_folder is not None else []
        files += [vectors] if vectors is not None else []
        self.index_bytes = sum(file.stat().st_size for file in files)

    def answer(self, texts: Sequence[str]) -> Iterator[Hits]:
        """The ranking for each text; it has fewer documents where the teacher knows no more."""
        for start in range(0, len(texts), QUERIES_PER_BATCH):
            doc_index, scores = self.teacher.best(texts[start : start + QUERIES_PER_BATCH], self.depth)
            for numbers, values in zip(doc_index, scores, strict=True):
                known = values > -float("inf")
                yield list(zip(self.corpus.doc_ids(numbers[known].tolist()), values[known].tolist(), strict=True))

    def answer_alone(self, text: str) -> list[Hits]:
        """The ranking for one text, as the only item of a list."""
        return list(self.answer([text]))


def answers_of_teacher(
    out_folder: Path, name: str, opened: Callable[[int], TeacherSystem], depth: int, questions: Questions
) -> dict[str, Any]:
    """Write `NAME.run`: the answers of the teacher that `opened` opens, `depth` documents each.

    Returns:
        What the system costs: index_bytes, documents, what `ask` measures, and, of models, parameters and
        flops_per_query.
    """
    system, measured = ask(out_folder, name, opened, depth, questions)
    facts = {"index_bytes": system.index_bytes, "documents": len(system.corpus)}
    return {**facts, **_models(system.teacher, [query.text for query in questions.queries], system), **measured}


def _models(teacher: Teacher, queries: Sequence[str], system: TeacherSystem) -> dict[str, float]:
    """The parameters of a teacher's models, and the FLOPs of a query in them and among the vectors; {} without one."""
    if isinstance(teacher, BiEncoder):
        flops = encoder_flops(teacher.model, mean_tokens(teacher.model, queries)) + 2.0 * teacher.vectors.size
        return {"parameters": _parameters(teacher.model), "flops_per_query": flops}
    if not isinstance(teacher, CrossEncoder):
        return {}
    below = _models(teacher.retriever, queries, system)
    asked = list(queries[:SAMPLE])
    doc_index, scores = teacher.retriever.best(asked, system.depth)
    pairs = [
        f"{text} {system.corpus[int(number)].content()}"
        for text, numbers, values in zip(asked, doc_index, scores, strict=True)
        for number in numbers[values > -float("inf")]
    ]
    read = mean_tokens(teacher.model, pairs) * len(pairs) / len(asked) if pairs else 0.0
    flops = encoder_flops(teacher.model, read) + below.get("flops_per_query", 0.0)
    return {"parameters": _parameters(teacher.model) + below.get("parameters", 0), "flops_per_query": flops}


def _parameters(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
