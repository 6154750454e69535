from __future__ import annotations

import math

import pytest
from tests.comparison.made import outcome_of, run_of


def test_the_typical_run_is_the_one_in_the_middle() -> None:
    runs = [run_of("mini-batch 32", (1.0, 1.0, value), seed=k) for k, value in enumerate((0.7, 0.52, 0.6))]
    outcome = outcome_of(*runs)
    assert outcome.typical.seed == 2
    assert outcome.spread == pytest.approx((0.02, 0.2))
    assert outcome_of(*runs[:2]).typical.seed == 0  # the worse of two


def test_the_record_bounds_the_excess_by_the_certificate() -> None:
    found = outcome_of(run_of("online", (1.0, 2.0, 0.6)), bound=0.25).to_json()
    assert found["excess_loss"] == found["excess_low"] == pytest.approx(0.1)
    assert found["excess_high"] == pytest.approx(0.35)
    assert found["regime"] == "1"
    assert (found["passes"], found["seconds"], found["rows_read"], found["bytes_read"]) == (1.0, 2.0, 100, 800)
    assert found["spread_over_seeds"] == {"low": pytest.approx(0.1), "high": pytest.approx(0.1), "seeds": 1}


def test_without_a_certificate_there_is_no_upper_end() -> None:
    found = outcome_of(run_of("online", (1.0, 2.0, 0.6)), bound=None).to_json()
    assert found["excess_low"] == pytest.approx(0.1)
    assert found["excess_high"] is None


def test_an_excess_is_never_negative() -> None:
    found = outcome_of(run_of("full batch", (1.0, 2.0, 0.5 - 1e-17))).to_json()
    assert found["excess_loss"] == 0.0


def test_what_was_spent_until_good_enough_counts_from_where_it_stayed_there() -> None:
    bouncing = run_of("online", (1.0, 1.0, 0.55), (2.0, 2.0, 0.7), (3.0, 3.0, 0.58), (4.0, 4.0, 0.51))
    assert outcome_of(bouncing).spent_until(0.1) == (3.0, 3.0)
    assert outcome_of(bouncing).spent_until(0.001) is None
    late = run_of("online", (1.0, 1.0, 0.9), (5.0, 5.0, 0.55), seed=1)
    assert outcome_of(bouncing, late).spent_until(0.1) == (4.0, 4.0)
    never = run_of("online", (1.0, 1.0, 0.9), seed=2)
    assert outcome_of(bouncing, late, never).spent_until(0.1) is None


@pytest.mark.parametrize(
    ("value", "diverged"), [(0.9, False), (1.04, False), (1.1, True), (math.inf, True), (math.nan, True)]
)
def test_a_run_that_ends_above_its_start_has_diverged(value: float, diverged: bool) -> None:
    good = run_of("online", (1.0, 1.0, 0.6))
    assert outcome_of(good, run_of("online", (1.0, 1.0, value), seed=1)).diverged is diverged


@pytest.mark.parametrize(
    ("looks", "diverged"),
    [((1.9, 1.3), False), ((9.0, 5.0), False), ((1.3, 1.9), True), ((math.inf, 1.3), True), ((700.0, 300.0), True)],
)
def test_a_run_that_was_cut_off_on_its_way_down_has_not_diverged(looks: tuple[float, float], diverged: bool) -> None:
    good = run_of("online", (1.0, 1.0, 0.6))
    cut = run_of("online", *((at, at, value) for at, value in zip((1.0, 2.0), looks, strict=True)), seed=1)
    assert outcome_of(good, cut).diverged is diverged


@pytest.mark.parametrize(("value", "better"), [(0.9, True), (1.1, False)])
def test_rows_as_stored_may_mislead_without_divergence(value: float, better: bool) -> None:
    outcome = outcome_of(run_of("online", (1.0, 1.0, 0.6)), stored=run_of("online", (1.0, 1.0, value)))
    assert not outcome.diverged
    assert outcome.to_json()["stored_order"]["better_than_start"] is better
    overflowed = outcome_of(run_of("online", (1.0, 1.0, 0.6)), stored=run_of("online", (1.0, 1.0, math.inf)))
    assert overflowed.diverged
