"""The first rows of a real data set as pandas writes them to a text file, and the same rows as Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROWS = 20_000
COLUMNS = Path(__file__).with_name("columns.json")
"""How each column is read and whether it is used, by set: written by `python benchmarks/real_tables.py --write`."""
TIMES = {"acs_employment_ma": "year", "diabetes130": "encounter_id"}
"""Columns that order the rows, where the file does not name one."""
_LOSSES = {"squared": "mse", "logistic": "log_loss", "softmax": "log_loss"}


def roles(path: Path) -> list[str]:
    """Return target and time of a set as they are typed."""
    words = {key.decode(): value.decode() for key, value in pq.read_schema(path).metadata.items()}
    time = words["time"] or TIMES.get(path.stem)
    return ["--target", words["target"], *(["--time", time] if time else [])]


def write_both(path: Path, text: Path, parquet: Path) -> None:
    """Write the first rows with pandas' defaults, and as Parquet of the types that a text file can carry.

    Texts of nothing but numbers are numbers in it and float32 is the number that its digits say, for a text file knows
    no other; a list is a column for each element, for pandas writes no list that anything reads.
    """
    table = next(pq.ParquetFile(path).iter_batches(ROWS))
    columns: dict[str, pa.Array] = {}
    for name, column in zip(table.schema.names, table.columns, strict=True):
        if pa.types.is_fixed_size_list(column.type):
            elements, width = column.flatten(), column.type.list_size
            columns |= {f"{name}_{place}": elements[place::width] for place in range(width)}
        else:
            columns[name] = column
    pa.table(columns).to_pandas().to_csv(text)
    pq.write_table(pa.table({name: _as_text_has_it(column) for name, column in columns.items()}), parquet)


def _as_text_has_it(column: pa.Array) -> pa.Array:
    if pa.types.is_float32(column.type):
        return column.cast(pa.string()).cast(pa.float64())
    if not pa.types.is_dictionary(column.type):
        return column
    texts = column.cast(pa.string())
    plain = pc.match_substring_regex(texts.drop_null(), r"^(0|[1-9]\d*)(\.\d+)?$")
    return texts.cast(pa.float64()) if pc.all(plain).as_py() else texts


def read_as(record: Mapping[str, Any]) -> dict[str, str]:
    """Return how each column is read, with "left out" where it is not used."""
    return {each["name"]: str(each["read_as"]) + ("" if each["used"] else ", left out") for each in record["columns"]}


def held_out_loss(record: Mapping[str, Any]) -> tuple[float, float]:
    """Return the loss on the held-out rows, and that of the constant."""
    metric, evaluation = _LOSSES[record["loss"]], record["evaluation"]
    return evaluation["metrics"][metric]["value"], evaluation["baselines"]["constant"][metric]["value"]


def same_loss(text: tuple[float, float], parquet: tuple[float, float]) -> bool:
    """Whether the loss is within 1 %, or both next to nothing: a column may give the answer away."""
    return abs(text[0] - parquet[0]) <= 0.01 * parquet[0] + 1e-6 * parquet[1]
