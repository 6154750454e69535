"""Where the model is worse than elsewhere: levels whose rows lose more, and the rows that it got most wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchlearn.report.estimate import Estimate
from batchlearn.report.plots import Entry, Forest, Heading, Interval, forest
from batchlearn.report.training.facts import outcome, target_name
from batchlearn.report.training.quality import Score
from batchlearn.report.values import key_text, mapping, number, records, text, texts, whole
from batchlearn.words.names import predicts_probabilities
from batchlearn.words.numbers import MINUS, count, percent, plain

_MOST_SLICES_AT_FIRST = 8
_MOST_WORST_ROWS = 20
# A level that so many of the held-out rows have says where the rows are, not where the model is weak.
_MOST_OF_THE_ROWS = 0.8


@dataclass(frozen=True)
class WorstRow:
    """A held-out row that the model got most wrong: what came, what was predicted, and what pushed it there."""

    row: str
    label: str
    response: str
    loss: str
    pushed: tuple[tuple[str, str], ...]
    values: tuple[tuple[str, str], ...]


def slice_list(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the slices whose difference is known, but those that most of the rows are in."""
    evaluation = mapping(result.get("evaluation"))
    rows = whole(evaluation.get("rows")) or 0
    found = [one for one in records(evaluation.get("slices")) if number(one.get("difference")) is not None]
    return [one for one in found if not rows or (whole(one.get("rows")) or 0) < _MOST_OF_THE_ROWS * rows]


def slice_forest(result: Mapping[str, Any], judged: Score | None) -> Forest | None:
    """Return where the model loses more than on the other rows."""
    found = slice_list(result)
    if not found:
        return None
    loss = "loss" if judged is None else judged.name
    caption = (
        "Mean loss of these held-out rows minus that of all others. In the order of what they add to the loss in sum: "
        "rows times difference. A row is in one level of each column, so shares overlap and do not add up to 100 %. "
        f"Levels that {percent(_MOST_OF_THE_ROWS)} of the rows or more have are left out. The intervals allow for many "
        "looks."
    )
    heading = Heading(f"{loss[:1].upper()}{loss[1:]} above that of the other rows", caption, loss)
    entries = [_slice_entry(result, one) for one in found]
    return forest(heading, entries, zero=True, first=_MOST_SLICES_AT_FIRST)


def _slice_entry(result: Mapping[str, Any], one: Mapping[str, Any]) -> Entry:
    figure = Estimate(number(one.get("difference")), number(one.get("low")), number(one.get("high")))
    said = [_rows_said(result, one)]
    share = number(one.get("share_of_loss"))
    if share is not None:
        said.append(f"{percent(share)} of the loss")
    said += happened(result, one)
    name = slice_name(one)
    return Entry(name, "; ".join(said), Interval(figure.value, figure.low, figure.high, "warn"), f"+{figure.both}")


def _rows_said(result: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    rows, every = whole(one.get("rows")) or 0, whole(mapping(result.get("evaluation")).get("rows"))
    return count(rows, "row") + (f" ({percent(rows / every)})" if every else "")


def happened(result: Mapping[str, Any], one: Mapping[str, Any]) -> list[str]:
    """Say what was predicted and what came on average in some rows, where both are known."""
    label, response = number(one.get("mean_label")), number(one.get("mean_response"))
    if label is None or response is None:
        return []
    show = percent if predicts_probabilities(result.get("loss")) else plain
    return [f"predicted {show(response)}, happened {show(label)}"]


def slice_name(one: Mapping[str, Any]) -> str:
    """Return a slice as people say it."""
    return f"{text(one.get('column')) or '?'} = {text(one.get('level')) or '(nothing)'}"


def worst_rows(result: Mapping[str, Any]) -> tuple[WorstRow, ...]:
    """Return the held-out rows with the largest losses."""
    return tuple(_worst_row(result, one) for one in records(result.get("worst_rows"))[:_MOST_WORST_ROWS])


def _worst_row(result: Mapping[str, Any], one: Mapping[str, Any]) -> WorstRow:
    values = {key_text(name): _tidy(text(value)) for name, value in mapping(one.get("values")).items()}
    pushed = [
        (text(push.get("term")) or "?", f"{plain(effect, 2)}" if effect < 0.0 else f"+{plain(effect, 2)}")
        for push in records(one.get("pushed"))
        if (effect := number(push.get("effect"))) is not None
    ]
    first = [name for name, _ in pushed if name in values]
    order = [*dict.fromkeys(first), *(name for name in values if name not in first)]
    row = whole(one.get("row"))
    return WorstRow(
        "?" if row is None else f"{row:,}",
        *_label_and_response(result, one),
        plain(number(one.get("loss"))),
        tuple((name, effect.replace("-", MINUS)) for name, effect in pushed),
        tuple((name, values[name]) for name in order),
    )


def _label_and_response(result: Mapping[str, Any], one: Mapping[str, Any]) -> tuple[str, str]:
    """Return what came and what was predicted in words: of classes the likelier one with its probability."""
    label, response = one.get("label"), number(one.get("response"))
    classes = texts(result.get("classes"))
    if len(classes) == 2 and response is not None and number(label) in (0.0, 1.0) and 0.0 <= response <= 1.0:
        likelier = int(response >= 0.5)
        shown = percent(response if likelier else 1.0 - response)
        return outcome(result, classes[int(number(label) or 0.0)]), f"{outcome(result, classes[likelier])} ({shown})"
    if len(classes) > 2 and response is not None:
        came = outcome(result, text(label) or "?")
        return came, f"{came} with {percent(response)} only"
    said = [text(value) if (found := number(value)) is None else plain(found) for value in (label, one.get("response"))]
    return f"{target_name(result)} = {said[0] or '?'}", said[1] or "?"


def _tidy(value: str | None) -> str:
    """Return a value as people write it: 1 and not 1.0, a day without its midnight."""
    if not value:
        return "(missing)"
    return value.removesuffix(" 00:00:00").removesuffix(".0")
