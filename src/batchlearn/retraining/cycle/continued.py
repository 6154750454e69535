"""Training from one of four starts, and the bracket of what training would gain: both by the champion's kept totals.

Warm, fine-tune and update keep the champion's encoding, tables and scales frozen: rows that need a table of their own
are refused, with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchlearn.data.build import build_rows
from batchlearn.data.ledger import Ledger, read_ledger
from batchlearn.data.rows import Rows
from batchlearn.data.rows.threads import one_blas_thread, thread_count
from batchlearn.data.target import check_positive
from batchlearn.errors import CertificateError, DataError, RegistryError, UsageError
from batchlearn.evaluation.baselines import offset_constant
from batchlearn.evaluation.metrics.multiclass import class_shares
from batchlearn.formatting.notes import Code, Note
from batchlearn.models.brought import BroughtModel
from batchlearn.models.decision import check_costs
from batchlearn.models.encoded import EncodedModel
from batchlearn.objectives.stopping import PredictionsWithin
from batchlearn.progress import Progress
from batchlearn.retraining.bracket import Bracket, Change, bracket
from batchlearn.retraining.cycle.state import Champion, TrainingTables
from batchlearn.retraining.policies import FROM_TOTALS
from batchlearn.retraining.warm_start import WarmStart, fine_tune, outgrown, refuse_new_tables, update, warm
from batchlearn.selection.structure import Structure
from batchlearn.tables.columns import Kind
from batchlearn.tables.conditions import for_any_time
from batchlearn.tables.table import Table
from batchlearn.training.certificate import Units
from batchlearn.training.fit import Fit
from batchlearn.training.optimise import Problem, Status
from batchlearn.training.recipe import Recipe
from batchlearn.training.summary.columns import column_uses
from batchlearn.training.train import fit_objective, iter_train
from batchlearn.updating.encoding_drift import new_levels
from batchlearn.updating.sufficient_statistics import (
    MOST_COEFFICIENTS,
    SufficientStatistics,
    assemble_statistics,
    totals_at,
)

# What may differ between the recipes of a champion and of what goes on from it: none of it changes the optimum.
_FREE = ("holdout", "seed", "tolerance", "costs", "positive")
# What an old row weighs in the second bracket, of the objective that looks at recent rows.
_RECENT = 0.1
STARTS = ("online", "fine-tune", "update", "warm", "scratch")
"""The cheapest first."""
# Where training goes on from if a start is refused, by the code of the refusal. Kept totals that are of other rows, or
# that nothing can be said from, leave all rows; an encoding or a recipe of another training leaves nothing.
_DEARER = {
    **dict.fromkeys(("encoding-outgrown", "start-recipe", "no-warm-start"), "scratch"),
    **dict.fromkeys(("past-changed", "past-gone", "champion-kept-nothing", "no-update"), "warm"),
    **dict.fromkeys(("champion-totals-pruned", "totals-do-not-fade"), "warm"),
    **dict.fromkeys(("rows-do-not-add-up", "removed-not-kept"), "warm"),
}
# Two sums of the same weights in another order differ by less, as a share.
_SAME_WEIGHT = 1e-9


class EncodedRows(NamedTuple):
    """Rows in a model's encoding, and the ledger that they come from."""

    rows: Rows
    ledger: Ledger


def encode_rows(model: EncodedModel, table: Table, threads: int | None, fingerprinted: bool = False) -> EncodedRows:
    """Encode the labelled rows of a table as a model does. DataError where they do not fit it."""
    table = table.like(model.readings)
    model.check(table)
    table = model.as_read(table)
    ledger = read_ledger(table, target=model.target, weight_constant=model.weight_constant)
    building = build_rows(
        table, ledger, model.encoding, ledger.used, thread_count(threads), fingerprinted=fingerprinted
    )
    while True:
        try:
            next(building)
        except StopIteration as end:
            return EncodedRows(end.value, ledger)


def statistics_of(fit: Fit, table: Table, threads: int | None) -> SufficientStatistics | None:
    """Return what a version keeps of its rows, reading them again; None where nothing can be bounded from totals."""
    # The rows of an update would count with another weight than those of a class that was weighted.
    if fit.class_weights is not None:
        return None
    return statistics_at(fit.model, fit.structure.strengths, fit.recipe.alpha, table, threads)


