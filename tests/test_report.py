import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import pytest

from dsi.artifacts import write_manifest
from dsi.config import ReportConfig
from dsi.corpus.store import Document, Qrel, Query, write_rows
from dsi.errors import DsiError
from dsi.report.published import published
from dsi.report.quantities import UNKNOWN, count, decimal, difference, duration, large, size
from dsi.report.report import report
from dsi.report.summary import cost, headline, measured_on
from dsi.report.tables import Table, text_table
from dsi.search.run_files import write_run

QUERIES = {"q1": "what is <b>bold</b>?", "q2": "second query"}
METRICS: dict[str, Any] = {
    "systems": {
        "dsi": {"RR@10": 0.3216, "R@100": 0.9871},
        "bm25": {"RR@10": 0.8202, "R@100": 0.9704},
    },
    "main": "dsi",
    "baselines": ["bm25"],
    "queries": 1590,
    "documents": 36594,
    "split": "dev",
    "baseline": "bm25",
    "intervals": {name: {"RR@10": [0.31, 0.33], "R@100": [0.9, 1.0]} for name in ("dsi", "bm25")},
    "comparisons": {
        "RR@10": {
            "dsi": {
                "difference": -0.4986,
                "interval": [-0.6, -0.4],
                "t_test": 0.03,
                "randomisation": 0.00002,
                "holm": 0.00004,
            }
        }
    },
    "against_baseline": {"won": 120, "lost": 980, "level": 490},
    "breakdowns": {"words": {"1 to 3": {"queries": 90, "dsi": 0.25, "bm25": 0.5}}},
}
COUNTS: dict[str, dict[str, Any]] = {
    "corpus": {"documents": 36594},
    "doc2query": {
        "queries": 1463760,
        "quality": {
            "sampled_queries": 80_000,
            "unique": 0.98,
            "words": 4.41,
            "copied": 1.0,
            "max_jaccard": {"mean": 0.4567, "buckets": [10, 200, 900, 400, 80]},
        },
    },
    "docids": {"kind": "atomic"},
    "model": {"parameters": 18_100_000, "training_seconds": 300.0, "training_flops": 2.5e12},
    "search": {
        "systems": {
            "dsi": {"flops_per_query": 1.2e7, "queries_per_second": 123.4, "latency_ms": {"p50": 8.05, "p95": 9.15}}
        }
    },
    "baselines": {
        "bm25": {
            "latency_ms": {"p50": 1.75, "p95": 4.25},
            "index_bytes": 3397679,
            "documents": 36594,
            "resident_bytes": 995e6,
            "anonymous_bytes": 95e6,
            "seconds_index": 6.5,
            "language": "en",
            "k1": 0.9,
            "b": 0.4,
        }
    },
    "evaluation": {},
}
INPUTS: dict[str, Any] = {
    "corpus": {"corpus": {"source": "msmarco", "dataset": None}},
    "model": {"model": {"checkpoint": None}, "training": {"tasks": {"d2q": 1.0}}},
    "baselines": {"baselines": {"bm25": {"k1": 0.9, "b": 0.4}}},
}


def make_stages(root: Path, counts: dict[str, dict[str, Any]], metrics: dict[str, Any] = METRICS) -> dict[str, Any]:
    folders = {stage: root / stage for stage in counts}
    for number, (stage, folder) in enumerate(folders.items()):
        folder.mkdir()
        manifest = {
            "stage": stage,
            "counts": counts[stage],
            "seconds": 100.0 * number,
            "peak_memory_bytes": 1_000_000_000 + 100_000_000 * number,
            "packages": {"python": "3.11.9", "torch": "2.13.0" if number < 6 else "2.14.0"},
            "inputs": INPUTS.get(stage, {}),
        }
        write_manifest(folder, manifest)
    (folders["evaluation"] / "metrics.json").write_text(json.dumps(metrics))
    rows = [
        f"{query}\t{system}\t{value}\t1.0"
        for query, value in (("q1", 1.0), ("q2", 0.0))
        for system in metrics["systems"]
    ]
    (folders["evaluation"] / "per_query.tsv").write_text("\n".join(["query_id\tsystem\tRR@10\tR@100", *rows]) + "\n")
    corpus, split = folders["corpus"], metrics["split"]
    write_rows(corpus / "documents.arrow", Document, [Document(f"D{n}", "", f"text {n} </script>") for n in range(4)])
    write_rows(corpus / f"queries.{split}.arrow", Query, [Query(*query) for query in QUERIES.items()])
    write_rows(corpus / f"qrels.{split}.arrow", Qrel, [Qrel("q1", "D1", 1), Qrel("q2", "D3", 1), Qrel("q2", "D0", 0)])
    for system in metrics["systems"]:
        folder = folders["baselines" if system in metrics["baselines"] else "search"]
        write_run(folder / f"{system}.run", system, [("q1", [("D2", 2.0), ("D1", 1.0)])])
    return folders


