"""What a reader should look at first: each finding with its figures and what to do about it.

The thresholds only decide what is pointed out; every figure stands in its section whether it is or not.
"""

from __future__ import annotations

from collections.abc import Iterator

from batchlearn.formatting.names import baseline, metric
from batchlearn.formatting.notes import Code
from batchlearn.formatting.numbers import count, fixed, listed, percent, plain
from batchlearn.formatting.rejections import Rejection
from batchlearn.report.document import Finding
from batchlearn.report.terms.columns import remark_of
from batchlearn.report.training.data_checks import data_checks
from batchlearn.report.training.data_summary import repeated_share
from batchlearn.report.training.proof import proved, refusal
from batchlearn.report.training.quality import Score, bins_off, score
from batchlearn.report.training.worst import slice_list, slice_name
from batchlearn.report.values import LONGEST_SENTENCE, places_of, short, shown
from batchlearn.training.fit import Fit
from batchlearn.training.optimise import Status
from batchlearn.training.summary.leaks import too_good

_FEW_ROWS = 200
# Below this a set-aside or miscounted share is not worth a reader's first minute.
_SHARE_WORTH_SAYING = 0.01
_RATIO_WORTH_SAYING = 0.05
# Of ten groups one or more is off by chance in two reports of five; three or more in one of a hundred.
_GROUPS_OFF = 3
# Where the slope is so near to 1, predictions that are off in sum are off by one factor.
_SLOPE_NEAR_ONE = 0.05


def findings(fit: Fit) -> list[Finding]:
    """Return what stands out, the most pressing first."""
    looks = (
        _of_proof,
        _of_score,
        _too_good,
        _of_calibration,
        _of_drift,
        _of_slices,
        _of_rows,
        data_checks,
        _of_columns,
    )
    return sorted((found for look in looks for found in look(fit)), key=lambda finding: -finding.weight)


def standing(fit: Fit, judged: Score, name: str) -> str:
    """Say how the model stands beside a baseline: better, ahead, unclear, worse or unknown."""
    lower_is_better, model, other = metric(judged.key).lower_is_better, judged.model, judged.baselines[name]
    if lower_is_better is None or model.value is None or other.value is None or fit.evaluation is None:
        return "unknown"
    paired = fit.evaluation.differences.get(name)
    if paired is not None:
        if paired.low is None or paired.high is None:
            return "unclear"
        low, high = (paired.low, paired.high) if lower_is_better else (-paired.high, -paired.low)
        return "better" if high < 0.0 else "worse" if low > 0.0 else "unclear"
    sign = 1.0 if lower_is_better else -1.0
    if sign * (model.value - other.value) >= 0.0:
        return "worse"
    ends = (model.high, other.low) if lower_is_better else (model.low, other.high)
    apart = ends[0] is not None and ends[1] is not None and sign * (ends[0] - ends[1]) < 0.0
    return "better" if apart else "ahead"


def _of_proof(fit: Fit) -> Iterator[Finding]:
    if fit.model.learned_by is not None:
        return  # nothing that anybody could do about it
    if proved(fit) is None:
        what = f"It is not proved that training is finished: {refusal(fit).rstrip('.')}."
        do = "Do what the reason asks for; a larger penalty (--alpha) makes a proof easier."
        yield Finding("proof", 90, what, "", do, "proof")
    elif fit.status not in (Status.TOLERANCE, Status.FLOOR):
        what = f"The proof falls short of what was asked: {fit.status.value}."
        do = "Ask for a larger --tolerance, or for a larger penalty (--alpha)."
        yield Finding("proof", 70, what, "", do, "proof")


def _of_score(fit: Fit) -> Iterator[Finding]:
    judged = score(fit.evaluation)
    if judged is None:
        what = "No score on held-out rows: nothing here says how the model does on rows it has not seen."
        yield Finding("score", 80, what, "", "Hold rows out (--holdout), or run evaluate on later rows.", "scores")
        return
    for name in judged.baselines:
        term, stands = baseline(name), standing(fit, judged, name)
        if stands == "worse":
            what = f"Its {judged.name} is not better than that of the {term.name} baseline ({term.meaning})."
            yield Finding("score", 100, what, "", _do_about(name), "scores")
        elif stands == "unclear":
            what = f"The held-out rows do not show that it is better than the {term.name} baseline."
            yield Finding("score", 75, what, "", "Judge it on more rows before putting it to use.", "scores")
    if judged.rows < _FEW_ROWS:
        what = f"Only {count(judged.rows, 'row')} held out: every score here is uncertain."
        yield Finding("score", 50, what, "", "Judge it on more rows as they come.", "scores")


