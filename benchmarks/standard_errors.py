"""How often 95 % intervals of the default recipe hold what is true: slopes, contrasts of levels, shapes.

    python benchmarks/standard_errors.py --trials 200 --rows 500 1500 5000
    python benchmarks/standard_errors.py --trials 200 --rows 1000 --loss poisson --overdispersed

Labels of each loss are drawn from two known models, the default recipe is trained on each table, and its effects as the
page shows them are held against the truth, within 1.96 standard errors:

- lines: three numbers with slopes of 0.3, -0.2 and 0, the first two correlated by one half, and a category of six
  levels; slopes are counted where `train` chose the linear model, levels always.
- shapes: a sine, a parabola of a normal number, a line and a number without effect; counted where `train` chose the
  additive model. Across the function: the share of rows whose bin's effect is held, the mean over columns and tables.
  A bin's true effect is the mean of the function over its rows less that over all rows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import batchlearn as bl

SLOPES = np.array([0.3, -0.2, 0.0])
LEVELS = dict(zip("abcdef", (0.4, -0.3, 0.0, 0.15, -0.25, 0.0), strict=True))
SHARES = (0.35, 0.25, 0.2, 0.1, 0.06, 0.04)
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sine": lambda x: 1.2 * np.sin(1.5 * x),
    "parabola": lambda x: 0.4 * (x**2 - 1.0),
    "line": lambda x: 0.5 * x,
    "nothing": lambda x: 0.0 * x,
}
LOSSES = ("squared", "logistic", "poisson", "gamma", "tweedie")
Z = 1.96


def drawn(rng: np.random.Generator, loss: str, eta: np.ndarray, overdispersed: bool = False) -> np.ndarray:
    """Draw labels around the linear predictor; overdispersed counts have four times the Poisson variance."""
    mean = np.exp(np.minimum(eta, 6.0))
    if loss == "squared":
        return eta + 2.0 * rng.normal(size=len(eta))
    if loss == "logistic":
        return (rng.random(len(eta)) < 1.0 / (1.0 + np.exp(-eta))).astype(float)
    if loss == "poisson":
        return (rng.negative_binomial(mean / 3.0, 0.25) if overdispersed else rng.poisson(mean)).astype(float)
    if loss == "gamma":
        return rng.gamma(2.0, mean / 2.0)
    number = rng.poisson(np.sqrt(mean))  # power 1.5: Poisson sums of gamma amounts of shape 1
    return np.where(number > 0, rng.gamma(np.maximum(number, 1.0), np.sqrt(mean)), 0.0)


def trained(columns: dict[str, np.ndarray], loss: str) -> bl.Fit:
    recipe = bl.Recipe(loss, power=1.5 if loss == "tweedie" else None)
    return bl.train(bl.read(columns, target="y"), recipe, threads=1)


def lines(rng: np.random.Generator, loss: str, rows: int, overdispersed: bool) -> dict[str, list[float]]:
    """Return the shares held of one table: slopes, where there are any, and contrasts of levels."""
    X = rng.normal(size=(rows, 3))
    X[:, 1] = 0.5 * X[:, 0] + np.sqrt(0.75) * X[:, 1]
    level = rng.choice(list(LEVELS), rows, p=SHARES)
    eta = 0.5 + X @ SLOPES + np.array([LEVELS[one] for one in level])
    numbers = {f"x{j}": X[:, j] for j in range(3)}
    fit = trained({**numbers, "level": level, "y": drawn(rng, loss, eta, overdispersed)}, loss)
    slopes = [
        float(abs(fit.coefficients[f"x{j}"] - SLOPES[j]) < Z * fit.standard_errors[f"x{j}"])
        for j in range(3)
        if f"x{j}" in fit.coefficients
    ]
    shape = next(shape for shape in fit.shapes if shape.name == "level")
    named = [name.removeprefix("level = ") for name in shape.names]
    true, counts = np.array([LEVELS[name] for name in named]), np.array(shape.rows)
    held = np.abs(shape.effect - (true - counts @ true / counts.sum())) < Z * shape.standard_error
    return {"slope": slopes, "level": [float(one) for one in held]}


def curves(rng: np.random.Generator, loss: str, rows: int, overdispersed: bool) -> dict[str, list[float]]:
    """Return the shares held of one table: across each function, and in its first and last bin."""
    numbers = {name: np.clip(rng.normal(size=rows), -2.5, 2.5) for name in FUNCTIONS}
    numbers["sine"] = rng.uniform(-2.0, 2.0, rows)
    eta = 0.3 + sum(FUNCTIONS[name](x) for name, x in numbers.items())
    fit = trained({**numbers, "y": drawn(rng, loss, eta, overdispersed)}, loss)
    across, ends = [], []
    for shape in fit.shapes:
        if shape.kind != "bins" or shape.edges is None:
            continue
        x, counts = numbers[shape.name], np.array(shape.rows)
        effect = FUNCTIONS[shape.name](x)
        bins = np.bincount(np.searchsorted(shape.edges, x, side="left"), effect, minlength=len(counts))
        held = np.abs(shape.effect - (bins / counts - effect.mean())) < Z * shape.standard_error
        across.append(float(held @ counts / rows))
        ends += [float(held[0]), float(held[-1])]
    return {"shape": across, "ends": ends}


def main() -> None:
    parser = argparse.ArgumentParser(description="Cover true effects by intervals of the default recipe.")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--rows", type=int, nargs="+", default=[500, 1500, 5000])
    parser.add_argument("--loss", nargs="+", choices=LOSSES, default=LOSSES)
    parser.add_argument("--overdispersed", action="store_true", help="counts of four times the Poisson variance")
    options = parser.parse_args()
    print("| labels | rows | slopes | contrasts of levels | across a shape | first and last bin | linear | additive |")
    print("|---|---|---|---|---|---|---|---|")
    for loss in options.loss:
        for rows in options.rows:
            held: dict[str, list[float]] = {"slope": [], "level": [], "shape": [], "ends": []}
            chosen = {"slope": 0, "shape": 0}
            for trial in range(options.trials):
                for draw in (lines, curves):
                    rng = np.random.default_rng((trial, rows, LOSSES.index(loss)))
                    for what, shares in draw(rng, loss, rows, options.overdispersed).items():
                        held[what] += shares
                        if what in chosen:
                            chosen[what] += bool(shares)
            shown = " | ".join(f"{np.mean(shares):.1%}" if shares else "-" for shares in held.values())
            print(f"| {loss} | {rows:,} | {shown} | {chosen['slope']} | {chosen['shape']} |", flush=True)


if __name__ == "__main__":
    main()
