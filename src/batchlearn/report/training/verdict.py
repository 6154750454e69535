"""Is it finished, is it good: the two verdicts, each with the figures behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from batchlearn.evaluation.intervals import Estimate
from batchlearn.formatting.names import baseline, metric, predicts_probabilities
from batchlearn.formatting.numbers import KEPT_SPACE, at_most, count, fixed, percent, plain, small_share
from batchlearn.report.document import Answer
from batchlearn.report.training.data_summary import neighbours, neighbours_said, order_tells, target_name, yes
from batchlearn.report.training.findings import standing
from batchlearn.report.training.proof import gained_share, proved, refusal
from batchlearn.report.training.quality import Score, score
from batchlearn.report.values import interval, places_of, shown
from batchlearn.training.fit import Fit
from batchlearn.training.optimise import Status

_MOST_ZEROS = 9
_MOSTLY_TIED = 0.5
_GOOD = ("better", "ahead")


def finished(fit: Fit) -> Answer:
    """Say whether more training could improve the model, as far as that is proved."""
    question, bound, share = "Is this model finished?", fit.certificate.loss_bound, gained_share(fit)
    if fit.model.learned_by is not None:
        said = f"Nothing is proved: {refusal(fit)}. It ended by its own rule; the rows it has not seen judge it."
        return Answer(question, "By its own rule", "plain", (), "proof", (said,))
    if bound is None or proved(fit) is None:
        refused = f"No bound on the distance to the optimum could be given: {refusal(fit).rstrip('.')}."
        after = "The model may still be good; what is missing is the proof that training is at its end."
        return Answer(question, "Not proved", "warn", (after,), "proof", (refused,))
    of_gain = "" if share is None else f", {small_share(share)} of what training has gained over the mean"
    said = (
        f"The training loss over all {count(fit.certificate.rows, 'training row')} is proved to be at most "
        f"{at_most(bound)} above the lowest that any coefficients of these terms and this penalty can reach{of_gain}."
    )
    brief = (_plainly(fit, bound),)
    if fit.status is Status.TOLERANCE:
        end = "Training longer could change nothing beyond these bounds; other columns, terms or rows could."
        return Answer(question, "Yes, and it is proved", "good", (said, end), "proof", brief)
    if fit.status is Status.FLOOR:
        end = "That is above the tolerance, but rounding allows no better proof in double precision."
        return Answer(question, "As near as rounding allows", "plain", (said, end), "proof", brief)
    end = f"How it ended: {fit.status.value}."
    return Answer(question, "Proved, short of what was asked", "warn", (said, end), "proof", brief)


def _plainly(fit: Fit, bound: float) -> str:
    """Say what the certificate means before any word of the field."""
    finished = fit.status is Status.TOLERANCE
    said = f"{'Training is finished: no' if finished else 'No'} other coefficients can lower the training loss"
    share = bound / fit.objective if fit.objective > 0.0 else math.inf
    said += f" by more than {_tiny_percent(share)}" if share < 1.0 else f" by more than {at_most(bound)}"
    prediction = fit.certificate.prediction_bound
    if prediction is None:
        return f"{said}."
    if predicts_probabilities(fit.model.loss):
        moved = f"{at_most(100.0 * prediction)} percentage points"
    else:
        moved = f"{at_most(prediction)} in units of {target_name(fit)}"
    return f"{said}, and no prediction for a training row would differ by more than {moved}."


def _tiny_percent(share: float) -> str:
    """Write a small share in full, rounded up to its first digit: 0.0000003 %."""
    size = 100.0 * share
    if size < 10.0**-_MOST_ZEROS:
        return "a billionth of a per cent" if size > 0.0 else f"0{KEPT_SPACE}%"
    places = max(-math.floor(math.log10(size)), 0)
    return f"{math.ceil(size * 10.0**places * (1.0 - 1e-12)) / 10.0**places:.{places}f}{KEPT_SPACE}%"


def good(fit: Fit) -> Answer:
    """Say what the model is worth: first beside the constant, then beside what else was tried."""
    question, judged = "Is it good?", score(fit.evaluation)
    if judged is None:
        nothing = "No rows were held out, so nothing here says how it does on rows that it has not seen."
        return Answer(question, "Not measured", "warn", (), "scores", (nothing,))
    stands = {name: standing(fit, judged, name) for name in judged.baselines}
    short, tone = _verdict(judged, stands)
    first = f"Its {judged.name} on {count(judged.rows, 'held-out row')} is {_with_interval(judged.model)}."
    beside = {name: _beside(judged, name, stands[name]) for name in stands}
    brief = [first, *(said for name, said in beside.items() if name == "constant"), *_in_words(fit)]
    brief += [said for name, said in beside.items() if name != "constant"]
    if stands.get("last_value") in ("worse", "unclear"):
        why, found = "it knows the label of the row just before", neighbours(fit)
        if found is not None and found.tied >= _MOSTLY_TIED:
            why += f", in {percent(found.tied)} of cases a row of the same time"
        if order_tells(fit):
            why += ", and the order of rows of equal times gives labels away"
        brief.append(f"That baseline may be no fair rival: {why}. Check when labels become known before you compare.")
    said, told = [], order_tells(fit)
    reason = neighbours_said(fit) if told is None else "".join(told)
    if reason and "last_value" in stands:
        said.append(reason)
    said.append("Whether that is good enough depends on what a wrong prediction costs; these figures do not know it.")
    return Answer(question, short, tone, tuple(said), "scores", tuple(brief))


def _verdict(judged: Score, stands: Mapping[str, str]) -> tuple[str, str]:
    found = list(stands.values())
    if not found or "unknown" in found:
        return "Measured, without a comparison", "plain"
    others = [stand for name, stand in stands.items() if name != "constant"]
    if stands.get("constant") in _GOOD and ("worse" in others or "unclear" in others):
        gain = _gain(judged, "constant")
        far = "Better than the base rates" if gain is None else f"{percent(gain)} better than a constant"
        behind = baseline(next(name for name, stand in stands.items() if stand in ("worse", "unclear"))).name
        return f"{far}, {'behind' if 'worse' in others else 'not shown to beat'} the {behind}", "warn"
    if "worse" in found:
        return "Not better than a baseline", "warn"
    if "unclear" in found:
        return "Not shown to be better", "warn"
    only = "the baseline" if len(stands) == 1 else "both baselines" if len(stands) == 2 else "all baselines"
    return (f"Better than {only}", "good") if set(found) == {"better"} else (f"Ahead of {only}", "plain")


def _gain(judged: Score, name: str) -> float | None:
    """Return the share of a baseline's loss that the model removes, where lower is better."""
    value, against = judged.model.value, judged.baselines[name].value
    if not metric(judged.key).lower_is_better or value is None or against is None or against <= 0.0:
        return None
    return 1.0 - value / against