def statistics_at(
    model: EncodedModel, strengths: Mapping[str, float], alpha: float | None, table: Table, threads: int | None
) -> SufficientStatistics | None:
    """Return the totals of rows at a model's coefficients, None as of `statistics_of`."""
    size = model.encoding.layout.size
    # An estimator of the user's has no coefficients. Where rows fade they weigh something else at each training.
    if len(model.parameters) != size or size > MOST_COEFFICIENTS or table.fading is not None:
        return None
    with one_blas_thread():
        rows = encode_rows(model, table, threads).rows
        objective = fit_objective(model.target, model.encoding, strengths, alpha, rows.total_weight)
        try:
            totals, domain = totals_at(objective.loss, rows, model.parameters)
            return assemble_statistics(objective, rows, model.parameters, totals, domain)
        except CertificateError:
            return None


def bracket_of(
    champion: Champion, recipe: Recipe, parts: TrainingTables, threads: int | None
) -> tuple[Bracket | None, Note]:
    """Bracket the gain of training again from the rows that came and went alone, None where it cannot; with a note.

    It is of the champion's own encoding: levels that are new now count for nothing in it.
    """
    if champion.kept is None:
        return None, Note(Code.NO_BRACKET_TOTALS_PRUNED if champion.pruned else Code.NO_BRACKET_WITHOUT_TOTALS)
    try:
        refuse_other_recipe("a bracket", champion, recipe)
        with one_blas_thread():
            kept, note = _totals_of(champion, champion.kept, recipe, parts, threads)
            change, _ = _change(champion.model, kept, parts, threads)
            found = bracket(kept, change, champion.penalty(recipe), recent=_RECENT).bracket
        if note is not None:
            found = replace(found, rung=found.rung + 1, rows_read=found.rows_read + kept.rows)
    except (DataError, CertificateError, UsageError) as problem:
        return None, Note(Code.NO_BRACKET, {"why": problem.message})
    return found, Note(Code.BRACKET, {"bracket": str(found)})


def _totals_of(
    champion: Champion, kept: SufficientStatistics, recipe: Recipe, parts: TrainingTables, threads: int | None
) -> tuple[SufficientStatistics, Note | None]:
    """Return the totals to go on from, at the champion's coefficients: those it kept, where its rows are as they were.

    Else they are found again over what is there now of the rows that are not new. DataError where these do not fit the
    champion's encoding, or where none is left; CertificateError where they have no factored Hessian.
    """
    if parts.everything.fading is not None:
        raise DataError(
            "With a half-life every row counts less at each training, so the champion's kept totals, in which they "
            'count as they did, do not serve. Train with start = "warm" or "scratch" in [policy].',
            code="totals-do-not-fade",
        )
    if parts.others is None:
        return kept, None
    model = champion.model
    found = _any(model, parts.others, threads)
    if found is None:
        raise DataError(
            f"None of the {kept.rows:,} rows that the champion was trained on is left, so there is nothing to go on "
            'from. Train with start = "warm" or "scratch" in [policy].',
            code="past-gone",
        )
    refuse_new_tables(kept, found.rows, model.encoding)
    objective = fit_objective(model.target, model.encoding, champion.strengths, recipe.alpha, found.rows.total_weight)
    totals, domain = totals_at(objective.loss, found.rows, kept.parameters)
    again = assemble_statistics(objective, found.rows, kept.parameters, totals, domain)
    return again, Note(Code.TOTALS_FOUND_AGAIN, {"rows": again.rows, "files": parts.lost})


def _change(
    model: EncodedModel, kept: SufficientStatistics, parts: TrainingTables, threads: int | None
) -> tuple[Change, Ledger]:
    """Return the rows that came and went, and the ledger of all rows.

    DataError where old rows are other ones than the kept totals are of: only their times say which ones are old.
    """
    came, went = _any(model, parts.added, threads), _any(model, parts.removed, threads)
    more, heavier = (0, 0.0) if came is None else (len(came.rows), came.rows.total_weight)
    less, lighter = (0, 0.0) if went is None else (len(went.rows), went.rows.total_weight)
    ledger = read_ledger(model.as_read(parts.everything), target=model.target, weight_constant=model.weight_constant)
    rows, weight = kept.rows + more - less, kept.totals.weight + heavier - lighter
    weighed = float(ledger.counts.used if ledger.weight is None else np.sum(ledger.weight[ledger.used]))
    if ledger.counts.used != rows or abs(weighed - weight) > _SAME_WEIGHT * weight:
        raise DataError(
            f"The champion was trained on {kept.rows:,} rows; by their times {more:,} came since and {less:,} "
            f"went, which makes {rows:,} of weight {weight:.10g}, but there are {ledger.counts.used:,} of weight "
            f"{weighed:.10g}. Rows came, went or got a label with times before that training, or [source] was changed. "
            'The kept totals do not know of it: train with start = "warm" or "scratch" in [policy].',
            code="past-changed",
        )
    if came is None and went is None and parts.others is None:
        raise DataError("No row came or went since the champion was trained, so nothing changes.", code="no-rows")
    if less >= kept.rows:
        raise DataError(
            f"All {kept.rows:,} rows that the champion was trained on have left the window, so nothing is left to go "
            'on from. Train with start = "warm" or "scratch" in [policy].',
            code="past-gone",
        )
    removed = None if went is None else went.rows
    if came is None:
        return Change(None, removed), ledger
    return Change(came.rows, removed, times=times_of(parts.added, came.ledger)), ledger


