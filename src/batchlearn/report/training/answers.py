"""The questions a reader brings, answered with the figures of this result."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from batchlearn.report.answer import Answer, Finding
from batchlearn.report.estimate import Estimate
from batchlearn.report.terms.shapes import by_column, shapes
from batchlearn.report.training.findings import findings
from batchlearn.report.training.oddities import telling_columns
from batchlearn.report.training.proof import ledger
from batchlearn.report.training.quality import score
from batchlearn.report.training.verdict import finished, good
from batchlearn.report.training.worst import happened, slice_list, slice_name, worst_rows
from batchlearn.report.values import LONGEST_SENTENCE, mapping, number, text, whole
from batchlearn.words.names import effect_scale
from batchlearn.words.numbers import count, listed, size_said

_MOST_TERMS, _MOST_ACTIONS, _MOST_SLICES, _MOST_ODD, _MOST_ENDS = 5, 5, 3, 5, 3
# What the cards on finished, good and odd have said already.
_SAID = {"score", "proof", "data"}
# Findings on the data of less weight are as they often are.
_PRESSING = 50


def cards(result: Mapping[str, Any]) -> list[Answer]:
    """Return the four answers on top of the page."""
    return [finished(result), good(result), _matters(result), _odd(result)]


def answers(result: Mapping[str, Any]) -> list[Answer]:
    """Return the answers in the order in which people ask."""
    return [finished(result), good(result), _matters(result), _wrong(result), _odd(result), _next(result)]


def first_looks(result: Mapping[str, Any], most: int = 3) -> list[Finding]:
    """Return the most pressing findings that no card has."""
    return [found for found in findings(result) if found.kind not in _SAID][:most]


def _matters(result: Mapping[str, Any]) -> Answer:
    question, found = "What matters most?", by_column(shapes(result))
    if not found:
        return Answer(question, "Not in this result", "plain", (), "terms", ("The result holds no effects to order.",))
    scale = effect_scale(result.get("loss"))
    named = [f"{name} ({size_said(size)})" for name, size in found[:_MOST_TERMS]]
    known = all(shape.deviation is not None for shape in shapes(result))
    measured = "how much each moves the predictions of the rows" if known else "how far apart its effects lie"
    what = (
        "the standard deviation, over the rows, of what it adds" if known else "the largest effect minus the smallest"
    )
    brief = f"Ordered by {measured}: {listed(named, _MOST_TERMS)}. The number is {what}, in {scale.name} "
    brief += f"({scale.meaning}). Columns that go together share what they explain, or take it back from each other."
    leading = [name for name, _ in found[:_MOST_ENDS]]
    ends = {shape.name: shape.ends for shape in shapes(result)}
    directions = tuple(f"{name}: {ends[name]}." for name in leading if ends.get(name))
    telling = [name for name in leading if name in telling_columns(result)]
    doubt = (f"Check {listed(telling)} first: some of its levels nearly give the label away.",) if telling else ()
    said = ("An effect says what the model has learned with the other columns held fixed. It is no proof of a cause.",)
    return Answer(question, listed(leading, 3), "plain", said, "terms", (brief, *directions, *doubt))


def _wrong(result: Mapping[str, Any]) -> Answer:
    question, found = "Where is it wrong?", slice_list(result)
    if mapping(result.get("evaluation")).get("slices") is None:
        return Answer(question, "Not measured", "plain", ("No slices of held-out rows were compared.",), "slices")
    said = [_slice_said(result, one) for one in found[:_MOST_SLICES]]
    if len(found) > _MOST_SLICES:
        said.append(f"{count(len(found) - _MOST_SLICES, 'more slice')} in the section on slices.")
    said += [finding.what for finding in findings(result) if finding.kind == "calibration"]
    worst = worst_rows(result)
    if worst:
        first = worst[0]
        said.append(
            f"The largest loss of one row is {first.loss}: row {first.row}, predicted {first.response}, happened "
            f"{first.label}."
        )
    if not found:
        said.insert(0, "No level of a category column loses significantly more than the other rows.")
    short = f"Where {slice_name(found[0])}" if found else "Nowhere in particular"
    return Answer(question, short, "plain", tuple(said), "slices")


def _slice_said(result: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    judged = score(result)
    name = "loss" if judged is None else judged.name
    figure = Estimate(number(one.get("difference")), number(one.get("low")), number(one.get("high")))
    said = f"{slice_name(one)}: {count(whole(one.get('rows')) or 0, 'row')}, {name} {figure.both} above the others"
    return f"{'; '.join([said, *happened(result, one)])}."


def _odd(result: Mapping[str, Any]) -> Answer:
    question = "What is odd in the data?"
    found = [finding for finding in findings(result) if finding.kind == "data"]
    if not found:
        checked = _checked(result)
        if not checked:
            nothing = "The result holds no rows, notes or scores to check."
            return Answer(question, "Not checked", "plain", (), "rows", (nothing,))
        said = f"Checked: {listed(checked, len(checked))}. Nothing stands out."
        return Answer(question, "Nothing that these checks see", "plain", (), "rows", (said,))
    short = count(len(found), "thing") + " to look at"
    more = tuple(finding.what for finding in found[_MOST_ODD:])
    told = [f"{_cut(finding.what)}: {finding.do}" for finding in found if finding.do]
    brief = tuple(finding.what for finding in found[:_MOST_ODD])
    tone = "warn" if found[0].weight >= _PRESSING else "plain"
    return Answer(question, short, tone, (*more, *told), "answers", brief)


def _cut(what: str) -> str:
    """Return how a finding begins: enough to know it again."""
    begins = what.partition(":")[0].rstrip(".")
    return begins.rpartition(" (")[0] if begins.count("(") > begins.count(")") else begins


def _checked(result: Mapping[str, Any]) -> list[str]:
    evaluation, found = mapping(result.get("evaluation")), mapping(result.get("facts"))
    checks = {
        "rows set aside": ledger(result) is not None,
        "columns left out": result.get("notes") is not None,
        "repeated rows": found.get("repeated_rows") is not None,
        "values far outside the others, missing values and levels that tell the label": bool(found.get("columns")),
        "the order of rows of one time": bool(found.get("neighbours")),
        "classes never seen": evaluation.get("unseen_classes") is not None,
        "scores too good to be true": bool(mapping(evaluation.get("metrics"))),
    }
    return [name for name, made in checks.items() if made]


def _next(result: Mapping[str, Any]) -> Answer:
    question = "What would I do next?"
    steps = [finding.do for finding in findings(result) if finding.do and finding.kind != "data"][:_MOST_ACTIONS]
    model = text(result.get("model"), LONGEST_SENTENCE)
    if model:
        path = shlex.quote(model)
        steps.append(f"When labels of later rows are there: batchlearn evaluate {path} LATER.parquet")
        steps.append(
            "To predict, with the bound on each prediction: "
            f"batchlearn predict {path} NEW.parquet -o scored.parquet --bounds"
        )
    else:
        steps.append("Judge it again on later rows when their labels are there.")
    return Answer(question, count(len(steps), "step"), "plain", tuple(steps), "rows")
