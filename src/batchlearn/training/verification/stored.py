"""Checking a saved model's certificate again: against the rows it was trained on, by anyone who has them."""

from __future__ import annotations

import math
import os
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from batchlearn.data.build import build_rows
from batchlearn.data.ledger import Ledger, RowCounts, read_ledger, role_columns
from batchlearn.data.rows import Rows
from batchlearn.data.rows.threads import one_blas_thread, thread_count
from batchlearn.errors import DataError, IntegrityError, quoted
from batchlearn.evaluation.scored import score
from batchlearn.formatting.notes import recorded
from batchlearn.kernels.design import Floats
from batchlearn.kernels.rounding import accumulated
from batchlearn.models.brought.formats import NOTHING_ALLOWED, Allowed
from batchlearn.models.encoded import AS_FOUND, EncodedModel
from batchlearn.models.files import StoredModel, read_model
from batchlearn.models.folder import ROWS
from batchlearn.objectives.class_weights import log_odds_shift, moved_intercepts, weighted
from batchlearn.progress import Progress, finish, run_stage
from batchlearn.statistics.rounding import ReturnedTotal
from batchlearn.tables.conditions import Listed, Written, together
from batchlearn.tables.files import Files, find
from batchlearn.tables.table import ReadingRules, Table
from batchlearn.tables.table.budget import UNLIMITED, MemoryBudget, budget_of
from batchlearn.tables.table.kept import keep
from batchlearn.tables.table.roles import Fading
from batchlearn.tables.table.row_list import RowList, compare, open_parts, path_below
from batchlearn.training.certificate import Certificate, Certification, Units, certify
from batchlearn.training.train import fit_objective

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
class _RecordedStructure:
    strengths: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Statement:
    """What the record of a fit has to say for its certificate to be checked."""

    certificate: Certificate
    alpha: float
    objective: float | None
    condition: str | None
    structure: _RecordedStructure = field(default_factory=_RecordedStructure)
    class_weights: list[float] | None = None
    fading: Fading | None = None

    @property
    def weights(self) -> Floats | None:
        """What each class counted in the objective, (classes,)."""
        return None if self.class_weights is None else np.array(self.class_weights)


def verify_model(
    path: str | os.PathLike[str],
    data: object,
    rules: ReadingRules = AS_FOUND,
    *,
    threads: int | None = None,
    allowed: Allowed = NOTHING_ALLOWED,
) -> Verification:
    """Prove the bounds of a saved model again, from the rows it was trained on.

    `data` is a table, a path, a data frame or Arrow data, in any format; roles, readings and condition are those of
    the model, and `rules` say what else there is to say of text files. Of files that the list of a version beside the
    model names, the rows of the list are read, whatever has landed since.
    Raises DataError where the table cannot be what the model was trained on, and the errors of `load`.
    """
    return finish(iter_verify_model(path, data, rules, threads=threads, budget=budget_of(), allowed=allowed))


def iter_verify_model(
    path: str | os.PathLike[str],
    data: object,
    rules: ReadingRules = AS_FOUND,
    *,
    threads: int | None = None,
    budget: MemoryBudget = UNLIMITED,
    allowed: Allowed = NOTHING_ALLOWED,
) -> Generator[Progress, None, Verification]:
    """Yield progress while verifying; return the verification."""
    stored = read_model(path, allowed)
    statement = _statement(stored, path)
    workers = thread_count(threads)
    files = None if isinstance(data, Table) or not isinstance(data, str | os.PathLike | Files) else data
    listed = None
    if files is not None:
        data, listed = _listed(Path(path), files if isinstance(files, Files) else find(files), rules)
    table = stored.model.as_read(training_table(stored.model, statement.condition, data, rules))
    table = replace(table, condition=together(table.condition, listed), fading=statement.fading)
    stored.model.check(table)
    absent = [column.name for column in table.absent if column.name in stored.model.encoding.kinds]
    if absent:
        raise DataError(
            f"{table.name} has no column {quoted(absent[0])}, which the model was trained on. Give the rows of the "
            "training, with all columns that it reads.",
            code="column-missing",
        )
    model = stored.model
    if model.size is None:
        yield Progress("scoring the rows again")
        return _scored_again(model, statement, table, stored.identity)
    with one_blas_thread():
        names = dict.fromkeys([*stored.model.encoding.columns, *role_columns(table)])
        table = yield from run_stage("reading rows", keep(table, list(names), budget))
        ledger = read_ledger(table, stored.model.target, weight_constant=stored.model.weight_constant)
        counted = ledger if statement.weights is None else weighted(ledger, statement.weights)
        encoded = build_rows(table, counted, stored.model.encoding, ledger.used, workers)
        rows = yield from run_stage("encoding rows", encoded)
        yield Progress("certifying", rows=len(rows))
        objective, certification, rounding = _prove(model, statement, rows)
    # Why the certificate does not hold, a sentence each.
    if statement.certificate.certified:
        reasons = _other_rows(model, statement, ledger, objective, certification.certificate)
        if certification.certificate.certified:
            reasons += _larger_bounds(statement.certificate, certification.certificate, rounding)
            reasons += _other_prediction_bounds(model, certification)
        else:
            why = certification.certificate.reason
            reasons.append(f"The stored coefficients are not certified for these rows because {why}.")
    else:
        why = statement.certificate.reason
        reasons = [f"The model has no certificate that could hold: it is not certified because {why}."]
    return Verification(
        not reasons,
        tuple(reasons),
        () if statement.certificate.fingerprint is not None else (_NO_FINGERPRINT,),
        certification.certificate,
        statement.certificate,
        ledger.counts,
        stored.identity,
    )


