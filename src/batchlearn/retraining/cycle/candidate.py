"""A candidate: trained on all rows that are known, judged by what its recipe makes of the earlier ones alone.

What goes live is trained on every row, and rows that it has seen cannot judge it. So the same recipe is trained on the
rows before a cut, and that twin is compared with the champion on the rows after it, which neither has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchlearn.data.target import Target, Task
from batchlearn.errors import BatchlearnError, CertificateError, DataError, NoFiniteOptimum, RegistryError, UsageError
from batchlearn.evaluation.baselines import constant_of
from batchlearn.evaluation.scored import ScoredRows, score_each
from batchlearn.formatting.notes import Code, Note
from batchlearn.formatting.numbers import rounded_up
from batchlearn.formatting.rejections import Rejection
from batchlearn.kernels.design import Floats
from batchlearn.models.brought import BroughtModel
from batchlearn.models.model import Model
from batchlearn.progress import Progress
from batchlearn.retraining.cycle.continued import dearer_start, statistics_of, train_from
from batchlearn.retraining.cycle.events import Trained
from batchlearn.retraining.cycle.evidence import JudgingCut, evidence_needed
from batchlearn.retraining.cycle.state import Champion, KnownRows, Newest, Plan
from batchlearn.retraining.gate import Gate, Verdict, judge, judge_without_champion
from batchlearn.retraining.sources.label_times import LabelTimes, settled_rows
from batchlearn.retraining.verdict import JudgedLosses, answered
from batchlearn.tables.table import Table
from batchlearn.training.evaluate import evaluate_scored
from batchlearn.training.fit import Fit
from batchlearn.training.optimise import Status
from batchlearn.training.train import iter_train


@dataclass(frozen=True)
class Judged:
    """What later rows say of a candidate, and how they were chosen."""

    verdict: Verdict
    evaluation: Mapping[str, Any] | None = None
    notes: tuple[Note, ...] = ()
    alarms: tuple[Note, ...] = ()
    target: Target | None = None  # of the model that was judged


def train_candidate(known: KnownRows, champion: Champion | None) -> Generator[Progress, None, Trained]:
    """Train on all rows that the plan wants, and judge; a candidate comes back whatever the verdict.

    Raises what reading and training raise, and CertificateError where the tolerance of the recipe is not proved.
    """
    plan, table = known.plan, known.faded(known.source.table(*known.wanted()))
    start, judged, fit, fell_back = yield from _train_and_judge(known, champion, table)
    refuse_unmet(fit)
    refuse_unkept(fit)
    notes = [*fell_back, *judged.notes, *fit.notes]
    if champion is None:
        judged = replace(judged, verdict=judge(plan.gate, None, np.empty(0)))
    else:
        notes = [note for note in notes if note.code is not Code.NOTHING_HELD_OUT]
        judged = of_one_kind(plan.gate, judged, champion.model.target, fit.model.target)
        notes += _fed_otherwise(champion.model, fit.model)
    rejected = {reason: rows for reason, rows in fit.rows.rejected.items() if reason is not Rejection.EXCLUDED}
    if rejected:
        notes.append(Note(Code.SET_ASIDE, {"used": fit.rows.used, "rejected": rejected}))
    return Trained(
        fit=fit,
        table=table,
        kept=statistics_of(fit, table, plan.threads),
        verdict=judged.verdict,
        evaluation=judged.evaluation,
        notes=tuple(notes),
        judged_against=None if champion is None else champion.generation,
        alarms=(*judged.alarms, *uncertified(fit)),
        start=start,
    )


def _train_and_judge(
    known: KnownRows, champion: Champion | None, table: Table
) -> Generator[Progress, None, tuple[str, Judged, Fit, tuple[Note, ...]]]:
    """Train the twin that is judged and the version from the plan's start, or from the next dearer one for both.

    Returns the start that was not refused, what its twin was judged to be, the fit, and a note for each start refused.
    """
    plan = known.plan
    start, notes = "scratch" if champion is None else plan.start, tuple[Note, ...]()
    while True:
        refused = "version"
        try:
            if champion is None or (plan.gate.mode == "anytime" and start == "scratch"):
                before, kept = (None, None) if champion is None else (champion.model.target, champion.structure)
                # Nothing is judged now, so the evaluation is that of any training: of the same recipe on the latest.
                recipe = replace(plan.recipe, holdout=plan.share)
                fit = yield from iter_train(table, recipe, threads=plan.threads, before=before, structure=kept)
                evaluation = None if fit.evaluation is None else fit.evaluation.to_json()
                return start, Judged(_awaiting(plan.gate), evaluation), fit, notes
            refused = "twin"
            judged = yield from judge_twin(known, champion, start)
            refused = "version"
            fit = yield from train_from(start, champion, plan.recipe, known.parts(champion), plan.threads)
            return start, judged, fit, notes
        except (DataError, UsageError, RegistryError, CertificateError) as problem:
            dearer = _dearer(plan, start, problem)
            if dearer is None:
                raise
            values = {"asked": start, "start": dearer, "of": refused, "code": problem.code, "refusal": problem.message}
            notes = (*notes, Note(Code.START_FELL_BACK, values))
            start = dearer


def _dearer(plan: Plan, start: str, problem: BatchlearnError) -> str | None:
    """Return the start that the refusal of one leaves, where the plan wants to fall back."""
    return dearer_start(start, problem.code) if plan.fallback else None


def judge_twin(known: KnownRows, champion: Champion, start: str) -> Generator[Progress, None, Judged]:
    """Compare what the recipe makes of the rows before a cut with the champion, on the new rows after it.

    The twin sees no row of a later time than the cut, be it new or old. A gate of mode "anytime" has none: it judges
    the version itself, by rows that come later (`judge_later`).
    """
    plan, times, judging = known.plan, known.times, known.judging(champion)
    if plan.gate.mode == "anytime":
        return Judged(_awaiting(plan.gate))
    cut = _cut(known.source.table(judging), times, plan.share)
    if isinstance(cut, Note):
        return Judged(_undecided(plan.gate, cut))
    later = known.source.table(judging, times.after(cut.at))
    try:
        earlier = known.parts(champion, cut.at)
        twin = yield from train_from(start, champion, plan.recipe, earlier, plan.threads)
        both = contest(champion.model, twin.model, later, plan.recipe.seed)
        verdict = compare(plan.gate, both)
        evaluation = evaluate_scored(twin.model, both.rows, seed=plan.recipe.seed)
    except (DataError, NoFiniteOptimum) as problem:
        if _dearer(plan, start, problem) is not None:
            raise
        why = Note(Code.JUDGING_ROWS_UNUSABLE, {"refusal": problem.message})
        return Judged(_undecided(plan.gate, why), alarms=(why,))
    alarms, notes = beside_constant(plan.gate, both, verdict)
    if both.unable is not None:
        alarms = (Note(Code.CHAMPION_CANNOT_SCORE, {"why": both.unable}), *alarms)
    notes = (Note(Code.JUDGED_BY_LATER_ROWS, {"after": times.literal(cut.at)}), *notes)
    needed = evidence_needed(verdict, cut, plan.share, times.stamped)
    notes += () if needed is None else (needed,)
    if evaluation.abstention is not None:
        notes += (Note(Code.LEFT_TO_PEOPLE, {"abstention": str(evaluation.abstention)}),)
    return Judged(verdict, evaluation.to_json(), notes, alarms, twin.model.target)


def judge_later(known: KnownRows, newest: Newest, models: Callable[[], tuple[Model, Model]]) -> Judged | Note | None:
    """Judge a challenger that waits for evidence by the rows seen since the last look, with the verdict's own alarms.

    `models` are champion and challenger, asked for where there are such rows; else why none may be looked at yet, and
    None where none came.
    """
    gate, before = known.plan.gate, newest.verdict
    seen = known.source.table(known.times.seen_by(known.now))
    until = newest.last if before.state is None else before.state["until"]
    stretch = settled_rows(seen, known.times, known.now, newest.as_of, until)
    if not stretch.rows:
        return stretch.reason
    both = contest(*models(), known.source.table(stretch.condition))
    verdict = compare(gate, both, before.state)
    alarms, notes = beside_constant(gate, both, verdict)
    said = Note(Code.JUDGED_AGAIN, {"version": newest.number, "rows": stretch.rows})
    return Judged(verdict, notes=(said, *notes), alarms=alarms)


def _undecided(gate: Gate, why: Note) -> Verdict:
    return answered(gate, "not enough evidence", why, 0)


def _awaiting(gate: Gate) -> Verdict:
    return _undecided(gate, Note(Code.AWAITS_LABELS))


def of_one_kind(gate: Gate, judged: Judged, before: Target, target: Target) -> Judged:
    """Take back a verdict on a model of another kind than the one that would go live, or than the champion is."""
    why = _other_task(before, target)
    if why is None and judged.target is not None and _free(judged.target) != _free(target):
        why = Note(Code.ANOTHER_KIND_JUDGED, {"kind": _kind(target), "judged": _kind(judged.target)})
    if why is None:
        return judged
    return replace(judged, verdict=_undecided(gate, why), alarms=(*judged.alarms, why))


def _other_task(before: Target, target: Target) -> Note | None:
    if before.task is target.task:
        return None
    return Note(Code.ANOTHER_KIND, {"kind": _kind(target), "champion": _kind(before)})


def _kind(target: Target) -> dict[str, Any]:
    return {"classes": len(target.classes)} if target.task is Task.CLASSES else {"loss": target.loss}


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


def refuse_unkept(fit: Fit) -> None:
    """Refuse an estimator that no file holds, and so no version: UsageError."""
    if not isinstance(fit.model, BroughtModel) or fit.model.learner.kept_by is not None:
        return
    types = ", ".join(f'"{name}"' for name in fit.model.learner.types)
    how = (
        f"Where you know the types that it consists of, name them in [recipe]: trust = [{types}]"
        if types
        else ("Use an estimator that can be kept: those of LightGBM, XGBoost and CatBoost, or what skops saves.")
    )
    raise UsageError(
        f"{fit.model.learned_by} cannot be a version: no file holds it without pickle, and a version is a file. {how}",
        code="learner-not-kept",
    )


def _fed_otherwise(champion: Model, model: Model) -> list[Note]:
    """Return that one estimator is fed in two forms, as happens where pandas came or went: they are two models."""
    if not isinstance(champion, BroughtModel) or not isinstance(model, BroughtModel):
        return []
    now, before = model.learner, champion.learner
    if now.path != before.path or now.form == before.form:
        return []
    return [Note(Code.LEARNER_FED_OTHERWISE, {"path": now.path, "form": now.form, "champion": before.form})]


def uncertified(fit: Fit) -> tuple[Note, ...]:
    """Return that a fit lacks the certificate that its start should end with; some never have one."""
    if fit.certificate.certified or fit.solver in ("online", "fine-tune") or fit.model.learned_by is not None:
        return ()
    return (Note(Code.NO_CERTIFICATE, {"reason": str(fit.certificate.reason)}),)


def _cut(new: Table, times: LabelTimes, share: float) -> JudgingCut | Note:
    """Find the time after which about a share of the new labelled rows was seen; rows of one time stay together.

    Where there is no such time, return why.
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
        return Note(Code.NO_LABELS_SINCE)
    if len(at) < 2:
        return Note(Code.LABELS_OF_ONE_TIME, {"rows": int(counts.sum())})
    later = counts.sum() - np.cumsum(counts)[:-1]
    place = int(np.argmin(np.abs(later - share * counts.sum())))
    return JudgingCut(float(at[place]), int(counts.sum()), float(at[0]), float(at[-1]))


