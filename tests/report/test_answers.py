from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from tests.report import made
from tests.report.made import changed, complete, estimate, predicting, term
from tests.report.test_page import page

from batchlearn.data.ledger import RowCounts
from batchlearn.evaluation.intervals import Estimate
from batchlearn.evaluation.report import LaterDifference
from batchlearn.formatting.notes import Code, Note
from batchlearn.report.figures.plots import Forest, Plot
from batchlearn.report.terms.levels import Heatmap
from batchlearn.report.terms.shapes import drawn
from batchlearn.report.training.answers import answers, cards
from batchlearn.report.training.findings import drift, findings, standing
from batchlearn.report.training.proof import ledger, trace_plots
from batchlearn.report.training.quality import score
from batchlearn.report.training.verdict import finished, good
from batchlearn.report.training.worst import slice_list, worst_rows
from batchlearn.selection.structure import Alternative
from batchlearn.training.certificate import Proved
from batchlearn.training.fit import Fit
from batchlearn.training.optimise import Status
from batchlearn.training.summary.columns import Spread
from batchlearn.training.summary.labels import NeighbourSummary


def with_scores(model: Estimate, constant: Estimate, metric: str = "log_loss") -> Fit:
    fit = changed(complete(), "evaluation.metrics", {metric: model})
    return changed(fit, "evaluation.baselines", {"constant": {metric: constant}})


def with_difference(fit: Fit, difference: Estimate) -> Fit:
    return changed(fit, "evaluation.differences", {"constant": difference})


def stands(fit: Fit) -> str:
    judged = score(fit.evaluation)
    assert judged is not None
    return standing(fit, judged, "constant")


# --- finished -------------------------------------------------------------------------------------------------------


def test_finished_is_said_only_of_a_certificate_within_the_tolerance() -> None:
    fit = complete()
    assert finished(fit).short == "Yes, and it is proved"
    assert finished(replace(fit, status=Status.OUT_OF_STEPS)).short == "Proved, short of what was asked"
    assert finished(replace(fit, status=Status.FLOOR)).short == "As near as rounding allows"
    fit = changed(fit, "certificate.status", Proved.NOT_CERTIFIED)
    fit = changed(fit, "certificate.reason", Note(Code.NO_SAFE_FACTOR, {"why": "two columns repeat"}))
    assert finished(fit).short == "Not proved"
    assert "the Hessian has no safe factor" in finished(fit).brief[0]
    assert findings(fit)[0].kind == "proof"


def test_a_certificate_that_names_no_bound_proves_nothing() -> None:
    assert finished(changed(complete(), "certificate.loss_bound", None)).short == "Not proved"


# --- good -----------------------------------------------------------------------------------------------------------


def test_better_is_said_only_where_the_intervals_are_apart_or_the_paired_difference_is() -> None:
    apart = with_scores(estimate(0.30, 0.02), estimate(0.40, 0.02))
    overlapping = with_scores(estimate(0.38, 0.02), estimate(0.40, 0.02))
    worse = with_scores(estimate(0.41, 0.02), estimate(0.40, 0.02))
    assert [stands(one) for one in (apart, overlapping, worse)] == ["better", "ahead", "worse"]
    assert good(apart).short == "Better than the baseline"
    assert (good(overlapping).short, good(overlapping).tone) == ("Ahead of the baseline", "plain")
    assert (good(worse).short, good(worse).tone) == ("Not better than a baseline", "warn")
    assert stands(with_difference(overlapping, estimate(-0.02, 0.01))) == "better"
    assert stands(with_difference(overlapping, estimate(-0.02, 0.03))) == "unclear"


def test_a_difference_that_too_few_rows_tell_is_unclear() -> None:
    fit = with_difference(with_scores(estimate(0.30, 0.02), estimate(0.40, 0.02)), Estimate(-0.1, None, None))
    assert stands(fit) == "unclear"
    assert good(fit).short == "Not shown to be better"


