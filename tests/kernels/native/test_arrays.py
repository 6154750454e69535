"""Where NumPy's large arrays lie changes nothing of them, and what does not fit on the disk is said."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchlearn.errors import ResourceError
from batchlearn.kernels import native
from batchlearn.tables.table.budget import UNLIMITED, MemoryBudget, in_force
from batchlearn.tables.table.segments import within

pytestmark = pytest.mark.skipif(native.compiled() is None, reason="only compiled kernels give arrays another memory")
MEMORY = 64 << 20  # an array of 1 MB is large, and 16 MB of such stay in memory
ROWS = 1 << 20


def mapped(folder: Path) -> int:
    """Return the bytes of files of a folder that are mapped now; none of them has a name."""
    lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line]
    assert all(line.endswith("(deleted)") for line in lines)
    assert not list(folder.iterdir())
    return sum(int(end, 16) - int(start, 16) for start, end in (line.split()[0].split("-") for line in lines))


def test_large_arrays_are_in_files_once_there_are_too_many(tmp_path: Path) -> None:
    with within(MemoryBudget(MEMORY, tmp_path)):
        here = [np.ones(ROWS), np.ones(ROWS)]
        assert mapped(tmp_path) == 0
        there = [np.full(ROWS, 3.0), np.zeros(ROWS)]
        assert mapped(tmp_path) == 2 * 8 * ROWS
        small = [np.ones(1_000) for _ in range(10)]
        del here[0]
        assert np.full(ROWS, 5.0).sum() == 5.0 * ROWS
        assert mapped(tmp_path) == 2 * 8 * ROWS
    # They outlive it, and who comes later has arrays in memory again.
    assert [each.sum() for each in (*here, *there, small[0])] == [ROWS, 3.0 * ROWS, 0.0, 1_000.0]
    later = np.ones(4 * ROWS)
    there.pop()
    assert mapped(tmp_path) == 8 * ROWS
    there.clear()
    assert mapped(tmp_path) == 0
    assert later.sum() == 4 * ROWS


@pytest.mark.parametrize("sizes", [(10, 20, 15), (10, ROWS, 2 * ROWS), (ROWS, 10, ROWS), (0, ROWS, 0, 10)])
def test_an_array_keeps_its_values_when_it_is_resized(sizes: tuple[int, ...], tmp_path: Path) -> None:
    with within(MemoryBudget(MEMORY, tmp_path)):
        for full in (False, True):
            held = np.ones(2 * ROWS) if full else None
            values: Any = np.arange(float(sizes[0]))
            for size in sizes[1:]:
                kept = values.copy()
                values.resize(size, refcheck=False)
                both = min(len(kept), size)
                assert np.array_equal(values[:both], kept[:both])
                assert not values[both:].any()
                values += 1.0
            del held


def test_what_is_worked_out_has_the_same_bits(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=ROWS)

    def worked() -> list[Any]:
        order, table = np.argsort(values, kind="stable"), values.reshape(64, -1)
        return [
            order,
            np.cumsum(values[order]),
            np.add.reduceat(values, [0, 7, 99_999]),
            table @ table.T,
        ]

    expected = worked()
    with within(MemoryBudget(1 << 20, tmp_path)):
        found = worked()
        assert mapped(tmp_path) > 0
    assert all(one.tobytes() == other.tobytes() for one, other in zip(expected, found, strict=True))


def test_threads_make_and_drop_arrays_at_once(tmp_path: Path) -> None:
    def work(number: int) -> float:
        return float(sum(np.full(ROWS // 4, float(number)).sum() for _ in range(20)))

    with within(MemoryBudget(1 << 20, tmp_path)), ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(copy_context().run, work, number) for number in range(8)]
        assert [each.result() for each in waiting] == [20.0 * number * (ROWS // 4) for number in range(8)]
    assert mapped(tmp_path) == 0


def test_budgets_nest(tmp_path: Path) -> None:
    outer, inner = MemoryBudget(1 << 20, tmp_path / "outer"), MemoryBudget(1 << 20, tmp_path / "inner")
    with within(outer):
        with within(inner):
            assert in_force.get() is inner
        with pytest.raises(KeyError), within(inner):
            raise KeyError
        assert in_force.get() is outer
        values = np.ones(ROWS)
        assert (mapped(tmp_path / "outer"), (tmp_path / "inner").exists()) == (8 * ROWS, False)
        with within(UNLIMITED):
            assert np.ones(ROWS).sum() == values.sum()
    assert in_force.get() is UNLIMITED


@contextmanager
def shortest_files(most: int) -> Iterator[None]:
    """Let no file of this process become longer: a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_said_and_ends_nothing_else(tmp_path: Path) -> None:
    budget = MemoryBudget(1 << 20, tmp_path)
    with shortest_files(4 * ROWS), pytest.raises(ResourceError) as refused, within(budget):
        np.ones(ROWS)
    assert (refused.value.code, refused.value.exit_code) == ("disk-full", 5)
    assert mapped(tmp_path) == 0


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError) as refused, within(MemoryBudget(1 << 20, tmp_path / "file" / "below")):
        np.ones(ROWS)
    assert refused.value.code == "cache-not-writable"
    assert "BATCHLEARN_CACHE" in str(refused.value)


@pytest.mark.parametrize("listens", [False, True])
def test_a_disk_that_cannot_give_rows_back_ends_the_process_with_the_reason(listens: bool, tmp_path: Path) -> None:
    """A page that is not there any more is the same signal; who listened for it before still hears of it."""
    code = f"""
import faulthandler, os, pathlib
import pyarrow as pa
from batchlearn.tables.table.budget import MemoryBudget
from batchlearn.tables.table.segments import Segments, within
{"faulthandler.enable()" if listens else ""}
with within(MemoryBudget(0, pathlib.Path({str(tmp_path)!r}))) as _:
    segments = Segments(MemoryBudget(0, pathlib.Path({str(tmp_path)!r})))
    kept = segments.get(segments.add([pa.array(range(10_000))]))
    os.ftruncate(segments._file, 0)
    print(kept[0][9_000])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stderr.startswith(f"error: rows that were put into '{tmp_path}' cannot be read again")
    assert (ended.returncode, "Bus error" in ended.stderr) == ((-signal.SIGBUS, True) if listens else (5, False))


def test_where_no_memory_is_left_it_is_no_matter_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(MemoryError), within(MemoryBudget(1 << 60, tmp_path)):
        np.empty(1 << 50)


def test_without_compiled_kernels_arrays_stay_in_memory(tmp_path: Path) -> None:
    with native.numpy_serves(), within(MemoryBudget(1 << 20, tmp_path)):
        assert np.ones(ROWS).sum() == ROWS
        assert in_force.get().memory == 1 << 20
    assert os.listdir(tmp_path) == []
