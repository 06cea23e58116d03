"""Configuration: what a user types is what runs, and mistakes name their key."""

from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from dsi.config import Config, describe, load_config
from dsi.errors import DsiError

CONFIGS = sorted(
    path
    for path in (Path(__file__).parents[1] / "configs").rglob("*.yaml")
    if path.parent.name not in ("sweeps", "reproduce", "grow") and path.name != "grow.yaml"
)


def test_every_shipped_config_loads() -> None:
    assert CONFIGS
    for path in CONFIGS:
        load_config(path, ["corpus.path=somewhere"] if "msmarco" in path.name else [])


def test_description_is_yaml_of_the_same_values(tmp_path: Path) -> None:
    config = load_config(CONFIGS[0])
    (tmp_path / "copy.yaml").write_text(describe(values=config))
    assert load_config(tmp_path / "copy.yaml") == config
    assert Config.model_validate(yaml.safe_load(describe())) == Config()


def test_every_section_and_key_has_its_meaning_above_it() -> None:
    for above, line in pairwise(["", *describe().splitlines()]):
        assert above.strip().startswith("#") or line.strip().startswith("#"), line


def test_overrides_win_and_are_yaml(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("search: {beam: 5}\n")
    config = load_config(
        tmp_path / "a.yaml", ["search.beam=20", "training.learning_rate=1e-4", "corpus.splits={dev: x}"]
    )
    assert (config.search.beam, config.training.learning_rate, config.corpus.splits) == (20, 1e-4, {"dev": "x"})


def test_an_unusual_evaluation_split_is_read_from_the_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("corpus: {source: msmarco, path: x}\nevaluation: {split: dl19}\n")
    assert load_config(tmp_path / "a.yaml").corpus.splits == {"dl19": "dl19"}


def test_a_file_extends_another(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("search: {beam: 7, batch_size: 3}\ndoc2query: {known_item: {queries: 5}}")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.yaml").write_text("extends: ../base.yaml\nsearch: {beam: 8}\ntraining: {steps: 4}")
    (tmp_path / "sub/b.yaml").write_text("extends: a.yaml\ndoc2query: {known_item: {noise: 0.5}}")
    config = load_config(tmp_path / "sub/b.yaml", ["search.batch_size=4"])
    assert (config.search.beam, config.search.batch_size, config.training.steps) == (8, 4, 4)
    assert (config.doc2query.known_item.queries, config.doc2query.known_item.noise) == (5, 0.5)
    (tmp_path / "base.yaml").write_text("extends: sub/a.yaml")
    with pytest.raises(DsiError, match="extends itself"):
        load_config(tmp_path / "sub/b.yaml")
    (tmp_path / "lost.yaml").write_text("extends: nowhere.yaml")
    with pytest.raises(DsiError, match=r"cannot read the configuration .*nowhere\.yaml"):
        load_config(tmp_path / "lost.yaml")


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("search: {bem: 3}", [], "search.bem: unknown key; did you mean beam? allowed here: beam, "),
        ("baselines: {systems: [tf]}", [], "baselines.systems.0: input should be 'bm25', 'bm25_doc2query', "),
        ("tokenizer: {lowercase: 3}", [], "tokenizer.lowercase: input should be a valid boolean, found '3'"),
        ("docids: {alphabet: runes}", [], "docids.alphabet: input should be 'characters' or 'tokens', found 'runes'"),
        ("docids: {alphabet: pieces}", [], "docids.alphabet: pieces is called tokens now"),
        ("", ["model.head=tree"], "--set model.head: tree is called hierarchical_softmax now"),
        ("search: {budget: 9, loss_queries: 3}", [], "search.budget: this key is called search.max_beam now"),
        ("embeddings: {kind: file}", [], "embeddings.file is needed with embeddings.kind=file"),
        ("docids: {embeddings: file}", [], "docids.embeddings: this key is called embeddings.kind now"),
        ("", ["model.ranking=leaf"], "--set model.ranking: this key is called search.ranking (training.dev_ranking"),
        ("search: {ranking: leaf}", [], "search.ranking=leaf needs model.head=hierarchical_softmax"),
        ("model: {head: pawa}", [], "model.head=pawa needs docids.kind semantic_2d or residual, not atomic"),
        ("model: {head: hierarchical_softmax}", [], "model.head=hierarchical_softmax needs docids of several tokens"),
        ("search: {exact: true, constrained: false}", [], "search.constrained must be true"),
        ("search: {exact: true, precision: int8}", [], "search.precision=int8 rounds by the batch"),
        ("evaluation: {baseline: splade}", [], "evaluation.baseline=splade is not run; there are: dsi, bm25"),
        ("training: {steps: many}", [], "training.steps: input should be a valid integer, found 'many'"),
        ("search: {beam: 0}", [], "search.beam: input should be greater than or equal to 1, found 0"),
        ("search: {beam: 3}", ["search.beam=x"], "--set search.beam: input should be a valid integer"),
        ("corpus: {source: beir}", [], "corpus.path is needed with corpus.source=beir"),
        ("search: {beam: 3}\nsearch: {beam: 4}", [], "line 2: not valid YAML: key 'search' is given twice"),
        ("search: [", [], "not valid YAML"),
        ("- 1", [], "a configuration is a mapping"),
        ("", ["search.beam"], "expected section.key=value"),
        ("", ["evaluation.split=nope"], "evaluation.split=nope is not a split of the corpus; it has: dev, test"),
        ("training: {batch_size: 10, accumulation: 3}", [], "training.batch_size must be a multiple"),
    ],
)
def test_mistakes_name_their_key(tmp_path: Path, text: str, overrides: list[str], message: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(DsiError) as error:
        load_config(tmp_path / "a.yaml", overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
