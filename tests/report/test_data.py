"""What the page says of rows and labels: the split, base rates, neighbours, and how many rows stand behind a figure."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from tests.estimators.brought.made import small
from tests.report.made import changed, complete, estimate, minimal, predicting, term
from tests.report.test_page import page

import batchlearn as bl
from batchlearn.data.split import SplitKind
from batchlearn.evaluation.decision import Cut
from batchlearn.evaluation.intervals import Estimate
from batchlearn.formatting.notes import Code, Note
from batchlearn.formatting.numbers import plain, telling_places
from batchlearn.report.figures.plots import Plot
from batchlearn.report.terms.shapes import drawn
from batchlearn.report.training.data_summary import base_rates, neighbours_said, order_tells, split_said
from batchlearn.report.training.findings import findings, special_columns
from batchlearn.report.training.proof import split_parts, trace_plots
from batchlearn.report.training.quality import cut_table
from batchlearn.report.training.verdict import finished, good
from batchlearn.tables.columns import Kind
from batchlearn.tables.readings import ColumnRemark, ColumnUse
from batchlearn.training.fit import Fit
from batchlearn.training.summary.labels import LabelSummary, NeighbourSummary, SplitSummary


def with_summary(**summary: Any) -> Fit:
    fit = predicting(complete(), "late", "no", "yes")
    fit = changed(fit, "model.roles.time", "day")
    for name, value in summary.items():
        fit = changed(fit, f"summary.{name}", value)
    return fit


def test_the_split_is_told_as_it_was_made() -> None:
    assert split_said(with_summary(split=None)) is None
    random = split_said(with_summary(split=SplitSummary(SplitKind.RANDOM, 80, 20)))
    assert random == (
        "To judge it, the same recipe was trained on 80 rows and scored on 20 others, drawn at random. The model "
        "delivered then learned from all 1,350."
    )
    group = split_said(with_summary(split=SplitSummary(SplitKind.GROUP, 80, 20)))
    assert group is not None
    assert "scored on 20 of other groups" in group
    numbered = SplitSummary(SplitKind.TIME, 80, 20, False, (0.0, 79.0), (80.0, 99.0))
    assert "the first 80 rows by day (0 to 79) and scored on the last 20 (80 to 99)" in str(
        split_said(with_summary(split=numbered))
    )


def test_the_parts_of_the_split_fill_the_bar() -> None:
    first, second = split_parts(with_summary())
    assert (first.at, first.width, second.at, second.width) == (0.0, 80.0, 80.0, 20.0)
    assert (first.rows, first.share.replace("\u00a0", " ")) == (1080, "80 %")
    assert split_parts(minimal()) == ()


def test_base_rates_are_those_of_two_classes_of_many_or_a_mean() -> None:
    shares = {"a": 0.5, "b": 0.3, "c": 0.2}
    several = with_summary(labels={"all": LabelSummary(100, shares=shares)})
    assert base_rates(several) == "Shares of late in all rows: a 50\u00a0%, b 30\u00a0% and c 20\u00a0%."
    means = {name: LabelSummary(9, mean) for name, mean in (("all", 79.75), ("early", 80.2), ("late", 78.3))}
    assert base_rates(with_summary(labels=means)) == (
        "The mean of late is 79.8 over all rows: 80.2 in those the judged model learned from, 78.3 in those held out."
    )
    assert base_rates(minimal()) is None


def test_an_order_that_gives_labels_away_needs_ties_and_a_gap() -> None:
    near = NeighbourSummary("correlation", 0.9, 0.0, 0.9, 0.9, 0.85)
    assert order_tells(with_summary(neighbours=near)) is None
    assert order_tells(with_summary(neighbours=replace(near, tied=0.01, alike_untied=0.1))) is None
    said = order_tells(with_summary(neighbours=replace(near, alike_untied=0.1)))
    assert said is not None
    assert "where a new day begins: 0.10" in "".join(said)
    assert neighbours_said(with_summary(neighbours=near)) == "The labels of neighbouring rows correlate by 0.90."


@pytest.mark.parametrize(("slope", "said"), [(0.8, True), (1.2, True), (1.0, False), (None, False)])
def test_one_factor_is_no_cure_where_the_slope_is_off(slope: float | None, said: bool) -> None:
    fit = changed(complete(), "evaluation.calibration.slope", slope)
    (found,) = (finding for finding in findings(fit) if finding.kind == "calibration")
    assert ("One factor would not do" in found.do) == said
    assert "by this factor" not in found.do


def test_a_threshold_says_what_it_finds() -> None:
    fit = with_summary()
    found = cut_table(fit)
    assert found is not None
    sentence, table = found
    assert "late = yes" in sentence
    assert table.rows[1][0].replace("\u00a0", " ") == "above 50 %"
    unknown = Estimate(None, None, None)
    again = cut_table(changed(fit, "evaluation.cuts", (Cut(0.5, 0, unknown, unknown, estimate(0.0, 0.0)),)))
    assert again is not None
    assert again[1].rows[0][2] == "\u2013"
    assert cut_table(changed(fit, "evaluation.cuts", ())) is None


def test_a_bound_is_said_in_plain_words_and_never_rounded_down() -> None:
    within = {bound: changed(complete(), "certificate.loss_bound", bound) for bound in (0.3165 * 1.01e-7, 1e-15)}
    near, nearer = (finished(fit).brief[0] for fit in within.values())
    assert "by more than 0.00002\u00a0%," in near
    assert "a billionth of a per cent" in nearer


def test_classes_are_judged_by_how_often_the_likeliest_is_right() -> None:
    metrics = {"log_loss": estimate(0.9, 0.01), "accuracy": estimate(0.57, 0.01)}
    constant = {"log_loss": estimate(1.05, 0.01), "accuracy": estimate(0.48, 0)}
    fit = changed(complete(), "evaluation.metrics", metrics)
    fit = changed(fit, "evaluation.baselines", {"constant": constant})
    assert "57\u00a0% of rows; always saying the most frequent one is right in 48\u00a0%" in " ".join(good(fit).brief)


def test_bins_show_where_the_rows_are_and_rare_ones_move_no_axis() -> None:
    ends = {"edges": (2015.5, 2016.5), "low": 2015.0, "high": 2017.0}
    effect, rows = [0.1, -0.1, 50.0], (900, 450, 3)
    (shape,) = drawn([term("year", "bins", list("abc"), effect, rows=rows, standard_error=None, **ends)])
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


def test_what_is_no_number_is_not_written_as_one() -> None:
    assert (plain(math.nan), plain(math.inf)) == ("\u2013", "beyond 10\u00b3\u2070\u2078")


def test_a_value_that_several_rows_share_far_from_all_others_is_odd() -> None:
    gain = {"column": "gain", "value": 99999.0, "rows": 17, "of": 900, "low": 0.0, "high": 41310.0, "change": "--null"}
    paid = {"column": "paid", "value": "1900-01-01", "rows": 3, "low": "2024", "high": "2025", "change": "--where"}
    notes = (Note(Code.SPIKE, gain), Note(Code.TIME_SPIKE, paid))
    uses = (ColumnUse("any", None, True, (ColumnRemark("any", True, note, None),)) for note in notes)
    fit = replace(complete(), columns=tuple(uses))
    (found,) = [one for one in findings(fit) if one.begins == "Values far from all others"]
    assert "gain at 99,999 in 17 rows, paid at 1900-01-01 in 3 rows" in found.what


def test_no_penalty_is_said_of_what_was_brought_along() -> None:
    assert "plus the penalty" in page(complete())
    fit = bl.train(bl.read(small(), target="two"), model=HistGradientBoostingClassifier(max_iter=3))
    text = page(fit)
    assert "the mean loss of the training rows" in text
    assert "plus the penalty" not in text


def test_a_trace_that_begins_late_fills_its_axis() -> None:
    for first, left in ((57, 10.0), (3, 100.0)):  # of 57, 60 and 61 passes most of an axis from 0 would be empty
        steps = [step._replace(passes=at) for step, at in zip(complete().trace[-3:], (first, 60, 61), strict=True)]
        for plot in trace_plots(replace(complete(), trace=tuple(steps))):
            assert plot.dots[0].x < left
            assert 90.0 < plot.dots[-1].x < 100.0
            assert (plot.x_ticks[0].label == "0") == (first == 3)


def test_what_is_said_of_a_column_names_it_once() -> None:
    note = Note(Code.UNNAMED_COLUMN, {"column": "column_3", "number": 3})
    remark = ColumnRemark("column_3", True, note, None)
    fit = replace(complete(), columns=(ColumnUse("column_3", Kind.NUMBER, True, (remark,)),))
    assert ("", "Column 3 has no name and is called 'column_3'.") in special_columns(fit)
