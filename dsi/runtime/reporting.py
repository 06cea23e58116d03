"""Which loggers the trainings of a stage report to, and where: outside what the stage makes, which stays the same."""

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dsi.errors import DsiError

LEAST = {"tensorboard": "2.16", "wandb": "0.21", "trackio": "0.21.1"}
"""The packages of the loggers, by the names that the Trainer has for them, and the lowest versions that it can call."""


@dataclass(frozen=True)
class Reporting:
    """What trainings report to at present."""

    loggers: tuple[str, ...] = ()
    folder: Path = Path()
    """The folder of their files, which need not exist."""
    name: str | None = None
    """What the training is called among others."""
    closing: ExitStack = field(default_factory=ExitStack)
    """What is to be done once the stage has ended."""


_NOW: ContextVar[Reporting] = ContextVar("reporting", default=Reporting())  # noqa: B039, as nobody changes it


def reporting() -> Reporting:
    """What trainings report to at present; to nothing by default."""
    return _NOW.get()


@contextmanager
def reporting_to(loggers: Iterable[str], folder: Path, name: str) -> Iterator[None]:
    """Have the trainings within report to these loggers, whose runs end with it."""
    with ExitStack() as closing:
        token = _NOW.set(Reporting(tuple(dict.fromkeys(loggers)), folder, name, closing))
        try:
            yield
        finally:
            _NOW.reset(token)


def check_loggers(key: str, loggers: Iterable[str]) -> None:
    """See that the packages of loggers, named under a key, are installed in versions that the Trainer can call.

    Raises:
        DsiError: one is not.
    """
    faults = list[str]()
    for logger in dict.fromkeys(loggers):
        least = LEAST[logger]
        try:
            found = version(logger)
        except PackageNotFoundError:
            faults.append(f"{key}: {logger} is not installed: pip install '{logger}>={least}', or leave it out")
            continue
        if _numbers(found) < _numbers(least):
            faults.append(f"{key}: {logger} {found} is too old for the Trainer: pip install '{logger}>={least}'")
    if faults:
        raise DsiError(*faults)


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version, in the order in which they count."""
    return tuple(map(int, re.findall(r"\d+", version)[:3]))