class Contest(NamedTuple):
    """Labelled rows that neither of two models was trained on, as both score them, from one reading.

    `unlike` says why the two cannot be compared at all; `unable`, as a clause, why the champion cannot score the rows.
    """

    target: Target  # the challenger's: both are judged by its proper score, with its power or threshold
    rows: ScoredRows  # by the challenger
    champion: ScoredRows  # by a constant where the champion is unable
    constant: ScoredRows | None  # by the one of what the challenger learned from; None where none is finite
    unlike: Note | None
    unable: str | None

    def losses(self) -> tuple[Floats, Floats, Floats | None, Floats | None, Floats | None]:
        """Return losses of champion and challenger, weights, times and classes of the rows of known classes."""
        rows, target = self.rows, self.target
        known = ~np.isnan(rows.label)
        weight, time = (None if one is None else one[known] for one in (rows.weight, rows.time))
        classes = rows.label[known] if target.task is Task.CLASSES else None
        return self.champion.losses(target)[known], rows.losses(target)[known], weight, time, classes

    def constant_losses(self) -> Floats | None:
        """Return the losses of the constant in the rows of known classes."""
        return None if self.constant is None else self.constant.losses(self.target)[~np.isnan(self.rows.label)]

    def mean_losses(self) -> JudgedLosses | None:
        """Return the mean losses in the rows of known classes; None where no row counts."""
        champion, challenger, weight, *_ = self.losses()
        constant = self.constant_losses()
        if not len(challenger) or (weight is not None and not weight.any()):
            return None

        def mean(losses: Floats) -> float:
            return float(np.average(losses, weights=weight))

        level = None if self.unable is not None else mean(champion)
        return JudgedLosses(len(challenger), level, mean(challenger), None if constant is None else mean(constant))


