"""A policy replayed: asked at each edge with what had arrived by then, and served by the models that it trained.

Training and deployment take time, in which the model before goes on serving; while they do the policy is not asked, as
one turn of the cycle runs at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from batchlearn.backtesting.cells import MatrixCell, ModelKey
from batchlearn.backtesting.history import History
from batchlearn.backtesting.matrix import REFUSALS, LossMatrix
from batchlearn.backtesting.peeking import NOTHING_WATCHED, FileWatch
from batchlearn.errors import BatchlearnError, UsageError, quoted
from batchlearn.evaluation.metrics import EVEN_CHANCE
from batchlearn.formatting.notes import Note
from batchlearn.kernels.design import Floats
from batchlearn.progress import Progress, finish
from batchlearn.retraining.bracket import Bracket
from batchlearn.retraining.cycle.arrived import samples_of
from batchlearn.retraining.cycle.candidate import Judged
from batchlearn.retraining.cycle.continued import dearer_start
from batchlearn.retraining.policies import Action, Decision, Losses, Policy, Samples, Situation
from batchlearn.retraining.policies.text import RAISED
from batchlearn.retraining.verdict import GateDecision

_SECOND = 1e6  # of a timestamp
# A prediction of a number has moved where it did by this share of the spread of the predictions.
_MOVED = 0.1


@dataclass(frozen=True)
class Durations:
    """How long a training takes by its rows: rows and seconds, both in order, the same for all runs."""

    rows: tuple[int, ...]
    seconds: tuple[float, ...]

    def of(self, rows: int) -> float:
        """Return the seconds of so many rows: between two known ones on a line, beyond the last in proportion."""
        return float(np.interp(rows, self.rows, self.seconds)) * max(rows / self.rows[-1], 1.0)


class ReplayContext(NamedTuple):
    """What all policies have in common: what trainings and deployments take, a retrain's price in loss, who watches."""

    durations: Durations | None = None  # else what each training took
    delay: float = 0.0  # of a deployment, on the scale of the times
    price: float | None = None
    watch: FileWatch = NOTHING_WATCHED


class ServingModel(NamedTuple):
    """A model that serves: as of when it was trained, from when on it is live, and what that moved."""

    key: ModelKey
    cell: MatrixCell
    now: float
    live: float
    churn: float | None = None  # share of the next window's predictions that it moved; None of the first one


class ReplayedDecision(NamedTuple):
    """One decision: what was decided and why, and the model that came of it, or why none did.

    Where there is a gate, `judged` is what it said of that model, or later of the one that was trained last; `live` is
    from when on it serves, if it does.
    """

    edge: int
    now: float
    decision: Decision
    model: ServingModel | None = None
    refused: str | None = None
    judged: Judged | None = None
    live: float | None = None


@dataclass(frozen=True)
class PolicyRun:
    """What a policy did and what came of it; `losses` and `errors` have an entry a row, NaN where nothing served."""

    name: str
    policy: Policy
    decisions: tuple[ReplayedDecision, ...]
    models: tuple[ServingModel, ...]  # that served, in order; the first is that of all
    losses: Floats
    errors: Floats

    @property
    def retrained(self) -> tuple[ServingModel, ...]:
        """The models that it trained after the first, live or not."""
        return tuple(one.model for one in self.decisions[1:] if one.model is not None)

    @property
    def verdicts(self) -> tuple[GateDecision, ...]:
        """What the gate said last of each model that it judged."""
        found = list[GateDecision]()
        for one in self.decisions:
            if one.judged is not None:
                found[len(found) if one.model is not None else -1 :] = [one.judged.verdict.verdict]
        return tuple(found)

    @property
    def alarms(self) -> tuple[Note, ...]:
        """What the gate's rows say that should not be, in order."""
        return tuple(note for one in self.decisions if one.judged is not None for note in one.judged.alarms)

    @property
    def path_dependent(self) -> bool:
        """Whether a model depends on the ones before it, so that the oracle's frontier does not hold for it."""
        return any(one.key.before is not None for one in self.models)


def live_time(cell: MatrixCell, history: History, context: ReplayContext, judged: bool = False) -> float:
    """Return when a model goes live that was decided on at its edge; one whose twin is judged takes twice as long."""
    seconds = cell.seconds if context.durations is None else context.durations.of(cell.rows)
    lasting = seconds * _SECOND if history.times.stamped else 0.0
    return float(history.edges[cell.edge]) + lasting * (2.0 if judged else 1.0) + context.delay


