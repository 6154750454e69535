"""Random champions and challengers whose true difference is known, and what the gate says about them.

In an A/A trial both models come from disjoint halves of the same rows, so neither has an advantage but luck. In the
others the models differ by one column, which makes one of them better by about 1 %; the true losses are those on a
million rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from batchlearn.evaluation.metrics import Array, log_loss_rows
from batchlearn.retraining.gate import Gate, Verdict, judge, judge_interim

DAYS = 30
MANY = 1_000_000
STEPS = 6  # of Newton's method from 0: enough for these problems, a test compares with the package's own fit
RIDGE = 1e-3


class World(NamedTuple):
    """How rows come about: two classes whose log odds are linear in 8 columns, the last of them weak."""

    intercept: float = 0.0
    weak: float = 0.0
    """Coefficient of the last column."""
    shock: float = 0.0
    """Standard deviation of what a day adds to the second column and, in part, to the log odds and to an effect."""
    memory: float = 0.0
    """Correlation of a day's shock with that of the day before."""
    flipped: float = 0.0
    """Share of labels that are turned round, in rows whose columns follow Student's t with 3 degrees of freedom."""


WORLDS: Mapping[str, World] = {
    "even classes": World(),
    "1 % of a class": World(intercept=-5.0),
    "heavy tails": World(flipped=0.05),
    "days with shocks": World(shock=0.5),
    "shocks that last": World(shock=0.5, memory=0.5),
}
# The weak column's coefficient that makes a model without it worse by about 1 %.
WEAK: Mapping[str, float] = {
    "even classes": 0.24,
    "1 % of a class": 0.34,
    "heavy tails": 0.22,
    "days with shocks": 0.255,
    "shocks that last": 0.255,
}


@dataclass(frozen=True)
class Sample:
    """Rows in the order of time."""

    features: Array
    label: Array
    day: Array


class Losses(NamedTuple):
    """The losses of both models on later rows, with the day and class of each row."""

    champion: Array
    challenger: Array
    day: Array
    label: Array


def draw(world: World, rows: int, days: int, rng: np.random.Generator) -> Sample:
    """Return rows of a world, spread evenly over its days."""
    features = rng.normal(size=(rows, 9))
    if world.flipped:
        features *= np.sqrt(3.0 / rng.chisquare(3.0, rows))[:, None]
    features[:, 0] = 1.0
    day = np.arange(rows) * days // rows
    shocks = np.zeros(days)
    for today in range(days):
        before = shocks[today - 1] if today else rng.normal()
        shocks[today] = world.memory * before + np.sqrt(1.0 - world.memory**2) * rng.normal()
    shock = world.shock * shocks[day]
    features[:, 1] += shock
    coefficients = np.array([world.intercept, 0.5, -0.4, 0.3, -0.3, 0.2, 0.2, 0.1, world.weak])
    odds = features @ coefficients + shock * (0.5 + features[:, 2])
    label = (rng.random(rows) < 1.0 / (1.0 + np.exp(-odds))) ^ (rng.random(rows) < world.flipped)
    return Sample(features, label.astype(np.float64), day.astype(np.float64))


def fitted(features: Array, label: Array) -> Array:
    """Return the coefficients of logistic regression with a tiny penalty, by Newton's method."""
    coefficients = np.zeros(features.shape[1])
    for _ in range(STEPS):
        probability = 1.0 / (1.0 + np.exp(-features @ coefficients))
        gradient = features.T @ (probability - label) + RIDGE * coefficients
        hessian = (features * (probability * (1.0 - probability))[:, None]).T @ features
        coefficients -= np.linalg.solve(hessian + RIDGE * np.eye(len(coefficients)), gradient)
    return coefficients


def row_losses(sample: Sample, coefficients: Array) -> Array:
    """Return the log loss of each row; a model without the last column has one coefficient less."""
    odds = sample.features[:, : len(coefficients)] @ coefficients
    return log_loss_rows(sample.label, 1.0 / (1.0 + np.exp(-odds)))


def halves(world: World, train: int, later: int, rng: np.random.Generator) -> Losses:
    """Return the losses of models trained on two halves of `2 train` rows, on `later` rows of another 30 days."""
    past = draw(world, 2 * train, DAYS, rng)
    order = rng.permutation(2 * train)
    ours, theirs = (fitted(past.features[part], past.label[part]) for part in (order[:train], order[train:]))
    judged = draw(world, later, DAYS, rng)
    return Losses(row_losses(judged, ours), row_losses(judged, theirs), judged.day, judged.label)


@cache
def one_column_apart(name: str) -> tuple[World, Array, Array, float]:
    """Return a world, the model without and the one with its weak column, and the share by which the first is worse."""
    world = WORLDS[name]._replace(weak=WEAK[name])
    rng = np.random.default_rng(1)
    past = draw(world, 200_000, 3_000, rng)
    without, with_it = fitted(past.features[:, :8], past.label), fitted(past.features, past.label)
    many = draw(world, MANY, 15_000, rng)
    return world, without, with_it, float(row_losses(many, without).mean() / row_losses(many, with_it).mean() - 1.0)


def better(name: str, later: int, rng: np.random.Generator, *, turned: bool = False) -> Losses:
    """Return the losses of a champion without and a challenger with the weak column; turned round if asked for."""
    world, without, with_it, _ = one_column_apart(name)
    judged = draw(world, later, DAYS, rng)
    champion, challenger = (with_it, without) if turned else (without, with_it)
    return Losses(row_losses(judged, champion), row_losses(judged, challenger), judged.day, judged.label)


def judge_once(gate: Gate, losses: Losses) -> Verdict:
    """Judge all later rows at once, in the order of time."""
    return judge(gate, losses.champion, losses.challenger, label=losses.label)


def promoted_within(gate: Gate, losses: Losses) -> int | None:
    """Look at the end of every day until the challenger is promoted; return the day, or None where it never is."""
    state: Mapping[str, Any] | None = None
    for day in range(DAYS):
        new = losses.day == day
        verdict = judge(
            gate, losses.champion[new], losses.challenger[new], None, losses.day[new], losses.label[new], state
        )
        if verdict.verdict == "promote":
            return day + 1
        state = verdict.state
    return None


def called_within(trainings: int, rows: int, rng: np.random.Generator) -> tuple[str, bool]:
    """Look at two choices of equal worth with every training, each time at so many new rows, until one seems better.

    Returns the last verdict of the test that may be looked at so often, and whether the one for one look ever decides.
    """
    ours = rng.exponential(0.45, trainings * rows)
    theirs = ours + 0.2 * rng.normal(size=len(ours))
    said, state, naive = "", None, False
    for end in range(rows, len(ours) + 1, rows):
        if said in ("", "not enough evidence"):
            new = slice(end - rows, end)
            found = judge_interim(Gate("anytime"), ours[new], theirs[new], state=state)
            said, state = found.verdict, found.state
        naive |= judge(Gate(), ours[:end], theirs[:end]).verdict != "not enough evidence"
    return said, naive


def naively_promoted_within(gate: Gate, losses: Losses) -> bool:
    """Say whether the test for one look, asked at the end of every day, ever promotes."""
    ends = np.searchsorted(losses.day, np.arange(1, DAYS + 1))
    return any(judge(gate, losses.champion[:end], losses.challenger[:end]).verdict == "promote" for end in ends)