def make_report(root: Path, **folders: Any) -> tuple[dict[str, Any], str]:
    counts = report(root, **folders)
    return counts, (root / "report.md").read_text()


def test_the_first_line_answers(tmp_path: Path) -> None:
    counts, text = make_report(tmp_path, **make_stages(tmp_path, COUNTS))
    answer = "bm25 beats dsi: RR@10 0.820 against 0.322, dsi at 39% of bm25."
    assert text.startswith(f"# {answer}\n")
    assert counts == {"headline": answer, "ratio": {"bm25": 0.3921}}
    lines = (tmp_path / "summary.txt").read_text().splitlines()
    assert lines[1:] == [
        answer,
        "msmarco, 36,594 documents; 1,590 dev queries; atomic docids; 1,463,760 synthetic queries; 18.1M parameters",
        "",
        "system   RR@10   R@100",
        "dsi      0.322  0.987*",
        "bm25    0.820*   0.970",
        "* best value",
        "",
        "dsi less bm25 on RR@10: -0.499 (-0.600 to -0.400), p < 0.0001 (95% interval; paired randomisation",
        "test, Holm).",
        "",
        "Cost: dsi trained in 5 min 0 s, 8.1 ms a query (p50); bm25 index of 3.4 MB, 1.8 ms a query (p50).",
        "",
        "Measured with Python 3.11.9, torch 2.13.0, on a machine that is not recorded.",
    ]


def test_the_summary_is_dated_and_counts_the_teacher() -> None:
    packages = {"dsi-retrieval": "1.0", "python": "3.11.9", "torch": "2.13.0", "transformers": "5.0", "numpy": "2.4"}
    machine = {"gpu": "H100", "cpu": "EPYC", "instruction_set": "AVX512", "threads": 1024}
    assert measured_on({"search": {"date": "2026-01-31", "packages": packages, "machine": machine}}) == (
        "Measured on 2026-01-31 with dsi 1.0, Python 3.11.9, torch 2.13.0, transformers 5.0, on H100, EPYC, AVX512,"
        " 1,024 threads."
    )
    taught = {"training_seconds": 75.0, "teacher_seconds": 3725.0, "index_bytes": 512, "latency_ms": {}}
    assert cost({"dsi (distilled)": taught, "rrf": {"training_seconds": None}}) == [
        "Cost: dsi (distilled) trained in 1 min 15 s, its teacher's labels made in 1 h 2 min, index of 512 B."
    ]
    assert cost({"rrf": {}}) == []


