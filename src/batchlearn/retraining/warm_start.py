"""Four ways to the next version: from scratch, warm, fine-tuned, updated.

From scratch and warm end in the same optimum, and each proves it: two certified fits differ by no more than the sum of
their bounds. An update from kept totals is certified against that optimum too. Fine-tuning is not: it stops at the
optimum of the new rows with the old ones as a quadratic anchor, and says how far that is from the optimum of all rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from batchlearn.data.encoding import Encoding
from batchlearn.data.rows import Chunk, Rows
from batchlearn.errors import DataError, UsageError
from batchlearn.formatting.notes import Code, Note
from batchlearn.kernels.design import Floats, linear_predictor
from batchlearn.kernels.rounding import predictor_error
from batchlearn.models.links import largest_returned_distance
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.penalties import Penalty, Quadratic
from batchlearn.objectives.stopping import PredictionsWithin
from batchlearn.retraining.bracket import Bracket, BracketResult, Change, bracket, remaining, update_of
from batchlearn.solvers.newton import Newton
from batchlearn.statistics.objective import Objective
from batchlearn.training.certificate import Certificate, Proved, Units
from batchlearn.training.optimise import Optimum, Problem, optimise
from batchlearn.updating.bound_from_totals import bound_at
from batchlearn.updating.domain import Domain, DomainParts, DomainTotal
from batchlearn.updating.encoding_drift import new_domain
from batchlearn.updating.online import learn_one_by_one
from batchlearn.updating.sufficient_statistics import SufficientStatistics
from batchlearn.updating.update import UpdateResult

FROM_TOTALS = "kept totals and new rows"
ALL_ROWS = "kept totals, and all rows read"


@dataclass(frozen=True)
class WarmStart:
    """Parameters for the next version, what is proved about them, and what is said about them."""

    name: str  # scratch, warm, fine-tune or update
    parameters: Floats  # (d,)
    certificate: Certificate
    note: Note
    rows_read: int
    seconds: float
    optimum: Optimum | None = None
    bracket: Bracket | None = None


def warm(problem: Problem, champion: Floats) -> WarmStart:
    """Train from the champion's parameters (d,): the same optimum, sooner. Raises NoFiniteOptimum."""
    optimum = optimise(problem, champion)
    certificate = optimum.certification.certificate
    if not certificate.certified:
        note = Note(Code.NOTHING_PROVED, {"reason": str(certificate.reason)})
    else:
        bounds = {"loss_bound": certificate.loss_bound, "prediction_bound": certificate.prediction_bound}
        note = Note(Code.WARM_START, {"rows": certificate.rows, **bounds})
    return WarmStart(
        "warm", optimum.parameters, certificate, note, optimum.passes * len(problem.rows), optimum.seconds, optimum
    )


def update(
    kept: SufficientStatistics,
    change: Change,
    penalty: Penalty,
    *,
    encoding: Encoding | None = None,
    all_rows: Callable[[], Rows] | None = None,
) -> WarmStart:
    """Update a version from its kept totals and the new rows, climbing the ladder where all rows can be read.

    DataError where the new rows need a table or a scale that the frozen encoding does not have.
    """
    refuse_new_tables(kept, change.added, encoding)
    answer = bracket(kept, change, penalty, all_rows=all_rows)
    units = Units.plain(kept.layout.size) if encoding is None else Units(encoding.own_units)
    certificate = _certificate(answer, units)
    if any(rows is not None and rows.has_offset for rows in (change.added, change.removed)):
        # What adding an offset rounds depends on its size, which the kept totals do not know.
        certificate = replace(certificate, prediction_bound=None)
    if certificate.certified:
        how = {"readings": answer.bracket.rung - 1, "some_went": change.removed is not None}
        note = Note(Code.UPDATED, {"rows": certificate.rows, "loss_bound": certificate.loss_bound, **how})
    else:
        lower = answer.bracket.lower
        note = Note(Code.UPDATE_ESTIMATED, {"lower": lower, "more": max(answer.bracket.upper - lower, 0.0)})
    found = answer.bracket
    return WarmStart(
        "update", answer.reached.parameters, certificate, note, found.rows_read, found.seconds, None, found
    )


def outgrown(kept: SufficientStatistics, added: Rows | None, encoding: Encoding | None = None) -> list[Note]:
    """Return a reason for each group and column of a frozen encoding that new rows would encode in another way."""
    if added is None or len(added) == 0:
        return []
    domain = Domain(added.layout, DomainParts(*added.total(DomainTotal(), kept.parameters)))
    return new_domain(encoding, kept.domain, domain, (kept.totals.weight, added.total_weight))


def refuse_new_tables(kept: SufficientStatistics, added: Rows | None, encoding: Encoding | None = None) -> None:
    """Refuse rows that need a table or a scale of their own: DataError with the reasons."""
    reasons = outgrown(kept, added, encoding)
    if reasons:
        raise DataError(
            f"The frozen encoding does not fit the new rows: {'; '.join(map(str, reasons[:3]))}. Train from "
            "scratch, which makes new tables and scales.",
            code="encoding-outgrown",
        )


