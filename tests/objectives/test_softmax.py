"""The softmax loss against SciPy, finite differences and its own claims; and two classes against the logistic loss."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp

from batchlearn.errors import DataError, NoFiniteOptimum
from batchlearn.kernels.design import Floats
from batchlearn.models.links import class_contrasts, class_logits, class_probabilities, class_variances
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.losses.softmax import SoftmaxLoss

RNG = np.random.default_rng(0)


def sample(classes: int, scale: float = 3.0) -> tuple[Floats, Floats]:
    eta = RNG.normal(size=(classes - 1, 40)) * scale
    return eta, RNG.integers(0, classes, 40).astype(np.float64)


@pytest.mark.parametrize("classes", [2, 3, 7, 26])
def test_contrasts_are_orthonormal_and_sum_to_zero(classes: int) -> None:
    matrix = class_contrasts(classes)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(classes - 1), atol=1e-15)
    np.testing.assert_allclose(matrix.sum(axis=1), 0.0, atol=1e-14)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_value_is_the_negative_log_of_the_own_probability(classes: int) -> None:
    eta, label = sample(classes)
    expected = -log_softmax(class_logits(eta), axis=0)[label.astype(int), np.arange(40)]
    np.testing.assert_allclose(SoftmaxLoss(classes).value(eta, label), expected, rtol=1e-13, atol=1e-15)


def test_a_class_that_is_all_but_certain_keeps_the_digits_of_its_loss() -> None:
    logits = np.array([[60.0], [0.0], [-5.0]])
    eta = class_contrasts(3) @ (logits - logits.mean())
    exact = np.exp(-60.0) + np.exp(-65.0)
    assert SoftmaxLoss(3).value(eta, np.zeros(1))[0] == pytest.approx(exact, rel=1e-12)
    assert np.isfinite(SoftmaxLoss(3).value(20.0 * eta, np.full(1, 2.0))[0])


@pytest.mark.parametrize("classes", [3, 5])
def test_slope_and_curvature_are_the_derivatives(classes: int) -> None:
    eta, label = sample(classes, 1.0)
    loss, step = SoftmaxLoss(classes), 1e-6
    slope = loss.slope(eta, label)
    hessian = np.einsum("ap,bp,pm->abm", loss.contrasts, loss.contrasts, np.stack(list(loss.curvatures(eta, label))))
    for output in range(classes - 1):
        moved = np.zeros_like(eta)
        moved[output] = step
        rise = (loss.value(eta + moved, label) - loss.value(eta - moved, label)) / (2.0 * step)
        np.testing.assert_allclose(slope[output], rise, atol=1e-8)
        bend = (loss.slope(eta + moved, label) - loss.slope(eta - moved, label)) / (2.0 * step)
        np.testing.assert_allclose(hessian[output], bend, atol=1e-8)


def test_no_direction_of_unit_reach_has_less_than_the_least_curvature() -> None:
    eta, label = sample(5)
    loss = SoftmaxLoss(5)
    least, hessian = loss.least_curvature(eta, label), np.stack(list(loss.curvatures(eta, label)))
    for _ in range(200):
        direction = RNG.normal(size=4)
        reach = loss.reach(np.repeat(direction[:, None], 40, axis=1))
        bent = ((loss.contrasts.T @ direction) ** 2) @ hessian
        assert np.all(bent >= least * reach**2 * (1.0 - 1e-12))


def test_slopes_change_by_no_more_than_is_said() -> None:
    eta, label = sample(4)
    loss = SoftmaxLoss(4)
    for size in (1e-6, 0.1, 2.0):
        change = RNG.normal(size=eta.shape) * size
        moved = np.abs(loss.slope(eta + change, label) - loss.slope(eta, label))
        assert np.all(moved <= loss.slope_change(eta, label, loss.reach(change)) * (1.0 + 1e-9) + 1e-15)
        assert np.all(loss.reach(change) <= loss.largest_reach(np.abs(change)) * (1.0 + 1e-12))


def test_two_classes_are_the_logistic_loss() -> None:
    eta, label = sample(2)
    logistic = LOSSES["logistic"]
    odds = np.sqrt(2.0) * eta
    np.testing.assert_allclose(SoftmaxLoss(2).value(eta, label), logistic.value(odds[0], label), rtol=1e-13)
    np.testing.assert_allclose(SoftmaxLoss(2).slope(eta, label)[0], np.sqrt(2.0) * logistic.slope(odds[0], label))


def test_variances_do_not_cancel_near_one() -> None:
    share = class_probabilities(class_contrasts(3) @ np.array([[50.0], [0.0], [-3.0]]))
    assert class_variances(share)[0, 0] == pytest.approx(np.exp(-50.0) + np.exp(-53.0), rel=1e-12)


def test_the_null_intercept_gives_the_shares_and_needs_every_class() -> None:
    share = np.array([0.2, 0.5, 0.3])
    eta = SoftmaxLoss(3).null_intercept(share)
    np.testing.assert_allclose(class_probabilities(eta[:, None])[:, 0], share, rtol=1e-14)
    assert logsumexp(class_logits(eta[:, None])[:, 0]) < np.inf
    with pytest.raises(NoFiniteOptimum, match="1 of 3 classes"):
        SoftmaxLoss(3).null_intercept(np.array([0.5, 0.0, 0.5]))


def test_labels_must_be_numbers_of_classes() -> None:
    SoftmaxLoss(3).check_labels(np.array([0.0, 2.0]))
    for wrong in (3.0, -1.0, 0.5):
        with pytest.raises(DataError, match="whole numbers from 0 to 2"):
            SoftmaxLoss(3).check_labels(np.array([wrong]))
