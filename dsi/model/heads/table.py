"""The docid heads by their names in the configuration."""

from dsi.model.heads.hierarchical_softmax import HierarchicalSoftmaxHead
from dsi.model.heads.pawa import PawaHead
from dsi.model.heads.plain import PlainHead

Head = PlainHead | HierarchicalSoftmaxHead | PawaHead
HEADS: dict[str, type[Head]] = {"plain": PlainHead, "hierarchical_softmax": HierarchicalSoftmaxHead, "pawa": PawaHead}
