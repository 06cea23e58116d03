"""A folder that is there whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dsi.errors import DsiError


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, renamed to `folder` at the end of the block; after an error nothing is left.

    Raises:
        DsiError: there is something of this name already.
    """
    if os.path.lexists(folder):
        raise DsiError(f"{folder} exists already; name a new folder")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
