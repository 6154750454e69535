"""The split: later rows by time, whole times only, the same rows for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchlearn.data.ledger import Ledger, read_ledger
from batchlearn.data.split import (
    Split,
    SplitKind,
    drawn,
    groups_on_both_sides,
    hold_out,
    split_kind,
    stretches,
    with_lots,
)
from batchlearn.errors import DataError, UsageError
from batchlearn.tables.table import read


def ledger_of(
    times: Any | None = None, labels: Any | None = None, rows: int = 100, groups: Any | None = None
) -> Ledger:
    n = rows if times is None else len(times)
    columns = {"y": np.arange(n, dtype=float) if labels is None else labels}
    if groups is not None:
        columns["g"] = groups
    if times is not None:
        columns["t"] = np.asarray(times, dtype=float)
    return lotted(columns, None if times is None else "t", None if groups is None else "g")


def lotted(columns: dict[str, Any], time: str | None = None, group: str | None = None, **roles: Any) -> Ledger:
    """Return the ledger of a table with its lots; every column without a role is a feature."""
    arrays = {name: pa.array(values, from_pandas=True) for name, values in columns.items()}
    table = read(pa.table(arrays), target="y", time=time, group=group, **roles)
    return with_lots(table, read_ledger(table))


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.9])
def test_the_latest_rows_are_held_out_whatever_their_order(share: float) -> None:
    times = np.random.default_rng(0).permutation(200)
    split = hold_out(ledger_of(times), share, 0)
    assert split.late is not None
    assert split.late.sum() == round(share * 200)
    assert times[split.late].min() > times[split.early].max()
    assert split.kind is SplitKind.TIME


@pytest.mark.parametrize("seed", range(20))
def test_equal_times_stay_together_and_the_share_is_the_nearest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = rng.integers(0, 12, 100)
    split = hold_out(ledger_of(times), 0.2, 0)
    assert split.late is not None
    assert np.array_equal(split.early, ~split.late)
    assert not set(times[split.early]) & set(times[split.late])
    possible = [(times > cut).sum() for cut in np.unique(times)[:-1]]
    assert abs(split.late.sum() - 20) == min(abs(count - 20) for count in possible)


def test_only_used_rows_are_split() -> None:
    labels = np.arange(50, dtype=float)
    labels[::3] = np.nan
    for times in (None, np.arange(50)):
        ledger = ledger_of(times, labels, rows=50)
        split = hold_out(ledger, 0.2, 0)
        assert split.late is not None
        assert np.array_equal(split.early | split.late, ledger.used)
        assert not (split.early & split.late).any()


def test_random_rows_depend_on_the_seed_alone() -> None:
    first, again, other = (hold_out(ledger_of(), 0.2, seed).late for seed in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.sum() == 20
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert hold_out(ledger_of(), 0.2, 1).kind is SplitKind.RANDOM


def test_one_time_for_all_rows_orders_nothing() -> None:
    split = hold_out(ledger_of(np.full(100, 5.0)), 0.2, 0)
    assert split.late is not None
    assert split.late.sum() == 20
    assert (split.kind, split.one_time) == (SplitKind.RANDOM, True)


@pytest.mark.parametrize(("share", "rows"), [(0.0, 100), (0.2, 2), (0.9, 3), (0.001, 100)])
def test_no_part_is_ever_empty(share: float, rows: int) -> None:
    split = hold_out(ledger_of(rows=rows), share, 0)
    assert split.late is None
    assert split.early.sum() == rows


def sides(ledger: Ledger, split: Split) -> tuple[set[int], set[int]]:
    assert split.late is not None
    assert ledger.group is not None
    assert np.array_equal(split.early | split.late, ledger.used)
    return set(ledger.group[split.early].tolist()), set(ledger.group[split.late].tolist())


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("share", [0.05, 0.2, 0.6])
def test_no_group_is_ever_on_both_sides(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, rng.integers(2, 60), 300).astype(float)
    labels = np.where(rng.random(300) < 0.1, np.nan, 1.0 + rng.random(300))
    ledger = ledger_of(labels=labels, rows=300, groups=groups)
    split = hold_out(ledger, share, seed, SplitKind.GROUP)
    early, late = sides(ledger, split)
    assert early
    assert late
    assert not early & late
    assert split.kind is SplitKind.GROUP


def test_the_share_of_many_small_groups_is_near_what_was_asked_for() -> None:
    for seed in range(20):
        groups = np.random.default_rng(seed).geometric(0.1, 2_000).cumsum().searchsorted(np.arange(2_000))
        split = hold_out(ledger_of(rows=2_000, groups=groups.astype(float)), 0.2, seed, SplitKind.GROUP)
        assert split.late is not None
        assert abs(split.late.sum() - 400) <= np.bincount(groups).max() / 2


@pytest.mark.parametrize("seed", range(10))
def test_a_group_with_nearly_all_rows_is_never_held_out(seed: int) -> None:
    groups = np.where(np.arange(100) < 90, 0.0, 1.0 + np.arange(100) % 3)
    ledger = ledger_of(groups=groups)
    split = hold_out(ledger, 0.05, seed, SplitKind.GROUP)
    assert split.late is not None
    assert 0 < split.late.sum() <= 10


def test_rows_without_a_group_stay_together() -> None:
    groups = np.where(np.arange(200) % 4 == 0, np.nan, np.arange(200) % 20.0)
    for seed in range(20):
        ledger = ledger_of(rows=200, groups=groups)
        early, late = sides(ledger, hold_out(ledger, 0.2, seed, SplitKind.GROUP))
        assert not early & late
        assert -1 in early | late


def test_groups_depend_on_the_seed_alone() -> None:
    groups = np.arange(100) % 17.0
    first, again, other = (hold_out(ledger_of(groups=groups), 0.2, seed, SplitKind.GROUP).late for seed in (1, 1, 2))
    assert first is not None
    assert np.array_equal(first, again)  # type: ignore[arg-type]
    assert not np.array_equal(first, other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("times", "groups", "kind"),
    [
        (None, None, "random"),
        (np.arange(10.0), None, "time"),
        (None, np.arange(10.0), "group"),
        (np.arange(10.0), np.arange(10.0), "time"),
        (np.ones(10), np.arange(10.0), "group"),
        (np.ones(10), np.ones(10), "time"),
        (None, np.ones(10), "random"),
    ],
)
def test_the_kind_follows_from_the_columns_unless_asked_for(times: Any, groups: Any, kind: str) -> None:
    ledger = ledger_of(times, rows=10, groups=groups)
    assert split_kind(ledger, None) == kind
    assert split_kind(ledger, "random") == "random"
    assert isinstance(split_kind(ledger, None), SplitKind)


@pytest.mark.parametrize("asked", ["time", "group"])
def test_a_split_that_the_rows_cannot_have_is_refused(asked: str) -> None:
    with pytest.raises(UsageError) as usage:
        split_kind(ledger_of(rows=10), asked)
    assert usage.value.code == f"split-needs-{asked}"
    assert f"--{asked}" in usage.value.message
    with pytest.raises(DataError) as data:
        split_kind(ledger_of(np.ones(10), groups=np.ones(10)), asked)
    assert data.value.code == f"one-{asked}"
    assert "all 10 usable rows" in data.value.message


def test_time_can_be_set_aside_for_groups() -> None:
    ledger = ledger_of(np.arange(100), groups=np.arange(100) % 9.0)
    by_time = hold_out(ledger, 0.2, 0, SplitKind.TIME)
    assert groups_on_both_sides(ledger, by_time) == (9, 9)
    by_group = hold_out(ledger, 0.2, 0, SplitKind.GROUP)
    assert groups_on_both_sides(ledger, by_group)[0] == 0


# --- the order of the rows ------------------------------------------------------------------------------------------


def mixture(rows: int, seed: int = 0) -> dict[str, Any]:
    """Draw columns of every kind, in which some rows repeat each other and some are set aside."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        "x": rng.normal(size=rows),
        "c": np.array([f"k{k}" for k in rng.integers(0, 4, rows)]),
        "w": rng.choice([0.0, 1.0, 2.5], rows),
        "g": np.array([f"g{k}" for k in rng.integers(0, 40, rows)]),
        "y": rng.normal(size=rows),
    }
    for values in columns.values():
        values[rows // 2 : rows // 2 + 30] = values[:30]
    return columns


@pytest.mark.parametrize("kind", [SplitKind.RANDOM, SplitKind.GROUP])
@pytest.mark.parametrize("seed", range(5))
def test_rows_in_another_order_are_split_in_the_same_way(kind: SplitKind, seed: int) -> None:
    columns = mixture(600, seed)
    order = np.random.default_rng(seed).permutation(600)
    ledgers = [lotted(one, None, "g", weight="w") for one in (columns, {k: v[order] for k, v in columns.items()})]
    first, other = (hold_out(ledger, 0.2, seed, kind) for ledger in ledgers)
    assert first.late is not None
    assert other.late is not None
    assert np.array_equal(first.late[order], other.late)
    chosen = [drawn(ledger, ledger.used, seed, 100) for ledger in ledgers]
    assert [columns["x"][k] for k in chosen[0]] == [columns["x"][order[k]] for k in chosen[1]]
    found = [stretches(ledger, ledger.used, 5, seed) for ledger in ledgers]
    places = [np.full(600, -1), np.full(600, -1)]
    for place, ledger, stretch in zip(places, ledgers, found, strict=True):
        place[ledger.used] = stretch
    # Equal rows are interchangeable: as many of each are in each stretch.
    pairs = [sorted(zip(one["x"], place, strict=True)) for one, place in zip(
        (columns, {k: v[order] for k, v in columns.items()}), places, strict=True)]  # fmt: skip
    assert pairs[0] == pairs[1]


def test_rows_drawn_are_all_and_any() -> None:
    ledger = lotted(mixture(600))
    part = np.random.default_rng(0).random(600) < 0.5
    entries = drawn(ledger, part, 7)
    assert np.array_equal(np.sort(entries), np.flatnonzero(part))
    assert np.array_equal(drawn(ledger, part, 7, 100), entries[:100])
    assert not np.array_equal(drawn(ledger, part, 8, 100), entries[:100])
    assert 250 < np.mean(entries[:100]) < 350
    # Every row is held out as often as any other.
    late = np.zeros(600)
    for seed in range(400):
        split = hold_out(ledger, 0.25, seed)
        assert split.late is not None
        late += split.late
    assert abs(late.mean() - 100.0) < 0.2
    assert np.all(np.abs(late - 100.0) < 5.0 * np.sqrt(400 * 0.25 * 0.75))


@pytest.mark.parametrize("seed", range(5))
def test_rows_entered_twice_are_on_one_side(seed: int) -> None:
    columns = mixture(600, seed)
    ledger = lotted(columns)
    split = hold_out(ledger, 0.2, seed)
    assert split.late is not None
    assert abs(split.late.sum() - 120) <= 1
    assert np.array_equal(split.late[300:330], split.late[:30])


@pytest.mark.parametrize("labels", [2, 1])
def test_repeats_of_few_different_rows_are_rows_of_their_own(labels: int) -> None:
    # One column of two values: with a label that differs beside it, and with one that it decides.
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, 1_000).astype(float)
    y = rng.integers(0, 2, 1_000).astype(float) if labels == 2 else x
    split = hold_out(lotted({"x": x, "y": y}), 0.2, 0)
    assert split.late is not None
    assert split.late.sum() == 200
    for a in (0.0, 1.0):
        assert 0.1 < split.late[x == a].mean() < 0.3
        assert 0.1 < split.late[y == a].mean() < 0.3


