"""Arrays of float64 as a safetensors file: written by the library, read only where they are exactly those expected."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from batchlearn.artifacts.strict_json import Malformed, parse
from batchlearn.errors import quoted
from batchlearn.kernels.design import Floats

_LARGEST_HEADER = 1 << 20
_LENGTH_BYTES = 8


def pack(arrays: Mapping[str, Floats]) -> bytes:
    """Return the arrays as the bytes of a safetensors file."""
    plain = {name: np.ascontiguousarray(array, dtype=np.float64) for name, array in arrays.items()}
    return save(plain)


def unpack(data: bytes, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Floats]:
    """Return the arrays of a safetensors file.

    Malformed unless it holds the arrays in `shapes`, of float64, finite, and nothing else.
    """
    # 1. What the header says.
    header = header_of(data)
    if not isinstance(header, dict) or set(header) != set(shapes):
        found = sorted(header) if isinstance(header, dict) else header
        raise Malformed(f"it holds {quoted(found)}; {quoted(sorted(shapes))} are needed")
    for name, shape in shapes.items():
        entry, needed = header[name], {"dtype": "F64", "shape": list(shape)}
        # Where its bytes are the library checks.
        stated = (
            {key: entry[key] for key in sorted(entry) if key != "data_offsets"} if isinstance(entry, dict) else entry
        )
        if stated != needed:
            raise Malformed(f"the array {quoted(name)} is {quoted(stated)}; {quoted(needed)} is needed")
    # 2. How many bytes follow.
    size = _header_bytes(data) + 8 * sum(prod(shape) for shape in shapes.values())
    if len(data) != size:
        raise Malformed(f"it has {len(data):,} bytes where its arrays need {size:,}")
    # 3. The values.
    try:
        arrays = load(data)
    except SafetensorError as problem:
        raise Malformed(quoted(problem, 200)) from problem
    for key, array in arrays.items():
        if not np.all(np.isfinite(array)):
            raise Malformed(f"the array {quoted(key)} holds a value that is not finite")
    return {key: np.asarray(array, dtype=np.float64) for key, array in arrays.items()}


def header_of(data: bytes) -> object:
    """Return what the header of a safetensors file says, which nobody has checked; Malformed where there is none."""
    end = _header_bytes(data)
    if end > min(_LENGTH_BYTES + _LARGEST_HEADER, len(data)):
        claimed = end - _LENGTH_BYTES
        raise Malformed(f"its header claims {claimed:,} of {len(data):,} bytes; {_LARGEST_HEADER:,} is the most")
    return parse(data[_LENGTH_BYTES:end])


def _header_bytes(data: bytes) -> int:
    return _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
