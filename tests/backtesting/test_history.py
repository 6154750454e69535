"""History: what is known when, and how it is cut into windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.backtesting.made import DAY, history_of, opened, stream

from batchlearn.backtesting.history import Arrivals, read_history
from batchlearn.errors import BatchlearnError
from batchlearn.retraining.sources.label_times import count_new_rows


def test_a_row_is_known_when_it_was_seen_had_rested_was_labelled_and_landed() -> None:
    rows = stream(20)
    seen = rows.column("seen").to_numpy().astype("datetime64[us]").astype(float)
    landed = np.where(np.arange(len(seen)) % 2 == 0, seen + 5 * DAY, seen)
    rows = rows.append_column("landed", pa.array(landed.astype("int64")).cast(pa.timestamp("us")))
    rows = rows.set_column(1, "known", pa.array((seen + 3 * DAY).astype("int64")).cast(pa.timestamp("us")))
    history = read_history(opened(rows), Arrivals("known", "landed", "4d"), 10, 0.2)
    assert history.known.tolist() == np.maximum(seen + 4 * DAY, landed).tolist()
    assert {"known", "landed"} <= set(history.table.roles.drop)


@pytest.mark.parametrize("late", [False, True])
def test_as_many_rows_are_known_as_production_counts(late: bool) -> None:
    """The condition that trains and the counts that policies see are those of the cycle."""
    rows = stream(30, delay=4)
    missing = pa.array([None if at % 7 == 0 else value for at, value in enumerate(rows.column("bought").to_pylist())])
    history = history_of(rows.set_column(4, "bought", missing), late=late)
    for edge in history.edges[:-1]:
        found = count_new_rows(history.table, history.times, float(edge), float(history.edges[0]), None)
        assert found.known == history.known_by(float(edge))
        assert found.unlearned == found.known - history.known_by(float(history.edges[0]))


def test_windows_of_days_begin_at_midnight_and_hold_all_later_rows() -> None:
    history = history_of(stream(50), "7d")
    assert np.all(history.edges % DAY == 0.0)
    assert np.all(np.diff(history.edges) == 7 * DAY)
    assert history.starts[-1] == len(history.seen)
    assert history.starts[0] == int(np.sum(history.seen <= history.edges[0]))


def test_windows_may_be_a_number_of_equal_ones() -> None:
    history = history_of(stream(50), 12)
    assert history.windows == 12
    assert np.ptp(np.diff(history.edges)) <= 1.0
    assert history.edges[-1] == history.seen[-1]


def without_labels(after: int) -> pa.Table:
    rows = stream(30)
    labels = [value if at < after else None for at, value in enumerate(rows.column("bought").to_pylist())]
    return rows.set_column(4, "bought", pa.array(labels, pa.bool_()))


@pytest.mark.parametrize(
    ("rows", "roles", "arrivals", "windows", "code"),
    [
        (stream(30), {"time": None}, Arrivals(), 10, "no-time"),
        (stream(30), {"target": None}, Arrivals(), 10, "no-target"),
        (without_labels(0), {}, Arrivals(), 10, "no-labels"),
        (without_labels(40), {}, Arrivals(), "3d", "one-window"),  # labels of one day, and so in no window
        (stream(30), {}, Arrivals(), 1, "windows-range"),
        (stream(30), {}, Arrivals(), 100_000, "windows-range"),
        (stream(30), {}, Arrivals(), "60d", "one-window"),
        (stream(30), {}, Arrivals(), "7", "span-unit"),
        (stream(30), {}, Arrivals("nowhere"), 10, "column-missing"),
        (stream(30), {}, Arrivals(None, "size"), 10, "role-kind"),
        (stream(30).slice(0, 1), {}, Arrivals(), 10, "one-window"),
        (stream(30), {}, Arrivals(wait="90d"), 10, "one-window"),
    ],
)
def test_what_cannot_be_cut_is_refused(
    rows: pa.Table, roles: dict[str, Any], arrivals: Arrivals, windows: int | str, code: str
) -> None:
    with pytest.raises(BatchlearnError) as refused:
        read_history(opened(rows, **roles), arrivals, windows, 0.2)
    assert refused.value.code == code
