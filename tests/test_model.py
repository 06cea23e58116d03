"""Building the model: T5 weights arrive, docid parts start as they should, and the warm start is a useful index."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Stages, assign_tiny
from models import random_model
from torch.nn import functional
from transformers import BertConfig, BertModel, MT5Config, MT5ForConditionalGeneration, T5Config
from transformers import T5ForConditionalGeneration as T5

from dsi.config import DocidsConfig, ModelConfig, TrainingConfig
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import encode_shards
from dsi.docids.store import Docids
from dsi.errors import DsiError
from dsi.model.architecture import START, DifferentiableSearchIndex, parameters_by_part
from dsi.model.build import DocidShape, build_model
from dsi.model.document_states import StateEncoder, document_states
from dsi.model.warm_start import add_document_states, rows_of
from dsi.runtime.processes import ALONE
from dsi.training import rounds
from dsi.training.dev import dev_evaluator
from dsi.training.rounds import training_arguments
from dsi.training.train import train
from dsi.training.trainer import DocidTrainer

SIZES = {"vocab_size": 50, "d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 4}
START_ID = {"decoder_start_token_id": 0}


@pytest.mark.parametrize(
    "t5",
    [
        T5(T5Config(**SIZES, **START_ID)),
        T5(T5Config(**SIZES, **START_ID, feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
        MT5ForConditionalGeneration(MT5Config(**SIZES, **START_ID)),
    ],
    ids=["t5", "t5.1.1", "mt5"],
)
def test_weights_of_a_checkpoint_arrive(tmp_path: Path, t5: T5) -> None:
    t5.eval().save_pretrained(tmp_path)
    config = ModelConfig(checkpoint=str(tmp_path), dropout=0.3)
    model = build_model(config, tmp_path, 0, DocidShape(tokens=5, length=3, text_token_ids=[7, -1, 9, 3, 3])).eval()
    ids = torch.tensor([[4, 5, 6, 1]])
    mask = torch.ones_like(ids)
    torch.testing.assert_close(model.encode(ids, mask), t5.encoder(ids).last_hidden_state)
    rows = model.docid_embedding.weight
    assert torch.equal(rows[START], t5.shared.weight[0])
    assert torch.equal(rows[START + 1 + 2], t5.shared.weight[9])
    states = model.decoder_states(model.encode(ids, mask), mask, torch.tensor([[0, 2, 3]]))
    expected = t5.decoder(input_ids=torch.tensor([[0, 7, 9]]), encoder_hidden_states=model.encode(ids, mask))
    torch.testing.assert_close(states, expected.last_hidden_state)
    assert 0.15 < model.docid_head.weight.std() < 0.4  # d_model ** -0.5 is 0.25
    assert model.config.dropout_rate == 0.3


def test_a_saved_model_is_the_same_model(tmp_path: Path) -> None:
    model = random_model(7, 3)
    model.save_pretrained(tmp_path)
    again = DifferentiableSearchIndex.from_pretrained(tmp_path)
    assert again.config.docid_tokens == 7
    assert all(torch.equal(old, new) for old, new in zip(model.parameters(), again.parameters(), strict=True))
    assert sum(parameters_by_part(again).values()) == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["missing", "bert"])
def test_what_is_not_a_t5_is_refused(tmp_path: Path, name: str) -> None:
    if name == "bert":
        BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1)).save_pretrained(
            tmp_path / name
        )
    with pytest.raises(DsiError, match=r"model\.checkpoint"):
        build_model(ModelConfig(checkpoint=str(tmp_path / name)), tmp_path, 0, DocidShape(5))


def test_batch_that_does_not_divide_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DsiError, match=r"does not divide among"):
        training_arguments(TrainingConfig.model_construct(batch_size=5, accumulation=2), tmp_path, has_dev=False)


def test_warm_start_finds_documents_before_any_training(tiny: Stages, tmp_path: Path) -> None:
    corpus = Corpus(tiny.corpus)
    (tmp_path / "vocabulary.json").write_text(f'{{"kind": "atomic", "tokens": {len(corpus)}, "length": 1}}')
    model = build_model(ModelConfig(), tiny.tokenizer, 0, DocidShape(len(corpus)))
    evaluate = dev_evaluator(corpus, Docids(tmp_path), tiny.tokenizer, limit=100, length=32)
    assert evaluate is not None
    cold = evaluate(model)["RR@10"]
    states = document_states(
        encode_shards(tmp_path / "states", corpus, StateEncoder(model, tiny.tokenizer, 96), "states", ALONE)
    )
    torch.testing.assert_close(states.norm(dim=1), torch.ones(len(corpus)))
    with torch.no_grad():
        model.docid_head.weight.copy_(states)
    assert evaluate(model)["RR@10"] > cold + 0.2


@pytest.mark.parametrize("largest_file", ["1GB", "10KB"])
def test_an_index_passes_on_all_but_its_docid_rows(tiny: Stages, tmp_path: Path, largest_file: str) -> None:
    config = ModelConfig(d_model=16, d_kv=4, d_ff=16)
    trained = build_model(config, tiny.tokenizer, 1, DocidShape(tokens=5))
    with torch.no_grad():
        trained.docid_embedding.weight[START] = 3.0
    trained.config.docid_ranking = "leaf"  # as older versions wrote
    trained.save_pretrained(tmp_path, max_shard_size=largest_file)
    start = config.model_copy(update={"checkpoint": str(tmp_path)})
    other = build_model(start, tiny.tokenizer, 0, DocidShape(tokens=7, length=2))
    assert other.docid_head.weight.shape == (7, 16)
    assert not hasattr(other.config, "docid_ranking")
    torch.testing.assert_close(other.docid_embedding.weight[START], torch.full((16,), 3.0))
    for name, value in trained.state_dict().items():
        if "docid" not in name:
            torch.testing.assert_close(other.state_dict()[name], value)
    same = build_model(start, tiny.tokenizer, 0, DocidShape(tokens=5))
    torch.testing.assert_close(same.docid_head.weight, trained.docid_head.weight)


@pytest.mark.parametrize(("head", "kind"), [("plain", "atomic"), ("hierarchical_softmax", "semantic")])
def test_document_states_are_added_to_rows_of_the_same_mean_length(
    tiny: Stages, tmp_path: Path, head: Any, kind: Any
) -> None:
    corpus = Corpus(tiny.corpus)
    assign_tiny(tmp_path, tiny, DocidsConfig(kind=kind, clusters=4, leaf_size=6))
    docids = Docids(tmp_path)
    model = build_model(ModelConfig(head=head), tiny.tokenizer, 0, DocidShape.of(docids, head))
    states = functional.normalize(torch.randn(len(corpus), model.config.d_model), dim=1)
    with torch.no_grad():
        model.docid_head.weight.copy_(5 * torch.randn_like(model.docid_head.weight))
        embedding = model.docid_embedding.weight.clone()
    before = model.docid_head.weight - model.docid_head.weight.mean(dim=0)
    add_document_states(model, docids, states)
    after = model.docid_head.weight
    torch.testing.assert_close(after.norm(dim=1).mean(), before.norm(dim=1).mean())
    torch.testing.assert_close(model.docid_embedding.weight, embedding)
    new = rows_of(docids, states)
    expected = before / before.norm(dim=1).mean() + new / new.norm(dim=1).mean()
    assert functional.cosine_similarity(after, expected, dim=1).min() > 0.999


def test_a_corpus_without_dev_queries_trains_to_the_end(tiny: Stages, tmp_path: Path) -> None:
    corpus, out = tmp_path / "corpus", tmp_path / "out"
    corpus.mkdir()
    out.mkdir()
    for path in tiny.corpus.glob("*.arrow"):
        if ".dev." not in path.name:
            (corpus / path.name).symlink_to(path)
    counts = train(
        out,
        model=ModelConfig(d_model=16, d_kv=4, d_ff=16),
        training=TrainingConfig(steps=7, batch_size=16, eval_steps=3, patience=1),
        corpus_folder=corpus,
        tokenizer_folder=tiny.tokenizer,
        doc2query_folder=tiny.doc2query,
        docids_folder=tiny.docids.folder,
    )
    assert counts["steps"] == counts["best_step"] == 7
    assert "RR@10" not in counts
    assert [line.split("\t")[0] for line in (out / "dev_curve.tsv").read_text().splitlines()] == ["step", "3", "6", "7"]


@pytest.mark.parametrize(("where", "step"), [(DocidTrainer, "_load_best_model"), (rounds, "_finish")])
def test_a_kill_after_an_early_stop_does_not_train_on(
    tiny: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Any, step: str
) -> None:
    def run(name: str) -> tuple[dict[str, Any], list[list[str]]]:
        out = tmp_path / name
        out.mkdir(exist_ok=True)
        counts = train(
            out,
            model=ModelConfig(d_model=16, d_kv=4, d_ff=16),
            training=TrainingConfig(rounds=2, steps=40, batch_size=16, eval_steps=2, patience=1, learning_rate=1e-9),
            corpus_folder=tiny.corpus,
            tokenizer_folder=tiny.tokenizer,
            doc2query_folder=tiny.doc2query,
            docids_folder=tiny.docids.folder,
        )
        curve = [line.split("\t") for line in (out / "dev_curve.tsv").read_text().splitlines()]
        return counts, [[step, measure] for step, _, _, _, measure in curve]

    whole, curve = run("whole")
    assert whole["steps"] < 40
    with monkeypatch.context() as patch:
        patch.setattr(where, step, lambda *_: sys.exit("killed"))
        with pytest.raises(SystemExit):
            run("killed")
    counts, again = run("killed")
    assert again == curve
    assert counts["steps"] == whole["steps"]


def test_a_loss_that_is_not_finite_stops_with_advice(tiny: Stages, tmp_path: Path) -> None:
    model = ModelConfig(d_model=16, d_kv=4, d_ff=16, num_layers=1)
    training = TrainingConfig(steps=40, batch_size=16, eval_steps=10, warmup_steps=0, learning_rate=1e30)
    with pytest.raises(DsiError, match=r"the loss is \w+ at step \d+; lower training.learning_rate"):
        train(
            tmp_path,
            model=model,
            training=training,
            corpus_folder=tiny.corpus,
            tokenizer_folder=tiny.tokenizer,
            doc2query_folder=tiny.doc2query,
            docids_folder=tiny.docids.folder,
        )
