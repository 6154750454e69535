"""Policies that train again when something changed: the losses of the live model, or the rows that come.

Both make one number of each block of rows and watch the series by a conformal test martingale. Where nothing changes,
each block is as likely to be the largest so far as any other; bets against that multiply a stake, and a stake of
1 / alpha is reached in at most alpha of all series, however long they are and however often one looks (Ville 1939;
Vovk, Nouretdinov and Gammerman 2003, "Testing exchangeability on-line"). Part of the stake is put aside for each later
block, so that a change need not be an early one (the e-detectors of Shin, Ramdas and Rinaldo 2024, with a prior).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy
from numpy.typing import NDArray

from batchlearn.errors import UsageError, quoted
from batchlearn.formatting.notes import Code, Note
from batchlearn.kernels.design import Floats
from batchlearn.retraining.policies import Decision, Losses, Situation, evidence_of, first

# Before this many blocks nothing is bet: among so few none can be odd enough.
REFERENCE_BLOCKS = 10
# A bet that a block is among the largest share q so far, with so much of the stake. Of these six in equal parts a rise
# by 2 standard deviations of a block's mean at the 20th of 60 blocks was found in 98 % of 2,000 series, after 9 blocks
# in the median; of the powers of the rank p, such as p^-0.5 / 2, in 26 %.
_BETS = tuple((share, stake) for share in (0.15, 0.3, 0.5) for stake in (0.5, 0.8))
# A block is this share of the rows learned from, and no less than so many rows.
_BLOCK_SHARE, _LOSS_ROWS, _SAMPLE_ROWS = 0.01, 20, 50
# Rows of the reference, the later half, in so many blocks tell how far blocks are from the earlier half by chance.
_CALIBRATION = 20
_BINS, _LEVELS = 10, 20
_TESTS = ("psi", "ks", "classifier")
_LEAST, _RIDGE = 1e-300, 0.01


def change_odds(series: Floats, reference: int) -> tuple[float, int]:
    """Return the largest odds there ever were that series, (n, columns), began to rise, and the column that rose most.

    Bets begin after the first values and are spread evenly over the columns, each of which is compared with its own
    past. Of exchangeable rows the odds reach c with a chance of 1 / c at most. Equal values count as the smaller rank.
    """
    stakes, largest, most = np.zeros((len(_BETS), series.shape[1])), 1.0, 0
    share, stake = (np.array(each)[:, None] for each in zip(*_BETS, strict=True))
    for bet, place in enumerate(range(reference, len(series)), start=1):
        rank = np.mean(series[: place + 1] >= series[place], axis=0)  # conformal p values
        # 1 / (k (k + 1)) of the stake begins with bet k; what has not begun yet is worth what it was.
        stakes = (stakes + 1.0 / (bet * (bet + 1))) * (1.0 - stake + stake * (rank <= share) / share)
        odds = float(stakes.mean()) + 1.0 / (bet + 1)
        if odds > largest:
            largest, most = odds, int(np.argmax(stakes.mean(axis=0)))
    return largest, most


@dataclass(frozen=True)
class Decay:
    """Train again when the loss of the live model has risen since the last training.

    Of the versions of a world that does not change at most a share `alpha` is ever replaced for it, so that false
    alarms are 1 / alpha versions apart, or more, in the mean. Blocks have whole dates, or times, and 1 % of the rows
    learned from.

    Args:
        alpha: Above 0 and below 1.

    Example:
        >>> import batchlearn as bl
        >>> str(bl.Decay(0.01))
        'decay 0.01'
    """

    alpha: float = 0.05

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)

    def __str__(self) -> str:
        """Write it as text."""
        return f"decay {self.alpha:.12g}"

    def decide(self, situation: Situation) -> Decision:
        """Watch the mean losses of blocks of rows whose labels came since the last training.

        Args:
            situation: What has arrived by now.
        """
        if situation.trained is None:
            return first(situation)
        live = evidence_of(situation, str(self)).losses()[-1]
        rows = max(_LOSS_ROWS, math.ceil(_BLOCK_SHARE * live.learned))
        means = loss_blocks(live, rows, situation.trained, situation.stamped)
        return _watch(means[:, None], 0, rows, self.alpha, (Code.LOSSES_STEADY, Code.LOSSES_ROSE))


def loss_blocks(losses: Losses, rows: int, since: float, stamped: bool) -> Floats:
    """Return the mean losses of blocks of at least so many rows, in the order in which labels came, (blocks,).

    Rows of one date, or of one time that is a number, are of one block; what has come of the last block is none yet. So
    blocks stay as they are while more rows come.
    """
    chosen = losses.seen > since
    loss, arrived = losses.loss[chosen], losses.arrived[chosen]
    time = np.floor_divide(arrived, 86_400e6) if stamped else arrived
    ends = np.flatnonzero(time[1:] != time[:-1]) + 1  # the last time may go on
    starts = [0]
    for end in ends:
        if end - starts[-1] >= rows:
            starts.append(int(end))
    return np.add.reduceat(loss[: starts[-1]], starts[:-1]) / np.diff(starts) if len(starts) > 1 else np.empty(0)


@dataclass(frozen=True)
class Drift:
    """Train again when the rows that come differ from those of the last training more than these did among themselves.

    The later half of the rows learned from, in blocks, tells how far a block is from the earlier half without being
    new: the threshold is calibrated on the past, of each column on its own.

    Args:
        test: "psi" (population stability index), "ks" (Kolmogorov and Smirnov's test of numbers, chi-squared of
            levels) or "classifier" (the area under the curve of a linear discriminant that tells the two apart).
        alpha: As of `Decay`.

    Example:
        >>> import batchlearn as bl
        >>> str(bl.Drift("ks"))
        'drift ks 0.05'
    """

    test: str = "psi"
    alpha: float = 0.05

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)
        if self.test not in _TESTS:
            raise UsageError(
                f"There is no test of drift {quoted(self.test)}; use {', '.join(_TESTS)}.", code="policy-not-valid"
            )

    def __str__(self) -> str:
        """Write it as text."""
        return f"drift {self.test} {self.alpha:.12g}"

    def decide(self, situation: Situation) -> Decision:
        """Watch how far blocks of rows are from the earlier half of those that were learned from.

        Args:
            situation: What has arrived by now.
        """
        if situation.trained is None:
            return first(situation)
        reference, recent = evidence_of(situation, str(self)).samples()
        half = reference.num_rows // 2
        rows = max(_SAMPLE_ROWS, half // _CALIBRATION)
        calibration = half // rows
        if not calibration or not recent.num_rows:
            return _watch(np.empty((0, 1)), 0, rows, self.alpha, (Code.NO_DRIFT, Code.DRIFTED))
        # The blocks end with the reference, so that none of them has rows of both.
        blocks = pa.concat_tables([reference.slice(reference.num_rows - calibration * rows), recent])
        blocks = blocks.slice(0, blocks.num_rows // rows * rows)
        scores = drift_scores(self.test, reference.slice(0, half), blocks, rows)
        names = () if self.test == "classifier" else tuple(blocks.column_names)
        return _watch(scores, calibration, rows, self.alpha, (Code.NO_DRIFT, Code.DRIFTED), names)


def _watch(
    series: Floats, calibration: int, rows: int, alpha: float, codes: tuple[Code, Code], names: tuple[str, ...] = ()
) -> Decision:
    """Bet on a rise of series whose first values, `calibration` of them, are from before the last training."""
    reference, blocks = max(calibration, REFERENCE_BLOCKS), len(series) - calibration
    if len(series) <= reference:
        needed = max(reference - calibration, 0) + 1
        return Decision(False, (Note(Code.TOO_FEW_BLOCKS, {"blocks": max(blocks, 0), "rows": rows, "needed": needed}),))
    odds, most = change_odds(series, reference)
    due = odds * alpha >= 1.0
    said = {"blocks": blocks, "rows": rows, "odds": odds, "needed": 1.0 / alpha}
    return Decision(due, (Note(codes[due], {**said, "column": names[most]} if due and names else said),))


def drift_scores(test: str, base: pa.Table, blocks: pa.Table, rows: int) -> Floats:
    """Return how far each block of so many rows is from the base in each column, (blocks, columns), by a test.

    The index of population stability is of deciles and of the commonest levels, with half a row added to each cell.
    The two-sample tests give minus the logarithm of their p value. A classifier gives one score for all columns.
    """
    count = blocks.num_rows // rows
    columns = [_cells(base.column(name), blocks.column(name)) for name in blocks.column_names]
    if test == "classifier":
        return _discriminant(columns, count, rows)
    scores = np.empty((count, len(columns)))
    for k, (before, now, size) in enumerate(columns):
        expected = (np.bincount(before, minlength=size) + 0.5) / (len(before) + 0.5 * size)
        cell = np.repeat(np.arange(count), rows) * size + now
        found = (np.bincount(cell, minlength=count * size).reshape(count, size) + 0.5) / (rows + 0.5 * size)
        if test == "psi":
            scores[:, k] = np.sum((found - expected) * np.log(found / expected), axis=1)
            continue
        squares = rows * np.sum((found - expected) ** 2 / expected, axis=1)
        scores[:, k] = -np.log(np.maximum(scipy.special.chdtrc(max(size - 1, 1), squares), _LEAST))
        if pa.types.is_floating(base.column(k).type):
            scores[:, k] = _kolmogorov_smirnov(base.column(k), blocks.column(k), rows)
    return scores


def _kolmogorov_smirnov(before: pa.ChunkedArray, now: pa.ChunkedArray, rows: int) -> Floats:
    """Return minus the logarithm of the p value of the largest distance of two distributions, (blocks,).

    Missing values are of neither; a side without any value is at no distance.
    """
    one = np.sort(before.drop_null().to_numpy())
    other = np.sort(pc.fill_null(now, math.nan).to_numpy().reshape(-1, rows), axis=1)  # NaN last
    size = np.sum(~np.isnan(other), axis=1)
    if not len(one) or not len(other):
        return np.zeros(len(other))
    place, held = np.arange(rows), np.maximum(size, 1)[:, None]
    # The one distribution steps at values of the other, from place / size to the next.
    above = (place + 1) / held - np.searchsorted(one, other, side="right") / len(one)
    below = np.searchsorted(one, other, side="left") / len(one) - place / held
    apart = np.max(np.where(place < size[:, None], np.maximum(above, below), 0.0), axis=1)
    effective = np.sqrt(len(one) * size / (len(one) + size))
    return np.asarray(-np.log(np.maximum(scipy.special.kolmogorov(effective * apart), _LEAST)))


def _cells(before: pa.ChunkedArray, now: pa.ChunkedArray) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
    """Return the cell of each value, deciles of the earlier ones or its level, and how many there are.

    The last cell is of missing values, the one before of levels that are rare or new.
    """
    if pa.types.is_floating(before.type):
        edges = np.unique(
            np.nanquantile(
                before.drop_null().to_numpy() if before.null_count < len(before) else [0.0], np.arange(1, _BINS) / _BINS
            )
        )
        numbers = [pc.fill_null(each, math.nan).to_numpy() for each in (before, now)]
        cells = [np.where(np.isnan(each), len(edges) + 1, np.searchsorted(edges, each)) for each in numbers]
        return cells[0], cells[1], len(edges) + 2
    texts = [pc.cast(each, pa.string()) for each in (before, now)]
    counts = sorted(pc.value_counts(texts[0].drop_null()).to_pylist(), key=lambda one: (-one["counts"], one["values"]))
    levels = pa.array([one["values"] for one in counts[:_LEVELS]], pa.string())
    cells = [
        np.where(
            each.is_valid().to_numpy(), pc.fill_null(pc.index_in(each, levels), len(levels)).to_numpy(), len(levels) + 1
        )
        for each in texts
    ]
    return cells[0], cells[1], len(levels) + 2


def _discriminant(columns: list[tuple[NDArray[np.intp], NDArray[np.intp], int]], count: int, rows: int) -> Floats:
    """Return the area under the curve of a linear discriminant of the cells that tells each block from the base.

    It learns from every other row of both and is judged on the rest (D3 of Gozuacik et al. 2019, in closed form).
    """
    before, now = (np.hstack([np.eye(one[2])[one[side]] for one in columns]) for side in (0, 1))
    learned, judged = before[::2], before[1::2]
    mean = learned.mean(axis=0)
    covariance = (learned - mean).T @ (learned - mean) / len(learned)
    inverse = np.linalg.inv(covariance + _RIDGE * np.eye(len(mean)))
    scores = np.empty((count, 1))
    for b, block in enumerate(now.reshape(count, rows, -1)):
        direction = inverse @ (block[::2].mean(axis=0) - mean)
        other, own = np.sort(judged @ direction), block[1::2] @ direction
        below = np.searchsorted(other, own, side="left") + np.searchsorted(other, own, side="right")
        scores[b, 0] = float(below.mean()) / (2.0 * len(other))
    return scores


def _check_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise UsageError(
            f"The share of false alarms is {alpha!r}; it needs to be above 0 and below 1, such as 0.05.",
            code="policy-alpha",
        )