def fine_tune(
    kept: SufficientStatistics,
    change: Change,
    penalty: Penalty,
    *,
    anchor: float = 1.0,
    encoding: Encoding | None = None,
    one_by_one: bool = False,
) -> WarmStart:
    """Train on the new rows alone, anchored at the champion by its own curvature times `anchor` (above 0).

    Minimises the new rows' loss + anchor (w - w0)' (A0 + penalty'') (w - w0) / 2, A0 the old rows' Hessian at the
    champion's w0: the old rows as a quadratic, those that went since among them. It does not end in the optimum of all
    rows; how far from it, of the rows that are left and the new ones, is said. With `one_by_one` new rows are learned
    once each (`learn_one_by_one`): for squared loss the same. DataError where no row came.
    """
    added, base = change.added, remaining(kept, change)
    if added is None or len(added) == 0:
        raise DataError("Fine-tuning trains on new rows, and there are none.", code="no-rows")
    if not anchor > 0.0:
        raise UsageError(
            f"The anchor is {anchor!r}; it needs to be above 0: 1 for the old rows' own curvature, less to "
            "forget them.",
            code="anchor-range",
        )
    refuse_new_tables(kept, added, encoding)
    tuned = None
    if one_by_one:
        (parameters, seconds), passes = learn_one_by_one(kept, added, change.times), 1
    else:
        size, weight = kept.layout.size, added.total_weight
        pull = Quadratic(np.zeros(size), ((slice(0, size), anchor / weight * kept.reference),))
        moved, stop = _offset_by(added, kept.parameters), PredictionsWithin()
        problem = Problem(Objective(LOSSES[kept.loss], pull), moved, stop, Units.plain(size), [""] * size)
        tuned = optimise(problem, np.zeros(size), Newton())
        parameters, seconds, passes = kept.parameters + tuned.parameters, tuned.seconds, tuned.passes
    reached = bound_at(update_of(base, added, penalty), parameters)
    certificate = Certificate(
        status=Proved.NOT_CERTIFIED,
        reason=Note(Code.LEARNED_ONE_BY_ONE if one_by_one else Code.ANCHORED),
        method=None,
        loss_bound=None,
        coefficient_bound=None,
        prediction_bound=None,
        floor=None,
        rows=base.rows + len(added),
        fingerprint=None,
    )
    return WarmStart(
        "online" if one_by_one else "fine-tune",
        parameters,
        certificate,
        _distance(reached),
        (passes + reached.readings) * len(added),
        seconds,
        tuned,
    )


def _distance(reached: UpdateResult) -> Note:
    bounds = reached.proof.bounds
    if bounds is not None:
        move = bounds.radius * reached.proof.kappa
        return Note(Code.FINE_TUNED, {"loss_bound": bounds.loss, "predictor_bound": move})
    return Note(Code.FINE_TUNED_UNPROVED, {"left": reached.proof.decrement_known**2 / 2.0})


def _offset_by(rows: Rows, parameters: Floats) -> Rows:
    """Return the rows with the parameters' predictions as offsets: what is fitted then is a step from there."""

    def predicted(chunk: Chunk, parameters: Floats) -> Floats:
        return linear_predictor(chunk.layout, chunk.block, parameters) + chunk.offset

    return rows.with_offset(rows.map_rows(predicted, parameters))


def _certificate(answer: BracketResult, units: Units) -> Certificate:
    """Return the certificate of an update, in the terms of one of a fit."""
    reached, update, rows = answer.reached, answer.update, answer.bracket.retrain_rows
    proof = reached.proof
    if proof.bounds is None or proof.factor is None:
        reason = Note(Code.MORE_ROWS_NEEDED, {"product": proof.kappa * proof.decrement})
        return Certificate(Proved.NOT_CERTIFIED, reason, None, None, None, None, None, rows, None)
    # The factor is of the total Hessian: one row's worth is its root of the weight smaller.
    norms = proof.factor.coefficient_norms() * np.sqrt(update.weight)
    parameters = reached.parameters
    error = predictor_error(update.kept.layout, 1, np.asarray(update.domain.size(parameters)))
    move = proof.bounds.radius * proof.kappa + float(error)
    return Certificate(
        status=Proved.CERTIFIED,
        reason=None,
        method=FROM_TOTALS if answer.bracket.rung == 1 else ALL_ROWS,
        loss_bound=proof.bounds.loss,
        coefficient_bound=units.coefficient_bound(proof.bounds.radius * (1.0 + 1e-12), norms, parameters),
        prediction_bound=largest_returned_distance(update.objective.loss.name, move, 1),
        floor=proof.floor,
        rows=rows,
        fingerprint=None,
        decrement=proof.decrement,
        kappa=proof.kappa,
        radius=proof.bounds.radius,
    )
