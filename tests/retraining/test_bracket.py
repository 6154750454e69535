"""Brackets against 60-digit arithmetic, and the parts of what they say."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.retraining.brackets import KINDS, MODELS, answer, parameters_of, trial, truth, violations
from tests.updating.made import Made, design, fitted, joined, kept_of, some

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.errors import CertificateError, DataError, UsageError
from batchlearn.kernels.design import Layout
from batchlearn.objectives.losses import LOSSES
from batchlearn.retraining.bracket import Change, bracket
from batchlearn.statistics.objective import Objective
from batchlearn.updating.sufficient_statistics import assemble_statistics, totals_at
from batchlearn.updating.update import Local, least_share

_LOSSES = ("logistic", "poisson", "squared")


@pytest.mark.parametrize("loss", _LOSSES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", MODELS)
def test_the_gain_is_inside_the_bracket_and_the_update_inside_its_bounds(loss: str, kind: str, model: str) -> None:
    two_sided = certified = 0
    for seed in range(4):
        one = trial(seed, loss, kind, model=model)
        true = truth(one)
        first, climbed = answer(one, climbing=False), answer(one, climbing=True)
        assert violations(one, first, true) == []
        assert violations(one, climbed, true) == []
        assert first.bracket.rung == 1
        two_sided += first.bracket.upper_is_proved
        certified += climbed.bracket.upper_is_proved
    assert two_sided >= (4 if loss == "squared" else 0)
    assert certified >= 3


def test_an_exact_bound_for_the_squared_loss_needs_no_old_row() -> None:
    one = trial(3, "squared", "added")
    found = answer(one, climbing=False).bracket
    gain = float(truth(one).gain)
    np.testing.assert_allclose([found.lower, found.upper], gain, rtol=1e-9)
    np.testing.assert_allclose(answer(one, climbing=False).reached.parameters, parameters_of(one), atol=1e-9)


def test_without_the_remainder_the_bracket_would_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchlearn.updating.remainder.tail", lambda a, order: 0.0)  # noqa: ARG005
    wrong = 0
    for seed in range(6):
        one = trial(seed, "poisson", "added")
        wrong += bool(violations(one, answer(one, climbing=False), truth(one)))
    assert wrong >= 2


@pytest.mark.parametrize("loss", _LOSSES)
def test_a_share_of_the_new_rows_hessian_is_below_it_and_saves_a_reading(
    loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(4):
        one, found = trial(seed, loss, "added"), []
        for lost in (-1.0, 1.0):
            monkeypatch.setattr("batchlearn.updating.bound_from_totals._LOST", lost)
            found.append(answer(one, climbing=False))
            assert violations(one, found[-1], truth(one)) == []
        read, shared = found
        assert shared.reached.readings == read.reached.readings - 1
        factors = (read.reached.proof.factor, shared.reached.proof.factor)
        assert all(factor is not None for factor in factors)
        above, below = (factor.inverse_hessian for factor in factors if factor is not None)
        # The inverse of the smaller matrix is the larger one.
        assert np.linalg.eigvalsh(below - above).min() >= -1e-9 * np.abs(above).max()
        assert shared.bracket.lower == pytest.approx(read.bracket.lower, rel=1e-9)


def test_leverages_of_the_rows_that_stay_grow_when_others_are_removed() -> None:
    # 990 rows meet one coefficient, 10 another, and 9 of those go: the old bound on leverages would be too small.
    layout = Layout(False, 0, (2,))
    problem = Made("logistic", layout, np.zeros(2), 0.01, weighted=False)
    rng = np.random.default_rng(0)
    rows = problem.rows(rng, 1000)
    codes = np.r_[np.zeros(990, dtype=np.int32), np.ones(10, dtype=np.int32)][None]
    old = replace(rows, chunks=(replace(rows.chunks[0], codes=codes, label=np.tile([0.0, 1.0], 500)),))
    gone, left = some(old, np.arange(991, 1000)), some(old, np.arange(991))
    kept = kept_of(problem, old)
    found = bracket(kept, Change(None, gone), problem.penalty, all_rows=lambda: left)
    X, reached = design(left), found.reached
    eta = X @ reached.parameters
    hessian = X.T @ (LOSSES["logistic"].least_curvature(eta, eta)[:, None] * X) + 0.01 * np.eye(2)
    exact = np.sqrt(991.0 * np.max(np.einsum("ij,jk,ik->i", X, np.linalg.inv(hessian), X)))
    assert reached.proof.kappa >= exact
    assert exact > 2.0 * np.sqrt(1000.0 * kept.leverage)


def test_a_share_of_the_kept_hessian_is_one_that_holds() -> None:
    shares = []
    for seed in range(12):
        one = trial(seed, "logistic", KINDS[seed % 4])
        found = answer(one, climbing=True)
        turn = found.update.kept.totals.hessian.copy()
        found.update.penalty.add_to(turn)
        local = Local(np.zeros(len(turn)), np.zeros(len(turn)), 0.0, turn, 1e-13, 1.0)
        share = least_share(local, found.update.kept)
        assert np.linalg.eigvalsh(turn - share * found.update.kept.reference)[0] >= -1e-9
        shares.append(share)
    assert min(shares) > 0.05


def test_the_gain_over_null_is_one_where_nothing_changed() -> None:
    ratios = []
    problem = Made("logistic", Layout(True, 3, (4, 3)), np.array([0.2, 0.5, -0.3, 0.2, *np.zeros(7)]), 1.0, False)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        old, new = problem.rows(rng, 1000), problem.rows(rng, 100)
        kept = kept_of(problem, old)
        found = bracket(kept, Change(new), problem.penalty, recent=0.2).bracket
        assert found.gain_over_null is not None
        assert found.recent is not None
        assert found.recent.gain_over_null is not None
        ratios.append((found.gain_over_null, found.recent.gain_over_null))
    np.testing.assert_allclose(np.mean(ratios, axis=0), 1.0, atol=0.2)


def test_the_null_gain_of_a_removal_is_that_of_random_rows() -> None:
    ratios = []
    problem = Made("poisson", Layout(True, 4), np.array([0.2, 0.3, -0.3, 0.1, 0.0]), 1.0, False)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        stay, gone = problem.rows(rng, 1500), problem.rows(rng, 300)
        found = bracket(kept_of(problem, joined(stay, gone)), Change(None, gone), problem.penalty).bracket
        ratios.append(found.gain_over_null)
    np.testing.assert_allclose(np.mean(np.asarray(ratios, dtype=float)), 1.0, atol=0.25)


def test_the_recent_bracket_is_that_of_lighter_old_rows_whatever_went() -> None:
    rng = np.random.default_rng(4)
    problem = Made("squared", Layout(True, 3), np.ones(4), 1.0, False)
    stay, gone, new = problem.rows(rng, 600), problem.rows(rng, 300), problem.rows(rng, 60)
    kept = kept_of(problem, joined(stay, gone))
    for decay in (1.0, 0.8):
        recent = bracket(kept, Change(new, gone, decay), problem.penalty, recent=0.5).bracket.recent
        direct = bracket(kept, Change(new, gone, 0.5 * decay), problem.penalty).bracket
        assert recent is not None
        np.testing.assert_allclose(recent.lower, direct.lower, rtol=1e-9)
        assert recent.gain_over_null is not None
        assert direct.gain_over_null is not None
        np.testing.assert_allclose(recent.gain_over_null, direct.gain_over_null, rtol=1e-6)


def test_drift_is_seen_and_later_rows_are_forecast() -> None:
    rng = np.random.default_rng(8)
    problem = Made("logistic", Layout(True, 4), np.array([0.2, 0.5, -0.3, 0.1, 0.0]), 1.0, False)
    kept = kept_of(problem, problem.rows(rng, 3000))
    drifted = replace(problem, truth=problem.truth + np.array([1.0, 0.5, 0.0, 0.5, 0.0]))
    new, later = drifted.rows(rng, 600), drifted.rows(rng, 4000)
    found = bracket(kept, Change(new), problem.penalty, recent=0.1)
    said = found.bracket
    assert said.gain_over_null is not None
    assert said.gain_over_null > 5.0
    assert said.recent is not None
    assert said.recent.lower > said.lower
    loss = Objective(LOSSES["logistic"], problem.objective(1.0).penalty)
    free = replace(loss, penalty=replace(loss.penalty, strengths=np.zeros(5)))
    gained = free.value(later, kept.parameters) - free.value(later, found.reached.parameters)
    assert said.later_gain is not None
    assert said.later_gain.low is not None
    assert said.later_gain.high is not None
    assert said.later_gain.low - 0.01 <= gained <= said.later_gain.high + 0.01
    assert said.later_gain.low > 0.0


def test_a_bracket_reads_and_travels() -> None:
    one = trial(1, "logistic", "added", size=400)
    found = bracket(one.kept, one.change, one.problem.penalty, recent=0.5).bracket
    record = json.loads(json.dumps(found.to_json()))
    for name in ("lower", "upper", "upper_is_proved", "rung", "prediction_shift", "rows_read"):
        assert record[name] == getattr(found, name)
    assert record["recent"]["decay"] == 0.5
    assert "Training again gains at least" in str(found)
    # Each new row was read more than once, and no other row at all.
    assert one.change.added is not None
    assert (found.rows, found.rows_read % found.rows) == (len(one.change.added), 0)
    assert found.rows_read > found.rows
    assert f"{found.rows:,} rows, {found.rows_read:,} readings of a row" in str(found)
    assert found.response_shift is not None
    assert found.response_shift <= 0.25 * found.prediction_shift * (1.0 + 1e-9)
    assert found.retrain_rows == one.kept.rows + len(one.after) - one.kept.rows


def test_no_rows_are_no_change() -> None:
    one = trial(5, "logistic", "added")
    assert isinstance(one.change.added, MemoryRows)
    none = some(one.change.added, np.zeros(0, dtype=int))
    for change in (Change(None), Change(none, none)):
        found = bracket(one.kept, change, one.problem.penalty, recent=0.5)
        assert 0.0 <= found.bracket.lower < 1e-9
        assert found.bracket.upper_is_proved
        assert found.bracket.upper < 1e-6
        assert found.bracket.gain_over_null is None
        assert found.bracket.later_gain is None
        assert found.bracket.retrain_seconds is None


def test_what_cannot_be_is_refused() -> None:
    one = trial(4, "logistic", "added")
    other = Made("logistic", Layout(True, 7), np.zeros(8), 1.0, False).rows(np.random.default_rng(0), 5)
    with pytest.raises(DataError, match="in another layout"):
        bracket(one.kept, Change(other), one.problem.penalty)
    with pytest.raises(DataError, match="cannot all be among"):
        bracket(one.kept, Change(None, one.after), one.problem.penalty)
    with pytest.raises(UsageError, match="The decay is 0"):
        Change(one.change.added, decay=0.0)
    wild = next(
        t for seed in range(30) if not answer(t := trial(seed, "poisson", "added"), False).bracket.upper_is_proved
    )
    with pytest.raises(DataError, match="weigh"):
        bracket(wild.kept, wild.change, wild.problem.penalty, all_rows=lambda: joined(wild.after, wild.after))


def test_no_totals_without_a_factor() -> None:
    problem = Made("squared", Layout(False, 0, (2,)), np.zeros(2), 0.0, False)
    rows = problem.rows(np.random.default_rng(0), 30)
    lone = replace(rows, chunks=(replace(rows.chunks[0], codes=np.zeros_like(rows.chunks[0].codes)),))
    kept = kept_of(replace(problem, strength=1.0), rows)
    with pytest.raises(CertificateError, match="no safe factor"):
        assemble_statistics(
            problem.objective(30.0), lone, np.zeros(2), *totals_at(LOSSES["squared"], lone, kept.parameters)
        )


def test_one_row_far_out_is_in_the_bounds() -> None:
    """A row with twelve times the usual value: its leverage bounds kappa, and its move the shift."""
    rng = np.random.default_rng(0)
    problem = Made("logistic", Layout(True, 1), np.array([0.1, 0.2]), 1.0, False)
    old, new = problem.rows(rng, 400), problem.rows(rng, 1)
    far = replace(new.chunks[0], dense=np.array([[12.0]]), label=np.array([0.0]))
    new = replace(new, chunks=(far,))
    kept = kept_of(problem, old)
    found = bracket(kept, Change(new), problem.penalty)
    X = design(joined(old, new))
    mean = 1.0 / (1.0 + np.exp(-X @ found.reached.parameters))
    hessian = X.T @ ((mean * (1.0 - mean))[:, None] * X) + np.diag([0.0, 1.0])
    leverage = np.max(np.einsum("ij,jk,ik->i", X, np.linalg.inv(hessian), X))
    assert found.reached.proof.kappa >= np.sqrt(len(X) * leverage)
    optimum = fitted(problem.objective(float(len(X))), joined(old, new))
    moved = np.abs(X @ (optimum - kept.parameters)).max()
    assert moved <= found.bracket.prediction_shift or not found.bracket.upper_is_proved
    assert found.bracket.response_shift is not None
    # The logistic response moves most where it crosses one half: by tanh(shift / 4).
    eta = np.linspace(-20.0, 20.0, 20_001)
    shift = found.bracket.prediction_shift
    most = np.max(1.0 / (1.0 + np.exp(-eta - 0.5 * shift)) - 1.0 / (1.0 + np.exp(-eta + 0.5 * shift)))
    assert most <= found.bracket.response_shift <= most * (1.0 + 1e-3)
