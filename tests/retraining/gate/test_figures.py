"""The figures of the gate: weights, margins, rates, looks, and where an interval decides."""

from __future__ import annotations

import numpy as np
import pytest
from tests.retraining.gate.losses import INSTANTS, ROWS, losses

from batchlearn.errors import DataError, UsageError
from batchlearn.evaluation.metrics import Array
from batchlearn.evaluation.paired import Difference
from batchlearn.retraining import verdict as verdicts
from batchlearn.retraining.gate import Gate, Verdict, judge, judge_interim, judge_without_champion


def in_four_calls(champion: Array, challenger: Array, weight: Array | None = None, alpha: float = 0.05) -> Verdict:
    state, weights = None, np.ones(ROWS) if weight is None else weight
    for part in np.split(np.arange(ROWS), 4):
        rows = (champion[part], challenger[part], weights[part], INSTANTS[part])
        found = judge_interim(Gate("anytime", alpha), *rows, state=state)
        state = found.state
    return found


def test_without_a_champion_too_looking_every_day_keeps_the_rate() -> None:
    gate, rng, promoted = Gate("anytime"), np.random.default_rng(3), 0
    for _ in range(60):
        state = None
        for day in range(12):
            constant = rng.exponential(0.5, 200)
            time = np.arange(200.0) + 200 * day
            found = judge_without_champion(
                gate, "it is gone", constant, constant + rng.normal(0.0, 0.2, 200), time=time, state=state
            )
            state = found.state
            promoted += found.verdict == "promote"
    assert promoted <= 6, "3 of 60 may be; one test a day promotes 12"
    assert found.mode == "anytime"


def test_looks_against_a_constant_are_no_looks_against_a_champion() -> None:
    gate, (champion, challenger) = Gate("anytime"), losses(-0.02)
    found = judge_without_champion(gate, "it is gone", champion[:100], challenger[:100], time=INSTANTS[:100])
    assert found.state is not None
    assert (found.state["against"], found.state["until"]) == ("constant prediction", 99.0)
    next_look = judge(gate, champion[100:200], challenger[100:200], time=INSTANTS[100:200], state=found.state)
    assert next_look.state is not None
    assert (len(next_look.state["looks"]), next_look.state["against"]) == (1, "champion")
    with pytest.raises(DataError, match="no later than those of the last look"):
        judge(gate, champion[:50], challenger[:50], time=INSTANTS[:50], state=found.state)


def test_looks_of_one_call_take_one_of_each_for_every_row() -> None:
    champion, challenger = losses(-0.02)
    for weight, time in ((np.ones(3), None), (None, np.arange(5.0))):
        with pytest.raises(DataError, match="compares row by row"):
            judge_interim(Gate("anytime"), champion, challenger, weight, time)
    with pytest.raises(UsageError, match="only one of mode anytime may look several times"):
        judge_interim(Gate(), champion, challenger)


def test_a_difference_of_next_to_nothing_says_no_number_of_rows() -> None:
    found = judge(Gate(), *losses(-1e-12))
    assert found.verdict == "not enough evidence"
    assert "rows would show it" not in found.sentence


def test_a_margin_is_of_each_row_and_no_certain_number() -> None:
    champion, _ = losses(0.0)
    found = judge(Gate("non-inferiority", margin=0.01), champion, 1.01 * champion)
    # Of every row the challenger is worse by just the margin: nothing varies, and the interval is a point.
    assert found.low == pytest.approx(found.difference, rel=1e-9)
    assert found.high == pytest.approx(0.01 * champion.mean(), rel=1e-9)
    few = judge(Gate("non-inferiority", margin=0.01), champion[:60], 1.01 * champion[:60])
    assert few.low is None
    assert few.difference == pytest.approx(0.01 * champion[:60].mean(), rel=1e-9)


def test_models_that_differ_by_little_are_two_models() -> None:
    champion, _ = losses(0.0)
    assert judge(Gate(), champion, (1.0 - 1e-4) * champion).verdict == "promote"
    assert "on all 4,000 rows" in judge(Gate(), champion, (1.0 - 1e-10) * champion).sentence


def test_rows_without_weight_count_for_no_class() -> None:
    champion, challenger = losses(-0.02)
    label = (INSTANTS < 100).astype(float)
    assert judge(Gate(), champion, challenger, label=label).verdict == "promote"
    weight = 1.0 - label
    assert "of one class" in judge(Gate(), champion, challenger, weight, label=label).sentence


def test_weights_are_in_every_mean() -> None:
    rng = np.random.default_rng(5)
    champion, weight = rng.uniform(0.4, 0.6, ROWS), np.where(INSTANTS % 2, 9.0, 1.0)
    challenger = champion + np.where(INSTANTS % 2, -0.02, 0.1)  # better by weight, worse by rows
    level, apart = np.average(champion, weights=weight), np.average(challenger - champion, weights=weight)
    for found in (judge(Gate(), champion, challenger, weight), in_four_calls(champion, challenger, weight)):
        assert found.verdict == "promote"
        assert found.difference == pytest.approx(apart, rel=0.05)
    assert f"the champion's {level:.5g}" in judge(Gate(), champion, challenger, weight).sentence
    state = judge(Gate("anytime"), champion[:20], challenger[:20], weight[:20]).state
    assert state is not None
    (look,) = state["looks"]
    assert look["champion"] == pytest.approx(np.average(champion[:20], weights=weight[:20]), rel=1e-12)


def test_twenty_rows_are_a_look_and_fifteen_looks_are_enough() -> None:
    champion, challenger = losses(-0.5, noise=0.01)
    state, found = None, None
    for number in range(15):
        rows = slice(20 * number, 20 * (number + 1))
        found = judge(Gate("anytime"), champion[rows], challenger[rows], time=INSTANTS[rows], state=state)
        state = found.state
    assert found is not None
    assert "are needed" not in found.sentence


def test_a_call_looks_no_further_once_it_is_decided() -> None:
    found = in_four_calls(*losses(-0.5, noise=0.01))
    assert found.verdict == "promote"
    assert found.state is not None
    assert len(found.state["looks"]) == 15
    assert found.rows == ROWS * 15 // 16


def test_looks_that_cannot_be_averaged_keep_what_was_seen() -> None:
    champion, challenger = losses(-0.02)
    first = judge(Gate("anytime"), champion[:100], challenger[:100], time=INSTANTS[:100])
    broken = challenger[100:200].copy()
    broken[3] = np.inf
    found = judge(Gate("anytime"), champion[100:200], broken, time=INSTANTS[100:200], state=first.state)
    assert (found.verdict, found.state) == ("reject", first.state)


def test_the_rate_is_the_one_of_the_settings() -> None:
    champion, challenger = losses(-0.02)
    widths = []
    for alpha in (0.05, 0.2, 0.5):
        found = in_four_calls(champion, challenger, alpha=alpha)
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
    assert widths[0] > widths[1] > widths[2]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.2, -0.1, "promote"),
        (-0.2, 0.0, "not enough evidence"),
        (-0.1, 0.1, "not enough evidence"),
        (0.0, 0.1, "reject"),
    ],
)
def test_an_interval_decides_by_its_side_of_zero(low: float, high: float, verdict: str) -> None:
    assert verdicts.conclude(Gate(), 100, 1.0, Difference(0.5 * (low + high), low, high)).verdict == verdict


def test_how_many_rows_would_show_it_grows_with_the_square_of_the_width() -> None:
    said = verdicts.conclude(Gate(), 1_000, 1.0, Difference(-0.01, -0.03, 0.01)).sentence
    assert "If it stays so, about 4,000 rows would show it." in said
