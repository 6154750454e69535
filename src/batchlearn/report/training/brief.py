"""A fit, a certificate and an evaluation in brief, as a terminal shows them."""

from __future__ import annotations

from operator import itemgetter
from typing import NamedTuple

import numpy as np

from batchlearn.data.ledger import RowCounts
from batchlearn.data.target import Target, Task, class_name
from batchlearn.evaluation.metrics import first_score, target_metrics
from batchlearn.evaluation.report import Evaluation
from batchlearn.formatting.names import MODELS, in_short
from batchlearn.formatting.notes import Code, Note
from batchlearn.formatting.numbers import count, listed, plain, rounded_up
from batchlearn.models.encoded import EncodedModel
from batchlearn.models.shapes import Shape, contrasts
from batchlearn.report.document import Document, Marked
from batchlearn.report.terms.columns import show_columns
from batchlearn.report.training.findings import drift_sentence
from batchlearn.report.training.quality import decision, metric_table, score
from batchlearn.report.training.worst import slice_difference
from batchlearn.report.values import interval, shown
from batchlearn.training.certificate import Certificate
from batchlearn.training.fit import Fit

_SCALES = {
    "logistic": "the log odds of {1}",
    "softmax": "the logits of the classes",
    "squared": "the mean",
    "huber": "the centre",
    "poisson": "the logarithm of the mean",
    "gamma": "the logarithm of the mean",
    "tweedie": "the logarithm of the mean",
}
_MOST_SLICES, _MOST_EFFECTS, _MOST_NAMES = 3, 5, 6


def show_fit(document: Document, fit: Fit) -> None:
    """Write what came out of training: rows, model, certificate, evaluation, coefficients, notes."""
    model = fit.model
    document.title(f"Trained on {count(fit.rows.used, 'row')}: {model_sentence(model)}")
    how = f"{fit.solver}, {fit.passes} passes, " if fit.model.learned_by is None else ""
    document.facts(
        [
            ("Rows", ledger_sentence(fit.rows)),
            ("Model", _made_of(fit)),
            ("Certificate", certificate_sentence(fit.certificate, model.target.task)),
            ("Stopped", f"{fit.status.value}; {how}{fit.seconds:.1f} s"),
        ]
    )
    if fit.evaluation is not None:
        # The note with its figures would only say the heading again.
        which = next((note.values["how"] for note in fit.notes if note.code is Code.HELD_OUT), "")
        document.heading(f"Evaluation on {count(fit.evaluation.rows, 'held-out row')} ({which})")
        document.line("of the same recipe trained on the other rows; 95 % intervals", "dim")
        show_evaluation(document, fit.evaluation, model.target)
        if fit.evaluation.drift is not None and fit.evaluation.drift.side is not None:
            document.line(drift_sentence(fit, score(fit.evaluation)) or "")
    show_effects(document, fit)
    show_columns(document, fit.columns, fit.lines_passed_over)
    said = {Code.HELD_OUT, *((Code.LEFT_OUT, Code.UNREADABLE_VALUES) if fit.columns else ())}
    show_notes(document, [note for note in fit.notes if note.code not in said], fit.evaluation)


def _made_of(fit: Fit) -> str:
    if fit.model.size is None:
        settings = ", ".join(f"{name}={value}" for name, value in fit.recipe.set.items())
        return f"{fit.model.learned_by}{settings and f' with {settings}'}"
    return f"{count(fit.model.size, 'coefficient')}, penalty alpha {fit.alpha:.3g}"


def model_sentence(model: EncodedModel) -> str:
    """Say what a model is and what it predicts."""
    target = model.target
    which = f", probability of {class_name(target.classes[1])}" if target.task is Task.CLASSES else ""
    if len(target.classes) > 2:
        which = f", {len(target.classes)} classes"
    power = "" if target.power is None else f" of power {target.power:.4g}"
    return f"{model.learned_by or MODELS[model.loss]}{power} for {target.column}{which}"


def ledger_sentence(rows: RowCounts) -> str:
    """Say where every row that was read has gone."""
    parts = [f"{rows.used:,} used"]
    if rows.unlabelled:
        parts.append(f"{rows.unlabelled:,} without a label")
    parts += [f"{number:,} {reason}" for reason, number in rows.rejected.items()]
    return f"{rows.read:,} read = {' + '.join(parts)}"


def certificate_sentence(certificate: Certificate, task: Task) -> Marked:
    """Say what is proved, or why nothing is."""
    if not certificate.certified or certificate.loss_bound is None:
        return Marked("not certified", "yellow", f": {certificate.reason or 'no bound was proved'}")
    unit = " (probability)" if task is Task.CLASSES else ""
    others = []
    if certificate.coefficient_bound is not None:
        others.append(f"no coefficient is off by more than {rounded_up(certificate.coefficient_bound):.1e}")
    if certificate.prediction_bound is not None:
        others.append(f"no prediction by more than {rounded_up(certificate.prediction_bound):.1e}{unit}")
    bound = rounded_up(certificate.loss_bound)
    loss = f"the loss is within {bound:.1e} of the optimum over all {count(certificate.rows, 'row')}"
    return Marked("certified", "green", f": {'; '.join([loss, *others])}")


