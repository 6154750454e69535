"""Standard errors with strengths chosen by data: dense oracles, and how often intervals hold what is true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.linalg import null_space
from tests.training.made import table_of

from batchlearn.data.bins import BinTerm
from batchlearn.data.encoding import Encoding, LevelTerm
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.kernels.design import Floats
from batchlearn.models.links import class_contrasts
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.penalties import Quadratic
from batchlearn.objectives.penalties.smoothing import end_differences
from batchlearn.selection.covariance import Expanded, class_moments, plausible_strengths, second_moments
from batchlearn.selection.terms import encoding_terms
from batchlearn.statistics.objective import Objective
from batchlearn.tables.columns import Kind
from batchlearn.tables.table import Table
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import train

ENCODING = Encoding(
    (),
    (BinTerm("x", (-1.0, -0.5, 0.0, 0.4, 0.8), -2.0, 2.0), LevelTerm("c", ("a", "b", "c", "d"))),
    {"x": Kind.NUMBER, "c": Kind.CATEGORY},
    {},
)
N, DISPERSION = 70, 0.7


def penalty_of(strengths: dict[str, float]) -> Quadratic:
    blocks = []
    for name, term in encoding_terms(ENCODING).items():
        centre = np.zeros_like(term.unit.matrix) if term.unit.centre is None else term.unit.centre
        blocks.append((term.part, strengths[name] / N * term.unit.matrix + centre))
    return Quadratic(np.zeros(ENCODING.layout.size), tuple(blocks))


def small(strengths: dict[str, float]) -> tuple[Floats, Floats, Expanded]:
    """Return a design (n, d) written out, labels (n,), and the penalised optimum of the squared loss."""
    rng = np.random.default_rng(3)
    codes = np.stack([rng.integers(0, size, N) for size in ENCODING.layout.groups])
    design = np.column_stack([np.ones(N), *(np.eye(s)[c] for s, c in zip(ENCODING.layout.groups, codes, strict=True))])
    label = design @ rng.normal(0.0, 0.5, design.shape[1]) + np.sqrt(DISPERSION) * rng.normal(size=N)
    penalty = penalty_of(strengths)
    hessian = design.T @ design / N
    penalty.add_to(hessian)
    parameters = np.linalg.solve(hessian, design.T @ label / N)
    rows = MemoryRows(ENCODING.layout, (StoredChunk(np.zeros((0, N)), codes, label, None),), np.zeros(0), np.ones(0))
    expansion = Objective(LOSSES["squared"], penalty).expand(rows, parameters)
    return (
        design,
        label,
        Expanded(parameters, expansion, np.linalg.inv(hessian), penalty, DISPERSION, float(N), len(parameters)),
    )


@pytest.mark.parametrize("strengths", [{"x": 300.0, "c": 5.0}, {"x": 8.0, "c": 300.0}, {"x": 1e9, "c": 5.0}])
def test_plausible_strengths_are_means_over_the_restricted_likelihood(strengths: dict[str, float]) -> None:
    design, label, found = small(strengths)
    terms, contrast = encoding_terms(ENCODING), null_space(np.ones((1, N)))
    name = max(strengths, key=strengths.__getitem__)

    def prior(one: str, strength: float) -> Floats:
        part = design[:, terms[one].part]
        return np.asarray(part @ np.linalg.pinv(terms[one].unit.matrix) @ part.T / strength)

    def likelihood(deviation: float) -> float:
        priors = [prior(one, deviation**-2 if one == name else strengths[one]) for one in terms]
        spread = contrast.T @ (np.eye(N) + sum(priors)) @ contrast
        seen = contrast.T @ label
        misfit = seen @ np.linalg.solve(spread, seen) / DISPERSION + np.linalg.slogdet(spread)[1]
        return float(np.exp(-0.5 * (misfit - N)))

    # A row of the squared loss has a curvature of one: the widest prior gives a coefficient the variance of one row.
    widest = float(np.mean(np.diag(np.linalg.pinv(terms[name].unit.matrix)))) ** -0.5
    share = quad(likelihood, 1e-6, widest, limit=200)[0]
    variance = quad(lambda deviation: likelihood(deviation) * deviation**2, 1e-6, widest, limit=200)[0] / share
    assert 1.0 / variance < strengths[name]
    assert plausible_strengths(terms, strengths, found)[name] == pytest.approx(1.0 / variance, rel=5e-3)


def test_moments_are_the_variance_and_the_square_of_what_the_strengths_took_away() -> None:
    strengths = {"x": 300.0, "c": 40.0}
    design, label, found = small(strengths)
    terms = encoding_terms(ENCODING)
    weak = plausible_strengths(terms, strengths, found)
    hessian = design.T @ design / N
    penalty_of(weak).add_to(hessian)
    hessian[terms["x"].part, terms["x"].part] += min(1.0 - weak["x"], 0.0) / N * end_differences(6)
    moved = np.linalg.solve(hessian, design.T @ label / N) - found.parameters
    wanted = DISPERSION / N * np.linalg.inv(hessian) + np.outer(moved, moved)
    assert second_moments(ENCODING, strengths, found) == pytest.approx(wanted, rel=1e-6, abs=1e-9)
    # With the scores' own products they take the place of the rows' curvature; what the penalty stands for stays.
    scores = design * (3.0 * (design @ found.parameters - label))[:, None]
    middle = scores.T @ scores / N + DISPERSION * (hessian - design.T @ design / N)
    inverse = np.linalg.inv(hessian)
    own = replace(found, scores=scores.T @ scores / N)
    wanted = inverse @ middle @ inverse / N + np.outer(moved, moved)
    assert second_moments(ENCODING, strengths, own) == pytest.approx(wanted, rel=1e-6, abs=1e-9)
    given = design.T @ design / N
    found.penalty.add_to(given)
    assert second_moments(ENCODING, {}, found) == pytest.approx(DISPERSION / N * np.linalg.inv(given), rel=1e-9)


def test_the_ends_of_ordered_levels_are_tied_by_their_first_and_last_difference() -> None:
    assert end_differences(2) == pytest.approx(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    w = np.array([1.0, 3.0, 4.0, 9.0, 7.0])
    assert w @ end_differences(4, 1) @ w == pytest.approx(2.0**2 + 5.0**2)


def test_moments_of_classes_are_those_of_their_contrasts() -> None:
    size, rng = ENCODING.layout.size, np.random.default_rng(0)
    root = rng.normal(size=(2 * size, 2 * size))
    into = np.kron(class_contrasts(3).T, np.eye(size))  # (3 d, 2 d)
    wanted = into @ root @ root.T @ into.T
    errors, levels = class_moments(root @ root.T, ENCODING, 3)
    assert errors == pytest.approx(np.sqrt(np.diagonal(wanted)))
    for k, row in enumerate(levels):
        blocks = [wanted[k * size :, k * size :][part, part] for part in ENCODING.layout.group_slices]
        assert row == pytest.approx(np.concatenate([block.ravel() for block in blocks]))


# --- against what is true -------------------------------------------------------------------------------------------


def drawn(seed: int, slopes: Floats) -> Table:
    """Return 800 rows of two classes whose log odds are linear in the numbers."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(800, len(slopes)))
    label = (rng.random(800) < 1.0 / (1.0 + np.exp(-0.5 - X @ slopes))).astype(float)
    return table_of({**{f"x{j}": X[:, j] for j in range(len(slopes))}, "label": label})


