"""The threshold of a Huber fit, where none is given: 1.345 times a robust scale of the residuals.

Of normal residuals that keeps 95 % of the efficiency of least squares (Huber 1981, section 4; Holland and Welsch 1977).
The scale is the median size of the residuals over that of a standard normal one.
"""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.encoding_fit import EncodingRules
from batchlearn.data.ledger import Ledger
from batchlearn.data.rows import Chunk, Rows
from batchlearn.data.rows.journal import Journal
from batchlearn.formatting.notes import Code, Note
from batchlearn.kernels.design import Floats
from batchlearn.objectives.losses import LOSSES, Loss
from batchlearn.objectives.losses.huber import HuberLoss
from batchlearn.selection.linear_sample import linear_sample
from batchlearn.selection.penalty_selection import PenalisedTerm, select_penalties
from batchlearn.statistics.rowwise import predictor
from batchlearn.tables.table import Table

# Of the usual threshold: so many rows are within a smaller one that their share says nothing.
_NARROW = 0.1
EFFICIENT = 1.345
_MEDIAN_OF_NORMAL = 0.6744897501960817
_ROUNDS, _SETTLED, _DIGITS = 4, 0.01, 4


def choose_threshold(
    table: Table,
    ledger: Ledger,
    part: NDArray[np.bool_],
    rules: EncodingRules,
    seed: int,
    threads: int,
    *,
    journal: Journal | None = None,
) -> Generator[int, None, tuple[float, Note]]:
    """Yield rows read; return the threshold that a random sample of the part asks for, around a linear model.

    In units of the label, rounded so that it can be typed; and a note of how it was found.
    """
    rows, terms = yield from linear_sample(table, ledger, part, rules, seed, threads, journal=journal)
    threshold = float(f"{settled_threshold(rows, terms):.{_DIGITS}g}")
    return threshold, Note(Code.HUBER_THRESHOLD, {"threshold": threshold, "factor": EFFICIENT, "rows": len(rows)})


def settled_threshold(rows: Rows, terms: tuple[PenalisedTerm, ...]) -> float:
    """Return the threshold at which the residuals' own scale gives it again; from least squares on."""
    loss: Loss = LOSSES["squared"]
    threshold = 0.0

    def residuals(chunk: Chunk, parameters: Floats) -> Floats:
        """Return the size of each residual and its weight, (2, m)."""
        return np.stack([np.abs(predictor(chunk, parameters) - chunk.label), chunk.weight])

    for _ in range(_ROUNDS):
        _, parameters = select_penalties(loss, rows, terms)
        size, weight = rows.map_rows(residuals, parameters)
        order = np.argsort(size, kind="stable")
        share = np.cumsum(weight[order])
        median = float(size[order][int(np.searchsorted(share, 0.5 * share[-1]))])
        # More than half of the rows fitted exactly: the mean size instead; where all are, any threshold is the same.
        scales = (median / _MEDIAN_OF_NORMAL, float(np.average(size, weights=weight)), 1.0)
        before, threshold = threshold, EFFICIENT * next(scale for scale in scales if scale > 0.0)
        if abs(threshold - before) <= _SETTLED * threshold:
            break
        loss = HuberLoss(threshold)
    return threshold


def wide_enough(loss: HuberLoss, rows: Rows, terms: tuple[PenalisedTerm, ...]) -> HuberLoss:
    """Return the loss that strengths are chosen with: a threshold far inside of the noise has no curvature to go by."""
    usual = settled_threshold(rows, terms)
    return loss if loss.threshold >= _NARROW * usual else HuberLoss(usual)


def narrowing(wide: HuberLoss, narrow: HuberLoss) -> float:
    """Return what strengths chosen with one threshold are multiplied by for a much smaller one.

    They go with the dispersion: mean squared slope over mean curvature. At a threshold t far inside of the noise that
    is t^2 over 2 t times the density at 0, and at 1.345 standard deviations of normal noise 0.710 / 0.821 of them.
    """
    if wide.threshold == narrow.threshold:
        return 1.0
    return narrow.threshold / wide.threshold * EFFICIENT * math.sqrt(math.pi / 2.0) * 0.821 / 0.710
