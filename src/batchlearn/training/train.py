"""Training once: every row of a table, a certificate, and an evaluation on later rows."""

from __future__ import annotations

import math
import os
from collections.abc import Generator, Mapping
from dataclasses import replace
from numbers import Integral
from typing import NamedTuple

import numpy as np

from batchlearn.data.build import Mask, Profiles, build_rows, check_memory, profile_parts
from batchlearn.data.encoding import Encoding
from batchlearn.data.encoding_fit import fit_encoding
from batchlearn.data.ledger import Ledger, read_ledger, with_classes_of
from batchlearn.data.rows import Rows
from batchlearn.data.rows.threads import one_blas_thread
from batchlearn.data.split import Split, hold_out, split_kind, with_lots
from batchlearn.data.target import Target, Task
from batchlearn.errors import DataError, NoFiniteOptimum, UsageError, quoted
from batchlearn.evaluation.baselines import offset_constant
from batchlearn.evaluation.report import Evaluation
from batchlearn.formatting.names import how_split
from batchlearn.formatting.notes import Code, Note
from batchlearn.kernels.design import Floats
from batchlearn.models.decision import Costs
from batchlearn.models.linear import LinearModel
from batchlearn.objectives.class_weights import counted_by_class, log_odds_shift, moved_intercepts, weights_of
from batchlearn.objectives.losses import loss_of
from batchlearn.objectives.penalties import Quadratic
from batchlearn.progress import Answer, finish, told
from batchlearn.selection.covariance import Expanded, class_moments, second_moments
from batchlearn.selection.huber_threshold import choose_threshold
from batchlearn.selection.structure import Structure, choose_structure
from batchlearn.selection.terms import encoding_penalty
from batchlearn.selection.tweedie_power import profile_power
from batchlearn.statistics.dispersion import effective_coefficients, mean_squared_scores, pearson_dispersion
from batchlearn.statistics.objective import Objective
from batchlearn.tables.conditions import for_any_time
from batchlearn.tables.table import Table
from batchlearn.training.certificate import KEPT_COEFFICIENTS, Units
from batchlearn.training.evaluate import evaluate_part, with_values
from batchlearn.training.fit import Fit
from batchlearn.training.optimise import Optimum, Problem, correct_intercepts, iter_optimise
from batchlearn.training.recipe import Recipe
from batchlearn.training.summary.columns import (
    Clock,
    DataSummary,
    JudgedFit,
    column_uses,
    model_readings,
    refuse_text,
    summarise_columns,
)
from batchlearn.training.summary.labels import part_labels, summarise_neighbours, summarise_split
from batchlearn.training.summary.leaks import leak_notes
from batchlearn.training.summary.levels import count_levels, leaking_levels
from batchlearn.training.summary.notes import case_notes, feature_notes, group_notes, row_notes, target_notes
from batchlearn.training.summary.spikes import spike_remarks
from batchlearn.training.summary.texts import text_uses

_LARGEST_THREADS = 256
_FEWEST_ROWS = 2


class Progress(NamedTuple):
    """Where a training stands, for whoever watches."""

    stage: str
    rows: int = 0  # read since the last progress
    passes: int = 0  # over the rows of this stage so far
    bound: float | None = None


def train(table: Table, recipe: Recipe | None = None, *, threads: int | None = None) -> Fit:
    """Train on every row of a table that has a target, and evaluate the same recipe fitted to the earlier part alone.

    Args:
        table: Rows with a target, as `read` opens them.
        recipe: How to train; `Recipe()` unless given.
        threads: Threads that read rows; as many as there are cores, at most 8, unless given. No bit depends on it.

    Returns:
        The model, its certificate, its evaluation, and what was found on the way.

    Raises:
        UsageError: The table has no target, or the recipe does not fit it.
        DataError: The rows are not what they should be, or fewer than two have a label.
        ResourceError: The rows cannot fit into the memory of this machine.
        NoFiniteOptimum: The penalty is 0 and the objective has no minimum.

    Example:
        >>> import batchlearn as bl
        >>> fit = bl.train(bl.read({"hour": [6.0, 7.0, 8.0, 9.0], "delay": [1.0, 2.0, 4.0, 6.0]}, target="delay"))
        >>> fit.certificate.certified, fit.rows.used
        (True, 4)
    """
    return finish(iter_train(table, recipe or Recipe(), threads=threads))


