"""A stretch of rows as the loops over single rows and batches read it: compiled ones as stored, others row by row."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats
from batchlearn.kernels.native.epochs import Compiled, Strengths, learned_rows
from batchlearn.kernels.single_rows import LabelledRows, row_major
from batchlearn.objectives.losses import LogisticLoss, Loss, SquaredLoss
from batchlearn.objectives.losses.huber import HuberLoss
from batchlearn.objectives.losses.log_link import GammaLoss, PoissonLoss, TweedieLoss
from batchlearn.objectives.penalties import Quadratic

# As the kernels number them. By type and not by name: one written elsewhere is no compiled one.
_KINDS: dict[type[Any], int] = {
    SquaredLoss: 0,
    LogisticLoss: 1,
    PoissonLoss: 2,
    GammaLoss: 3,
    TweedieLoss: 4,
    HuberLoss: 5,
}


def labelled(rows: Rows) -> LabelledRows:
    """Return rows one after the other, with offset, label and weight."""
    chunk = rows.together()
    offset = chunk.offset if isinstance(chunk.offset, np.ndarray) else np.full(len(chunk.label), chunk.offset)
    return LabelledRows(row_major(chunk.layout, chunk.block), offset, chunk.label, chunk.weight)


def compiled(loss: Loss, rows: Rows, shown: Rows | None = None) -> Compiled | None:
    """Return rows for the compiled loops; None where the loss is not among theirs, or nothing is compiled."""
    kind = compiled_loss(loss)
    if kind is None:
        return None
    learned, seen = _as_stored(rows), None if shown is None or shown is rows else _as_stored(shown)
    if learned is None:
        return None
    layout = rows.layout
    return Compiled(learned, seen, len(rows), layout.lead + len(layout.groups), *kind)


def compiled_loss(loss: Loss) -> tuple[int, float] | None:
    """Return the number of a loss among the compiled ones, and its own number; None where it is none of them."""
    kind = _KINDS.get(type(loss))
    if kind is None:
        return None
    return kind, float(getattr(loss, "power", getattr(loss, "threshold", 0.0)))


def strengths(penalty: Quadratic) -> Strengths:
    """Return a penalty for the compiled loops."""
    return Strengths(penalty.strengths, penalty.blocks)


def _as_stored(rows: Rows) -> Any:
    chunk = rows.together()
    offset = chunk.offset if isinstance(chunk.offset, np.ndarray) else None
    floats: list[Floats | None] = [
        None if each is None else np.ascontiguousarray(each, dtype=np.float64)
        for each in (chunk.label, chunk.weight, offset)
    ]
    label, weight, offset = floats
    assert label is not None
    return learned_rows(chunk.layout, chunk.block, label, weight, offset)
