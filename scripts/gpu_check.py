"""What a graphics card says of the code that has been written without one: oracles, memory, speed.

    python scripts/gpu_check.py            on a card; meant to take less than eight minutes
    python scripts/gpu_check.py --small    the same in small, also on a CPU, as the tests do

It needs torch, numpy, transformers and safetensors alone, and random weights: T5-base's shape, 8,841,823 documents.
A part that fails says so in its row, and the rest goes on.
"""

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a bare machine has not installed dsi

import numpy as np
import torch
from docid_shapes import kmeans_shaped
from torch import Tensor
from torch.nn import functional
from transformers import T5Config, T5ForConditionalGeneration

from dsi.doc2query.sampling import sample
from dsi.docids.trie import Trie, build_trie
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.config import DsiConfig
from dsi.objectives.output_rows import OutputRows, stochastically_rounded
from dsi.objectives.over_rows import OverRows
from dsi.objectives.row_softmax import Label, Visits, chunks, softmax_loss
from dsi.objectives.sampling import Clusters, Sampler
from dsi.search.atomic import top_documents
from dsi.search.beam import DeviceTrie, beam_search

MEMORY = 24 << 30
"""The bytes of the card that the training step may take."""
END, FIRST_TOKEN = 1, 100
"""The text token that ends a docid for `generate`, and the one that stands for docid token 0."""
TOKENS = 32
"""The token ids of a query."""
RUNS = 3
"""How often what is timed is repeated after a first time; the median counts."""


@dataclass(frozen=True)
class Sizes:
    """What the parts are measured with."""

    body: dict[str, int]
    vocabulary: int
    documents: int
    """The output rows of the training step, and the docids of the beam."""
    rows: int
    """The output rows of the throughput of chunked and sampled steps."""
    batch: int
    step_batch: int
    """The queries of the step at the largest number of rows, whose activations must fit beside these."""
    beams: tuple[int, ...]
    queries: int
    """The queries of a batch that is searched for."""
    texts: int
    """The documents for which queries are sampled."""
    samples: int


T5_BASE = {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_decoder_layers": 12, "num_heads": 12}
CARD = Sizes(T5_BASE, 32_128, 8_841_823, 1_000_000, 512, 128, (10, 40, 100), 32, 64, 40)
TINY = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2}
SMALL = Sizes(TINY, 200, 3_000, 500, 8, 4, (2, 5), 3, 2, 4)


@dataclass
class Report:
    """The rows of the table and the figures of the last line."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    failed: int = 0

    def add(self, part: str, what: str, value: str, **figures: float) -> None:
        self.rows.append((part, what, value))
        self.figures |= figures
        print(f"{part:12} {what:58} {value}", flush=True)

    def check(self, part: str, what: str, difference: float, most: float) -> None:
        """Note how far two ways are apart, which counts as a failure above `most`, or if it is no number."""
        is_fine = difference <= most
        self.failed += not is_fine
        self.add(part, what, f"{difference:.1e} {'<=' if is_fine else 'MORE THAN'} {most:.0e}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="small sizes, on a card or on the CPU")
    options = parser.parse_args()
    if not (torch.cuda.is_available() or options.small):
        print("gpu_check: there is no card; --small runs on the CPU", file=sys.stderr)
        return 2
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    sizes, report, began = SMALL if options.small else CARD, Report(), time.perf_counter()
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}", flush=True)
    for part in (oracles, step, throughput, beams, queries, one_query):  # a capture that fails may spoil what follows
        try:
            torch.manual_seed(0)
            if device.type == "cuda":
                gc.collect()
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
                torch.cuda.set_per_process_memory_fraction(1.0)
            part(report, sizes, device)
        except Exception as error:  # of any kind: the other parts are worth knowing all the same
            report.failed += 1
            report.add(part.__name__, "failed", f"{type(error).__name__}: {' '.join(str(error).split()):.80}")
    figures = {**report.figures, "seconds": time.perf_counter() - began}
    print(*(f"{key}={value:.4g}" for key, value in figures.items()), f"failed={report.failed}")
    return int(report.failed > 0)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """The median time of some runs of `work` after the first one, whose end is that of its last kernel."""
    times = list[float]()
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


def model_of(sizes: Sizes, device: torch.device, tokens: int, length: int) -> DifferentiableSearchIndex:
    """An index with random weights and no output rows but those of so many docid tokens."""
    config = DsiConfig(
        vocab_size=sizes.vocabulary,
        decoder_start_token_id=0,
        docid_tokens=tokens,
        docid_length=length,
        **sizes.body,
    )
    with device:
        return DifferentiableSearchIndex(config)


def texts(sizes: Sizes, count: int, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids of texts at random, (count, length), and their mask."""
    ids = torch.randint(3, sizes.vocabulary, (count, length), device=device)
    return ids, torch.ones_like(ids)


