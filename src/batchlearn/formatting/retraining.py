"""The sentences of retraining: why it is time or not, what the gate found, what should not be, what went live."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from batchlearn.errors import quoted
from batchlearn.formatting.codes import Code

_CLOCKS = {"data": "of the data", "wall": "on the wall"}
_NAMED = 3
_LABELS = "Correct the labels or leave such rows out; if it is meant, set loss in [recipe] and promote by hand."
_MOST_COLUMNS = 10


def _some(files: Sequence[str]) -> str:
    more = f" and {len(files) - _NAMED:,} more" if len(files) > _NAMED else ""
    return f"{', '.join(map(quoted, files[:_NAMED]))}{more}"


def _due(before: str, after: str) -> Callable[..., str]:
    """Return the sentence of a period by the clock that counts, with what the other one shows beside it."""

    def said(periods: float, period: str, rows: int = 0, clock: str | None = None, other: float | None = None) -> str:
        by = "" if clock is None else f" by the clock {_CLOCKS[clock]}"
        beside = ""
        if clock is not None and other is not None:
            beside = f" ({other:.2f} by that {_CLOCKS['wall' if clock == 'data' else 'data']})"
        since = f"{periods:.2f} times the period of {period} has passed{by}{beside} since the last training"
        return f"{before}{since}{after.format(rows=rows)}"

    return said


def _watched(before: str, found: str) -> Callable[..., str]:
    """Return the sentence of a watch over blocks of rows: the odds against no change, and those it waits for."""

    def said(blocks: int, rows: int, odds: float, needed: float, column: str | None = None) -> str:
        most = "" if column is None else f", most of all in column {quoted(column)}"
        odds = min(odds, 1e6)
        return (
            f"{before} {blocks:,} blocks of {rows:,} rows or more {found}{most} (odds {odds:.3g} : 1, of {needed:g})."
        )

    return said


def _forecast(due: str) -> Callable[..., str]:
    """Return the sentence of what a retrain is forecast to save beside its price."""

    def said(worth: float, expected: float, error: float, price: float, rows: int, pairs: int) -> str:
        from_versions = f"{pairs} pair{'' if pairs == 1 else 's'} of versions"
        return (
            f"{due}: on as many rows as have come ({rows:,}) a training is forecast, from {from_versions} and the rows "
            f"that came, to save a loss of {expected:.3g} (standard error {error:.3g}); what may be saved, by its "
            f"chance, is {worth:.4g}, and a training costs as much as {price:g}."
        )

    return said


def _few_blocks(rows: int, blocks: int, rows_each: int, needed: int) -> str:
    named = f"{blocks} block{'s' * (blocks > 1)} of time with {rows_each} rows or more"
    return f"{rows:,} later rows make {named}; {needed} are needed."


def _losses_compared(  # noqa: PLR0913, PLR0917 - the figures of one comparison
    rows: int,
    champion: float,
    difference: float,
    low: float | None,
    high: float | None,
    alpha: float,
    margin: float | None,
    rows_needed: float | None,
    against: str,
    negative: bool,
) -> str:
    """Say which loss is lower and by how much; where no loss is negative none can fall by more than 100 %."""
    losses = f"the challenger's loss is {champion + difference:.5g}, the {against}'s {champion:.5g}"
    change = _change(difference, champion)
    if low is None or high is None:
        found = f"{change}, without an interval yet"
    else:
        least = low if negative else max(low, -champion)
        if least * high > 0.0:
            nearer, farther = sorted((abs(least), abs(high)))
            interval = f"{_size(nearer, champion)} to {_change(math.copysign(farther, difference), champion)}"
        else:
            interval = f"{_change(least, champion)} to {_change(high, champion)}"
        found = f"{change} ({100 * (1 - alpha):g} % interval: {interval})"
    said = f"On {rows:,} later rows {losses}: {found}"
    said += f", with a margin of {margin:.4g} of the {against}'s loss." if margin else "."
    if rows_needed is not None:
        said += f" If it stays so, about {_two_digits(rows_needed)} rows would show it."
    return said


def _worse_than_constant(
    who: str, rows: int, constant: float, difference: float, low: float | None, high: float | None, alpha: float
) -> str:
    said = (
        f"On {rows:,} judging rows the {who}'s loss is {constant + difference:.5g}, that of a constant {constant:.5g}"
    )
    if low is None or high is None:
        return f"{said}: {_change(difference, constant)}, without an interval yet."
    interval = f"{100 * (1 - alpha):g} % interval: {_change(low, constant)} to {_change(high, constant)}"
    chance = "" if low >= 0.0 else ", which chance may explain"
    return f"{said}: {_change(difference, constant)} ({interval}){chance}."


def _evidence_needed(
    rows: int, needed: int, share: float | None, now: float, more_rows: int | None, time: float | None, in_days: bool
) -> str:
    said = f"{rows:,} rows judged; if what they show stays so, about {_two_digits(needed)} would decide"
    if more_rows is None:
        return (
            f"{said}. So few judge at share = {now:g} because rows of one time stay together; times in finer steps, or "
            "the rows of the next one, give more."
        )
    larger = "" if share is None else f"share = {share:g} in [gate] on the rows there are, or "
    unit = "days" if in_days else "units of the time column"
    took = "" if time is None else f", which at their rate come in about {_two_digits(time)} {unit}"
    return f"{said}: {larger}about {_two_digits(more_rows)} more labelled rows at share = {now:g}{took}."


def _two_digits(amount: float) -> str:
    """Write an amount rounded up to its first two digits."""
    step = 10.0 ** max(len(str(int(amount))) - 2, 0) if amount >= 1.0 else 0.1
    return f"{math.ceil(amount / step) * step:,g}" if step < 1.0 else f"{math.ceil(amount / step) * int(step):,}"


def _change(difference: float, level: float) -> str:
    if difference == 0.0:
        return "no difference"
    return f"{_size(abs(difference), level)} {'lower' if difference < 0.0 else 'higher'}"


def _size(difference: float, level: float) -> str:
    return f"{100 * difference / level:.3g} %" if level > 0.0 else f"{difference:.3g}"


def _kind(kind: Mapping[str, Any]) -> str:
    several = f"of {kind['classes']} classes" if "classes" in kind else f"with the loss {kind['loss']}"
    return f"a model {several}"


def _process_failed(exit_code: int, last_line: str | None) -> str:
    how = f"was ended by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
    return f"The new process {how}{'' if last_line is None else f': {quoted(last_line, 600)}'}."


def _columns_changed(came: list[str], gone: list[str], kinds: Mapping[str, list[str | None]]) -> str:
    said = [
        *([f"new are {_listed(came)}, which a training from scratch may use"] if came else []),
        *([f"gone are {_listed(gone)}"] if gone else []),
        *(
            f"{quoted(name)} was {before or 'of no kind'} and is {now or 'of no kind'}"
            for name, (before, now) in list(kinds.items())[:_MOST_COLUMNS]
        ),
    ]
    return f"Of the columns that the live version does not read {'; '.join(said)}."


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_COLUMNS:,} more" if len(names) > _MOST_COLUMNS else ""
    return ", ".join(map(quoted, names[:_MOST_COLUMNS])) + more


SENTENCES: Mapping[Code, str | Callable[..., str]] = {
    Code.FIRST_VERSION: "There is no version yet.",
    Code.NOTHING_TO_LEARN: "There is no version yet, and no row has a label to learn from.",
    Code.NEVER_AGAIN: "The policy is never to train again.",
    Code.CLOCK_WENT_BACK: "The clock is before the last training; nothing is due.",
    Code.PERIOD_NOT_OVER: _due("Not due: ", "."),
    Code.PERIOD_WITHOUT_LABELS: _due("Due, but no row to learn from has come: ", "."),
    Code.PERIOD_OVER: _due("Due: ", ", and {rows:,} rows to learn from have come."),
    Code.FEW_NEW_LABELS: "Not due: {rows:,} of {needed:,} rows to learn from have come since the last training.",
    Code.ENOUGH_NEW_LABELS: "Due: {rows:,} of {needed:,} rows to learn from have come since the last training.",
    Code.LEARNED_NOT_ON_RECORD: "Not due: it is not on record how many rows the last training knew.",
    Code.POLICY_CANNOT_SEE: "The policy cannot look at the rows that came: {refusal}",
    Code.TOO_FEW_BLOCKS: "Not due: {blocks} blocks of {rows:,} rows or more have come since the last training; "
    "{needed} are needed before a change can be told.",
    Code.LOSSES_STEADY: _watched("Not due: in", "the loss of the live model shows no rise"),
    Code.LOSSES_ROSE: _watched("Due: in", "the loss of the live model has risen"),
    Code.NO_DRIFT: _watched("Not due: in", "rows differ from those of the last training no more than those did"),
    Code.DRIFTED: _watched("Due: in", "rows differ more and more from those of the last training"),
    Code.GAIN_NOT_KNOWN: "Not due: what a training would gain is not known.",
    Code.GAIN_SMALL: "Not due: a training would gain {times:.3g} times what it would in an unchanged world; the policy "
    "waits for {needed:g}.",
    Code.GAIN_LARGE: "Due: a training would gain {times:.3g} times what it would in an unchanged world, and the policy "
    "waits for {needed:g}.",
    Code.GAIN_BELOW_PRICE: "Not due: on so many rows as have come ({rows:,}) a training would save a loss of "
    "{gain:.4g}, and costs as much as {price:g}.",
    Code.GAIN_ABOVE_PRICE: "Due: on so many rows as have come ({rows:,}) a training would save a loss of "
    "{gain:.4g}, and costs as much as {price:g}.",
    Code.FORECAST_BELOW_PRICE: _forecast("Not due"),
    Code.FORECAST_ABOVE_PRICE: _forecast("Due"),
    Code.ASKED_FOR: "Asked for, whatever the policy says.",
    Code.TRAINED_WITHOUT: "Trained again without the {rows:,} rows where {where}: {why}",
    Code.NO_CHAMPION: "There is no champion yet.",
    Code.AWAITS_LABELS: "It is judged by rows that are labelled from now on.",
    Code.NO_LABELS_SINCE: "No row was labelled since the champion was trained.",
    Code.LABELS_OF_ONE_TIME: "The {rows:,} rows labelled since the champion was trained were all seen at one time.",
    Code.JUDGING_ROWS_UNUSABLE: "The rows before those that judge, or these, cannot be used: {refusal}",
    Code.NO_LABEL_YET: "No later row has a label yet.",
    Code.LOSS_NOT_FINITE: "The challenger's loss is not finite in {failed:,} of {rows:,} rows.",
    Code.SAME_LOSSES: "The challenger's losses are the champion's on all {rows:,} rows, so there is nothing to gain.",
    Code.JUDGED_BY_ONE_CLASS: "All {rows:,} rows are of one class; a model is judged by rows of both.",
    Code.FEW_OF_A_CLASS: "Only {rarer} of {rows:,} rows are of another class than the commonest; {needed} are needed.",
    Code.FEW_BLOCKS: _few_blocks,
    Code.FEW_LOOKS: "{complete} of the looks so far have {rows_each} rows or more; {needed} are needed.",
    Code.LOSSES_COMPARED: _losses_compared,
    Code.LOOKS_CORRELATED: "Successive looks may be correlated by {correlation:.2f}; above {largest} they say too "
    "little.",
    Code.NEXT_TEST: "This is after {looks} looks; the next test is after {next}.",
    Code.EARLIER_LOOKS_DROPPED: "{looks} looks of an earlier release, whose test did not keep its rate, do not count.",
    Code.WORSE_THAN_CONSTANT: _worse_than_constant,
    Code.EVIDENCE_NEEDED: _evidence_needed,
    Code.CONSTANT_STOOD_IN: "The champion cannot score these rows ({why}); a constant prediction stood in for it.",
    Code.NO_CONTEST: "Rows were removed, which is no contest: this version takes the place of version {champion} "
    "without a proof that it is better. The losses of the two were not compared.",
    Code.PAST_CHANGED: "Of the rows with a known label there were {before:,} at the last training, and with times up "
    "to then there are {now:,} now: rows came late or are gone, or [source] was changed.",
    Code.ROWS_REPLACED: lambda changed, gone, files: (
        f"Of the rows of the last training {changed:,} stand with other values now and {gone:,} are gone: "
        f"{_some(files)}."
    ),
    Code.LATER_THAN_LATENESS: "{rows:,} rows landed later than lateness in [source] says, the earliest of {since}.",
    Code.TOTALS_FOUND_AGAIN: lambda rows, files: (
        f"Rows that the champion was trained on were replaced or are gone ({_some(files)}), so its totals were found "
        f"again at its coefficients over the {rows:,} rows that stand there now; the new ones were added to them."
    ),
    Code.START_FELL_BACK: 'Twin and version are trained with start = "{start}" instead of "{asked}", which was refused '
    "for the {of} ({code}): {refusal}",
    Code.COLUMNS_UNFIT: "The source lacks what version {version} reads, so nothing was trained and it stays live. "
    "{refusal} If that is meant to stay so, train without it: `batchlearn retrain --anyway`.",
    Code.COLUMNS_CHANGED: _columns_changed,
    Code.CHAMPION_CANNOT_SCORE: "The champion cannot score the later rows: {why}.",
    Code.ANOTHER_KIND: lambda kind, champion: (
        f"The labels make it {_kind(kind)}, and the champion is {_kind(champion)}. {_LABELS}"
    ),
    Code.ANOTHER_KIND_JUDGED: lambda kind, judged: (
        f"With the labels of the judging rows it is {_kind(kind)}; what was judged, without them, is {_kind(judged)}. "
        f"{_LABELS}"
    ),
    Code.NO_CERTIFICATE: "The version has no certificate: {reason}.",
    Code.FIRST_GOES_LIVE: "The first version goes live: nobody is displaced.",
    Code.OVERTAKEN: "Another version went live while this one was judged (generation {generation}); train again.",
    Code.NOT_REHEARSED: "It does not go live: {why}",
    Code.REVIEWS_SPENT: "The budget of {budget} reviews this month is spent, so nobody is asked.",
    Code.SAME_BITS: "A new process scored all {rows:,} sample rows to the same bits.",
    Code.OTHER_BITS: "The new process scored {rows:,} of {of:,} rows otherwise, by up to {most:.3g}.",
    Code.OTHER_SHAPE: "The new process gave responses of shape {shape}, where {expected} was expected.",
    Code.NO_RESPONSES: "The new process wrote something that is no table of responses.",
    Code.PROCESS_LATE: "The new process had not scored the sample rows after {seconds:g} s.",
    Code.PROCESS_FAILED: _process_failed,
    Code.CHOICE_COMPARED: lambda rows, chosen, instead_of, difference, low, high, alpha: (
        f"On {rows:,} rows labelled since the loss of version {chosen}, which the person chose, minus that of version "
        f"{instead_of}: {difference:+.4g} ({100 * (1 - alpha):g} % interval, however often one looks: {low:+.4g} to "
        f"{high:+.4g})."
    ),
    Code.CHOICE_OPEN: "{rows:,} rows were labelled since. {verdict}",
}