def test_intervals_of_slopes_hold_what_is_true_as_often_as_they_say() -> None:
    slopes, held = np.array([0.3, -0.2, 0.1]), []
    for seed in range(30):
        fit = train(drawn(seed, slopes), Recipe(holdout=0.0), threads=1)
        if fit.structure.name == "linear":
            found = [(fit.coefficients[f"x{j}"], fit.standard_errors[f"x{j}"]) for j in range(3)]
            held += [abs(value - true) < 1.96 * error for (value, error), true in zip(found, slopes, strict=True)]
    assert len(held) > 60
    assert np.mean(held) >= 0.9


def test_a_slope_that_a_strength_holds_at_zero_is_not_known_to_be_zero() -> None:
    shrunk = 0
    for seed in range(8):
        table = drawn(seed, np.array([0.4, 0.0, 0.0]))
        fit, free = (train(table, Recipe(alpha=alpha, holdout=0.0), threads=1) for alpha in (None, 1e-9))
        if fit.structure.name != "linear":
            continue
        for name in ("x0", "x1", "x2"):
            way = fit.coefficients[name] - free.coefficients[name]
            shrunk += abs(fit.coefficients[name]) < 0.01 * abs(free.coefficients[name])
            wanted = np.hypot(free.standard_errors[name], way)
            assert 0.9 * wanted < fit.standard_errors[name] < 1.1 * wanted
    assert shrunk >= 3


def test_the_first_and_the_last_bin_hold_what_is_true() -> None:
    across, ends = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=1_500)
        table = table_of({"x": x, "label": rng.normal(0.5 * x**2 + x, 1.0)})
        fit = train(table, Recipe("squared", holdout=0.0), threads=1)
        (shape,) = fit.shapes
        assert shape.edges is not None
        assert shape.standard_error is not None
        counts = np.asarray(shape.rows)
        true = np.bincount(np.searchsorted(shape.edges, x), 0.5 * x**2 + x) / counts
        held = np.abs(shape.effect - (true - counts @ true / len(x))) < 1.96 * shape.standard_error
        across.append(held @ counts / len(x))
        ends += [held[0], held[-1]]
    assert np.mean(across) >= 0.9
    assert np.mean(ends) >= 0.85
