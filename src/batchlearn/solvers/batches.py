"""What solvers that read a batch of rows at a time have in common.

A regime decides how many rows a batch has; a solver gets a stretch of rows and cuts it. Each batch stands for all
rows: its total is divided by its share of their weight. A batch of all rows is read by `Rows.total` in the stored
order, so that it gives the bits of the full batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from batchlearn.data.rows import Chunk, Rows
from batchlearn.kernels.design import Floats
from batchlearn.kernels.single_rows import (
    LabelledRows,
    RowMajor,
    add_products,
    batch_predictor,
    padded,
    row_major,
    unpadded,
)
from batchlearn.objectives.losses import Loss
from batchlearn.statistics.objective import Objective
from batchlearn.statistics.rowwise import weighted_slope
from batchlearn.statistics.totals import GradientTotal


@dataclass(frozen=True)
class Stretch:
    """Some rows, row-major, to be cut into batches."""

    chunk: Chunk

    @cached_property
    def rows(self) -> RowMajor:
        """The rows, one after the other."""
        return row_major(self.chunk.layout, self.chunk.block)

    @cached_property
    def labelled(self) -> LabelledRows:
        """The rows with offset, label and weight."""
        offset = (
            self.chunk.offset if isinstance(self.chunk.offset, np.ndarray) else np.full(len(self), self.chunk.offset)
        )
        return LabelledRows(self.rows, offset, self.chunk.label, self.chunk.weight)

    def __len__(self) -> int:
        return len(self.chunk.label)

    def cut(self, size: int) -> Iterator[tuple[int, int]]:
        """Yield the first row of each batch and the one after its last."""
        return ((start, min(start + size, len(self))) for start in range(0, len(self), size))

    def predictor(self, start: int, stop: int, parameters: Floats) -> Floats:
        """Return the linear predictor of some rows, (m,) or (outputs, m), for padded parameters."""
        return batch_predictor(self.rows, start, stop, parameters) + self.labelled.offset[start:stop]

    def slope(self, loss: Loss, start: int, stop: int, parameters: Floats) -> Floats:
        """Return weight times slope of some rows, (m,) or (outputs, m), at padded parameters."""
        return self.weighted_slope(loss, start, stop, self.predictor(start, stop, parameters))

    def weighted_slope(self, loss: Loss, start: int, stop: int, eta: Floats) -> Floats:
        """Return weight times slope of some rows, (m,) or (outputs, m), at linear predictors."""
        return weighted_slope(loss, eta, self.chunk.label[start:stop], self.chunk.weight[start:stop])

    def change(self, direction: Floats, outputs: int, start: int = 0, stop: int | None = None) -> Floats:
        """Return how the linear predictors of some rows change along a direction, flat (d,)."""
        stop = len(self) if stop is None else stop
        return batch_predictor(self.rows, start, stop, padded(direction, outputs))

    def add(self, start: int, stop: int, parameters: Floats, values: Floats) -> None:
        """Add X' v of some rows to padded parameters, in place."""
        add_products(self.rows, start, stop, parameters, values)


def whole_gradient(objective: Objective, rows: Rows, parameters: Floats) -> Floats:
    """Return the gradient of the objective at padded parameters, flat, by one reading of all rows."""
    total = rows.total(GradientTotal(objective.loss), unpadded(parameters))
    flat = total.gradient / rows.total_weight + objective.penalty.gradient(unpadded(parameters))
    return np.asarray(flat)


def only_stretch(rows: Rows) -> Stretch:
    """Return the rows as a stretch."""
    return Stretch(rows.together())
