"""What totals say about the loss of rows at another point, against those rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mpmath import mp
from tests.updating.made import design, kept_of, made

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.kernels.design import Floats
from batchlearn.objectives.losses import LOSSES
from batchlearn.updating.remainder import OldRows, tail


def at(loss: str, rows: MemoryRows, parameters: Floats) -> tuple[float, Floats, Floats]:
    """Return value, gradient and Hessian of the rows' loss in sums."""
    X, chunk = design(rows), rows.read(rows.chunks[0])
    eta, phi = X @ parameters + chunk.offset, LOSSES[loss]
    value = float(chunk.weight @ phi.value(eta, chunk.label))
    gradient = X.T @ (chunk.weight * phi.slope(eta, chunk.label))
    return value, gradient, X.T @ ((chunk.weight * phi.least_curvature(eta, chunk.label))[:, None] * X)


@pytest.mark.parametrize("loss", ["logistic", "poisson", "squared"])
@pytest.mark.parametrize("third", [True, False])
def test_value_gradient_and_hessian_are_within_what_is_said(loss: str, third: bool) -> None:
    for seed in range(40):
        rng = np.random.default_rng((seed, third))
        problem = made(rng, loss)
        rows = problem.rows(rng, 60)
        kept = kept_of(problem, rows)
        if not third:
            kept = kept.__class__(**{**vars(kept), "totals": kept.totals._replace(third=None)})
        old = OldRows(kept, LOSSES[loss].self_concordance)
        step = rng.normal(size=problem.layout.size) * 10.0 ** rng.uniform(-3, 0)
        way = old.way(step)
        ahead, bend = old.ahead(way), old.below(way)
        start = at(loss, rows, kept.parameters)[0]
        value, gradient, hessian = at(loss, rows, kept.parameters + step)
        assert abs(value - start - ahead.rise.change) <= ahead.rise.error + 1e-11 * abs(value)
        off = gradient - ahead.gradient
        scale = hessian + 1e-9 * np.eye(len(hessian)) * np.trace(hessian)
        assert math.sqrt(off @ np.linalg.solve(scale, off)) <= ahead.unknown + 1e-6
        assert np.linalg.eigvalsh(hessian - bend.lower)[0] >= -1e-9 * np.trace(hessian)


@pytest.mark.parametrize("third", [True, False])
def test_a_part_of_a_way_is_the_way_of_a_part(third: bool) -> None:
    rng = np.random.default_rng(4)
    problem = made(rng, "poisson")
    kept = kept_of(problem, problem.rows(rng, 60))
    if not third:
        kept = kept.__class__(**{**vars(kept), "totals": kept.totals._replace(third=None)})
    old, step = OldRows(kept, 1.0), 0.1 * rng.normal(size=problem.layout.size)
    part, own = old.ahead(old.way(step).part(0.3)), old.ahead(old.way(0.3 * step))
    assert part.rise == pytest.approx(own.rise, rel=1e-10)
    np.testing.assert_allclose(part.gradient, own.gradient, rtol=1e-10)


def test_the_third_order_is_tighter_for_a_small_step() -> None:
    rng = np.random.default_rng(3)
    problem = made(rng, "logistic")
    kept = kept_of(problem, problem.rows(rng, 60))
    step = 0.05 * rng.normal(size=problem.layout.size)
    old = OldRows(kept, 1.0)
    without = OldRows(kept.__class__(**{**vars(kept), "totals": kept.totals._replace(third=None)}), 1.0)
    assert old.ahead(old.way(step)).unknown < 0.2 * without.ahead(without.way(step)).unknown


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("a", [0.0, 1e-12, 1e-3, 0.5, 3.0, 30.0])
def test_the_tail_of_the_exponential(a: float, order: int) -> None:
    with mp.workdps(80):
        truth = mp.exp(a) - mp.fsum(mp.mpf(a) ** k / mp.factorial(k) for k in range(order))
        assert truth <= tail(a, order) <= truth * (1 + mp.mpf(10) ** -11)
    assert tail(60.0, 2) == tail(math.nan, 2) == math.inf
