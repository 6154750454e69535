"""The questions that people ask of a training, with the figures of this result."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from batchlearn.data.target import Task
from batchlearn.evaluation.slices import Slice
from batchlearn.formatting.names import effect_scale
from batchlearn.formatting.numbers import count, listed, size_said
from batchlearn.report.document import Answer, Finding
from batchlearn.report.terms.shapes import Drawn, by_term
from batchlearn.report.training.data_checks import leaking_columns
from batchlearn.report.training.findings import findings
from batchlearn.report.training.quality import score
from batchlearn.report.training.verdict import finished, good
from batchlearn.report.training.worst import happened, slice_difference, slice_list, slice_name, worst_rows
from batchlearn.report.values import LONGEST_SENTENCE, short, with_interval
from batchlearn.training.fit import Fit

_MOST_TERMS, _MOST_ACTIONS, _MOST_SLICES, _MOST_ODD, _MOST_ENDS = 5, 5, 3, 5, 3
# What the cards on finished, good and odd have said already.
_SAID = {"score", "proof", "data"}
# Findings on the data of less weight are as they often are.
_PRESSING = 50


def cards(fit: Fit, terms: Sequence[Drawn]) -> list[Answer]:
    """Return the four answers on top of the page."""
    return [finished(fit), good(fit), _matters(fit, terms), _odd(fit)]


def answers(fit: Fit, terms: Sequence[Drawn], model: str | None = None) -> list[Answer]:
    """Return the answers in the order in which people ask."""
    return [finished(fit), good(fit), _matters(fit, terms), _wrong(fit), _odd(fit), _next(fit, model)]


def first_looks(fit: Fit, most: int = 3) -> list[Finding]:
    """Return the most pressing findings that no card has."""
    return [found for found in findings(fit) if found.kind not in _SAID][:most]


def _matters(fit: Fit, terms: Sequence[Drawn]) -> Answer:
    question, found = "What matters most?", by_term(terms)
    if not found:
        return Answer(question, "Not in this result", "plain", (), "terms", ("The result holds no effects to order.",))
    scale = effect_scale(fit.model.loss)
    named = [f"{short(name)} ({size_said(size)})" for name, size in found[:_MOST_TERMS]]
    known = all(term.deviation is not None for term in terms)
    measured = "how much each moves the predictions of the rows" if known else "how far apart its effects lie"
    what = (
        "the standard deviation, over the rows, of what it adds" if known else "the largest effect minus the smallest"
    )
    brief = f"Ordered by {measured}: {listed(named, _MOST_TERMS)}. The number is {what}, in {scale.name} "
    brief += f"({scale.meaning}). Columns that go together share what they explain, or take it back from each other."
    leading = [name for name, _ in found[:_MOST_ENDS]]
    ends = {term.name: term.ends for term in terms}
    directions = tuple(f"{short(name)}: {ends[name]}." for name in leading if ends.get(name))
    leaking = [short(name) for name in leading if name in leaking_columns(fit)]
    doubt = (f"Check {listed(leaking)} first: some of its levels nearly give the label away.",) if leaking else ()
    said = ("An effect says what the model has learned with the other columns held fixed. It is no proof of a cause.",)
    top = listed([short(name) for name in leading], 3)
    return Answer(question, top, "plain", said, "terms", (brief, *directions, *doubt))


def _wrong(fit: Fit) -> Answer:
    question, found = "Where is it wrong?", slice_list(fit.evaluation)
    if fit.evaluation is None:
        return Answer(question, "Not measured", "plain", ("No slices of held-out rows were compared.",), "slices")
    said = [_slice_said(fit, one) for one in found[:_MOST_SLICES]]
    if len(found) > _MOST_SLICES:
        said.append(f"{count(len(found) - _MOST_SLICES, 'more slice')} in the section on slices.")
    said += [finding.what for finding in findings(fit) if finding.kind == "calibration"]
    for first in worst_rows(fit)[:1]:
        said.append(
            f"The largest loss of one row is {first.loss}: row {first.row}, predicted {first.response}, happened "
            f"{first.label}."
        )
    if not found:
        said.insert(0, "No level of a category column loses significantly more than the other rows.")
    where = f"Where {slice_name(found[0])}" if found else "Nowhere in particular"
    return Answer(question, where, "plain", tuple(said), "slices")


def _slice_said(fit: Fit, one: Slice) -> str:
    judged = score(fit.evaluation)
    name, figure = "loss" if judged is None else judged.name, with_interval(slice_difference(one))
    said = f"{slice_name(one)}: {count(one.rows, 'row')}, {name} {figure} above the others"
    return f"{'; '.join([said, *happened(fit, one)])}."


def _odd(fit: Fit) -> Answer:
    question = "What is odd in the data?"
    found = [finding for finding in findings(fit) if finding.kind == "data"]
    if not found:
        checked = _checked(fit)
        said = f"Checked: {listed(checked, len(checked))}. Nothing stands out."
        return Answer(question, "Nothing that these checks see", "plain", (), "rows", (said,))
    things = count(len(found), "thing") + " to look at"
    more = tuple(finding.what for finding in found[_MOST_ODD:])
    told = [f"{finding.begins}: {finding.do}" for finding in found if finding.do]
    brief = tuple(finding.what for finding in found[:_MOST_ODD])
    tone = "warn" if found[0].weight >= _PRESSING else "plain"
    return Answer(question, things, tone, (*more, *told), "answers", brief)


def _checked(fit: Fit) -> list[str]:
    checks = {
        "rows set aside": True,
        "columns left out": True,
        "repeated rows": fit.summary is not None,
        "values far outside the others, missing values and levels that tell the label": fit.summary is not None
        and bool(fit.summary.columns),
        "the order of rows of one time": fit.summary is not None and fit.summary.neighbours is not None,
        "classes never seen": fit.evaluation is not None,
        "scores too good to be true": fit.evaluation is not None,
    }
    return [name for name, made in checks.items() if made]


def _next(fit: Fit, model: str | None) -> Answer:
    question = "What would I do next?"
    steps = [finding.do for finding in findings(fit) if finding.do and finding.kind != "data"][:_MOST_ACTIONS]
    if model:
        path = shlex.quote(short(model, LONGEST_SENTENCE))
        steps.append(f"When labels of later rows are there: batchlearn evaluate {path} LATER.parquet")
        predict, needed = f"batchlearn predict {path} NEW.parquet -o scored.parquet", fit.model.restored_with
        if fit.model.no_certificate is None:
            steps.append(f"To predict, with the bound on each prediction: {predict} --bounds")
        elif needed is not None:
            steps.append(f"To predict: {' '.join([predict, *map(shlex.quote, needed)])}")
    else:
        steps.append("Judge it again on later rows when their labels are there.")
    if fit.model.learned_by is None:
        target, roles = fit.model.target, fit.model.roles
        loss = {"poisson": "(loss=poisson)", "gamma": "(loss=gamma)"}.get(target.loss, "")
        kind = "Classifier" if target.task is Task.CLASSES else f"Regressor{loss}"
        words = ["batchlearn", "compare", "ROWS", "--target", short(target.column)]
        words += [] if roles.time is None else ["--time", short(roles.time)]
        words += ["--loss", target.loss] if target.task in (Task.COUNT, Task.AMOUNT) else []
        words += ["--models", f"additive,sklearn.ensemble.HistGradientBoosting{kind}"]
        steps.append(f"To know what gradient boosting would reach on the same rows: {shlex.join(words)}")
    return Answer(question, count(len(steps), "step"), "plain", tuple(steps), "rows")