def _scored_again(model: EncodedModel, statement: _Statement, table: Table, identity: str) -> Verification:
    """See whether a model without a certificate has its training loss in these rows, and they are those of it."""
    rows, reasons = score(model, table), list[str]()
    loss = float(np.average(rows.losses(model.target), weights=rows.weight))
    stated = math.nan if statement.objective is None else statement.objective
    if rows.fingerprint != statement.certificate.fingerprint:
        reasons.append("These are not the rows that the model was trained on: their fingerprint is another.")
    if not abs(loss - stated) <= _SAME_OBJECTIVE * max(abs(stated), 1.0):
        reasons.append(f"The mean loss in these rows is {loss:.12g}, and {stated:.12g} is on record.")
    counts = read_ledger(table, model.target, weight_constant=model.weight_constant).counts
    notes = (f"{model.no_certificate} What was checked is that these are its rows and that it scores them as then.",)
    certificate = statement.certificate
    return Verification(not reasons, tuple(reasons), notes, certificate, certificate, counts, identity)


def _listed(path: Path, files: Files, rules: ReadingRules) -> tuple[Files, Listed | None]:
    """Return which files and rows a version was trained on, where its list lies beside the model and names them.

    DataError where a file was replaced or is gone: that is no fault of the model, and it can be verified no more.
    """
    place = path.absolute().parent / ROWS
    if not place.is_file():
        return files, None
    then, root = RowList.parse(place.read_bytes()), Path(os.path.abspath(place.parents[2]))
    given = {path_below(Path(os.path.abspath(one)), root): one for one in files.paths}  # "..", but no link, is followed
    there = [part for part in then.parts if part.file in given]
    if not there:
        return files, None  # a copy of the rows, of which the condition alone says which they are
    files = replace(files, paths=tuple(given[part.file] for part in there))
    standing = compare(open_parts(files, [part.name for part in there], root, rules, then.columns), then)
    if standing.lost:
        raise DataError(
            f"Version {int(path.absolute().parent.name)} cannot be verified any more: rows that it was trained on were "
            f"replaced, are gone or were not given ({', '.join(map(quoted, standing.lost[:3]))}). That is no sign that "
            "the model was altered. Restore the file as it was to verify it, or train again.",
            code="rows-replaced",
        )
    return files, standing.listed


def _statement(stored: StoredModel, path: str | os.PathLike[str]) -> _Statement:
    try:
        record, certificate = stored.record, stored.record.get("certificate")
        if isinstance(certificate, dict) and isinstance(certificate.get("reason"), str):
            # On any record the reason is a sentence: it stays as it is and is not taken apart.
            record = {**record, "certificate": {**certificate, "reason": recorded(certificate["reason"])}}
        statement = TypeAdapter(_Statement).validate_python(record)
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


