"""JSON: one object a row, whose keys are the columns, on lines of their own or in one array."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pajson

from batchlearn.errors import DataError, quoted
from batchlearn.tables.columns import EXACT_INTEGER
from batchlearn.tables.files import Stamp
from batchlearn.tables.text.characters import CheckedCharacters

_ROWS = 10_000
_BLOCK_BYTES = 64 << 20


def json_lines(path: Path) -> pa.Table:
    """Read a file whole. Texts have no types, as those of a CSV file; a column that mixes types is one of texts."""
    stamp = Stamp.of(path)
    with CheckedCharacters(path, quotes=False) as characters:
        data = b"".join(iter(lambda: characters.read(1 << 22), b"")).removeprefix(b"\xef\xbb\xbf")
    stamp.check()
    if not data.strip():
        raise DataError(f"file {quoted(path)} is empty; a table needs rows", code="file-empty")
    if data.lstrip().startswith(b"["):
        data = _lines_of_array(data, path)
    try:
        table = _typed(data)
    except pa.ArrowException:
        # Values of several types in one column, or no JSON, of which the other way says the line.
        table = None
    if table is None or _may_be_rounded(table):
        table = _as_texts(data, path)
    return table


def _lines_of_array(data: bytes, path: Path) -> bytes:
    """Write each object of an array on a line of its own."""
    try:
        rows = json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError) as problem:
        raise DataError(
            f"file {quoted(path)} begins with [ and is no JSON array ({problem}): correct it", code="json-unreadable"
        ) from problem
    return b"\n".join(json.dumps(row).encode() for row in rows)


def _typed(data: bytes) -> pa.Table:
    options = pajson.ReadOptions(block_size=_BLOCK_BYTES)
    table = pajson.read_json(io.BytesIO(data), options)
    # What looks like a time is a text like others: which form it has, and which zone, is found over all of them.
    times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    if not times:
        return table
    schema = pa.schema([field.with_type(pa.string()) if field.name in times else field for field in table.schema])
    return pajson.read_json(io.BytesIO(data), options, pajson.ParseOptions(explicit_schema=schema))


def _may_be_rounded(table: pa.Table) -> bool:
    """Whether a number is so large that it may have been a whole one which float64 does not hold."""
    floats = [column for column in table.columns if pa.types.is_float64(column.type)]
    largest = [pc.max(pc.abs(column)).as_py() for column in floats]
    return any(value is not None and value >= EXACT_INTEGER for value in largest)


def _as_texts(data: bytes, path: Path) -> pa.Table:
    """Read each value as the text that stands there; objects and lists make a column of a type without a kind."""
    columns: dict[str, list[str | None]] = {}
    nested: set[str] = set()
    rows = 0
    parts: list[pa.Table] = []
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        for name, value in _object(line, number, path).items():
            values = columns.setdefault(name, [])
            values += [None] * (rows - len(values))
            if isinstance(value, (dict, list)):
                nested.add(name)
                value = None
            values.append(str(value).lower() if isinstance(value, bool) else value)
        rows += 1
        if rows == _ROWS:
            parts.append(_part(columns, rows))
            columns, rows = {name: [] for name in columns}, 0
    table = pa.concat_tables([*parts, _part(columns, rows)], promote_options="default")
    for name in nested:
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.nulls(table.num_rows, pa.list_(pa.null())))
    return table


def _part(columns: dict[str, list[str | None]], rows: int) -> pa.Table:
    return pa.table(
        {name: pa.array([*values, *[None] * (rows - len(values))], pa.string()) for name, values in columns.items()}
    )


def _object(line: bytes, number: int, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(line, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_once)
    except (ValueError, RecursionError) as problem:
        raise DataError(
            f"file {quoted(path)}, line {number:,} is no JSON object ({problem}); each line needs to be one, such as "
            '{"x": 1.5, "plan": "basic"}: correct it',
            code="json-unreadable",
        ) from problem
    if not isinstance(found, dict):
        raise DataError(
            f"file {quoted(path)}, line {number:,} is no JSON object but {quoted(line[:80].decode())}; each line needs "
            'to be one, such as {"x": 1.5, "plan": "basic"}: correct it',
            code="json-unreadable",
        )
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that an object has twice: which value is meant is not known."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {repeated!r} occurs twice")
    return found
