"""A candidate: trained on all rows that are known, judged by what its recipe makes of the earlier ones alone.

What goes live is trained on every row, and rows that it has seen cannot judge it. So the same recipe is trained on the
rows before a cut, and that twin is compared with the champion on the rows after it, which neither has seen.
"""

from __future__ import annotations

import io
import platform
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from batchlearn.data.ledger import read_ledger
from batchlearn.data.target import Target, Task
from batchlearn.errors import CertificateError, DataError, NoFiniteOptimum
from batchlearn.evaluation.metrics import first_score, losses_under, target_metrics
from batchlearn.kernels.design import Floats
from batchlearn.models.files import files_of
from batchlearn.models.linear import LinearModel
from batchlearn.models.strict_json import dump
from batchlearn.models.tensors import pack
from batchlearn.registry.version import ENVIRONMENT, EXPECTED, KEPT, MODEL_FOLDER, RECIPE, SAMPLE
from batchlearn.retraining.child import Rehearsal, scores_same
from batchlearn.retraining.cycle.starting import Champion, Parts, kept_bytes, training_from
from batchlearn.retraining.feed.known import Times, without
from batchlearn.retraining.feed.sources import DataFeed
from batchlearn.retraining.gate import Gate, Verdict, judge, judge_in_looks, judge_without_champion
from batchlearn.retraining.policies import Span
from batchlearn.retraining.project import Project
from batchlearn.retraining.verdict import answered
from batchlearn.tables.table import Table
from batchlearn.training.evaluate import evaluate, responses
from batchlearn.training.fit import Fit
from batchlearn.training.optimise import Status
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import Progress, training

SAMPLE_ROWS = 300
_PACKAGES = ("batchlearn", "numpy", "scipy", "pyarrow", "safetensors", "scikit-learn")


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
        given = self.project.settings.recipe
        costs = self.project.settings.review.costs
        return Recipe(given.loss, given.alpha, given.tolerance, 0.0, given.seed, costs=costs)


class Candidate(NamedTuple):
    """A model of all rows, and what was found out about it; `judged_against` is the champion's generation.

    `alarms` say what should not be, in a sentence each.
    """

    fit: Fit
    table: Table
    verdict: Verdict
    evaluation: dict[str, Any] | None
    notes: tuple[str, ...]
    judged_against: int | None
    alarms: tuple[str, ...] = ()


class Judged(NamedTuple):
    """What later rows say of a candidate, and how they were chosen."""

    verdict: Verdict
    evaluation: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()


def training_conditions(around: Surroundings, times: Times) -> tuple[str, ...]:
    """Return what holds for the rows that the policy trains on now."""
    window = around.project.settings.policy.window
    recent = () if window is None else (times.after(around.now - Span.parse(window).on(times.stamped)),)
    return (times.known_by(around.now), *recent)


def parts_since(around: Surroundings, times: Times, champion: Champion, but: str | None = None) -> Parts:
    """Return the rows that the policy trains on now, and what came and went since the champion's training.

    `but` is a condition that some of the new rows do not meet.
    """
    rows, new = training_conditions(around, times), times.known_since(around.now, champion.as_of)
    then = training_conditions(replace(around, now=champion.as_of), times)
    # Old rows go only where there is a window, which moves on.
    removed = around.feed.table(*then, without(rows[1])) if len(rows) > 1 else None
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
        return Candidate(fit, table, verdict, evaluation, fit.notes, None, uncertified(fit))
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
    notes, alarms = (*judged.notes, *_other_notes(fit)), (*judged.alarms, *uncertified(fit))
    return Candidate(fit, table, judged.verdict, judged.evaluation, notes, champion.generation, alarms)


def refuse_unmet(fit: Fit) -> None:
    """Raise CertificateError where the tolerance of the recipe is not proved."""
    if fit.recipe.tolerance is None or fit.status is Status.TOLERANCE:
        return
    bound = fit.certificate.loss_bound
    came = "Nothing is proved" if bound is None else f"The loss is proved to be within {bound:.1e} of the optimum"
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
    judging = f"({new}) and ({times.after(cut)})"
    later = around.feed.table(judging)
    try:
        twin = yield from _from_start(around, champion, parts_since(around, times, champion, without(judging)))
        unable = cannot_score(champion.model, twin.model, later)
        verdict = compare(gate, champion.model, twin.model, later)
        evaluation = evaluate(twin.model, later, seed=around.recipe.seed)
    except (DataError, NoFiniteOptimum) as problem:
        reason = f"The rows before those that judge, or these, cannot be used: {problem.message}"
        return Judged(answered(gate, "not enough evidence", reason, 0), alarms=(reason,))
    alarms = () if unable is None else (f"The champion cannot score the later rows: {unable}.",)
    notes = [f"Judged by the rows seen after {times.literal(cut)} that were labelled since the champion was trained."]
    if evaluation.abstention is not None:
        notes.append(str(evaluation.abstention))
    return Judged(verdict, evaluation.to_json(), tuple(notes), alarms)


def _other_notes(fit: Fit) -> list[str]:
    """Return the notes of a fit from which nothing was held out, without the one that says so."""
    return [note for note in fit.notes if note != "no rows were held out"]


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