def test_rows_without_weight_do_not_move_the_others() -> None:
    columns = {name: values[:300] for name, values in mixture(600).items()}
    columns["w"] = np.ones(300)
    twice = {name: np.concatenate([values, values]) for name, values in columns.items()}
    twice["w"][300:] = 0.0
    first, other = (hold_out(lotted(one, weight="w"), 0.2, 0) for one in (columns, twice))
    assert first.late is not None
    assert other.late is not None
    assert np.array_equal(first.late, other.late[:300])


@pytest.mark.parametrize("scale", [1e-3, 7.3, 1e3])
def test_the_unit_of_the_weights_decides_nothing(scale: float) -> None:
    # Rows that differ by their weights alone are told apart by which of them is heavier.
    columns = mixture(600)
    columns["w"][:30] += np.random.default_rng(1).random(30)
    first, other = (lotted(one, weight="w") for one in (columns, {**columns, "w": scale * columns["w"]}))
    assert np.array_equal(first.lots.lot[first.used], other.lots.lot[other.used])


# --- stretches ------------------------------------------------------------------------------------------------------


def test_stretches_follow_time_and_have_about_as_many_rows() -> None:
    times = np.random.default_rng(0).permutation(100)
    ledger = ledger_of(times)
    found = stretches(ledger, ledger.used, 5, 0)
    assert np.array_equal(found, times // 20)
    part = times < 50
    assert np.array_equal(stretches(ledger, part, 5, 0), times[part] // 10)


@pytest.mark.parametrize("seed", range(5))
def test_rows_of_one_time_are_in_one_stretch(seed: int) -> None:
    times = np.random.default_rng(seed).integers(0, 7, 200)
    ledger = ledger_of(times)
    found = stretches(ledger, ledger.used, 5, 0)
    order = np.argsort(times, kind="stable")
    assert (np.diff(found[order]) >= 0).all()
    assert all(len(set(found[times == time])) == 1 for time in range(7))
    assert 2 <= len(set(found)) <= 5


@pytest.mark.parametrize("times", [None, np.full(100, 3.0)])
def test_without_a_time_that_tells_stretches_are_random(times: Any) -> None:
    ledger = ledger_of(times)
    found = stretches(ledger, ledger.used, 5, 1)
    assert np.array_equal(np.bincount(found), np.full(5, 20))
    assert np.array_equal(found, stretches(ledger, ledger.used, 5, 1))
    assert not np.array_equal(found, stretches(ledger, ledger.used, 5, 2))
    assert (np.diff(found) < 0).any()