def oracles(report: Report, sizes: Sizes, device: torch.device) -> None:
    """The same numbers as by the plain way, and as on the CPU."""
    count, width, batch = 3_000, 64, 32
    weight, states = torch.randn(count, width, device=device), torch.randn(batch, width, device=device)
    target = torch.randint(count, (batch,), device=device)
    rows, plain = OutputRows(weight.clone(), "sgd", 0.0, device=device), states.clone().requires_grad_()
    functional.cross_entropy(plain @ weight.T, target, reduction="sum").backward()
    ours = states.clone().requires_grad_()
    loss_over(rows, chunks, ours, target).backward()
    assert plain.grad is not None
    assert ours.grad is not None
    report.check("oracle", "gradient of the states, chunked and plain", distance(ours.grad, plain.grad), 1e-4)
    sampler = Sampler(Clusters(np.arange(count) % 50), 200, 200, seed=0)
    losses = [
        loss_over(OutputRows(weight.to(place), "sgd", 0.0, device=place), sampler, states.to(place), target.to(place))
        for place in (device, torch.device("cpu"))
    ]
    report.check("oracle", "sampled loss, here and on the CPU, relative", abs(1 - float(losses[0] / losses[1])), 1e-4)
    value = torch.full((1 << 20,), 1 + 0.3 / 128, device=device)
    noise = torch.randint(1 << 16, value.shape, dtype=torch.int32, device=device)
    mean = stochastically_rounded(value, noise).double().mean()
    report.check("oracle", "mean of rounded numbers, in steps of bfloat16", abs(128 * float(mean - value[0])), 5e-3)

    small = Sizes({**TINY, "num_layers": 2}, 200, 0, 0, 0, 0, (), 0, 0, 0)
    codes = kmeans_shaped(300, 4, 10)
    model = model_of(small, device, int(codes.max()) + 1, codes.shape[1]).eval()
    ids, mask = texts(small, 4, 7, device)
    trie = build_trie(codes)
    found = beam_search(model, DeviceTrie(trie, device), ids, mask, 300)
    expected = by_teacher_forcing(model, torch.from_numpy(codes).long().to(device), ids, mask)
    best = expected.sort(dim=1, descending=True).values[:, : found.scores.shape[1]]
    report.check("oracle", "a beam that drops nothing, and every docid scored", distance(found.scores, best), 1e-3)
    model.cpu()
    again = beam_search(model, DeviceTrie(trie, torch.device("cpu")), ids.cpu(), mask.cpu(), 300)
    report.check("oracle", "the same beam here and on the CPU", distance(found.scores.cpu(), again.scores), 1e-3)

    model = model_of(small, device, 4_000, 1).eval().to(torch.bfloat16)
    documents, _ = top_documents(model, ids, mask, 50)
    with torch.inference_mode():
        logits = model.first_states(ids, mask).float() @ model.docid_head.weight.float().T
    difference = distance(logits.gather(1, documents), logits.topk(50, dim=1).values)
    report.check("oracle", "logits of atomic docids in bfloat16, and those of all rows", difference, 1e-4)


def loss_over(rows: OutputRows, visits: Visits, states: Tensor, target: Tensor) -> Tensor:
    """The summed loss of states for their rows."""
    return softmax_loss(states, Label.certain(target), rows, visits)


def distance(one: Tensor, other: Tensor) -> float:
    """The largest difference, relative to the largest number."""
    return float((one - other).abs().max() / other.abs().max())