def times_of(table: Table, ledger: Ledger) -> NDArray[np.generic] | None:
    """Return when each used row was seen, (rows,): the date of a timestamp, and a number as it is."""
    if ledger.time is None or table.roles.time is None:
        return None
    times = ledger.time[ledger.used]
    stamped = table.column(table.roles.time).kind is Kind.TIMESTAMP
    return times.astype("datetime64[us]").astype("datetime64[D]") if stamped else times


def _any(model: EncodedModel, table: Table | None, threads: int | None) -> EncodedRows | None:
    """Encode the labelled rows of a table; None where it has none."""
    target = model.target.column
    if table is None or not any(pc.any(batch.column(target).is_valid()).as_py() for batch in table.scan([target])):
        return None
    return encode_rows(model, table, threads)


def dearer_start(start: str, refusal: str) -> str | None:
    """Return the next dearer start that the refusal of one, by its code, does not hold for, or None."""
    at = STARTS.index(start)
    if refusal == "no-rows" and start in FROM_TOTALS:
        return STARTS[at + 1]  # no row came, and some may have gone; or neither
    found = _DEARER.get(refusal)
    return found if found is not None and STARTS.index(found) > at else None


def train_from(
    start: str, champion: Champion | None, recipe: Recipe, parts: TrainingTables, threads: int | None
) -> Generator[Progress, None, Fit]:
    """Train on rows from a start; without a champion there is only scratch. Raises what the start raises."""
    if start == "scratch" or champion is None:
        before, kept = (None, None) if champion is None else (champion.model.target, champion.structure)
        return (yield from iter_train(parts.everything, recipe, threads=threads, before=before, structure=kept))
    yield Progress(f"training: {start}")
    with one_blas_thread():
        return _continued(start, champion, recipe, parts, threads)


def _continued(start: str, champion: Champion, recipe: Recipe, parts: TrainingTables, threads: int | None) -> Fit:
    refuse_other_recipe(start, champion, recipe)
    model = champion.model
    check_costs(model.target, recipe.costs)
    check_positive(model.target, recipe.positive)
    reasons = new_levels(model.encoding, model.as_read(parts.added), recipe.rules.minimum_rows)
    if reasons:
        raise DataError(
            f"The champion's encoding does not fit the new rows: {'; '.join(map(str, reasons[:3]))}. Train from "
            'scratch, which makes new tables: start = "scratch" in [policy].',
            code="encoding-outgrown",
        )
    if isinstance(model, BroughtModel):
        # Imported here: a project of our own models needs none of it.
        from batchlearn.training.brought.starts import go_on

        # An estimator that learns in parts decides itself whether it does that row by row.
        start = "fine-tune" if start == "online" else start
        table = parts.added if start == "fine-tune" else parts.everything
        return go_on(start, model, recipe, table, thread_count(threads))
    if start == "warm":
        whole = encode_rows(model, parts.everything, threads, fingerprinted=True)
        weight = whole.rows.total_weight
        objective = fit_objective(model.target, model.encoding, champion.strengths, recipe.alpha, weight)
        names, units = model.encoding.names, Units(model.encoding.own_units)
        found = warm(Problem(objective, whole.rows, recipe.stopping, units, names), model.parameters)
        fit = _fit(found, champion, recipe, recipe.alpha_for(weight), parts.everything, whole.ledger)
        came = None if champion.kept is None else _any(model, parts.added, threads)
        reasons = [] if champion.kept is None or came is None else outgrown(champion.kept, came.rows, model.encoding)
        grown = (Note(Code.ENCODING_OUTGROWN, {"reason": reason.to_json()}) for reason in reasons)
        return replace(fit, notes=(*fit.notes, *grown))
    if champion.pruned:
        raise RegistryError(
            "The champion's kept totals were pruned, so nothing can go on from them: this once use start = "
            '"warm" or "scratch" in [policy]. The next version keeps totals again.',
            code="champion-totals-pruned",
        )
    if champion.kept is None:
        raise RegistryError(
            "The champion kept no totals of its rows, so nothing can go on from them. They are kept neither for more "
            "than two classes or class weights nor for Tweedie and Huber losses, nor for very many coefficients, nor "
            "with a half-life: use "
            'start = "warm" or "scratch" in [policy].',
            code="champion-kept-nothing",
        )
    kept, again = _totals_of(champion, champion.kept, recipe, parts, threads)
    change, ledger = _change(model, kept, parts, threads)
    penalty = champion.penalty(recipe)
    if start in ("online", "fine-tune"):
        found = fine_tune(kept, change, penalty, encoding=model.encoding, one_by_one=start == "online")
    else:

        def everything() -> Rows:
            return encode_rows(model, parts.everything, threads).rows

        found = update(kept, change, penalty, encoding=model.encoding, all_rows=everything)
    weight = ledger.counts.used if ledger.weight is None else np.sum(ledger.weight[ledger.used])
    fit = _fit(found, champion, recipe, recipe.alpha_for(float(weight)), parts.everything, ledger)
    return fit if again is None else replace(fit, notes=(again, *fit.notes))


