"""What the words of texts do in the rows learned from: how many have each, and how far they move predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.encoding import Encoding
from batchlearn.data.rows import Chunk, Rows
from batchlearn.kernels.design import Floats
from batchlearn.models.links import class_contrasts
from batchlearn.models.shapes import TextUse


@dataclass(frozen=True)
class _TextTotal:
    """Rows of each sparse column, and sums of what each text adds to each output and of its squares."""

    slices: tuple[slice, ...]
    coefficients: Floats  # (outputs, d)
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.add, np.add)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[NDArray[np.intp], Floats, Floats]:  # noqa: ARG002 - the protocol of a statistic
        sparse, first = chunk.block.sparse, chunk.layout.sparse_slice.start
        rows = np.bincount(sparse.indices, minlength=chunk.layout.sparse)
        added = np.zeros((len(self.slices), len(self.coefficients), sparse.shape[0]))
        for own, part in zip(added, self.slices, strict=True):
            weights = np.zeros((chunk.layout.sparse, len(self.coefficients)))
            weights[part.start - first : part.stop - first] = self.coefficients[:, part].T
            own[:] = (sparse @ weights).T
        return rows, added.sum(axis=2), (added**2).sum(axis=2)


def text_uses(encoding: Encoding, rows: Rows, parameters: Floats) -> dict[str, TextUse]:
    """Return by column what each text does in the rows, with the coefficients of each class where there are several."""
    if not encoding.texts:
        return {}
    outputs = parameters.reshape(-1, encoding.layout.size)
    coefficients = outputs if len(outputs) == 1 else np.asarray(class_contrasts(len(outputs) + 1).T @ outputs)
    found, sums, squares = rows.total(_TextTotal(encoding.text_slices, coefficients), parameters)
    deviations = np.sqrt(np.maximum(squares / len(rows) - (sums / len(rows)) ** 2, 0.0))
    first = encoding.layout.sparse_slice.start
    return {
        text.column: TextUse(found[part.start - first : part.stop - first], deviation)
        for text, part, deviation in zip(encoding.texts, encoding.text_slices, deviations, strict=True)
    }
