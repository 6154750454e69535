"""Certificates against 60-digit arithmetic: never too good, seldom refused, close to the truth."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from mpmath import mp
from tests.objectives.oracle import Oracle, exact
from tests.training.trials import FAMILIES, Trial, Verdict, check, dense_rows, judge, points, random_trial, run_trials

from batchlearn.data.rows import Rows
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.kernels.design import Floats
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.penalties import Quadratic
from batchlearn.objectives.self_concordance import bounds
from batchlearn.solvers.newton import Newton
from batchlearn.statistics.objective import GradientError, Objective, ridge
from batchlearn.training import certificate as certificates
from batchlearn.training.certificate import BOUNDED, EXACT, LOWER_BOUND, Units, certify

_TRIALS = 252  # seven of each loss and family
_EASY = ("plain", "weighted", "grouped", "sparse", "single_precision", "scaled")


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    return run_trials(_TRIALS, seed=20240)


class Careless(Objective):
    """The objective without its knowledge of rounding."""

    def gradient_error(
        self, rows: Rows, parameters: Floats, *, gradient: bool = False, centred: bool = True
    ) -> GradientError:
        known = super().gradient_error(rows, parameters, gradient=gradient, centred=centred)
        return known._replace(error=np.zeros_like(known.error))


def logistic_problem(seed: int, n: int = 60, columns: int = 4) -> tuple[Objective, MemoryRows]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, columns))
    label = (rng.random(n) < 1.0 / (1.0 + np.exp(-X @ rng.normal(size=columns)))).astype(np.float64)
    rows = dense_rows(X, label)
    return Objective(LOSSES["logistic"], ridge(rows.layout, 1e-3)), rows


def after_newton(objective: Objective, rows: MemoryRows, steps: int) -> Floats:
    state = Newton().start(objective, rows, objective.null_parameters(rows))
    for _ in range(steps):
        state = Newton().step(objective, rows, state)
    return state.parameters


# --- random problems ------------------------------------------------------------------------------------------------


def test_no_bound_is_ever_below_the_truth(verdicts: list[Verdict]) -> None:
    certified = [verdict for verdict in verdicts if verdict.certified]
    assert len(certified) > 4 * _TRIALS
    assert [verdict for verdict in certified if verdict.violations] == []


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_every_loss_and_every_family_was_certified_somewhere(verdicts: list[Verdict], loss: str) -> None:
    assert {v.family for v in verdicts if v.certified and v.loss == loss and v.point == "end"} == set(FAMILIES)


def test_easy_problems_are_seldom_refused_once_solved(verdicts: list[Verdict]) -> None:
    solved = [verdict for verdict in verdicts if verdict.point == "end" and verdict.family in _EASY]
    assert sum(not verdict.certified for verdict in solved) <= 0.2 * len(solved)


def test_a_bound_is_close_to_the_gap_until_rounding_hides_it(verdicts: list[Verdict]) -> None:
    tightness = [verdict.tightness for verdict in verdicts if math.isfinite(verdict.tightness)]
    assert len(tightness) > _TRIALS
    assert np.median(tightness) <= 1.1
    assert max(tightness) <= 30.0


def test_without_the_rounding_term_the_bounds_lie() -> None:
    lies = 0
    for number in range(36):
        rng = np.random.default_rng((5, number))
        trial = random_trial(rng, list(FAMILIES)[number // 3], list(LOSSES)[number % 3])
        careless = replace(trial, objective=Careless(trial.objective.loss, trial.objective.penalty))
        lies += sum(bool(v.violations) for v in judge(careless, rng) if v.point in ("end", "disturbed"))
    assert lies >= 5


# --- the other ways to a bound --------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_the_leverage_bound_serves_where_exact_leverages_cost_too_much(
    loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "_LEVERAGE_BUDGET", -1.0)
    methods = set()
    for number in range(12):
        rng = np.random.default_rng((6, number))
        trial = random_trial(rng, ("weighted", "grouped", "shifted")[number % 3], loss)
        assert [verdict for verdict in judge(trial, rng) if verdict.violations] == []
        for _, parameters in points(trial, rng):
            methods.add(certify(trial.objective, trial.rows, parameters).certificate.method)
    assert BOUNDED in methods


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_the_lower_bound_needs_no_factor_and_holds(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "FACTOR_LIMIT", 0)
    certified = 0
    for number in range(24):
        rng = np.random.default_rng((7, number))
        trial = random_trial(rng, ("plain", "weighted", "sparse", "wide")[number % 4], loss)
        for verdict in judge(trial, rng):
            assert verdict.violations == ()
            certified += verdict.certified
        last = list(points(trial, rng))[-1][1]
        assert certify(trial.objective, trial.rows, last).certificate.method == LOWER_BOUND
    assert certified >= 48


def test_the_lower_bound_refuses_a_free_coefficient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "FACTOR_LIMIT", 0)
    objective, rows = logistic_problem(1)
    free = Objective(objective.loss, Quadratic(np.array([0.0, 1.0, 1.0, 0.0, 1.0])))
    refused = certify(free, rows, np.zeros(5)).certificate
    assert not refused.certified
    assert "some of them have no penalty" in str(refused)


# --- what is refused ------------------------------------------------------------------------------------------------


def test_a_point_far_away_is_refused_with_the_number_that_is_too_large() -> None:
    objective, rows = logistic_problem(2)
    refused = certify(objective, rows, np.full(5, 20.0)).certificate
    assert not refused.certified
    assert refused.loss_bound is None
    assert refused.coefficient_bound is None
    assert refused.prediction_bound is None
    assert "must be below 1" in str(refused)


def test_overflow_is_refused() -> None:
    rng = np.random.default_rng(3)
    rows = dense_rows(rng.normal(size=(20, 2)), rng.poisson(3.0, 20).astype(np.float64))
    objective = Objective(LOSSES["poisson"], ridge(rows.layout, 1e-2))
    refused = certify(objective, rows, np.array([800.0, 1.0, 1.0])).certificate
    assert str(refused) == "not certified because the gradient is not finite at these coefficients"


def test_curvature_that_underflows_is_refused() -> None:
    rows = dense_rows(np.array([[1.0], [2.0], [-1.0], [-2.0]]), np.array([1.0, 1.0, 0.0, 0.0]), intercept=False)
    objective = Objective(LOSSES["logistic"], ridge(rows.layout, 0.0))
    for size in (30.0, 100.0, 700.0, 740.0, 1000.0):
        assert not certify(objective, rows, np.array([size])).certificate.certified


def test_columns_that_repeat_each_other_without_a_penalty_are_refused() -> None:
    rng = np.random.default_rng(4)
    column = rng.normal(size=(30, 1))
    rows = dense_rows(np.hstack([column, column]), rng.normal(size=30))
    refused = certify(Objective(LOSSES["squared"], ridge(rows.layout, 0.0)), rows, np.zeros(3)).certificate
    assert "no safe factor" in str(refused)


# --- single statements ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decrement", [1e-200, 1e-20, 1e-9, 1e-3, 0.05, 0.3, 0.9, 1.0 - 1e-9])
@pytest.mark.parametrize("kappa", [1e-3, 1.0, 1e8])
def test_bounds_are_their_formulas_rounded_up(decrement: float, kappa: float) -> None:
    decrement /= kappa
    found = bounds(decrement, kappa, 1.0)
    assert found is not None
    reach = mp.mpf(kappa) * mp.mpf(decrement)
    radius = -mp.log1p(-reach) / mp.mpf(kappa)
    a = mp.mpf(kappa) * radius
    with mp.workdps(500):
        mean = (mp.exp(a) * (a - 1) + 1) / (a * (mp.exp(a) - 1)) if a > mp.mpf(10) ** -100 else mp.mpf("0.5")
    loss = mp.mpf(decrement) * radius * mean
    assert radius <= found.radius <= radius * (1 + mp.mpf(10) ** -5)
    # Above zero also where the exact number is below the smallest float.
    assert loss <= found.loss <= loss * mp.mpf("1.001") + mp.mpf("1e-289")


def test_bounds_need_the_optimum_to_be_near() -> None:
    assert bounds(1.0, 1.0, 1.0) is None
    assert bounds(1e-3, float("inf"), 1.0) is None
    assert bounds(0.0, float("inf"), 1.0) == (0.0, 0.0)
    assert bounds(7.0, 100.0, 0.0) == (7.0, 24.5)


def test_more_than_the_formula_needs_is_never_reported_as_less() -> None:
    sizes = np.linspace(0.01, 0.999, 200)
    losses = [found.loss for size in sizes if (found := bounds(size, 1.0, 1.0)) is not None]
    assert len(losses) == len(sizes)
    assert np.all(np.diff(losses) > 0)


def test_a_response_near_its_end_still_moves() -> None:
    rows = dense_rows(np.full((4, 1), 40.0), np.array([1.0, 1.0, 1.0, 1.0]), intercept=False)
    objective = Objective(LOSSES["logistic"], ridge(rows.layout, 1e-15))
    optimum = after_newton(objective, rows, 60)
    trial = Trial("", "logistic", objective, rows, Units.plain(1))
    oracle = Oracle.of(objective, rows)
    truth = oracle.optimum(optimum)
    for change in (1e-12, 1e-6, 1e-3):
        at = optimum * (1.0 + change)
        certificate = certify(objective, rows, at).certificate
        assert certificate.certified
        assert certificate.prediction_bound is not None
        assert certificate.prediction_bound > 0.0
        assert check(trial, certificate, at, oracle, truth).violations == ()


def test_the_bound_on_a_new_row_holds_too() -> None:
    objective, rows = logistic_problem(9)
    parameters = after_newton(objective, rows, 3)
    found = certify(objective, rows, parameters)
    assert found.certificate.certified
    assert found.certificate.radius is not None
    assert found.factor is not None
    optimum = Oracle.of(objective, rows).optimum(parameters)
    rng = np.random.default_rng(9)
    for row in np.column_stack([np.ones(50), 10.0 * rng.normal(size=(50, 4))]):
        change = abs(mp.fdot(exact(row), [a - b for a, b in zip(exact(parameters), optimum, strict=True)]))
        assert change <= found.certificate.radius * found.factor.norm(row)


def test_the_intercept_in_the_units_of_the_columns_is_bounded_too() -> None:
    rng = np.random.default_rng(10)
    stored = 1e4 + 1e-3 * rng.normal(size=(40, 2))
    shift, scale = stored.mean(axis=0), stored.std(axis=0)
    label = stored[:, 0] * 1e3 + rng.normal(size=40)
    rows = replace(dense_rows(stored, label), shift=shift, scale=scale)
    objective = Objective(LOSSES["squared"], ridge(rows.layout, 1e-3))
    units = Units(np.append(1.0, scale), np.append(0.0, shift / scale))
    parameters = after_newton(objective, rows, 2)
    truth = Oracle.of(objective, rows).optimum(parameters)
    for size in (0.0, 1e-9, 1e-3):
        at = parameters + size * rng.normal(size=3)
        certificate = certify(objective, rows, at, units).certificate
        change = [a - b for a, b in zip(exact(at), truth, strict=True)]
        intercept = abs(change[0] - mp.fdot(exact(units.shift)[1:], change[1:]))
        internal = certify(objective, rows, at).certificate.coefficient_bound
        assert certificate.coefficient_bound is not None
        assert certificate.coefficient_bound >= intercept
        assert internal is not None
        # The intercept of the shifted columns alone would not be a bound on it.
        assert internal < intercept or size == 0.0


def test_a_certificate_reads_and_travels() -> None:
    objective, rows = logistic_problem(11)
    certificate = certify(objective, rows, after_newton(objective, rows, 8)).certificate
    assert certificate.method == EXACT
    assert str(certificate).startswith("certified: loss <= optimum + ")
    record = json.loads(json.dumps(certificate.to_json()))
    assert record["rows"] == 60
    assert (record.pop("reason"), record.pop("reason_noted")) == (None, None)
    assert certificates.Certificate(reason=None, **record) == certificate


def test_a_certificate_without_a_bound_on_predictions_can_be_read() -> None:
    found = certificates.Certificate(
        certificates.Proved.CERTIFIED, None, certificates.LOWER_BOUND, 1e-9, 1e-4, None, 1e-20, 5, None
    )
    assert str(found) == "certified: loss <= optimum + 1.0e-09; no coefficient off by more than 1.0e-04"
