import csv
import random
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from conftest import EVERY_FORMAT
from markdown_it import MarkdownIt
from matplotlib.axes import Axes

from dsi.corpus.store import Corpus, Document, Qrel, write_rows
from dsi.evaluation.measures import parse_measures, score_run
from dsi.report import figures
from dsi.report.differences import largest_differences
from dsi.report.figures import LEGEND_LINE, Figure
from dsi.report.page import TEMPLATE, write_page
from dsi.report.per_query import PerQuery
from dsi.report.plots import by_kind, by_latency, dev_curve, forest, plots
from dsi.report.query_plots import differences, recall, recall_at
from dsi.report.styles import COLOURS, INK, styles, systems_of

VALUES = {"dsi": {"q1": 1.0, "q2": 0.5, "q3": 0.0, "q4": 0.25}, "bm25": {"q1": 0.0, "q2": 0.5, "q3": 1.0, "q4": 0.0}}
METRICS: dict[str, Any] = {
    "systems": {"dsi": {"RR@10": 0.4375}, "bm25": {"RR@10": 0.375}},
    "main": "dsi",
    "baselines": ["bm25"],
    "baseline": "bm25",
    "intervals": {"dsi": {"RR@10": [0.1, 0.8]}, "bm25": {"RR@10": [0.0, 0.7]}},
    "comparisons": {"RR@10": {"dsi": {"difference": 0.0625, "interval": [-0.5, 0.625]}}},
    "breakdowns": {
        "words": {"1 to 3": {"queries": 3, "dsi": 0.5, "bm25": 0.25}, "4 to 6": {"queries": 1, "dsi": 0, "bm25": 1}}
    },
}
NAMES = {"dsi": "dsi", "bm25": "bm25"}
SYSTEMS = systems_of(METRICS, NAMES)
TWO = {"dsi": {"latency_ms": {"p50": 4.0}}, "bm25": {"latency_ms": {"p50": 2.0}}}


@pytest.fixture(autouse=True)
def _every_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "FILES", EVERY_FORMAT)


def of(values: Mapping[str, Mapping[str, float]] = VALUES, **others: Any) -> PerQuery:
    known: dict[str, Any] = {"texts": {}, "relevant": {}, "found": {system: {} for system in values}}
    return PerQuery("RR@10", values, **{**known, **others})


def figure(name: str = "plot", **others: Any) -> Figure:
    def draw(axes: Axes) -> None:
        axes.plot([1, 2], [3.0, 4.0], label="a <b>", **styles(["a"])["a"])
        axes.set_xlabel("x & y")

    known: dict[str, Any] = {"title": 'Quality, "a" < b', "alternative": "It [rises] from 3 to 4.", "height": 2.0}
    return Figure(name, header=["x", "y"], rows=[[1, 0.1 + 0.2], [2, 4.0]], draw=draw, **{**known, **others})


def test_a_figure_is_four_files_that_are_the_same_each_time(tmp_path: Path) -> None:
    for folder in ("once", "again"):
        figure().save(tmp_path / folder)
    files = sorted((tmp_path / "once").iterdir())
    assert [path.name for path in files] == ["plot.csv", "plot.pdf", "plot.png", "plot.svg"]
    for path in files:
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    with (tmp_path / "once/plot.csv").open() as file:
        assert list(csv.reader(file)) == [["x", "y"], ["1", "0.30000000000000004"], ["2", "4"]]


def test_an_svg_says_what_it_shows_and_has_the_colour_of_the_text_around_it(tmp_path: Path) -> None:
    figure().save(tmp_path)
    text = (tmp_path / "plot.svg").read_text()
    svg, name = ElementTree.fromstring(text), "{http://www.w3.org/2000/svg}"
    assert svg.get("role") == "img"
    for tag, expected in (("title", 'Quality, "a" < b'), ("desc", "It [rises] from 3 to 4.")):
        part = svg.find(name + tag)
        assert part is not None
        assert part.text == expected
        assert part.get("id") in (svg.get("aria-labelledby") or "").split()
    assert {element.text for element in svg.iter(f"{name}text")} >= {"a <b>", "x & y"}, "text is text"
    assert "currentColor" in text
    assert INK not in text
    assert "#ffffff" not in text, "the background is transparent"


def test_a_legend_makes_a_figure_higher_line_by_line(tmp_path: Path) -> None:
    def drawn(lines: int) -> float:
        def draw(axes: Axes) -> None:
            for number in range(lines):
                axes.plot([1, 2], label=f"a system with a name that takes a whole line of its own {number}")

        replace(figure(f"lines-{lines}"), draw=draw).save(tmp_path)
        svg = ElementTree.fromstring((tmp_path / f"lines-{lines}.svg").read_text())
        return float((svg.get("height") or "").removesuffix("pt")) / 72

    assert drawn(0) == 2.0
    assert drawn(11) - drawn(1) == pytest.approx(10 * LEGEND_LINE)