def show_evaluation(document: Document, evaluation: Evaluation, target: Target) -> None:
    """Write metrics beside baselines, calibration, what decisions cost, and the slices that lose most."""
    document.blocks.append(metric_table(evaluation))
    _show_calibration(document, evaluation)
    decided = decision(evaluation, target)
    if decided is not None:
        document.heading("What decisions cost")
        document.line(decided[0], "dim")
        document.blocks.append(decided[1])
    _show_slices(document, evaluation, target)


def _show_calibration(document: Document, evaluation: Evaluation) -> None:
    found = evaluation.calibration
    if found is None:
        return
    said = [f"predictions are off by {found.expected_calibration_error:.3g} on average over bins"]
    if found.observed_over_expected is not None:
        said.append(f"labels add up to {found.observed_over_expected:.3f} times the predictions")
    if found.slope is not None:
        said.append(f"slope {found.slope:.2f} (1 is right)")
    document.line(f"Calibration: {'; '.join(said)}")


def _show_slices(document: Document, evaluation: Evaluation, target: Target) -> None:
    if not evaluation.slices:
        return
    score = in_short(first_score(target_metrics(target)).name)
    document.heading("Where it is worst")
    for one in evaluation.slices[:_MOST_SLICES]:
        found = slice_difference(one)
        means = "" if one.mean_label is None else f"; mean label {one.mean_label:.3g}"
        means += f"; predicted {one.mean_response:.3g}"
        document.bullet(
            f"{one.column} = {one.level}: {count(one.rows, 'row')}, {score} "
            f"{shown(found)} higher ({interval(found)}){means}"
        )


class Effect(NamedTuple):
    """One effect on the linear predictor: of one unit of a number, or of a level against its column's mean level."""

    name: str
    estimate: float
    error: float | None  # standard error


def strongest_effects(model: EncodedModel, most: int) -> list[Effect]:
    """Return the effects with the largest ratio to their standard errors, or the largest where errors are not known.

    A level's own coefficient is known only up to what the intercept may take over, so levels are set against the mean
    of the levels of their column, whose error is free of that.
    """
    estimates, errors = contrasts(model)
    units = model.encoding.units
    strength = np.abs(estimates) if errors is None else np.abs(estimates) / np.maximum(errors, np.finfo(float).tiny)
    order = 1 + np.argsort(-strength[1:], kind="stable")[:most]
    return [
        Effect(
            model.encoding.names[place],
            float(estimates[place] / units[place]),
            None if errors is None else float(errors[place] / units[place]),
        )
        for place in order
    ]


def show_effects(document: Document, fit: Fit) -> None:
    """Write what moves the prediction most: single effects of a linear model, shapes of an additive one."""
    model = fit.model
    if model.size is None:
        return
    several = bool(model.class_shares)
    found = [] if several else strongest_effects(model, _MOST_EFFECTS)
    if not found and not several:
        return
    scale = _SCALES[model.loss].format(*map(class_name, model.target.classes))
    if several or any(group.kind == "bins" for group in model.encoding.groups):
        _show_shapes(document, fit, scale)
        return
    document.heading(f"Strongest of {count(model.size - 1, 'effect')} on {scale}")
    rows = [[one.name, f"{one.estimate:+.4g}", "" if one.error is None else f"{one.error:.2g}"] for one in found]
    document.table(["", "estimate", "standard error"] if any(row[2] for row in rows) else ["", "estimate"], rows)
    levels = " Levels: against the mean of their column's levels." if model.encoding.groups else ""
    words = " Words: against texts without them." if model.encoding.texts else ""
    document.line(f"Numbers: per unit of the column.{levels}{words}", "dim")


def _show_shapes(document: Document, fit: Fit, scale: str) -> None:
    found, several = fit.shapes, bool(fit.model.class_shares)
    document.heading(f"Largest over the rows of {count(len(found), 'shape')} on {scale}")
    rows = []
    for shape in found[:_MOST_EFFECTS]:
        (low, least), (high, most) = _ends(shape)
        row = [low, f"{least:+.3g}", high, f"{most:+.3g}"]
        rows.append([shape.name, *row] if several else row)
    header = ["lowest at", "", "highest at", ""]
    document.table(["", *header] if several else header, rows)


def _ends(shape: Shape) -> list[tuple[str, float]]:
    """Return where a shape is lowest and highest; of a straight line the ends of its range, 0 being in the middle."""
    if shape.kind == "number":
        low, high = shape.low or 0.0, shape.high or 0.0
        reach = float(shape.effect[0]) * (high / 2.0 - low / 2.0)
        found = [(f"{shape.term} = {plain(low)}", -reach), (f"{shape.term} = {plain(high)}", reach)]
        return sorted(found, key=itemgetter(1))
    return [(shape.names[at], float(shape.effect[at])) for at in (np.argmin(shape.effect), np.argmax(shape.effect))]


def show_notes(document: Document, notes: list[Note], evaluation: Evaluation | None) -> None:
    """Write the notes of a fit and of its evaluation; columns left out share a line for each reason."""
    lines = [str(note) for note in notes if note.code is not Code.LEFT_OUT]
    reasons: dict[str, list[str]] = {}
    for note in notes:
        if note.code is Code.LEFT_OUT:
            reasons.setdefault(note.values["reason"], []).append(note.values["column"])
    lines += [f"Left out: {listed(columns, _MOST_NAMES)} ({reason})" for reason, columns in reasons.items()]
    lines += [] if evaluation is None else map(str, evaluation.notes)
    if lines:
        document.heading("Notes")
    for line in lines:
        document.bullet(line)
