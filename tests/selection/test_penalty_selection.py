"""Strengths: the restricted likelihood's own, found from totals, whatever the unit of the labels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from tests.training.trials import amounts

from batchlearn.data.bins import cut_points
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.kernels.design import Floats, Layout
from batchlearn.kernels.sums import symmetric
from batchlearn.objectives.factor import factorise
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.penalties import Quadratic
from batchlearn.objectives.penalties.smoothing import differences, product, squares
from batchlearn.selection import penalty_selection as module
from batchlearn.selection.penalty_selection import PenalisedTerm, penalty, select_penalties
from batchlearn.statistics.objective import Objective
from batchlearn.statistics.totals import HessianTotal


def rows_of(codes: list[np.ndarray], levels: list[int], label: Floats, weight: Floats | None = None) -> MemoryRows:
    n = len(label)
    stored = StoredChunk(np.zeros((0, n)), np.asarray(codes).reshape(len(codes), n), label, weight)
    return MemoryRows(Layout(True, 0, tuple(levels)), (stored,), np.zeros(0), np.ones(0))


def binned(X: Floats, label: Floats, bins: int = 24) -> tuple[MemoryRows, tuple[PenalisedTerm, ...]]:
    edges = [np.asarray(cut_points(column, bins)) for column in X.T]
    codes = [np.searchsorted(edge, column) for edge, column in zip(edges, X.T, strict=True)]
    rows = rows_of(codes, [len(edge) + 1 for edge in edges], label)
    parts = zip(rows.layout.group_slices, edges, strict=True)
    return rows, tuple(PenalisedTerm(part, differences(len(edge) + 1)) for part, edge in parts)


def drawn(rng: np.random.Generator, loss: str, eta: Floats) -> Floats:
    if loss == "logistic":
        return (rng.random(len(eta)) < 1.0 / (1.0 + np.exp(-eta))).astype(float)
    if loss in ("gamma", "tweedie"):
        return amounts(rng, loss, np.exp(0.7 * eta))
    return rng.poisson(np.exp(0.5 * eta)).astype(float) if loss == "poisson" else eta + rng.normal(size=len(eta))


# --- the penalty of given strengths ---------------------------------------------------------------------------------


def test_a_strength_is_in_total_over_the_rows_and_a_centre_is_not() -> None:
    terms = (PenalisedTerm(slice(1, 4), squares(3)), PenalisedTerm(slice(4, 9), differences(5)))
    whole = penalty(terms, (2.0, 6.0), 9)
    found = whole.over(100.0)
    assert found.strengths == pytest.approx([0.0, 0.02, 0.02, 0.02, 0.0, 0.0, 0.0, 0.0, 0.0])
    ((part, block),) = found.blocks
    assert part == slice(4, 9)
    assert block == pytest.approx(0.06 * differences(5).matrix + 1.0 / 25.0)
    assert whole.over(1000.0).blocks[0][1] == pytest.approx(0.006 * differences(5).matrix + 1.0 / 25.0)


def test_traces_are_those_of_dense_algebra() -> None:
    rng = np.random.default_rng(0)
    units = (squares(3), differences(6, 1), product(differences(3), squares(2)))
    starts = np.cumsum([1, *(len(unit.matrix) for unit in units)])
    terms = [PenalisedTerm(slice(int(a), int(a) + len(u.matrix)), u) for a, u in zip(starts, units, strict=False)]
    square = rng.normal(size=(17, 17))
    hessian = square @ square.T * np.outer(*(10.0 ** rng.uniform(-2, 2, 17),) * 2).clip(0.3, 3.0) + 5.0 * np.eye(17)
    hessian = 0.5 * (hessian + hessian.T) + 100.0 * np.eye(17)
    inverse = np.linalg.inv(hessian)
    dense = [np.trace(inverse[t.part, t.part] @ t.unit.matrix) for t in terms]
    assert module._traces(factorise(hessian, 0.0), terms) == pytest.approx(dense, rel=1e-10)


# --- the restricted likelihood --------------------------------------------------------------------------------------


def restricted(label: Floats, designs: list[Floats], parameters: Floats) -> float:
    """Return minus twice the restricted log likelihood of variances exp(parameters): effects first, then residuals."""
    n = len(label)
    variance = np.exp(parameters[-1]) * np.eye(n)
    for design, parameter in zip(designs, parameters[:-1], strict=True):
        variance += np.exp(parameter) * design @ design.T
    inverse = np.linalg.inv(variance)
    ones = np.ones(n)
    fixed = ones @ inverse @ ones
    residual = label - ones * (ones @ inverse @ label / fixed)
    return float(np.linalg.slogdet(variance)[1] + np.log(fixed) + residual @ inverse @ residual)


@pytest.mark.parametrize("seed", [0, 1])
def test_variance_components_are_those_of_the_restricted_likelihood(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, levels, deviations = 120, (15, 10), (1.0, 0.5)
    codes = [rng.integers(0, k, n) for k in levels]
    label = 3.0 + sum(s * rng.normal(size=k)[c] for s, k, c in zip(deviations, levels, codes, strict=True))
    label = label + 0.7 * rng.normal(size=n)
    designs = [np.eye(k)[c] for k, c in zip(levels, codes, strict=True)]
    best = minimize(lambda p: restricted(label, designs, p), np.zeros(3), method="Nelder-Mead", tol=1e-5)
    rows = rows_of(codes, list(levels), label)
    terms = tuple(PenalisedTerm(part, squares(k)) for part, k in zip(rows.layout.group_slices, levels, strict=True))
    found, _ = select_penalties(LOSSES["squared"], rows, terms)
    assert found.updates <= 15
    assert found.dispersion == pytest.approx(np.exp(best.x[2]), rel=0.01)
    components = found.dispersion / np.asarray(found.values)
    assert components == pytest.approx(np.exp(best.x[:2]), rel=0.03)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_degrees_of_freedom_are_those_of_dense_algebra(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SETTLED", 1e-9)
    monkeypatch.setattr(module, "_UPDATES", 60)
    rng = np.random.default_rng(3)
    X = rng.uniform(-2.0, 2.0, size=(1500, 2))
    rows, terms = binned(X, drawn(rng, loss, np.sin(2.0 * X[:, 0]) + 0.5 * X[:, 1]), 12)
    found, parameters = select_penalties(LOSSES[loss], rows, terms)
    total = rows.total(HessianTotal(LOSSES[loss]), parameters)
    curvature = symmetric(total.grams[0])
    penalised = curvature / 1500.0
    penalty(terms, found.values, len(parameters)).over(1500.0).add_to(penalised)
    # The centre takes nothing away from what the data determine: the intercept does.
    assert 1.0 + sum(found.degrees_of_freedom) == pytest.approx(
        np.trace(np.linalg.solve(penalised, curvature / 1500.0)), rel=1e-3
    )
    for term, strength, freedom in zip(terms, found.values, found.degrees_of_freedom, strict=True):
        values = parameters[term.part]
        assert strength == pytest.approx(found.dispersion * freedom / (values @ term.unit.matrix @ values), rel=1e-6)
        assert 0.0 < freedom < term.unit.rank


def test_the_dispersion_of_numbers_counts_and_amounts_is_estimated_and_that_of_classes_is_one() -> None:
    rng = np.random.default_rng(4)
    X = rng.uniform(-2.0, 2.0, size=(4000, 1))
    eta = np.sin(2.0 * X[:, 0])
    rows, terms = binned(X, eta + 3.0 * rng.normal(size=4000))
    assert select_penalties(LOSSES["squared"], rows, terms)[0].dispersion == pytest.approx(9.0, rel=0.06)
    rows, terms = binned(X, np.asarray(4.0 * rng.poisson(np.exp(eta + 1.0)), dtype=np.float64))
    assert select_penalties(LOSSES["poisson"], rows, terms)[0].dispersion == pytest.approx(4.0, rel=0.08)
    rows, terms = binned(X, amounts(rng, "gamma", np.exp(eta), shape=4.0))
    assert select_penalties(LOSSES["gamma"], rows, terms)[0].dispersion == pytest.approx(0.25, rel=0.06)
    rows, terms = binned(X, drawn(rng, "logistic", eta))
    assert select_penalties(LOSSES["logistic"], rows, terms)[0].dispersion == 1.0


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_columns_of_noise_are_shrunk_away(loss: str) -> None:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(3000, 6))
    rows, terms = binned(X, drawn(rng, loss, np.sin(2.0 * X[:, 0])))
    found, parameters = select_penalties(LOSSES[loss], rows, terms)
    assert found.updates <= 15
    assert found.degrees_of_freedom[0] > 8.0
    noise = np.asarray(found.degrees_of_freedom[1:])
    # A restricted likelihood sees some effect in half of all columns of noise.
    assert np.median(noise) < 1.0
    assert noise.max() < 6.0
    assert np.median(found.values[1:]) > 100.0 * found.values[0]
    spread = [np.ptp(parameters[term.part]) for term in terms]
    assert max(spread[1:]) < 0.2 * spread[0]


@pytest.mark.parametrize("size", [1e-9, 1e-3, 1e6])
def test_the_unit_of_the_labels_does_not_matter(size: float) -> None:
    rng = np.random.default_rng(6)
    X = rng.normal(size=(800, 2))
    label = np.sin(2.0 * X[:, 0]) + 0.5 * rng.normal(size=800)
    plain, w = select_penalties(LOSSES["squared"], *binned(X, label))
    scaled, v = select_penalties(LOSSES["squared"], *binned(X, np.asarray(size * label)))
    assert scaled.values == pytest.approx(plain.values, rel=1e-6)
    assert scaled.updates == plain.updates
    assert v == pytest.approx(size * w, rel=1e-6)


def test_a_row_of_weight_two_is_two_rows() -> None:
    rng = np.random.default_rng(7)
    codes, weight = rng.integers(0, 8, 500), rng.integers(1, 4, 500)
    label = rng.normal(size=8)[codes] + rng.normal(size=500)
    weighted = rows_of([codes], [8], label, weight.astype(float))
    repeated = rows_of([np.repeat(codes, weight)], [8], np.repeat(label, weight))
    terms = (PenalisedTerm(slice(1, 9), squares(8)),)
    one, other = (select_penalties(LOSSES["squared"], rows, terms)[0] for rows in (weighted, repeated))
    assert one.values == pytest.approx(other.values, rel=1e-9)
    assert one.dispersion == pytest.approx(other.dispersion, rel=1e-9)


def test_a_search_may_begin_where_another_ended() -> None:
    rng = np.random.default_rng(8)
    X = rng.uniform(-2.0, 2.0, size=(1500, 2))
    rows, terms = binned(X, drawn(rng, "logistic", np.sin(2.0 * X[:, 0])))
    first, parameters = select_penalties(LOSSES["logistic"], rows, terms)
    again, moved = select_penalties(LOSSES["logistic"], rows, terms, (first.values, parameters))
    assert again.updates <= 3
    assert np.abs(moved - parameters).max() < 0.05


def test_longer_steps_end_where_plain_ones_do_in_fewer_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    X = rng.uniform(-2.0, 2.0, size=(3000, 6))
    rows, terms = binned(X, drawn(rng, "logistic", np.sin(2.0 * X[:, 0]) + 0.2 * X[:, 1]))
    monkeypatch.setattr(module, "_SETTLED", 1e-4)
    monkeypatch.setattr(module, "_UPDATES", 200)
    found, parameters = select_penalties(LOSSES["logistic"], rows, terms)
    monkeypatch.setattr(module, "_LENGTHS", (1.0, 1.0))
    plain, ended = select_penalties(LOSSES["logistic"], rows, terms)
    assert found.updates < 0.7 * plain.updates
    assert found.degrees_of_freedom == pytest.approx(plain.degrees_of_freedom, abs=0.1)
    assert np.abs(parameters - ended).max() < 0.02


def test_labels_that_the_terms_explain_without_rest_are_no_trouble() -> None:
    codes = np.arange(300) % 6
    rows = rows_of([codes], [6], codes.astype(float))
    found, parameters = select_penalties(LOSSES["squared"], rows, (PenalisedTerm(slice(1, 7), squares(6)),))
    assert found.dispersion < 1e-6
    assert parameters[0] + parameters[1:] == pytest.approx(np.arange(6.0), abs=1e-3)


def test_where_the_hessian_has_no_factor_the_strengths_stay_as_they_were() -> None:
    codes = np.arange(300) % 6
    rows = rows_of([codes, codes], [6, 6], codes + np.random.default_rng(9).normal(size=300))
    free = Objective(LOSSES["squared"], Quadratic(np.zeros(13)))
    terms = (
        PenalisedTerm(slice(1, 7), differences(6)._replace(centre=None)),
        PenalisedTerm(slice(7, 13), differences(6)),
    )
    found, parameters = select_penalties(LOSSES["squared"], rows, terms)
    assert found.values == (1.0, 1.0)
    assert np.array_equal(parameters, free.null_parameters(rows))
