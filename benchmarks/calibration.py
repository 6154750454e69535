"""How often the 95 % intervals of calibration bins hold the true mean of their rows.

    python benchmarks/calibration.py --trials 1000 [--write]

Labels are drawn around known means; the responses judged are these means with errors of their own (a tenth too large,
and off by a tenth at random; shifted on the log odds for classes). Each line is one kind of labels, each column a
number of rows in ten bins: the share of all bins whose interval holds the mean of the true means of its rows, the
lowest share of any bin, and the share of bins that have an interval. `--write` puts the table into docs/judging.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from batchlearn.evaluation.calibration import bin_starts, calibration

PAGE = Path(__file__).resolve().parents[1] / "docs" / "judging.md"
ROWS = (100, 300, 1000, 5000)
BINS = 10
Draw = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def normal(rng: np.random.Generator, mean: np.ndarray) -> np.ndarray:
    return mean + 2.0 * rng.normal(size=len(mean))


def uneven(rng: np.random.Generator, mean: np.ndarray) -> np.ndarray:
    return mean + np.exp(0.5 * mean) * rng.normal(size=len(mean))


def skewed(rng: np.random.Generator, mean: np.ndarray) -> np.ndarray:
    return mean + 2.0 * (rng.exponential(size=len(mean)) - 1.0)


def heavy(rng: np.random.Generator, mean: np.ndarray) -> np.ndarray:
    return mean + rng.standard_t(3.0, len(mean))


def poisson(rng: np.random.Generator, mean: np.ndarray) -> np.ndarray:
    return rng.poisson(mean).astype(np.float64)


def overdispersed(rng: np.random.Generator, mean: np.ndarray) -> np.ndarray:
    return rng.poisson(mean * rng.gamma(1.0, 1.0, len(mean))).astype(np.float64)  # variance mean + mean^2


def exponential(rng: np.random.Generator, mean: np.ndarray) -> np.ndarray:
    return rng.gamma(1.0, mean)


def gamma(rng: np.random.Generator, mean: np.ndarray) -> np.ndarray:
    return rng.gamma(4.0, mean / 4.0)


def tweedie(rng: np.random.Generator, mean: np.ndarray) -> np.ndarray:
    # Power 1.5: Poisson sums of exponential amounts; at a mean of 1 a share of exp(-0.5) = 61 % are 0.
    number = rng.poisson(0.5 * np.sqrt(mean))
    return np.where(number > 0, rng.gamma(np.maximum(number, 1.0), 2.0 * np.sqrt(mean)), 0.0)


def binary(rng: np.random.Generator, mean: np.ndarray) -> np.ndarray:
    return (rng.random(len(mean)) < mean).astype(np.float64)


# By name: task, how labels are drawn, the middle of the means, and how far weights or exposures spread (logarithms).
KINDS: dict[str, tuple[str, Draw, float, str]] = {
    "two classes, half and half": ("classes", binary, 0.5, ""),
    "two classes, 5 % positive": ("classes", binary, 0.05, ""),
    "two classes, 1 % positive": ("classes", binary, 0.01, ""),
    "two classes, weights": ("classes", binary, 0.2, "weights"),
    "numbers, normal": ("number", normal, 0.0, ""),
    "numbers, spread grows": ("number", uneven, 0.0, ""),
    "numbers, t of 3 degrees": ("number", heavy, 0.0, ""),
    "numbers, skewed (exponential)": ("number", skewed, 0.0, ""),
    "numbers, weights": ("number", normal, 0.0, "weights"),
    "counts of mean 0.05": ("count", poisson, 0.05, ""),
    "counts of mean 0.5": ("count", poisson, 0.5, ""),
    "counts of mean 5": ("count", poisson, 5.0, ""),
    "counts of mean 0.2, exposures": ("count", poisson, 0.2, "exposures"),
    "counts of mean 0.2, weights": ("count", poisson, 0.2, "weights"),
    "counts of mean 0.2, overdispersed": ("count", overdispersed, 0.2, ""),
    "counts of mean 5, overdispersed": ("count", overdispersed, 5.0, ""),
    "amounts, gamma of shape 4": ("amount", gamma, 10.0, ""),
    "amounts, gamma of shape 1": ("amount", exponential, 10.0, ""),
    "amounts, Tweedie, 61 % zeros": ("amount", tweedie, 1.0, ""),
    "amounts, Tweedie, 90 % zeros": ("amount", tweedie, 0.05, ""),
    "amounts, Tweedie, weights": ("amount", tweedie, 1.0, "weights"),
}


def one(rng: np.random.Generator, kind: str, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return of each bin whether its interval holds the true mean, and whether it has one."""
    task, draw, middle, more = KINDS[kind]
    signal, error = rng.normal(size=rows), 0.1 * rng.normal(size=rows)
    spread = np.exp(rng.normal(0.0, 0.7, rows))
    weight = spread if more == "weights" else np.ones(rows)
    if task == "classes":
        odds = np.log(middle / (1.0 - middle)) + 0.8 * signal
        mean, response = (1.0 / (1.0 + np.exp(-eta)) for eta in (odds, odds + 0.1 + error))
    elif task == "number":
        mean = middle + signal
        response = 1.1 * mean + error
    else:
        mean = middle * np.exp(0.7 * signal) * (spread if more == "exposures" else 1.0)
        response = mean * np.exp(0.1 + error)
    label = draw(rng, mean)
    found = calibration(task, label, response, weight, BINS)
    order = np.argsort(response, kind="stable")
    starts = bin_starts(response[order], BINS)
    total = np.add.reduceat((weight * mean)[order], starts)
    truth = total / np.add.reduceat(weight[order], starts)
    ends = np.array([(np.nan, np.nan) if b.low is None else (b.low, b.high) for b in found.bins])
    known = ~np.isnan(ends[:, 0])
    return (ends[:, 0] <= truth) & (truth <= ends[:, 1]), known


def line(kind: str, trials: int) -> str:
    cells = []
    for rows in ROWS:
        held, known = np.zeros((2, trials, BINS), dtype=bool)
        for trial in range(trials):
            rng = np.random.default_rng((trial, rows, list(KINDS).index(kind)))
            held[trial], known[trial] = one(rng, kind, rows)
        share = held.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        short = "" if known.all() else f", {100 * known.mean():.0f} % have one"
        cells.append(f"{100 * held.sum() / known.sum():.1f} (lowest {100 * share.min():.1f}{short})")
    return f"| {kind} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Cover true means of calibration bins by intervals.")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--write", action="store_true", help="put the table into docs/judging.md")
    given = parser.parse_args()
    head = f"| labels | {' | '.join(f'{rows:,} rows' for rows in ROWS)} |\n|---|{'---:|' * len(ROWS)}"
    lines = [head]
    print(head, flush=True)
    for kind in KINDS:
        lines.append(line(kind, given.trials))
        print(lines[-1], flush=True)
    if given.write:
        text = PAGE.read_text()
        begin, end = text.index("| labels | 100 rows"), text.index("\n\n", text.index("| labels | 100 rows"))
        PAGE.write_text(text[:begin] + "\n".join(lines) + text[end:])


if __name__ == "__main__":
    main()
