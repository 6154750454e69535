"""Training once: every row of a table, a certificate, and an evaluation on later rows."""

from __future__ import annotations

import math
import os
from collections.abc import Generator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from batchlearn.data.build import Mask, PreparedRows, Profiles, build_rows, check_memory, profile_parts
from batchlearn.data.encoding import Encoding
from batchlearn.data.encoding_fit import fit_encoding
from batchlearn.data.ledger import Ledger, columns_read, read_ledger, with_classes_of
from batchlearn.data.rows import Rows
from batchlearn.data.rows.journal import Journal, kept_stage
from batchlearn.data.rows.threads import one_blas_thread, thread_count
from batchlearn.data.split import Split, SplitKind, hold_out, split_kind, with_lots
from batchlearn.data.target import Target
from batchlearn.errors import DataError, UsageError
from batchlearn.evaluation.report import Evaluation
from batchlearn.formatting.notes import Code, Note
from batchlearn.kernels.design import Floats
from batchlearn.models.decision import check_costs
from batchlearn.models.linear import LinearModel
from batchlearn.objectives.class_weights import counted_by_class, log_odds_shift, moved_intercepts, weights_of
from batchlearn.objectives.losses import loss_of
from batchlearn.objectives.penalties import Quadratic
from batchlearn.progress import Progress, at_once, finish, run_stage, told
from batchlearn.selection.covariance import Expanded, class_moments, second_moments
from batchlearn.selection.huber_threshold import choose_threshold
from batchlearn.selection.structure import Structure, choose_structure
from batchlearn.selection.terms import encoding_penalty
from batchlearn.selection.tweedie_power import profile_power
from batchlearn.statistics.dispersion import effective_coefficients, mean_squared_scores, pearson_dispersion
from batchlearn.statistics.objective import Objective
from batchlearn.tables.conditions import for_any_time
from batchlearn.tables.table import Table
from batchlearn.tables.table.budget import budget_of
from batchlearn.tables.table.kept import keep
from batchlearn.tables.table.segments import within
from batchlearn.training.certificate import KEPT_COEFFICIENTS, Units
from batchlearn.training.evaluate import Judged, Judging, evaluate_part, evaluate_split
from batchlearn.training.fit import Fit, model_of
from batchlearn.training.optimise import Optimum, Problem, correct_intercepts, iter_optimise
from batchlearn.training.recipe import Recipe, told_apart
from batchlearn.training.summary.columns import (
    Clock,
    DataSummary,
    JudgedFit,
    column_uses,
    refuse_text,
    summarise,
)
from batchlearn.training.summary.leaks import leak_notes
from batchlearn.training.summary.notes import case_notes, feature_notes, row_notes, target_notes
from batchlearn.training.summary.spikes import spike_remarks
from batchlearn.training.summary.texts import text_uses

_FEWEST_ROWS = 2
# Of more, two sets of encoded rows, those of the judged fit and of the one delivered, are not held at once.
_MOST_ROWS_TWICE = 1_000_000