def test_the_report_has_every_number(tmp_path: Path) -> None:
    folders = make_stages(tmp_path, COUNTS)
    points = [(100 * number, 10.5 * number, 9 - number / 10, number / 100) for number in range(1, 41)]
    points[30] = (3100, 325.5, 5.9, 0.9)
    rows = ["\t".join(map(str, point)) for point in [("step", "seconds", "loss", "RR@10"), *points]]
    (folders["model"] / "dev_curve.tsv").write_text("\n".join(rows) + "\n")
    _, text = make_report(tmp_path, **folders)
    for line in (
        "| bm25 | **0.820** | 0.970 |",
        "| dsi | 0.322 | 0.310 to 0.330 | -0.499 (-0.600 to -0.400) | <0.0001 | 0.0300 | <0.0001 |",
        "| dsi | 0.322 | **0.987** |",
        "| dsi | 18.1M | 5 min 0 s | 2.5T | - | - | - | 12.0M | - | 8.1 | 9.2 | 123.4 |",
        "| bm25 | - | - | - | 3.4 MB | 995 MB | 95.0 MB | - | 93 B | 1.8 | 4.2 | - |",
        "On RR@10, dsi is better than bm25 for 120 queries, worse for 980, level for 490.",
        "RR@10 by the number of words of the query:",
        "| 1 to 3 | 90 | 0.250 | 0.500 |",
        "bm25 is Lucene with k1=0.9, b=0.4, and the analyzer for en; its index takes 3.4 MB and 6.5 s to build.",
        "| dev queries | 10 | 200 | 900 | 400 | 80 |",
        "| doc2query | 1 min 40 s | 1.1 GB |",
        "| 4000 | 420.0 | 5.0 | 0.4 |",
        "python 3.11.9, torch 2.13.0 and 2.14.0",
    ):
        assert line in text.splitlines()
    assert "98% are unique" in text
    assert "distilled" not in text
    assert "teacher" not in text
    assert "4.4 words on average, 100% of which occur in the document." in text
    assert "Metrics per system are means over 1,590 dev queries" in text
    training = text.partition("## Training")[2].partition("## Versions")[0]
    assert training.count("\n| ") == 2 + 10 + 1  # header and rule; every fourth of the 40 points; the best
    assert "| 3100 | 325.5 | 5.9 | 0.9 |" in training


def searched(of_dsi: dict[str, Any]) -> dict[str, Any]:
    return {"systems": {"dsi": of_dsi}}


def test_what_search_says_about_itself(tmp_path: Path) -> None:
    beams = {"10": {"beam": 10, "missed_first": 0.125, "missed_ten": 0.31, "own_certificate": 0.5}}
    search = {"certified_ten": 0.75, "search_errors": {"queries": 1000, "certified": 0.99, "beams": beams}}
    (tmp_path / "constrained").mkdir()
    _, text = make_report(tmp_path, **make_stages(tmp_path / "constrained", COUNTS | {"search": searched(search)}))
    assert "For 75.0% of the queries the first ten documents of dsi are certified" in text
    assert "over 99.0% of 1,000 queries" in text
    assert "| 10 | 12.5% | 31.0% | 50.0% |" in text.splitlines()
    (tmp_path / "free").mkdir()
    free = {"invalid_docids": 0.051, "invalid_first": 0.002}
    _, text = make_report(tmp_path, **make_stages(tmp_path / "free", COUNTS | {"search": searched(free)}))
    assert "5.1% of its results, and 0.2% of the first ones, are docids that do not exist." in text


def test_what_is_optional_may_be_absent(tmp_path: Path) -> None:
    bare: dict[str, dict[str, Any]] = {stage: {} for stage in COUNTS} | {"search": searched({})}
    alone = {
        "baselines": [],
        "systems": {"dsi": METRICS["systems"]["dsi"]},
        "baseline": "dsi",
        "comparisons": {"RR@10": {}},
        "breakdowns": {},
    }
    metrics = METRICS | alone | {"split": "test"}
    counts, text = make_report(tmp_path, **make_stages(tmp_path, bare, metrics))
    assert counts["ratio"] == {}
    assert text.startswith("# dsi: RR@10 0.322; there is no baseline to compare it with.\n")
    assert "- docids; - synthetic queries; - parameters." in text
    assert "| dsi | - | - | - | - | - | - | - | - |" in text
    assert "There is no dev curve." in text


def test_published_figures_are_marked_as_such(tmp_path: Path) -> None:
    for setting in get_args(get_args(ReportConfig.model_fields["published"].annotation)[0]):
        assert "not measured here" in str(published(setting)[-1])
    _, text = make_report(tmp_path, report=ReportConfig(published="msmarco-100k"), **make_stages(tmp_path, COUNTS))
    assert "| 6b D2Q only | 0.803 | 0.787 | 0.785 |" in text.splitlines()
    assert "| BM25 | 0.653 | 0.653 | 0.653 |" in text.splitlines()
    assert "| 4a' 6b + PAWA | - | - | 0.782 |" in text.splitlines()


