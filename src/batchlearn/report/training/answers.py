"""The questions a reader brings, answered with the figures of this result."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from batchlearn.report.answer import Answer
from batchlearn.report.training.findings import Finding, findings, standing
from batchlearn.report.training.proof import ledger, proof
from batchlearn.report.training.quality import Score, score, slice_list, slice_name, worst_rows
from batchlearn.report.training.terms import shapes
from batchlearn.report.values import LONGEST_SENTENCE, mapping, number, text, whole
from batchlearn.report.words import (
    Estimate,
    at_most,
    baseline,
    count,
    decimals,
    effect_scale,
    estimate,
    fixed,
    listed,
    metric,
    percent,
    plain,
    predicts_probabilities,
    small_share,
)

_MOST_TERMS, _MOST_ACTIONS, _MOST_SLICES = 5, 5, 3


def answers(result: Mapping[str, Any]) -> list[Answer]:
    """Return the answers in the order in which people ask."""
    return [finished(result), good(result), _matters(result), _wrong(result), _odd(result), _next(result)]


def finished(result: Mapping[str, Any]) -> Answer:
    """Say whether more training could improve the model, as far as that is proved."""
    found, question = proof(result), "Is this model finished?"
    if not found.certified or found.loss_bound is None:
        refused = f"No bound on the distance to the optimum could be given: {found.reason.rstrip('.')}."
        after = "The model may still be good; what is missing is the proof that training is at its end."
        return Answer(question, "Not proved", "warn", (refused, after), "proof")
    rows = whole(mapping(result.get("certificate")).get("rows"))
    over = "the training rows" if rows is None else f"all {count(rows, 'training row')}"
    of_gain = "" if found.share is None else f", {small_share(found.share)} of what training has gained over the mean"
    said = [
        f"The training loss over {over} is proved to be at most {at_most(found.loss_bound)} above the lowest that any "
        f"coefficients of these terms and this penalty can reach{of_gain}."
    ]
    if found.prediction_bound is not None:
        said.append(f"At the optimum no prediction for a training row would differ by more than {_difference(result)}.")
    if found.reached:
        said.append("Training longer could change nothing beyond these bounds; other columns, terms or rows could.")
        return Answer(question, "Yes, and it is proved", "good", tuple(said), "proof")
    if found.at_floor:
        said.append("That is above the tolerance, but rounding allows no better proof in double precision.")
        return Answer(question, "As near as rounding allows", "plain", tuple(said), "proof")
    said.append(f"How it ended: {found.status or 'the result does not say'}.")
    return Answer(question, "Proved, short of what was asked", "warn", tuple(said), "proof")


def _difference(result: Mapping[str, Any]) -> str:
    bound = proof(result).prediction_bound or 0.0
    if predicts_probabilities(result.get("loss")):
        return f"{at_most(100.0 * bound)} percentage points"
    return f"{at_most(bound)} in units of {text(result.get('target')) or 'the target'}"


def good(result: Mapping[str, Any]) -> Answer:
    """Say what the model is worth beside its baselines."""
    question, judged = "Is it good?", score(result)
    if judged is None:
        nothing = "No rows were held out, so nothing here says how it does on rows that it has not seen."
        return Answer(question, "Not measured", "warn", (nothing,), "scores")
    stands = {name: standing(result, judged, name) for name, _ in judged.baselines}
    short, tone = _verdict(list(stands.values()))
    on = "" if judged.rows is None else f" on {count(judged.rows, 'held-out row')}"
    said = [f"Its {judged.name}{on} is {_with_interval(judged.model)}."]
    said += [_beside(judged, name, stands[name]) for name, _ in judged.baselines]
    said += _in_words(result)
    said.append("Whether that is good enough depends on what a wrong prediction costs; these figures do not know it.")
    return Answer(question, short, tone, tuple(said), "scores")


def _verdict(stands: list[str]) -> tuple[str, str]:
    if not stands or "unknown" in stands:
        return "Measured, without a comparison", "plain"
    if "worse" in stands:
        return "Not better than a baseline", "warn"
    if "unclear" in stands:
        return "Not shown to be better", "warn"
    only = "the baseline" if len(stands) == 1 else "both baselines" if len(stands) == 2 else "all baselines"
    return (f"Better than {only}", "good") if set(stands) == {"better"} else (f"Ahead of {only}", "plain")


def _with_interval(figure: Estimate) -> str:
    return f"{figure.shown} (95 % interval {figure.interval})" if figure.interval else figure.shown


def _beside(judged: Score, name: str, stands: str) -> str:
    other, term = dict(judged.baselines)[name], baseline(name)
    places = decimals(judged.model.low, judged.model.high)
    said = f"The {term.name} baseline" + (f" ({term.meaning})" if term.meaning else "")
    said += f" has {fixed(other.value, places)}"
    value, against = judged.model.value, other.value
    if metric(judged.key).lower_is_better and value is not None and against is not None and against > 0.0:
        change = 1.0 - value / against
        said += f": the model's is {percent(change)} {'lower' if change >= 0.0 else 'higher'}"
    endings = {
        "ahead": "; the two intervals overlap, which on the same rows does not decide",
        "unclear": "; on these rows the difference may be chance",
    }
    return f"{said}{endings.get(stands, '')}."


def _in_words(result: Mapping[str, Any]) -> list[str]:
    evaluation = mapping(result.get("evaluation"))
    metrics = mapping(evaluation.get("metrics"))
    known = {key: value for key in metrics if (value := estimate(metrics[key]).value) is not None}
    if "auc" in known:
        ranked = percent(known["auc"])
        return [f"Of a random row of each class, it ranks the right one higher in {ranked} of cases (chance: 50 %)."]
    if "mae" in known:
        constant = estimate(mapping(mapping(evaluation.get("baselines")).get("constant")).get("mae")).value
        beside = "" if constant is None else f", those of the constant by {plain(constant)}"
        return [f"Its predictions are off by {plain(known['mae'])} on average{beside}."]
    return []


def _matters(result: Mapping[str, Any]) -> Answer:
    question, found = "What matters most?", shapes(result)
    if not found:
        return Answer(question, "Not in this result", "plain", ("The result holds no effects to order.",), "terms")
    unit = effect_scale(result.get("loss")).name
    named = [f"{shape.name} ({plain(shape.spread, 2)})" for shape in found[:_MOST_TERMS]]
    said = (
        f"Ordered by how far apart the effects of each term lie, in {unit}: {listed(named, _MOST_TERMS)}. Effects "
        "of few rows are uncertain: see the intervals.",
        "An effect says what the model has learned with the other columns held fixed. It is no proof of a cause, and "
        "columns that go together share what they explain.",
    )
    return Answer(question, listed([shape.name for shape in found[:3]], 3), "plain", said, "terms")


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
            f"The largest loss of one row is {first.loss}: row {first.row}, where {first.response} was predicted and "
            f"{first.label} came."
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
    label, response = number(one.get("mean_label")), number(one.get("mean_response"))
    return said + (
        "." if label is None or response is None else f"; predicted {plain(response)}, happened {plain(label)}."
    )


def _odd(result: Mapping[str, Any]) -> Answer:
    question = "What is odd in the data?"
    found = [finding for finding in findings(result) if finding.kind in ("data", "drift")]
    if not found:
        checked = _checked(result)
        if not checked:
            nothing = "The result holds no rows, notes or scores to check."
            return Answer(question, "Not checked", "plain", (nothing,), "rows")
        said = f"Checked: {listed(checked)}. Nothing stands out."
        return Answer(question, "Nothing that these checks see", "plain", (said,), "rows")
    short = count(len(found), "thing") + " to look at"
    return Answer(question, short, "warn", tuple(finding.what for finding in found), found[0].anchor)


def _checked(result: Mapping[str, Any]) -> list[str]:
    evaluation = mapping(result.get("evaluation"))
    checks = {
        "rows set aside": ledger(result) is not None,
        "columns left out": result.get("notes") is not None,
        "classes never seen": evaluation.get("unseen_classes") is not None,
        "drift": (judged := score(result)) is not None and judged.leave_one_out is not None,
        "scores too good to be true": bool(mapping(evaluation.get("metrics"))),
    }
    return [name for name, made in checks.items() if made]


def _next(result: Mapping[str, Any]) -> Answer:
    question = "What would I do next?"
    steps = [finding.do for finding in findings(result) if finding.do][:_MOST_ACTIONS]
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


def first_looks(result: Mapping[str, Any], most: int = 3) -> list[Finding]:
    """Return the most pressing findings: what to look at before the rest."""
    return findings(result)[:most]
