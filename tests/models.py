"""Small random models for tests."""

import torch
from transformers import set_seed

from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.config import DsiConfig

TOKENS = 40


def random_model(tokens: int, length: int, seed: int = 0, **options: object) -> DifferentiableSearchIndex:
    """A T5 whose weights are large enough that rankings differ between queries."""
    set_seed(seed)
    shape = {"d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4}
    sizes = {**shape, "vocab_size": TOKENS, **options}
    config = DsiConfig(decoder_start_token_id=0, docid_tokens=tokens, docid_length=length, **sizes)
    model = DifferentiableSearchIndex(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    return model


def random_queries(count: int, seed: int = 0) -> list[list[int]]:
    """Queries of different lengths, each ending with token 1, as T5's do."""
    generator = torch.Generator().manual_seed(seed)
    return [[*torch.randint(3, TOKENS, (1 + number % 7,), generator=generator).tolist(), 1] for number in range(count)]
