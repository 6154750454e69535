from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
from tests.report import made
from tests.report.made import complete, estimate

from batchlearn.report.page import training_page
from batchlearn.report.plots import Forest, Plot
from batchlearn.report.terms.levels import Heatmap
from batchlearn.report.terms.shapes import shapes
from batchlearn.report.training.answers import answers, cards
from batchlearn.report.training.findings import drift, findings, standing
from batchlearn.report.training.proof import ledger, trace_plots
from batchlearn.report.training.quality import score
from batchlearn.report.training.verdict import finished, good
from batchlearn.report.training.worst import slice_list, worst_rows


def with_scores(model: dict[str, Any], constant: dict[str, Any], notes: list[str] | None = None) -> dict[str, Any]:
    result = complete()
    result["evaluation"]["metrics"] = {"log_loss": model}
    result["evaluation"]["baselines"] = {"constant": {"log_loss": constant}}
    result["evaluation"]["notes"] = notes or []
    return result


def stands(result: dict[str, Any]) -> str:
    judged = score(result)
    assert judged is not None
    return standing(result, judged, "constant")


# --- finished -------------------------------------------------------------------------------------------------------


def test_finished_is_said_only_of_a_certificate_within_the_tolerance() -> None:
    result = complete()
    assert finished(result).short == "Yes, and it is proved"
    short = {**result, "status": "the steps were spent before the bound met the tolerance"}
    assert finished(short).short == "Proved, short of what was asked"
    floor = {**result, "status": "the bound is at the floor that rounding leaves, above the tolerance"}
    assert finished(floor).short == "As near as rounding allows"
    result["certificate"] |= {"status": "not certified", "reason": "the Hessian has no safe factor"}
    assert finished(result).short == "Not proved"
    assert "the Hessian has no safe factor" in finished(result).brief[0]
    assert findings(result)[0].kind == "proof"


def test_a_certificate_that_names_no_bound_proves_nothing() -> None:
    result = complete()
    result["certificate"]["loss_bound"] = None
    assert finished(result).short == "Not proved"


# --- good -----------------------------------------------------------------------------------------------------------


def test_better_is_said_only_where_the_intervals_are_apart_or_the_paired_difference_is() -> None:
    apart = with_scores(estimate(0.30, 0.02), estimate(0.40, 0.02))
    overlapping = with_scores(estimate(0.38, 0.02), estimate(0.40, 0.02))
    worse = with_scores(estimate(0.41, 0.02), estimate(0.40, 0.02))
    assert [stands(one) for one in (apart, overlapping, worse)] == ["better", "ahead", "worse"]
    assert good(apart).short == "Better than the baseline"
    assert (good(overlapping).short, good(overlapping).tone) == ("Ahead of the baseline", "plain")
    assert (good(worse).short, good(worse).tone) == ("Not better than a baseline", "warn")
    overlapping["evaluation"]["differences"] = {"constant": estimate(-0.02, 0.01)}
    assert stands(overlapping) == "better"
    overlapping["evaluation"]["differences"] = {"constant": estimate(-0.02, 0.03)}
    assert stands(overlapping) == "unclear"


def test_a_note_that_the_difference_may_be_chance_is_believed() -> None:
    note = "The model is not shown to be better than the constant baseline: log_loss -0.01 (-0.03 to +0.01)."
    result = with_scores(estimate(0.30, 0.02), estimate(0.40, 0.02), [note])
    assert stands(result) == "unclear"
    assert good(result).short == "Not shown to be better"


def test_a_score_where_higher_is_better_is_read_so() -> None:
    result = complete()
    result["evaluation"]["metrics"] = {"r2": estimate(0.6, 0.05)}
    result["evaluation"]["baselines"] = {"constant": {"r2": estimate(0.0, 0.05)}}
    assert stands(result) == "better"
    result["evaluation"]["metrics"] = {"r2": estimate(-0.1, 0.05)}
    assert stands(result) == "worse"


