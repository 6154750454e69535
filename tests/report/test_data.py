"""What the page says of rows and labels: the split, base rates, neighbours, and how many rows stand behind a figure."""

from __future__ import annotations

from typing import Any

import pytest
from tests.report.made import complete, estimate

from batchlearn.report.plots import Plot
from batchlearn.report.terms.shapes import shapes
from batchlearn.report.training.facts import base_rates, neighbours_said, order_tells, split_parts, split_said
from batchlearn.report.training.findings import findings
from batchlearn.report.training.quality import cut_table
from batchlearn.report.training.verdict import finished, good
from batchlearn.words.notes import Code, Note
from batchlearn.words.numbers import telling_places


def with_facts(**changes: Any) -> dict[str, Any]:
    result = complete() | {"target": "late", "time": "day", "classes": ["no", "yes"]}
    result["facts"] |= changes
    return result


def test_the_split_is_told_as_it_was_made() -> None:
    rows = {"early": 80, "late": 20}
    assert split_said(with_facts(split=None)) is None
    random = split_said(with_facts(split={"by": "random", **rows}))
    assert random == (
        "To judge it, the same recipe was trained on 80 rows and scored on 20 others, drawn at random. The model "
        "delivered then learned from all 1,350."
    )
    group = split_said(with_facts(split={"by": "group", **rows}))
    assert group is not None
    assert "scored on 20 of other groups" in group
    numbered = {"by": "time", **rows, "first": 0.0, "until": 79.0, "from": 80.0, "last": 99.0}
    assert "the first 80 rows by day (0 to 79) and scored on the last 20 (80 to 99)" in str(
        split_said(with_facts(split=numbered))
    )


def test_the_parts_of_the_split_fill_the_bar() -> None:
    first, second = split_parts(with_facts())
    assert (first.at, first.width, second.at, second.width) == (0.0, 80.0, 80.0, 20.0)
    assert first.said.startswith("1,080 (80")
    assert split_parts({}) == ()


def test_base_rates_are_those_of_two_classes_of_many_or_a_mean() -> None:
    shares = {"a": 0.5, "b": 0.3, "c": 0.2}
    several = with_facts(labels={"all": {"shares": shares}})
    assert base_rates(several) == "Shares of late in all rows: a 50\u00a0%, b 30\u00a0% and c 20\u00a0%."
    means = {"all": {"mean": 79.75}, "early": {"mean": 80.2}, "late": {"mean": 78.3}}
    assert base_rates(with_facts(labels=means)) == (
        "The mean of late is 79.8 over all rows: 80.2 in those the judged model learned from, 78.3 in those held out."
    )
    assert base_rates({}) is None


def test_an_order_that_gives_labels_away_needs_ties_and_a_gap() -> None:
    near = {"measure": "correlation", "tied": 0.9, "by_chance": 0.0, "alike": 0.9, "alike_tied": 0.9}
    assert order_tells(with_facts(neighbours={**near, "alike_untied": 0.85})) is None
    assert order_tells(with_facts(neighbours={**near, "tied": 0.01, "alike_untied": 0.1})) is None
    said = order_tells(with_facts(neighbours={**near, "alike_untied": 0.1}))
    assert said is not None
    assert "where a new day begins: 0.10" in said
    assert neighbours_said(with_facts(neighbours=near)) == "The labels of neighbouring rows correlate by 0.90."


@pytest.mark.parametrize(("slope", "said"), [(0.8, True), (1.2, True), (1.0, False), (None, False)])
def test_one_factor_is_no_cure_where_the_slope_is_off(slope: float | None, said: bool) -> None:
    result = complete()
    result["evaluation"]["calibration"]["slope"] = slope
    (found,) = (finding for finding in findings(result) if finding.kind == "calibration")
    assert ("One factor would not do" in found.do) == said
    assert "by this factor" not in found.do


def test_a_threshold_says_what_it_finds() -> None:
    result = with_facts()
    found = cut_table(result)
    assert found is not None
    sentence, table = found
    assert "late = yes" in sentence
    assert table.rows[1][0].replace("\u00a0", " ") == "above 50 %"
    result["evaluation"]["cuts"] = [{"threshold": 0.5, "flagged": 0, "precision": None, "recall": estimate(0.0, 0.0)}]
    again = cut_table(result)
    assert again is not None
    assert again[1].rows[0][2] == "\u2013"
    result["evaluation"]["cuts"] = []
    assert cut_table(result) is None


def test_a_bound_is_said_in_plain_words_and_never_rounded_down() -> None:
    result = complete()
    result["certificate"]["loss_bound"] = 0.3165 * 1.01e-7
    assert "by more than 0.00002\u00a0%," in finished(result).brief[0]
    result["certificate"]["loss_bound"] = 1e-15
    assert "a billionth of a per cent" in finished(result).brief[0]


def test_classes_are_judged_by_how_often_the_likeliest_is_right() -> None:
    result = complete()
    result["evaluation"]["metrics"] = {"log_loss": estimate(0.9, 0.01), "accuracy": estimate(0.57, 0.01)}
    result["evaluation"]["baselines"] = {"constant": {"log_loss": estimate(1.05, 0.01), "accuracy": estimate(0.48, 0)}}
    assert "57\u00a0% of rows; always saying the most frequent one is right in 48\u00a0%" in " ".join(
        good(result).brief
    )


def test_bins_show_where_the_rows_are_and_rare_ones_move_no_axis() -> None:
    term = {"column": "year", "kind": "bins", "names": list("abc"), "edges": [2015.5, 2016.5], "low": 2015.0}
    term |= {"high": 2017.0, "effect": [0.1, -0.1, 50.0], "rows": [900, 450, 3], "deviation": 0.1}
    (shape,) = shapes({"shapes": [term]})
    assert isinstance(shape.figure, Plot)
    assert [tick.label for tick in shape.figure.x_ticks] == ["2015", "2016", "2017"]
    bars = next(area for area in shape.figure.areas if area.role == "other")
    heights = [float(point.split()[1]) for point in bars.drawn.strip("MZ").split("L")]
    assert heights[1] < heights[3] < heights[5]
    assert (heights[0], heights[-1]) == (100.0, 100.0)
    assert all(abs(float(tick.label.replace("\u2212", "-"))) < 1.0 for tick in shape.figure.y_ticks)
    assert "Dashed at the edge: bins of few rows" in shape.figure.caption
    inside, beyond = shape.figure.lines
    assert (inside.role, beyond.role) == ("model", "beyond")
    # The line rises to the edge between the second bin and the third, and is dashed from there on.
    assert inside.drawn.endswith("L75 0")
    assert beyond.drawn == "M75 0L100 0"
    assert shape.figure.dots[2].says == "c: 50, 3 rows"


def test_figures_that_differ_look_different() -> None:
    assert telling_places([0.3671, 0.36712, 0.42]) == 5
    assert telling_places([0.3, 0.3]) is None
    worse = {"baseline": "last_value", "metric": "log_loss", "difference": 0.2, "low": 0.1, "high": 0.3}
    assert "worse than the last value baseline: log loss +0.2 " in str(Note(Code.BASELINE_BETTER, worse))
