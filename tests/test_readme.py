"""What README.md says is so; and the check of it finds what is not."""

import datetime
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from dsi.errors import DsiError

ROOT = Path(__file__).parents[1]
RECORDED: dict[str, Any] = {
    "demo": {
        "0": {
            "documents": 2500,
            "queries": 1219,
            "split": "test",
            "minutes": 4.2,
            "measured": {"date": "2026-11-27", "cpu": "a processor", "threads": 1, "dsi": "0.2.0"},
            "systems": {
                "bm25": {"distilled": False, "RR@10": {"score": 0.57161, "low": 0.548, "high": 0.595}},
                "dsi": {"distilled": True, "RR@10": {"score": 0.54549, "low": 0.52, "high": 0.57}},
            },
        },
        "1": {
            "documents": 2500,
            "queries": 1219,
            "minutes": 5.1,
            "systems": {"dsi": {"RR@10": {"score": 0.551, "low": 0.53, "high": 0.57}}},
        },
    }
}
BY_HAND: dict[str, Any] = {
    "build-100k": {
        "command": "dsi build texts.jsonl -o index",
        "date": datetime.date(2026, 11, 27),
        "machine": "two cores",
        "values": {"minutes": 33, "documents": 100_000, "certified": 0.494, "parameters": 3_420_000},
    }
}
TRUE = """# dsi

On [2,500<!--=demo/documents--> documents](#the-table)<!-- a remark --> BM25 has **0.572<!--=demo/bm25/RR@10-->**, from
0.55<!--=demo/bm25/RR@10/low--> to 0.595<!--=demo/bm25/RR@10/high-->, and `dsi`
95.4 %<!--=demo/dsi/RR@10 / demo/bm25/RR@10--> of that: -0.026<!--=demo/dsi/RR@10 - demo/bm25/RR@10-->. The other
seed takes 5<!--=demo/1/minutes--> minutes, 49
%<!--=build-100k/certified--> are certified, 100,000<!--=build-100k/documents--> take 33<!--=build-100k/minutes-->
min, a model has 3.4M<!--=build-100k/parameters--> parameters. Python 3.11 or 3.12, dsi 0.2.0, k1=0.9, a 95 % interval,
Apache-2.0, `0.999` and [a paper of 12.5 pages](https://example.org/1.5) need no result; the paper has
0.803<!--=published/msmarco-100k/6b D2Q only/atomic-->.

| beam | 1.5 |
| --- | ---: |
| found | 2,500<!--=demo/documents--> |

## The table

See [the map](docs/map.md#its-heading), ![a picture](docs/picture.svg), `dsi/cli.py`, `configs/paper/row-*.yaml`,
`search.beam`, `report.md`, `training.tasks.d2q=0.5`, `corpus.splits.dev=dev.small` and `make bench-trie`.

```
make CONFIG=configs/demo.yaml SET="corpus.path=/data/x 'search.beam=20'" NAME=x corpus test
.venv/bin/dsi run demo --set search.beam=20 \\
    --runs folder | head   # in 0.5 seconds
$ dsi query runs/demo "copy a tree" -k 5 --json > found.json
dsi check my.yaml && dsi sweep sweeps/docids
dsi    0.546    0.572
```
```python
import dsi
from dsi.corpus.store import Corpus

index = dsi.build(["Fish swim."], keys={"search.beam": 20})
print(index.search("fish"), dsi.__version__)
```
"""


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """A function that checks a text with the results above and with these options; it returns the exit status."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import check_readme

    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/map.md").write_text("# Map\n## Its heading\n")
    (tmp_path / "docs/picture.svg").touch()
    readme, recorded, by_hand = (tmp_path / name for name in ("README.md", "cpu.json", "results.yaml"))
    recorded.write_text(json.dumps(RECORDED))
    by_hand.write_text(yaml.safe_dump(BY_HAND))

    def run(text: str, *options: str) -> int:
        readme.write_text(text)
        arguments = [str(readme), "--recorded", str(recorded), "--by-hand", str(by_hand), *options]
        monkeypatch.setattr(sys, "argv", ["check_readme.py", *arguments])
        return check_readme.main()

    return run


def test_the_readme_is_true(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import check_readme

    monkeypatch.setattr(sys, "argv", ["check_readme.py"])
    assert check_readme.main() == 0


def test_a_true_text_has_no_fault(check: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert check(TRUE) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("true", "untrue", "line", "fault"),
    [
        ("0.572<!--", "0.573<!--", 3, "0.573 is 0.572 in the stored results (demo/bm25/RR@10)"),
        ("95.4 %<!--", "95.5 %<!--", 5, "95.5 is 95.4"),
        ("-0.026<!--", "+0.026<!--", 5, "+0.026 is -0.026"),
        ("5<!--=demo/1/minutes", "4<!--=demo/1/minutes", 6, "4 is 5"),
        ("100,000<!--", "10,000<!--", 7, "10,000 is 100,000"),
        ("3.4M<!--", "3.5M<!--", 8, "3.5 is 3.4"),
        ("=demo/bm25/RR@10-->", "=demo/bm26/RR@10-->", 3, "no stored result is called demo/bm26/RR@10"),
        ("33<!--", "<!--", 7, "there is no number right before <!--=build-100k/minutes-->"),
        ("0.803<!--=published/msmarco-100k/6b D2Q only/atomic-->", "0.803", 10, "0.803 looks measured"),
        ("33<!--=build-100k/minutes-->", "33", 7, "33 looks measured"),
        ("5<!--=demo/1/minutes--> minutes", "4 to 5<!--=demo/1/minutes--> minutes", 6, "4 looks measured"),
        ("3.4M<!--=build-100k/parameters-->", "3M", 8, "3 looks measured"),
        ("2,500<!--=demo/documents--> |", "2,500 |", 14, "2,500 looks measured"),
        ("2,500<!--=demo/documents--> |", "25 |", 14, "25 looks measured"),
        ("k1=0.9", "3.5 times", 8, "3.5 looks measured"),
        ("`0.999`", "12 %", 9, "12 looks measured"),
        ("#its-heading", "#another", 18, "the link docs/map.md#another leads nowhere"),
        ("(#the-table)", "(#a-table)", 3, "the link #a-table leads nowhere"),
        ("picture.svg", "painting.svg", 18, "there is no file docs/painting.svg"),
        ("`dsi/cli.py`", "`dsi/cly.py`", 18, "there is no file dsi/cly.py"),
        ("configs/demo.yaml", "configs/dema.yaml", 22, "there is no file configs/dema.yaml"),
        ("make bench-trie", "make bench-tree", 19, "the Makefile has no target bench-tree"),
        ("corpus test", "corpus tests", 22, "the Makefile has no target tests"),
        ("`search.beam`", "`search.beams`", 19, "no configuration has the key search.beams"),
        ("'search.beam=20'", "'search.beams=20'", 22, "no configuration has the key search.beams"),
        ("--set search.beam", "--set serch.beam", 23, "no configuration has the key serch.beam"),
        ('{"search.beam"', '{"search.beams"', 33, "no configuration has the key search.beams"),
        ("--runs folder", "--folder folder", 23, "dsi run has no option --folder"),
        ("--json", "--jsonl", 25, "dsi query has no option --jsonl"),
        ("dsi check", "dsi verify", 26, "dsi has no command verify"),
        ("run demo", "run dema", 23, "no configuration that comes with dsi is called dema"),
        ("sweeps/docids", "sweeps/kinds", 26, "no configuration that comes with dsi is called sweeps/kinds"),
        ("dsi.build", "dsi.make", 33, "there is no dsi.make"),
        ("index.search", "index.find", 34, "there is no dsi.Index.find"),
        ("import Corpus", "import Corpse", 31, "there is no dsi.corpus.store.Corpse"),
        ("import dsi\n", "import dsi as\n", 30, "this is no Python"),
    ],
)
def test_what_is_not_so_is_found(
    check: Callable[..., int], capsys: pytest.CaptureFixture[str], true: str, untrue: str, line: int, fault: str
) -> None:
    assert true in TRUE
    assert check(TRUE.replace(true, untrue, 1)) == 1
    [found] = capsys.readouterr().err.splitlines()
    assert found.startswith(f"README.md:{line}: ")
    assert fault in found


def test_a_long_readme_is_a_fault(check: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert check("\n" * 250) == 0
    assert check("\n" * 251) == 1
    assert capsys.readouterr().err == "README.md:251: 251 lines are more than 250\n"


def test_a_plot_of_other_results_is_a_fault(
    check: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import draw_results

    plot = tmp_path / "docs/results.svg"
    results = [f"--recorded={tmp_path / 'cpu.json'}", f"--by-hand={tmp_path / 'results.yaml'}"]
    monkeypatch.setattr(sys, "argv", ["draw_results.py", "-o", str(plot), *results])
    draw_results.main()
    assert check("") == 0
    plot.write_text(plot.read_text().replace("0.572", "0.573"))
    assert check("") == 1
    assert "docs/results.svg is not what the stored results give" in capsys.readouterr().err


def test_numbers_and_tables_are_written(
    check: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = "\n<!-- begin results demo -->\n<!-- end results demo -->\n"
    false = TRUE.replace("0.572<!", "0.999<!").replace("3.4M<!", "9.9M<!").replace("100,000<!", "1,000<!") + empty
    assert check(false) == 1
    assert "the table results demo is out of date: make readme writes it" in capsys.readouterr().err
    assert check(false, "--write") == 0
    written = (tmp_path / "README.md").read_text()
    assert written.startswith(TRUE)
    row = "| `demo` | 2,500 | 1,219 | **0.572**<br><sub>0.548 to 0.595</sub> | *0.545*<br><sub>0.520 to 0.570</sub> |"
    assert row in written
    assert check(written.replace("0.548 to", "0.549 to")) == 1
    assert check(written.replace("<!-- end results demo -->", "")) == 1
    assert "<!-- begin results demo --> has no counterpart" in capsys.readouterr().err
    assert check(written.replace("results demo -->", "results other -->")) == 1
    assert "the stored results have no run other" in capsys.readouterr().err


@pytest.fixture
def stored_results(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import stored_results

    return stored_results


@pytest.mark.parametrize(
    ("recorded", "by_hand", "fault"),
    [
        ({"demo": {}}, {}, "cpu.json: demo: Dictionary should have at least 1 item"),
        ({"demo": {"0": {"documents": 1}}}, {}, "cpu.json: demo/0/systems: Field required"),
        ({}, {"build": {**BY_HAND["build-100k"], "machines": "x"}}, "results.yaml: build/machines: Extra inputs"),
        (
            {},
            {"build": {**BY_HAND["build-100k"], "values": {"minutes": "33 min"}}},
            "results.yaml: build/values/minutes",
        ),
        (RECORDED, {"demo": BY_HAND["build-100k"]}, "results.yaml: demo: "),
        ([], {}, "cpu.json: expected a mapping of names to results"),
    ],
)
def test_faulty_results(stored_results: ModuleType, tmp_path: Path, recorded: Any, by_hand: Any, fault: str) -> None:
    (tmp_path / "cpu.json").write_text(json.dumps(recorded))
    (tmp_path / "results.yaml").write_text(yaml.safe_dump(by_hand))
    with pytest.raises(DsiError) as raised:
        stored_results.read_results(tmp_path / "cpu.json", tmp_path / "results.yaml")
    assert fault in str(raised.value)


def test_results_that_are_not_there(stored_results: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DsiError, match=r"cannot read the results .*cpu\.json: No such file"):
        stored_results.read_results(tmp_path / "cpu.json", tmp_path / "results.yaml")