def test_an_unfinished_stage_is_an_error(tmp_path: Path) -> None:
    folders = make_stages(tmp_path, COUNTS)
    (folders["model"] / "manifest.json").unlink()
    with pytest.raises(DsiError, match="model has no manifest"):
        report(tmp_path, **folders)


@pytest.mark.parametrize(
    ("dsi", "others", "p", "answer"),
    [
        (0.5, {"bm25": 0.4}, 0.01, "dsi beats bm25: RR@10 0.500 against 0.400, dsi at 125% of bm25."),
        (0.5, {"bm25": 0.6}, 0.049, "bm25 beats dsi: RR@10 0.600 against 0.500, dsi at 83% of bm25."),
        (0.5, {"bm25": 0.6}, 0.05, "dsi and bm25 are not told apart: RR@10 0.500 and 0.600 (p = 0.05)."),
        # gtr is not what the test compares with
        (0.5, {"bm25": 0.4, "gtr": 0.8}, 0.01, "gtr is ahead of dsi: RR@10 0.800 against 0.500, dsi at 62% of gtr."),
        (0.5, {"bm25": 0.5}, 1.0, "dsi and bm25 are level: RR@10 0.500."),
        (0.5, {"bm25": 0.0}, 0.01, "dsi beats bm25: RR@10 0.500 against 0.000."),
        (0.0, {"bm25": 0.0}, 1.0, "dsi and bm25 are level: RR@10 0.000."),
    ],
)
def test_headline(dsi: float, others: dict[str, float], p: float, answer: str) -> None:
    systems = {"dsi": dsi, **others}
    means = {name: {"RR@10": value} for name, value in systems.items()}
    tested = {"baseline": "bm25", "comparisons": {"RR@10": {"dsi": {"holm": p}}}}
    assert headline({"systems": means, "main": "dsi", "baselines": list(others), **tested}) == answer


def test_the_main_system_is_the_planned_one(tmp_path: Path) -> None:
    values = {"dsi": 0.5, "dsi+bm25": 0.625, "linear": 0.65, "rrf": 0.6, "bm25": 0.5}
    metrics = METRICS | {
        "systems": {name: {"RR@10": value, "R@100": 0.9} for name, value in values.items()},
        "intervals": {name: {"RR@10": [0.4, 0.7], "R@100": [0.9, 1.0]} for name in values},
        "main": "dsi+bm25",
        "fusions": {
            "linear": {
                "difference": 0.025,
                "interval": [-0.1, 0.15],
                "t_test": 0.2,
                "randomisation": 0.125,
                "holm": 0.25,
            }
        },
        "breakdowns": {},
    }
    planned = {"prior": {"weight": 0.5, "epsilon": 0.01, "documents": 1000}, "queries_without_prior": 3}
    chosen = {"weight": "dev", "epsilon": "configured", "linear_weight": "dev"}
    choice = {"prior": "bm25", "ranking": "path", "linear_weight": 1.5, "pairs": 65, "queries": 1000, "chosen": chosen}
    counts = COUNTS | {
        "search": {"systems": {"dsi": {}, "dsi+bm25": {**planned, "certified_ten": 0.875}}},
        "prior": {**choice, "measure": "RR@10", "value": 0.63},
    }
    _, text = make_report(tmp_path, **make_stages(tmp_path, counts, metrics))
    assert text.startswith("# dsi+bm25 is ahead of bm25: RR@10 0.625 against 0.500, dsi+bm25 at 125% of bm25.\n")
    assert (
        "dsi+bm25 is planned: it ranks documents by log(P + 0.01) + 0.5 * prior. The prior is the score of bm25"
        " (k1=1.2, b=0.75) for the 1,000 best documents of a query; 3 queries have no term that occurs, and are"
        " searched without."
    ) in text
    assert (
        "How dsi+bm25 and linear are weighed: weight chosen on dev, epsilon as configured, linear weight chosen on dev."
        " What was chosen is the best of 65 on 1,000 queries (RR@10 0.630 there)."
    ) in text
    assert "The weights of the prior and of linear were chosen on these queries too" in text
    assert "dsi+bm25 less linear: -0.025 (randomisation test, Holm: 0.2500)." in text
    assert "For 87.5% of the queries the first ten documents of dsi+bm25 are certified to be the ten of the" in text
    assert "| dsi+bm25 | 18.1M | 5 min 0 s |" in text
    assert "On RR@10, dsi+bm25 is better than bm25 for 120 queries" in text


