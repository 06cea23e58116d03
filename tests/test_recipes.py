"""The recipes of CONTRIBUTING.md, followed to the letter: a copy of the package gets a toy by each of them, and one
experiment uses all toys. Files and lines to change are read from CONTRIBUTING.md, so an untrue recipe fails.

What docs/architecture.md says of files, keys and layers is held to the code too.
"""

import csv
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from conftest import DOCUMENTS, tiny_documents

from dsi.config import Config
from dsi.pipeline import STAGES

ROOT = Path(__file__).parents[1]
RECIPES = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAP = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
LONGEST = 10
"""Lines of a recipe."""
ADDITION = re.compile(
    r"`(?P<file>[\w./]+)`, (?P<place>above|below|after|at the end of) `(?P<anchor>[^`]+)`:"
    r" `(?P<text>[^`]+)`(?: holding `(?P<inside>[^`]+)`)?"
)
PATH = re.compile(r"(?:[\w.-]+/)*[\w-]+(?:/|\.\w+)")
TOP = {"dsi", "tests", "configs", "scripts", "docs", "data"}
CLOSING = {"{": "\n}", "(": "\n)"}

SOURCE = '''
"""Notes: a line a document, `id <tab> text`. The fourth to sixth word of every tenth is a query."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from dsi.config import CorpusConfig
from dsi.corpus.files import Folder, split_fields
from dsi.corpus.source import Source, Where
from dsi.corpus.store import Document, Qrel, Query

FIRST = {"dev": 0, "test": 5}


def open_source(config: CorpusConfig) -> Source:
    assert config.path is not None
    return Notes(Folder(config.path))


class Notes:
    splits = list(FIRST)

    def __init__(self, folder: Folder) -> None:
        self.file = folder.get("notes.tsv")
        self.files: Mapping[str, Path] = folder.paths(self.file)

    def documents(self) -> Iterator[tuple[Where, Document]]:
        for where, line in self.file.lines():
            doc_id, text = split_fields(where, line, ("document id", "text"))
            yield where, Document(doc_id, "", text)

    def queries(self, split: str) -> Iterator[tuple[Where, Query]]:
        for number, (where, document) in enumerate(self.documents()):
            if number % 10 == FIRST[split]:
                yield where, Query(f"Q{document.doc_id}", " ".join(document.text.split()[3:6]))

    def qrels(self, split: str) -> Iterator[tuple[Where, Qrel]]:
        for where, query in self.queries(split):
            yield where, Qrel(query.query_id, query.query_id.removeprefix("Q"), 1)
'''

KIND = '''
from pathlib import Path
from typing import Self

import numpy as np

from dsi.config import DocidsConfig
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import Vectors
from dsi.docids.kind import NewDocument
from dsi.docids.store import Codes, Vocabulary


class Toy:
    """The row number in two digits of base 8."""

    @classmethod
    def assign(
        cls, config: DocidsConfig, corpus: Corpus, vectors: Vectors | None, tokenizer_folder: Path | None
    ) -> tuple[Self, Vocabulary, Codes]:
        assert vectors is None
        codes = np.stack(np.divmod(np.arange(len(corpus)), 8), axis=1)
        return cls(), Vocabulary("toy", tokens=int(codes.max()) + 1, length=2), codes

    def way(self, document: NewDocument) -> list[int]:
        return [*divmod(document.doc_index, 8)]

    def save(self, folder: Path) -> None:
        """Nothing is learnt from the corpus."""

    @classmethod
    def load(cls, folder: Path, vocabulary: Vocabulary) -> Self:
        return cls()
'''

HEAD = '''
"""Softmax over cosines."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from dsi.model.config import DsiConfig
from dsi.model.heads.layout import Expansions, LogProbs, Targets


class ToyHead(nn.Module):
    def __init__(self, config: DsiConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.docid_tokens, config.d_model))

    def forward(self, states: Tensor, targets: Targets) -> LogProbs:
        query, position = targets.tokens()
        values = self._values(states[query, position])
        start = values.shape[1] * torch.arange(len(query) + 1)
        return LogProbs(values.flatten(), start, start[:-1] + targets.codes[query, position], query, position)

    def multiplications(self) -> float:
        return self.weight.numel()

    def log_probs(self, states: Tensor, expansions: Expansions, level: int) -> Tensor:
        return self._values(states).gather(2, expansions.tokens)

    def _values(self, states: Tensor) -> Tensor:
        cosines = functional.normalize(states, dim=-1) @ functional.normalize(self.weight, dim=-1).T
        return cosines.log_softmax(dim=-1)
'''