def _with_interval(figure: Estimate) -> str:
    between = interval(figure)
    return f"{shown(figure)} (95 % interval {between})" if between else shown(figure)


def _beside(judged: Score, name: str, stands: str) -> str:
    other, term = judged.baselines[name], baseline(name)
    said = f"The {term.name} baseline" + (f" ({term.meaning})" if term.meaning else "")
    said += f" has {fixed(other.value, places_of(judged.model))}"
    change = _gain(judged, name)
    if change is not None:
        said += f": the model's is {percent(change)} {'lower' if change >= 0.0 else 'higher'}"
    endings = {
        "ahead": "; the two intervals overlap, which on the same rows does not decide",
        "unclear": "; on these rows the difference may be chance",
    }
    return f"{said}{endings.get(stands, '')}."


def _in_words(fit: Fit) -> list[str]:
    evaluation = fit.evaluation
    if evaluation is None:
        return []
    known = {key: one.value for key, one in evaluation.metrics.items() if one.value is not None}
    constant = {key: one.value for key, one in evaluation.baselines.get("constant", {}).items()}
    said = []
    if "auc" in known:
        pair = f"a row of {yes(fit)} and one of the other class"
        said.append(f"Of {pair}, it ranks the right one higher in {percent(known['auc'])} of cases (chance: 50 %).")
    elif "accuracy" in known:
        always = constant.get("accuracy")
        beside = "" if always is None else f"; always saying the most frequent one is right in {percent(always)}"
        said.append(f"The likeliest class is the true one in {percent(known['accuracy'])} of rows{beside}.")
    if "mae" in known:
        always = constant.get("mae")
        beside = "" if always is None else f", those of the constant by {plain(always)}"
        said.append(f"Its predictions are off by {plain(known['mae'])} on average{beside}.")
    return said