def test_quantities() -> None:
    assert [count(1234567), count(None)] == ["1,234,567", "-"]
    assert [decimal(0.71949), decimal(1234.5, 1), decimal(None)] == ["0.719", "1,234.5", "-"]
    assert [large(950), large(8_130_000), large(223_000_000), large(None)] == ["950", "8.1M", "223M", "-"]
    assert [size(512), size(3_397_679), size(4.2e9), size(3e15)] == ["512 B", "3.4 MB", "4.2 GB", "3000 TB"]
    assert [duration(s) for s in (2.345, 59.97, 75, 3725, 90_000, None)] == [
        "2.3 s",
        "1 min 0 s",
        "1 min 15 s",
        "1 h 2 min",
        "25 h 0 min",
        "-",
    ]


def test_tables_line_up() -> None:
    assert (
        text_table(["a", "b"], [["long name", "1"], ["x", "22.5"]])
        == "a             b\nlong name     1\nx          22.5\n"
    )
    assert Table("t", "", ["a", "b"], [["x|y", "1"]]).markdown() == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |\n"


def test_values_that_read_like_the_best_are_marked_too() -> None:
    rows = [
        ["a", decimal(0.67241)],
        ["b", decimal(0.67249)],
        ["c", decimal(0.6719)],
        ["d", decimal(0.6)],
        ["e", UNKNOWN],
    ]
    table = Table("t", "", ["system", "nDCG@10"], rows, marks_best=True)
    assert table.text().split()[3::2] == ["0.672*", "0.672*", "0.672*", "0.600", "-"]
    assert table.markdown().count("**0.672**") == table.latex().count(r"\textbf{0.672}") == 3
    unknown = Table("t", "", ["system", "nDCG@10"], rows[4:], marks_best=True)
    assert "*" not in unknown.text() + unknown.markdown()


SPECIAL = r"a_b & 50% of {x} $1 #2 ~ ^ \ < > | [c]"


def special_table() -> Table:
    rows = [
        [SPECIAL, duration(234.1), size(3_397_679), difference(-0.5, -0.75, 0.25), decimal(0.25)],
        ["*b", duration(7.0), size(12), UNKNOWN, decimal(0.125)],
    ]
    return Table(
        "t", "100% of a_b", ["system", "time", "bytes a document", "against a", "RR@10"], rows, marks_best=True
    )


def test_a_table_in_csv_has_its_numbers() -> None:
    assert special_table().csv().splitlines() == [
        "system,time (s),bytes a document,against a,against a low,against a high,RR@10",
        f"{SPECIAL},234.1,3397679,-0.5,-0.75,0.25,0.25",
        "*b,7,12,,,,0.125",
    ]
    read = pytest.importorskip("pandas").read_csv(io.StringIO(special_table().csv()))
    assert [str(kind) for kind in read.dtypes[1:]] == ["float64", "int64", *["float64"] * 4]
    assert read["system"][0] == SPECIAL


def test_a_table_in_latex_is_escaped() -> None:
    text = special_table().latex()
    lines = text.splitlines()
    assert r"% \caption{100\% of a\_b}" in lines
    assert r"\begin{tabular}{lrrrr}" in lines
    escaped = (
        r"a\_b \& 50\% of \{x\} \$1 \#2 \textasciitilde{} \textasciicircum{} \textbackslash{} \textless{}"
        r" \textgreater{} \textbar{} {[}c]"
    )
    numbers = r"\textbf{3 min 54 s} & \textbf{3.4 MB} & \textbf{$-$0.500 ($-$0.750 to +0.250)} & \textbf{0.250} \\"
    assert lines[-4:-2] == [f"{escaped} & {numbers}", r"{*}b & 7.0 s & 12 B & - & 0.125 \\"]
    assert [line for line in lines if line.endswith("rule")] == [r"\toprule", r"\midrule", r"\bottomrule"]
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert re.findall(r"\\(begin|end)\{(\w+)\}", text) == [("begin", "tabular"), ("end", "tabular")]
    cells = [len(re.findall(r"(?<!\\)&", line)) for line in lines if line.endswith(r"\\")]
    assert cells == [4, 4, 4]