def test_a_score_where_higher_is_better_is_read_so() -> None:
    assert stands(with_scores(estimate(0.6, 0.05), estimate(0.0, 0.05), "r2")) == "better"
    assert stands(with_scores(estimate(-0.1, 0.05), estimate(0.0, 0.05), "r2")) == "worse"


def test_an_unknown_score_claims_no_direction() -> None:
    assert (
        good(with_scores(estimate(0.6, 0.05), estimate(0.9, 0.05), "regret")).short == "Measured, without a comparison"
    )


# --- findings -------------------------------------------------------------------------------------------------------


def test_behind_the_last_value_is_told_apart_from_what_the_columns_are_worth() -> None:
    both = {"constant": {"log_loss": estimate(0.60, 0.02)}, "last_value": {"log_loss": estimate(0.10, 0.02)}}
    fit = changed(with_scores(estimate(0.30, 0.02), estimate(0.60, 0.02)), "evaluation.baselines", both)
    answer = good(fit)
    assert answer.short == "50\u00a0% better than a constant, behind the last value"
    said = " ".join(answer.brief)
    assert said.index("constant baseline") < said.index("last value baseline") < said.index("no fair rival")
    assert "the order of rows of equal times gives labels away" in said
    do = next(finding.do for finding in findings(fit) if finding.weight == 100)
    assert "suspiciously strong" in do
    assert "better columns" not in do


def test_what_is_odd_is_named_with_its_figures() -> None:
    fit = complete()
    said = {finding.what for finding in findings(fit) if finding.kind == "data"}
    for part in (
        "270 rows (20\u00a0%) repeat an earlier row",
        "of rows have the same",
        "Nearly certain labels: ",
        "below 0 in 1 value, down to \u22126",
        "up to 5,400 (99\u00a0% are at most 9)",
        "Missing values: ",
        "in 8.0\u00a0% of rows only; accuracy says little",
    ):
        assert any(part in one for one in said), part
    assert cards(fit, [])[3].short == f"{len(said)} things to look at"
    assert len(cards(fit, [])[3].brief) == 5


def test_what_to_do_about_what_is_odd_stands_in_the_questions() -> None:
    odd = next(one for one in answers(complete(), []) if one.question == "What is odd in the data?")
    assert any("of these have its label too: See how the file is sorted" in said for said in odd.sentences)
    assert not any("(by chance: See" in said for said in odd.sentences)


def test_what_is_as_it_should_be_is_not_odd() -> None:
    assert complete().summary is not None
    usual = replace(made.column("x"), missing=9)
    some = replace(usual, spread=Spread(-9.0, -8.0, 5.0, 9.0, 10.0, 500))
    constant = replace(usual, missing=400, left_out="it is constant")
    fit = changed(complete(), "summary.columns", [some, constant])
    fit = changed(fit, "summary.repeated_rows", 2)
    fit = changed(fit, "summary.neighbours", NeighbourSummary("share", 0.9, 0.55, 0.92, 0.6, 0.58))
    said = " ".join(finding.what for finding in findings(fit) if finding.kind == "data")
    for part in ("repeat an earlier row", "the same", "Nearly certain", "far from all others", "Missing values"):
        assert part not in said, part


def test_repeated_rows_make_a_gap_no_proof_of_drift() -> None:
    assert "of that is drift cannot be told" in " ".join(page(complete()).split())
    alone = page(changed(complete(), "summary.repeated_rows", 0))
    assert "of that is drift cannot be told" not in alone
    assert "a sign of drift" in alone


def test_a_level_that_most_rows_have_is_no_slice() -> None:
    assert len(slice_list(changed(complete(), "evaluation.slices.0.rows", 250).evaluation)) == 9


def test_the_cards_are_not_repeated_in_the_questions() -> None:
    fit, terms = complete(), drawn(made.shapes())
    for one in answers(fit, terms):
        assert not set(one.brief) & set(one.sentences)
    text = " ".join(page(fit).split())
    for card in cards(fit, terms):
        assert all(text.count(str(sentence)) <= 2 for sentence in card.brief)