def _do_about(name: str) -> str:
    if name == "last_value":
        return (
            "The last-value baseline is suspiciously strong: check the order of the rows, ties in the time column, "
            "repeated rows, and when labels become known. Only where the label of the row just before is known in time "
            "is it a rival; then make it a column."
        )
    return f"Do not put it to use: the {baseline(name).name} baseline is simpler and does not do worse."


def _too_good(fit: Fit) -> Iterator[Finding]:
    key = too_good(fit.evaluation)
    if key is not None and fit.evaluation is not None:
        value = fit.evaluation.metrics[key].value
        what = f"Its {metric(key).name} of {plain(value, 4)} is nearly perfect, which real columns seldom allow"
        do = "Check that no column is filled in after the answer is known; drop the ones that are (--drop)."
        yield Finding("data", 85, what, ".", do, "terms")


def _of_calibration(fit: Fit) -> Iterator[Finding]:
    off, groups = bins_off(fit.evaluation)
    found = None if fit.evaluation is None else fit.evaluation.calibration
    if off < _GROUPS_OFF or found is None:
        return
    ratio, slope = found.observed_over_expected, found.slope
    what = f"Predictions are off: {off} of {groups} groups of rows turned out otherwise than predicted, beyond chance"
    if ratio is not None and abs(ratio - 1.0) >= _RATIO_WORTH_SAYING:
        side = "too low" if ratio > 1.0 else "too high"
        what += f"; in sum, what happened is {fixed(ratio, 2)} times what was predicted: {side}."
        do = "Do not take predictions as amounts yet: train on more recent rows, or calibrate them on such rows"
        if slope is not None and abs(slope - 1.0) > _SLOPE_NEAR_ONE:
            extreme = "extreme" if slope < 1.0 else "timid"
            do += f". One factor would not do: they are too {extreme} as well (slope {fixed(slope, 2)})"
        yield Finding("calibration", 72, what, "", f"{do}.", "calibration")
    else:
        what += ", though in sum they are right." if ratio is not None else "."
        do = "See which groups: effects that bend, or pairs of columns, may be missing from the model."
        yield Finding("calibration", 40, what, "", do, "calibration")


def _of_drift(fit: Fit) -> Iterator[Finding]:
    side = drift(fit)
    if side is None:
        return
    what = f"On later rows it does {side} than on the rows it learned from, by more than chance would."
    but = drift_doubt(fit)
    if but and side == "worse":
        yield Finding("drift", 35, what, f" {but}", "Mend the repeated rows, then look again.", "scores")
        return
    do = "Judge it again on later rows; if the gap grows, train again more often." if side == "worse" else ""
    yield Finding("drift", 65 if side == "worse" else 25, what, "", do, "scores")


def drift_doubt(fit: Fit) -> str | None:
    """Say why the leave-one-out score of these rows is too good, where it is: then a gap is no proof of drift."""
    repeated = repeated_share(fit)
    if repeated < _SHARE_WORTH_SAYING:
        return None
    return (
        f"How much of that is drift cannot be told: {percent(repeated)} of rows repeat an earlier one, and a row that "
        "is left out while its copy stays in is no test, so the leave-one-out score is too good to compare with."
    )


def drift(fit: Fit) -> str | None:
    """Return "worse" or "better" where later rows fare so by more than chance allows."""
    return None if fit.evaluation is None or fit.evaluation.drift is None else fit.evaluation.drift.side