def test_colours_stand_out_from_the_page_light_and_dark() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    light, dark = ("#ffffff", *re.findall("--page: (#.{6});", TEMPLATE.read_text()))
    for colour in set(COLOURS) - {INK}:
        assert (luminance(light) + 0.05) / (luminance(colour) + 0.05) >= 3  # as WCAG 2 asks of graphics
        assert (luminance(colour) + 0.05) / (luminance(dark) + 0.05) >= 3


def test_a_system_has_one_style_and_a_baseline_differs_in_more_than_colour() -> None:
    few, many = (
        styles(["dsi", "bm25"], ["bm25"]),
        styles(["dsi", "dsi+bm25", "rrf", "bm25", "dense"], ["bm25", "dense"]),
    )
    assert few == {name: many[name] for name in few}
    assert len({style["color"] for style in many.values()}) == len(many)
    for key in ("marker", "linestyle", "markerfacecolor"):
        assert {many[name][key] for name in ("dsi", "dsi+bm25", "rrf")}.isdisjoint(
            many[name][key] for name in ("bm25", "dense")
        )
    looks = [(style["color"], style["marker"]) for style in styles(list(map(str, range(35)))).values()]
    assert len(set(looks)) == 35


def test_a_system_has_its_colour_in_every_run_and_a_run_its_marker() -> None:
    runs = {f"{system} {run}": (system, run) for run in ("a", "b") for system in ("dsi", "dsi+bm25", "rrf")}
    runs |= {"bm25": ("bm25", "a"), "dense a": ("dense", "a"), "dense b": ("dense", "b")}
    known = styles(list(runs), ["bm25", "dense a", "dense b"], runs)
    for name, (system, run) in runs.items():
        for other, (same_system, same_run) in runs.items():
            assert (known[name]["color"] == known[other]["color"]) == (system == same_system)
            if known[name]["linestyle"] == known[other]["linestyle"]:
                assert (known[name]["marker"] == known[other]["marker"]) == (run == same_run)


def test_recall_is_that_of_ir_measures() -> None:
    generator = random.Random(0)
    documents = [f"d{number}" for number in range(300)]
    qrels = [Qrel(f"q{q}", doc, 1) for q in range(50) for doc in generator.sample(documents, 1 + q % 4)]
    qrels += [Qrel("none", "d1", 0)]
    found = {f"q{q}": generator.sample(documents, 100) for q in range(49)}
    relevant: dict[str, list[str]] = {}
    for qrel in qrels[:-1]:
        relevant.setdefault(qrel.query_id, []).append(qrel.doc_id)
    values = {"dsi": dict.fromkeys([*relevant, "none"], 0.0)}
    curve = recall_at(of(values, relevant=relevant, found={"dsi": found}), "dsi")
    run = {query: {doc: -float(rank) for rank, doc in enumerate(docs)} for query, docs in found.items()}
    for k in (1, 2, 10, 99, 100):
        assert curve[k - 1] == pytest.approx(score_run(parse_measures([f"R@{k}"]), qrels, run)[f"R@{k}"])
    assert 0 < curve[9] < curve[-1]


def test_a_line_of_recall_ends_where_the_rankings_do() -> None:
    found = {"dsi": {"q1": ["a", "b"], "q2": ["c"]}, "bm25": {}}
    (drawn,) = recall(of(relevant={"q1": ["b"]}, found=found), SYSTEMS)
    assert [list(row) for row in drawn.rows] == [["dsi", 1, 0.0], ["dsi", 2, 0.25]]
    assert drawn.alternative.endswith("At k = 1, 10, 100: dsi 0.000.")
    assert recall(of(), SYSTEMS) == []


def test_differences_are_sorted_and_their_shares_told() -> None:
    (drawn,) = differences(of(), SYSTEMS)
    assert drawn.rows == [("q1", 1.0), ("q4", 0.25), ("q2", 0.0), ("q3", -1.0)]
    assert "dsi is better for 50.0% of the queries, level for 25.0%, worse for 25.0%" in drawn.alternative


def test_what_would_say_nothing_is_not_drawn() -> None:
    alone = METRICS | {"baselines": [], "baseline": "dsi", "comparisons": {"RR@10": {}}}
    systems = systems_of(alone, {"dsi": "dsi"})
    assert differences(of(), systems) == forest(alone, systems) == by_latency(alone, systems, TWO) == []
    assert by_latency(METRICS, SYSTEMS, {"dsi": {}, "bm25": TWO["bm25"]}) == []
    assert by_latency(METRICS, SYSTEMS, dict.fromkeys(NAMES, TWO["dsi"])) == [], "all at one place"
    one_kind = METRICS | {"breakdowns": {"words": {"1 to 3": {"queries": 3, "dsi": 0.5, "bm25": 0.25}}}}
    assert by_kind(one_kind, SYSTEMS, "words") == []
    point = {"seconds": "60", "loss": "nan", "RR@10": "0.5"}
    assert dev_curve([]) == dev_curve([point]) == []
    assert dev_curve([{"seconds": seconds, "loss": loss} for seconds, loss in (("0", "nan"), ("60", "2.5"))]) == []