def test_a_worst_row_is_told_with_the_names_of_classes() -> None:
    row = worst_rows(predicting(complete(), "late", "no", "yes"))[0]
    assert (row.label, row.response) == ("late = no", "late = yes (90\u00a0%)")
    assert [value for _, value in row.values][:2] == ["1", "2020-01-01"]
    assert row.pushed[0][1] == "+2.5"
    several = predicting(complete(), "late", "a", "b", "c", loss="softmax")
    several = changed(changed(several, "evaluation.worst_rows.0.label", "b"), "evaluation.worst_rows.0.response", 0.01)
    assert worst_rows(several)[0].response == "late = b with 1.0\u00a0% only"
    number = predicting(complete(), "late", loss="squared")
    number = changed(changed(number, "evaluation.worst_rows.0.label", 3.0), "evaluation.worst_rows.0.response", 12.5)
    assert (worst_rows(number)[0].label, worst_rows(number)[0].response) == ("late = 3", "12.5")


def test_drift_is_said_as_the_evaluation_decided() -> None:
    said = {}
    gaps = {
        "worse": LaterDifference(0.034, 0.014, 0.054),
        "better": LaterDifference(-0.034, -0.054, -0.014),
        None: LaterDifference(0.0, -0.1, 0.1),
    }
    for side, gap in gaps.items():
        fit = changed(changed(complete(), "summary.repeated_rows", 0), "evaluation.drift", gap)
        assert drift(fit) == side
        assert any(one.kind == "drift" for one in findings(fit)) == (side is not None)
        said[side] = " ".join(page(fit).split())
    assert (
        "differs by 0.034 (0.014 to 0.054, a 98 % interval with both errors counted), which is worse" in said["worse"]
    )
    assert "Where nothing changed, one table in a hundred would say so." in said["better"]
    assert "which may be chance: this comparison alone shows no drift." in said[None]
    assert "a sign of drift" not in said[None]


def test_where_no_row_is_later_nothing_is_said_of_drift() -> None:
    fit = changed(complete(), "evaluation.drift", None)
    assert drift(fit) is None
    assert not any(one.kind == "drift" for one in findings(fit))
    text = " ".join(page(fit).split())
    assert "The leave-one-out log loss of the rows it learned from is 0.290; on held-out rows it is" in text
    assert "drift." not in text


def test_what_is_in_order_is_not_pointed_out() -> None:
    fit = replace(complete(), rows=RowCounts(1350, 1350, 0, {}), notes=())
    fit = changed(changed(fit, "summary.repeated_rows", 0), "summary.labels", {})
    fit = changed(fit, "summary.neighbours", NeighbourSummary("share", 0.0, 0.6, 0.6, None, None))
    usual = Spread(-6.0, 1.0, 5.0, 9.0, 9.0, 0)
    fit = changed(fit, "summary.columns", [replace(made.column("x"), missing=0, spread=usual)])
    for part, nothing in (
        ("calibration", None),
        ("slices", ()),
        ("unseen_classes", {}),
        ("leave_one_out", None),
        ("drift", None),
    ):
        fit = changed(fit, f"evaluation.{part}", nothing)
    assert findings(fit) == []
    odd = next(one for one in answers(fit, []) if one.question == "What is odd in the data?")
    assert odd.short == "Nothing that these checks see"
    assert odd.brief == (
        "Checked: rows set aside, columns left out, repeated rows, values far outside the others, missing values and "
        "levels that tell the label, the order of rows of one time, classes never seen and scores too good to be true. "
        "Nothing stands out.",
    )
    assert odd.sentences == ()


