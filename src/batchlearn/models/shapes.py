"""What each term of a linear model does to the linear predictor, with standard errors: shape functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.bins import BinTerm
from batchlearn.data.encoding import PairTerm
from batchlearn.data.target import class_name
from batchlearn.kernels.design import Floats
from batchlearn.models.encoded import EncodedModel

# One column of a pair: its name and the labels of its levels.
PairSide = tuple[str, tuple[str, ...]]


class TextUse(NamedTuple):
    """What a text does in the rows learned from."""

    rows: NDArray[np.intp]  # that each of its columns is 1 in
    deviation: Floats  # (classes,), of more than two, else (1,): of what it adds to the predictor


@dataclass(frozen=True)
class Shape:
    """One term: the effect of each level against their mean, of a word against none, or of one unit of a number.

    The mean is over the rows learned from where how many rows each level has is known, else over the levels.

    `spread` is the difference between the largest and the smallest effect; for a number as it is, between two
    deviations apart. `deviation` is the standard deviation of the effect over the rows learned from: what the term
    moves predictions by; None where how many rows each level has is not known.
    """

    term: str
    kind: str
    names: tuple[str, ...]  # of the coefficients
    labels: tuple[str, ...]  # the same where the term is named already
    effect: Floats  # (coefficients,)
    standard_error: Floats | None  # (coefficients,)
    spread: float
    edges: tuple[float, ...] | None = None
    low: float | None = None  # range seen in training
    high: float | None = None
    rows: tuple[int, ...] | None = None  # of each level (coefficients,)
    deviation: float | None = None
    pair: tuple[PairSide, PairSide] | None = None  # of a pair: names and effects are of its cells, the second fastest
    of_class: str | None = None  # of more than two classes: the one on whose logit these are effects

    @property
    def name(self) -> str:
        """What the term is called, with the class that it is of where there are several."""
        return self.term if self.of_class is None else f"{self.term} (class {self.of_class})"

    def to_json(self) -> dict[str, Any]:
        """Return the shape as plain values."""
        return {
            "column": self.name,
            "kind": self.kind,
            "names": list(self.names),
            "edges": None if self.edges is None else list(self.edges),
            "low": self.low,
            "high": self.high,
            "effect": self.effect.tolist(),
            "standard_error": None if self.standard_error is None else self.standard_error.tolist(),
            "spread": self.spread,
            "rows": None if self.rows is None else list(self.rows),
            "deviation": self.deviation,
        }


def contrasts(
    model: EncodedModel, position: int = 0, level_rows: Mapping[str, NDArray[np.intp]] | None = None
) -> tuple[Floats, Floats | None]:
    """Return estimates and standard errors (coefficients,), levels against the mean of their term's levels.

    With `level_rows`, as in `shapes`, that is the mean over the rows: rare levels do not move it, nor blur its error. A
    level's own coefficient is known only up to what the intercept may take over; the contrast's error is free of
    that. Where the moments within groups are not known only models of numbers have errors. Of more than two classes
    these are the effects on the logit of the class at `position`.
    """
    estimates = model.coefficients[position].copy()
    layout = model.encoding.layout
    errors = None if model.standard_errors is None else model.standard_errors.reshape(-1, layout.size)[position].copy()
    moments = None if model.level_moments is None else model.level_moments[position]
    at = 0
    for group, part in zip(model.encoding.groups, layout.group_slices, strict=True):
        rows = (level_rows or {}).get(group.key)
        levels = len(group.names) + (getattr(group, "reference", None) is not None)
        share = np.full(len(group.names), 1.0 / levels) if rows is None else rows[:-1] / max(int(rows.sum()), 1)
        estimates[part] -= share @ estimates[part]
        if errors is not None and moments is not None:
            block = moments[at : at + len(share) ** 2].reshape(len(share), -1)
            spread = np.diag(block) - 2.0 * block @ share + share @ block @ share
            errors[part] = np.sqrt(np.maximum(spread, 0.0))
            at += len(share) ** 2
    return estimates, None if moments is None and model.encoding.groups else errors


def shapes(
    model: EncodedModel,
    level_rows: Mapping[str, NDArray[np.intp]] | None = None,
    texts: Mapping[str, TextUse] | None = None,
) -> list[Shape]:
    """Return the shape of every term, of more than two classes one for each class, the widest first.

    With `level_rows`, how many rows each level of a term has and at last those of no level, those that move most rows'
    predictions most come first. `texts` has the same for columns of words. Of a text the shape has the words of a
    column of their own.
    """
    if not model.class_shares:
        return sorted([*_shapes(model, 0, level_rows), *_text_shapes(model, 0, texts)], key=_size)
    found = [
        replace(shape, of_class=class_name(known))
        for position, known in enumerate(model.target.classes)
        for shape in [*_shapes(model, position, level_rows), *_text_shapes(model, position, texts)]
    ]
    return sorted(found, key=_size)


def _size(shape: Shape) -> tuple[float, float]:
    return -(shape.deviation or 0.0), -shape.spread


def _shapes(model: EncodedModel, position: int, counts: Mapping[str, NDArray[np.intp]] | None) -> list[Shape]:
    estimates, errors = contrasts(model, position, counts)
    encoding, raw, found, start = model.encoding, model.coefficients[position], list[Shape](), 1
    for number in encoding.numbers:
        part = slice(start, start + len(number.names))
        unit = encoding.units[part]
        error = None if errors is None else errors[part] / unit
        spread = 2.0 * abs(float(estimates[start]))
        effect = estimates[part] / unit
        # Dense columns are standardised: over the rows learned from, each has a deviation of 1.
        size = float(np.linalg.norm(estimates[part])) if counts is not None else None
        ends = None, number.low, number.high
        found.append(
            Shape(number.column, "number", number.names, number.names, effect, error, spread, *ends, None, size)
        )
        start = part.stop
    for group, part in zip(encoding.groups, encoding.layout.group_slices, strict=True):
        effect, error = estimates[part], None if errors is None else errors[part]
        bins = group if isinstance(group, BinTerm) else None
        edges, low, high = (None, None, None) if bins is None else (bins.edges, bins.low, bins.high)
        spread = float(np.ptp(effect)) if len(effect) else 0.0
        rows = (counts or {}).get(group.key)
        level_rows, deviation = None, None
        if rows is not None:
            # Rows of no level get nothing.
            added, total = np.append(raw[part], 0.0), max(float(rows.sum()), 1.0)
            level_rows = tuple(map(int, rows[:-1]))
            deviation = float(np.sqrt(rows @ (added - rows @ added / total) ** 2 / total))
        pair: tuple[PairSide, PairSide] | None = None
        if isinstance(group, PairTerm):
            pair = (group.first.key, group.first.labels), (group.second.key, group.second.labels)
        known = group.key, group.kind, group.names, group.labels
        found.append(Shape(*known, effect, error, spread, edges, low, high, level_rows, deviation, pair))
    return found


def _text_shapes(model: EncodedModel, position: int, uses: Mapping[str, TextUse] | None) -> list[Shape]:
    encoding, found = model.encoding, list[Shape]()
    errors = None if model.standard_errors is None else model.standard_errors.reshape(-1, encoding.layout.size)
    for text, part in zip(encoding.texts, encoding.text_slices, strict=True):
        count, use = len(text.words), (uses or {}).get(text.column)
        words = slice(part.start, part.start + count)
        effect = model.coefficients[position, words]
        if not count:
            continue
        found.append(
            Shape(
                text.column,
                "text",
                text.names[:count],
                text.words,
                effect,
                None if errors is None else errors[position, words],
                spread=float(np.ptp(np.append(effect, 0.0))),
                rows=None if use is None else tuple(map(int, use.rows[:count])),
                deviation=None if use is None else float(use.deviation[position]),
            )
        )
    return found
