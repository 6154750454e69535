"""How often 95 % intervals of coefficients hold the true ones, with the dispersion in the standard errors and without.

    python benchmarks/standard_errors.py --trials 200

Draws labels of each loss from a known linear model (counts also with four times the Poisson variance), trains, and
prints the share of true slopes within 1.96 standard errors.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import batchlearn as bl

SLOPES = np.array([0.3, -0.2, 0.0])
KINDS = ("squared", "logistic", "poisson", "poisson, overdispersed", "gamma", "tweedie")


def drawn(rng: np.random.Generator, kind: str, eta: np.ndarray) -> np.ndarray:
    mean = np.exp(eta)
    if kind == "squared":
        return eta + 2.0 * rng.normal(size=len(eta))
    if kind == "logistic":
        return (rng.random(len(eta)) < 1.0 / (1.0 + np.exp(-eta))).astype(float)
    if kind == "poisson":
        return rng.poisson(mean).astype(float)
    if kind == "poisson, overdispersed":
        return rng.negative_binomial(mean / 3.0, 0.25).astype(float)  # variance four times the mean
    if kind == "gamma":
        return rng.gamma(2.0, mean / 2.0)
    number = rng.poisson(np.sqrt(mean))  # power 1.5: Poisson sums of gamma amounts of shape 1
    return np.where(number > 0, rng.gamma(np.maximum(number, 1.0), np.sqrt(mean)), 0.0)


def shares(kind: str, trials: int, rows: int) -> tuple[float, float]:
    with_dispersion, without = [], []
    loss = kind.partition(",")[0]
    for trial in range(trials):
        rng = np.random.default_rng((trial, KINDS.index(kind)))
        X = rng.normal(size=(rows, 3))
        columns = {**{f"x{j}": X[:, j] for j in range(3)}, "y": drawn(rng, kind, 0.5 + X @ SLOPES)}
        power = 1.5 if loss == "tweedie" else None
        recipe = bl.Recipe(loss, alpha=1e-9, holdout=0.0, power=power)
        fit = bl.train(bl.read(columns, target="y"), recipe, threads=1)
        wrong = np.array([fit.coefficients[f"x{j}"] for j in range(3)]) - SLOPES
        error = np.array([fit.standard_errors[f"x{j}"] for j in range(3)])
        with_dispersion.append(np.abs(wrong) < 1.96 * error)
        without.append(np.abs(wrong) < 1.96 * error / np.sqrt(fit.dispersion or 1.0))
    return float(np.mean(with_dispersion)), float(np.mean(without))


def main() -> None:
    parser = argparse.ArgumentParser(description="Cover true coefficients by intervals.")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--rows", type=int, default=1000)
    options = parser.parse_args()
    print(f"{'labels':24} {'covered':>8} {'without the dispersion':>23}")
    for kind in KINDS:
        covered, bare = shares(kind, options.trials, options.rows)
        print(f"{kind:24} {covered:8.1%} {bare:23.1%}")


if __name__ == "__main__":
    main()
