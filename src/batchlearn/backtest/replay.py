"""A policy replayed: asked at each edge with what had arrived by then, and served by the models that it trained.

Training and deployment take time, in which the model before goes on serving; while they do the policy is not asked, as
one turn of the cycle runs at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batchlearn.backtest.cells import Cell, Key, depends_on_path
from batchlearn.backtest.history import History
from batchlearn.backtest.matrix import Matrix
from batchlearn.errors import BatchlearnError, UsageError, quoted
from batchlearn.kernels.design import Floats
from batchlearn.progress import finish
from batchlearn.retraining.bracket import Bracket
from batchlearn.retraining.policies import Action, Decision, Losses, Policy, Samples, Situation
from batchlearn.training.train import Progress

_SECOND = 1e6  # of a timestamp
_THINNED = 20_000
# A prediction of a number has moved where it did by this share of the spread of the predictions.
_MOVED = 0.1


@dataclass(frozen=True)
class Durations:
    """How long a training takes by its rows: rows and seconds, both in order, measured once and the same for all runs."""

    rows: tuple[int, ...]
    seconds: tuple[float, ...]

    def of(self, rows: int) -> float:
        """Return the seconds of so many rows: between two that are known on a line, beyond the last one in proportion."""
        longest = self.seconds[-1] * max(rows / self.rows[-1], 1.0)
        return max(float(np.interp(rows, self.rows, self.seconds)), longest if rows > self.rows[-1] else 0.0)


class Surroundings(NamedTuple):
    """What all policies have in common: what a training and a deployment take, and the price of a retrain in loss."""

    durations: Durations | None = None  # else what each training took
    delay: float = 0.0  # of a deployment, on the scale of the times
    price: float | None = None


class Turn(NamedTuple):
    """One decision: what was decided and why; of a retrain its model, and from when on that served, if there is one."""

    edge: int
    now: float
    decision: Decision
    key: Key | None = None
    cell: Cell | None = None
    live: float | None = None
    churn: float | None = None  # share of the next window's predictions that the new model moved


@dataclass(frozen=True)
class PolicyRun:
    """What a policy did and what came of it; `losses` and `errors` have an entry a row, NaN where nothing served."""

    name: str
    policy: Policy
    turns: tuple[Turn, ...]
    losses: Floats
    errors: Floats
    age: Floats  # of the model that served each row, on the scale of the times

    @property
    def retrained(self) -> tuple[Turn, ...]:
        """The turns that trained a model, but for the first one, which all have."""
        return tuple(turn for turn in self.turns[1:] if turn.cell is not None and turn.live is not None)

    @property
    def path_dependent(self) -> bool:
        """Whether a model depends on the ones before it, so that the oracle's frontier does not hold for it."""
        return any(turn.key is not None and depends_on_path(turn.key.action) for turn in self.turns)


def live_time(cell: Cell, history: History, around: Surroundings) -> float:
    """Return when a model goes live that was decided on at its edge."""
    seconds = cell.seconds if around.durations is None else around.durations.of(cell.rows)
    lasting = seconds * _SECOND if history.times.stamped else 0.0
    return float(history.edges[cell.edge]) + lasting + around.delay


def replay(name: str, policy: Policy, matrix: Matrix, around: Surroundings) -> Generator[Progress, None, PolicyRun]:
    """Yield progress while a policy is asked at each edge; return what it did. UsageError where it raises."""
    history, edges, stamped = matrix.history, matrix.history.edges, matrix.history.times.stamped
    key = Key(Action(), 0)
    cell = yield from matrix.cell(key)
    begun = _asked(name, policy, Situation(float(edges[0]), None, history.known_by(float(edges[0])), stamped))
    turns = [Turn(0, float(edges[0]), begun, key, cell, live_time(cell, history, around))]
    serving = [turns[0]]
    for edge in range(1, history.windows):
        now, newest = float(edges[edge]), serving[-1]
        assert newest.live is not None and newest.cell is not None and newest.key is not None
        if now < newest.live:
            continue
        new = history.known_by(now) - history.known_by(newest.now)
        wall = (newest.now, now) if stamped else None
        evidence = _evidence(matrix, serving, edge)
        situation = Situation(now, newest.now, new, stamped, wall, newest.cell.rows, around.price, evidence)
        decision = _asked(name, policy, situation)
        if not decision.retrain:
            turns.append(Turn(edge, now, decision))
            continue
        action = decision.action or Action()
        key = Key(action, edge, newest.key if depends_on_path(action) else None)
        cell = yield from matrix.cell(key)
        if cell.refused is not None:
            turns.append(Turn(edge, now, decision, key, cell))
            continue
        live = live_time(cell, history, around)
        turn = Turn(edge, now, decision, key, cell, live, _churn(history, newest.cell, cell, live))
        turns.append(turn)
        serving.append(turn)
    return PolicyRun(name, policy, tuple(turns), *served(history, serving))


