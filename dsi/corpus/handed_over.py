"""What is handed over in Python: paths, and records from any list or iterator, with their places."""

import os
from collections.abc import Iterable, Iterator, Mapping, Set
from io import IOBase
from pathlib import Path
from reprlib import repr as short
from typing import Any

from dsi.corpus.source import Where
from dsi.errors import DsiError, first_line
from dsi.runtime.progress import progress


def existing(path: str | Path) -> Path:
    """The absolute path of a file or folder that is handed over; DsiError if there is none."""
    if not os.path.exists(path):  # which is False for a text that no path can be
        raise DsiError(f"{str(path)!r:.200}: there is no such file or folder; what is no path is given as a list")
    return Path(path).absolute()


def handed_over(name: str, unit: str, given: Any) -> Iterator[tuple[Where, Any]]:
    """The records that are given under a name, e.g. documents, each of which is called `unit`.

    Raises:
        DsiError: they are no list, or what the iterator raises, which names the last one.
    """
    if hasattr(given, "columns") and hasattr(given, "to_dict"):
        raise DsiError(f"{name}: a table would be the names of its columns; give its rows: to_dict('records')")
    is_no_list = isinstance(given, str | bytes | Mapping | Set | IOBase) or not isinstance(given, Iterable)
    if is_no_list:  # a set has no order, and so no row numbers; of a file, its path tells the format
        raise DsiError(f"{name}: expected a list of them or a path, found {type(given).__name__} {short(given)}")
    number = 0
    try:
        for number, record in enumerate(progress(given, f"read {name}", unit=name), start=1):
            yield Where(name, number, unit), record
    except DsiError:
        raise
    except Exception as error:  # of the user's own code
        raise DsiError(
            f"{name}: the iterator failed after {number:,}: {type(error).__name__}: {first_line(error)}"
        ) from error
