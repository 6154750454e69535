"""JSON as a file format: what Python's parser lets through and two readers could read differently is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from batchlearn.errors import quoted

_LONGEST_INTEGER = 20  # digits, as many as 64 bits have


class Malformed(ValueError):
    """Bytes are not what a file of ours holds; the message says what is wrong with which part."""


def dump(value: Any) -> bytes:
    """Write a value as JSON in UTF-8; floats come back to the last bit."""
    return (json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: tuples as lists, floats that are not finite as None."""
    import numpy as np  # imported here: what is read needs none of it, and a registry is only read

    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # names of files may hold lone surrogates
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parse(data: bytes) -> Any:
    """Read JSON in UTF-8; Malformed for repeated keys, NaN, huge numbers, lone surrogates and deep nesting."""
    try:
        value = json.loads(
            data.decode(),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
        json.dumps(value, ensure_ascii=False).encode()  # escaped lone surrogates show only when written
    except (ValueError, RecursionError) as problem:
        raise Malformed(quoted(problem, 200)) from problem
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = sorted(key for key, _ in pairs)
        twice = next(key for key, following in pairwise(keys) if key == following)
        raise ValueError(f"the key {quoted(twice)} comes twice")
    return found


def _constant(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large for a number")
    return number


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > _LONGEST_INTEGER:
        raise ValueError(f"{text[:20]}… is too large for an integer")
    return int(text)
