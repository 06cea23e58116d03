"""T5 query generation against the library's `generate`, and its training."""

import json
import multiprocessing
import shutil
import signal
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Stages, processes_command, read_all, run_processes, write_msmarco_folder
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    MT5Config,
    MT5ForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
    set_seed,
)

from dsi.cli import main
from dsi.config import Doc2QueryConfig, GeneratorConfig, KnownItemConfig, T5GeneratorConfig
from dsi.corpus.store import Corpus, Document, Qrel, Query, write_rows
from dsi.doc2query import finetune as finetune_module
from dsi.doc2query.expand import expand
from dsi.doc2query.finetune import finetune
from dsi.doc2query.sampling import sample
from dsi.doc2query.t5 import T5Generator
from dsi.errors import DsiError


def random_t5(
    token_ids: int, seed: int = 0, scale: float = 1.5, multilingual: bool = False, **options: object
) -> T5ForConditionalGeneration:
    set_seed(seed)
    shape = {"d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
    make, configure = (
        (MT5ForConditionalGeneration, MT5Config) if multilingual else (T5ForConditionalGeneration, T5Config)
    )
    model = make(configure(vocab_size=token_ids, **shape | options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    return model


def random_passages(count: int, token_ids: int) -> list[list[int]]:
    random = np.random.default_rng(0)
    return [[*random.integers(2, token_ids, size=random.integers(1, 30)).tolist(), 1] for _ in range(count)]


def padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    return ids, (ids != 0).long()


@pytest.mark.parametrize(
    "options",
    [
        {"feed_forward_proj": "relu", "tie_word_embeddings": True},
        {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
        {"multilingual": True},
    ],
    ids=["T5", "T5.1.1", "mT5"],
)
def test_greedy_equals_hugging_face(options: dict[str, Any]) -> None:
    model = random_t5(20, seed=1, **options)
    rows = random_passages(200, 20)
    lengths = set()
    for start in range(0, 200, 50):
        ids, mask = padded(rows[start : start + 50])
        ours = sample(model, ids, mask, 1, 1, 1.0, 20, np.random.default_rng(0))
        theirs = model.generate(input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=20)
        for own, row in zip(ours, theirs[:, 1:].tolist(), strict=True):
            assert own == row[: len(own)]
            assert own[-1] == 1 or len(own) == 20
            lengths.add(len(own))
    assert len(lengths) > 1  # some end, some are cut


@torch.inference_mode()
def test_samples_follow_the_models_distribution() -> None:
    model, top_k, temperature, length, samples = random_t5(8, scale=1.2), 3, 1.3, 3, 20_000
    ids, mask = padded([[5, 6, 3, 1], [2, 1]])
    drawn = sample(model, ids, mask, samples, top_k, temperature, length, np.random.default_rng(0))

    def probabilities(text: int, prefix: list[int]) -> torch.Tensor:
        """Of the next token, by the whole model."""
        output = model(
            input_ids=ids[text : text + 1],
            attention_mask=mask[text : text + 1],
            decoder_input_ids=torch.tensor([[0, *prefix]]),
        )
        logits = output.logits[0, -1]
        return logits.masked_fill(logits < logits.topk(top_k).values[-1], -torch.inf).div(temperature).softmax(-1)

    for text in range(2):
        expected: dict[tuple[int, ...], float] = {(): 1.0}
        for _ in range(length):
            expected = {
                (*prefix, *token_id): share * float(chance)
                for prefix, share in expected.items()
                for token_id, chance in (
                    [((), 1.0)]
                    if prefix[-1:] == (1,)
                    else [((number,), p) for number, p in enumerate(probabilities(text, list(prefix))) if p > 0]
                )
            }
        own = drawn[text * samples : (text + 1) * samples]
        counts: dict[tuple[int, ...], int] = dict.fromkeys(expected, 0)
        for row in own:
            counts[tuple(row)] += 1  # an impossible sequence is a KeyError
        likely = {row: share for row, share in expected.items() if share * samples > 5}
        chi_square = sum((counts[row] - share * samples) ** 2 / (share * samples) for row, share in likely.items())
        assert len(likely) > 8
        assert chi_square < len(likely) + 5 * np.sqrt(2 * len(likely))


def test_samples_do_not_depend_on_how_long_the_others_get() -> None:
    model = random_t5(12)
    ids, mask = padded(random_passages(6, 12))
    drawn = sample(model, ids, mask, 10, 5, 1.0, 16, np.random.default_rng(0))
    assert len({len(row) for row in drawn}) > 2
    again = sample(model, ids, mask, 10, 5, 1.0, 4, np.random.default_rng(0))
    assert [row[:4] for row in drawn] == again


@pytest.fixture(scope="module")
def checkpoint(tiny: Stages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random T5 with the tiny corpus's tokenizer."""
    folder = tmp_path_factory.mktemp("checkpoint")
    random_t5(len(tiny.text)).save_pretrained(folder)
    tiny.text.save_pretrained(folder)
    return folder


def test_batches_keep_to_the_budget_and_take_every_document_once(checkpoint: Path) -> None:
    config = T5GeneratorConfig(queries=2, query_length=5, batch_tokens=100)
    generator = T5Generator.load(config, str(checkpoint))
    lengths = [3, 50, 7, 200, 3, 20, 9, 9, 9, 1]
    batches = list(generator.batches(lengths))
    assert sorted(number for batch in batches for number in batch) == list(range(10))
    assert all(len(batch) == 1 or len(batch) * (max(lengths[n] for n in batch) + 10) <= 100 for batch in batches)
    assert list(generator.batches([])) == []


def test_expansion_with_a_mixture(tiny: Stages, checkpoint: Path, tmp_path: Path) -> None:
    def run(name: str, known: int, sampled: int) -> list[tuple[int, str]]:
        (tmp_path / name).mkdir()
        config = Doc2QueryConfig(
            known_item=KnownItemConfig(queries=known),
            t5=T5GeneratorConfig(queries=sampled, query_length=6),
            shard_size=25,
        )
        expand(tmp_path / name, doc2query=config, corpus_folder=tiny.corpus, checkpoint=str(checkpoint))
        return read_all(tmp_path / name)

    known, mixed = run("known", 3, 0), run("mixed", 3, 4)
    assert set(known) < set(mixed)  # turning a generator on does not change the others' queries
    assert len(known) == 180
    assert 180 + 200 < len(mixed) <= 180 + 240  # some samples are empty
    assert mixed == run("again", 3, 4)
    assert [doc_index for doc_index, _ in mixed] == sorted(doc_index for doc_index, _ in mixed)


def test_a_process_without_work_is_not_waited_for(
    tiny: Stages, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    config = Doc2QueryConfig(known_item=KnownItemConfig(queries=0), t5=T5GeneratorConfig(queries=1, query_length=4))
    counts = expand(tmp_path, doc2query=config, corpus_folder=tiny.corpus, checkpoint=str(checkpoint))
    assert counts["shards"] == 1  # the second process has none
    assert not torch.distributed.is_initialized()


def mixture(tiny: Stages, checkpoint: Path, out: Path) -> None:
    """Expand with known items and T5, in shards of five documents."""
    out.mkdir(exist_ok=True)
    config = Doc2QueryConfig(
        known_item=KnownItemConfig(queries=2), t5=T5GeneratorConfig(queries=8, query_length=16), shard_size=5
    )
    torch.set_num_threads(1)
    expand(out, doc2query=config, corpus_folder=tiny.corpus, checkpoint=str(checkpoint))


def test_many_kills_leave_the_shards_as_they_would_be(tiny: Stages, checkpoint: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dsi.doc2query.expand"])
    random = np.random.default_rng()  # not seeded: other moments each time
    kills, shards = 0, 0
    while shards < 12:
        process = context.Process(target=mixture, args=(tiny, checkpoint, tmp_path / "killed"))
        process.start()
        target = shards + random.integers(0, 2)
        deadline = time.monotonic() + 60
        while shards < target and process.is_alive():
            shards = len(list((tmp_path / "killed").glob("shard-*.parquet")))
            assert time.monotonic() < deadline
        time.sleep(random.uniform(0, 0.02))
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        shards = len(list((tmp_path / "killed").glob("shard-*.parquet")))
    assert kills >= 5
    for name in ("killed", "whole"):
        process = context.Process(target=mixture, args=(tiny, checkpoint, tmp_path / name))
        process.start()
        process.join()
        assert process.exitcode == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert len(contents(tmp_path / "whole")) == 12


def contents(folder: Path) -> dict[str, bytes]:
    """The shards of a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.glob("shard-*.parquet")}


def test_two_processes_write_the_same_shards_as_one(checkpoint: Path, tmp_path: Path) -> None:
    write_msmarco_folder(tmp_path / "data")
    config = tmp_path / "two.yaml"
    config.write_text(
        f"corpus: {{source: msmarco, path: {tmp_path / 'data'}}}\n"
        f"generator: {{checkpoint: {checkpoint}, simulated_steps: 3, batch_size: 8}}\n"
        "doc2query: {known_item: {queries: 2}, t5: {queries: 4, query_length: 8}, shard_size: 7}\n"
    )
    runs = {}
    for processes in (1, 2):
        root = tmp_path / f"runs{processes}"
        for verb in ("ingest", "finetune", "expand"):
            command = [verb, str(config), "--runs", str(root)]
            if processes == 1 or verb == "ingest":
                assert main(command) == 0
            else:
                run_processes(processes_command(processes, command))
            if verb == "finetune" and processes == 2:  # their sums round differently
                shutil.copytree(tmp_path / "runs1/two/generator", root / "two/generator", dirs_exist_ok=True)
        runs[processes] = contents(root / "two/doc2query")
    assert len(runs[1]) == 9
    assert runs[1] == runs[2]


def test_other_models_go_through_the_library(tiny: Stages, tmp_path: Path) -> None:
    shape = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = BartConfig(
        vocab_size=len(tiny.text), d_model=16, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=64,
        pad_token_id=0, bos_token_id=1, eos_token_id=1, decoder_start_token_id=1, forced_eos_token_id=1, **shape
    )  # fmt: skip
    BartForConditionalGeneration(config).save_pretrained(tmp_path)
    tiny.text.save_pretrained(tmp_path)
    generator = T5Generator.load(T5GeneratorConfig(queries=3, query_length=8, document_length=32), str(tmp_path))
    documents = list(Corpus(tiny.corpus))[:4]
    queries = generator(documents, np.random.default_rng(0))
    assert all(1 <= len(own) <= 3 for own in queries)
    assert queries == generator(documents, np.random.default_rng(0))


def test_a_checkpoint_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DsiError, match=r"generator\.checkpoint: there is no folder .*nowhere"):
        T5Generator.load(T5GeneratorConfig(queries=1), str(tmp_path / "nowhere"))


def with_train_split(tiny: Stages, folder: Path) -> Path:
    folder.mkdir()
    documents = list(Corpus(tiny.corpus))
    write_rows(folder / "documents.arrow", Document, documents)
    write_rows(folder / "queries.train.arrow", Query, (Query(d.doc_id, f"kidonu tame {d.title}") for d in documents))
    write_rows(folder / "qrels.train.arrow", Qrel, (Qrel(d.doc_id, d.doc_id, 1) for d in documents))
    return folder


def test_training_the_generator(tiny: Stages, tmp_path: Path) -> None:
    corpus = with_train_split(tiny, tmp_path / "corpus")
    (tmp_path / "out").mkdir()
    config = GeneratorConfig(
        checkpoint=None, steps=40, simulated_steps=20, batch_size=16, eval_steps=30, d_model=32, d_kv=8, d_ff=32,
        learning_rate=1e-2, embedding_learning_rate=1e-2, query_length=16,
    )  # fmt: skip
    counts = finetune(tmp_path / "out", generator=config, corpus_folder=corpus, tokenizer_folder=tiny.tokenizer)
    assert (counts["pairs"], counts["held_out_pairs"], counts["simulated_pairs"]) == (54, 6, 320)
    assert counts["held_out_loss"] < 0.7 * np.log(len(tiny.text))  # it has learned how they begin
    samples = json.loads((tmp_path / "out/samples.json").read_text())
    assert len(samples) == 5
    assert all(entry["samples"] for entry in samples)
    (tmp_path / "queries").mkdir()
    expand(
        tmp_path / "queries",
        doc2query=Doc2QueryConfig(known_item=KnownItemConfig(queries=0), t5=T5GeneratorConfig(queries=2)),
        corpus_folder=corpus,
        generator_folder=tmp_path / "out",
    )
    assert len(read_all(tmp_path / "queries")) > 60


def test_training_goes_on_from_its_checkpoint(tiny: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = with_train_split(tiny, tmp_path / "corpus")
    config = GeneratorConfig(checkpoint=None, steps=6, batch_size=4, eval_steps=2, d_model=16, d_kv=4, d_ff=16)
    read, original = list[int](), finetune_module.Pairs.__getitem__

    def counted(self: finetune_module.Pairs, item: int) -> dict[str, list[int]]:
        read.append(item)
        if len(self) == 24 and item == limit:  # not the held-out pairs
            raise KeyboardInterrupt
        return original(self, item)

    monkeypatch.setattr(finetune_module.Pairs, "__getitem__", counted)
    counts = {}
    for name, limits in (("whole", [-1]), ("parts", [21, -1])):
        (tmp_path / name).mkdir()
        for limit in limits:
            read.clear()
            with pytest.raises(KeyboardInterrupt) if limit >= 0 else nullcontext():
                counts[name] = finetune(
                    tmp_path / name, generator=config, corpus_folder=corpus, tokenizer_folder=tiny.tokenizer
                )
    assert counts["whole"] == counts["parts"]
    assert 16 in read
    assert not set(range(8, 16)) & set(read)  # what four steps have seen is not read again (below 6: held out)


def test_training_needs_labels(tiny: Stages, tmp_path: Path) -> None:
    with pytest.raises(DsiError, match=r"generator\.split: the corpus has no split 'train'; it has: dev, test"):
        finetune(
            tmp_path,
            generator=GeneratorConfig(checkpoint=None, steps=1),
            corpus_folder=tiny.corpus,
            tokenizer_folder=tiny.tokenizer,
        )
