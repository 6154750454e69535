"""Real data sets as text files that pandas wrote: read as the types that were written, and worth as much."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cases.made import Command
from tests.cases.real import COLUMNS, held_out_loss, read_as, roles, same_loss, write_both

EXPECTED: dict[str, dict[str, str]] = json.loads(COLUMNS.read_text(encoding="utf-8"))
# `python benchmarks/real_tables.py` trains on all of them; these take two seconds each.
TRAINED = [
    *("acs_employment_ma", "adult", "bank_marketing", "beijing_air", "bike_sharing_hour", "metro_traffic"),
    *("noaa_weather", "nycflights13", "shuttle"),
]


def test_every_set_is_in_the_table(shared_data: Path) -> None:
    assert {path.stem for path in shared_data.glob("*.parquet")} == {*EXPECTED}


@pytest.mark.parametrize("name", TRAINED)
def test_a_text_file_trains_as_well_as_parquet(ask: Command, shared_data: Path, name: str) -> None:
    path = shared_data / f"{name}.parquet"
    write_both(path, Path("rows.csv"), Path("rows.parquet"))
    text = ask("train", "rows.csv", *roles(path), "--output", "of_text")
    assert text.code == 0, text.record
    assert read_as(text.record) == EXPECTED[name]
    parquet = ask("train", "rows.parquet", *roles(path), "--output", "of_parquet")
    assert same_loss(held_out_loss(text.record), held_out_loss(parquet.record))


@pytest.mark.parametrize("name", [name for name in EXPECTED if name not in TRAINED])
def test_columns_of_a_text_file_are_read_as_what_they_are(ask: Command, shared_data: Path, name: str) -> None:
    path = shared_data / f"{name}.parquet"
    write_both(path, Path("rows.csv"), Path("rows.parquet"))
    answer = ask("inspect", "rows.csv", *roles(path))
    assert answer.code == 0, answer.record
    found = read_as(answer.record)
    # What only all rows can tell, such as that a column is constant, `inspect` leaves to `train`.
    expected = {
        column: how if "left out" in found[column] else how.removesuffix(", left out")
        for column, how in EXPECTED[name].items()
    }
    assert found == expected