def replay(
    name: str, policy: Policy, matrix: LossMatrix, context: ReplayContext, gated: bool = True
) -> Generator[Progress, None, PolicyRun]:
    """Yield progress while a policy is asked at each edge; return what it did. UsageError where it raises.

    The gate of the matrix, if it has one, judges what is trained unless `gated` is false: a person who is asked says
    yes at once. A model that it lets pass goes live, and one that it sends back is the newest all the same.
    """
    history, edges, stamped = matrix.history, matrix.history.edges, matrix.history.times.stamped
    began, key = float(edges[0]), ModelKey(Action(), 0)
    begun = first_decision(name, policy, history, context)
    cell = yield from matrix.cell(key)
    models = [ServingModel(key, cell, began, live_time(cell, history, context))]
    versions, free = [*models], models[0].live  # all that were trained, and when the next turn may run
    decisions, waiting = [ReplayedDecision(0, began, begun, models[0], live=free)], None
    for edge in range(1, history.windows):
        now, newest = float(edges[edge]), versions[-1]
        if now < free:
            continue
        known = history.known_by(newest.now)
        wall = (newest.now, now) if stamped else None
        evidence = _evidence(matrix, versions, models[-1], edge, context.watch)
        new = history.known_by(now) - known
        situation = Situation(now, newest.now, new, stamped, wall, known, context.price, evidence)
        decision = _asked(name, policy, situation, context)
        if not decision.retrain:
            judged = None if waiting is None else matrix.judge_later(newest.key, models[-1].key, edge, waiting)
            live = None
            if judged is not None:
                waiting = judged.verdict if judged.verdict.verdict == "not enough evidence" else None
                if judged.verdict.verdict == "promote":
                    live = free = now + context.delay
                    models.append(_going_live(history, models[-1], newest, live))
            decisions.append(ReplayedDecision(edge, now, decision, judged=judged, live=live))
            continue
        made = yield from _trained(matrix, decision.action or Action(), edge, (models[-1].key, newest.key), gated)
        if isinstance(made, str):
            decisions.append(ReplayedDecision(edge, now, decision, refused=made))
            continue
        key, cell, judged = made
        anytime = matrix.gate is not None and matrix.gate.mode == "anytime"
        free = live_time(cell, history, context, judged is not None and not anytime)
        versions.append(ServingModel(key, cell, now, free))
        live, waiting = free, None
        if judged is None or judged.verdict.verdict == "promote":
            versions[-1] = _going_live(history, models[-1], versions[-1], free)
            models.append(versions[-1])
        else:
            live, free = None, free - context.delay  # nothing is deployed
            waiting = judged.verdict if anytime and judged.verdict.verdict == "not enough evidence" else None
        decisions.append(ReplayedDecision(edge, now, decision, versions[-1], judged=judged, live=live))
    return PolicyRun(name, policy, tuple(decisions), tuple(models), *served(history, models))


def _trained(
    matrix: LossMatrix, action: Action, edge: int, before: tuple[ModelKey, ModelKey], gated: bool
) -> Generator[Progress, None, tuple[ModelKey, MatrixCell, Judged | None] | str]:
    """Train and judge, after a champion and a newest version; return why not where that is refused.

    Where the twin cannot go on from the champion, both are trained from the next dearer start.
    """
    champion, newest = before
    while True:
        # What is new is new to the newest version; what goes on goes on from the champion.
        path = newest if action.new_only and action.start == "scratch" else champion
        key = ModelKey(action, edge, path if matrix.depends_on_path(action) else None)
        cell = yield from matrix.cell(key)
        if cell.refused is not None:
            return cell.refused
        if matrix.gate is None or not gated:
            return key, cell, None
        try:
            return key, cell, (yield from matrix.judge(key, champion))
        except REFUSALS as problem:
            dearer = dearer_start(cell.start, problem.code)
            if dearer is None:
                return problem.message
            action = replace(action, start=dearer)


def _going_live(history: History, before: ServingModel, model: ServingModel, live: float) -> ServingModel:
    """Return a model as it goes live, with what that moves."""
    return model._replace(live=live, churn=_churn(history, before.cell, model.cell, live))


def first_decision(name: str, policy: Policy, history: History, context: ReplayContext) -> Decision:
    """Ask a policy before there is a model. UsageError as `replay`."""
    began, stamped = float(history.edges[0]), history.times.stamped
    situation = Situation(began, None, history.known_by(began), stamped, price=context.price)
    return _asked(name, policy, situation, context)


def served(history: History, models: Sequence[ServingModel]) -> tuple[Floats, Floats]:
    """Return loss and error of the model that served each row, (rows,), NaN before the first one was live."""
    losses, errors = (np.full(len(history.seen), np.nan) for _ in range(2))
    starts = np.searchsorted(history.seen, [one.live for one in models], side="right")
    for one, start, stop in zip(models, starts, [*starts[1:], len(history.seen)], strict=True):
        rows = slice(start - one.cell.first, int(stop) - one.cell.first)
        losses[start:stop], errors[start:stop] = one.cell.losses[rows], one.cell.errors[rows]
    return losses, errors