OBJECTIVE = '''
"""The likelihood, and a price for long decoder states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from dsi.model.heads.layout import Targets
from dsi.model.heads.table import Head
from dsi.objectives.single_pass import SinglePass
from dsi.objectives.softmax import negative_log_likelihood


@dataclass(frozen=True)
class Toy:
    weight: float
    passes = 1

    def __call__(self, states: Sequence[Tensor], head: Head, targets: Targets, batch: Mapping[str, Tensor]) -> Tensor:
        price = self.weight * states[0].square().mean()
        return SinglePass(negative_log_likelihood)(states, head, targets, batch) + price
'''

BASELINE = '''
"""The documents with most of the query's words."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dsi.corpus.store import Corpus
from dsi.corpus.words import words_of
from dsi.search.answering import Hits, Questions, ask


class Overlap:
    def __init__(self, corpus_folder: Path, depth: int) -> None:
        self.words = {document.doc_id: set(words_of(document.content())) for document in Corpus(corpus_folder)}
        self.depth = depth

    def answer(self, texts: Sequence[str]) -> Iterator[Hits]:
        for text in texts:
            scores = {doc_id: len(words & {*words_of(text)}) for doc_id, words in self.words.items()}
            best = sorted(scores, key=lambda doc_id: -scores[doc_id])[: self.depth]
            yield [(doc_id, float(scores[doc_id])) for doc_id in best]

    def answer_alone(self, text: str) -> list[Hits]:
        return list(self.answer([text]))


def toy(out_folder: Path, name: str, corpus_folder: Path, questions: Questions, depth: int) -> dict[str, Any]:
    _, measured = ask(out_folder, name, partial(Overlap, corpus_folder), depth, questions)
    return {"index_bytes": 1234, **measured}
'''

MEASURE = '''
"""Whether the first document is relevant."""

from typing import Any

import ir_measures


def first_is_relevant(qrels: Any, run: Any) -> float:
    first = run.sort_values("score", ascending=False)["doc_id"].iloc[0]
    return float(first in set(qrels[qrels["relevance"] > 0]["doc_id"]))


toy = ir_measures.define_byquery(first_is_relevant, "Toy")
'''

STAGE = '''
"""How long documents are."""

from pathlib import Path
from typing import Any

from dsi.config.toy import ToyConfig
from dsi.corpus.store import Corpus
from dsi.corpus.words import words_of


def count_toy(out_folder: Path, *, toy: ToyConfig, corpus_folder: Path) -> dict[str, Any]:
    longest = max(len(words_of(content)) for content in Corpus(corpus_folder).contents())
    (out_folder / "longest.txt").write_text(f"{toy.prefix}{longest}", encoding="utf-8")
    return {"longest": longest}
'''

SECTION = '''
"""Section `toy`."""

from dsi.config.section import Section


class ToyConfig(Section):
    prefix: str = ""
    """Text before the number."""
'''

NEW_FILES = {
    "A corpus source": {"dsi/corpus/NAME.py": SOURCE},
    "A kind of docids": {"dsi/docids/NAME.py": KIND},
    "A docid head": {"dsi/model/heads/NAME.py": HEAD},
    "An objective": {"dsi/objectives/NAME.py": OBJECTIVE},
    "A baseline": {"dsi/baselines/NAME.py": BASELINE},
    "A measure": {"dsi/evaluation/NAME.py": MEASURE},
    "A stage": {"dsi/NAME.py": STAGE, "dsi/config/NAME.py": SECTION},
}
"""What each recipe tells to write."""

