"""The kinds of docids by their names in the configuration."""

from pathlib import Path

from dsi.docids.atomic import Atomic
from dsi.docids.kind import Kind
from dsi.docids.naive import Naive
from dsi.docids.residual import Residual
from dsi.docids.semantic import Semantic, Semantic2d
from dsi.docids.store import Docids

KINDS: dict[str, type[Kind]] = {
    "atomic": Atomic,
    "naive": Naive,
    "semantic": Semantic,
    "semantic_2d": Semantic2d,
    "residual": Residual,
}


def opened(folder: Path) -> Kind:
    """The kind of docids that the stage folder `folder` holds, ready to assign one to a new document."""
    vocabulary = Docids(folder).vocabulary
    return KINDS[vocabulary.kind].load(folder, vocabulary)
