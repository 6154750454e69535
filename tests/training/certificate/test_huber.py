"""The Huber loss: its certificate against 60-digit arithmetic, its threshold, and the fit against another minimiser."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpmath import mp
from scipy.optimize import minimize
from scipy.special import huber
from tests.objectives.oracle import Oracle, exact
from tests.training.made import made, table_of
from tests.training.trials import FAMILIES, Trial, check, dense_rows, points, random_trial

from batchlearn.data.target import Target
from batchlearn.errors import UsageError
from batchlearn.evaluation.metrics import first_score, target_metrics
from batchlearn.kernels.design import Floats
from batchlearn.models.files import load
from batchlearn.objectives.losses.huber import HuberLoss
from batchlearn.objectives.stopping import LossWithin, PredictionsWithin
from batchlearn.solvers.newton import Newton
from batchlearn.statistics.objective import Objective, ridge
from batchlearn.training import certificate as certificates
from batchlearn.training.certificate import Certificate, Units, certify
from batchlearn.training.fit import Fit
from batchlearn.training.optimise import Problem, Status, optimise
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import train
from batchlearn.training.verification.stored import verify_model

_TRIALS = 48


@dataclass(frozen=True)
class HuberOracle(Oracle):
    """The oracle of an objective with the Huber loss."""

    threshold: Any = None

    @staticmethod
    def posed(trial: Trial) -> HuberOracle:
        loss = trial.objective.loss
        assert isinstance(loss, HuberLoss)
        return HuberOracle(**vars(Oracle.of(trial.objective, trial.rows)), threshold=mp.mpf(loss.threshold))

    def response(self, eta: Any) -> Any:
        return eta

    def loss_of(self, eta: Any, y: Any) -> Any:
        size = abs(eta - y)
        return size**2 / 2 if size <= self.threshold else self.threshold * (size - self.threshold / 2)

    def slope_of(self, eta: Any, y: Any) -> Any:
        return max(-self.threshold, min(self.threshold, eta - y))

    def curvature_of(self, eta: Any, y: Any) -> Any:
        return mp.mpf(int(abs(eta - y) <= self.threshold))

    def optimum(self, start: Floats) -> list[Any]:
        """Return w* by whole Newton steps: from near enough the second one is exact. The gradient there is zero."""
        w = exact(start)
        for _ in range(60):
            step = mp.lu_solve(self.hessian(w), mp.matrix([-v for v in self.gradient(w)]))
            w = [v + s for v, s in zip(w, step, strict=True)]
            scale = 1 + max(abs(v) for v in w)
            if max(abs(v) for v in self.gradient(w)) < mp.mpf(10) ** -35 * scale * (1 + self.threshold):
                return w
        raise ArithmeticError("the oracle found no optimum")


def huber_trial(rng: np.random.Generator, family: str) -> Trial:
    """Draw a problem of numbers, and a threshold that one to seven tenths of the labels' spread lie beyond."""
    trial = random_trial(rng, family, "squared")
    label = np.concatenate([chunk.label for chunk in trial.rows.chunks])
    spread = np.abs(label - np.median(label))
    threshold = float(np.quantile(spread, rng.uniform(0.3, 0.9))) or float(spread.max()) or 1.0
    return replace(trial, loss="huber", objective=Objective(HuberLoss(threshold), trial.objective.penalty))


def judged(number: int) -> tuple[list[tuple[str, Certificate]], list[str]]:
    """Return the certificates of one problem at points of different quality, and what they claim too much."""
    rng = np.random.default_rng((17, number))
    trial = huber_trial(rng, list(FAMILIES)[number % len(FAMILIES)])
    problem = Problem(trial.objective, trial.rows, LossWithin(1e-25), trial.units, [""] * trial.rows.layout.size)
    end = optimise(problem, None, Newton()).parameters
    at = [(p, w) for p, w in points(trial, rng) if p != "end"]
    at += [("end", end), *(("disturbed", end * (1.0 + 10.0**-k * rng.normal(size=len(end)))) for k in (2, 4, 9))]
    found = [(p, w, certify(trial.objective, trial.rows, w, trial.units).certificate) for p, w in at]
    proved = [(p, w, certificate) for p, w, certificate in found if certificate.certified]
    wrong: list[str] = []
    if proved:
        oracle = HuberOracle.posed(trial)
        optimum = oracle.optimum(end)
        for point, w, certificate in proved:
            wrong += [f"{number} {point}: {one}" for one in check(trial, certificate, w, oracle, optimum).violations]
    return [(p, certificate) for p, _, certificate in found], wrong


