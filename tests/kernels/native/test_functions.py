"""Elementary functions of the compiled kernels: their errors, measured against mpmath, are those that bounds charge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from batchlearn.kernels import native

compiled: Any = native.compiled()
pytestmark = pytest.mark.skipif(compiled is None, reason="the kernels are not compiled here")

Floats = NDArray[np.float64]
LEVELS = [level for level in (2, 3, 4) if compiled is not None and level <= compiled.level()] or [0]


def computed(name: str, x: Floats) -> Floats:
    result = np.empty_like(x)
    getattr(compiled, name)(x, result)
    return result


def units_in_the_last_place(got: Floats, x: Floats, exact: Callable[[Any], Any]) -> float:
    worst = mpmath.mpf(0)
    with mpmath.workprec(1200):
        for value, at in zip(got.tolist(), x.tolist(), strict=True):
            true = exact(mpmath.mpf(at))
            worst = max(worst, abs(mpmath.mpf(value) - true) / mpmath.mpf(float(np.spacing(abs(float(true))))))
    return float(worst)


def test_exponential_is_within_a_unit_in_the_last_place() -> None:
    rng = np.random.default_rng(1)
    at_ties = 0.5 * np.log(2.0) * rng.integers(-99, 99, 200)
    x = np.concatenate([rng.uniform(-708.0, 709.0, 400), rng.uniform(-1.0, 1.0, 400), at_ties, [0.0, 1e-300]])
    assert units_in_the_last_place(computed("exponential", x), x, mpmath.exp) <= 1.0


def test_exponential_at_its_ends() -> None:
    x = np.array([709.8, 1e9, np.inf, -746.0, -1e9, -np.inf, np.nan, -740.0, -0.0])
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(computed("exponential", x), np.exp(x))


def test_logarithms_are_within_two_units_in_the_last_place() -> None:
    rng = np.random.default_rng(2)
    x = np.concatenate([10.0 ** rng.uniform(-300, 300, 400), rng.uniform(0.5, 2.0, 400), [1.0, 2.0]])
    assert units_in_the_last_place(computed("logarithm", x), x, mpmath.log) <= 2.0
    x = np.concatenate([rng.uniform(0.0, 1.0, 400), 10.0 ** rng.uniform(-300, 0, 200), [0.0, 1.0]])
    assert units_in_the_last_place(computed("logarithm_of_one_and", x), x, mpmath.log1p) <= 2.0


def test_what_the_poisson_loss_is_made_of_does_not_cancel() -> None:
    rng = np.random.default_rng(3)
    small = rng.choice([-1.0, 1.0], 200) * 10.0 ** rng.uniform(-140, 0, 200)
    x = np.concatenate([rng.uniform(-1.0, 1.0, 500), small, rng.uniform(-700.0, 700.0, 200), [0.0]])
    got = computed("exponential_less_its_start", x)
    assert got.min() >= 0.0
    assert units_in_the_last_place(got, x, lambda at: mpmath.exp(at) - 1 - at) <= 16.0


@pytest.mark.parametrize("name", ["exponential", "logarithm", "logarithm_of_one_and", "exponential_less_its_start"])
def test_every_instruction_set_gives_the_same_bits(name: str) -> None:
    rng = np.random.default_rng(4)
    x = rng.uniform(0.0, 1.0, 1003) if name == "logarithm_of_one_and" else rng.uniform(1e-6, 700.0, 1003)
    highest, found = compiled.level(), []
    try:
        for level in LEVELS:
            compiled.use_level(level)
            found.append(computed(name, x))
    finally:
        compiled.use_level(highest)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
    parts = np.concatenate([computed(name, x[:5]), computed(name, x[5:1001]), computed(name, x[1001:])])
    np.testing.assert_array_equal(parts, found[0])


def test_a_result_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="as many places"):
        compiled.exponential(np.zeros(3), np.empty(2))
