"""What looks as if it was filled in after the answer was known: levels that tell the label, and scores too good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from batchlearn.data.encoding import PairTerm
from batchlearn.evaluation.report import Evaluation
from batchlearn.formatting.flags import flag
from batchlearn.formatting.notes import Code, Note
from batchlearn.models.encoded import EncodedModel
from batchlearn.training.fit import Fit
from batchlearn.training.summary.levels import LeakingLevel, LevelCounts

# A level that tells the label is pointed out where at least this share of the rows has it.
_TELLING_ROWS = 0.02
# What honest columns hardly ever reach.
_TOO_GOOD = {"auc": 0.995, "r2": 0.995, "d2": 0.995, "accuracy": 0.998}
# A column is named where it makes up so much of the variance of the predictor.
_MOST_OF_IT = 0.8


def leaking_levels(telling: Sequence[LeakingLevel], rows: int) -> list[LeakingLevel]:
    """Return the levels that nearly tell the label and that enough of all rows have."""
    return [level for level in telling if level.rows >= max(_TELLING_ROWS * rows, 1)]


def too_good(evaluation: Evaluation | None) -> str | None:
    """Return the metric whose value on held-out rows is nearly perfect, where there is one."""
    metrics = {} if evaluation is None else evaluation.metrics
    values = {name: metrics[name].value for name in _TOO_GOOD if name in metrics}
    return next((name for name, value in values.items() if value is not None and value >= _TOO_GOOD[name]), None)


def leak_notes(fit: Fit) -> list[Note]:
    """Return what a reader should check before the scores are believed."""
    model, facts, rows, evaluation = fit.model, fit.summary, fit.rows.used, fit.evaluation
    notes = list[Note]()
    if facts is None:
        return notes
    telling = {one.column: found for one in facts.columns if (found := leaking_levels(one.leaking, rows))}
    if telling:
        first = sorted((max(found, key=_rows) for found in telling.values()), key=_rows, reverse=True)
        levels, change = [level.to_json() for level in first], flag("--drop", *telling)
        notes.append(Note(Code.LEAK, {"target": model.target.column, "levels": levels, "change": change}))
    metric = too_good(evaluation)
    if metric is not None and evaluation is not None:
        column = None if model.size is None else _leading(model, facts.levels)
        said = {"metric": metric, "value": evaluation.metrics[metric].value, "column": column}
        notes.append(Note(Code.TOO_GOOD, {**said, "change": None if column is None else flag("--drop", column)}))
    return notes


def _rows(level: LeakingLevel) -> int:
    return level.rows


def _leading(model: EncodedModel, levels: Mapping[str, LevelCounts]) -> str | None:
    """Return the column that makes up most of the variance of the linear predictor over the rows; None if none does."""
    encoding = model.encoding
    parameters = model.parameters.reshape(-1, encoding.layout.size)
    variance: dict[str, float] = {}
    place = 1
    for term in encoding.numbers:  # of deviation 1, and so is the indicator of a missing value
        own = parameters[:, place : place + term.width]
        variance[term.column] = variance.get(term.column, 0.0) + float(np.sum(own**2))
        place += term.width
    for group in encoding.groups:
        own, place = parameters[:, place : place + group.width], place + group.width
        share = levels[group.key].rows[: group.width] / max(levels[group.key].rows.sum(), 1)
        key = group.key if isinstance(group, PairTerm) else group.column
        variance[key] = variance.get(key, 0.0) + float(np.sum(own**2 @ share - (own @ share) ** 2))
    column = max(variance, key=lambda name: variance[name], default=None)
    named = column is not None and column in encoding.kinds
    return column if named and variance[column or ""] >= _MOST_OF_IT * sum(variance.values()) else None
