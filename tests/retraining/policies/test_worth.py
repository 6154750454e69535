from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.retraining.policies.arrivals import Arrivals, bracket_with, losses_of

from batchlearn.errors import UsageError
from batchlearn.formatting.notes import Code
from batchlearn.retraining.policies import Losses, Policy
from batchlearn.retraining.policies.worth import Forecast, WhenGainExceeds, staleness
from batchlearn.updating.later_gain import LaterGain

ROWS, GAP = 6_000, 1_000


def versions(growth: float, count: int, noise: float = 0.3, seed: int = 0) -> tuple[Losses, ...]:
    """Versions trained every 1,000 rows; each row's loss grows by so much for each row since its training."""
    rng = np.random.default_rng(seed)
    world = 0.5 + 0.2 * np.sin(np.arange(ROWS) / 400.0) + noise * rng.gamma(1.0, size=ROWS)
    age = np.arange(1.0, ROWS + 1.0)
    made = [losses_of(world + growth * (age - k * GAP) + 0.05 * rng.normal(size=ROWS), k * GAP) for k in range(count)]
    return tuple(made)


@pytest.mark.parametrize("growth", [0.0, 2e-5, 1e-4])
def test_how_fast_versions_grow_stale_is_found(growth: float) -> None:
    found = staleness(versions(growth, 5))
    assert found.pairs == 4
    assert abs(found.mean - growth) < 3.0 * found.error + 1e-7
    assert found.error < 3e-6


def test_before_versions_tell_a_trial_is_worth_a_share_of_the_loss() -> None:
    (one,) = versions(1e-4, 1)
    found = staleness((one,))
    assert (found.mean, found.pairs) == (0.0, 0)
    assert found.error == pytest.approx(0.3 * np.mean(np.abs(one.loss)) / 1_000)
    assert found.error == found.prior


def test_versions_that_differ_among_each_other_are_known_less_well() -> None:
    steady, *rest = versions(1e-4, 4)
    turned = [each._replace(loss=each.loss + (k % 2) * 0.2) for k, each in enumerate(rest)]
    assert staleness((steady, *turned)).error > 3.0 * staleness((steady, *rest)).error


def test_what_it_saves_on_as_many_rows_as_have_come_is_compared_with_the_price() -> None:
    growth, price = 1e-4, 50.0
    due = list[bool]()
    for end in range(2 * GAP + 200, ROWS, 100):
        arrivals = Arrivals(tuple(cut(one, end) for one in versions(growth, 3)))
        due.append(Forecast(price).decide(arrivals.situation(new_rows=end - 2 * GAP)).retrain)
    assert due == sorted(due)  # once due it stays due
    rows = 200 + 100 * due.index(True)
    assert rows == pytest.approx(math.sqrt(price / growth), abs=200)


def cut(one: Losses, end: int) -> Losses:
    """Return what had come of the losses by a time."""
    there = one.seen <= end
    return one._replace(seen=one.seen[there], arrived=one.arrived[there], loss=one.loss[there])


@pytest.mark.parametrize("growth", [0.0, -1e-4])
def test_what_saves_nothing_is_not_bought(growth: float) -> None:
    situation = Arrivals(versions(growth, 4)).situation(new_rows=3_000)
    assert not Forecast(100.0).decide(situation).retrain
    (reason,) = Forecast(1e-9 if growth == 0.0 else 100.0).decide(situation).reasons
    assert reason.code is (Code.FORECAST_ABOVE_PRICE if growth == 0.0 else Code.FORECAST_BELOW_PRICE)


def test_a_dearer_retrain_waits_longer() -> None:
    situation = Arrivals(versions(1e-4, 3)).situation(new_rows=4_000)
    due = [Forecast(price).decide(situation).retrain for price in (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)]
    assert due == sorted(due, reverse=True)
    assert len(set(due)) == 2
    assert Forecast().decide(situation._replace(price=1.0)).retrain


def test_rows_before_the_last_training_that_did_not_go_live_do_not_count() -> None:
    situation = Arrivals(versions(1e-4, 3)).situation(new_rows=4_000)
    assert Forecast(100.0).decide(situation).retrain
    assert not Forecast(100.0).decide(situation._replace(trained=ROWS - 200.0)).retrain


def test_rows_that_came_speak_against_the_past() -> None:
    """Versions say that nothing is saved; the bracket of rows that came says that much is."""
    past = versions(0.0, 4)
    quiet, turned = (
        Arrivals(
            past, found=replace(bracket_with(), later_gain=LaterGain(value, value - 0.05, value + 0.05, 20, "time"))
        )
        for value in (0.0, 0.4)
    )
    assert not Forecast(100.0).decide(Arrivals(past).situation(new_rows=3_000)).retrain
    assert not Forecast(100.0).decide(quiet.situation(new_rows=3_000)).retrain
    assert Forecast(100.0).decide(turned.situation(new_rows=3_000)).retrain
    (reason,) = Forecast(100.0).decide(turned.situation(new_rows=3_000)).reasons
    assert reason.values["expected"] == pytest.approx(0.4 * 3_000, rel=0.15)


@pytest.mark.parametrize(("gain", "due"), [(2.9, False), (3.1, True), (None, False)])
def test_the_gain_is_compared_with_that_of_an_unchanged_world(gain: float | None, due: bool) -> None:
    decision = WhenGainExceeds(3.0).decide(Arrivals(found=bracket_with(gain)).situation())
    assert decision.retrain is due
    assert decision.reason


def test_the_gain_on_later_rows_is_compared_with_the_price() -> None:
    situation = Arrivals(found=bracket_with(later=0.02)).situation(new_rows=1_000)  # saves 20 on as many rows
    assert WhenGainExceeds(None, 19.0).decide(situation).retrain
    assert not WhenGainExceeds(None, 21.0).decide(situation).retrain
    assert WhenGainExceeds(None).decide(situation._replace(price=19.0)).retrain
    assert not WhenGainExceeds(None).decide(situation._replace(price=21.0)).retrain
    assert not WhenGainExceeds(None, 19.0).decide(situation._replace(new_rows=0)).retrain


@pytest.mark.parametrize("policy", [Forecast(), WhenGainExceeds(None)])
def test_without_a_price_it_is_refused_with_the_first_training_already(policy: Policy) -> None:
    with pytest.raises(UsageError) as refusal:
        policy.decide(Arrivals().situation()._replace(trained=None))
    assert refusal.value.code == "policy-price"


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_an_amount_is_above_0(wrong: float) -> None:
    for made in (Forecast, WhenGainExceeds):
        with pytest.raises(UsageError):
            made(wrong)
    with pytest.raises(UsageError):
        WhenGainExceeds(3.0, 5.0)