def _asked(name: str, policy: Policy, situation: Situation, context: ReplayContext) -> Decision:
    """Ask a policy. UsageError where it raises, gives no decision, or reads the table's own files."""
    try:
        with context.watch.refused(name):
            decision = policy.decide(situation)
    except BatchlearnError:
        raise
    except RAISED as problem:  # a policy may be anybody's code
        raise UsageError(
            f"The policy {quoted(name)} raised {type(problem).__name__} when it was asked as of {situation.now:.10g}: "
            f"{problem}. A policy needs to answer every situation with a Decision; mend it, or leave it out.",
            code="policy-raised",
        ) from problem
    if not isinstance(decision, Decision):
        raise UsageError(
            f"The policy {quoted(name)} answered with {quoted(decision)}; it needs to be a Decision: whether to "
            "retrain, and the reasons.",
            code="policy-answer",
        )
    return decision


@dataclass(frozen=True)
class ReplayedEvidence:
    """What had arrived by an edge, found when it is asked for; nothing later can be reached from here."""

    find_losses: Callable[[int], Sequence[Losses]]
    find_samples: Callable[[], Samples]
    find_bracket: Callable[[], Bracket | None]
    watch: FileWatch

    def losses(self, versions: int = 1) -> Sequence[Losses]:
        """Return what the last versions lost on rows whose labels have arrived, the oldest first."""
        with self.watch.ours():
            return self.find_losses(versions)

    def samples(self) -> Samples:
        """Return features of the rows that the newest version was trained on, and of those seen since."""
        with self.watch.ours():
            return self.find_samples()

    def bracket(self) -> Bracket | None:
        """Return what training again would gain, at least and at most."""
        with self.watch.ours():
            return self.find_bracket()


def _evidence(
    matrix: LossMatrix, versions: Sequence[ServingModel], live: ServingModel, edge: int, watch: FileWatch
) -> ReplayedEvidence:
    """Return what production would know: losses of versions up to the live one, columns that the newest one reads."""
    history, now = matrix.history, float(matrix.history.edges[edge])
    stop, newest = int(np.searchsorted(history.seen, now, side="right")), versions[-1]
    past = tuple(one for one in versions if one.key.edge <= live.key.edge)

    def losses(count: int) -> Sequence[Losses]:
        found = []
        for one in past[-count:]:
            first, lost = one.cell.first, one.cell.losses[: stop - one.cell.first]
            seen, arrived = history.seen[first:stop], history.known[first:stop]
            unseen = one.cell.unseen[: stop - first] > 0.0  # of a class that the model does not know
            there = np.flatnonzero((arrived <= now) & ~np.isnan(lost) & ~unseen)
            there = there[np.argsort(arrived[there], kind="stable")]
            found.append(Losses(one.now, history.known_by(one.now), seen[there], arrived[there], lost[there]))
        return found

    def samples() -> Samples:
        model, times = finish(matrix.trained(newest.key)).model, history.times
        rows = history.rows(now).like(model.readings)
        before, since = (
            rows.table(times.labelled_by(newest.now)),
            rows.table(times.after(newest.now), times.seen_by(now)),
        )
        return samples_of(model, before, since, times.seen, history.known_by(newest.now))

    return ReplayedEvidence(losses, samples, lambda: matrix.bracket(live.key, edge), watch)


def _churn(history: History, old: MatrixCell, new: MatrixCell, live: float) -> float | None:
    """Return the share of the next window's predictions that a new model moved; None where there is none.

    Of classes a prediction has moved where the likeliest class is another, of numbers where it did by a tenth of the
    spread of the old ones.
    """
    until = live + float(np.median(np.diff(history.edges)))
    start, stop = np.searchsorted(history.seen, [live, until], side="right")
    before, after = (cell.decided[start - cell.first : stop - cell.first] for cell in (old, new))
    both = ~np.isnan(before) & ~np.isnan(after)
    if not both.any():
        return None
    before, after = before[both], after[both]
    if new.classes:
        known, other = (np.asarray(cell.classes, dtype=object) for cell in (old, new))
        return float(np.mean(known[before.astype(int)] != other[after.astype(int)]))
    if new.probabilities:
        return float(np.mean((before > EVEN_CHANCE) != (after > EVEN_CHANCE)))
    return float(np.mean(np.abs(before - after) > _MOVED * np.std(before)))
