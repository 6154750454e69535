"""The contract every loss keeps, checked against 60-digit arithmetic."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from mpmath import mp
from tests.objectives.oracle import Oracle, power_of

from batchlearn.errors import DataError, NoFiniteOptimum
from batchlearn.kernels.design import Floats
from batchlearn.models.links import INVERSE_LINKS, response_change
from batchlearn.objectives.losses import LOSSES, Loss
from batchlearn.objectives.losses.log_link import TweedieLoss

ETAS = np.array([-800.0, -60.0, -37.0, -5.0, -1.0, -1e-9, 0.0, 1e-3, 0.7, 3.0, 20.0, 37.0, 60.0, 500.0])
LABELS = {
    "squared": (-1e6, 0.0, 0.3),
    "logistic": (0.0, 1.0),
    "poisson": (0.0, 0.5, 1.0, 7.0, 1e9),
    "gamma": (1e-6, 0.5, 1.0, 7.0, 1e9),
    "tweedie": (0.0, 1e-6, 0.5, 1.0, 7.0, 1e9),
}
ALL = [*LOSSES.values(), TweedieLoss(1.02), TweedieLoss(1.98)]
CASES = [(loss, label) for loss in ALL for label in LABELS[loss.name]]


def name_of(loss: Loss) -> str:
    return f"{loss.name} {getattr(loss, 'power', '')}".strip()


def oracle_of(loss: Loss) -> Oracle:
    return Oracle(loss.name, [], [], [], [], [], power_of(loss))


def etas(loss: Loss) -> Floats:
    """Predictors at which nothing overflows: amounts are divided by the mean."""
    return ETAS[1:] if loss.name in ("gamma", "tweedie") else ETAS


@pytest.fixture(params=CASES, ids=lambda case: f"{name_of(case[0])}-{case[1]:g}")
def case(request: pytest.FixtureRequest) -> tuple[Loss, float, Oracle]:
    loss, label = request.param
    return loss, label, oracle_of(loss)


def slope_of(oracle: Oracle, eta: Any, label: float) -> Any:
    with mp.workdps(500):  # a response of 1 - 1e-217 less a label of 1
        return oracle.slope_of(eta, mp.mpf(label))


def full(loss: Loss, label: float) -> Floats:
    return np.full(len(etas(loss)), label)


def test_the_value_is_the_textbooks_and_not_negative(case: tuple[Loss, float, Oracle]) -> None:
    loss, label, oracle = case
    for eta, value in zip(etas(loss), loss.value(etas(loss), full(loss, label)), strict=True):
        with mp.workdps(500):  # the textbook's terms cancel where the mean is the label
            truth = oracle.loss_of(mp.mpf(eta), mp.mpf(label))
        assert value >= 0.0
        # What the rounding of eta - log(y) leaves is the slope times that distance.
        distance = abs(mp.mpf(eta)) + (abs(mp.log(mp.mpf(label))) if label > 0 else 0) + 1
        room = mp.mpf(4e-16) * (truth + abs(slope_of(oracle, mp.mpf(eta), label)) * distance)
        assert abs(value - truth) <= room + mp.mpf(1e-300)


def test_the_slope_is_within_its_own_bound(case: tuple[Loss, float, Oracle]) -> None:
    loss, label, oracle = case
    at, labels = etas(loss), full(loss, label)
    magnitudes = loss.slope_magnitude(at, labels)
    for eta, slope, magnitude in zip(at, loss.slope(at, labels), magnitudes, strict=True):
        truth = slope_of(oracle, mp.mpf(eta), label)
        assert abs(slope - truth) <= 7 * mp.mpf(2) ** -53 * mp.mpf(magnitude) + mp.mpf(1e-300)


def test_the_slope_is_the_derivative_of_the_value(case: tuple[Loss, float, Oracle]) -> None:
    loss, label, oracle = case
    for eta in (-3.0, -0.1, 0.4, 2.0):
        derivative = mp.diff(lambda t: oracle.loss_of(t, mp.mpf(label)), mp.mpf(eta))
        assert float(loss.slope(np.array([eta]), np.array([label]))[0]) == pytest.approx(float(derivative), rel=1e-14)


def test_the_curvature_is_the_derivative_of_the_slope(case: tuple[Loss, float, Oracle]) -> None:
    loss, label, oracle = case
    for eta, curvature in zip(etas(loss), loss.least_curvature(etas(loss), full(loss, label)), strict=True):
        derivative = mp.diff(lambda t: slope_of(oracle, t, label), mp.mpf(eta))
        if derivative > mp.mpf(1e-300):
            # A power's exponents are rounded once themselves; `RoundingTotal` has room for it in every row.
            assert abs(curvature / derivative - 1) <= 1e-15 * (1.0 + abs(eta) * (loss.name == "tweedie"))
        assert curvature >= 0.0


def test_the_loss_is_convex_along_the_line(case: tuple[Loss, float, Oracle]) -> None:
    loss, label, _ = case
    eta = np.linspace(-30.0, 30.0, 601)
    value = loss.value(eta, np.full(601, label))
    second = value[2:] - 2.0 * value[1:-1] + value[:-2]
    assert np.all(second >= -1e-13 * (1.0 + value[:-2] + value[2:]))


@pytest.mark.parametrize("loss", [*ALL, *(TweedieLoss(1.0 + 0.05 * k) for k in range(1, 20))], ids=name_of)
def test_the_third_derivative_is_within_the_constant_times_the_second(loss: Loss) -> None:
    oracle = oracle_of(loss)
    ratios = []
    for label in LABELS[loss.name]:
        for eta in np.linspace(-40.0, 40.0, 81) + 0.01:
            curvature = partial(oracle.curvature_of, y=mp.mpf(label))
            ratios.append(float(abs(mp.diff(curvature, mp.mpf(eta))) / curvature(mp.mpf(eta))))
    assert max(ratios) <= loss.self_concordance * (1.0 + 1e-12) + 1e-30
    # The constant is not idle: for powers in between 1 and 2 the smallest is max(p - 1, 2 - p).
    power = getattr(loss, "power", None)
    least = loss.self_concordance if power is None else max(power - 1.0, 2.0 - power)
    assert least == 0.0 or least * (1.0 + 1e-12) >= max(ratios) > 0.99 * least


def test_a_curvature_that_depends_on_the_label_has_the_expected_one_as_its_mean() -> None:
    eta = np.array([-1.0, 0.3, 2.0])
    for loss in ALL:
        # The curvature is linear in the label, so its mean is the curvature at the mean label.
        mean = INVERSE_LINKS[loss.name](eta)
        assert loss.least_curvature(eta, mean) == pytest.approx(loss.expected_curvature(eta), rel=1e-14)


def test_no_amount_is_nothing_however_steep_the_exponential_beside_it() -> None:
    loss, eta, none = TweedieLoss(1.98), np.array([-800.0]), np.zeros(1)
    for value in (loss.value(eta, none), loss.slope(eta, none), loss.least_curvature(eta, none)):
        assert np.all(np.isfinite(value))


@pytest.mark.parametrize(
    ("name", "mean"), [("squared", -2.5), ("logistic", 0.03), ("poisson", 7.25), ("gamma", 0.02), ("tweedie", 1e3)]
)
def test_the_null_intercept_predicts_the_mean(name: str, mean: float) -> None:
    eta = LOSSES[name].null_intercept(np.array([mean]))
    assert INVERSE_LINKS[name](eta)[0] == pytest.approx(mean, rel=1e-14)


@pytest.mark.parametrize(("name", "mean"), [("logistic", 0.0), ("logistic", 1.0), ("poisson", 0.0), ("tweedie", 0.0)])
def test_no_finite_intercept_predicts_an_end(name: str, mean: float) -> None:
    with pytest.raises(NoFiniteOptimum, match="intercept is"):
        LOSSES[name].null_intercept(np.array([mean]))


def test_labels_that_have_no_meaning_are_refused_with_the_label() -> None:
    with pytest.raises(DataError, match=r"-3"):
        LOSSES["poisson"].check_labels(np.array([1.0, -3.0]))
    with pytest.raises(DataError, match=r"2\.0"):
        LOSSES["logistic"].check_labels(np.array([1.0, 0.0, 2.0]))
    with pytest.raises(DataError, match=r"-0\.5"):
        LOSSES["tweedie"].check_labels(np.array([1.0, -0.5]))
    with pytest.raises(DataError, match=r"'0\.0'.*above 0"):
        LOSSES["gamma"].check_labels(np.array([1.0, 0.0]))
    for name in set(LOSSES) - {"gamma"}:
        LOSSES[name].check_labels(np.array([0.0, 1.0]))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_response_moves_by_no_more_than_is_said(name: str) -> None:
    oracle = oracle_of(LOSSES[name])
    for eta in (-50.0, -3.0, 0.0, 2.0, 36.0, 50.0):
        for bound in (1e-12, 1e-3, 0.5, 5.0):
            said = float(response_change(name, np.array([eta]), np.array([bound]))[0])
            for t in (-bound, -0.3 * bound, bound):
                true = abs(oracle.response(mp.mpf(eta) + mp.mpf(t)) - oracle.response(mp.mpf(eta)))
                assert true <= said * (1 + mp.mpf(10) ** -14)
            if bound <= 1e-3:
                assert said <= 1.01 * float(true)