def iter_train(
    table: Table,
    recipe: Recipe,
    *,
    threads: int | None = None,
    before: Target | None = None,
    structure: Structure | None = None,
) -> Generator[Progress, None, Fit]:
    """Yield progress while training; return the fit. What is given of `before` and `structure` is kept."""
    if table.roles.target is None:
        raise UsageError(
            "The table has no target; name the column to predict with target= (--target).", code="no-target"
        )
    clock = Clock()
    workers = thread_count(threads)
    check_memory(table)
    with one_blas_thread():
        yield Progress("reading labels")
        ledger = read_ledger(table, loss=recipe.loss, positive=recipe.positive, before=before)
        if ledger.counts.used < _FEWEST_ROWS:
            raise DataError(
                f"{table.name} has {ledger.counts.used} row with a label; at least {_FEWEST_ROWS} are needed to learn "
                "from.",
                code="too-few-rows",
            )
        check_costs(ledger.target, recipe.costs)
        ledger = with_lots(table, ledger)
        repeated = ledger.counts.used - len(np.unique(ledger.lots.whole[ledger.used]))
        kind = split_kind(ledger, recipe.split)
        split = hold_out(ledger, recipe.holdout, recipe.seed, kind)
        early, _ = counted_by_class(recipe.class_weight, ledger, split.early)
        # All rows are profiled for themselves and not as early + late: where nothing is chosen by data, the model does
        # not depend on the split by a bit.
        parts = [split.early] if split.late is None else [split.early, ledger.used]
        profiles = yield from run_stage("reading columns", profile_parts(table, ledger, parts))
        refuse_text(table, profiles[-1])
        clock.stop("reading")
        ledger, chosen = yield from _with_number(table, ledger, split, recipe, workers)
        early = replace(early, target=ledger.target)
        if structure is None and recipe.alpha is None:
            choice = choose_structure(table, early, split.early, recipe.rules, workers, kind, recipe.seed)
            structure = yield from run_stage("choosing what to fit", choice)
        structure = structure or Structure(recipe.rules)
        clock.stop("choosing")
        work = Work(table, ledger, recipe, structure, workers)
        known = work._replace(ledger=with_classes_of(ledger, split.early))
        if not isinstance(recipe.class_weight, str | None):
            # A part of the rows may lack a class that was given a weight.
            weights = weights_of(recipe.class_weight, known.ledger.target.classes)
            known = known._replace(recipe=replace(recipe, class_weight=weights or None))
        evaluation, judged, notes = yield from _evaluate(known, split, profiles[0])
        clock.stop("judging")
        fitted = yield from fit_part(work, ledger.used, profiles[-1], "all rows")
        clock.stop("fitting")
    spikes = spike_remarks(table, profiles[-1], ledger)
    uses = column_uses(table, fitted.encoding, profiles[-1], ledger.unreadable, spikes)
    codes = (Code.LEFT_OUT, Code.UNREADABLE_VALUES)
    of_columns = (remark.note for use in uses for remark in use.remarks if remark.note.code in codes)
    said = [
        *target_notes(ledger, recipe, table.roles, before),
        *chosen,
        *row_notes(ledger, fitted.encoding, fitted.class_weights, repeated),
        *case_notes(fitted.encoding, profiles[-1]),
        *feature_notes(fitted.encoding, fitted.optimum.certification.expansion, fitted.penalty),
    ]
    summary = _summary(work, fitted, profiles[-1], split, repeated, judged, clock.seconds)
    fit = _assemble(work, fitted, evaluation, (*of_columns, *said, *notes), summary)
    return replace(fit, columns=uses, notes=(*leak_notes(fit), *fit.notes))


def _summary(
    work: Work,
    fitted: Fitted,
    profiles: Profiles,
    split: Split,
    repeated: int,
    judged: JudgedFit | None,
    seconds: Mapping[str, float],
) -> DataSummary:
    levels = count_levels(fitted.rows, fitted.encoding, work.ledger.target)
    leaking = leaking_levels(fitted.encoding, levels, work.ledger.target)
    return DataSummary(
        repeated_rows=repeated,
        split=summarise_split(work.table, work.ledger, split),
        judged=judged,
        labels=part_labels(work.ledger, split),
        neighbours=summarise_neighbours(work.ledger),
        columns=summarise_columns(work.table.features, profiles, leaking, fitted.encoding.left_out),
        seconds=seconds,
        levels=levels,
        texts=text_uses(fitted.encoding, fitted.rows, fitted.optimum.parameters),
    )


def check_costs(target: Target, costs: Costs | None) -> None:
    """Refuse costs of decisions for a target that has no two classes: UsageError."""
    if costs is not None and len(target.classes) != 2:
        what = f"holds {len(target.classes)} classes" if target.classes else f"is predicted by the {target.loss} loss"
        raise UsageError(
            f"Costs of a false positive and a false negative were given and '{target.column}' {what}; they are for two "
            "classes. Leave them out.",
            code="costs-without-two-classes",
        )