def test_no_bound_is_below_the_truth() -> None:
    ends, certified = [], 0
    for number in range(_TRIALS):
        found, wrong = judged(number)
        assert wrong == []
        ends += [certificate.certified for point, certificate in found if point == "end"]
        certified += sum(certificate.certified for _, certificate in found)
    assert np.mean(ends) > 0.8
    assert certified > 2 * _TRIALS


def test_without_the_look_at_the_corners_a_bound_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 4.1 every row is inside; on the way to the optimum, 2, the last one leaves, and the quadratic is no guide."""
    rows = dense_rows(np.empty((4, 0)), np.array([0.0, 0.0, 0.0, 10.0]))
    objective, at = Objective(HuberLoss(6.0), ridge(rows.layout, 0.0)), np.array([4.1])
    assert not certify(objective, rows, at, Units.plain(1)).certificate.certified
    monkeypatch.setattr(HuberLoss, "distance_to_a_corner", lambda _self, eta, _label: np.full_like(eta, np.inf))
    blind = certify(objective, rows, at, Units.plain(1)).certificate
    assert blind.loss_bound is not None
    assert blind.loss_bound < objective.value(rows, at) - objective.value(rows, np.array([2.0]))


def test_a_row_on_its_corner_is_refused() -> None:
    rows = dense_rows(np.empty((4, 0)), np.array([0.0, 0.0, 0.0, 1.0]))
    trial = Objective(HuberLoss(1.0), ridge(rows.layout, 0.0))
    refused = certify(trial, rows, np.zeros(1), Units.plain(1)).certificate
    assert not refused.certified
    assert "cross the threshold" in str(refused.reason)


def test_derivatives_are_those_of_the_textbook() -> None:
    loss, eta, label = HuberLoss(1.5), np.linspace(-5.0, 5.0, 101), np.full(101, 0.3)
    assert loss.value(eta, label) == pytest.approx(huber(1.5, eta - 0.3), rel=1e-14)
    step = 1e-6
    slope = (loss.value(eta + step, label) - loss.value(eta - step, label)) / (2.0 * step)
    assert loss.slope(eta, label) == pytest.approx(slope, abs=1e-6)
    inside = np.abs(eta - 0.3) < 1.5
    assert np.array_equal(loss.curvature(eta, label), inside.astype(float))
    (score,) = (first_score(target_metrics(Target("y", "huber", threshold=1.5))),)
    assert score(label, eta, np.ones(101)) == pytest.approx(float(np.mean(huber(1.5, eta - 0.3))), rel=1e-12)


def test_too_many_coefficients_have_no_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = dense_rows(rng.normal(size=(50, 4)), rng.normal(size=50))
    monkeypatch.setattr(certificates, "FACTOR_LIMIT", 3)
    refused = certify(Objective(HuberLoss(1.0), ridge(rows.layout, 0.1)), rows, np.zeros(5)).certificate
    assert "needs a factor" in str(refused.reason)


def test_one_enormous_label_neither_pulls_the_fit_nor_ends_it_early() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(400, 2))
    label = X @ np.array([1.0, -1.0]) + rng.normal(size=400)
    found = []
    for huge in (1e3, 1e12):
        label[0] = huge
        rows = dense_rows(X, label)
        problem = Problem(
            Objective(HuberLoss(1.345), ridge(rows.layout, 1e-3)),
            rows,
            PredictionsWithin(),
            Units.plain(3),
            list("abc"),
        )
        found.append(optimise(problem))
    assert all(one.status in (Status.TOLERANCE, Status.FLOOR) for one in found)
    assert found[0].parameters == pytest.approx(found[1].parameters, abs=2e-2)
    assert found[1].parameters[1:] == pytest.approx([1.0, -1.0], abs=0.2)


# --- trained on a table ---------------------------------------------------------------------------------------------


def contaminated(seed: int = 0, size: float = 1.0) -> dict[str, Any]:
    columns = made(800, seed)
    rng = np.random.default_rng(seed + 100)
    far = rng.random(800) < 0.05
    columns["label"] = size * np.where(far, columns["label"] + 100.0, columns["label"])
    return columns


def fitted(size: float = 1.0, **settings: Any) -> Fit:
    table = table_of(contaminated(size=size), drop=["weight", "offset", "exposure"])
    return train(table, Recipe("huber", **settings), threads=1)


def test_the_fit_is_the_minimum_that_another_minimiser_finds() -> None:
    columns = contaminated()
    table = table_of(columns, drop=["weight", "offset", "exposure", "colour"])
    fit = train(table, Recipe("huber", 0.01, 1e-12, 0.0, threshold=1.3), threads=1)
    X = np.column_stack([columns["first"], columns["second"]])
    Z = (X - X.mean(axis=0)) / X.std(axis=0)

    def value(w: Floats) -> float:
        return float(np.mean(huber(1.3, w[0] + Z @ w[1:] - columns["label"])) + 0.005 * w[1:] @ w[1:])

    other = minimize(value, np.zeros(3), method="BFGS", options={"gtol": 1e-9})
    assert fit.certificate.certified
    assert fit.objective == pytest.approx(other.fun, rel=1e-9)
    assert fit.objective <= other.fun + 1e-12
    assert fit.model.parameters == pytest.approx(other.x, abs=1e-4)


def test_the_threshold_follows_the_residuals_and_their_unit() -> None:
    fits = {size: fitted(size) for size in (1.0, 1e6)}
    for size, fit in fits.items():
        assert fit.certificate.certified
        assert fit.model.target.threshold == pytest.approx(1.345 * size, rel=0.12)
        assert any("Huber threshold" in note for note in map(str, fit.notes))
    again = fitted(threshold=fits[1.0].model.target.threshold)
    assert np.array_equal(again.model.parameters, fits[1.0].model.parameters)


def test_few_wild_labels_hardly_move_it() -> None:
    """Standard errors are near those without the wild labels, least squares' are many times as large."""
    robust, usual = (
        fitted(alpha=1e-3),
        train(table_of(contaminated(), drop=["weight", "offset", "exposure"]), Recipe("squared", 1e-3), threads=1),
    )
    assert robust.standard_errors["first"] < 0.2 * usual.standard_errors["first"]
    assert abs(robust.coefficients["first"] - 0.3) < 4.0 * robust.standard_errors["first"]
    assert robust.dispersion == pytest.approx(1.0, rel=0.5)


