from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import settings
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

# The same examples in every run: a red test must be red again when it is looked at.
settings.register_profile("batchlearn", derandomize=True, deadline=None)
settings.load_profile("batchlearn")


def flights(rows: int, first_day: str, seed: int) -> pa.Table:
    """Make flights whose delay depends on the hour, the carrier and chance, in order of departure."""
    rng = np.random.default_rng(seed)
    minute = np.sort(rng.integers(0, 14 * 24 * 60, rows))
    carrier = rng.integers(0, 4, rows)
    hour = minute // 60 % 24
    delay = 8.0 * rng.normal(size=rows) + hour - 2.0 * carrier
    return pa.table(
        {
            "departed": np.datetime64(first_day, "us") + minute.astype("timedelta64[m]"),
            "carrier": pa.array(np.array(["AA", "DL", "UA", "WN"])[carrier]),
            "distance": rng.uniform(100.0, 2500.0, rows).round(),
            "cancelled": rng.random(rows) < 0.02,
            "delay": delay,
            "delayed": delay > 15.0,
        }
    )


def into_a_folder_with_flights(namespace: dict[str, Any]) -> None:
    namespace["_folder"] = tempfile.TemporaryDirectory()
    namespace["_came_from"] = Path.cwd()
    os.chdir(namespace["_folder"].name)
    pq.write_table(flights(4_000, "2008-01-01", seed=1), "flights.parquet")
    pq.write_table(flights(1_000, "2008-01-15", seed=2), "later.parquet")


def back_again(namespace: dict[str, Any]) -> None:
    os.chdir(namespace["_came_from"])
    namespace["_folder"].cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=["README.md"],
    setup=into_a_folder_with_flights,
    teardown=back_again,
).pytest()