def thread_count(threads: int | None) -> int:
    """Return how many threads read chunks: as many as there are cores unless said otherwise."""
    if threads is None:
        return min(os.cpu_count() or 1, 8)
    if not isinstance(threads, Integral) or threads < 1:
        raise UsageError(
            f"The number of threads is {quoted(threads)}; it needs to be a whole number of 1 or more.",
            code="threads-range",
        )
    return min(int(threads), _LARGEST_THREADS)


def _with_number(
    table: Table, ledger: Ledger, split: Split, recipe: Recipe, threads: int
) -> Generator[Progress, None, tuple[Ledger, list[Note]]]:
    """Return the ledger with the number that its loss needs, as given or as the earlier rows ask for, and a note."""
    if ledger.target.loss == "huber":
        threshold, said = recipe.threshold, list[Note]()
        if threshold is None:
            look = choose_threshold(table, ledger, split.early, recipe.rules, recipe.seed, threads)
            threshold, note = yield from run_stage("choosing the threshold", look)
            said = [note]
        return replace(ledger, target=replace(ledger.target, threshold=threshold)), said
    if ledger.target.loss != "tweedie":
        return ledger, []
    power, notes = recipe.power, list[Note]()
    if power is None:
        search = profile_power(table, ledger, split.early, recipe.rules, recipe.seed, threads)
        profile = yield from run_stage("choosing the power", search)
        power, notes = profile.power, [profile.note]
    return replace(ledger, target=replace(ledger.target, power=power)), notes


class Work(NamedTuple):
    """What a fit of any part of the rows needs; a solver that has taken so many seconds ends where it stands."""

    table: Table
    ledger: Ledger
    recipe: Recipe
    structure: Structure
    threads: int
    seconds: float = math.inf


class Fitted(NamedTuple):
    """One part of the rows, fitted."""

    encoding: Encoding
    rows: Rows
    optimum: Optimum
    alpha: float
    penalty: Quadratic
    class_weights: Floats | None  # (classes,): what each class counted


def run_stage(stage: str, work: Generator[int, None, Answer]) -> Generator[Progress, None, Answer]:
    """Run work that yields rows read as a stage of progress; return its answer."""
    return told(work, lambda rows: Progress(stage, rows=rows))


def fit_part(work: Work, part: Mask, profiles: Profiles, whose: str) -> Generator[Progress, None, Fitted]:
    """Encode and fit one part of the rows; yields progress, returns what came out."""
    rules = work.structure.rules
    if work.recipe.alpha == 0.0:
        rules = replace(rules, reference=True)
    encoding = fit_encoding(work.table.features, profiles, rules, work.table.roles.time, work.structure.pairs)
    delivered = part is work.ledger.used
    ledger, weights = counted_by_class(work.recipe.class_weight, work.ledger, part)
    encoded = build_rows(work.table, ledger, encoding, part, work.threads, fingerprinted=delivered)
    rows = yield from run_stage(f"encoding {whose}", encoded)
    alpha = work.recipe.alpha_for(rows.total_weight)
    given = work.recipe.alpha
    objective = fit_objective(work.ledger.target, encoding, work.structure.strengths, given, rows.total_weight)
    names = [*encoding.names] * objective.loss.outputs
    problem = Problem(objective, rows, work.recipe.stopping, Units(encoding.own_units), names, work.seconds)
    optimum = yield from told(
        iter_optimise(problem, regime=work.recipe.regime, seed=work.recipe.seed),
        lambda step: Progress(f"fitting {whose}", rows=len(rows), passes=step.passes, bound=step.bound),
    )
    if weights is not None:
        optimum = correct_intercepts(problem, optimum, weights)
    return Fitted(encoding, rows, optimum, alpha, objective.penalty, weights)


def _evaluate(
    work: Work, split: Split, profiles: Profiles
) -> Generator[Progress, None, tuple[Evaluation | None, JudgedFit | None, list[Note]]]:
    """Return the evaluation, coefficients and passes of the fit that it is of, and notes."""
    if split.late is None:
        return None, None, [Note(Code.NOTHING_HELD_OUT)]
    target = work.ledger.target
    labels = work.ledger.label[split.early]
    unseen = int((split.late & work.ledger.unseen).sum())
    late = split.late & work.ledger.used
    if not late.any():
        return None, None, [Note(Code.CLASSES_NOT_EARLIER, {"rows": unseen})]
    one_class = target.task is Task.CLASSES and bool(np.all(labels == labels[0]))
    if one_class or (target.task in (Task.COUNT, Task.AMOUNT) and not labels.any()):
        return None, None, [Note(Code.ONE_LABEL, {"label": float(labels[0]), "column": target.column})]
    # What only the earlier rows lack is no reason to refuse a model of all rows; what all lack is refused with those.
    try:
        fitted = yield from fit_part(work, split.early, profiles, "the earlier rows")
        rows = yield from run_stage(
            "encoding the later rows",
            build_rows(work.table, work.ledger, fitted.encoding, late, work.threads, fingerprinted=False),
        )
        parts, recipe = split._replace(late=late), work.recipe
        evaluation = evaluate_part(work.ledger, parts, fitted.encoding, rows, fitted.optimum, recipe.seed, recipe.costs)
        evaluation = with_values(work.table, evaluation)
    except (DataError, NoFiniteOptimum) as refusal:
        return None, None, [Note(Code.NOT_EVALUATED, {"refusal": refusal.message})]
    held = {
        "by": split.kind.value,
        "how": how_split(split.kind, split.one_time),
        "rows": len(rows),
        "of": work.ledger.counts.used,
    }
    notes = [Note(Code.HELD_OUT, held)]
    if unseen:
        notes.append(Note(Code.CLASSES_NOT_EARLIER, {"rows": unseen}))
    judged = JudgedFit(len(fitted.optimum.parameters), fitted.optimum.passes)
    return evaluation, judged, notes + group_notes(work.ledger, split, work.table.roles.group)


