"""Training once: every row of a table, a certificate, and an evaluation on later rows."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np

from batchlearn.data.build import Mask, Profiles, build_rows, profile_parts
from batchlearn.data.encoding import SMALLEST_UNIT, Encoding
from batchlearn.data.encoding_fit import fit_encoding
from batchlearn.data.ledger import Ledger, read_ledger
from batchlearn.data.rows import Rows, one_blas_thread
from batchlearn.data.split import Split, hold_out
from batchlearn.data.target import Target, Task
from batchlearn.errors import DataError, NoFiniteOptimum, UsageError
from batchlearn.evaluation.report import Evaluation
from batchlearn.kernels.design import Floats
from batchlearn.models.linear import LinearModel, PredictionBounds
from batchlearn.objectives.losses import loss_of
from batchlearn.objectives.objective import Objective, ridge
from batchlearn.objectives.penalties import Quadratic
from batchlearn.selection.structure import Structure, choose_structure
from batchlearn.selection.terms import structure_penalty
from batchlearn.tables.table import Table
from batchlearn.training.certificate import Units
from batchlearn.training.evaluate import evaluate_part, with_values
from batchlearn.training.fit import Fit
from batchlearn.training.optimise import Optimum, Problem
from batchlearn.training.recipe import Recipe
from batchlearn.training.regimes import minimising

# Up to so many coefficients the inverse Hessian (8 d^2 bytes) is kept with the model, for bounds on predictions.
_KEPT_COEFFICIENTS = 2500
_LARGEST_THREADS = 256
_FEWEST_ROWS = 2
# Two columns whose correlation differs from one by no more than rounding say the same thing.
_SAME = 1.0 - 1e-12
_HIDDEN = 1e-3
_MOST_PAIRS = 10
# So few different numbers may be classes; weights that add up to so small a share of the rows are relative ones.
_FEW_VALUES = 10
_LIGHT = 0.1


class Progress(NamedTuple):
    """Where a training stands, for whoever watches."""

    stage: str
    rows: int = 0  # read since the last progress
    passes: int = 0  # over the rows of this stage so far
    bound: float | None = None


Answer = TypeVar("Answer")


def train(table: Table, recipe: Recipe | None = None, *, threads: int | None = None) -> Fit:
    """Train on every row of a table that has a target.

    The model is fitted to all rows; the evaluation is of the same recipe fitted to the earlier part alone. Raises
    DataError, UsageError, or NoFiniteOptimum where the penalty is zero and the objective has no minimum.
    """
    steps = training(table, recipe or Recipe(), threads=threads)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            fit: Fit = end.value
            return fit


def training(table: Table, recipe: Recipe, *, threads: int | None = None) -> Generator[Progress, None, Fit]:
    """Yield progress while training; return the fit."""
    if table.roles.target is None:
        raise UsageError(
            "The table has no target; name the column to predict with target= (--target).", code="no-target"
        )
    began = time.perf_counter()
    workers = thread_count(threads)
    with one_blas_thread():
        yield Progress("reading labels")
        ledger = read_ledger(table, loss=recipe.loss)
        if ledger.counts.used < _FEWEST_ROWS:
            raise DataError(
                f"{table.name} has {ledger.counts.used} row with a label; at least {_FEWEST_ROWS} are needed to learn "
                "from.",
                code="too-few-rows",
            )
        split = hold_out(ledger, recipe.holdout, recipe.seed)
        # All rows are profiled for themselves and not as early + late: where nothing is chosen by data, the model does
        # not depend on the split by a bit.
        parts = [split.early] if split.late is None else [split.early, ledger.used]
        profiles = yield from reading("reading columns", profile_parts(table, ledger, parts))
        structure = Structure(recipe.rules)
        if recipe.alpha is None:
            choice = choose_structure(table, ledger, split.early, recipe.rules, recipe.seed, workers)
            structure = yield from reading("choosing what to fit", choice)
        work = Work(table, ledger, recipe, structure, workers)
        evaluation, notes = yield from _evaluate(work, split, profiles[0])
        fitted = yield from fit_part(work, ledger.used, profiles[-1], "all rows")
    left_out = (f"{name} was left out: {reason}" for name, reason in fitted.encoding.left_out.items())
    notes = [*left_out, *_target_notes(work), *_feature_notes(fitted), *notes]
    return _assemble(work, fitted, evaluation, tuple(notes), time.perf_counter() - began)


def thread_count(threads: int | None) -> int:
    """Return how many threads read chunks: as many as there are cores unless said otherwise."""
    if threads is None:
        return min(os.cpu_count() or 1, 8)
    if threads < 1:
        raise UsageError(f"The number of threads is {threads}; it needs to be at least 1.", code="threads-range")
    return min(threads, _LARGEST_THREADS)


class Work(NamedTuple):
    """What a fit of any part of the rows needs."""

    table: Table
    ledger: Ledger
    recipe: Recipe
    structure: Structure
    threads: int


class Fitted(NamedTuple):
    """One part of the rows, fitted."""

    encoding: Encoding
    rows: Rows
    optimum: Optimum
    alpha: float
    penalty: Quadratic


def reading(stage: str, work: Generator[int, None, Answer]) -> Generator[Progress, None, Answer]:
    """Run work that yields rows read as a stage of progress; return its answer."""
    while True:
        try:
            rows = next(work)
        except StopIteration as end:
            answer: Answer = end.value
            return answer
        yield Progress(stage, rows=rows)


def fit_part(work: Work, part: Mask, profiles: Profiles, whose: str) -> Generator[Progress, None, Fitted]:
    """Encode and fit one part of the rows; yields progress, returns what came out."""
    rules = work.structure.rules
    if work.recipe.alpha == 0.0:
        rules = replace(rules, reference=True)
    encoding = fit_encoding(work.table.features, profiles, rules, work.table.roles.time, work.structure.pairs)
    delivered = part is work.ledger.used
    encoded = build_rows(work.table, work.ledger, encoding, part, work.threads, fingerprinted=delivered)
    rows = yield from reading(f"encoding {whose}", encoded)
    alpha = work.recipe.alpha_for(rows.total_weight)
    objective = fit_objective(work.ledger.target, encoding, work.structure.strengths, alpha, rows.total_weight)
    problem = Problem(objective, rows, work.recipe.stopping, Units(encoding.units), encoding.names)
    steps = minimising(problem, work.recipe.regime, seed=work.recipe.seed)
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return Fitted(encoding, rows, end.value, alpha, objective.penalty)
        yield Progress(f"fitting {whose}", rows=len(rows), passes=step.passes, bound=step.bound)


def _evaluate(
    work: Work, split: Split, profiles: Profiles
) -> Generator[Progress, None, tuple[Evaluation | None, list[str]]]:
    if split.late is None:
        return None, [split.how]
    target = work.ledger.target
    labels = work.ledger.label[split.early]
    one_class = target.task is Task.CLASSES and bool(np.all(labels == labels[0]))
    if one_class or (target.task is Task.COUNT and not labels.any()):
        return None, [f"No evaluation: the earlier rows hold only the label {labels[0]:g} of '{target.column}'."]
    # What only the earlier rows lack is no reason to refuse a model of all rows; what all lack is refused with those.
    try:
        fitted = yield from fit_part(work, split.early, profiles, "the earlier rows")
        rows = yield from reading(
            "encoding the later rows",
            build_rows(work.table, work.ledger, fitted.encoding, split.late, work.threads, fingerprinted=False),
        )
        evaluation = evaluate_part(work.ledger, split, fitted.encoding, rows, fitted.optimum, work.recipe.seed)
        evaluation = with_values(work.table, evaluation)
    except (DataError, NoFiniteOptimum) as refusal:
        return None, [f"No evaluation: {refusal.message}"]
    notes = [f"Held out: {split.how}, {len(rows):,} of {work.ledger.counts.used:,}."]
    return evaluation, notes


def _assemble(work: Work, fitted: Fitted, evaluation: Evaluation | None, notes: tuple[str, ...], seconds: float) -> Fit:
    optimum = fitted.optimum
    factor, certificate = optimum.certification.factor, optimum.certification.certificate
    errors = bounds = None
    if factor is not None:
        noise = 2.0 * optimum.value if work.ledger.target.task is Task.NUMBER else 1.0
        errors = factor.coefficient_norms() * np.sqrt(noise / fitted.rows.total_weight)
        if certificate.radius is not None:
            kept = len(optimum.parameters) <= _KEPT_COEFFICIENTS
            bounds = PredictionBounds(
                certificate.radius * factor.inflation * (1.0 + 1e-9),
                factor.coefficient_norms(),
                factor.inverse_hessian if kept else None,
                1.0 / factor.diagonal**2 if kept else None,
                factor.form_error,
            )
    return Fit(
        model=_model(work, fitted, errors, bounds),
        certificate=certificate,
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
        seconds=seconds,
        evaluation=evaluation,
        notes=notes,
        condition=work.table.condition,
    )


def _model(work: Work, fitted: Fitted, errors: Floats | None, bounds: PredictionBounds | None) -> LinearModel:
    ledger = work.ledger
    weight = None if ledger.weight is None else ledger.weight[ledger.used]
    mean = float(np.average(ledger.label[ledger.used], weights=weight))
    parameters = fitted.optimum.parameters
    return LinearModel(fitted.encoding, ledger.target, parameters, work.table.roles, mean, errors, bounds)


def _target_notes(work: Work) -> list[str]:
    """Say what was concluded from labels and weights where users may have meant something else."""
    ledger, recipe, notes = work.ledger, work.recipe, list[str]()
    if recipe.loss is None and ledger.target.task is Task.NUMBER:
        values = np.unique(ledger.label[ledger.used])
        if len(values) <= _FEW_VALUES:
            notes.append(
                f"'{ledger.target.column}' holds {len(values)} different numbers and was taken as a measurement, not "
                "as classes."
            )
    total = float(ledger.counts.used) if ledger.weight is None else float(np.sum(ledger.weight[ledger.used]))
    if recipe.alpha is None and total < _LIGHT * ledger.counts.used:
        notes.append(
            f"The weights of {ledger.counts.used:,} rows add up to {total:.3g} only, so the default penalty, 1 in "
            "total, weighs much. Multiply the weights, or choose a penalty (--alpha)."
        )
    return notes


def _feature_notes(fitted: Fitted) -> list[str]:
    """Say what was done about missing numbers, and which columns repeat each other or are not there at all."""
    encoding, notes = fitted.encoding, list[str]()
    if encoding.layout.size == 1:
        notes.append("No feature is left: the model is an intercept alone and predicts the same for every row.")
    filled = [f"{term.column} ({term.missing_share:.2%})" for term in encoding.numbers if term.missing_share > 0.0]
    if filled:
        columns = ", ".join(filled)
        notes.append(f"Missing numbers count as the column's mean, with an indicator of their own: {columns}.")
    tiny = ", ".join(term.column for term in encoding.numbers if term.deviation < SMALLEST_UNIT)
    if tiny:
        notes.append(f"Coefficients are for one standard deviation, not for one unit, of numbers so small: {tiny}.")
    pairs = _repeats(fitted)
    notes += [f"{a} and {b} repeat each other: the penalty shares their effect." for a, b in pairs[:_MOST_PAIRS]]
    if len(pairs) > _MOST_PAIRS:
        notes.append(f"{len(pairs) - _MOST_PAIRS:,} more pairs of columns repeat each other.")
    return notes


def _repeats(fitted: Fitted) -> list[tuple[str, str]]:
    """Return the pairs of dense columns that are proportional to each other in every row."""
    expansion, layout = fitted.optimum.certification.expansion, fitted.encoding.layout
    if expansion is None or layout.dense < 2:
        return []
    products = expansion.hessian[1 : layout.lead, 1 : layout.lead]
    # The curvature of the rows; where the penalty hides it in rounding, nothing can be said.
    square = np.diagonal(products) - fitted.penalty.diagonal[1 : layout.lead]
    seen = square > _HIDDEN * np.diagonal(products)
    size = np.where(seen, np.sqrt(np.where(seen, square, 1.0)), np.inf)
    same = np.argwhere(np.triu(np.abs(products / size[:, None] / size) >= _SAME, 1))
    names = fitted.encoding.names[1:]
    return [(names[a], names[b]) for a, b in same]


def fit_objective(
    target: Target, encoding: Encoding, strengths: Mapping[str, float], alpha: float, total_weight: float
) -> Objective:
    """Return the objective of a fit: with the strengths chosen by data, or alpha/2 ||w||^2 where none were."""
    penalty = structure_penalty(encoding, strengths, total_weight) if strengths else ridge(encoding.layout, alpha)
    return Objective(loss_of(target), penalty)