def test_an_unknown_score_claims_no_direction() -> None:
    result = complete()
    result["evaluation"]["metrics"] = {"regret": estimate(0.6, 0.05)}
    result["evaluation"]["baselines"] = {"constant": {"regret": estimate(0.9, 0.05)}}
    assert good(result).short == "Measured, without a comparison"


# --- findings -------------------------------------------------------------------------------------------------------


def test_behind_the_last_value_is_told_apart_from_what_the_columns_are_worth() -> None:
    result = with_scores(estimate(0.30, 0.02), estimate(0.60, 0.02))
    result["evaluation"]["baselines"]["last_value"] = {"log_loss": estimate(0.10, 0.02)}
    answer = good(result)
    assert answer.short == "50\u00a0% better than a constant, behind the last value"
    said = " ".join(answer.brief)
    assert said.index("constant baseline") < said.index("last value baseline") < said.index("no fair rival")
    assert "the order of rows of equal times gives labels away" in said
    do = next(finding.do for finding in findings(result) if finding.weight == 100)
    assert "suspiciously strong" in do
    assert "better columns" not in do


def test_what_is_odd_is_named_with_its_figures() -> None:
    result = complete()
    said = {finding.what for finding in findings(result) if finding.kind == "data"}
    for part in (
        "270 rows (20\u00a0%) repeat an earlier row",
        "of rows have the same",
        "Nearly certain labels: ",
        "below 0 in 1 value, down to \u22126",
        "up to 5,400 (99\u00a0% are at most 9)",
        "Missing values: ",
        "in only 8.0\u00a0% of rows; accuracy says little",
    ):
        assert any(part in one for one in said), part
    assert cards(result)[3].short == f"{len(said)} things to look at"
    assert len(cards(result)[3].brief) == 5


def test_what_to_do_about_what_is_odd_stands_in_the_questions() -> None:
    odd = next(one for one in answers(complete()) if one.question == "What is odd in the data?")
    assert any("of these have its label too: See how the file is sorted" in said for said in odd.sentences)
    assert not any("(by chance: See" in said for said in odd.sentences)


def test_what_is_as_it_should_be_is_not_odd() -> None:
    result = complete()
    columns = result["facts"]["columns"]
    columns[0] |= {"below_zero": 500, "low": -9.0, "per_cent_1": -8.0, "high": 10.0, "missing": 9, "telling": []}
    columns[1] |= {"below_zero": 0, "low": 0.0, "high": 20.0, "missing": 0, "left_out": "it is constant"}
    result["facts"] |= {"repeated_rows": 2}
    result["facts"]["neighbours"] |= {"alike_tied": 0.6, "alike_untied": 0.58}
    said = " ".join(finding.what for finding in findings(result) if finding.kind == "data")
    for part in ("repeat an earlier row", "the same", "Nearly certain", "far from all others", "Missing values"):
        assert part not in said, part


def test_repeated_rows_make_a_gap_no_proof_of_drift() -> None:
    result = complete()
    assert "of that is drift cannot be told" in " ".join(training_page(result).split())
    result["facts"]["repeated_rows"] = 0
    assert "of that is drift cannot be told" not in training_page(result)
    assert "a sign of drift" in training_page(result)


def test_a_level_that_most_rows_have_is_no_slice() -> None:
    result = complete()
    result["evaluation"]["slices"][0]["rows"] = 250
    assert len(slice_list(result)) == 9


def test_the_cards_are_not_repeated_in_the_questions() -> None:
    result = complete()
    for one in answers(result):
        assert not set(one.brief) & set(one.sentences)
    text = " ".join(training_page(result).split())
    for card in cards(result):
        assert all(text.count(str(sentence)) <= 2 for sentence in card.brief)