@pytest.mark.parametrize(("off", "said"), [(2, False), (3, True)])
def test_calibration_is_pointed_out_where_chance_does_not_explain_it(off: int, said: bool) -> None:
    fit = complete()
    assert fit.evaluation is not None
    for at in range(10):
        bin_at = f"evaluation.calibration.bins.{at}"
        response = 0.05 + 0.1 * at
        fit = changed(fit, f"{bin_at}.low", response + (0.01 if at < off else -0.01))
        fit = changed(fit, f"{bin_at}.high", response + 0.02)
    assert any(finding.kind == "calibration" for finding in findings(fit)) == said


def test_a_score_too_good_to_be_true_is_odd() -> None:
    fit = changed(complete(), "evaluation.metrics.auc", estimate(0.999, 0.0005))
    assert any("nearly perfect" in finding.what for finding in findings(fit)[:3])


def test_the_rows_add_up() -> None:
    parts = ledger(complete().rows)
    assert sum(part.rows for part in parts) == complete().rows.read
    assert sum(part.width for part in parts) == pytest.approx(100.0, abs=0.01)
    assert sum(part.rows for part in parts[1:]) == 150


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
    terms = made.shapes()
    found = drawn(terms)
    assert [one.size for one in found] == sorted((one.size for one in found), reverse=True)
    assert [one.kind for one in found][:2] == ["bins", "calendar"]
    terms[0] = replace(terms[0], deviation=100.0)
    assert drawn(terms)[0].kind == "number"
    assert "moves predictions by <b>100</b>" in page(complete(), terms)
    assert {type(one.figure) for one in found} == {Plot, Forest, Heatmap}


def test_the_card_on_what_matters_says_which_way_and_what_to_doubt() -> None:
    fit, terms = complete(), made.shapes()
    first = drawn(terms)[0]
    told = cards(fit, drawn(terms))[2].brief
    assert first.ends is not None
    assert f"{first.name}: {first.ends}." in told
    assert not any("give the label away" in one for one in told)
    given = next(one for one in terms if one.name == first.name)
    highest = given.names[int(np.argmax(given.effect))]
    assert f"highest where {highest}" in first.ends
    assert fit.summary is not None
    leaking = next(one.column for one in fit.summary.columns if one.leaking)
    renamed = [replace(one, term=leaking) if one is given else one for one in terms]
    assert any(f"Check {leaking} first" in one for one in cards(fit, drawn(renamed))[2].brief)


def test_a_slope_is_not_compared_with_the_effect_of_a_missing_value() -> None:
    terms = {one.name: one for one in made.shapes()}
    slope = next(one for one in terms.values() if one.kind == "number")
    for effect, said in (([0.5, -4.0], "predictions rise with it"), ([-0.5, 4.0], "predictions fall as it rises")):
        both = replace(
            slope, names=("size", "size = (missing)"), effect=np.array(effect), standard_error=None, rows=None
        )
        terms[slope.name] = both
        assert next(one for one in drawn(terms.values()) if one.name == slope.name).ends == said


def test_terms_without_rows_come_by_the_spread_of_their_effects() -> None:
    found = drawn(replace(one, rows=None, deviation=None) for one in made.shapes())
    assert [one.spread for one in found] == sorted((one.spread for one in found), reverse=True)
    assert all(one.deviation is None for one in found)
    assert "how far apart its effects lie" in " ".join(cards(complete(), found)[2].brief)


def test_a_rare_level_is_grey_and_folded_away_however_large_its_effect() -> None:
    effect, rows = [9.0, 0.5, -0.5, *[0.1] * 9], (3, 900, 900, *[50] * 9)
    (one,) = drawn([term("x", "category", list("abcdefghijkl"), effect, rows=rows, deviation=0.5)])
    assert isinstance(one.figure, Forest)
    assert [bar.name for bar in one.figure.bars if bar.name in "abc"] == ["b", "c"]
    assert {bar.name: bar.role for bar in one.figure.more}["a"] == "other"
    assert one.figure.bars[0].detail == "900 rows"


def test_terms_that_hardly_move_a_prediction_are_named_and_not_drawn() -> None:
    first, *others = made.shapes()
    text = " ".join(page(complete(), [replace(first, deviation=0.001, term="idle"), *others]).split())
    assert "which are not drawn: idle (0.001 or less)" in text
    assert "<h3>idle</h3>" not in text


