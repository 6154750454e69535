"""What is served from a first reading is what another reading of the source would give."""

from __future__ import annotations

import datetime
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import batchlearn as bl
from batchlearn.errors import DataError, IntegrityError, ResourceError, UsageError
from batchlearn.progress import finish
from batchlearn.tables.sources import ArrowSource
from batchlearn.tables.table import Scan, Table, budget, kept, read
from batchlearn.tables.table.budget import MemoryBudget, budget_of
from batchlearn.tables.table.kept import keep
from batchlearn.tables.table.segments import within

ROWS = 700
IN_MEMORY = 1 << 40


def columns_of(rows: int = ROWS) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    missing = rng.random(rows) < 0.1
    start = datetime.datetime(1961, 2, 3, 4, 5, 6, 789_000)
    return {
        "small": pa.array(rng.integers(-100, 100, rows), mask=missing),
        "unsigned": pa.array(rng.integers(0, 60_000, rows).astype(np.float64)),
        "large": pa.array(rng.integers(-(2**53), 2**53, rows)),
        "half": pa.array(rng.integers(0, 100, rows) / 2.0, mask=missing),
        "real": pa.array(np.where(missing, np.nan, rng.normal(size=rows))),
        "signed zero": pa.array(np.where(rng.random(rows) < 0.5, -0.0, 0.0)),
        "flag": pa.array(rng.random(rows) < 0.5, mask=missing),
        "level": pa.array([f"level {k}" for k in rng.integers(0, 300, rows)], mask=missing),
        "note": pa.array([f" note {k} of its own" for k in range(rows)]),
        "when": pa.array([start + datetime.timedelta(microseconds=int(k)) for k in rng.integers(0, 2**50, rows)]),
        "nothing": pa.nulls(rows, pa.float64()),
        "times": pa.array(rng.integers(0, 3, rows)),
    }


def all_of(scan: Scan) -> dict[str, Any]:
    """Read a scan to its end; return its values to the bit, where they stand, and what it counted."""
    batches, places = [], []
    for batch in scan:
        assert batch.num_rows
        batches.append(batch)
        places.append(scan.places)
    table = pa.Table.from_batches(batches)
    values = {
        name: (str(table.schema.field(name).type), list(map(str, table[name].to_pylist())))
        for name in table.column_names
    }
    counts = scan.rows_read, scan.rows_kept, dict(scan.unreadable), scan.examples
    return {"values": values, "places": np.concatenate(places).tolist(), "counts": counts}


@pytest.fixture
def on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryBudget:
    """Return a budget that leaves no room for columns."""
    monkeypatch.setattr(kept, "_SHARE", 0.0)
    return MemoryBudget(IN_MEMORY, tmp_path)


def kept_within(budget: MemoryBudget, table: Table, names: list[str]) -> Table:
    """Keep columns of a table within a budget."""
    with within(budget):
        return finish(keep(table, names))


