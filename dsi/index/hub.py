"""An index on the Hugging Face hub: a repository that is the folder of a saved one."""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dsi.errors import DsiError, first_line
from dsi.index.saved import CONFIG_FILE, README, read_config

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


def is_name(text: str) -> bool:
    """Whether a text that is no folder may be the name of a repository, OWNER/NAME, rather than a path.

    >>> is_name("someone/an-index"), is_name("/data/index"), is_name("index")
    (True, False, False)
    """
    return bool(NAME.fullmatch(text)) and not Path(text).parent.is_dir()


def fetch(repository: str, revision: str | None = None) -> Path:
    """The folder of a repository's files in the hub's cache, downloaded as far as they are not there.

    Raises:
        DsiError: it cannot be had, or is no index.
    """
    from huggingface_hub import hf_hub_download, snapshot_download

    print(f"dsi: there is no folder {repository}; the hub is asked", file=sys.stderr, flush=True)
    with _faults(f"{repository}: there is no such folder, and no index of that name can be had from the hub"):
        config = Path(hf_hub_download(repository, CONFIG_FILE, revision=revision))
        files = [*read_config(config.parent)["files"], CONFIG_FILE, README]
        # the same commit, whatever is pushed meanwhile
        return Path(snapshot_download(repository, revision=config.parent.name, allow_patterns=files))


def cache_of(folder: Path) -> Path:
    """What links in a folder of the cache may lead to: the files of the same repository."""
    return folder.parent.parent


def push(folder: Path, repository: str, private: bool) -> str:
    """Make a saved index the content of a repository, which is made if there is none; return its address.

    Raises:
        DsiError: the hub refuses it or cannot be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="dsi")
    with _faults(f"{repository}: cannot be written on the hub"):
        made = api.create_repo(repository, private=private, exist_ok=True)
        message = "An index made with dsi"
        api.upload_folder(repo_id=made.repo_id, folder_path=folder, commit_message=message, delete_patterns="*")
        return str(made)


@contextmanager
def _faults(what: str) -> Iterator[None]:
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)  # not a line for each time that it tries again
    try:
        yield
    except DsiError:
        raise
    except Exception as error:  # of many kinds: no such name, no right, no network, no token
        raise DsiError(f"{what}: {first_line(error)}") from error
    finally:
        logger.setLevel(level)
