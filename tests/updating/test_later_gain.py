"""What rows to come gain: against refits without days, and against what fresh days really gain."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.updating.made import Made, design, drawn, drawn_codes, fitted, joined, kept_of, labelled, one_chunk, some

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.errors import UsageError
from batchlearn.kernels.design import Floats, Layout
from batchlearn.objectives.losses import LOSSES
from batchlearn.retraining.bracket import Change, bracket
from batchlearn.updating.sufficient_statistics import SufficientStatistics

_LAYOUT = Layout(True, 4, (6,))


class Turn(NamedTuple):
    problem: Made
    kept: SufficientStatistics
    old: MemoryRows
    new: MemoryRows
    days: NDArray[np.int64]


def days_of(rng: np.random.Generator, problem: Made, days: NDArray[np.int64], shocks: float) -> MemoryRows:
    """Draw a row for each entry of `days`; rows of a day share what moves their coefficients."""
    moved = problem.truth + shocks * rng.normal(size=(days.max() + 1, problem.layout.size))[days]
    codes = drawn_codes(rng, problem.layout, len(days))
    rows = one_chunk(problem.layout, rng.normal(size=(problem.layout.dense, len(days))), codes, np.zeros(len(days)))
    return labelled(rows, drawn(rng, problem.loss, np.einsum("ij,ij->i", design(rows), moved)))


def made_turn(seed: int, count: int = 12, shocks: float = 0.4, loss: str = "logistic") -> Turn:
    """A version of 40 days, and some new days of the same world in another order than they came."""
    rng = np.random.default_rng(seed)
    problem = Made(loss, _LAYOUT, 0.4 * rng.normal(size=_LAYOUT.size), 1.0, weighted=False)
    old = days_of(rng, problem, np.repeat(np.arange(40), 50), shocks)
    days = rng.permutation(np.repeat(np.arange(count), 40))
    return Turn(problem, kept_of(problem, old), old, days_of(rng, problem, days, shocks), days)


def dates(days: NDArray[np.int64]) -> NDArray[np.datetime64]:
    return days.astype("datetime64[D]")


def losses(rows: MemoryRows, loss: str, parameters: Floats) -> Floats:
    return np.asarray(LOSSES[loss].value(design(rows) @ parameters, rows.chunks[0].label))


@pytest.mark.parametrize("loss", ["logistic", "poisson", "squared"])
def test_it_is_what_refits_without_days_give(loss: str) -> None:
    """Each day by the fit without it, and what one day adds to another by the fit without both."""
    one = made_turn(3, count=9, shocks=0.2, loss=loss)
    found = bracket(one.kept, Change(one.new, times=dates(one.days)), one.problem.penalty).bracket.later_gain
    assert found is not None
    objective = one.problem.objective(float(len(one.old) + len(one.new)))  # its mean is of all rows, so in total alike

    def without(*gone: int) -> Floats:
        both = joined(one.old, some(one.new, ~np.isin(one.days, gone)))
        total = replace(objective, penalty=one.problem.objective(float(len(both))).penalty)
        return fitted(total, both)

    alone = {day: without(day) for day in range(9)}
    gain, taught = 0.0, np.zeros(9)
    for day in range(9):
        rows = some(one.new, one.days == day)
        gain += float(np.sum(losses(rows, loss, one.kept.parameters) - losses(rows, loss, alone[day])))
    for pair in combinations(range(9), 2):
        parameters = without(*pair)
        for day in pair:
            rows = some(one.new, one.days == day)
            taught[day] += float(np.sum(losses(rows, loss, parameters) - losses(rows, loss, alone[day])))
    exact = (gain + taught.sum() / 8.0) / len(one.new)
    assert found.low is not None
    assert found.high is not None
    # Refits are not one Newton step: a few hundredths of what the interval is long.
    assert abs(found.value - exact) < 0.05 * (found.high - found.low)
    assert (found.clusters, found.cluster) == (9, "day")


def test_the_interval_holds_what_fresh_days_gain_where_days_differ() -> None:
    held = alone = 0
    for seed in range(24):
        one = made_turn(seed)
        fresh = days_of(np.random.default_rng((seed, 1)), one.problem, np.repeat(np.arange(600), 20), 0.4)
        both = joined(one.old, one.new)
        trained = fitted(one.problem.objective(both.total_weight), both)
        gained = float(np.mean(losses(fresh, "logistic", one.kept.parameters) - losses(fresh, "logistic", trained)))
        for days in (dates(one.days), None):
            said = bracket(one.kept, Change(one.new, times=days), one.problem.penalty).bracket.later_gain
            assert said is not None
            assert said.low is not None
            assert said.high is not None
            holds = said.low <= gained <= said.high
            held, alone = (held + holds, alone) if days is not None else (held, alone + holds)
    # Of 24 turns 23 are expected; taken as independent, rows say that they know more than they do.
    assert held >= 21
    assert alone < held


def test_the_sign_is_right_where_no_upper_bound_is_proved() -> None:
    """A world that moved far: the matrix below the Hessian gives leverages that are much too large."""
    rng = np.random.default_rng(5)
    problem = Made("logistic", Layout(True, 24), np.zeros(25), 1.0, weighted=False)
    moved = replace(problem, truth=np.r_[1.5, 0.4 * rng.normal(size=24)])
    new, later = moved.rows(rng, 200), moved.rows(rng, 40_000)
    old = problem.rows(rng, 600)
    found = bracket(kept_of(problem, old), Change(new), problem.penalty)
    assert not found.bracket.upper_is_proved
    both = joined(old, new)
    trained = fitted(problem.objective(both.total_weight), both)
    before, after = (losses(later, "logistic", one) for one in (found.update.kept.parameters, trained))
    said = found.bracket.later_gain
    assert said is not None
    assert said.low is not None
    assert said.high is not None
    assert said.low <= float(np.mean(before - after)) <= said.high


def test_fewer_than_eight_days_are_an_estimate_without_interval() -> None:
    for count, said in ((1, "over 1 day"), (7, "over 7 days")):
        one = made_turn(0, count=count)
        found = bracket(one.kept, Change(one.new, times=dates(one.days)), one.problem.penalty).bracket
        assert found.later_gain is not None
        assert (found.later_gain.low, found.later_gain.high) == (None, None)
        record = json.loads(json.dumps(found.to_json()))["later_gain"]
        assert record == {
            "value": found.later_gain.value,
            "low": None,
            "high": None,
            "clusters": count,
            "cluster": "day",
        }
        assert f"an estimate {said} without interval, which takes 8 or more of like size." in str(found)
    one = made_turn(0, count=8)
    found = bracket(one.kept, Change(one.new, times=dates(one.days)), one.problem.penalty).bracket
    assert found.later_gain is not None
    assert found.later_gain.low is not None
    assert "over 8 days)." in str(found)


@pytest.mark.parametrize("count", [9, 30])
def test_where_one_day_has_nearly_all_rows_there_is_no_interval(count: int) -> None:
    one = made_turn(0)
    days = np.minimum(np.arange(len(one.days)), count - 1)
    found = bracket(one.kept, Change(one.new, times=dates(days)), one.problem.penalty).bracket.later_gain
    assert found is not None
    assert (found.low, found.high, found.clusters) == (None, None, count)


def test_days_are_one_a_row() -> None:
    one = made_turn(0)
    with pytest.raises(UsageError, match="3 times for 480 rows"):
        Change(one.new, times=one.days[:3])


def test_many_days_are_left_out_some_at_a_time() -> None:
    one = made_turn(0, count=12)
    minutes = np.argsort(np.argsort(one.days, kind="stable"))
    found = bracket(one.kept, Change(one.new, times=minutes), one.problem.penalty).bracket.later_gain
    assert found is not None
    assert (found.clusters, found.cluster) == (480, "time")
    # 20 parts of 24 neighbours say what 12 days do, if not with their error.
    by_day = bracket(one.kept, Change(one.new, times=dates(one.days)), one.problem.penalty).bracket.later_gain
    assert by_day is not None
    assert by_day.low is not None
    assert by_day.high is not None
    assert by_day.low < found.value < by_day.high
