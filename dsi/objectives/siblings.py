"""The nodes whose output rows a step of the hierarchical softmax reads: the siblings on the paths of a batch."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dsi.model.heads.layout import Targets
from dsi.objectives.sampling import with_draws


def siblings_to_read(
    targets: Targets, widest: int | None, random: np.random.Generator
) -> tuple[Tensor, Tensor, Targets]:
    """The nodes to read, in increasing order, what to add to their logits, and the targets as places among these.

    Of more than `widest` siblings the targets are read, and others by so many draws (see `dsi.objectives.sampling`).
    """
    assert targets.nodes is not None
    assert targets.first_sibling is not None
    assert targets.siblings is not None
    tokens = targets.tokens()
    node, first, count = (
        each[tokens].cpu().numpy() for each in (targets.nodes, targets.first_sibling, targets.siblings)
    )
    starts, token, parent = np.unique(first, return_index=True, return_inverse=True)
    parts, offsets = [], []
    for number, (start, size) in enumerate(zip(starts.tolist(), count[token].tolist(), strict=True)):
        part, added = np.arange(start, start + size), np.zeros(size, dtype=np.float32)
        if widest is not None and size > widest:
            sure, draws = np.unique(node[parent == number]), random.choice(part, size=widest)
            part, added = with_draws(sure, draws, partial(np.full_like, fill_value=widest / size, dtype=np.float64))
        parts.append(part)
        offsets.append(added)
    nodes, sizes = np.concatenate(parts), np.array([len(part) for part in parts])
    begins = np.cumsum(sizes) - sizes

    def renumbered(old: Tensor, values: np.ndarray) -> Tensor:
        new = old.clone()
        new[tokens] = torch.from_numpy(values).to(old)
        return new

    among = replace(
        targets,
        nodes=renumbered(targets.nodes, np.searchsorted(nodes, node)),
        first_sibling=renumbered(targets.first_sibling, begins[parent]),
        siblings=renumbered(targets.siblings, sizes[parent]),
    )
    device = targets.codes.device
    return torch.from_numpy(nodes).to(device), torch.from_numpy(np.concatenate(offsets)).to(device), among