@torch.inference_mode()
def by_teacher_forcing(model: DifferentiableSearchIndex, codes: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """The log-probability of every docid for each text, (texts, docids)."""
    scores = []
    for text, of_text in zip(ids, mask, strict=True):
        encoded = model.encode(text[None], of_text[None]).expand(len(codes), -1, -1)
        states = model.decoder_states(encoded, of_text.expand(len(codes), -1), codes)
        log_probs = functional.linear(states, model.docid_head.weight).log_softmax(dim=-1)
        chosen = log_probs.gather(2, codes.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        scores.append(chosen.masked_fill(codes < 0, 0).sum(dim=1))
    return torch.stack(scores)


def steps_of(
    sizes: Sizes, device: torch.device, documents: int, batch: int, visits: Visits, dtype: torch.dtype
) -> Iterator[None]:
    """Training steps of a body with AdamW, in bfloat16, for `batch` queries over the output rows of `documents`."""
    weight = torch.empty(documents, sizes.body["d_model"], dtype=dtype, device=device)
    for some in weight.split(1 << 16):
        some.copy_(functional.normalize(torch.randn(some.shape, device=device), dim=1))
    rows = OutputRows(weight, "sgd", 0.5, dtype, device=device)
    assert rows.weight.data_ptr() == weight.data_ptr()  # there is no room for a copy
    model = model_of(sizes, device, 2, 1).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=device.type == "cuda")
    objective = OverRows(rows, visits)
    while True:
        ids, mask = texts(sizes, batch, TOKENS, device)
        codes = torch.randint(documents, (batch, 1), device=device)
        with torch.autocast(device.type, torch.bfloat16):
            loss = model(objective, {"input_ids": ids, "attention_mask": mask, "codes": codes})
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        rows.end_step()
        assert loss.isfinite()
        yield


def step(report: Report, sizes: Sizes, device: torch.device) -> None:
    """A training step with all rows of the largest corpus, in a part of the card's memory."""
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(MEMORY / total, 1.0))
    steps = steps_of(sizes, device, sizes.documents, sizes.step_batch, chunks, torch.bfloat16)
    spent = seconds(partial(next, steps), device)
    width = sizes.body["d_model"]
    products = 4 * 2.0 * sizes.step_batch * width * sizes.documents
    what = f"chunked, {sizes.documents:,} x {width} bfloat16 rows, batch {sizes.step_batch}"
    report.add("step", what, f"{spent:.3f} s, {products / spent / 1e12:.3g} TFLOP/s of rows", step_s=spent)
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**30
        report.add("step", f"peak memory, of at most {MEMORY >> 30} GiB", f"{peak:.1f} GiB", step_gib=peak)


def throughput(report: Report, sizes: Sizes, device: torch.device) -> None:
    """Whole training steps, chunked and sampled."""
    of_row = np.random.default_rng(1).integers(int(sizes.rows**0.5), size=sizes.rows)
    ways: dict[str, Visits] = {"chunked": chunks, "sampled": Sampler(Clusters(of_row), 1_024, 1_024, seed=0)}
    for way, visits in ways.items():
        for dtype in (torch.float32, torch.bfloat16):
            steps = steps_of(sizes, device, sizes.rows, sizes.batch, visits, dtype)
            rate = sizes.batch / seconds(partial(next, steps), device)
            precision = str(dtype).removeprefix("torch.")
            what = f"{way}, {sizes.rows:,} {precision} rows, batch {sizes.batch}"
            report.add("throughput", what, f"{rate:,.0f} examples/s", **{f"{way}_{precision}": rate})
            del steps


