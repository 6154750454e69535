"""The third-order total against the tensor written out, and what is assumed of third and fourth derivatives."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from tests.updating.made import design, drawn_codes, joined, one_chunk

from batchlearn.kernels.design import Floats, Layout
from batchlearn.objectives.losses import LOSSES
from batchlearn.updating.third_order import (
    THIRD_ORDER_LOSSES,
    ThirdTotal,
    along,
    block_shapes,
    tensor_size,
    third_derivative,
    worth_keeping,
)

LAYOUTS = (
    Layout(True, 2, (3, 2, 4)),
    Layout(False, 2, (3, 2, 2)),
    Layout(True, 0, (2, 3, 2, 2)),
    Layout(False, 0, (2, 3)),
    Layout(True, 3),
    Layout(True, 0, (3,)),
    Layout(False, 0, (3,)),
    Layout(False, 1, (2, 1, 3)),
)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("loss", THIRD_ORDER_LOSSES)
def test_along_is_the_tensor_times_the_step(layout: Layout, loss: str) -> None:
    rng = np.random.default_rng(layout.size)
    parts = []
    for count in (40, 17):
        codes, weight = drawn_codes(rng, layout, count), rng.uniform(0.0, 2.0, count)
        label = rng.integers(0, 2, count).astype(np.float64)
        parts.append(one_chunk(layout, rng.normal(size=(layout.dense, count)), codes, label, weight))
    rows = joined(*parts)
    parameters, step = rng.normal(size=layout.size), rng.normal(size=layout.size)
    X = design(rows)
    eta, weight = X @ parameters, np.concatenate([c.weight for c in rows.chunks if c.weight is not None])
    p = 1.0 / (1.0 + np.exp(-eta))
    third = weight * (p * (1.0 - p) * (1.0 - 2.0 * p) if loss == "logistic" else np.exp(eta))
    (entries,) = rows.total(ThirdTotal(LOSSES[loss]), parameters)
    assert entries.shape == (tensor_size(layout),)
    np.testing.assert_allclose(along(layout, entries, step), X.T @ ((third * (X @ step))[:, None] * X), atol=1e-11)


@pytest.mark.parametrize("loss", THIRD_ORDER_LOSSES)
def test_third_and_fourth_derivatives_are_at_most_the_second(loss: str) -> None:
    eta, step = np.linspace(-12.0, 12.0, 4801), 1e-4
    curvature = partial(LOSSES[loss].least_curvature, label=np.zeros_like(eta))

    def third(at: Floats) -> Floats:
        return third_derivative(LOSSES[loss], at, curvature(at))

    np.testing.assert_allclose(
        third(eta), (curvature(eta + step) - curvature(eta - step)) / (2.0 * step), rtol=1e-6, atol=1e-9
    )
    fourth = (third(eta + step) - third(eta - step)) / (2.0 * step)
    assert np.all(np.abs(third(eta)) <= curvature(eta) * (1.0 + 1e-12))
    assert np.all(np.abs(fourth) <= curvature(eta) * (1.0 + 1e-6) + 1e-9)


def test_a_tensor_too_large_or_without_a_bound_is_not_kept() -> None:
    assert worth_keeping(LOSSES["logistic"], Layout(True, 2, (59, 59, 20)))
    assert not worth_keeping(LOSSES["squared"], Layout(True, 2, (3, 4)))
    assert not worth_keeping(LOSSES["logistic"], Layout(True, 2, (300, 300, 300)))
    assert not worth_keeping(LOSSES["logistic"], Layout(True, 2, (3,), 5))


def test_blocks_hold_each_triple_of_groups_once() -> None:
    shapes = block_shapes(Layout(True, 1, (2, 3, 4, 5)))
    assert shapes == ((2, 2, 2 + 14), (2, 2, 12), (2 + 2, 3, 9), (2 + 2 + 3, 4, 5))
    triples = 2 * 3 * 4 + 2 * 3 * 5 + 2 * 4 * 5 + 3 * 4 * 5
    pairs = 2 * 3 + 2 * 4 + 2 * 5 + 3 * 4 + 3 * 5 + 4 * 5
    assert tensor_size(Layout(True, 1, (2, 3, 4, 5))) == triples + 2 * pairs + 4 * (2 + 3 + 4 + 5) + 8
