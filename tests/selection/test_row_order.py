"""Without a time column the order of the rows decides nothing: not what is held out, and not what is chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import batchlearn as bl
from batchlearn.training.fit import Fit

ROWS = 1_200
# Coefficients of two fits of the same rows differ by rounding, and by what is left to each of them.
COEFFICIENTS = 1e-6


def made(kind: str, seed: int) -> dict[str, Any]:
    """Draw columns of two kinds that act in curves and together; some rows were entered twice."""
    rng = np.random.default_rng(seed)
    x, z, u = rng.normal(size=(3, ROWS))
    c = rng.choice(["a", "b", "c", "d"], ROWS)
    eta = np.sin(2.0 * x) + 0.7 * x * z + 0.5 * (c == "a")
    label: Any = {
        "logistic": np.where(rng.random(ROWS) < 1.0 / (1.0 + np.exp(1.0 - eta)), "yes", "no"),
        "rare": np.where(rng.random(ROWS) < 1.0 / (1.0 + np.exp(4.5 - eta)), "yes", "no"),
        "softmax": np.array(["r", "s", "t"])[np.digitize(eta + rng.logistic(size=ROWS), [-0.5, 0.8])],
        "squared": eta + rng.normal(size=ROWS),
        "huber": eta + rng.standard_t(2.0, ROWS),
        "poisson": rng.poisson(np.exp(0.5 * eta)).astype(np.float64),
        "tweedie": rng.poisson(np.exp(0.3 * eta)) * rng.gamma(1.0, 1.0, ROWS),
    }[kind]
    columns = {
        "x": x,
        "z": z,
        "u": u,
        "c": c,
        "g": rng.integers(0, 40, ROWS).astype(str),
        "w": rng.uniform(0.5, 2.0, ROWS),
        "y": label,
    }
    for values in columns.values():
        values[:20] = values[20:40]
    return columns


def trained(columns: dict[str, Any], loss: str | None, **roles: Any) -> Fit:
    return bl.train(bl.read(pa.table(columns), target="y", **roles), bl.Recipe(loss), threads=1)


@pytest.mark.parametrize(
    ("kind", "loss", "roles"),
    [
        ("logistic", None, {}),
        ("rare", None, {}),
        ("softmax", None, {}),
        ("squared", None, {"weight": "w"}),
        ("huber", "huber", {}),
        ("poisson", "poisson", {"exposure": "w"}),
        ("tweedie", "tweedie", {}),
        ("squared", None, {"group": "g"}),
    ],
)
def test_rows_in_another_order_are_judged_and_fitted_alike(kind: str, loss: str | None, roles: dict[str, str]) -> None:
    columns = made(kind, 0)
    order = np.random.default_rng(1).permutation(ROWS)
    one = trained(columns, loss, **roles)
    other = trained({name: values[order] for name, values in columns.items()}, loss, **roles)
    # Choices are made on rows in the order of their lots: they are the same to the bit.
    assert one.structure.strengths == other.structure.strengths
    assert one.structure.rules == other.structure.rules
    assert one.structure.pairs == other.structure.pairs
    assert (one.model.target.power, one.model.target.threshold) == (
        other.model.target.power,
        other.model.target.threshold,
    )
    assert one.evaluation is not None
    assert other.evaluation is not None
    # The same rows are judged, and drawn in the same order for intervals.
    for name, estimate in one.evaluation.metrics.items():
        again = other.evaluation.metrics[name]
        assert (again.value, again.low, again.high) == pytest.approx(
            (estimate.value, estimate.low, estimate.high), 1e-6
        )
    worst = [[row.values for row in fit.evaluation.worst_rows] for fit in (one, other) if fit.evaluation]
    assert worst[0] == worst[1]
    assert set(one.coefficients) == set(other.coefficients)
    largest = max(abs(value) for value in one.coefficients.values())
    for name, value in one.coefficients.items():
        assert other.coefficients[name] == pytest.approx(value, abs=COEFFICIENTS * largest)


def test_another_seed_holds_out_other_rows() -> None:
    columns = made("squared", 0)
    worst = [
        bl.train(bl.read(pa.table(columns), target="y"), bl.Recipe(seed=seed, alpha=0.01), threads=1) for seed in (0, 1)
    ]
    rows = [[row.row for row in fit.evaluation.worst_rows] for fit in worst if fit.evaluation]
    assert set(rows[0]) != set(rows[1])


def test_an_evaluation_of_a_model_does_not_depend_on_the_order_of_the_rows() -> None:
    columns = made("logistic", 0)
    model = bl.train(bl.read(pa.table(columns), target="y"), bl.Recipe(alpha=0.01), threads=1).model
    order = np.random.default_rng(2).permutation(ROWS)
    fresh = {**made("logistic", 3), "unread": np.arange(ROWS)}
    one, other = (
        bl.evaluate(model, bl.read(pa.table(rows), target="y"))
        for rows in (fresh, {name: values[order] for name, values in fresh.items()})
    )
    for name, estimate in one.metrics.items():
        again = other.metrics[name]
        assert (again.low, again.high) == pytest.approx((estimate.low, estimate.high), 1e-12)


@pytest.mark.parametrize("loss", ["squared", "poisson"])
def test_an_estimator_differs_by_no_more_than_its_bounds(loss: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 6))
    y = rng.poisson(np.exp(0.3 * X[:, 0])).astype(np.float64)
    order = rng.permutation(500)
    one, other = (bl.LinearRegressor(loss=loss, alpha=1e-3).fit(X[rows], y[rows]) for rows in (np.arange(500), order))
    first, second = (fit.certificate_.coefficient_bound for fit in (one, other))
    assert first is not None
    assert second is not None
    assert np.abs(one.coef_ - other.coef_).max() <= first + second < 1e-6