EXPERIMENT = """
corpus: {source: toy, path: notes}
tokenizer: {vocabulary: 300}
doc2query: {known_item: {queries: 5}}
docids: {kind: toy}
model: {head: toy, d_model: 16, d_kv: 4, d_ff: 16}
training: {toy: 1000.0, steps: 4, batch_size: 8, eval_steps: 2, warmup_steps: 1}
search: {latency_queries: 0, beam: 20}
baselines: {systems: [toy]}
evaluation: {measures: [RR@10, Success@1, Toy]}
toy: {prefix: "longest: "}
"""


class Addition(NamedTuple):
    """A line that a recipe adds to a file."""

    file: str
    place: str
    anchor: str
    text: str
    inside: str | None
    """What a line that opens a block holds."""


def recipes() -> dict[str, str]:
    """Title to text of each recipe."""
    part = RECIPES.split("\n## Recipes\n")[1].split("\n## ")[0]
    return {title: text for title, _, text in (recipe.partition("\n") for recipe in part.split("\n### ")[1:])}


def additions(recipe: str) -> list[Addition]:
    """The lines that a recipe adds, with the toy's names."""
    found = [Addition(*match.groups()) for match in ADDITION.finditer(" ".join(recipe.split("\n  ")))]
    return [each._replace(text=named(each.text), inside=each.inside and named(each.inside)) for each in found]


def named(text: str) -> str:
    """The same with the toy's names."""
    return text.replace("NAME", "toy").replace("Name", "Toy")


def add(file: Path, place: str, anchor: str, text: str, inside: str | None = None) -> None:
    """Add text to a file where the anchor, which is there once, says."""
    content = file.read_text(encoding="utf-8")
    assert content.count(anchor) == 1, f"{file}: {anchor!r} is there {content.count(anchor)} times"
    at = content.index(anchor)
    start, end = content.rfind("\n", 0, at) + 1, content.index("\n", at) + 1
    indent = content[start:at] if not content[start:at].strip() else ""
    lines = f"{indent}{text}\n" + (f"{indent}    {inside}\n" if inside else "")
    if place == "after":
        at, lines = at + len(anchor), text
    elif place == "at the end of":
        at, lines = content.index(CLOSING[anchor[-1]], at) + 1, f"    {text}\n"
    else:
        at = start if place == "above" else end
    file.write_text(content[:at] + lines + content[at:], encoding="utf-8")