def refuse_other_recipe(start: str, champion: Champion, recipe: Recipe) -> None:
    """Refuse to go on from a champion that was trained by another recipe: UsageError."""
    now = recipe.to_json()
    # Keys that only a newer release has say nothing of an older champion, but for that of another model.
    then = {"model": None, **champion.recipe}
    other = [key for key, value in then.items() if key not in _FREE and now.get(key) != value]
    if other:
        raise UsageError(
            f"The champion was trained with another {', '.join(other)} than [recipe] says now, so {start} cannot go on "
            'from it. Train from scratch once: start = "scratch" in [policy].',
            code="start-recipe",
        )


def _fit(found: WarmStart, champion: Champion, recipe: Recipe, alpha: float, table: Table, ledger: Ledger) -> Fit:
    """Return what a start ended in as a fit in the champion's encoding."""
    model, optimum = champion.model, found.optimum if found.name == "warm" else None
    weight = None if ledger.weight is None else ledger.weight[ledger.used]
    mean = float(np.average(ledger.label[ledger.used], weights=weight))
    shares: tuple[float, ...] = ()
    if model.class_shares:
        shares = tuple(map(float, class_shares(ledger.label[ledger.used], weight, len(model.class_shares))))
    continued = replace(
        model,
        parameters=found.parameters,
        label_mean=mean,
        class_shares=shares,
        offset_constant=offset_constant(ledger, ledger.used),
        standard_errors=None,
        level_moments=None,
        bounds=None if optimum is None else optimum.certification.prediction_bounds(),
        costs=recipe.costs,
    )
    # Where the old rows were not read nobody knows the loss of all of them.
    unread, where = math.nan, for_any_time(table.condition)
    return Fit(
        model=continued,
        certificate=found.certificate,
        status=_status(found, model.loss),
        structure=Structure(recipe.rules, (), champion.strengths),
        recipe=recipe,
        alpha=alpha,
        rows=ledger.counts,
        objective=unread if optimum is None else optimum.value,
        null_objective=unread if optimum is None else optimum.null_value,
        solver=found.name if optimum is None else optimum.solver,
        trace=() if optimum is None else optimum.trace,
        passes=0 if optimum is None else optimum.passes,
        seconds=found.seconds,
        evaluation=None,
        notes=(found.note,),
        condition=None if table.condition is None else str(table.condition),
        where=None if where is None else str(where),
        fading=table.fading,
        columns=column_uses(table.like(model.readings), model.encoding),
        lines_passed_over=table.lines_passed_over,
    )


def _status(found: WarmStart, loss: str) -> Status:
    """Say how a start ended; what is proved of an update is held against the usual tolerance."""
    if found.name == "warm" and found.optimum is not None:
        return found.optimum.status
    if not found.certificate.certified or found.certificate.radius is None:
        return Status.REFUSED
    # Of a squared loss the noise would be needed, which the old rows hold.
    unit = found.certificate.radius * math.sqrt(found.certificate.rows)
    return Status.TOLERANCE if loss != "squared" and unit <= PredictionsWithin().fraction else Status.OUT_OF_STEPS
