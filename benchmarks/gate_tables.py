"""Real tables for the trials of the gate: numeric columns, and models by the logistic regression of the trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
from data_sets import CONDITIONS, data_sets
from tests.retraining.gate.trials import DAYS, Losses, Sample, fitted, row_losses

from batchlearn.evaluation.metrics import Array

BY = 0.01
# Of "one stretch": the share of the table, and the rows that stay together, so that neighbours depend on each other.
STRETCH, TOGETHER = 0.4, 30
Order = Literal["shuffled", "by time", "one stretch"]


@dataclass(frozen=True)
class RealTable:
    """A table of two classes and how a trial uses it."""

    name: str
    weak: str | None
    """The column whose coefficient is shrunk in the champion of the power trials."""
    without: tuple[str, ...] = ()
    every: int = 1
    """Every how many rows one is taken, so that 20,000 rows are half a month and not a day."""
    ordered: bool = True


TABLES = (
    RealTable("adult", "capital-loss", ordered=False),
    RealTable("noaa_weather", None),
    RealTable("flights2008_jan", "crs_dep_time", without=("month", "day_of_month", "day_of_week"), every=14),
)


@cache
def rows_of(table: RealTable) -> tuple[Sample, tuple[str, ...]]:
    """Return all rows, in order, with standardised numeric columns behind a constant one, and the columns' names."""
    found = next(one for one in data_sets(("binary",)) if one.name == table.name)
    data = pq.read_table(found.path).to_pandas()
    if table.name in CONDITIONS:
        data = data[~data[CONDITIONS[table.name].removeprefix("not ")].astype(bool)]
    apart = {found.target, found.time, *found.drop, *table.without}
    names = [name for name in data.columns if name not in apart and data[name].dtype.kind in "iuf"]
    values = data[names].to_numpy(dtype=float)
    values = np.where(np.isnan(values), np.nanmean(values, axis=0), values)
    values = np.clip((values - values.mean(axis=0)) / values.std(axis=0), -5.0, 5.0)
    features = np.column_stack([np.ones(len(values)), values])
    label = data[found.target].to_numpy(dtype=float)
    return Sample(features, label, np.arange(len(label)) * 1.0), ("", *names)


def drawn(table: RealTable, by_time: bool, rng: np.random.Generator) -> Sample:
    """Return the rows of one trial: every n-th from a random first, by time or in random order."""
    sample = rows_of(table)[0]
    rows = np.arange(rng.integers(table.every), len(sample.label), table.every)
    return part(sample, rows if by_time else rng.permutation(rows))


def part(sample: Sample, rows: Any) -> Sample:
    """Return some rows of a sample."""
    return Sample(sample.features[rows], sample.label[rows], sample.day[rows])


def losses(judged: Sample, champion: Array, challenger: Array) -> Losses:
    """Return both models' losses on rows that are looked at in 30 parts."""
    looks = (np.arange(len(judged.label)) * DAYS // len(judged.label)).astype(float)
    return Losses(row_losses(judged, champion), row_losses(judged, challenger), looks, judged.label)


def real_halves(table: RealTable, order: Order, rng: np.random.Generator) -> Losses:
    """Return the losses on the last fifth of models from random halves of the first four fifths.

    "one stretch" takes later rows of the same times as the others: of a random stretch of the table half of the runs
    of 30 rows, in the order of time. So neighbours depend on each other as they do, and the world does not move.
    """
    sample = drawn(table, order != "shuffled", rng)
    rows = np.arange(len(sample.label))
    cut = len(rows) * 4 // 5
    past, later = rows[:cut], rows[cut:]
    if order == "one stretch":
        start = int(rng.integers(len(rows) - int(STRETCH * len(rows)) + 1))
        stretch = rows[start : start + int(STRETCH * len(rows))]
        runs = -(-len(stretch) // TOGETHER)
        judging = rng.permutation(np.arange(runs) % 2 == 1)[np.arange(len(stretch)) // TOGETHER]
        past, later = stretch[~judging], stretch[judging]
    past = rng.permutation(past)
    half = len(past) // 2
    models = [fitted(sample.features[one], sample.label[one]) for one in (past[:half], past[half:])]
    return losses(part(sample, later), models[0], models[1])


def better_on_real_rows(table: RealTable, later: int) -> tuple[Callable[[np.random.Generator], Losses], float]:
    """Return trials with a champion whose coefficient of one column is shrunk until its loss is 1 % larger.

    Both models are fitted to the earlier rows; 1 % is on all of the rows that trials draw their later ones from.
    """
    sample, names = rows_of(table)
    cut = len(sample.label) - later * table.every if table.ordered else 0
    judged = part(sample, slice(cut, None))
    model = fitted(sample.features[:cut], sample.label[:cut]) if cut else fitted(sample.features, sample.label)
    at = names.index(table.weak or "")
    least = row_losses(judged, model).mean()
    low, high = -3.0, 1.0
    for _ in range(40):
        share = (low + high) / 2
        larger = row_losses(judged, shrunk(model, at, share)).mean() / least - 1.0
        low, high = (share, high) if larger > BY else (low, share)
    champion = shrunk(model, at, high)

    def draw(rng: np.random.Generator) -> Losses:
        if table.ordered:
            return losses(part(judged, slice(rng.integers(table.every), None, table.every)), champion, model)
        return losses(part(judged, rng.permutation(len(judged.label))[:later]), champion, model)

    return draw, float(1.0 - least / row_losses(judged, champion).mean())


def shrunk(model: Array, at: int, share: float) -> Array:
    """Return the model with one coefficient multiplied by a share."""
    changed = model.copy()
    changed[at] *= share
    return changed
