"""Checking a saved model's certificate again: against the rows it was trained on, by anyone who has them."""

from __future__ import annotations

import math
import os
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from batchlearn.data.build import build_rows
from batchlearn.data.ledger import Ledger, RowCounts, read_ledger
from batchlearn.data.rows import Rows
from batchlearn.data.rows.threads import one_blas_thread
from batchlearn.errors import DataError, IntegrityError, quoted
from batchlearn.kernels.design import Floats
from batchlearn.kernels.rounding import accumulated
from batchlearn.models.files import StoredModel, read_model
from batchlearn.models.linear import AS_FOUND, LinearModel
from batchlearn.objectives.class_weights import log_odds_shift, moved_intercepts, weighted
from batchlearn.statistics.rounding import ReturnedTotal
from batchlearn.tables.conditions import Written
from batchlearn.tables.table import ReadingRules, Table
from batchlearn.training.certificate import Certificate, Certification, Units, certify
from batchlearn.training.train import Progress, fit_objective, thread_count
from batchlearn.words.notes import recorded

# Another machine adds in another order: bounds may differ by so much, and by what the floor allows.
_TOLERANCE = 0.01
# What another order of addition can do to a mean.
_SAME_LABELS = 1e-13
_SAME_OBJECTIVE = 1e-9
_NO_FINGERPRINT = (
    "The model has no fingerprint of its rows: it went on from kept totals without reading the old ones. What is "
    "proved is proved for these rows; that they are those of the training is told by their number and mean label alone."
)


@dataclass(frozen=True)
class Verification:
    """Whether a model's certificate holds for a table, and if not, why; `stated` is the one in the file.

    `notes` say what could not be compared.
    """

    holds: bool
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    certificate: Certificate
    stated: Certificate
    rows: RowCounts
    identity: str

    def to_json(self) -> dict[str, Any]:
        """Return the verification as plain values."""
        return {
            "holds": self.holds,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "certificate": self.certificate.to_json(),
            "stated": self.stated.to_json(),
            "rows": self.rows.to_json(),
            "identity": self.identity,
        }


@dataclass(frozen=True)
class _Structure:
    strengths: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Statement:
    """What the record of a fit has to say for its certificate to be checked."""

    certificate: Certificate
    alpha: float
    objective: float | None
    condition: str | None
    structure: _Structure = field(default_factory=_Structure)
    class_weights: list[float] | None = None

    @property
    def weights(self) -> Floats | None:
        """What each class counted in the objective, (classes,)."""
        return None if self.class_weights is None else np.array(self.class_weights)


def verify_model(
    path: str | os.PathLike[str], data: object, rules: ReadingRules = AS_FOUND, *, threads: int | None = None
) -> Verification:
    """Prove the bounds of a saved model again, from the rows it was trained on.

    `data` is a table, a path, a data frame or Arrow data, in any format; roles, readings and condition are those of
    the model, and `rules` say what else there is to say of text files.
    Raises DataError where the table cannot be what the model was trained on, and the errors of `load`.
    """
    steps = verifying(path, data, rules, threads=threads)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            verification: Verification = end.value
            return verification


def verifying(
    path: str | os.PathLike[str], data: object, rules: ReadingRules = AS_FOUND, *, threads: int | None = None
) -> Generator[Progress, None, Verification]:
    """Yield progress while verifying; return the verification."""
    stored = read_model(path)
    statement = _statement(stored, path)
    workers = thread_count(threads)
    table = _table(stored.model, statement.condition, data, rules)
    stored.model.check(table)
    absent = [column.name for column in table.absent if column.name in stored.model.encoding.kinds]
    if absent:
        raise DataError(
            f"{table.name} has no column {quoted(absent[0])}, which the model was trained on. Give the rows of the "
            "training, with all columns that it reads.",
            code="column-missing",
        )
    with one_blas_thread():
        yield Progress("reading labels")
        ledger = read_ledger(table, stored.model.target)
        counted = ledger if statement.weights is None else weighted(ledger, statement.weights)
        reading = build_rows(table, counted, stored.model.encoding, ledger.used, workers)
        while True:
            try:
                count = next(reading)
            except StopIteration as end:
                rows: Rows = end.value
                break
            yield Progress("reading rows", rows=count)
        yield Progress("certifying", rows=len(rows))
        proof = _prove(stored.model, statement, rows)
    reasons = _differences(_Check(stored.model, statement, ledger, proof))
    return Verification(
        not reasons,
        tuple(reasons),
        () if statement.certificate.fingerprint is not None else (_NO_FINGERPRINT,),
        proof.certification.certificate,
        statement.certificate,
        ledger.counts,
        stored.identity,
    )


