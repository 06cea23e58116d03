"""A folder that is there whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from secrets import token_hex

from dsi.errors import DsiError
from dsi.runtime.system import is_running


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, renamed to `folder` at the end of the block; after an error nothing is left.

    Raises:
        DsiError: there is something of this name already.
    """
    if os.path.lexists(folder):
        raise DsiError(f"{folder} exists already; name a new folder")
    for left in folder.parent.glob(f".{escape(folder.name)}.*.partial"):  # by a process that was killed
        if not is_running(left.name.split(".")[-3]):
            shutil.rmtree(left, ignore_errors=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.{token_hex(4)}.partial")
    partial.mkdir(parents=True)
    try:
        yield partial
        try:
            partial.rename(folder)
        except OSError:
            if not os.path.lexists(folder):
                raise
            raise DsiError(f"{folder} exists already, another process or thread has made it") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