def train(
    table: Table,
    recipe: Recipe | None = None,
    *,
    model: object | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Fit:
    """Train on every row of a table that has a target, and evaluate the same recipe fitted to the earlier part alone.

    Args:
        table: Rows with a target, as `read` opens them.
        recipe: How to train; `Recipe()` unless given.
        model: An estimator of scikit-learn's interface to fit instead of ours, or its name, as `Recipe.model`.
        threads: Threads that read rows; as many as there are cores, at most 8, unless given. No bit depends on it.
        memory: Bytes, or a size such as "4GB", that rows may take before they go to a file in the cache folder; two
            thirds of what is free unless given. No bit depends on it.
        checkpoint: A folder of its own, from which the same call goes on after a kill; the model is the same.

    Returns:
        The model, its certificate, its evaluation, and what was found on the way.

    Raises:
        UsageError: The table has no target, or the recipe does not fit it.
        DataError: The rows are not what they should be, or fewer than two have a label.
        ResourceError: The rows cannot fit into the memory of this machine, or the checkpoint cannot be written.
        NoFiniteOptimum: The penalty is 0 and the objective has no minimum.

    Example:
        >>> import batchlearn as bl
        >>> fit = bl.train(bl.read({"hour": [6.0, 7.0, 8.0, 9.0], "delay": [1.0, 2.0, 4.0, 6.0]}, target="delay"))
        >>> fit.certificate.certified, fit.rows.used
        (True, 4)
    """
    recipe = recipe or Recipe()
    if isinstance(model, str):
        recipe, model = replace(recipe, model=model), None
    journal = None if checkpoint is None else Journal(checkpoint)
    with journal or nullcontext(), within(budget_of(memory)):
        return finish(iter_train(table, recipe, threads=threads, journal=journal, estimator=model))


def iter_train(
    table: Table,
    recipe: Recipe,
    *,
    threads: int | None = None,
    before: Target | None = None,
    journal: Journal | None = None,
    estimator: object | None = None,
    structure: Structure | None = None,
) -> Generator[Progress, None, Fit]:
    """Yield progress while training; return the fit.

    Of two classes the positive one is that of `before`, if given. What the rows answer goes to the journal, which is
    entered, and comes from it where they were asked before. An `estimator` is fitted instead of our models. `structure`
    is one that was chosen before and is kept; else the data choose it, where the recipe has no alpha.
    """
    clock = Clock()
    workers = thread_count(threads)
    if recipe.model is not None or estimator is not None:
        # Imported here: it trains by parts of this module.
        from batchlearn.training.brought import iter_train_brought

        if journal is not None:
            raise UsageError(
                "A checkpoint holds what our own fits asked of the rows; an estimator that is brought along fits at "
                "once. Leave checkpoint= (--checkpoint) out.",
                code="checkpoint-learner",
            )
        return (yield from iter_train_brought(table, recipe, estimator, workers, before))
    with one_blas_thread():
        prepared = yield from prepare(table, recipe, before, journal)
        table, ledger, split, repeated = prepared.table, prepared.ledger, prepared.split, prepared.repeated
        early, _ = counted_by_class(recipe.class_weight, ledger, split.early)
        clock.stop("reading")
        ledger, chosen = yield from _with_number(table, ledger, split, recipe, workers, journal)
        early = replace(early, target=ledger.target)
        if structure is None and recipe.alpha is None:
            choice = choose_structure(
                table, early, split.early, recipe.rules, workers, prepared.kind, recipe.seed, journal=journal
            )
            choice = kept_stage(journal, "structure", Structure, choice)
            structure = yield from run_stage("choosing what to fit", choice)
        structure = structure or Structure(recipe.rules)
        clock.stop("choosing")
        work = Work(table, ledger, recipe, structure, workers, journal=journal)
        known = Work(table, *known_to(ledger, recipe, split.early), structure, workers, journal=journal)
        judge = partial(_judge, known, prepared.early)
        judging = evaluate_split(table, known.ledger, split, judge)
        fitting = fit_part(work, ledger.used, prepared.all, "all rows")
        # A journal keeps answers in the order in which they were asked for.
        if workers > 1 and journal is None and ledger.counts.used <= _MOST_ROWS_TWICE:
            (evaluation, judged, notes), fitted = yield from at_once([judging, fitting], workers)
            clock.stop("judging and fitting")
        else:
            evaluation, judged, notes = yield from kept_stage(journal, "evaluation", Judged, judging)
            clock.stop("judging")
            fitted = yield from fitting
            clock.stop("fitting")
    spikes = spike_remarks(table, prepared.all, ledger)
    uses = column_uses(table, fitted.encoding, prepared.all, ledger.unreadable, spikes)
    codes = (Code.LEFT_OUT, Code.UNREADABLE_VALUES)
    of_columns = (remark.note for use in uses for remark in use.remarks if remark.note.code in codes)
    said = [
        *target_notes(ledger, recipe, table.roles, before),
        *chosen,
        *row_notes(ledger, fitted.encoding, fitted.class_weights, repeated),
        *case_notes(fitted.encoding, prepared.all),
        *feature_notes(fitted.encoding, fitted.optimum.certification.expansion, fitted.penalty),
    ]
    texts = text_uses(fitted.encoding, fitted.rows, fitted.optimum.parameters)
    summary = summarise(table, prepared._replace(ledger=ledger), fitted.encoding, fitted.rows, judged)
    summary = replace(summary, seconds=clock.seconds, texts=texts)
    with one_blas_thread():
        fit = _assemble(work, fitted, evaluation, (*of_columns, *said, *notes), summary)
    return replace(fit, columns=uses, notes=(*leak_notes(fit), *fit.notes))


def prepare(
    table: Table,
    recipe: Recipe,
    before: Target | None,
    journal: Journal | None = None,
) -> Generator[Progress, None, PreparedRows]:
    """Read the rows, which of them count and what their columns hold, and split them; yields progress."""
    if table.roles.target is None:
        raise UsageError(
            "The table has no target; name the column to predict with target= (--target).", code="no-target"
        )
    check_memory(table)
    table = yield from run_stage("reading rows", keep(table, columns_read(table)))
    ledger = read_ledger(table, loss=recipe.loss, positive=recipe.positive, before=before)
    if ledger.counts.used < _FEWEST_ROWS:
        raise DataError(
            f"{table.name} has {ledger.counts.used} row with a label; at least {_FEWEST_ROWS} are needed to learn "
            "from.",
            code="too-few-rows",
        )
    check_costs(ledger.target, recipe.costs)
    ledger = with_lots(table, ledger)
    if journal is not None:
        journal.begin(told_apart(recipe, table, ledger))
    kind = split_kind(ledger, recipe.split)
    split = hold_out(ledger, recipe.holdout, recipe.seed, kind)
    # All rows are profiled for themselves and not as early + late: where nothing is chosen by data, the model does
    # not depend on the split by a bit.
    parts = [split.early] if split.late is None else [split.early, ledger.used]
    profiles = yield from run_stage("reading columns", profile_parts(table, ledger, parts))
    refuse_text(table, profiles[-1])
    return PreparedRows(table, ledger, split, kind, profiles[0], profiles[-1], ledger.lots.repeated or 0)


def _with_number(
    table: Table, ledger: Ledger, split: Split, recipe: Recipe, threads: int, journal: Journal | None
) -> Generator[Progress, None, tuple[Ledger, list[Note]]]:
    """Return the ledger with the number that its loss needs, as given or as the earlier rows ask for, and a note."""
    if ledger.target.loss == "huber":
        threshold, said = recipe.threshold, list[Note]()
        if threshold is None:
            look = choose_threshold(table, ledger, split.early, recipe.rules, recipe.seed, threads, journal=journal)
            threshold, note = yield from run_stage("choosing the threshold", look)
            said = [note]
        return replace(ledger, target=replace(ledger.target, threshold=threshold)), said
    if ledger.target.loss != "tweedie":
        return ledger, []
    power, notes = recipe.power, list[Note]()
    if power is None:
        search = profile_power(table, ledger, split.early, recipe.rules, recipe.seed, threads, journal=journal)
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
    journal: Journal | None = None


def known_to(ledger: Ledger, recipe: Recipe, part: Mask) -> tuple[Ledger, Recipe]:
    """Return ledger and recipe as who has seen only the labels of a part would have them."""
    ledger = with_classes_of(ledger, part)
    if not isinstance(recipe.class_weight, str | None):
        # A part of the rows may lack a class that was given a weight.
        recipe = replace(recipe, class_weight=weights_of(recipe.class_weight, ledger.target.classes) or None)
    return ledger, recipe


class Fitted(NamedTuple):
    """One part of the rows, fitted."""

    encoding: Encoding
    rows: Rows
    optimum: Optimum
    alpha: float
    penalty: Quadratic
    class_weights: Floats | None  # (classes,): what each class counted


def fit_part(
    work: Work, part: Mask, profiles: Profiles, whose: str, *, proof_alone: bool = False
) -> Generator[Progress, None, Fitted]:
    """Encode and fit one part of the rows; yields progress, returns what came out.

    Standard errors and losses of leave-one-out need a factor of the Hessian, which a proof alone may do without.
    """
    rules = work.structure.rules
    if work.recipe.alpha == 0.0:
        rules = replace(rules, reference=True)
    encoding = fit_encoding(work.table.features, profiles, rules, work.table.roles.time, work.structure.pairs)
    delivered = part is work.ledger.used
    ledger, weights = counted_by_class(work.recipe.class_weight, work.ledger, part)
    counted = (work.table, ledger, encoding, part, work.threads)
    encoded = build_rows(*counted, fingerprinted=delivered, journal=work.journal)
    rows = yield from run_stage(f"encoding {whose}", encoded)
    alpha = work.recipe.alpha_for(rows.total_weight)
    given = work.recipe.alpha
    objective = fit_objective(work.ledger.target, encoding, work.structure.strengths, given, rows.total_weight)
    names = [*encoding.names] * objective.loss.outputs
    problem = Problem(
        objective,
        rows,
        work.recipe.stopping,
        Units(encoding.own_units),
        names,
        work.seconds,
        proof_alone=proof_alone,
    )
    optimum = yield from told(
        iter_optimise(problem, regime=work.recipe.regime, seed=work.recipe.seed),
        lambda step: Progress(f"fitting {whose}", rows=len(rows), passes=step.passes, bound=step.bound),
    )
    if weights is not None:
        optimum = correct_intercepts(problem, optimum, weights)
    return Fitted(encoding, rows, optimum, alpha, objective.penalty, weights)


def _judge(work: Work, profiles: Profiles, split: Split) -> Judging:
    """Fit the earlier rows of a split and evaluate the fit on the later ones."""
    assert split.late is not None
    # Losses of leave-one-out are what later rows are held against for drift; held-out rows say the rest.
    alone = split.kind is not SplitKind.TIME
    fitted = yield from fit_part(work, split.early, profiles, "the earlier rows", proof_alone=alone)
    rows = yield from run_stage(
        "encoding the later rows",
        build_rows(work.table, work.ledger, fitted.encoding, split.late, work.threads, fingerprinted=False),
    )
    recipe = work.recipe
    evaluation = evaluate_part(work.ledger, split, fitted.encoding, rows, fitted.optimum, recipe.seed, recipe.costs)
    return evaluation, JudgedFit(len(fitted.optimum.parameters), fitted.optimum.passes)


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
        fading=work.table.fading,
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
    here = Expanded(
        parameters, expansion, inverse, fitted.penalty, dispersion, rows.total_weight, size, scores, work.threads
    )
    found = second_moments(fitted.encoding, work.structure.strengths, here)
    if found is None:
        return dispersion, None, None
    return dispersion, *class_moments(found, fitted.encoding, len(work.ledger.target.classes))


def _model(work: Work, fitted: Fitted, errors: Floats | None, moments: Floats | None) -> LinearModel:
    optimum, bounds = fitted.optimum, fitted.optimum.certification.prediction_bounds()
    make = partial(
        LinearModel, parameters=optimum.parameters, standard_errors=errors, bounds=bounds, level_moments=moments
    )
    return model_of(make, work.table, work.ledger, fitted.encoding, work.recipe.costs)


def fit_objective(
    target: Target, encoding: Encoding, strengths: Mapping[str, float], alpha: float | None, total_weight: float
) -> Objective:
    """Return the objective of a fit to rows of this total weight."""
    loss = loss_of(target)
    return Objective(loss, encoding_penalty(encoding, strengths, alpha, loss.outputs).over(total_weight))
