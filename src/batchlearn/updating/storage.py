"""Kept totals as the bytes of a safetensors file, and back; symmetric matrices are stored as their upper triangles."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from batchlearn.artifacts.strict_json import Malformed
from batchlearn.artifacts.tensors import header_of, pack, unpack
from batchlearn.errors import IntegrityError
from batchlearn.kernels.design import Floats, Layout
from batchlearn.kernels.sums import symmetric
from batchlearn.statistics.updates import Scatter
from batchlearn.updating.domain import Domain, DomainParts
from batchlearn.updating.sufficient_statistics import RowTotals, SufficientStatistics
from batchlearn.updating.third_order import tensor_size

# Version format 1 kept the penalty of its rows, of which nobody could tell what is in total and what per row: not used.
_PENALTY, _BLOCK = "penalty", "penalty block "
_NUMBERS = 7
# An infinite end of the range of a column that no row has: the files hold finite numbers only.
_NO_END = 1e300


def dump(kept: SufficientStatistics) -> bytes:
    """Return kept totals as bytes that `load` gives back to the last bit."""
    totals, parts = kept.totals, kept.domain.parts
    arrays: dict[str, Floats] = {
        "parameters": kept.parameters,
        "gradient": totals.gradient,
        "gradient error": totals.gradient_error,
        "hessian": _upper(totals.hessian),
        "scale": totals.scale,
        "magnitude": totals.magnitude,
        "reference": _upper(kept.reference),
        "counts": parts.counts,
        "low": np.clip(parts.low, -_NO_END, _NO_END),
        "high": np.clip(parts.high, -_NO_END, _NO_END),
        "first": parts.first,
        "second": parts.second,
        "numbers": np.asarray(
            [
                totals.weight, totals.relative, kept.leverage, kept.scatter.trace,
                kept.scatter.squares, float(kept.rows), kept.reference_weight,
            ]
        ),
    }  # fmt: skip
    if totals.third is not None:
        arrays["third order"] = totals.third
    return pack({name: array for name, array in arrays.items() if array.size})


def load(data: bytes, layout: Layout, loss: str) -> SufficientStatistics:
    """Return the kept totals of a model with this layout, trained with the loss of this name.

    IntegrityError where the bytes are not those of `dump`."""
    try:
        header = header_of(data)
        if not isinstance(header, dict):
            raise Malformed("their header is no object")
        arrays = unpack(data, _shapes(layout, header))
        return _restored(layout, loss, {**{name: np.empty(0) for name in _plain(layout)}, **arrays})
    except (Malformed, ValueError, KeyError, IndexError) as problem:
        raise IntegrityError(
            f"The kept totals are not as they were written, or belong to another model: {problem}. Keep them again by "
            "training on all rows.",
            code="kept-totals-damaged",
        ) from problem


def _plain(layout: Layout) -> dict[str, tuple[int, ...]]:
    size, columns = layout.size, layout.dense + layout.sparse
    square = (size * (size + 1) // 2,)
    one = ("parameters", "gradient", "gradient error", "scale", "magnitude")
    return {
        **{name: (size,) for name in one},
        "hessian": square,
        "reference": square,
        "counts": (sum(layout.groups) + len(layout.groups),),
        "low": (columns,),
        "high": (columns,),
        "first": (layout.dense,),
        "second": (layout.dense,),
        "numbers": (_NUMBERS,),
    }


def _shapes(layout: Layout, declared: Mapping[str, object]) -> dict[str, tuple[int, ...]]:
    """Return the shapes that the layout asks for; which optional arrays there are is the file's own word."""
    shapes = {name: shape for name, shape in _plain(layout).items() if shape != (0,)}
    # What is called "third" was kept in another order; without it the bounds are of second order.
    shapes |= {name: (tensor_size(layout),) for name in ("third", "third order") if name in declared}
    shapes |= {_PENALTY: (layout.size,)} if _PENALTY in declared else {}
    starts = {part.start: part.stop - part.start for part in layout.group_slices}
    for name, entry in declared.items():
        if name.startswith(_BLOCK):
            start = int(name.removeprefix(_BLOCK))
            rows = entry["shape"][0] if isinstance(entry, dict) else 0
            if not 0 < rows <= layout.size - start or starts.get(start, rows) != rows:
                raise Malformed(f"a penalty of {rows} coefficients from the {start}th on fits no term")
            shapes[name] = (rows, rows)
    return shapes


def _restored(layout: Layout, loss: str, arrays: Mapping[str, Floats]) -> SufficientStatistics:
    weight, relative, leverage, trace, squares, rows, reference_weight = map(float, arrays["numbers"])
    low, high = arrays["low"].copy(), arrays["high"].copy()
    low[low >= _NO_END], high[high <= -_NO_END] = np.inf, -np.inf
    parts = DomainParts(arrays["counts"], low, high, arrays["first"], arrays["second"])
    return SufficientStatistics(
        loss=loss,
        layout=layout,
        parameters=arrays["parameters"],
        totals=RowTotals(
            weight,
            arrays["gradient"],
            arrays["gradient error"],
            _square(layout.size, arrays["hessian"]),
            relative,
            arrays["scale"],
            arrays["magnitude"],
            arrays.get("third order"),
        ),
        domain=Domain(layout, parts),
        reference=_square(layout.size, arrays["reference"]),
        leverage=leverage,
        scatter=Scatter(trace, squares),
        rows=int(rows),
        reference_weight=reference_weight,
    )


def _square(size: int, upper: Floats) -> Floats:
    matrix, start = np.empty((size, size)), 0
    for row in range(size):  # slices, because an index for each entry costs more than the entries
        stop = start + size - row
        matrix[row, row:] = upper[start:stop]
        start = stop
    return symmetric(matrix)


def _upper(matrix: Floats) -> Floats:
    return np.concatenate([matrix[row, row:] for row in range(len(matrix))]) if len(matrix) else np.empty(0)