def test_a_system_of_unknown_cost_is_named() -> None:
    names = {**NAMES, "rrf": "rrf"}
    (drawn,) = by_latency(METRICS, systems_of(METRICS, names), {**TWO, "rrf": {"latency_ms": {"p50": None}}})
    assert drawn.title.endswith("not known of rrf")
    assert drawn.alternative.endswith("dsi 0.438 at 4.0; bm25 0.375 at 2.0; not known of rrf.")
    assert drawn.rows == [["dsi", 4.0, 0.4375, 0.1, 0.8], ["bm25", 2.0, 0.375, 0.0, 0.7]]


def test_what_kinds_of_queries_are_told_apart_by() -> None:
    (drawn,) = by_kind(METRICS, SYSTEMS, "words")
    assert drawn.title == "RR@10 by the number of words of the query; in brackets the number of queries"
    assert drawn.alternative == (
        "RR@10 of dsi by the number of words of the query: 1 to 3 (3 queries) 0.500; 4 to 6 (1 query) 0.000."
    )


def test_every_figure_of_a_run_is_drawn_without_nan(tmp_path: Path) -> None:
    curve = [{"seconds": str(60 * n), "loss": "nan", "RR@10": str(0.1 * n)} for n in range(3)]
    costs = {name: {**cost, "training_flops": 10.0**place} for place, (name, cost) in enumerate(TWO.items(), 9)}
    queries = of(relevant={"q1": ["b"]}, found={name: {"q1": ["a", "b"]} for name in NAMES})
    drawn = plots(METRICS, queries, costs, NAMES, curve)
    assert list(drawn) == ["recall", "forest", "differences", "queries-by-words", "latency", "training", "dev-curve"]
    for each in drawn.values():
        each.save(tmp_path)
        texts = [
            each.title,
            each.alternative,
            *((tmp_path / f"{each.name}.{end}").read_text() for end in ("csv", "svg")),
        ]
        assert not re.search(r"\b(nan|inf|None)\b", " ".join(texts))


def test_a_page_has_its_figures_in_it(tmp_path: Path) -> None:
    drawn = [figure("first"), figure("second")]
    for each in drawn:
        each.save(tmp_path / "figures")
    text = "\n\n".join(["# A & b", "## Plots", *(each.markdown() for each in drawn), "<script>alert(1)</script>"])
    write_page(tmp_path / "page.html", text, config="key: <value>")
    page = (tmp_path / "page.html").read_text()
    assert "<img" not in page
    assert "<script" not in page
    assert page.count("<figure>\n<svg ") == 2
    assert '<figcaption>Quality, &quot;a&quot; &lt; b. <span class="files"><a href="figures/first.png">PNG</a>' in page
    ids = re.findall(r'\bid="(.*?)"', page)
    assert len(set(ids)) == len(ids)
    assert set(re.findall(r'(?:url\(|href=")#([^)"]*)', page)) <= set(ids)
    assert re.findall('<li><a href="#(.*?)">', page) == ["plots", "configuration"]


def test_the_queries_that_differ_most(tmp_path: Path) -> None:
    directions = "".join(map(chr, (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))))
    texts = ["the *one* | and <b>all</b>\nof it", f"[two](x) {directions}`three` \\", "word " * 100, "another"]
    write_rows(tmp_path / "documents.arrow", Document, [Document(f"d{n}", "", text) for n, text in enumerate(texts)])
    queries = of(
        VALUES | {"rrf": dict.fromkeys(VALUES["dsi"], 0.75)},  # what neither wins nor loses is not shown
        texts={f"q{n}": text for n, text in enumerate(texts, 1)},
        relevant={f"q{n}": [f"d{n - 1}"] for n in range(1, 4)},  # q4 has none
        found={"dsi": {"q3": ["d0"]}, "bm25": {"q1": ["d1", "d0"]}},
    )
    lines = largest_differences(queries, "dsi", "bm25", Corpus(tmp_path), NAMES)
    page = MarkdownIt("commonmark").enable("table").render("\n".join(lines))
    cells = [[re.sub("<.*?>", "", cell) for cell in row.split("</td>")[:-1]] for row in page.split("<tr>")]
    one, two = "the *one* | and &lt;b&gt;all&lt;/b&gt; of it", "[two](x) `three` \\"
    words = "word " * 20 + "..."
    won = [[one, one, two, "1.00", "0.00"], ["another", "none", "none", "0.25", "0.00"]]
    lost = [[words, words, one, "0.00", "1.00"]]
    assert [[cell.strip() for cell in row] for row in cells if row] == [*won, *lost]
    assert largest_differences(queries, "dsi", "dsi", Corpus(tmp_path), NAMES) == []