def _statement(stored: StoredModel, path: str | os.PathLike[str]) -> _Statement:
    try:
        statement = TypeAdapter(_Statement).validate_python(_with_recorded_reason(stored.record))
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise IntegrityError(
            f"The model {quoted(path)} has no certificate on record ({quoted(where)}: {first['msg']}). What `train` "
            "wrote beside the model is needed to verify it: train again.",
            code="no-certificate-recorded",
        ) from problem
    classes = len(stored.model.target.classes)
    weights = statement.class_weights
    if weights is not None and not (len(weights) == classes and all(0.0 < one < math.inf for one in weights)):
        raise IntegrityError(
            f"The model {quoted(path)} has the class weights {quoted(weights)} on record; it needs one above 0 for "
            f"each of its {classes} classes. The record was altered: train again.",
            code="no-certificate-recorded",
        )
    penalties = [statement.alpha, *statement.structure.strengths.values()]
    if not all(math.isfinite(value) and value >= 0.0 for value in penalties):
        raise IntegrityError(
            f"The model {quoted(path)} was trained with the penalty {statement.alpha!r}; it needs to be a number of 0 "
            "or more. The record was altered: train again.",
            code="no-certificate-recorded",
        )
    return statement


def _with_recorded_reason(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the record with the reason of its certificate, a sentence on any record, as it is and not taken apart."""
    certificate = record.get("certificate")
    if not isinstance(certificate, dict) or not isinstance(certificate.get("reason"), str):
        return record
    return {**record, "certificate": {**certificate, "reason": recorded(certificate["reason"])}}


def _table(model: LinearModel, condition: str | None, data: object, rules: ReadingRules) -> Table:
    roles = replace(model.roles, target=model.target.column)
    # Models that do not say how times are read took all for those of UTC.
    kept = None if condition is None else Written(condition, None if model.readings else "UTC")
    if isinstance(data, Table):
        return replace(data.like(model.readings), roles=roles, condition=kept)
    # What was dropped then may be gone by now.
    return replace(model.read(data, rules, replace(roles, drop=())), condition=kept)


class _Proof(NamedTuple):
    objective: float
    certification: Certification
    rounding: tuple[float, float]  # what delivering can do to a coefficient, and returning to a prediction


def _prove(model: LinearModel, statement: _Statement, rows: Rows) -> _Proof:
    """Certify the stored coefficients for the objective that they were trained on."""
    strengths = statement.structure.strengths
    objective = fit_objective(model.target, model.encoding, strengths, statement.alpha, rows.total_weight)
    shift = np.zeros(objective.loss.outputs) if statement.weights is None else log_odds_shift(statement.weights)
    parameters = moved_intercepts(model.parameters, shift)
    certification = certify(objective, rows, parameters, Units(model.encoding.own_units))
    certification = replace(certification, certificate=certification.certificate.of_moved(shift))
    delivered = accumulated(objective.loss.outputs + 3) * np.abs(model.coefficients) / model.encoding.own_units
    returned = rows.total(ReturnedTotal(objective.loss, 0.0), parameters).response
    rounding = replace(certification.certificate, prediction_bound=returned).of_moved(shift).prediction_bound or 0.0
    return _Proof(objective.value(rows, parameters), certification, (float(np.max(delivered)), rounding))


@dataclass(frozen=True)
class _Check:
    model: LinearModel
    statement: _Statement
    ledger: Ledger
    proof: _Proof

    @cached_property
    def label_mean(self) -> float:
        used, weight = self.ledger.used, self.ledger.weight
        return float(np.average(self.ledger.label[used], weights=None if weight is None else weight[used]))

    @property
    def same_labels(self) -> bool:
        reach = float(np.max(np.abs(self.ledger.label[self.ledger.used])))
        return abs(self.label_mean - self.model.label_mean) <= _SAME_LABELS * reach


def _differences(check: _Check) -> list[str]:
    """Return why the certificate does not hold, a sentence each; nothing where it does."""
    stated, proved = check.statement.certificate, check.proof.certification.certificate
    if not stated.certified:
        return [f"The model has no certificate that could hold: it is not certified because {stated.reason}."]
    reasons = []
    if proved.rows != stated.rows:
        reasons.append(
            f"The table has {proved.rows:,} usable rows ({_shown(check.ledger.counts)}); the model was trained on "
            f"{stated.rows:,}."
        )
    if stated.fingerprint is not None and proved.fingerprint != stated.fingerprint:
        if proved.rows == stated.rows:
            reasons.append(_what_changed(check))
        reasons.append(f"The rows' fingerprint is {proved.fingerprint}; the certificate is for {stated.fingerprint}.")
    elif not check.same_labels:
        reasons.append(f"The labels' mean is {check.label_mean!r}; the model states {check.model.label_mean!r}.")
    if not proved.certified:
        return [*reasons, f"The stored coefficients are not certified for these rows because {proved.reason}."]
    return [*reasons, *_larger_bounds(stated, proved, check.proof.rounding), *_other_prediction_bounds(check)]


def _shown(counts: RowCounts) -> str:
    left_out = [f"{counts.unlabelled:,} without a label", *(f"{n:,} {reason}" for reason, n in counts.rejected.items())]
    return f"{counts.read:,} read, {', '.join(left_out)}"


def _what_changed(check: _Check) -> str:
    """Say what the totals tell about rows that are as many as they were and yet not the same."""
    before, now = check.statement.objective, check.proof.objective
    if not check.same_labels:
        return f"Labels or weights differ: the labels' mean is {check.label_mean!r} and was {check.model.label_mean!r}."
    if before is not None and abs(now - before) > _SAME_OBJECTIVE * abs(before):
        return f"Values of the columns differ: the objective is {now!r} and was {before!r}."
    return "The rows are in another order, or a value differs by so little that the objective is the same."


def _larger_bounds(stated: Certificate, proved: Certificate, rounding: tuple[float, float]) -> list[str]:
    """Return the bounds that are proved only with a larger number than the one stated.

    Models of earlier releases state bounds of the exact numbers: without what delivering and returning them rounds.
    """
    reasons = []
    floor = max(stated.floor or 0.0, proved.floor or 0.0)
    # A loss of `floor` above the optimum is a distance of sqrt(2 floor), in the norm that `radius` is measured in.
    distance = math.sqrt(2.0 * floor) / proved.radius if proved.radius else 0.0
    pairs = (
        ("loss", stated.loss_bound, proved.loss_bound, 0.0),
        ("coefficients", stated.coefficient_bound, proved.coefficient_bound, rounding[0]),
        ("predictions", stated.prediction_bound, proved.prediction_bound, rounding[1]),
    )
    for what, claim, proof, rounded in pairs:
        if claim is None:
            continue
        slack = floor if what == "loss" else (proof or 0.0) * distance + rounded
        if proof is None or proof > claim * (1.0 + _TOLERANCE) + slack:
            shown = "no number" if proof is None else f"{proof:.6g}"
            reasons.append(f"The bound on the {what} is proved with {shown}; the file states {claim:.6g}.")
    return reasons


def _other_prediction_bounds(check: _Check) -> list[str]:
    """Return whether what bounds single predictions is what these rows give."""
    kept, factor = check.model.bounds, check.proof.certification.factor
    if kept is None or factor is None:
        return []
    norms, radius = factor.coefficient_norms(), check.proof.certification.certificate.radius or 0.0
    floor = math.sqrt(2.0 * (check.proof.certification.certificate.floor or 0.0))
    same = (radius - floor) * factor.inflation <= kept.radius * (1.0 + _TOLERANCE)
    same = same and bool(np.all(norms <= kept.norms * (1.0 + _TOLERANCE)))
    if kept.inverse is not None:
        allowed = _TOLERANCE * np.outer(norms, norms)
        same = same and bool(np.all(np.abs(factor.inverse_hessian - kept.inverse) <= allowed))
    return [] if same else ["What bounds single predictions in the file is not what these rows give."]
