"""A candidate: trained on all rows that are known, judged by what its recipe makes of the earlier ones alone.

What goes live is trained on every row, and rows that it has seen cannot judge it. So the same recipe is trained on the
rows before a cut, and that twin is compared with the champion on the rows after it, which neither has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchlearn.data.ledger import EXCLUDED
from batchlearn.data.target import Target, Task
from batchlearn.errors import CertificateError, DataError, NoFiniteOptimum
from batchlearn.evaluation.scored import ScoredRows, score_each
from batchlearn.kernels.design import Floats
from batchlearn.models.model import Model
from batchlearn.retraining.child import Rehearsal, scores_same
from batchlearn.retraining.cycle.starting import Champion, Parts, training_from
from batchlearn.retraining.feed.known import Times
from batchlearn.retraining.feed.sources import DataFeed
from batchlearn.retraining.gate import Gate, Verdict, judge, judge_without_champion
from batchlearn.retraining.policies import Span
from batchlearn.retraining.project import Project
from batchlearn.retraining.verdict import answered
from batchlearn.tables.conditions import And, Condition, Not
from batchlearn.tables.table import Table
from batchlearn.training.evaluate import evaluate_scored
from batchlearn.training.fit import Fit
from batchlearn.training.optimise import Status
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import Progress, training
from batchlearn.words.notes import Code, Note
from batchlearn.words.numbers import rounded_up

_LABELS = "Correct the labels or leave such rows out; if it is meant, set loss in [recipe] and promote by hand."


@dataclass(frozen=True)
class Surroundings:
    """What a turn of the cycle is given: the project with its store, the rows, the time, and how to rehearse.

    `rehearse` takes the folder of a model, sample rows as Parquet and what they must score.
    """

    project: Project
    feed: DataFeed
    now: float  # on the scale of the time column
    at: str  # the same, or the clock where times are numbers: ISO 8601 in UTC, for the record
    by: str
    threads: int | None = None
    rehearse: Callable[[Path, Path, Floats], Rehearsal] = scores_same

    @property
    def recipe(self) -> Recipe:
        """The recipe of the project, with nothing held out."""
        settings = self.project.settings
        return replace(settings.recipe, holdout=0.0, costs=settings.review.costs)


class Candidate(NamedTuple):
    """A model of all rows, and what was found out about it; `judged_against` is the champion's generation.

    `alarms` say what should not be, in a sentence each. `forgotten` is the condition of rows that had to go.
    """

    fit: Fit
    table: Table
    verdict: Verdict
    evaluation: dict[str, Any] | None
    notes: tuple[Note, ...]
    judged_against: int | None
    alarms: tuple[str, ...] = ()
    forgotten: str | None = None


class Judged(NamedTuple):
    """What later rows say of a candidate, and how they were chosen."""

    verdict: Verdict
    evaluation: dict[str, Any] | None = None
    notes: tuple[Note, ...] = ()
    alarms: tuple[str, ...] = ()
    target: Target | None = None  # of the model that was judged


def training_conditions(around: Surroundings, times: Times) -> tuple[Condition, ...]:
    """Return what holds for the rows that the policy trains on now."""
    window = around.project.settings.policy.window
    recent = () if window is None else (times.after(around.now - Span.parse(window).on(times.stamped)),)
    return (times.known_by(around.now), *recent)


def parts_since(around: Surroundings, times: Times, champion: Champion, but: Condition | None = None) -> Parts:
    """Return the rows that the policy trains on now, and what came and went since the champion's training.

    `but` is a condition that some of the new rows do not meet.
    """
    rows, new = training_conditions(around, times), times.known_since(around.now, champion.as_of)
    then = training_conditions(replace(around, now=champion.as_of), times)
    # Old rows go only where there is a window, which moves on.
    removed = around.feed.table(*then, Not(rows[1])) if len(rows) > 1 else None
    return Parts(around.feed.table(*rows, but), around.feed.table(*rows, new, but), removed)


def train_candidate(
    around: Surroundings, times: Times, champion: Champion | None
) -> Generator[Progress, None, Candidate]:
    """Train on all rows that the policy wants, and judge; a candidate comes back whatever the verdict."""
    gate, rows = around.project.gate, training_conditions(around, times)
    table = around.feed.table(*rows)
    if champion is None:
        fit, evaluation = yield from _evaluated(around, table)
        refuse_unmet(fit)
        verdict = judge(gate, None, np.empty(0))
        return Candidate(fit, table, verdict, evaluation, (*fit.notes, *set_aside(fit)), None, uncertified(fit))
    start, parts = around.project.settings.policy.start, parts_since(around, times, champion)
    judged = Judged(answered(gate, "not enough evidence", "It is judged by rows that are labelled from now on.", 0))
    if gate.mode == "anytime" and start == "scratch":
        fit, evaluation = yield from _evaluated(around, table)
        judged = judged._replace(evaluation=evaluation)
    elif gate.mode == "anytime":
        fit = yield from _from_start(around, champion, parts)
    else:
        judged = yield from _judged(around, times, champion)
        fit = yield from _from_start(around, champion, parts)
    refuse_unmet(fit)
    judged = _of_one_kind(gate, judged, champion.model.target, fit.model.target)
    notes, alarms = (*judged.notes, *_other_notes(fit)), (*judged.alarms, *uncertified(fit))
    return Candidate(fit, table, judged.verdict, judged.evaluation, notes, champion.generation, alarms)


def _of_one_kind(gate: Gate, judged: Judged, before: Target, target: Target) -> Judged:
    """Take back a verdict on a model of another kind than the one that would go live, or than the champion is."""
    reason = _other_task(before, target)
    if reason is None and judged.target is not None and _free(judged.target) != _free(target):
        reason = (
            f"With the labels of the judging rows it is {_kind(target)}; what was judged, without them, is "
            f"{_kind(judged.target)}. {_LABELS}"
        )
    if reason is None:
        return judged
    return judged._replace(verdict=answered(gate, "not enough evidence", reason, 0), alarms=(*judged.alarms, reason))


def _other_task(before: Target, target: Target) -> str | None:
    if before.task is target.task:
        return None
    return f"The labels make it {_kind(target)}, and the champion is {_kind(before)}. {_LABELS}"


def _kind(target: Target) -> str:
    several = f"of {len(target.classes)} classes" if target.task is Task.CLASSES else f"with the loss {target.loss}"
    return f"a model {several}"


def _free(target: Target) -> Target:
    """Return a target without the power or threshold that the data of each model choose."""
    return replace(target, power=None, threshold=None)


def refuse_unmet(fit: Fit) -> None:
    """Raise CertificateError where the tolerance of the recipe is not proved."""
    if fit.recipe.tolerance is None or fit.status is Status.TOLERANCE:
        return
    bound = fit.certificate.loss_bound
    came = (
        "Nothing is proved"
        if bound is None
        else f"The loss is proved to be within {rounded_up(bound):.1e} of the optimum"
    )
    raise CertificateError(
        f"{came}, and [recipe] asks for a tolerance of {fit.recipe.tolerance:g} times the loss of the mean. No version "
        "was made. Ask for a larger tolerance or a larger alpha.",
        code="tolerance-not-met",
    )


def uncertified(fit: Fit) -> tuple[str, ...]:
    """Say that a fit lacks the certificate that its start should end with; fine-tuning never has one."""
    if fit.certificate.certified or fit.solver == "fine-tune":
        return ()
    return (f"The version has no certificate: {fit.certificate.reason}.",)


def _evaluated(around: Surroundings, table: Table) -> Generator[Progress, None, tuple[Fit, dict[str, Any] | None]]:
    """Train from scratch, with an evaluation of the same recipe on the latest rows."""
    share = around.project.settings.gate.share
    fit = yield from training(table, replace(around.recipe, holdout=share), threads=around.threads)
    return fit, None if fit.evaluation is None else fit.evaluation.to_json()


def _from_start(around: Surroundings, champion: Champion, parts: Parts) -> Generator[Progress, None, Fit]:
    start = around.project.settings.policy.start
    return (yield from training_from(start, champion, around.recipe, parts, around.threads))


def _judged(around: Surroundings, times: Times, champion: Champion) -> Generator[Progress, None, Judged]:
    gate = around.project.gate
    new = times.known_since(around.now, champion.as_of)
    cut = _cut(around.feed.table(new), times, around.project.settings.gate.share)
    if isinstance(cut, str):
        return Judged(answered(gate, "not enough evidence", cut, 0))
    judging = And((new, times.after(cut)))
    later = around.feed.table(judging)
    try:
        twin = yield from _from_start(around, champion, parts_since(around, times, champion, Not(judging)))
        both = contest(champion.model, twin.model, later, around.recipe.seed)
        verdict = compare(gate, both)
        evaluation = evaluate_scored(twin.model, both.rows, seed=around.recipe.seed)
    except (DataError, NoFiniteOptimum) as problem:
        reason = f"The rows before those that judge, or these, cannot be used: {problem.message}"
        return Judged(answered(gate, "not enough evidence", reason, 0), alarms=(reason,))
    alarms = () if both.unable is None else (f"The champion cannot score the later rows: {both.unable}.",)
    notes = [Note(Code.JUDGED_BY_LATER_ROWS, {"after": times.literal(cut)})]
    if evaluation.abstention is not None:
        notes.append(Note(Code.LEFT_TO_PEOPLE, {"abstention": str(evaluation.abstention)}))
    return Judged(verdict, evaluation.to_json(), tuple(notes), alarms, twin.model.target)


def _other_notes(fit: Fit) -> list[Note]:
    """Return the notes of a fit from which nothing was held out, without the one that says so."""
    return [note for note in fit.notes if note.code is not Code.NOTHING_HELD_OUT] + set_aside(fit)


def set_aside(fit: Fit) -> list[Note]:
    """Say how many rows with a known label were not trained on, and why."""
    rejected = {reason: rows for reason, rows in fit.rows.rejected.items() if reason != EXCLUDED}
    return [Note(Code.SET_ASIDE, {"used": fit.rows.used, "rejected": rejected})] if rejected else []


def _cut(new: Table, times: Times, share: float) -> float | str:
    """Return the time after which about a share of the new labelled rows was seen; rows of one time stay together.

    Where there is no such time, return why, as a sentence.
    """
    target = new.roles.target or ""
    parts = [
        batch.column(times.seen).filter(batch.column(target).is_valid())
        for batch in new.scan(list(dict.fromkeys((times.seen, target))))
    ]
    column = pa.chunked_array(parts, pa.timestamp("us") if times.stamped else pa.float64()).drop_null()
    plain = pc.cast(pc.cast(column, pa.int64()), pa.float64()) if times.stamped else column
    at, counts = np.unique(plain.to_numpy(), return_counts=True)
    if not len(at):
        return "No row was labelled since the champion was trained."
    if len(at) < 2:
        return f"The {counts.sum():,} rows labelled since the champion was trained were all seen at one time."
    later = counts.sum() - np.cumsum(counts)[:-1]
    return float(at[int(np.argmin(np.abs(later - share * counts.sum())))])


class Contest(NamedTuple):
    """Labelled rows that neither of two models was trained on, as both score them, from one reading.

    `unlike` says why the two cannot be compared at all; `unable`, as a clause, why the champion cannot score the rows.
    """

    target: Target  # the challenger's: both are judged by its proper score, with its power or threshold
    rows: ScoredRows  # by the challenger
    champion: ScoredRows  # by a constant where the champion is unable
    unlike: str | None
    unable: str | None

    def losses(self) -> tuple[Floats, Floats, Floats | None, Floats | None, Floats | None]:
        """Return losses of champion and challenger, weights, times and classes of the rows of known classes."""
        rows, target = self.rows, self.target
        known = ~np.isnan(rows.label)
        weight, time = (None if one is None else one[known] for one in (rows.weight, rows.time))
        classes = rows.label[known] if target.task is Task.CLASSES else None
        return self.champion.losses(target)[known], rows.losses(target)[known], weight, time, classes


def contest(champion: Model, challenger: Model, later: Table, seed: int = 0) -> Contest:
    """Let two models score the labelled rows of a table. DataError where the challenger cannot."""
    # A power or a threshold changes how they learn, not what they predict.
    unable = None if _free(champion.target) == _free(challenger.target) else "its target is another one"
    try:
        champion.check(later.like(champion.readings))
    except DataError as problem:
        unable = unable or problem.message.rstrip(".")
    models = (challenger,) if unable else (challenger, champion)
    rows, *rivals = score_each(models, later, seed=seed)
    rival = rivals[0] if rivals else replace(rows, response=challenger.constant(len(rows.label)))
    return Contest(challenger.target, rows, rival, _other_task(champion.target, challenger.target), unable)


def compare(gate: Gate, both: Contest, state: Mapping[str, Any] | None = None) -> Verdict:
    """Judge the challenger of a contest; where the champion is unable, against a constant."""
    if both.unlike is not None:
        return answered(gate, "not enough evidence", both.unlike, 0)
    if both.unable is not None:
        return judge_without_champion(gate, both.unable, *both.losses(), state=state)
    return judge(gate, *both.losses(), state)
