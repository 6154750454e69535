"""Correct digits on the linear reference data sets of NIST (StRD), whose certified coefficients have 15 digits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from batchlearn import LinearRegressor, NoFiniteOptimum

SETS = json.loads((Path(__file__).parent / "nist.json").read_text(encoding="utf-8"))
# Digits that the worst coefficient has at least; a perfect answer in double precision has up to 15.
DIGITS = {
    "Norris": 11.0,
    "Longley": 10.0,
    "Wampler1": 9.0,
    "Wampler2": 12.0,
    "Wampler3": 9.0,
    "Wampler4": 7.5,
    "Wampler5": 5.5,
}


def problem(name: str) -> tuple[NDArray[np.float64], list[float], NDArray[np.float64]]:
    given: dict[str, Any] = SETS[name]
    x = np.asarray(given["x"], dtype=np.float64)
    powers = np.hstack([x**k for k in range(1, given["degree"] + 1)])
    return powers, given["y"], np.asarray(given["certified"])


def digits(found: NDArray[np.float64], certified: NDArray[np.float64]) -> float:
    error = np.max(np.abs(found - certified) / np.abs(certified))
    return float(-np.log10(max(error, 1e-15)))


@pytest.mark.parametrize("name", DIGITS)
def test_least_squares_has_the_digits(name: str) -> None:
    x, y, certified = problem(name)
    fitted: Any = LinearRegressor(alpha=0.0, loss="squared", tol=1e-300).fit(x, y)
    found = np.append(fitted.intercept_, fitted.coef_)
    assert digits(found, certified) >= DIGITS[name]
    # The certificate speaks about the numbers delivered, so the certified digits may not contradict it.
    room = 1e-14 * np.abs(certified)
    assert np.all(np.abs(found - certified) <= fitted.certificate_.coefficient_bound + room)


def test_a_polynomial_beyond_double_precision_is_refused() -> None:
    x, y, _ = problem("Filip")
    with pytest.raises(NoFiniteOptimum, match="repeat each other"):
        LinearRegressor(alpha=0.0).fit(x, y)


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_units_of_the_columns_do_not_matter(factor: float) -> None:
    x, y, _ = problem("Longley")
    plain = LinearRegressor(alpha=0.0).fit(x, y).predict(x)
    units = factor ** np.array([1.0, -1.0, 0.5, -0.5, 1.0, 0.0])
    assert LinearRegressor(alpha=0.0).fit(x * units, y).predict(x * units) == pytest.approx(plain, rel=1e-9)