def test_it_is_saved_loaded_verified_and_evaluated(tmp_path: Path) -> None:
    fit = fitted()
    path = fit.save(tmp_path / "model")
    assert load(path).target == fit.model.target
    assert verify_model(path, table_of(contaminated()), threads=1).holds
    assert fit.evaluation is not None
    assert set(fit.evaluation.metrics) == {"huber_loss", "mae", "rmse"}
    assert fit.evaluation.leave_one_out is not None


@pytest.mark.parametrize("settings", [{"threshold": 0.0}, {"threshold": float("nan")}, {"threshold": float("inf")}])
def test_a_threshold_is_a_size(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="threshold is for the Huber loss") as refused:
        Recipe("huber", **settings)
    assert refused.value.code == "threshold-range"
    with pytest.raises(UsageError):
        Recipe("squared", threshold=1.0)


def test_quantiles_are_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match="no certificate is known"):
        Recipe("quantile")


@pytest.mark.parametrize("alpha", [None, 0.0])
@pytest.mark.parametrize("threshold", [1e-1, 1e-4])
@pytest.mark.parametrize("unit", [1.0, 1e4])
def test_with_every_row_outside_the_threshold_the_slopes_are_found_all_the_same(
    alpha: float | None, threshold: float, unit: float
) -> None:
    """From steps above: without them nothing has curvature at the start, and strengths chosen there hid the labels."""
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(2, 400))
    label = unit * (first - second + rng.normal(size=400)) + 1e3 * unit
    table = table_of({"first": first, "second": second, "label": label})
    fit = train(table, Recipe("huber", alpha, holdout=0.0 if alpha == 0.0 else 0.2, threshold=threshold), threads=1)
    assert fit.certificate.certified
    assert fit.coefficients["first"] == pytest.approx(unit, rel=0.25)
    assert fit.coefficients["second"] == pytest.approx(-unit, rel=0.25)