def test_a_worst_row_is_told_with_the_names_of_classes() -> None:
    result = complete() | {"target": "late", "classes": ["no", "yes"]}
    row = worst_rows(result)[0]
    assert (row.label, row.response) == ("late = no", "late = yes (90\u00a0%)")
    assert [value for _, value in row.values][:2] == ["1", "2020-01-01"]
    assert row.pushed[0][1] == "+2.5"
    several = complete() | {"target": "late", "classes": ["a", "b", "c"]}
    several["worst_rows"][0] |= {"label": "b", "response": 0.01}
    assert worst_rows(several)[0].response == "late = b with 1.0\u00a0% only"
    number = complete() | {"target": "late", "classes": None}
    number["worst_rows"][0] |= {"label": 3.0, "response": 12.5}
    assert (worst_rows(number)[0].label, worst_rows(number)[0].response) == ("late = 3", "12.5")


def test_drift_is_said_as_the_evaluation_decided() -> None:
    result = complete()
    result["facts"]["repeated_rows"] = 0
    said = {}
    for side in ("worse", "better", None):
        result["evaluation"]["drift"]["side"] = side
        assert drift(result) == side
        assert any(one.kind == "drift" for one in findings(result)) == (side is not None)
        said[side] = " ".join(training_page(result).split())
    assert (
        "differs by 0.034 (0.014 to 0.054, a 98 % interval with both errors counted), which is worse" in said["worse"]
    )
    assert "Where nothing changed, one table in a hundred would say so." in said["better"]
    assert "which may be chance: this comparison alone shows no drift." in said[None]
    assert "a sign of drift" not in said[None]


def test_where_no_row_is_later_nothing_is_said_of_drift() -> None:
    result = complete()
    result["evaluation"]["drift"] = None
    assert drift(result) is None
    assert not any(one.kind == "drift" for one in findings(result))
    page = " ".join(training_page(result).split())
    assert "The leave-one-out log loss of the rows it learned from is 0.290; on held-out rows it is" in page
    assert "drift." not in page


def test_what_is_in_order_is_not_pointed_out() -> None:
    result = complete()
    result["rows"] = {"read": 1350, "used": 1350, "unlabelled": 0, "rejected": {}}
    result["notes"] = []
    result["facts"] |= {"repeated_rows": 0, "neighbours": {"tied": 0.0, "alike": 0.6, "by_chance": 0.6}, "labels": {}}
    result["facts"]["columns"] = [{**made.column("x"), "below_zero": 0, "high": 9.0, "missing": 0, "telling": []}]
    result["evaluation"] |= {
        "calibration": None,
        "slices": [],
        "unseen_classes": {},
        "leave_one_out": None,
        "drift": None,
    }
    assert findings(result) == []
    odd = next(one for one in answers(result) if one.question == "What is odd in the data?")
    assert odd.short == "Nothing that these checks see"
    assert odd.brief == (
        "Checked: rows set aside, columns left out, repeated rows, values far outside the others, missing values and "
        "levels that tell the label, the order of rows of one time, classes never seen and scores too good to be true. "
        "Nothing stands out.",
    )
    assert odd.sentences == ()


@pytest.mark.parametrize(("off", "said"), [(2, False), (3, True)])
def test_calibration_is_pointed_out_where_chance_does_not_explain_it(off: int, said: bool) -> None:
    result = complete()
    for at, one in enumerate(result["evaluation"]["calibration"]["bins"]):
        one |= {"low": one["mean_response"] + (0.01 if at < off else -0.01), "high": one["mean_response"] + 0.02}
    assert any(finding.kind == "calibration" for finding in findings(result)) == said


def test_a_score_too_good_to_be_true_is_odd() -> None:
    result = complete()
    result["evaluation"]["metrics"]["auc"] = estimate(0.999, 0.0005)
    assert any("nearly perfect" in finding.what for finding in findings(result)[:3])


def test_the_rows_add_up() -> None:
    rows = ledger(complete())
    assert rows is not None
    assert sum(part.rows for part in rows.parts) == rows.read
    assert sum(part.width for part in rows.parts) == pytest.approx(100.0, abs=0.01)
    assert rows.set_aside == 150