def _assemble(
    work: Work, fitted: Fitted, evaluation: Evaluation | None, notes: tuple[Note, ...], summary: DataSummary
) -> Fit:
    optimum, where = fitted.optimum, for_any_time(work.table.condition)
    dispersion, errors, moments = _errors(work, fitted)
    kept = len(optimum.parameters) <= KEPT_COEFFICIENTS
    return Fit(
        model=_model(work, fitted, errors, moments if kept else None),
        certificate=optimum.certification.certificate,
        status=optimum.status,
        structure=work.structure,
        recipe=work.recipe,
        alpha=fitted.alpha,
        rows=work.ledger.counts,
        objective=optimum.value,
        null_objective=optimum.null_value,
        solver=optimum.solver,
        trace=optimum.trace,
        passes=optimum.passes,
        seconds=sum(summary.seconds.values()),
        evaluation=evaluation,
        notes=notes,
        condition=None if work.table.condition is None else str(work.table.condition),
        where=None if where is None else str(where),
        class_weights=None if fitted.class_weights is None else tuple(map(float, fitted.class_weights)),
        dispersion=dispersion,
        summary=summary,
        lines_passed_over=work.table.lines_passed_over,
    )


def _errors(work: Work, fitted: Fitted) -> tuple[float | None, Floats | None, Floats | None]:
    """Return the dispersion, the standard errors and the moments within groups of levels."""
    rows, optimum, weights = fitted.rows, fitted.optimum, fitted.class_weights
    expansion, factor = optimum.certification.expansion, optimum.certification.factor
    if expansion is None or factor is None:
        return None, None, None
    loss, parameters, scores = loss_of(work.ledger.target), optimum.parameters, None
    dispersion = pearson_dispersion(loss, rows, parameters, effective_coefficients(factor, fitted.penalty))
    if work.ledger.weight is not None or weights is not None:
        at = parameters if weights is None else moved_intercepts(parameters, log_odds_shift(weights))
        scores = mean_squared_scores(loss, rows, at)
    size, inverse = fitted.encoding.layout.size, factor.inverse_hessian
    here = Expanded(parameters, expansion, inverse, fitted.penalty, dispersion, rows.total_weight, size, scores)
    found = second_moments(fitted.encoding, work.structure.strengths, here)
    if found is None:
        return dispersion, None, None
    return dispersion, *class_moments(found, fitted.encoding, len(work.ledger.target.classes))


def _model(work: Work, fitted: Fitted, errors: Floats | None, moments: Floats | None) -> LinearModel:
    ledger, optimum, classes = work.ledger, fitted.optimum, len(work.ledger.target.classes)
    weight = None if ledger.weight is None else ledger.weight[ledger.used]
    mean = float(np.average(ledger.label[ledger.used], weights=weight))
    shares = np.bincount(ledger.label[ledger.used].astype(np.intp), weight, classes) if classes > 2 else np.zeros(0)
    told = tuple(map(float, shares / max(float(shares.sum()), 1e-300)))
    roles, costs, bounds = work.table.roles, work.recipe.costs, optimum.certification.prediction_bounds()
    given = (fitted.encoding, ledger.target, optimum.parameters, roles, mean, errors, bounds, costs, told, moments)
    added, readings = offset_constant(ledger, ledger.used), model_readings(work.table, fitted.encoding)
    model = LinearModel(*given, weight_constant=ledger.weight_constant, offset_constant=added)
    return replace(model, readings=readings, text_encoding=work.table.text_encoding)


def fit_objective(
    target: Target, encoding: Encoding, strengths: Mapping[str, float], alpha: float | None, total_weight: float
) -> Objective:
    """Return the objective of a fit to rows of this total weight."""
    loss = loss_of(target)
    return Objective(loss, encoding_penalty(encoding, strengths, alpha, loss.outputs).over(total_weight))