def run(project: Path, *command: str) -> str:
    """What a command of the copy prints."""
    environment = {**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package to which every recipe has added a toy, and a finished run of all toys."""
    copy = tmp_path_factory.mktemp("recipes")
    shutil.copytree(ROOT / "dsi", copy / "dsi", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "pyproject.toml", copy)
    for title, files in NEW_FILES.items():
        for name, text in files.items():
            (copy / named(name)).write_text(text.lstrip(), encoding="utf-8")
        for each in additions(recipes()[title]):
            add(copy / each.file, *each[1:])
    (copy / "notes").mkdir()
    notes = "".join(f"{document.doc_id}\t{document.text}\n" for document in tiny_documents())
    (copy / "notes/notes.tsv").write_text(notes)
    (copy / "tiny.yaml").write_text(EXPERIMENT)
    run(copy, sys.executable, "-m", "dsi", "run", "tiny.yaml")
    return copy


def counts(project: Path, stage: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((project / "runs/tiny" / stage / "manifest.json").read_text())["counts"]
    return found


def systems(project: Path) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads((project / "runs/tiny/evaluation/metrics.json").read_text())
    return found["systems"]  # type: ignore[return-value]


def test_a_recipe_is_short_and_says_which_files_to_write() -> None:
    assert recipes().keys() >= NEW_FILES.keys()
    for title, text in recipes().items():
        assert len(text.strip().splitlines()) <= LONGEST, title
    for title, files in NEW_FILES.items():
        assert all(f"Write `{name}`" in recipes()[title] for name in files)
        assert additions(recipes()[title])


def test_source(project: Path) -> None:
    assert counts(project, "corpus")["documents"] == DOCUMENTS
    assert counts(project, "search")["systems"]["dsi"]["queries"] == 6  # type: ignore[index]


def test_kind_of_docids(project: Path) -> None:
    assert counts(project, "docids") == {
        "kind": "toy",
        "documents": DOCUMENTS,
        "tokens": 8,
        "length": 2,
        "mean_length": 2.0,
        "shared_docids": 0,
    }
    codes = np.load(project / "runs/tiny/docids/codes.npy")
    assert codes.tolist() == [[number // 8, number % 8] for number in range(DOCUMENTS)]
    assert not counts(project, "embeddings")


def test_head(project: Path) -> None:
    config = json.loads((project / "runs/tiny/model/config.json").read_text())
    assert config["docid_head"] == "toy"
    assert counts(project, "model")["parameters_by_part"]["head"] == 8 * 16  # type: ignore[index]
    lines = (project / "runs/tiny/search/dsi.run").read_text().splitlines()
    assert len(lines) == 6 * 20
    scores = [float(line.split()[4]) for line in lines]
    # cosines are from -1 to 1: of 8 tokens, none is less probable than exp(-1) / (8 exp(1)), and a docid has two
    assert min(scores) > -2 * (2 + math.log(8)) - 1e-3


def test_objective(project: Path) -> None:
    with (project / "runs/tiny/model/training.tsv").open() as file:
        assert all(float(row["loss"]) > 100 for row in csv.DictReader(file, delimiter="\t"))


def test_baseline(project: Path) -> None:
    assert systems(project)["toy"]["RR@10"] > 0.9  # three words of a document of made-up words find it
    assert counts(project, "baselines")["toy"]["index_bytes"] == 1234  # type: ignore[index]
    assert "toy" in (project / "runs/tiny/report/summary.txt").read_text()


def test_measure(project: Path) -> None:
    for values in systems(project).values():
        assert values["Toy"] == values["Success@1"]


def test_stage(project: Path) -> None:
    longest = max(len(document.text.split()) for document in tiny_documents())
    assert (project / "runs/tiny/toy/longest.txt").read_text() == f"longest: {longest}"
    rules = run(project, sys.executable, "-c", "from dsi.pipeline import make_rules; print(make_rules())")
    assert "COMMAND_toy := count-toy" in rules
    assert "count-toy" in run(project, sys.executable, "-m", "dsi", "--help")
    assert "# Text before the number." in run(project, sys.executable, "-m", "dsi", "config")


def test_imports_of_the_toys_point_one_way(project: Path) -> None:
    run(project, str(Path(sys.executable).with_name("lint-imports")))


def test_paths_that_texts_name_exist() -> None:
    for text in (RECIPES, MAP):
        spans = re.findall(r"`([^`\n]+)`", text) + re.findall(r"\]\(([^)#]+)\)", text)
        paths = {span for span in spans if PATH.fullmatch(span) and span.split("/")[0] in TOP}
        assert len(paths) > 20
        for path in paths:
            there = ROOT / path if "NAME" not in path else (ROOT / path).parent
            assert there.exists(), path


def test_the_map_names_every_stage_and_the_rooms_by_layer() -> None:
    picture = MAP.split("```mermaid")[1].split("```")[0]
    assert all(f"{stage}/" in picture for stage in STAGES)
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    wanted = [sorted(layer.split(" | ")) for layer in reversed(layers)]
    rooms = re.findall(r"^\| `dsi/(\w+)(?:/|\.py)`", MAP, re.M)
    found = [sorted(rooms.pop(0) for _ in layer if rooms) for layer in wanted]
    assert (found, rooms) == (wanted, [])


def test_every_row_of_the_map_is_true() -> None:
    """A row: what to change, the key of the configuration if one says it, files with names that are in them."""
    rows = MAP.split("\n## To change")[1].split("\n| --- | --- | --- |\n")[1].split("\n\n")[0].strip().splitlines()
    assert len(rows) >= 25
    for row in rows:
        _, _, key, places, _ = row.split("|")
        for name in re.findall(r"`([^`]+)`", key):
            Config()[name]
        text = ""
        for name in re.findall(r"`([^`]+)`", places):
            if PATH.fullmatch(name):
                text = (ROOT / name).read_text(encoding="utf-8")
            else:
                assert re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text), f"{row}: there is no {name}"
        assert text, row