# --- figures --------------------------------------------------------------------------------------------------------


def test_the_distance_falls_to_the_certificate_above_the_floor() -> None:
    plot = trace_plots(complete())[1]
    bounds = [dot for dot in plot.dots if dot.role == "model"]
    assert len(bounds) == 4
    assert all(a.y < b.y for a, b in itertools.pairwise(bounds))
    floor, certificate = plot.rules
    assert bounds[-1].y < certificate.at < floor.at <= 100.0
    assert "In 3 steps of 7 no bound" in plot.caption


def test_terms_come_by_what_they_move_the_rows_by() -> None:
    result = complete()
    found = shapes(result)
    assert [shape.size for shape in found] == sorted((shape.size for shape in found), reverse=True)
    assert [shape.kind for shape in found][:2] == ["bins", "calendar"]
    result["shapes"][0]["deviation"] = 100.0
    assert shapes(result)[0].kind == "number"
    assert "moves predictions by <b>100</b>" in training_page(result)
    assert {type(shape.figure) for shape in found} == {Plot, Forest, Heatmap}


def test_the_card_on_what_matters_says_which_way_and_what_to_doubt() -> None:
    result = complete()
    told = cards(result)[2].brief
    first = shapes(result)[0]
    assert first.ends is not None
    assert f"{first.name}: {first.ends}." in told
    assert not any("give the label away" in one for one in told)
    given = next(one for one in result["shapes"] if one["column"] == first.name)
    highest = given["names"][max(range(len(given["effect"])), key=given["effect"].__getitem__)]
    assert f"highest where {highest}" in first.ends
    column = next(one for one in result["facts"]["columns"] if one.get("telling"))
    given["column"] = column["column"]
    assert any(f"Check {column['column']} first" in one for one in cards(result)[2].brief)


def test_terms_without_rows_come_by_the_spread_of_their_effects() -> None:
    result = complete()
    for one in result["shapes"]:
        del one["rows"], one["deviation"]
    found = shapes(result)
    assert [shape.spread for shape in found] == sorted((shape.spread for shape in found), reverse=True)
    assert all(shape.deviation is None for shape in found)
    assert "how far apart its effects lie" in " ".join(cards(result)[2].brief)


def test_a_rare_level_is_grey_and_folded_away_however_large_its_effect() -> None:
    effect, rows = [9.0, 0.5, -0.5, *[0.1] * 9], [3, 900, 900, *[50] * 9]
    term = {"column": "x", "kind": "category", "names": list("abcdefghijkl"), "effect": effect, "rows": rows}
    (shape,) = shapes({"shapes": [{**term, "deviation": 0.5}]})
    assert isinstance(shape.figure, Forest)
    assert [bar.name for bar in shape.figure.bars if bar.name in "abc"] == ["b", "c"]
    assert {bar.name: bar.role for bar in shape.figure.more}["a"] == "other"
    assert shape.figure.bars[0].detail == "900 rows"


def test_terms_that_hardly_move_a_prediction_are_named_and_not_drawn() -> None:
    result = complete()
    result["shapes"][0] |= {"deviation": 0.001, "column": "idle"}
    text = " ".join(training_page(result).split())
    assert "which are not drawn: idle (0.001 or less)" in text
    assert "<h3>idle</h3>" not in text


def test_a_pair_without_its_levels_is_read_off_its_names() -> None:
    names = [f"{a} & {b}" for a in ("u = 1", "u = 2") for b in ("v <= 3", "3 < v <= 5", "v > 5")]
    term = {"column": "u x v", "kind": "pair", "names": names, "effect": [0.0, 1.0, 2.0, 0.0, -1.0, -2.0]}
    (shape,) = shapes({"shapes": [term]})
    assert isinstance(shape.figure, Heatmap)
    assert [tick.label for tick in shape.figure.first] == ["1", "2"]
    assert [tick.label for tick in shape.figure.second] == ["\u2264 3", "\u2264 5", "> 5"]
    assert [cell.shade for cell in shape.figure.cells] == [0, 2, 4, 0, -2, -4]
    assert not shape.figure.is_upright
    (other,) = shapes({"shapes": [{**term, "names": [*names[1:], "x & y & z"]}]})
    assert isinstance(other.figure, Forest)


