"""Checkpoints that do not fit, lack something or are damaged end in one line, and never in random weights."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Stages
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    MT5Config,
    MT5ForConditionalGeneration,
    T5Config,
    T5EncoderModel,
    T5ForConditionalGeneration,
)

from dsi.baselines.dual_encoder import DualEncoder
from dsi.config import Config, GeneratorConfig, ModelConfig, TokenizerConfig, describe, load_config
from dsi.doc2query.t5 import check_generator, load_checkpoint
from dsi.errors import DsiError
from dsi.model.build import DocidShape, build_model, check_checkpoint, from_checkpoint, open_index
from dsi.tokenizer import tokenize

SIZES = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2}
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
QUERY = "decoder.block.1.layer.0.SelfAttention.q.weight"

Weights = dict[str, torch.Tensor]
Change = Callable[[Weights], Any]


@pytest.fixture(scope="module")
def whole(tiny: Stages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that is in order."""
    folder = tmp_path_factory.mktemp("whole")
    tiny.text.save_pretrained(folder)
    config = T5Config(**SIZES, vocab_size=len(tiny.text), decoder_start_token_id=0)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.fixture
def checkpoint(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(whole, tmp_path / "checkpoint"))


def reweighed(folder: Path, change: Change) -> Path:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / "model.safetensors")
    return folder


def reconfigured(folder: Path, file: str = "config.json", **changes: object) -> Path:
    values = json.loads((folder / file).read_text()) | changes
    (folder / file).write_text(json.dumps({key: value for key, value in values.items() if value != "gone"}))
    return folder


def build(folder: Path, **keys: Any) -> Any:
    return build_model(ModelConfig(checkpoint=str(folder), **keys), folder, 0, DocidShape(5))


def tokenized(folder: Path, out: Path) -> None:
    out.mkdir(exist_ok=True)
    tokenize(out, tokenizer=TokenizerConfig(), checkpoint=str(folder), corpus_folder=out)


def refused(folder: Path, *said: str, generator: bool = True) -> None:
    """The index, the generator and the checks of both refuse the checkpoint, in one line with these words."""
    config = GeneratorConfig(checkpoint=str(folder))
    calls: list[tuple[str, Callable[[], object]]] = [
        ("model", lambda: build(folder)),
        ("model", lambda: check_checkpoint(ModelConfig(checkpoint=str(folder)))),
    ]
    if generator:
        calls += [
            ("generator", lambda: load_checkpoint(str(folder), torch.float32)),
            ("generator", lambda: check_generator(config)),
        ]
    for section, call in calls:
        with pytest.raises(DsiError) as fault:
            call()
        message = str(fault.value)
        assert message.startswith(f"{section}.checkpoint")
        assert "\n" not in message
        for part in said:
            assert part in message


# One test a report


def test_checkpoint_sizes(checkpoint: Path) -> None:
    with pytest.raises(DsiError) as fault:
        build(checkpoint, d_model=64, num_layers=3, d_kv=8)
    assert "model.d_model=64" in str(fault.value)
    assert "model.num_layers=3" in str(fault.value)
    assert "d_kv" not in str(fault.value)
    with pytest.raises(DsiError, match=r"generator\.d_ff=512"):
        check_generator(GeneratorConfig(checkpoint=str(checkpoint), d_ff=512))
    assert build(checkpoint, **SIZES).config.d_model == 16
    reconfigured(checkpoint, d_ff=96)
    refused(checkpoint, "DenseReluDense.wi.weight", "24 x 16", "96 x 16")


def test_encoder_only_checkpoint(whole: Path, checkpoint: Path) -> None:
    T5EncoderModel.from_pretrained(whole).save_pretrained(checkpoint)
    refused(checkpoint, "no weights of the decoder", "T5EncoderModel")
    dual = from_checkpoint(DualEncoder, T5Config, ModelConfig(checkpoint=str(checkpoint)), {}, new=("projection",))
    assert torch.equal(dual.shared.weight, load_file(whole / "model.safetensors")["shared.weight"])