def served(history: History, turns: Sequence[Turn]) -> tuple[Floats, Floats, Floats]:
    """Return loss, error and age of the model that served each row, (rows,), NaN before the first one was live."""
    losses, errors, age = (np.full(len(history.seen), np.nan) for _ in range(3))
    lives = [turn.live for turn in turns if turn.live is not None]
    stops = [*np.searchsorted(history.seen, lives[1:], side="right"), len(history.seen)]
    for turn, live, stop in zip(turns, lives, stops, strict=True):
        assert turn.cell is not None
        start = int(np.searchsorted(history.seen, live, side="right"))
        rows = slice(start - turn.cell.first, int(stop) - turn.cell.first)
        losses[start:stop], errors[start:stop] = turn.cell.losses[rows], turn.cell.errors[rows]
        age[start:stop] = history.seen[start:stop] - turn.now
    return losses, errors, age


def _asked(name: str, policy: Policy, situation: Situation) -> Decision:
    """Ask a policy. UsageError where it raises, or gives no decision."""
    try:
        decision = policy.decide(situation)
    except BatchlearnError:
        raise
    except Exception as problem:  # a policy may be anybody's code
        raise UsageError(
            f"The policy {quoted(name)} raised {type(problem).__name__} when it was asked as of {situation.now:.10g}: "
            f"{problem}. A policy needs to answer every situation with a Decision; mend it, or leave it out.",
            code="policy-raised",
        ) from problem
    if not isinstance(decision, Decision):
        raise UsageError(
            f"The policy {quoted(name)} answered with {quoted(decision)}; a Decision is needed: whether to retrain, and "
            "the reasons.",
            code="policy-answer",
        )
    return decision


@dataclass(frozen=True)
class ArrivedEvidence:
    """What had arrived by an edge, found when it is asked for; nothing later can be reached from here."""

    find_losses: Callable[[int], Sequence[Losses]]
    find_samples: Callable[[], Samples]
    find_bracket: Callable[[], Bracket | None]

    def losses(self, versions: int = 1) -> Sequence[Losses]:
        """Return what the last versions lost on rows whose labels have arrived, the oldest first."""
        return self.find_losses(versions)

    def samples(self) -> Samples:
        """Return features of the rows that the newest version was trained on, and of those seen since."""
        return self.find_samples()

    def bracket(self) -> Bracket | None:
        """Return what training again would gain, at least and at most."""
        return self.find_bracket()


def _evidence(matrix: Matrix, serving: Sequence[Turn], edge: int) -> ArrivedEvidence:
    history, now = matrix.history, float(matrix.history.edges[edge])
    stop, newest = int(np.searchsorted(history.seen, now, side="right")), serving[-1]
    assert newest.key is not None
    key = newest.key

    def losses(versions: int) -> Sequence[Losses]:
        found = []
        for turn in serving[-versions:]:
            assert turn.cell is not None
            first, lost = turn.cell.first, turn.cell.losses[: stop - turn.cell.first]
            seen, arrived = history.seen[first:stop], history.known[first:stop]
            there = np.flatnonzero((arrived <= now) & ~np.isnan(lost))
            there = there[np.argsort(arrived[there], kind="stable")]
            found.append(Losses(turn.now, turn.cell.rows, seen[there], arrived[there], lost[there]))
        return found

    def samples() -> Samples:
        model, rows, times = finish(matrix.trained(key)).fit.model, history.rows(now), history.times
        columns = [name for name in model.columns if name not in (times.labelled, history.landed)]
        before, after = times.seen_by(newest.now), (times.after(newest.now), times.seen_by(now))
        learned = rows.like(model.readings).table(times.labelled_by(newest.now), before)
        return Samples(_sample(learned, columns), _sample(rows.like(model.readings).table(*after), columns))

    return ArrivedEvidence(losses, samples, lambda: matrix.bracket(key, edge))
