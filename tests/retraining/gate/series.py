"""Series of looks whose truth is known: looks that resemble each other, of unequal size, and labels that come late.

Only looks matter to mode "anytime", so a look is as few rows as it may be, with the look's mean and weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

import batchlearn as bl
from batchlearn.evaluation.metrics import Array, log_loss_rows
from batchlearn.evaluation.paired import FIRST_TEST, ROWS_PER_BLOCK, sequential_difference
from batchlearn.retraining.gate import Gate, judge
from batchlearn.retraining.sources.label_times import LabelTimes, settled_rows
from batchlearn.tables.conditions import And, Condition, Not

LEVEL = 100.0  # of the champion's loss, so that no loss is negative
Decided = tuple[str, int]


class Series(NamedTuple):
    """The mean difference of each look and what it weighs; the true difference is 0."""

    mean: Array
    weight: Array


def lasting(memory: float, looks: int, rng: np.random.Generator) -> Array:
    """Return shocks of variance 1, each of which resembles the one before with correlation `memory`."""
    shock = rng.normal(size=looks)
    for look in range(1, looks):
        shock[look] = memory * shock[look - 1] + np.sqrt(1.0 - memory**2) * shock[look]
    return shock


def even(memory: float, noise: float, looks: int, rng: np.random.Generator) -> Series:
    """Return looks of one size: shocks that last, and noise of so much variance beside theirs."""
    return Series(lasting(memory, looks, rng) + np.sqrt(noise) * rng.normal(size=looks), np.ones(looks))


def heavy(looks: int, rng: np.random.Generator) -> Series:
    """Return looks whose means follow Student's t with 3 degrees of freedom."""
    return Series(rng.standard_t(3.0, looks), np.ones(looks))


def uneven(shock: float, memory: float, looks: int, rng: np.random.Generator) -> Series:
    """Return looks of lognormal size (sigma 1.5): noise as of so many rows, and a day's shock that any size has."""
    weight = np.exp(1.5 * rng.normal(size=looks))
    return Series(rng.normal(size=looks) / np.sqrt(weight) + shock * lasting(memory, looks, rng), weight)


def in_calls(together: int, share: float, looks: int, rng: np.random.Generator) -> Series:
    """Return looks of which so many in a row share a shock, which makes this share of their variance."""
    shock = np.repeat(rng.normal(size=-(-looks // together)), together)[:looks]
    return Series(np.sqrt(share) * shock + np.sqrt(1.0 - share) * rng.normal(size=looks), np.ones(looks))


WORLDS: Mapping[str, Callable[[int, np.random.Generator], Series]] = {
    "independent": partial(even, 0.0, 0.0),
    "heavy tails": heavy,
    "correlation 0.35": partial(even, 0.35, 0.0),
    "correlation 0.5": partial(even, 0.5, 0.0),
    "correlation 0.7": partial(even, 0.7, 0.0),
    "shocks that last (0.7) and as much noise": partial(even, 0.7, 1.0),
    "uneven sizes": partial(uneven, 0.0, 0.0),
    "uneven sizes, shocks": partial(uneven, 3.0, 0.0),
    "uneven sizes, shocks that last (0.7)": partial(uneven, 3.0, 0.7),
    "four looks a call share a shock": partial(in_calls, 4, 0.7),
    "correlation 0.8": partial(even, 0.8, 0.0),
    "shocks that last (0.9) and as much noise": partial(even, 0.9, 1.0),
}
# Beyond what the test is made for: shown, and not counted.
BEYOND = ("correlation 0.8", "shocks that last (0.9) and as much noise")


def decided(series: Series, shift: float = 0.0, alpha: float = 0.05) -> Decided:
    """Return the verdict that looking again and again ends with, and after how many looks, by the tests alone."""
    looks = FIRST_TEST
    while looks <= len(series.mean):
        found = sequential_difference(series.mean[:looks] + shift, series.weight[:looks], alpha)
        if found.low is not None and found.high is not None and not found.low < 0.0 <= found.high:
            return ("promote" if found.high < 0.0 else "reject"), looks
        looks *= 2
    return "not enough evidence", len(series.mean)


def decided_by_judge(gate: Gate, series: Series, shift: float = 0.0) -> Decided:
    """Return the same from the gate itself, look by look."""
    verdict, state = "", None
    for look, (mean, weight) in enumerate(zip(series.mean, series.weight, strict=True)):
        champion = np.full(ROWS_PER_BLOCK, LEVEL)
        found = judge(
            gate, champion, champion + mean + shift, np.full(ROWS_PER_BLOCK, weight / ROWS_PER_BLOCK), state=state
        )
        verdict, state = found.verdict, found.state
        if verdict != "not enough evidence":
            return verdict, look + 1
    return verdict, len(series.mean)


# --- labels of one class that come late -----------------------------------------------------------------------------

BEFORE, DAYS, ROWS, LATE = 20, 40, 100, 10.0
RATE = 0.3
# Of the same expected loss where three in ten are of the late class, of which the challenger expects fewer.
CHAMPION, CHALLENGER = 0.4, 0.21136810631731567


def late_class(rng: np.random.Generator) -> pa.Table:
    """Return the rows of 20 days before day 0 and 40 from then on; the rarer class is known ten days late."""
    seen = np.sort(rng.uniform(-BEFORE, DAYS, (BEFORE + DAYS) * ROWS))
    label = rng.random(len(seen)) < RATE
    return pa.table({"seen": seen, "known": seen + LATE * label, "label": label})


def decided_late(table: pa.Table, *, settle: bool, challenger: float = CHALLENGER) -> Decided:
    """Look on each day at rows seen from day 0 that are settled, or at all that were labelled since the day before."""
    times, verdict = LabelTimes("seen", "known", False, 0.0), ""
    state: Mapping[str, Any] | None = None
    for day in range(1, DAYS + 1):
        fresh = (times.labelled_by(day), Not(times.labelled_by(day - 1)))
        new: Condition = And((*fresh, times.after(0.0)))
        if settle:
            until = None if state is None else state["until"]
            new = settled_rows(rows_of(table, times.seen_by(day)), times, day, 0.0, until).condition
        columns = ["seen", "known", "label"]
        rows = pa.Table.from_batches(rows_of(table, new).scan(columns), table.select(columns).schema)
        label = rows["label"].to_numpy().astype(float)
        time = rows["seen" if settle else "known"].to_numpy()
        ours, theirs = (log_loss_rows(label, np.full(len(label), rate)) for rate in (CHAMPION, challenger))
        found = judge(Gate("anytime"), ours, theirs, None, time, label, state)
        verdict, state = found.verdict, found.state
        if verdict != "not enough evidence":
            return verdict, day
    return verdict, DAYS


def rows_of(table: pa.Table, condition: Condition) -> bl.Table:
    """Read the rows that meet a condition."""
    return bl.read(table, target="label", time="seen", where=condition)