def drift_sentence(fit: Fit, judged: Score | None) -> str | None:
    """Compare the leave-one-out score with the held-out one, and say what the gap may mean where rows are later."""
    if judged is None or judged.leave_one_out is None or fit.evaluation is None:
        return None
    inside_said = fixed(judged.leave_one_out.estimate.value, places_of(judged.model))
    inside = f"The leave-one-out {judged.name} of the rows it learned from is {inside_said}"
    gap = fit.evaluation.drift
    if gap is None:
        return f"{inside}; on held-out rows it is {shown(judged.model)}."
    apart = (
        f"{inside}; on later rows it differs by {plain(gap.value)} ({plain(gap.low)} to {plain(gap.high)}, a 98 % "
        "interval with both errors counted)"
    )
    if gap.side is None:
        return f"{apart}, which may be chance: this comparison alone shows no drift."
    but = drift_doubt(fit) if gap.side == "worse" else None
    if but:
        return f"{apart}, which is {gap.side}. {but}"
    return (
        f"{apart}, which is {gap.side}: the later rows differ from the earlier ones, a sign of drift. Where nothing "
        "changed, one table in a hundred would say so."
    )


def _of_slices(fit: Fit) -> Iterator[Finding]:
    found = slice_list(fit.evaluation)
    if fit.evaluation is None or not found:
        return
    first = found[0]
    rows, loss = percent(first.rows / fit.evaluation.rows), percent(first.share_of_loss)
    what = f"It is weakest where {slice_name(first)}: {rows} of the held-out rows carry {loss} of the loss"
    if len(found) > 1:
        what += f"; next where {listed([slice_name(one) for one in found[1:3]])}"
    do = f"Look for columns that tell the rows with {slice_name(first)} apart."
    yield Finding("slice", 60, f"{what}.", "", do, "slices")


def _of_rows(fit: Fit) -> Iterator[Finding]:
    aside = [("without a label", fit.rows.unlabelled)]
    aside += [(why.value, rows) for why, rows in fit.rows.rejected.items() if why is not Rejection.EXCLUDED]
    for said, rows in aside:
        if rows and rows >= _SHARE_WORTH_SAYING * fit.rows.read:
            share, are = percent(rows / max(fit.rows.read, 1)), "are" if rows != 1 else "is"
            what = f"{count(rows, 'row')} ({share}) {are} not learned from"
            do = "Make sure that these rows are not the ones that matter."
            yield Finding("data", 45, what, f": {said}.", do, "rows")
    unseen = {} if fit.evaluation is None else fit.evaluation.unseen_classes
    if unseen:
        what = f"{count(sum(unseen.values()), 'held-out row')} have a class that training never saw"
        do = "Train on rows that have these classes, or join them to others."
        yield Finding("data", 55, what, f": {listed(list(map(short, unseen)), 3)}.", do, "scores")


def _of_columns(fit: Fit) -> Iterator[Finding]:
    # That the column of times is no feature is as it should be.
    out = {name: reason for name, reason in left_out(fit).items() if name != fit.model.roles.time}
    out |= {use.name: "see there" for use in fit.columns if use.remarks and not use.used and use.name not in out}
    if out:
        verb = "was" if len(out) == 1 else "were"
        named = listed([f"{name} ({reason})" for name, reason in out.items()], 3)
        do = "See the reasons; mend the columns that should have counted."
        yield Finding("data", 20, f"{count(len(out), 'column')} {verb} left out", f": {named}.", do, "notes")


def left_out(fit: Fit) -> dict[str, str]:
    """Return the columns that were left out, each with its reason."""
    return {note.values["column"]: note.values["reason"] for note in fit.notes if note.code is Code.LEFT_OUT}


def special_columns(fit: Fit) -> list[tuple[str, str]]:
    """Return the columns that were left out, and what is said of those read in a special way, which names them."""
    out = [(short(name), short(reason, LONGEST_SENTENCE)) for name, reason in left_out(fit).items()]
    said = ((use, remark_of(use)) for use in fit.columns if use.name not in left_out(fit) or use.used)
    return [*out, *(("", short(text, LONGEST_SENTENCE)) for use, text in said if text)]


def other_notes(fit: Fit) -> list[str]:
    """Return the notes of training and evaluation but those on columns left out."""
    notes = [*fit.notes, *(() if fit.evaluation is None else fit.evaluation.notes)]
    return [short(str(note), LONGEST_SENTENCE) for note in notes if note.code is not Code.LEFT_OUT]