def test_every_table_of_the_report_is_a_file(tmp_path: Path) -> None:
    folders = make_stages(tmp_path, COUNTS)
    curve = "step\tseconds\tloss\tRR@10\n0\t1.5\tnan\t0.1\n1\t60\t2.5\t0.2\n"
    (folders["model"] / "dev_curve.tsv").write_text(curve)
    _, text = make_report(tmp_path, **folders)
    read = pytest.importorskip("pandas").read_csv
    tables = {path.stem: read(path) for path in sorted((tmp_path / "tables").glob("*.csv"))}
    assert {path.stem for path in (tmp_path / "tables").glob("*.tex")} == set(tables)
    assert len(tables) == text.count("\n| --- ")
    assert tables["results"]["RR@10"].tolist() == [0.3216, 0.8202]
    assert tables["cost"]["training (s)"][0] == 300
    assert tables["cost"]["index (bytes)"][1] == 3397679
    assert tables["significance"]["against bm25 low"][0] == -0.6
    assert tables["significance"]["Holm"][0] == 0.00004
    assert tables["dev-curve"]["loss"].isna().tolist() == [True, False]
    for path in (tmp_path / "report.md", *(tmp_path / "tables").iterdir()):
        assert not re.search(r"\b(nan|None|inf)\b", path.read_text())


class Links(HTMLParser):
    """What a page would fetch, and its ids, each of which it has once."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [f"{tag} {name}={value}" for name, value in attrs if name in ("src", "href")]
        for value in (value for name, value in attrs if name == "id" and value):
            assert value not in self.ids
            self.ids.add(value)


def test_the_page_holds_everything(tmp_path: Path) -> None:
    folders = make_stages(tmp_path, COUNTS)
    (folders["model"] / "dev_curve.tsv").write_text("step\tseconds\tRR@10\n1\t60\t0.1\n2\t120\t0.2\n")
    make_report(tmp_path, **folders)
    page = (tmp_path / "report.html").read_text()
    links = Links()
    links.feed(page)
    files = [f"a href=figures/dev-curve.{ending}" for ending in ("png", "pdf", "csv")]
    assert {link for link in links.found if "href=#" not in link} >= {*files}
    assert all(re.fullmatch(r"a href=(#[\w-]+|figures/[\w-]+\.\w+)", link) for link in links.found)
    assert {link.partition("#")[2] for link in links.found if "#" in link} <= links.ids
    assert "{{" not in page
    assert "<table>" in page
    assert "minutes of training" in page
    assert "k1: 0.9" in page
    data = json.loads(page.partition('type="application/json">')[2].partition("</script>")[0])
    assert [query["text"] for query in data["queries"]] == list(QUERIES.values())
    assert data["queries"][0]["relevant"] == ["D1"]
    assert data["queries"][0]["found"]["dsi"] == ["D2", "D1"]
    assert data["queries"][1]["found"]["bm25"] == []
    assert data["documents"] == {f"D{number}": f"text {number} </script>" for number in (1, 2, 3)}


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_the_page_works_in_a_browser(tmp_path: Path) -> None:
    make_report(tmp_path, **make_stages(tmp_path, COUNTS))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    url = f"file://{tmp_path / 'report.html'}"
    dom = subprocess.run([*command, url], check=True, capture_output=True, text=True, timeout=60).stdout
    assert "2 queries</small>" in dom
    assert '<li class="relevant"><small>D1 </small>text 1' in dom
    assert "<h3>what is &lt;b&gt;bold&lt;/b&gt;?</h3>" in dom
    assert '<li id="query-0" role="option" aria-selected="true">' in dom
