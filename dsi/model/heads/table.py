"""The docid heads by their names in the configuration."""

from __future__ import annotations

from dsi.model.heads.hierarchical_softmax import TreeHead
from dsi.model.heads.pawa import PawaHead
from dsi.model.heads.plain import PlainHead

Head = PlainHead | TreeHead | PawaHead
HEADS: dict[str, type[Head]] = {"plain": PlainHead, "tree": TreeHead, "pawa": PawaHead}
