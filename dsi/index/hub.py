"""An index on the Hugging Face hub: a repository that is the folder of a saved one."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dsi.errors import DsiError, first_line
from dsi.index.files import GENERATIONS
from dsi.index.saved import CONFIG_FILE, README, read_config

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
SECONDS = 10.0
"""How long the hub has to answer."""


def is_name(text: str) -> bool:
    """Whether a text that is no folder may be the name of a repository, OWNER/NAME, rather than a path.

    >>> is_name("someone/an-index"), is_name("/data/index"), is_name("index")
    (True, False, False)
    """
    return bool(NAME.fullmatch(text)) and not Path(text).parent.is_dir()


def fetch(repository: str, revision: str | None = None) -> Path:
    """The folder of a repository's files in the hub's cache, downloaded as far as they are not there; where the hub
    cannot be reached, what is in the cache of that revision.

    Raises:
        DsiError: it cannot be had, or is no index.
    """
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    what = f"{repository}: there is no such folder, and no index of that name can be had from the hub"
    with _faults(what):
        is_offline = False
        try:  # downloads try again for half a minute
            HfApi(library_name="dsi").model_info(repository, revision=revision, timeout=SECONDS)
        except HfHubHTTPError:
            raise
        except Exception as error:  # no network, or told so by HF_HUB_OFFLINE
            is_offline, what = True, f"{what}, which cannot be reached ({first_line(error)}), nor from its cache"
    with _faults(what):
        config = Path(hf_hub_download(repository, CONFIG_FILE, revision=revision, local_files_only=is_offline))
        files, commit = [*read_config(config.parent)["files"], CONFIG_FILE, README], config.parent.name
        files.append(f"{GENERATIONS}/*")  # of a folder that has changed, which somebody has uploaded as it was
        # the same commit, whatever is pushed meanwhile
        return Path(snapshot_download(repository, revision=commit, allow_patterns=files, local_files_only=is_offline))


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
    try:
        yield
    except DsiError:
        raise
    except Exception as error:  # of many kinds: no such name, no right, no network, no token
        raise DsiError(f"{what}: {first_line(error)}") from error