@pytest.mark.parametrize(
    ("content", "said"),
    [(LFS, "git lfs pull"), (None, "cut or damaged"), (b"", "is empty"), (b"\0" * 99, "cut or damaged")],
    ids=["pointer", "cut", "empty", "zeros"],
)
@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_broken_checkpoint_files(checkpoint: Path, tmp_path: Path, file: str, content: bytes | None, said: str) -> None:
    before = (checkpoint / file).read_bytes()
    (checkpoint / file).write_bytes(before[: len(before) // 2] if content is None else content)
    if file != "model.safetensors" and said == "cut or damaged":
        said = "not valid JSON"
    if file == "tokenizer.json":
        with pytest.raises(DsiError) as fault:
            tokenized(checkpoint, tmp_path / "out")
        assert f"{checkpoint / file} " in str(fault.value)
        assert said in str(fault.value)
    else:
        refused(checkpoint, f"{checkpoint / file} ", said)


def test_added_tokens(checkpoint: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    rows = len(tokenizer)
    tokenizer.add_tokens(["heron", "baker", "kettle"])
    tokenizer.save_pretrained(checkpoint)
    with pytest.raises(DsiError, match=rf"{rows + 3} pieces, .* {rows} only"):
        tokenized(checkpoint, tmp_path / "out")


@pytest.mark.parametrize(("piece", "said"), [("eos_token", "no end piece"), ("pad_token", "no padding piece")])
def test_tokenizer_without_end(checkpoint: Path, tmp_path: Path, piece: str, said: str) -> None:
    reconfigured(checkpoint, "tokenizer_config.json", **{piece: "gone"})
    with pytest.raises(DsiError, match=said):
        tokenized(checkpoint, tmp_path / "out")
    with pytest.raises(DsiError, match=said):
        load_checkpoint(str(checkpoint), torch.float32)


# Further cases of the kind


def test_a_tokenizer_that_does_not_write_its_end_piece_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    reconfigured(checkpoint, "tokenizer.json", post_processor=None)
    with pytest.raises(DsiError, match="does not end texts with its end piece"):
        tokenized(checkpoint, tmp_path / "out")


def test_a_folder_without_a_tokenizer_gives_no_made_up_one(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "spiece.model"):
        (checkpoint / name).unlink(missing_ok=True)
    with pytest.raises(DsiError, match="has no tokenizer"):
        tokenized(checkpoint, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda weights: weights.pop(QUERY), f"lacks the weight {QUERY}"),
        (
            lambda weights: weights.update({QUERY.replace("1", "2", 1): weights[QUERY].clone()}),
            "leave no place",
        ),
        (lambda weights: weights.update({QUERY: torch.zeros(16, 16, dtype=torch.int8)}), "quantised"),
    ],
    ids=["missing", "too many", "quantised"],
)
def test_weights_that_are_not_those_of_the_model(checkpoint: Path, change: Change, said: str) -> None:
    refused(reweighed(checkpoint, change), said)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(checkpoint: Path, value: float) -> None:
    reweighed(checkpoint, lambda weights: weights[QUERY][3].fill_(value))
    with pytest.raises(DsiError, match=rf"weight {QUERY} holds numbers that are NaN or infinite"):
        build(checkpoint)
    with pytest.raises(DsiError, match=rf"weight {QUERY} holds numbers that are NaN or infinite"):
        load_checkpoint(str(checkpoint), torch.float32)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"num_layers": 1}, "leave no place"),
        ({"num_layers": 3}, "encoder.block.2"),
        ({"num_heads": 4, "d_kv": 4}, "relative_attention_bias.weight of shape 32 x 2"),
        ({"vocab_size": 500}, "500 x 16"),
        ({"d_model": "wide"}, "d_model"),
        ({"decoder_start_token_id": "gone"}, "no decoder_start_token_id"),
        ({"decoder_start_token_id": 10_000}, "decoder_start_token_id=10000"),
        ({"pad_token_id": None}, "no pad_token_id"),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, "quantised"),
    ],
)
def test_configurations_that_do_not_fit(checkpoint: Path, keys: dict[str, Any], said: str) -> None:
    refused(reconfigured(checkpoint, **keys), said)