def contest(champion: Model, challenger: Model, later: Table, seed: int = 0) -> Contest:
    """Let two models score the labelled rows of a table. DataError where the challenger cannot."""
    # A power or a threshold changes how they learn, not what they predict.
    unable = None if _free(champion.target) == _free(challenger.target) else "its target is another one"
    try:
        champion.check(later.like(champion.readings))
    except DataError as problem:
        unable = unable or problem.message.rstrip(".")
    models = (challenger,) if unable else (challenger, champion)
    # The champion stays while challengers change: its unit of weights is that of all looks at their rows.
    rows, *rivals = score_each(models, later, seed=seed, weight_constant=champion.weight_constant)
    found = constant_of(challenger, rows)
    constant = None if found is None else replace(rows, response=found)
    rival = rivals[0] if rivals else constant or replace(rows, response=challenger.constant(len(rows.label)))
    return Contest(challenger.target, rows, rival, constant, _other_task(champion.target, challenger.target), unable)


def compare(gate: Gate, both: Contest, state: Mapping[str, Any] | None = None) -> Verdict:
    """Judge the challenger of a contest; where the champion is unable, against a constant."""
    if both.unlike is not None:
        return _undecided(gate, both.unlike)
    losses = both.losses()
    if both.unable is not None:
        verdict = judge_without_champion(gate, both.unable, *losses, state=state)
    else:
        verdict = judge(gate, *losses, state)
    return replace(verdict, losses=both.mean_losses())


