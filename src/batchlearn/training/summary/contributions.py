"""Contributions: what the terms add to the prediction of a row beyond what they add to the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.encoding import Encoding
from batchlearn.data.rows import Rows, stored_codes
from batchlearn.kernels.design import Floats, linear_predictor

_MOST_CONTRIBUTIONS = 4


def contributions(
    encoding: Encoding, rows: Rows, parameters: Floats, chosen: NDArray[np.intp]
) -> list[tuple[tuple[str, float], ...]]:
    """Return for each chosen row the terms that add most to its predictor, or take most.

    An effect is what the term adds for this row minus what it adds on average over `rows`. Of more than two classes,
    where there are several predictors, nothing is returned.
    """
    if len(parameters) != encoding.layout.size:
        return [() for _ in chosen]
    taken, codes = next(rows.stretches(chosen, len(chosen))).together(), stored_codes(rows)
    names, effects = list[str](), list[Floats]()
    start = 0
    for number in encoding.numbers:
        part = slice(start, start + len(number.names))
        values = taken.block.dense[1:][part].T
        names.append(number.column)
        effects.append(values @ parameters[1:][part])
        start = part.stop
    for place, (group, part) in enumerate(zip(encoding.groups, encoding.layout.group_slices, strict=True)):
        added = np.append(parameters[part], 0.0)
        held = np.bincount(codes[place], minlength=len(added))
        names.append(group.key)
        effects.append(added[taken.block.codes[place]] - held @ added / max(len(rows), 1))
    for text, part in zip(encoding.texts, encoding.text_slices, strict=True):
        own = np.zeros_like(parameters)
        own[part] = parameters[part]
        added = rows.map_rows(lambda chunk, own: linear_predictor(chunk.layout, chunk.block, own), own)
        names.append(text.column)
        effects.append(added[chosen] - added.mean())
    every = np.stack(effects, axis=1) if effects else np.zeros((len(chosen), 0))
    strongest = np.argsort(-np.abs(every), axis=1, kind="stable")[:, :_MOST_CONTRIBUTIONS]
    return [
        tuple((names[k], float(row[k])) for k in order if row[k] != 0.0)
        for row, order in zip(every, strongest, strict=True)
    ]