def test_other_architectures_and_their_code_are_refused(
    checkpoint: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(reconfigured(checkpoint, model_type="bert"), "is a bert")
    refused(reconfigured(checkpoint, model_type="bart"), "bart", generator=False)
    (checkpoint / "other.py").write_text("raise SystemExit('code was run')")
    code = {"AutoConfig": "other.Config", "AutoModel": "other.Model", "AutoModelForSeq2SeqLM": "other.Model"}
    refused(reconfigured(checkpoint, model_type="other", auto_map=code), "custom code")
    assert "[y/N]" not in capfd.readouterr().out
    (checkpoint / "config.json").unlink()
    refused(checkpoint, "has no config.json")


def test_pickled_weights_are_not_opened(checkpoint: Path) -> None:
    torch.save(load_file(checkpoint / "model.safetensors"), checkpoint / "pytorch_model.bin")
    (checkpoint / "model.safetensors").unlink()
    refused(checkpoint, "pytorch_model.bin is pickled", "convert it to model.safetensors")
    (checkpoint / "pytorch_model.bin").unlink()
    refused(checkpoint, "has no weights")


def test_parts_of_a_large_checkpoint(whole: Path, checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    T5ForConditionalGeneration.from_pretrained(whole).save_pretrained(checkpoint, max_shard_size="10KB")
    assert torch.equal(build(checkpoint).shared.weight, load_file(whole / "model.safetensors")["shared.weight"])
    part = sorted(checkpoint.glob("model-*.safetensors"))[1]
    part.write_bytes(LFS)
    refused(checkpoint, part.name, "git lfs pull")
    part.unlink()
    refused(checkpoint, part.name, "is missing")
    index = checkpoint / "model.safetensors.index.json"
    index.write_text(index.read_text()[:40])
    refused(checkpoint, index.name, "not valid JSON")


@pytest.mark.parametrize("name", ["shared", "encoder.embed_tokens", "decoder.embed_tokens", "lm_head"])
def test_tied_embeddings_have_one_name_of_four(checkpoint: Path, name: str) -> None:
    embeddings = load_file(checkpoint / "model.safetensors")["shared.weight"]
    reweighed(checkpoint, lambda weights: weights.update({f"{name}.weight": weights.pop("shared.weight")}))
    generator, _ = load_checkpoint(str(checkpoint), torch.float32)
    for found in (generator.shared.weight, generator.lm_head.weight, generator.encoder.embed_tokens.weight):
        assert torch.equal(found, embeddings)
    if name != "lm_head":
        assert torch.equal(build(checkpoint).shared.weight, embeddings)
    check_generator(GeneratorConfig(checkpoint=str(checkpoint)))


def test_an_output_head_of_its_own_must_be_there(checkpoint: Path) -> None:
    reconfigured(checkpoint, tie_word_embeddings=False, scale_decoder_outputs=False)
    with pytest.raises(DsiError, match=r"lacks the weight lm_head\.weight"):
        load_checkpoint(str(checkpoint), torch.float32)
    head = torch.randn_like(load_file(checkpoint / "model.safetensors")["shared.weight"])
    reweighed(checkpoint, lambda weights: weights.update({"lm_head.weight": head}))
    assert torch.equal(load_checkpoint(str(checkpoint), torch.float32)[0].lm_head.weight, head)
    build(checkpoint)  # which has no use for it


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_checkpoints_load(checkpoint: Path, dtype: torch.dtype) -> None:
    T5ForConditionalGeneration.from_pretrained(checkpoint, dtype=dtype).save_pretrained(checkpoint)
    model = build(checkpoint)
    assert model.dtype == torch.float32
    torch.testing.assert_close(
        model.shared.weight, load_file(checkpoint / "model.safetensors")["shared.weight"].float()
    )
    check_checkpoint(ModelConfig(checkpoint=str(checkpoint)))


def test_mt5_and_a_trained_index_pass_the_checks(tiny: Stages, tmp_path: Path) -> None:
    tiny.text.save_pretrained(tmp_path / "mt5")
    config = MT5Config(**SIZES, vocab_size=len(tiny.text) + 12, decoder_start_token_id=0)
    MT5ForConditionalGeneration(config).save_pretrained(tmp_path / "mt5")
    check_checkpoint(ModelConfig(checkpoint=str(tmp_path / "mt5")))
    check_generator(GeneratorConfig(checkpoint=str(tmp_path / "mt5")))
    index = build(tmp_path / "mt5")
    index.save_pretrained(tmp_path / "index")
    tiny.text.save_pretrained(tmp_path / "index")
    check_checkpoint(ModelConfig.model_validate({"checkpoint": str(tmp_path / "index"), **SIZES}))
    assert torch.equal(open_index(tmp_path / "index").docid_head.weight, index.docid_head.weight)
    reweighed(tmp_path / "index", lambda weights: weights.pop("docid_head.weight"))
    with pytest.raises(DsiError, match=r"index: .* no weights of the docid_head"):
        open_index(tmp_path / "index")


def test_a_generator_whose_end_is_another_piece(checkpoint: Path) -> None:
    with pytest.raises(DsiError, match=r"the end piece is 1 in the tokenizer, but 2 in config\.json"):
        load_checkpoint(str(reconfigured(checkpoint, eos_token_id=2)), torch.float32)


def test_sizes_are_defaults_of_random_weights_only() -> None:
    assert (ModelConfig().d_model, ModelConfig(num_layers=3).num_layers) == (256, 3)
    assert ModelConfig(checkpoint="t5-small").d_model is None
    assert GeneratorConfig(checkpoint=None).d_ff == 512
    with pytest.raises(ValueError, match="d_model"):
        ModelConfig(d_model=0)
    assert "d_model: 256" in describe(Config, Config()).split("model:")[1] + describe(ModelConfig, ModelConfig())


def test_layers_of_pawa_come_with_the_index_or_are_all_new(tiny: Stages, tmp_path: Path) -> None:
    tiny.text.save_pretrained(tmp_path)
    shape = DocidShape(tokens=4, length=2, sizes=[2, 2])
    index = build_model(ModelConfig(head="pawa", d_model=16, d_kv=4, d_ff=16), tmp_path, 0, shape)
    index.save_pretrained(tmp_path)
    again = ModelConfig(head="pawa", checkpoint=str(tmp_path))
    first = "prefix_decoder.block.0.layer.0.SelfAttention.q.weight"
    assert torch.equal(build_model(again, tmp_path, 1, shape).state_dict()[first], index.state_dict()[first])
    build_model(ModelConfig(checkpoint=str(tmp_path)), tmp_path, 1, shape)
    with pytest.raises(DsiError, match=r"lacks the weight prefix_decoder\.block\.1"):
        check_checkpoint(again.model_copy(update={"pawa_layers": 2}))


def test_a_folder_that_is_not_there_is_no_name_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("model: {checkpoint: ../runs/later/model}")
    config = load_config(tmp_path / "a.yaml")
    with pytest.raises(DsiError, match=r"model\.checkpoint: there is no folder .*/runs/later/model"):
        check_checkpoint(config.model)


def test_an_index_without_docid_embeddings_is_refused(tiny: Stages, tmp_path: Path) -> None:
    index = tmp_path / "index"
    trained = build_model(ModelConfig(d_model=16, d_kv=8, d_ff=24), tiny.tokenizer, 0, DocidShape(tokens=5, length=2))
    trained.save_pretrained(index)
    tiny.text.save_pretrained(index)
    reweighed(index, lambda weights: weights.pop("docid_embedding.weight"))
    with pytest.raises(DsiError, match=r"model\.checkpoint: .* is an index without docid_embedding\.weight"):
        build_model(ModelConfig(checkpoint=str(index)), index, 0, DocidShape(tokens=7, length=2))