def beams(report: Report, sizes: Sizes, device: torch.device) -> None:
    """Constrained search among the docids of the largest corpus, against `generate` with the same trie."""
    codes = kmeans_shaped(sizes.documents, 10, 100)
    trie, tokens = build_trie(codes), int(codes.max()) + 1
    model = model_of(sizes, device, tokens, codes.shape[1]).eval()
    changes = {"vocab_size": max(sizes.vocabulary, FIRST_TOKEN + tokens), "decoder_start_token_id": 0}
    with device:
        peer = T5ForConditionalGeneration(T5Config(**sizes.body, **changes)).eval()
    if device.type == "cuda":
        model, peer = model.to(torch.bfloat16), peer.to(torch.bfloat16)
    on_device = DeviceTrie(trie, device)
    for beam in sizes.beams:
        for count in (1, sizes.queries):
            ids, mask = texts(sizes, count, TOKENS, device)
            ours = seconds(partial(beam_search, model, on_device, ids, mask, beam), device)
            what = f"beam {beam}, {count} queries, {sizes.documents:,} docids"
            report.add("beam", what, f"{1e3 * ours / count:.2f} ms a query", **{f"beam{beam}_{count}": ours / count})
        ids, mask = texts(sizes, 1, TOKENS, device)
        options: dict[str, Any] = {"num_beams": beam, "num_return_sequences": beam, "max_new_tokens": codes.shape[1]}
        constraint = allowed(trie)
        start = time.perf_counter()
        with torch.inference_mode():
            peer.generate(ids, attention_mask=mask, prefix_allowed_tokens_fn=constraint, eos_token_id=END, **options)
        theirs = time.perf_counter() - start
        ratio = theirs / report.figures[f"beam{beam}_1"]
        report.add("beam", f"beam {beam}, generate of transformers, one query", f"{1e3 * theirs:.0f} ms, {ratio:.1f} x")
        report.figures[f"generate_over_ours_{beam}"] = ratio


def allowed(trie: Trie) -> Callable[[int, Tensor], list[int]]:
    """The constraint of `generate`: the text tokens that stand for the children of a prefix, walked from the root."""

    def tokens(_: int, prefix: Tensor) -> list[int]:
        node = 0
        for token in prefix.tolist()[1:]:
            first, stop = int(trie.first_child[node]), int(trie.first_child[node + 1])
            place = np.searchsorted(trie.token[first:stop], token - FIRST_TOKEN)
            if token < FIRST_TOKEN or place == stop - first:  # END, or what follows it
                return [END]
            node = first + int(place)
        children = trie.token[int(trie.first_child[node]) : int(trie.first_child[node + 1])]
        return (children.astype(np.int64) + FIRST_TOKEN).tolist() or [END]

    return tokens


def one_query(report: Report, sizes: Sizes, device: torch.device) -> None:
    """The part of a search that has the same shape for every query, encoder and first decoder step, as a CUDA graph."""
    model = model_of(sizes, device, 2, 1).eval()
    ids, mask = texts(sizes, 1, TOKENS, device)
    if device.type == "cuda":
        model = model.to(torch.bfloat16)

    @torch.inference_mode()
    def state() -> Tensor:
        return model.first_states(ids, mask)

    eager = seconds(state, device)
    report.add("one query", "encoder and first decoder step", f"{1e3 * eager:.2f} ms", first_step=eager)
    if device.type != "cuda":
        return
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):  # as PyTorch asks for before a capture
        for _ in range(3):
            state()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = state()
    spent = seconds(graph.replay, device)
    report.add("one query", "the same as a CUDA graph", f"{1e3 * spent:.2f} ms, {eager / spent:.1f} x", graph=spent)
    report.check("one query", "their states", distance(captured.float(), state().float()), 1e-2)


def queries(report: Report, sizes: Sizes, device: torch.device) -> None:
    """Samples of synthetic queries, against `generate`."""
    with device:
        model = T5ForConditionalGeneration(
            T5Config(vocab_size=sizes.vocabulary, decoder_start_token_id=0, **sizes.body)
        ).eval()
    if device.type == "cuda":
        model = model.to(torch.bfloat16)
    ids, mask = texts(sizes, sizes.texts, 4 * TOKENS, device)
    count, random = sizes.texts * sizes.samples, np.random.default_rng(0)

    def ours() -> object:
        return sample(model, ids, mask, sizes.samples, 10, 1.0, TOKENS, random)

    def theirs() -> object:
        options = {"do_sample": True, "top_k": 10, "num_return_sequences": sizes.samples, "max_new_tokens": TOKENS}
        return model.generate(ids, attention_mask=mask, **options)

    rates = {name: count / seconds(work, device) for name, work in (("ours", ours), ("generate", theirs))}
    what = f"{sizes.samples} samples of {TOKENS} tokens for each of {sizes.texts} documents"
    ratio = rates["ours"] / rates["generate"]
    report.add("doc2query", what, f"{rates['ours']:,.0f} a second, {ratio:.1f} x generate", samples_s=rates["ours"])


if __name__ == "__main__":
    sys.exit(main())
