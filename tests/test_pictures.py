"""The pictures of the README: that they show what a search does and what is stored."""

import json
import math
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from conftest import Stages
from test_explain import asked, make_run
from test_readme import RECORDED

import dsi
from dsi.index.index import Index

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "scripts"))


@pytest.fixture(scope="module")
def tree(tiny: Stages, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """An index of the tiny corpus with a tree of docids, which has learnt nothing."""
    return dsi.load(make_run(tmp_path_factory.mktemp("tree"), tiny, "semantic"), prior="none")


def texts(picture: ET.Element) -> list[str]:
    return [element.text or "" for element in picture.iter(f"{SVG}text")]


def test_the_picture_of_a_walk(tree: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import draw_walk

    query = f"{asked(tree)} <script>\x1b"
    hit = tree.search(query, k=1, beam=3)[0]
    written = []
    for name in ("a.svg", "b.svg"):
        arguments = [str(tree._now.parts.folder), query, hit.doc_id, "-o", str(tmp_path / name), "--beam", "3"]
        monkeypatch.setattr(sys, "argv", ["draw_walk.py", *arguments])
        draw_walk.main()
        written.append((tmp_path / name).read_text())
    assert written[0] == written[1]
    picture = ET.fromstring(written[0])
    assert {element.tag.removeprefix(SVG) for element in picture.iter()} == {
        *("svg", "title", "desc", "style", "rect", "path", "text")
    }
    assert hit.doc_id in texts(picture)
    assert draw_walk.percent(math.exp(hit.score)) in texts(picture)
    assert "prefers-color-scheme: dark" in written[0]
    steps = tree.explain(query, hit.doc_id).steps
    shares = [draw_walk.percent(step.probability) for step in steps]
    assert draw_walk.TIMES.join(shares) in texts(picture)
    for step in steps[:-1]:
        assert f"{step.documents:,} documents" in texts(picture)


def test_what_cannot_be_walked(tree: Index, tiny: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import draw_walk

    atomic, last = make_run(tmp_path, tiny, "atomic"), tree.search("a query", k=len(tree), beam=len(tree))[-1]
    for folder, doc_id, fault in (
        (tree._now.parts.folder, "nowhere", "nowhere"),
        (atomic, tree.corpus[0].doc_id, "atomic docids are no tree"),
        (tree._now.parts.folder, last.doc_id, "a beam of 4 does not find this document"),
        (tmp_path / "none", "D1", "none"),
    ):
        monkeypatch.setattr(
            sys, "argv", ["draw_walk.py", str(folder), "a query", doc_id, "-o", str(tmp_path / "x.svg")]
        )
        with pytest.raises(SystemExit, match=f"draw_walk: .*{fault}"):
            draw_walk.main()
    assert not (tmp_path / "x.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ((" ", "--beam", "2"), "argument query: it is empty"),
        (("a query", "--beam", "0"), "argument --beam: 0 is too small; give 1 or more"),
        (("a query", "--beam", "two"), "argument --beam: invalid number value: 'two'"),
    ],
)
def test_a_walk_that_makes_no_sense_is_refused_before_it_starts(
    arguments: tuple[str, ...], fault: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import draw_walk

    query, *options = arguments
    monkeypatch.setattr(sys, "argv", ["draw_walk.py", "runs/none", query, "D1", "-o", "x.svg", *options])
    with pytest.raises(SystemExit):
        draw_walk.main()
    assert fault in capsys.readouterr().err


def test_the_picture_of_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import draw_results

    twice = {**RECORDED, "demo-teacher": {"0": RECORDED["demo"]["0"]}, "squad": {"0": {**RECORDED["demo"]["0"]}}}
    twice["squad"]["0"]["documents"] = 900
    twice["squad-tree"] = {"0": {**RECORDED["demo"]["0"], "documents": 800}}  # no atomic docids: not drawn
    (tmp_path / "cpu.json").write_text(json.dumps(twice))
    (tmp_path / "results.yaml").touch()
    arguments = ["--recorded", str(tmp_path / "cpu.json"), "--by-hand", str(tmp_path / "results.yaml")]
    monkeypatch.setattr(sys, "argv", ["draw_results.py", "-o", str(tmp_path / "results.svg"), *arguments])
    draw_results.main()
    picture = ET.parse(tmp_path / "results.svg").getroot()
    shown = texts(picture)
    places = [shown.index(text) for text in ("SQuAD", "Python's docs", "100,000", "8,841,823")]
    assert places == sorted(places)
    kinds = [element.get("class", "") for element in picture.iter(f"{SVG}polygon")]
    legend = 4 + 3
    assert len(kinds) == legend + 2 * 2 + 3 * 3  # two corpora, in one of which two runs agree; three of the paper's
    assert kinds[legend:].count("mark blue half") == 2
    assert kinds[legend:].count("mark ink open") == 3
    [interval, *_] = (element for element in picture.iter(f"{SVG}line") if element.get("class") == "mark ink")
    zero, one = (
        next(float(element.get("y", 0)) - 4 for element in picture.iter(f"{SVG}text") if element.text == text)
        for text in ("0.0", "1.0")
    )
    ends = [(zero - float(interval.get(end, 0))) / (zero - one) for end in ("y1", "y2")]
    assert ends == pytest.approx([0.548, 0.595], abs=1e-4)