def test_labels_below_a_pair_stand_where_they_have_no_room_side_by_side() -> None:
    names = [f"level {at}" for at in range(12)]
    term = {"column": "u x v", "kind": "pair", "first": ["a", "b"], "second": names, "effect": [0.0, 1.0] * 12}
    (shape,) = shapes({"shapes": [term]})
    assert isinstance(shape.figure, Heatmap)
    assert shape.figure.is_upright
    assert [tick.label for tick in shape.figure.second] == names


def test_a_calendar_shows_units_of_few_rows_in_grey() -> None:
    term = {"column": "hour", "kind": "calendar", "names": list("abc"), "effect": [0.1, 0.2, 0.3]}
    (shape,) = shapes({"shapes": [{**term, "rows": [900, 3, 900]}]})
    assert isinstance(shape.figure, Plot)
    assert [dot.role for dot in shape.figure.dots] == ["model", "other", "model"]
    assert "Grey dots: few rows." in shape.figure.caption


def test_the_chosen_alternative_is_marked_and_not_the_lowest() -> None:
    result = complete()
    result["structure"]["alternatives"].append({"name": "additive, 4 pairs", "loss": 0.2859, "seconds": 2.0})
    page = training_page(result)
    assert "The chosen one is in blue. It is not the lowest" in " ".join(page.replace("&#39;", "'").split())
    result["structure"]["alternatives"].pop()
    assert "It is not the lowest" not in training_page(result)


def test_a_step_function_is_drawn_where_its_bins_are() -> None:
    term = {"column": "x", "kind": "bins", "names": ["a", "b"], "edges": [5.0], "low": 0.0, "high": 10.0}
    (shape,) = shapes({"shapes": [{**term, "effect": [1.0, -1.0], "standard_error": [0.1, 0.1]}]})
    assert isinstance(shape.figure, Plot)
    pairs = [point.split() for point in shape.figure.lines[0].drawn.removeprefix("M").split("L")]
    assert [float(x) for x, _ in pairs] == [0.0, 50.0, 50.0, 100.0]
    first, second, third, last = (float(y) for _, y in pairs)
    assert first == second < 50.0 < third == last
    assert [dot.says for dot in shape.figure.dots] == ["a: 1 (0.804 to 1.2)", "b: \u22121 (\u22121.2 to \u22120.804)"]


def test_crowded_bins_are_drawn_equally_wide() -> None:
    edges = [1.0, 2.0, 3.0, 4.0, 5.0]
    term = {"column": "x", "kind": "bins", "names": list("abcdef"), "edges": edges, "low": 0.0, "high": 1e6}
    (shape,) = shapes({"shapes": [{**term, "effect": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]}]})
    assert isinstance(shape.figure, Plot)
    assert "equally wide" in shape.figure.caption
    assert [tick.label for tick in shape.figure.x_ticks][:3] == ["0", "1", "2"]


def test_only_the_levels_furthest_from_the_middle_are_shown_at_first() -> None:
    figure = next(shape.figure for shape in shapes(complete()) if shape.kind == "category")
    assert isinstance(figure, Forest)
    assert len(figure.bars) == 8
    assert len(figure.more) == 22
    places = [bar.at for bar in figure.bars if bar.at is not None]
    assert places == sorted(places, reverse=True)


def test_answers_do_not_change_the_result() -> None:
    result = complete()
    before = copy.deepcopy(result)
    answers(result)
    assert result == before