def compare(
    gate: Gate,
    champion: LinearModel,
    challenger: LinearModel,
    later: Table,
    times: Times | None = None,
    state: Mapping[str, Any] | None = None,
) -> Verdict:
    """Judge a challenger on labelled rows that neither model was trained on. DataError where it cannot score them.

    With `times` rows are ordered by when their labels were known, as looking again and again needs it.
    """
    rows = _judging_rows(challenger, later, times)
    unable = cannot_score(champion, challenger, later)
    if unable is not None:
        shape = (len(rows.label), len(challenger.class_shares)) if challenger.class_shares else len(rows.label)
        constant = rows.losses(np.full(shape, challenger.class_shares or challenger.label_mean))
        return judge_without_champion(gate, unable, constant, *rows.judged(challenger), state=state)
    return judge(gate, rows.losses_of(champion), *rows.judged(challenger), state)


def compare_in_looks(
    gate: Gate,
    champion: LinearModel,
    challenger: LinearModel,
    later: Table,
    times: Times,
    state: Mapping[str, Any] | None,
) -> Verdict:
    """Judge as `gate.judge_in_looks` on rows that no earlier look has seen; the champion has to be able to score them.

    Errors as those of `compare`.
    """
    rows = _judging_rows(challenger, later, times)
    return judge_in_looks(gate, rows.losses_of(champion), *rows.judged(challenger), state)


@dataclass(frozen=True)
class _JudgingRows:
    """The labelled rows of a table that judge two models of one target; arrays have one entry for each of them.

    Both are judged by the proper score of the challenger's target, which may hold a power or threshold of its own.
    """

    table: Table
    used: NDArray[np.bool_]  # of the table's rows
    target: Target
    label: Floats
    weight: Floats | None
    time: Floats | None

    def losses(self, response: Floats) -> Floats:
        return losses_under(first_score(target_metrics(self.target)), self.label, response)

    def losses_of(self, model: LinearModel) -> Floats:
        return self.losses(responses(model, self.table, self.used)[self.used])

    def judged(self, challenger: LinearModel) -> tuple[Floats, Floats | None, Floats | None, Floats | None]:
        """Return the challenger's losses with weights, times and classes, as the gate takes them."""
        classes = self.label if self.target.task is Task.CLASSES else None
        return self.losses_of(challenger), self.weight, self.time, classes


def _judging_rows(challenger: LinearModel, later: Table, times: Times | None) -> _JudgingRows:
    challenger.check(later)
    ledger = read_ledger(later, target=challenger.target)
    used = ledger.used
    weight = None if ledger.weight is None else ledger.weight[used]
    time = ledger.time
    if times is not None and times.labelled is not None:
        # A row is known once it has rested and its label is there.
        time = np.maximum(_column(later, times.labelled), _column(later, times.seen) + times.wait)
    time = None if time is None else time[used]
    return _JudgingRows(later, used, challenger.target, ledger.label[used], weight, time)


def cannot_score(champion: LinearModel, challenger: LinearModel, later: Table) -> str | None:
    """Return why the champion cannot score the rows that the challenger can, as a clause; None where it can."""
    # A power or a threshold is chosen by the data of each, and changes how they learn, not what they predict.
    one, other = (replace(model.target, power=None, threshold=None) for model in (champion, challenger))
    if one != other:
        return "its target is another one"
    try:
        champion.check(later)
    except DataError as problem:
        return problem.message.rstrip(".")
    return None


def _column(table: Table, name: str) -> Floats:
    arrays = [batch.column(name) for batch in table.scan([name])]
    column = pa.chunked_array(arrays)
    plain = pc.cast(pc.cast(column, pa.int64()), pa.float64()) if pa.types.is_timestamp(column.type) else column
    return np.asarray(pc.fill_null(plain, np.nan).to_numpy())


# --- the files of a version -----------------------------------------------------------------------------------------


class VersionFiles(NamedTuple):
    """The files of a version by name, and the shape of the responses that its sample rows must score."""

    files: dict[str, bytes]
    responses: tuple[int, ...]


def version_files(around: Surroundings, fit: Fit, table: Table) -> VersionFiles:
    """Return the files of a version: model, recipe as text, environment, sample rows and what they must score."""
    sample = _sample(table, around.recipe.seed)
    expected = fit.model.predict(sample).response
    sink = io.BytesIO()
    pq.write_table(sample, sink, write_page_checksum=True)
    model = {f"{MODEL_FOLDER}/{name}": data for name, data in files_of(fit.model, fit.record()).items()}
    files = {
        **model,
        RECIPE: around.project.text.encode(),
        ENVIRONMENT: dump(_environment()),
        SAMPLE: sink.getvalue(),
        EXPECTED: pack({"response": expected}),
    }
    kept = kept_bytes(fit, table, around.threads)
    if kept is not None:
        files[KEPT] = kept
    return VersionFiles(files, expected.shape)


def _sample(table: Table, seed: int) -> pa.Table:
    """Return some rows of a table in canonical types, all columns, drawn at random and in order."""
    names = [column.name for column in table.columns]
    rows = sum(batch.num_rows for batch in table.scan(names[:1]))
    chosen = np.sort(np.random.default_rng(seed).permutation(rows)[:SAMPLE_ROWS])
    parts, start = [], 0
    for batch in table.scan(names):
        inside = chosen[(chosen >= start) & (chosen < start + batch.num_rows)] - start
        if len(inside):
            parts.append(batch.take(pa.array(inside)))
        start += batch.num_rows
    plain = [_decoded(part) for part in parts]
    return pa.Table.from_batches(plain)


def _decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    arrays = [array.dictionary_decode() if pa.types.is_dictionary(array.type) else array for array in batch.columns]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _environment() -> dict[str, Any]:
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "(not installed)"
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "packages": packages,
    }
