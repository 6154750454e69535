"""Coefficients of classes are sums that are rounded once more: the certificate is about what that leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpmath import mp
from tests.objectives.oracle import exact

from batchlearn import LinearClassifier

CLASSES, ALPHA = 3, 2.0**-13


def expand(design: list[list[Any]], label: Any, point: list[Any]) -> tuple[Any, Any, Any]:
    """F with its gradient and Hessian, from its definition with K logits, in the oracle's digits."""
    width = len(design[0])
    value, gradient, hessian = mp.mpf(0), mp.zeros(len(point), 1), mp.zeros(len(point))
    for row, y in zip(design, label, strict=True):
        each = [mp.exp(mp.fdot(row, point[c * width : (c + 1) * width])) for c in range(CLASSES)]
        share = [one / mp.fsum(each) for one in each]
        value -= mp.log(share[y]) / len(label)
        for c in range(CLASSES):
            for j in range(width):
                gradient[c * width + j] += (share[c] - int(c == y)) * row[j] / len(label)
                for a in range(CLASSES):
                    curvature = share[c] * (int(a == c) - share[a]) * row[j] / len(label)
                    for k in range(width):
                        hessian[c * width + j, a * width + k] += curvature * row[k]
    for at in range(len(point)):
        if at % width:
            value += ALPHA * point[at] ** 2 / 2
            gradient[at] += ALPHA * point[at]
            hessian[at, at] += ALPHA
    return value, gradient, hessian


@pytest.mark.parametrize("seed", [3, 5, 7])
def test_the_bound_on_the_loss_holds_for_the_coefficients_of_each_class(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, 2)) * [1.0, 10.0] + [1e6, 3e3]
    score = (x - x.mean(axis=0)) / x.std(axis=0) @ rng.normal(size=(2, CLASSES))
    y = np.argmax(score + rng.gumbel(size=(40, CLASSES)), axis=1)
    fitted = LinearClassifier(alpha=ALPHA, tol=1e-14).fit(x, y)
    design = [[mp.mpf(1), *exact(row)] for row in x]
    point = exact(np.column_stack([fitted.intercept_, fitted.coef_]))
    value, gradient, hessian = expand(design, y, point)
    for _ in range(2):
        for a in range(CLASSES):  # of all intercepts at once no value is the best: the one nearest
            for c in range(CLASSES):
                hessian[3 * a, 3 * c] += 1
        step = mp.lu_solve(hessian, -gradient)
        point = [one + moved for one, moved in zip(point, step, strict=True)]
        least, gradient, hessian = expand(design, y, point)
    bound = fitted.certificate_.loss_bound
    assert bound is not None
    assert 0 < value - least <= bound < 1e-15
