"""The measured and published numbers that the README shows, each under a name.

They are stored in three files:

- `configs/reproduce/cpu.json`, which `dsi reproduce --record` writes: `demo/dsi+bm25/RR@10` is the score of a system of
  the run `demo`, `demo/dsi+bm25/RR@10/low` and `/high` are the ends of its 95 % interval, `demo/documents`,
  `demo/queries` and `demo/minutes` say what was measured. These are of the first seed; `demo/1/minutes` is of seed 1.
- `docs/results.yaml`, written by hand for all else: `build-100k/minutes` is a value of the measurement `build-100k`.
- `dsi/report/published.yaml`: `published/msmarco-100k/BM25`, and with docids `published/nq-100k/6b D2Q only/atomic`.

Shares and scores are fractions. `A - B` and `A / B` are a difference and a ratio of two of them.
"""

import datetime
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from dsi.errors import DsiError
from dsi.report.published import COLUMNS

ROOT = Path(__file__).parents[1]
RECORDED, BY_HAND = ROOT / "configs/reproduce/cpu.json", ROOT / "docs/results.yaml"
PUBLISHED = ROOT / "dsi/report/published.yaml"
MEASURE, SYSTEMS = "RR@10", ("bm25", "dsi", "dsi+bm25", "dual_encoder", "teacher")
"""What tables and plots show of a run."""
INNER = {"systems", "score", "values"}
"""The keys that are no part of a name."""
OPERATORS = {" - ": lambda left, right: left - right, " / ": lambda left, right: left / right}
"""What may stand between two names."""


class Score(BaseModel):
    """A mean over the queries with its 95 % interval."""

    model_config = ConfigDict(frozen=True)
    score: float
    low: float
    high: float


class System(BaseModel):
    """The scores of a system by measure, and whether it learnt from a teacher."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Score] = Field(init=False)
    distilled: bool = False

    @property
    def scores(self) -> dict[str, Score]:
        """The scores by the name of the measure."""
        return self.__pydantic_extra__


class Recorded(BaseModel):
    """What was measured of a run with one seed."""

    documents: int
    queries: int
    minutes: float
    systems: dict[str, System]

    def scores(self, measure: str) -> dict[str, Score]:
        """The scores of the systems that have this measure, by system."""
        return {name: system.scores[measure] for name, system in self.systems.items() if measure in system.scores}


class ByHand(BaseModel):
    """What else was measured: by which command, when and on what, with the numbers that it gave by name."""

    model_config = ConfigDict(extra="forbid", strict=True)
    command: str
    date: datetime.date
    machine: str
    values: Annotated[dict[str, float], Field(min_length=1)]


@dataclass(frozen=True)
class Results:
    """All that is stored."""

    runs: Mapping[str, Recorded]
    """What was recorded of each run with its first seed."""
    published: Mapping[str, Any]
    """The published figures by setting, as in the file, in per cent."""
    numbers: Mapping[str, float]
    """Every number by its name."""

    def value(self, name: str) -> float:
        """The number of this name, or the difference or ratio of two names.

        Raises:
            KeyError: there is none; with what is wrong.
        """
        for sign, operator in OPERATORS.items():
            left, found, right = name.partition(sign)
            if found:
                return operator(self.value(left), self.value(right))
        if name not in self.numbers:
            raise KeyError(f"no stored result is called {name}")
        return self.numbers[name]


def read_results(recorded: Path = RECORDED, by_hand: Path = BY_HAND) -> Results:
    """Read the stored results.

    Raises:
        DsiError: a file is missing or faulty, or a name is used in both.
    """
    tree, other = _read(recorded), _read(by_hand)
    seeds = _validated(dict[str, Annotated[dict[str, Recorded], Field(min_length=1)]], tree, recorded)
    _validated(dict[str, ByHand], other, by_hand)
    if twice := [*tree.keys() & other.keys()]:
        raise DsiError(f"{by_hand}: {twice[0]}: {recorded} has a run of this name; give it another one")
    published = _read(PUBLISHED)
    first = {run: next(iter(by_seed.values())) for run, by_seed in tree.items()}
    numbers = dict(_numbers(first)) | dict(_numbers(tree)) | dict(_numbers(other)) | dict(_published(published))
    return Results({run: next(iter(by_seed.values())) for run, by_seed in seeds.items()}, published, numbers)


def _read(path: Path) -> dict[str, Any]:
    """The mapping in a JSON or YAML file; an empty file is an empty one."""
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text) or {}
    except OSError as error:
        raise DsiError(f"cannot read the results {path}: {error.strerror}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise DsiError(f"{path}: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise DsiError(f"{path}: expected a mapping of names to results")
    return values


def _validated(kind: Any, values: dict[str, Any], path: Path) -> Any:
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        faults = (f"{path}: {'/'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise DsiError(*faults) from None


def _numbers(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a tree with its name."""
    for key, value in tree.items():
        name = above if key in INNER else f"{above}/{key}".removeprefix("/")
        if isinstance(value, dict):
            yield from _numbers(value, name)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value


def _published(settings: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Every published figure with its name, as a fraction."""
    for setting, figures in settings.items():
        for row, values in figures["rows"].items():
            columns = [f"/{column}" for column in COLUMNS] if len(values) > 1 else [""]
            for column, value in zip(columns, values, strict=True):
                if value is not None:
                    yield f"published/{setting}/{row}{column}", value / 100
