"""Where the model is worse than elsewhere: levels whose rows lose more, and the rows that it got most wrong."""

from __future__ import annotations

from dataclasses import dataclass

from batchlearn.evaluation.intervals import Estimate
from batchlearn.evaluation.report import Evaluation, WorstRow
from batchlearn.evaluation.slices import Slice
from batchlearn.formatting.names import predicts_probabilities
from batchlearn.formatting.numbers import count, percent, plain
from batchlearn.report.figures.plots import Entry, Forest, Interval, forest
from batchlearn.report.training.data_summary import outcome, target_name
from batchlearn.report.training.quality import Score
from batchlearn.report.values import short, with_interval
from batchlearn.training.fit import Fit

_MOST_SLICES_AT_FIRST = 8
_MOST_WORST_ROWS = 20
# A level that so many of the held-out rows have says where the rows are, not where the model is weak.
_MOST_OF_THE_ROWS = 0.8


@dataclass(frozen=True)
class ToldRow:
    """A held-out row that the model got most wrong, in words: what came, what was predicted, what pushed it there."""

    row: str
    label: str
    response: str
    loss: str
    pushed: tuple[tuple[str, str], ...]
    values: tuple[tuple[str, str], ...]


def slice_list(evaluation: Evaluation | None) -> list[Slice]:
    """Return the slices but those that most of the rows are in."""
    if evaluation is None:
        return []
    return [one for one in evaluation.slices if one.rows < _MOST_OF_THE_ROWS * evaluation.rows]


def slice_difference(one: Slice) -> Estimate:
    """Return how much more the rows of a slice lose than the others."""
    return Estimate(one.difference, one.low, one.high)


def slice_forest(fit: Fit, judged: Score | None) -> Forest | None:
    """Return where the model loses more than on the other rows."""
    found = slice_list(fit.evaluation)
    if fit.evaluation is None or not found:
        return None
    loss = "loss" if judged is None else judged.name
    caption = (
        "Mean loss of these held-out rows minus that of all others. In the order of what they add to the loss in sum: "
        "rows times difference. A row is in one level of each column, so shares overlap and do not add up to 100 %. "
        f"Levels that {percent(_MOST_OF_THE_ROWS)} of the rows or more have are left out. The intervals allow for many "
        "looks."
    )
    title = f"{loss[:1].upper()}{loss[1:]} above that of the other rows"
    entries = [_slice_entry(fit, one, fit.evaluation.rows) for one in found]
    return forest(title, caption, loss, entries, zero=True, first=_MOST_SLICES_AT_FIRST)


def _slice_entry(fit: Fit, one: Slice, rows: int) -> Entry:
    share = f"{percent(one.share_of_loss)} of the loss"
    said = [f"{count(one.rows, 'row')} ({percent(one.rows / rows)})", share, *happened(fit, one)]
    mark = Interval(one.difference, one.low, one.high, "warn")
    return Entry(slice_name(one), "; ".join(said), mark, f"+{with_interval(slice_difference(one))}")


def happened(fit: Fit, one: Slice) -> list[str]:
    """Say what was predicted and what came on average in some rows, where both are known."""
    if one.mean_label is None:
        return []
    show = percent if predicts_probabilities(fit.model.loss) else plain
    return [f"predicted {show(one.mean_response)}, happened {show(one.mean_label)}"]


def slice_name(one: Slice) -> str:
    """Return a slice as people say it."""
    return f"{short(one.column)} = {short(one.level)}"


def worst_rows(fit: Fit) -> tuple[ToldRow, ...]:
    """Return the held-out rows with the largest losses."""
    found = () if fit.evaluation is None else fit.evaluation.worst_rows
    return tuple(_told(fit, one) for one in found[:_MOST_WORST_ROWS])


def _told(fit: Fit, one: WorstRow) -> ToldRow:
    values = {
        short(name): (short(value).removesuffix(" 00:00:00").removesuffix(".0") or "(missing)")
        for name, value in one.values.items()
    }
    pushed = [
        (short(term), plain(effect, 2) if effect < 0.0 else f"+{plain(effect, 2)}") for term, effect in one.pushed
    ]
    first = [name for name, _ in pushed if name in values]
    order = [*dict.fromkeys(first), *(name for name in values if name not in first)]
    told = tuple((name, values[name]) for name in order)
    return ToldRow(f"{one.row:,}", *_label_and_response(fit, one), plain(one.loss), tuple(pushed), told)


def _label_and_response(fit: Fit, one: WorstRow) -> tuple[str, str]:
    """Return what came and what was predicted in words: of classes the likelier one with its probability."""
    classes = fit.model.target.classes
    if isinstance(one.label, str):
        came = outcome(fit, one.label)
        return came, f"{came} with {percent(one.response)} only"
    if len(classes) == 2 and one.label in (0.0, 1.0):
        likelier = int(one.response >= 0.5)
        chance = percent(one.response if likelier else 1.0 - one.response)
        return outcome(fit, classes[int(one.label)]), f"{outcome(fit, classes[likelier])} ({chance})"
    return f"{target_name(fit)} = {plain(one.label)}", plain(one.response)
