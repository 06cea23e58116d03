"""An experiment with a prior: its weight, its systems and its index, by the real command line on a tiny corpus."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_msmarco_folder

import dsi
from dsi.artifacts import read_manifest
from dsi.cli import main
from dsi.config import SearchConfig
from dsi.corpus.store import Corpus
from dsi.errors import DsiError
from dsi.evaluation.measures import parse_measures, score_run
from dsi.lexical.index_terms import Terms
from dsi.runtime.tsv import read_tsv
from dsi.search.lexical_prior import LUCENE, lexical_priors, read_mixture
from dsi.search.prior import Mixture
from dsi.search.run_files import read_run
from dsi.tuning.prior import EPSILONS, UNTUNED, WEIGHTS

EXPERIMENT = """
corpus: {{source: msmarco, path: {path}}}
tokenizer: {{vocabulary: 200}}
doc2query: {{known_item: {{queries: 5}}}}
docids: {{leaf_size: 5, clusters: 3}}
model: {{d_model: 16, d_kv: 4, d_ff: 16}}
training: {{steps: 30, batch_size: 16, eval_steps: 15, warmup_steps: 1}}
search: {{prior: bm25, prior_documents: 20, latency_queries: 0}}
baselines: {{systems: [bm25], depth: 50}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished runs `tiny`, of atomic docids, and `tree`, with the words of synthetic queries too."""
    root = tmp_path_factory.mktemp("prior")
    write_msmarco_folder(root / "data")
    (root / "tiny.yaml").write_text(EXPERIMENT.format(path=root / "data"))
    assert run(root, "tiny") == 0
    assert run(root, "tree", "docids.kind=semantic", "search.prior=bm25_doc2query", "search.error_queries=3") == 0
    return root


def run(root: Path, name: str, *keys: str) -> int:
    command = ["run", str(root / "tiny.yaml"), "--runs", str(root / "runs"), "--name", name]
    return main([*command, *(["--set", *keys] if keys else [])])


@pytest.mark.parametrize(("name", "prior"), [("tiny", "bm25"), ("tree", "bm25_doc2query")])
def test_the_systems_of_a_run_with_a_prior(project: Path, name: str, prior: str) -> None:
    folder = project / "runs" / name
    metrics = json.loads((folder / "evaluation/metrics.json").read_text())
    planned = f"dsi+{prior}"
    assert list(metrics["systems"]) == ["dsi", planned, "linear", "rrf", "bm25"]
    assert (metrics["main"], metrics["baselines"], metrics["baseline"]) == (planned, ["bm25"], "bm25")
    assert metrics["fusions"].keys() == {"linear", "rrf"}
    assert metrics["comparisons"]["RR@10"].keys() == {"dsi", planned, "linear", "rrf"}
    report = (folder / "report/report.md").read_text()
    assert planned in report.splitlines()[0]
    assert f"{planned} is planned: it ranks documents by log" in report
    counts = read_manifest(folder / "search")["counts"]["systems"]  # type: ignore[index]
    assert counts[planned]["index_bytes"] > counts["dsi"]["index_bytes"]
    assert counts[planned]["queries_without_prior"] == 0
    if name == "tree":
        assert counts[planned]["search_errors"]["certified"] == 1


def test_the_weight_is_the_best_on_dev_queries(project: Path) -> None:
    folder = project / "runs/tiny"
    choice = json.loads((folder / "prior/prior.json").read_text())
    tried = list(read_tsv(folder / "prior/tried.tsv"))
    assert [(float(row["weight"]), float(row["epsilon"])) for row in tried] == [
        (weight, epsilon) for weight in WEIGHTS for epsilon in EPSILONS
    ]
    values = [float(row["RR@10"]) for row in tried]
    first = tried[values.index(max(values))]
    assert (choice["weight"], choice["epsilon"]) == (float(first["weight"]), float(first["epsilon"]))
    assert choice["chosen"] == {"weight": "dev", "epsilon": "dev", "linear_weight": "dev"}
    assert (choice["queries"], choice["pairs"]) == (6, len(tried))
    # what was estimated from two searches is what a search with this mixture finds
    corpus, queries = Corpus(folder / "corpus"), Corpus(folder / "corpus").queries("dev")
    measures, qrels = parse_measures(["RR@10"]), list(corpus.qrels("dev"))
    for row in (tried[7], first, tried[-1]):
        index = dsi.load(folder, prior_weight=float(row["weight"]), prior_epsilon=float(row["epsilon"]))
        found = {query.query_id: {hit.doc_id: hit.score for hit in index.search(query.text)} for query in queries}
        assert score_run(measures, qrels, found)["RR@10"] == pytest.approx(float(row["RR@10"]), abs=1e-6)


def test_priors_are_bm25_scores_in_the_unit_of_lucene(project: Path) -> None:
    terms = Terms(project / "runs/tiny/lexical")
    text = Corpus(project / "runs/tiny/corpus")[3].text
    [prior, nothing] = lexical_priors(terms, [text, "zzz"], 7)
    doc_index, scores = terms.best([text], 7)
    assert prior.best(7)[0].tolist() == doc_index[0].tolist()
    np.testing.assert_allclose(prior.best(7)[1], LUCENE * scores[0], rtol=1e-6)
    assert prior.of_documents(np.array([3]))[0] == prior.score.max()
    assert len(nothing.doc_index) == 0


@pytest.mark.parametrize("name", ["tiny", "tree"])
def test_an_index_is_searched_as_the_run_was(project: Path, tmp_path: Path, name: str) -> None:
    folder = project / "runs" / name
    [planned] = folder.glob("search/dsi+*.run")
    dsi.load(folder).save(tmp_path / "copy")
    queries = {query.query_id: query.text for query in Corpus(folder / "corpus").queries("test")}
    for index in (dsi.load(folder), dsi.load(tmp_path / "copy")):
        for query_id, scores in read_run(planned).items():
            hits = index.search(queries[query_id], k=20)
            assert [hit.doc_id for hit in hits] == list(scores)[:20]
            np.testing.assert_allclose([hit.score for hit in hits], list(scores.values())[:20], rtol=1e-4, atol=1e-4)
    plain = dsi.load(folder, prior="none")
    for query_id, scores in read_run(folder / "search/dsi.run").items():
        assert [hit.doc_id for hit in plain.search(queries[query_id], k=10)] == list(scores)[:10]
    with pytest.raises(DsiError, match=r"the run was made without this prior; search with prior=none"):
        dsi.load(folder, prior="bm25" if name == "tree" else "bm25_doc2query")


def test_query_says_how_it_ranks(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = project / "runs/tiny"
    text = Corpus(folder / "corpus")[3].text
    assert main(["query", str(folder), text, "-k", "1"]) == 0
    out, err = capsys.readouterr()
    assert "D30" in out
    assert err.startswith("dsi: documents are ranked by log")
    assert err.endswith("* bm25\n")
    assert main(["query", str(folder), "zzz qqq", "-k", "1"]) == 0
    assert "no term of the query occurs in the documents" in capsys.readouterr().err


def test_a_leaf_ranking_counts_the_prior_too(project: Path) -> None:
    keys = ("docids.kind=semantic", "model.head=hierarchical_softmax", "search.ranking=leaf", "training.steps=2")
    assert run(project, "leaf", *keys) == 0
    folder = project / "runs/leaf"
    index = dsi.load(folder, prior_weight=1e4, prior_epsilon=0.0)
    terms, corpus = Terms(folder / "lexical"), Corpus(folder / "corpus")
    for query in corpus.queries("test"):
        [prior] = lexical_priors(terms, [query.text], 20)
        ranked = [corpus.doc_indexes({hit.doc_id})[hit.doc_id] for hit in index.search(query.text, k=3)]
        assert prior.of_documents(np.array(ranked)).tolist() == prior.best(3)[1].tolist()
        scores = [hit.score for hit in dsi.load(folder, prior_weight=0, prior_epsilon=0).search(query.text, k=60)]
        assert torch.tensor(scores).logsumexp(0) == pytest.approx(0, abs=1e-4)  # log-probabilities among the found


def test_without_dev_queries(project: Path, tmp_path: Path) -> None:
    data = write_msmarco_folder(tmp_path / "data")
    for name in ("queries", "qrels"):
        (data / f"{name}.dev.tsv").rename(data / f"{name}.train.tsv")
    path = f"corpus.path={data}"
    assert run(project, "by-train", path) == 0
    choice = json.loads((project / "runs/by-train/prior/prior.json").read_text())
    assert choice["chosen"]["weight"] == "train"
    for name in ("queries", "qrels"):
        (data / f"{name}.train.tsv").unlink()
    assert run(project, "untuned", path) == 0
    choice = json.loads((project / "runs/untuned/prior/prior.json").read_text())
    assert Mixture(choice["weight"], choice["epsilon"]) == UNTUNED
    assert run(project, "untuned", path, "search.prior_weight=3") == 0
    report = (project / "runs/untuned/report/report.md").read_text()
    assert "log(P + 0.01) + 3 * prior. The" in report
    assert "weight as configured, epsilon the default, linear weight the default." in report


def test_wrong_keys_are_refused(project: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for key, message in {
        "search.prior_weight=-1": "search.prior_weight: expected auto or a number from 0 to 1e+06, found -1",
        "search.prior_epsilon=nan": "search.prior_epsilon",
        "search.prior_epsilon=1.5": "search.prior_epsilon: expected auto or a number from 0 to 1, found 1.5",
        "search.prior=lucene": "found 'lucene'",
        "search.prior_documents=0": "search.prior_documents",
        "search.constrained=false": "search.prior=bm25 is of documents that exist: search.constrained must be",
    }.items():
        assert run(project, "wrong", key) == 2
        assert message in capsys.readouterr().err
    (tmp_path / "prior.json").write_text('{"prior": "bm25", "ranking": "path", "weight": 2.0, "epsilon": 0.1}')
    assert read_mixture(tmp_path, SearchConfig(prior="bm25", prior_weight=0)) == Mixture(0, 0.1)
    with pytest.raises(DsiError, match=r"chosen one for search.prior=bm25, not for bm25_doc2query"):
        read_mixture(tmp_path, SearchConfig(prior="bm25_doc2query"))
    with pytest.raises(DsiError, match=r"chosen one for search.ranking=path, not for leaf"):
        read_mixture(tmp_path, SearchConfig(prior="bm25", ranking="leaf"))