def training_table(model: EncodedModel, condition: str | None, data: object, rules: ReadingRules) -> Table:
    """Return the rows that a model was trained on, read as they were."""
    roles = replace(model.roles, target=model.target.column)
    # Models that do not say how times are read took all for those of UTC.
    kept = None if condition is None else Written(condition, None if model.readings else "UTC")
    if isinstance(data, Table):
        return replace(data.like(model.readings), roles=roles, condition=kept)
    # What was dropped then may be gone by now.
    return replace(model.read(data, rules, replace(roles, drop=())), condition=kept)


def _prove(model: EncodedModel, statement: _Statement, rows: Rows) -> tuple[float, Certification, tuple[float, float]]:
    """Certify the stored coefficients for the objective that they were trained on; return its value there as well.

    And what delivering can do to a coefficient, and returning to a prediction.
    """
    strengths = statement.structure.strengths
    objective = fit_objective(model.target, model.encoding, strengths, statement.alpha, rows.total_weight)
    shift = np.zeros(objective.loss.outputs) if statement.weights is None else log_odds_shift(statement.weights)
    parameters = moved_intercepts(model.parameters, shift)
    certification = certify(objective, rows, parameters, Units(model.encoding.own_units))
    certification = replace(certification, certificate=certification.certificate.of_moved(shift))
    delivered = accumulated(objective.loss.outputs + 3) * np.abs(model.coefficients) / model.encoding.own_units
    _, returned = rows.total(ReturnedTotal(objective.loss, 0.0), parameters)
    rounding = replace(certification.certificate, prediction_bound=returned).of_moved(shift).prediction_bound or 0.0
    return objective.value(rows, parameters), certification, (float(np.max(delivered)), rounding)


def _other_rows(
    model: EncodedModel, statement: _Statement, ledger: Ledger, objective: float, proved: Certificate
) -> list[str]:
    """Return how the rows are others than those that the model was trained on."""
    stated, used, reasons = statement.certificate, ledger.used, list[str]()
    weight = None if ledger.weight is None else ledger.weight[used]
    mean = float(np.average(ledger.label[used], weights=weight))
    same_labels = abs(mean - model.label_mean) <= _SAME_LABELS * float(np.max(np.abs(ledger.label[used])))
    if proved.rows != stated.rows:
        counts = ledger.counts
        rejected = (f"{n:,} {reason}" for reason, n in counts.rejected.items())
        left_out = ", ".join([f"{counts.unlabelled:,} without a label", *rejected])
        reasons.append(
            f"The table has {proved.rows:,} usable rows ({counts.read:,} read, {left_out}); the model was trained on "
            f"{stated.rows:,}."
        )
    if stated.fingerprint is None or proved.fingerprint == stated.fingerprint:
        if not same_labels:
            reasons.append(f"The labels' mean is {mean!r}; the model states {model.label_mean!r}.")
        return reasons
    if proved.rows == stated.rows:
        # What the totals tell about rows that are as many as they were and yet not the same.
        before = statement.objective
        if not same_labels:
            what = f"Labels or weights differ: the labels' mean is {mean!r} and was {model.label_mean!r}."
        elif before is not None and abs(objective - before) > _SAME_OBJECTIVE * abs(before):
            what = f"Values of the columns differ: the objective is {objective!r} and was {before!r}."
        else:
            what = "The rows are in another order, or a value differs by so little that the objective is the same."
        reasons.append(what)
    return [
        *reasons,
        f"The rows' fingerprint is {proved.fingerprint}; the certificate is for {stated.fingerprint}.",
    ]


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


def _other_prediction_bounds(model: EncodedModel, certification: Certification) -> list[str]:
    """Return whether what bounds single predictions is what these rows give."""
    kept, factor, certificate = model.bounds, certification.factor, certification.certificate
    if kept is None or factor is None:
        return []
    norms, radius = factor.coefficient_norms(), certificate.radius or 0.0
    floor = math.sqrt(2.0 * (certificate.floor or 0.0))
    same = (radius - floor) * factor.inflation <= kept.radius * (1.0 + _TOLERANCE)
    same = same and bool(np.all(norms <= kept.norms * (1.0 + _TOLERANCE)))
    if kept.inverse is not None:
        allowed = _TOLERANCE * np.outer(norms, norms)
        same = same and bool(np.all(np.abs(factor.inverse_hessian - kept.inverse) <= allowed))
    return [] if same else ["What bounds single predictions in the file is not what these rows give."]