def test_a_pair_is_a_map_of_its_cells() -> None:
    sides = ("u", ("1", "2")), ("v", ("\u2264 3", "\u2264 5", "a = b"))
    names = [f"{a} & {b}" for a in sides[0][1] for b in sides[1][1]]
    (one,) = drawn([term("u x v", "pair", names, [0.0, 1.0, 2.0, 0.0, -1.0, -2.0], pair=sides, rows=None)])
    assert isinstance(one.figure, Heatmap)
    assert [tick.label for tick in one.figure.first] == ["1", "2"]
    assert [tick.label for tick in one.figure.second] == ["\u2264 3", "\u2264 5", "a = b"]
    assert [cell.shade for cell in one.figure.cells] == [0, 2, 4, 0, -2, -4]
    assert one.figure.axes == ("u", "v")
    assert not one.figure.is_upright


def test_labels_below_a_pair_stand_where_they_have_no_room_side_by_side() -> None:
    names = tuple(f"level {at}" for at in range(12))
    sides = ("u", ("a", "b")), ("v", names)
    (one,) = drawn([term("u x v", "pair", [*names, *names], [0.0, 1.0] * 12, pair=sides)])
    assert isinstance(one.figure, Heatmap)
    assert one.figure.is_upright
    assert [tick.label for tick in one.figure.second] == list(names)


def test_a_calendar_shows_units_of_few_rows_in_grey() -> None:
    (one,) = drawn([term("hour", "calendar", list("abc"), [0.1, 0.2, 0.3], rows=(900, 3, 900))])
    assert isinstance(one.figure, Plot)
    assert [dot.role for dot in one.figure.dots] == ["model", "other", "model"]
    assert "Grey dots: few rows." in one.figure.caption


def test_the_chosen_alternative_is_marked_and_not_the_lowest() -> None:
    fit = complete()
    lower = Alternative(64, 4, 0.2859, 40, 30.0, 2.0)
    several = changed(fit, "structure.alternatives", (*fit.structure.alternatives, lower))
    assert "The chosen one is in blue. It is not the lowest" in " ".join(page(several).replace("&#39;", "'").split())
    assert "It is not the lowest" not in page(fit)


def test_a_step_function_is_drawn_where_its_bins_are() -> None:
    ends = {"edges": (5.0,), "low": 0.0, "high": 10.0, "rows": None}
    (one,) = drawn([term("x", "bins", ["a", "b"], [1.0, -1.0], **ends)])
    assert isinstance(one.figure, Plot)
    pairs = [point.split() for point in one.figure.lines[0].drawn.removeprefix("M").split("L")]
    assert [float(x) for x, _ in pairs] == [0.0, 50.0, 50.0, 100.0]
    first, second, third, last = (float(y) for _, y in pairs)
    assert first == second < 50.0 < third == last
    assert [dot.says for dot in one.figure.dots] == ["a: 1 (0.804 to 1.2)", "b: \u22121 (\u22121.2 to \u22120.804)"]


def test_crowded_bins_are_drawn_equally_wide() -> None:
    ends = {"edges": (1.0, 2.0, 3.0, 4.0, 5.0), "low": 0.0, "high": 1e6}
    (one,) = drawn([term("x", "bins", list("abcdef"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], **ends)])
    assert isinstance(one.figure, Plot)
    assert "equally wide" in one.figure.caption
    assert [tick.label for tick in one.figure.x_ticks][:3] == ["0", "1", "2"]


def test_only_the_levels_furthest_from_the_middle_are_shown_at_first() -> None:
    figure = next(one.figure for one in drawn(made.shapes()) if one.kind == "category")
    assert isinstance(figure, Forest)
    assert len(figure.bars) == 8
    assert len(figure.more) == 22
    places = [bar.at for bar in figure.bars if bar.at is not None]
    assert places == sorted(places, reverse=True)
