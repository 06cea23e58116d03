from itertools import pairwise
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ir_measures import RR

from dsi.search.run_files import read_run, strictly_decreasing, write_run

# Far from the smallest float32, below which nothing is left to lower a score to.
SCORES = st.floats(-1e37, 1e37, width=64)


@given(st.lists(SCORES, max_size=50))
@example([0.0, -0.0, 0.0])
@example([1.0, 1.0 + 1e-9, 1.0])
@example([1e-45, 0.0, 0.0])
@example([-1.0, 5.0, 3.0])
def test_scores_decrease_strictly_for_a_reader_of_float32(
    tmp_path_factory: pytest.TempPathFactory, scores: list[float]
) -> None:
    path = tmp_path_factory.getbasetemp() / "scores.run"
    hits = [(f"d{number}", score) for number, score in enumerate(scores)]
    write_run(path, "tag", [("q", hits)])
    lines = [line.split(" ") for line in path.read_text().splitlines()]
    assert [line[2] for line in lines] == [doc_id for doc_id, _ in hits]
    assert [line[3] for line in lines] == [str(rank) for rank in range(1, len(hits) + 1)]
    read = [np.float32(line[4]) for line in lines]
    assert all(later < earlier for earlier, later in pairwise(read))


@given(st.lists(SCORES, unique_by=lambda score: float(np.float32(score)), max_size=20))
def test_scores_that_decrease_already_are_not_changed(scores: list[float]) -> None:
    scores.sort(reverse=True)
    assert strictly_decreasing(scores).tolist() == np.array(scores, dtype=np.float32).tolist()


def test_every_tool_sees_the_order_given_despite_ties(tmp_path: Path) -> None:
    # trec_eval puts the later doc_id first among ties, MS MARCO's script the earlier one.
    for order in (["a", "b"], ["b", "a"]):
        write_run(tmp_path / "ties.run", "tag", [("q", [(doc_id, 1.0) for doc_id in order])])
        run = read_run(tmp_path / "ties.run")
        measures = ir_measures.calc_aggregate([RR, RR @ 10], {"q": {order[1]: 1}}, run)
        assert measures == {RR: 0.5, RR @ 10: 0.5}


def test_any_id_without_white_space_is_read_back(tmp_path: Path) -> None:
    results = [("ü#1", [("a/b.c(d)", 2.5), ("日本", 0.125)]), ("empty", []), ("q:2", [("😀", -1.0)])]
    write_run(tmp_path / "ids.run", "tag", results)
    assert read_run(tmp_path / "ids.run") == {"ü#1": {"a/b.c(d)": 2.5, "日本": 0.125}, "q:2": {"😀": -1.0}}


@pytest.mark.parametrize(
    "results",
    [
        [("q", [("a", 2.0), ("b", 1.0), ("a", 0.0)])],
        [("q", [("a", 2.0)]), ("q", [("b", 1.0)])],
        [("q", [("a", float("nan"))])],
        [("q", [("a", 1e300)])],
        [("q", [("a", float("-inf"))])],
        [("q", [("a", float(np.finfo(np.float32).min)), ("b", 0.0)])],
    ],
    ids=["document twice", "query twice", "not a number", "too large", "infinite", "nothing below"],
)
def test_faulty_results_are_refused(tmp_path: Path, results: list[tuple[str, list[tuple[str, float]]]]) -> None:
    with pytest.raises(ValueError, match=r"repeated|finite"):
        write_run(tmp_path / "faulty.run", "tag", results)


def test_results_are_streamed(tmp_path: Path) -> None:
    path = tmp_path / "stream.run"
    written = []

    def results() -> object:
        for number in range(3):
            written.append(number)
            yield f"q{number}", [(f"d{n}", -float(n)) for n in range(10_000)]
            if number:
                assert path.stat().st_size > 0  # the first query is on disk before the third is asked for

    write_run(path, "tag", results())  # type: ignore[arg-type]
    assert written == [0, 1, 2]
