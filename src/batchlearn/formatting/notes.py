"""What is worth saying about a result, as a value: a code of a closed set and what it is about.

A program asks for the code; a person reads the one sentence that belongs to it. Sentences stand here and not in the
report, because records on disk keep them. Nothing takes a sentence apart again.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchlearn.errors import quoted
from batchlearn.formatting.backtest import SENTENCES as _OF_BACKTESTS
from batchlearn.formatting.codes import Code
from batchlearn.formatting.column_sentences import COLUMN_SENTENCES
from batchlearn.formatting.learners import SENTENCES as _OF_LEARNERS
from batchlearn.formatting.names import BASELINES, METRICS
from batchlearn.formatting.numbers import count, rounded_down, rounded_up
from batchlearn.formatting.retraining import SENTENCES as _OF_RETRAINING

__all__ = ["Code", "Note", "all_recorded", "joined", "recorded", "recorded_together"]

_MOST_NAMES = 5


@dataclass(frozen=True)
class Note:
    """A code with the plain values that its sentence names; as text it is that sentence."""

    code: Code
    values: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        sentence = _SENTENCES[self.code]
        return sentence.format_map(self.values) if isinstance(sentence, str) else sentence(**self.values)

    def to_json(self) -> dict[str, Any]:
        """Return code and values, beside which the sentence may stand; None for numbers that JSON does not have."""
        plain = {
            name: None if (isinstance(value, float) and not math.isfinite(value)) else value
            for name, value in self.values.items()
        }
        return {"code": self.code.value, "values": plain}


def all_recorded(record: Mapping[str, Any]) -> tuple[Note, ...]:
    """Return the notes of a record by their codes; the sentence as it stands where it is not what the code says.

    So it is with records of before there were codes, and with codes that only a newer program has.
    """
    codes = record.get("noted", [None] * len(record["notes"]))
    read = (recorded_together(said, noted and [noted]) for said, noted in zip(record["notes"], codes, strict=True))
    return tuple(note for notes in read for note in notes)


def recorded(text: str) -> Note:
    """Return what a record says in a sentence, which is shown as it is."""
    return Note(Code.RECORDED, {"text": text})


def joined(notes: Sequence[Note]) -> str:
    """Return the sentences of notes as one text."""
    return " ".join(map(str, notes))


def recorded_together(text: str, noted: Sequence[Mapping[str, Any]] | None, beginning: str = "") -> tuple[Note, ...]:
    """Return the notes whose `joined` sentences, after a beginning, are a text; else the text as it stands."""
    try:
        notes = tuple(Note(Code(one["code"]), one["values"]) for one in noted or ())
        return notes if notes and beginning + joined(notes) == text else (recorded(text),)
    except (KeyError, TypeError, ValueError):
        return (recorded(text),)


def _taken_as_number(column: str, values: int, counts: bool = False) -> str:
    said = (
        f"'{column}' holds {values} different numbers and was taken as a measurement, not as classes (--loss softmax)"
    )
    return f"{said} or as counts (--loss poisson)." if counts else f"{said}."


def _positive_class(label: str, other: str, share: float, why: str) -> str:
    reasons = {"rarer": "the rarer of the two classes", "later": "the later of two classes as frequent"}
    about = f"{reasons[why]}, {share:.2%} of the rows" if why in reasons else f"{share:.2%} of the rows"
    # A label that begins with a dash would be taken for a flag.
    typed = f"--positive{'=' if other.startswith('-') else ' '}{shlex.quote(other)}"
    return f"Positive is {quoted(label)}, {about}: its probability is predicted. The other way round: {typed}."


def _class_weights(weights: Mapping[str, float]) -> str:
    named = ", ".join(f"{label} {weight:.4g}" for label, weight in weights.items())
    return (
        f"Rows counted by class in training ({named}), and probabilities are corrected to how often classes occur: the "
        "logarithms of these weights were taken off the intercept. That is exact where the weighted model is right; "
        "look at the calibration. There is no leave-one-out."
    )


def _levels_by_case(column: str, levels: list[str], sets: int) -> str:
    named = ", ".join(map(quoted, levels[:_MOST_NAMES]))
    more = "" if sets == 1 else f", and {sets - 1:,} more such sets"
    return f"Levels of {column} differ in the case of letters alone and count apart ({named}{more}): write them alike."


def _missing_numbers(shares: Mapping[str, float]) -> str:
    columns = ", ".join(f"{name} ({share:.2%})" for name, share in shares.items())
    return f"Missing numbers count as the column's mean, with an indicator of their own: {columns}."


def _tweedie_power(power: float, rows: int, dispersion: float, near: str | None) -> str:
    said = (
        f"The Tweedie power {power:g} was chosen by profile likelihood on {rows:,} of the earlier rows "
        f"(dispersion {dispersion:.3g}); --power asks for another."
    )
    if near == "gamma":
        return f"{said} It is near 2: --loss gamma may fit, where no amount is 0."
    return f"{said} It is near 1: --loss poisson may fit." if near == "poisson" else said


def _classes_never_seen(rows: int, of: int, classes: Mapping[str, int], loss: float) -> str:
    names = ", ".join(quoted(name) for name in list(classes)[:_MOST_NAMES])
    names += ", and more" if len(classes) > _MOST_NAMES else ""
    return (
        f"{rows} of {of} held-out rows have a class that training never saw ({names}): each has a log loss "
        f"of {loss:.1f}, counts as wrong in the accuracy, and is left out of AUC, "
        "average precision and calibration."
    )


def _figures(difference: float, low: float, high: float) -> str:
    return f"{difference:+.4g} ({low:+.4g} to {high:+.4g})"


def _threshold_not_cheaper(threshold: float, than: str, saved: float, low: float | None, high: float | None) -> str:
    within = "" if low is None else f" ({low:+.4g} to {high:+.4g})"
    return (
        f"Deciding by the threshold {threshold:.3g} is not shown to be cheaper than {than}: it saves "
        f"{saved:+.4g}{within} a row."
    )


def _compared_on(rows: int, held_out: int, how: str | None) -> str:
    judged = "no rows were held out" if how is None else f"judged on {held_out:,} ({how})"
    return f"Contenders learn from {rows:,} rows; {judged}."


def _compared_terms(coefficients: int, model: str, alpha: float | None) -> str:
    if alpha is None:
        return (
            f"The model is the one that `train` would fit here: {model}, {coefficients:,} coefficients, a strength for "
            "each term."
        )
    return f"Terms enter as they are (linear encoding), {coefficients:,} coefficients, penalty alpha {alpha:.3g}."


def _model_told_apart(metric: str, other: str, difference: float, low: float, high: float, certified: bool) -> str:
    proof = ", and it is certified" if certified else ""
    lower = f"{-difference:.4g} ({-high:.4g} to {-low:.4g})"
    return f"Its {_name(metric)} is lower than that of {other}, the next one, by {lower}{proof}."


def _model_as_good(
    metric: str, other: str, difference: float, low: float | None, high: float | None, certified: bool
) -> str:
    proof = ", and certified" if certified else ""
    if low is None or high is None:
        return f"Too few rows tell it from {other} (difference in {_name(metric)} {difference:+.4g}){proof}."
    figures = _figures(difference, low, high)
    if difference < 0.0 and not certified:
        return f"Its {_name(metric)} is the smallest; its difference to {other}, {figures}, may be chance."
    return f"Not distinguishable from {other} here (difference in {_name(metric)} {figures}){proof}."


def _warm_start(rows: int, loss_bound: float, prediction_bound: float | None) -> str:
    moved = (
        ""
        if prediction_bound is None
        else f", and no prediction is off by more than {rounded_up(prediction_bound):.1e}"
    )
    return (
        f"The objective is within {rounded_up(loss_bound):.1e} of its minimum over all {rows:,} rows{moved}. Any other "
        "start that is certified ends in the same place: two fits differ by no more than the sum of their bounds."
    )


def _updated(rows: int, loss_bound: float, readings: int, some_went: bool) -> str:
    how = f"To prove it no old row{' that stays' if some_went else ''} was read."
    if readings:
        how = f"To prove it all rows were read {'once' if readings == 1 else f'{readings} times'}."
    return (
        f"The objective over all {rows:,} rows is within {rounded_up(loss_bound):.1e} of its minimum, "
        f"the one that a training from scratch with this encoding ends at. {how}"
    )


def _encoding_outgrown(reason: Mapping[str, Any] | str) -> str:
    # A text on records of before these reasons had codes.
    clause = reason if isinstance(reason, str) else str(Note(Code(reason["code"]), reason["values"]))
    return f"{clause[:1].upper()}{clause[1:]}: a training from scratch would give it one of its own."


def _files_empty(file: str, others: int) -> str:
    which = f"{quoted(file)} and {count(others, 'other file')} are" if others else f"{quoted(file)} is"
    return f"{which} empty and left out; rows that stand there later are new then."


def _rows_not_fetched(rows: int, column: str, share: float | None) -> str:
    said = f"{rows:,} rows of the query have no value in {quoted(column)} yet and are not learned from."
    return said if share is None else _with_late_labels(f"{said} Of the rows that were seen last", share)


def _with_late_labels(seen_last: str, share: float) -> str:
    return (
        f"{seen_last} only {share:.0%} have a label yet. Labels that are known early may differ from those that take "
        "longer, so a model of these rows may be off for the others: let rows rest with wait in [source], or let time "
        "be when the outcome is decided."
    )


def _set_aside(used: int, rejected: Mapping[str, int]) -> str:
    why = ", ".join(f"{rows:,} for {reason}" for reason, rows in rejected.items())
    return f"Trained on {used:,} rows; set aside were {why}."


def _name(code: str) -> str:
    """Write the name of a metric or baseline within a sentence, in ASCII: a short one where the field has it."""
    known = METRICS.get(code) or BASELINES.get(code)
    if known is None:
        return code
    return known.short if known.short and "_" not in code else known.name


def _repeated_rows(rows: int, share: float) -> str:
    if rows == 1:
        return f"1 row ({share:.2%}) repeats an earlier row in every column; it is kept."
    return f"{rows:,} rows ({share:.2%}) repeat an earlier row in every column; they are kept."


_SENTENCES: Mapping[Code, str | Callable[..., str]] = {
    Code.LEFT_OUT: "'{column}' was left out: {reason}.",
    Code.REPEATED_ROWS: _repeated_rows,
    Code.TAKEN_AS_NUMBER: _taken_as_number,
    Code.TAKEN_AS_RATE: "'{exposure}' is an exposure, so '{column}' was taken as a count for so much of it: the "
    "Poisson loss, a rate times the exposure (--loss poisson). For amounts there are --loss gamma and --loss tweedie.",
    Code.POSITIVE_CLASS: _positive_class,
    Code.UNEQUAL_WEIGHTS: "The weights are so unequal that {rows:,} rows say no more than {effective:,.1f} rows of "
    "equal weight would; look at the largest weights.",
    Code.CLASS_WEIGHTS: _class_weights,
    Code.RARE_CLASS: lambda rows, of, label: (
        f"Only {rows:,} of {of:,} rows {'is' if rows == 1 else 'are'} {label}: too few to tell what goes with it. "
        "Collect more before deciding by it."
    ),
    Code.MORE_COEFFICIENTS_THAN_ROWS: "There are more coefficients ({coefficients:,}) than rows ({rows:,}): the rows "
    "alone do not decide between models, the penalty does.",
    Code.HASHED_LEVELS: "{column} has more levels than can have a coefficient each: the {levels:,} most frequent have "
    "one, all others share {buckets:,} by a hash.",
    Code.NO_FEATURE: "No feature is left: the model is an intercept alone and predicts the same for every row.",
    Code.LEVELS_BY_CASE: _levels_by_case,
    Code.MISSING_NUMBERS: _missing_numbers,
    Code.TINY_NUMBERS: lambda columns: (
        f"Coefficients are for one standard deviation, not for one unit, of numbers so small: {', '.join(columns)}."
    ),
    Code.SAME_COLUMNS: "{first} and {second} repeat each other: the penalty shares their effect.",
    Code.MORE_SAME_COLUMNS: "{pairs:,} more pairs of columns repeat each other.",
    Code.HUBER_THRESHOLD: "The Huber threshold {threshold:g} is {factor} times a robust scale of the residuals of "
    "{rows:,} of the earlier rows; --threshold asks for another.",
    Code.TWEEDIE_POWER: _tweedie_power,
    Code.TWEEDIE_POWER_UNKNOWN: "The labels cannot tell a Tweedie power; {power:g} is used. Give another one with "
    "--power.",
    Code.NOTHING_HELD_OUT: "no rows were held out",
    Code.HELD_OUT: "Held out: {how}, {rows:,} of {of:,}.",
    Code.ONE_LABEL: "No evaluation: the earlier rows hold only the label {label:g} of '{column}'.",
    Code.NOT_EVALUATED: "No evaluation: {refusal}",
    Code.CLASSES_NOT_EARLIER: "{rows:,} held-out rows have a class that the earlier rows lack: they were left out of "
    "the evaluation.",
    Code.GROUPS_ON_BOTH_SIDES: "{both:,} of the {late:,} groups of '{column}' among the held-out rows are learned from "
    "too: the evaluation is for groups that are known. For new ones hold out whole groups (--split group).",
    Code.ONE_CLASS_HELD_OUT: "All held-out rows with a known class have label {label:g}: the AUC and the calibration "
    "slope are undefined, and the other figures say nothing of the other class.",
    Code.CLASSES_NEVER_SEEN: _classes_never_seen,
    Code.BASELINE_NOT_TOLD: lambda baseline: (
        f"There are too few rows to tell whether the model is better than the {_name(baseline)} baseline."
    ),
    Code.BASELINE_BETTER: lambda baseline, metric, difference, low, high: (
        f"The model is worse than the {_name(baseline)} baseline: {_name(metric)} {_figures(difference, low, high)}."
    ),
    Code.BASELINE_NOT_BEATEN: lambda baseline, metric, difference, low, high: (
        f"The model is not shown to be better than the {_name(baseline)} baseline: {_name(metric)} "
        f"{_figures(difference, low, high)}, an interval that includes no difference."
    ),
    Code.THRESHOLD_NOT_CHEAPER: _threshold_not_cheaper,
    Code.TRAINED_UNDER_CONDITION: "The model was trained on rows where {condition}; --where keeps such rows only.",
    Code.OWN_ROWS: "The model was trained on these very {rows:,} rows: the figures say how well it fits them, not how "
    "well it predicts others. Evaluate on later rows; what train printed is of rows held out.",
    Code.SAMPLED: "A sample of {rows:,} of {of:,} rows, drawn at random with seed {seed}.",
    Code.COMPARED_ON: _compared_on,
    Code.COMPARED_TERMS: _compared_terms,
    Code.OPTIMUM_OUT_OF_TIME: "The optimum that distances are measured from is where its solver stood after "
    "{seconds:.0f} seconds.",
    Code.COMPARISON_OUT_OF_TIME: "The comparison took more than {seconds:.0f} seconds, so larger batches or learning "
    "rates were left out; a smaller budget (--seconds) or fewer rows (--rows) make room for them.",
    Code.MODEL_TOLD_APART: _model_told_apart,
    Code.MODEL_AS_GOOD: _model_as_good,
    Code.NOTHING_PROVED: "Nothing is proved about this fit: {reason}.",
    Code.WARM_START: _warm_start,
    Code.UPDATED: _updated,
    Code.UPDATE_ESTIMATED: lambda lower, more: (
        f"A step that gains at least {rounded_down(lower, 3):.3g} for certain; how much more a training on all rows "
        f"would gain is an estimate, {more:.3g}."
    ),
    Code.FINE_TUNED: lambda loss_bound, predictor_bound: (
        f"Not the optimum of all rows: the objective over all rows is within {rounded_up(loss_bound, 3):.2e} of its "
        "minimum there, and no training row's linear predictor is off by more than "
        f"{rounded_up(predictor_bound, 3):.2e}."
    ),
    Code.FINE_TUNED_UNPROVED: "Not the optimum of all rows: how far is not proved; by the totals the objective over "
    "all rows, in total, is about {left:.2g} above it.",
    Code.ENCODING_OUTGROWN: _encoding_outgrown,
    Code.NEW_LEVEL: lambda level, column, rows: (
        f"level {quoted(level)} of '{column}' has {rows:,} new rows and no coefficient"
    ),
    Code.NEW_GROUP: "{rows:,} new rows have a {entry} of {of} that meets no coefficient",
    Code.NEW_SCALE: "with the new rows {column} deviates {times:.3g} times as much",
    Code.LATE_LABELS: lambda share, since: _with_late_labels(f"Of the rows seen last (since {since})", share),
    Code.FILES_EMPTY: _files_empty,
    Code.ROWS_NOT_FETCHED: _rows_not_fetched,
    Code.ROWS_WITHOUT_TIME: lambda rows, column: f"{rows:,} rows have no time in {quoted(column)} and are left out.",
    Code.NOT_FORGOTTEN: "Version {version}, which is live, was trained before the rows where {where} were forgotten, "
    "perhaps on them: promote a later version, or run `batchlearn forget` again.",
    Code.NO_BRACKET: "No bracket: {why}",
    Code.NO_BRACKET_WITHOUT_TOTALS: "No bracket: the champion kept no totals.",
    Code.NO_BRACKET_TOTALS_PRUNED: "No bracket: the champion's kept totals were pruned.",
    Code.BRACKET: "{bracket}",
    Code.JUDGED_BY_LATER_ROWS: "Judged by the rows seen after {after} that were labelled since the champion was "
    "trained.",
    Code.JUDGED_AGAIN: "Version {version} was judged again, by {rows:,} rows seen since the last look.",
    Code.LABELS_MISSING: "Of {rows:,} rows seen since the last look {without:,} lack a label, and those that are "
    "labelled early may not judge for the others. Name the column that says when labels were known (labelled in "
    "[source]), let rows rest longer (wait), or leave out those that never get one (where).",
    Code.LABELS_STILL_TO_COME: "Labels have taken up to {taken}, and none of {rows:,} labelled rows seen since the "
    "last look was seen so long ago. Before that they may not judge for others of their time, whose labels are still "
    "to come.",
    Code.LEFT_TO_PEOPLE: "{abstention}",
    Code.SET_ASIDE: _set_aside,
    Code.EARLIER_RUN_ENDED: "An earlier run was ended when version {version} was registered.",
    Code.GRADIENT_NOT_FINITE: "the gradient is not finite at these coefficients",
    Code.NO_SAFE_FACTOR: "the Hessian has no safe factor: {why}",
    Code.HUBER_WITHOUT_FACTOR: "the Huber loss needs a factor of the Hessian, and {coefficients} coefficients are too "
    "many",
    Code.TOO_MANY_TO_FACTOR: "{coefficients:,} coefficients are too many to factor and {why}",
    Code.MAY_CROSS_THRESHOLD: "a row may cross the threshold of its loss on the way to the optimum: it is not near "
    "enough",
    Code.NOT_NEAR_ENOUGH: "kappa * decrement is {product:.2g} and must be below 1: the optimum is not near enough",
    Code.MORE_ROWS_NEEDED: "kappa * decrement is {product:.2g} and must be below 1: more rows must be read",
    Code.TIME_SPENT: "the time for a solver was spent",
    Code.ANCHORED: "fine-tuning ends at the optimum of the new rows and an anchor, not at that of all rows",
    Code.LEARNED_ONE_BY_ONE: "each new row was learned once, one by one, which does not end at the optimum of all rows",
    Code.ROWS_NOT_KEPT: "its rows were learned one by one and were not kept",
    Code.RECORDED: "{text}",
    **_OF_LEARNERS,
    **_OF_RETRAINING,
    **_OF_BACKTESTS,
    **{Code(code): sentence for code, sentence in COLUMN_SENTENCES.items()},
}