def beside_constant(gate: Gate, both: Contest, verdict: Verdict) -> tuple[tuple[Note, ...], tuple[Note, ...]]:
    """Return alarms and notes: that a constant beats the champion on the judging rows, or what takes its place.

    An alarm where the gate's test, on this one side, finds the constant better: of a champion that is no worse than it
    in alpha of the cases at most. A note where chance may explain it.
    """
    constant, (champion, challenger, weight, time, label) = both.constant_losses(), both.losses()
    rivals = [] if both.unable is not None or both.unlike is not None else [("champion", champion)]
    rivals += [("challenger", challenger)] if verdict.verdict == "promote" else []
    alarms, notes, both_sides = list[Note](), list[Note](), min(2.0 * gate.alpha, 0.5)
    for who, losses in [] if constant is None else rivals:
        found = judge(Gate(alpha=both_sides), constant, losses, weight, time, label)
        if constant is None or found.difference is None or found.difference <= 0.0:
            continue
        level = float(np.average(constant, weights=weight))
        figures = {"difference": found.difference, "low": found.low, "high": found.high, "alpha": both_sides}
        note = Note(Code.WORSE_THAN_CONSTANT, {"who": who, "rows": found.rows, "constant": level, **figures})
        (alarms if found.verdict == "reject" else notes).append(note)
    return tuple(alarms), tuple(notes)