def check(table: Table, names: list[str], budget: MemoryBudget) -> Table:
    """Check that every column is served alike, alone and with the others."""
    first = kept_within(budget, table, names)
    expected = [all_of(table.scan(own)) for own in (names, *([name] for name in names), names[::-2])]
    found = [all_of(first.scan(own)) for own in (names, *([name] for name in names), names[::-2])]
    assert found == expected
    return first


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("shared", [1 << 17, 100])
@pytest.mark.parametrize(
    "options", [{}, {"where": "small > 20 or half is null"}, {"weight": "times", "weight_kind": "frequency"}]
)
def test_what_is_served_is_what_the_source_would_give(
    options: dict[str, Any], shared: int, share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_SHARED_LEVELS", shared)
    monkeypatch.setattr(kept, "_SHARE", share)
    monkeypatch.setattr(kept, "batch_rows", lambda *_: 150)
    monkeypatch.setattr("batchlearn.tables.sources.BATCH_ROWS", 64)
    monkeypatch.setattr("batchlearn.tables.sources.batch_rows", lambda *_: 64)
    table = read(pa.table(columns_of()), **options)
    names = [column.name for column in table.columns if column.name != "times"]
    found = check(table, names, MemoryBudget(IN_MEMORY, tmp_path))
    assert found.kept is not None
    assert found.kept.segments.on_disk is (share == 0.0)
    assert len(found.kept.blocks) >= 2


def test_texts_that_cannot_be_read_are_counted_as_by_the_source(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    lines = "".join(f"{k},{k % 3},x{k % 5}\n" for k in range(200))
    path.write_text(f"a,b,c\n{lines}")
    known = read(path).readings
    path.write_text(f"a,b,c\n{lines}seven,2,x\neight,,\n\n")
    table = read(path, like=known)
    found = check(table, ["a", "b", "c"], MemoryBudget(IN_MEMORY, tmp_path))
    scan = found.scan(["a"])
    assert list(scan)
    assert scan.said_of_unreadable("a") == "2 values cannot be read as a number, such as 'seven', 'eight'"
    assert not found.scan(["b"]).unreadable
    assert found.lines_passed_over == table.lines_passed_over


def test_what_is_asked_for_otherwise_is_read_from_the_source(tmp_path: Path) -> None:
    table = read(pa.table({"x": [1.0, 2.0, 3.0], "y": [" a", "b", "a"]}))
    first = kept_within(MemoryBudget(IN_MEMORY, tmp_path), table, ["x", "y"])
    assert all_of(replace(first, outer_spaces=True).scan(["y"]))["values"]["y"][1] == [" a", "b", "a"]
    other = replace(first, condition=read(pa.table({"x": [1.0]}), where="x > 1").condition)
    assert all_of(other.scan(["x"]))["values"]["x"][1] == ["2.0", "3.0"]
    assert all_of(first.scan(["x"]))["values"]["x"][1] == ["1.0", "2.0", "3.0"]


def test_a_file_that_changed_since_it_was_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    first = kept_within(MemoryBudget(IN_MEMORY, tmp_path), read(path), ["a", "b"])
    assert all_of(first.scan(["a"]))["values"]["a"][1] == ["1.0", "3.0"]
    path.write_text("a,b\n1,2\n3,4\n5,6\n")
    with pytest.raises(DataError) as refused:
        first.scan(["a"])
    assert refused.value.code == "file-changed"


def test_a_training_reads_its_source_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=2_000)
    read_columns = list[list[str]]()
    batches = ArrowSource.batches

    def counted(source: ArrowSource, columns: Any) -> Any:
        read_columns.append([*columns])
        yield from batches(source, columns)

    table = bl.read({"x": x, "z": rng.normal(size=2_000), "y": x + rng.normal(size=2_000)}, target="y")
    monkeypatch.setattr(ArrowSource, "batches", counted)
    bl.train(table, bl.Recipe(alpha=1e-3))
    assert read_columns == [["x", "z", "y"]]


def flip(segments: Any, at: int) -> None:
    (byte,) = os.pread(segments._file, 1, at)
    os.pwrite(segments._file, bytes([byte ^ 1]), at)


def test_bytes_that_the_disk_changed_are_found(on_disk: MemoryBudget) -> None:
    table = kept_within(on_disk, read({"x": np.random.default_rng(0).normal(size=5_000)}), ["x"])
    assert table.kept is not None
    segments: Any = table.kept.segments
    flip(segments, 3_000)
    with pytest.raises(IntegrityError) as found:
        list(table.scan(["x"]))
    assert found.value.code == "kept-rows-damaged"
    flip(segments, 3_000)
    assert len(list(table.scan(["x"]))) == 1
    segments._checked[0] = 0
    os.ftruncate(segments._file, 3_000)
    with pytest.raises(IntegrityError):
        list(table.scan(["x"]))


def test_a_folder_that_cannot_be_written_is_said(on_disk: MemoryBudget, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError) as refused:
        kept_within(replace(on_disk, folder=tmp_path / "file" / "below"), read({"x": np.arange(9.0)}), ["x"])
    assert refused.value.code == "cache-not-writable"
    assert "BATCHLEARN_CACHE" in str(refused.value)


def test_a_full_disk_is_said_and_nothing_is_left(
    on_disk: MemoryBudget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(ResourceError) as refused:
        kept_within(on_disk, read({"x": np.arange(9.0)}), ["x"])
    assert (refused.value.code, refused.value.exit_code) == ("disk-full", 5)
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_says_how_much_is_needed(tmp_path: Path) -> None:
    table = read({"x": np.arange(1000.0)})
    with pytest.raises(ResourceError) as refused:
        kept_within(MemoryBudget(1_000_000, tmp_path), table, ["x"])
    assert (refused.value.code, refused.value.exit_code) == ("memory-too-small", 5)
    least = re.findall(r"--memory (\w+)", str(refused.value))[0]
    assert len(list(kept_within(budget_of(least, tmp_path), table, ["x"]).scan(["x"]))) == 1


@pytest.mark.parametrize(
    ("given", "memory"),
    [("4GB", 4 * 10**9), ("512 MiB", 2**29), ("1.5g", 15 * 10**8), ("7", 7), (7, 7), ("2k", 2000), ("1TiB", 2**40)],
)
def test_a_size_of_memory(given: str | int, memory: int) -> None:
    assert budget_of(given).memory == memory


@pytest.mark.parametrize("given", ["", "much", "-1", "1.5.2GB", "GB", "4 XB", "1e9"])
def test_what_is_no_size_is_refused(given: str) -> None:
    with pytest.raises(UsageError) as refused:
        budget_of(given)
    assert refused.value.code == "memory-not-a-size"


def test_by_default_two_thirds_of_what_is_free_may_be_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = budget.free_memory()
    assert free is None or 0 < free < 2**60
    # A group of processes has its own limit, as the groups around it, and what is taken of it is not free.
    monkeypatch.setattr(budget, "_GROUPS", tmp_path)
    inner = tmp_path / "memory" / "outer" / "inner"
    inner.mkdir(parents=True)
    for folder, limit, taken in ((inner, 3_000_000, 1_500_000), (inner.parent, 9_000_000, 8_000_000)):
        (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
        (folder / "memory.usage_in_bytes").write_text(f"{taken}\n")
    told = "3:cpu,cpuacct:/outer\n4:memory:/outer/inner\n0::/\n"
    assert list(budget._free_in_groups(told)) == [1_500_000, 1_000_000]
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("5\n")
    assert list(budget._free_in_groups("0::/elsewhere\n")) == []
    (tmp_path / "memory.max").write_text("7\n")
    assert list(budget._free_in_groups("0::/elsewhere\n")) == [2]
    monkeypatch.setattr(budget, "_free_in_groups", lambda _: iter([1_500_000]))
    assert budget_of().memory == 1_000_000
