"""The Tweedie density against the series written out in 60 digits, and the power that labels were drawn with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpmath import mp
from tests.training.made import table_of

from batchlearn.data.encoding_fit import EncodingRules
from batchlearn.data.ledger import read_ledger
from batchlearn.data.split import with_lots
from batchlearn.kernels.design import Floats
from batchlearn.progress import finish
from batchlearn.selection.tweedie_power import PowerProfile, log_density, profile_power


def series(label: float, mean: float, dispersion: float, power: float) -> Any:
    """Return the logarithm of the density, term by term (Dunn and Smyth 2005)."""
    y, mu, phi, p = (mp.mpf(value) for value in (label, mean, dispersion, power))
    natural = (y * mu ** (1 - p) / (1 - p) - mu ** (2 - p) / (2 - p)) / phi
    if y == 0:
        return natural
    alpha = (2 - p) / (1 - p)
    peak = int(y ** (2 - p) / (phi * (2 - p)))
    reach = int(12 * mp.sqrt(peak + 1)) + 60
    step = -alpha * mp.log(y) + alpha * mp.log(p - 1) - (1 - alpha) * mp.log(phi) - mp.log(2 - p)
    terms = (
        mp.exp(j * step - mp.loggamma(1 + j) - mp.loggamma(-alpha * j))
        for j in range(max(1, peak - reach), peak + reach)
    )
    return natural + mp.log(mp.fsum(terms)) - mp.log(y)


@pytest.mark.parametrize("power", [1.02, 1.3, 1.5, 1.98])
@pytest.mark.parametrize("dispersion", [5e-3, 0.3, 5.0, 300.0])
def test_the_density_is_that_of_the_series(power: float, dispersion: float) -> None:
    labels = np.array([0.0, 1e-4, 0.5, 5.0, 20.0])
    found = log_density(labels, np.full(5, 3.0), dispersion, power)
    for label, value in zip(labels, found, strict=True):
        truth = float(series(label, 3.0, dispersion, power))
        assert value == pytest.approx(truth, rel=1e-10, abs=1e-10)


def test_a_sum_of_very_many_terms_goes_on_where_the_grid_ends() -> None:
    """On either side of the change to the saddlepoint approximation the two agree."""
    power, mean = 1.5, np.full(2, 1.0)
    for few, many in ((1.001e-7 * 2, 1.999e-7),):
        grid, saddle = (log_density(np.ones(2), mean, dispersion, power)[0] for dispersion in (few, many))
        # The density at its mean is 1 / sqrt(2 pi phi): nearly the same for nearly the same dispersion.
        assert grid + 0.5 * np.log(few) == pytest.approx(saddle + 0.5 * np.log(many), abs=1e-6)


def drawn(power: float, dispersion: float, n: int = 6000, seed: int = 0) -> dict[str, Any]:
    """Draw Poisson sums of gamma amounts whose mean depends on a column."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    mean: Floats = np.exp(1.0 + 0.5 * x)
    number = rng.poisson(mean ** (2.0 - power) / (dispersion * (2.0 - power)))
    shape, scale = (2.0 - power) / (power - 1.0), dispersion * (power - 1.0) * mean ** (power - 1.0)
    return {"x": x, "label": np.where(number > 0, rng.gamma(shape * np.maximum(number, 1), scale), 0.0)}


def profiled(columns: dict[str, Any]) -> PowerProfile:
    table = table_of(columns)
    ledger = with_lots(table, read_ledger(table, loss="tweedie"))
    return finish(profile_power(table, ledger, ledger.used, EncodingRules(), 0, 1))


@pytest.mark.parametrize(("power", "dispersion"), [(1.2, 2.0), (1.5, 5.0), (1.75, 1.0)])
def test_the_power_that_labels_were_drawn_with_is_found(power: float, dispersion: float) -> None:
    found = profiled(drawn(power, dispersion))
    assert found.power == pytest.approx(power, abs=0.03)
    assert found.dispersion == pytest.approx(dispersion, rel=0.05)
    assert found.rows == 6000
    assert f"power {found.power:g} was chosen" in str(found.note)


def test_labels_that_cannot_tell_get_the_usual_power_and_a_sentence() -> None:
    found = profiled({"x": np.arange(50.0), "label": np.full(50, 3.0)})
    assert found.power == 1.5
    assert found.dispersion is None
    assert "cannot tell" in str(found.note)


def test_counts_and_gamma_amounts_end_near_the_bounds_and_are_told_of_their_own_loss() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=3000)
    counts = profiled({"x": x, "label": rng.poisson(np.exp(0.3 * x + 2.0)).astype(float)})
    assert "--loss poisson may fit" in str(counts.note)
    amounts = profiled({"x": x, "label": rng.gamma(0.7, np.exp(0.3 * x))})
    assert "--loss gamma may fit" in str(amounts.note)
