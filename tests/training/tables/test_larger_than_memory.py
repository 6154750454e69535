"""Where rows are kept changes no bit of what is learned from them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.training.made import LEVELS, table_of

import batchlearn as bl
from batchlearn.data.build import build_rows
from batchlearn.data.ledger import Ledger
from batchlearn.data.rows import memory
from batchlearn.data.rows.kept import FileChunks
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.kernels import native
from batchlearn.progress import finish
from batchlearn.tables.table import Table, budget, kept, segments
from batchlearn.tables.table.budget import MemoryBudget
from batchlearn.tables.table.kept import KeptColumns
from batchlearn.tables.table.segments import within
from batchlearn.training import evaluate as evaluating
from batchlearn.training import train as training

ROWS = 1_500
IN_MEMORY = 1 << 40


def columns_of(seed: int = 0, rows: int = ROWS) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    level = rng.integers(0, len(LEVELS), rows)
    first, second = rng.normal(size=rows), np.where(rng.random(rows) < 0.1, np.nan, rng.gamma(2.0, size=rows))
    score = np.sin(2.0 * first) + 0.3 * np.nan_to_num(second) + 0.4 * level - 1.0
    words = np.array(["late", "early", "long", "short", "cheap"])
    return {
        "first": first,
        "second": second,
        "level": [LEVELS[k] for k in level],
        "note": [" ".join(words[rng.random(5) < 0.5]) for _ in range(rows)],
        "when": np.arange(rows, dtype=np.float64),
        "weight": rng.integers(1, 4, rows).astype(float),
        "offset": rng.normal(0.0, 0.3, rows),
        "label": (rng.random(rows) < 1.0 / (1.0 + np.exp(-score))).astype(float),
        "amount": rng.poisson(np.exp(0.3 * score)).astype(float),
        "kind": [("a", "b", "c")[k] for k in np.minimum(rng.poisson(0.5 + 0.3 * level), 2)],
    }


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have rows cut into several chunks and blocks, few as they are."""
    monkeypatch.setattr(memory, "_LARGEST_CHUNK", 256)
    monkeypatch.setattr(kept, "batch_rows", lambda *_: 400)


def is_in_file(values: np.ndarray[Any, Any]) -> bool:
    """Whether an array lies in a file that is mapped: such memory is shared."""
    at = values.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        (place, kind, *_), name = line.split(maxsplit=5)[:5], line
        first, last = (int(end, 16) for end in place.split("-"))
        if first <= at < last:
            return kind.endswith("s") and name.endswith("(deleted)")
    return False


def fitted(
    table: Table, recipe: bl.Recipe, folder: Path, monkeypatch: pytest.MonkeyPatch, *, on_disk: bool
) -> tuple[bl.Fit, MemoryRows]:
    """Train with all rows in memory, or with none of them; return the fit and the rows that it is of."""
    encoded, ledgers = list[MemoryRows](), list[Ledger]()

    def seen(*given: Any, **options: Any) -> Any:
        ledgers.append(given[1])
        encoded.append((yield from build_rows(*given, **options)))
        return encoded[-1]

    with monkeypatch.context() as patch:
        patch.setattr(training, "build_rows", seen)
        if on_disk:
            patch.setattr(kept, "_SHARE", 0.0)
            patch.setattr(KeptColumns, "left", MemoryBudget(0, folder))
            # All arrays of more than a few rows are in files, those of the ledger and of the evaluation among them.
            patch.setattr(segments, "_LARGE", 1_000 / IN_MEMORY)
            patch.setattr(segments, "ARRAYS_SHARE", 0.0)
        with within(MemoryBudget(IN_MEMORY, folder)):
            fit = finish(training.iter_train(table, recipe, threads=1 + on_disk))
    assert all(is_in_file(each) is (on_disk and native.built()) for each in (ledgers[0].label, ledgers[0].lots.lot))
    assert len(encoded) == 3
    assert all(isinstance(rows.chunks, FileChunks) is on_disk for rows in encoded)
    assert all(len(rows.chunks) > 1 for rows in encoded)
    return fit, max(encoded, key=len)  # of the delivered fit, which is made beside the judged one


@pytest.mark.parametrize(
    ("target", "options", "recipe"),
    [
        ("label", {"time": "when"}, bl.Recipe()),
        ("label", {"text": ["note"], "weight": "weight"}, bl.Recipe(alpha=1e-3)),
        ("amount", {"offset": "offset", "time": "when"}, bl.Recipe("poisson")),
        ("amount", {}, bl.Recipe("huber", alpha=1e-2)),
        ("kind", {"time": "when"}, bl.Recipe(alpha=1e-2)),
        ("label", {"weight": "weight"}, bl.Recipe(alpha=1e-3, batch_size=64)),
        ("label", {"time": "when"}, bl.Recipe(alpha=1e-3, batch_size=1)),
        ("label", {}, bl.Recipe(alpha=1e-3, class_weight="balanced")),
    ],
)
def test_no_bit_depends_on_where_rows_are_kept(
    target: str, options: dict[str, Any], recipe: bl.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = columns_of()
    used = {target, "first", "second", "level", *options.get("text", ()), *map(str, options.values())}
    table = bl.read({name: values for name, values in columns.items() if name in used}, target=target, **options)
    here, there = (fitted(table, recipe, tmp_path, monkeypatch, on_disk=on_disk)[0] for on_disk in (False, True))
    assert here.model.parameters.tobytes() == there.model.parameters.tobytes()
    assert here.certificate == there.certificate
    assert (here.passes, here.objective, here.structure.strengths) == (
        there.passes,
        there.objective,
        there.structure.strengths,
    )
    assert here.evaluation is not None
    assert there.evaluation is not None
    assert here.evaluation.to_json() == there.evaluation.to_json()
    assert list(map(str, here.notes)) == list(map(str, there.notes))
    # The files have no name: nothing is left to be removed, or to be taken for whole after a kill.
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("on_disk", [False, True])
def test_later_rows_change_no_bit_of_the_model_that_is_evaluated(
    on_disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns, cut = columns_of(), int(0.8 * ROWS)
    other = columns_of(seed=1)
    mixed = {name: [*list(values[:cut]), *list(other[name][cut:])] for name, values in columns.items()}
    mixed["first"][cut:] = [1e6 * value for value in mixed["first"][cut:]]
    mixed["level"][cut:] = ["a level of its own"] * (ROWS - cut)
    tables = [
        bl.read(
            {name: each[name] for name in ("first", "second", "level", "when", "label")}, target="label", time="when"
        )
        for each in (columns, mixed)
    ]
    fits = [fitted(table, bl.Recipe(alpha=1e-3), tmp_path, monkeypatch, on_disk=on_disk)[0] for table in tables]
    found = [fit.evaluation for fit in fits]
    assert found[0] is not None
    assert found[1] is not None
    # Leave-one-out of the earlier rows says all of their optimum to the last bit.
    assert found[0].leave_one_out == found[1].leave_one_out
    assert found[0].metrics != found[1].metrics


def test_a_disk_that_fills_up_while_rows_are_encoded_ends_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, write = list[int](), os.pwrite

    def short(file: int, data: Any, at: int) -> int:
        written.append(len(data))
        if sum(written) > 20_000:
            raise OSError(28, "No space left on device")
        return write(file, data, at)

    monkeypatch.setattr(os, "pwrite", short)
    table = table_of({name: columns_of()[name] for name in ("first", "second", "label")})
    with pytest.raises(bl.ResourceError) as refused:
        fitted(table, bl.Recipe(alpha=1e-3), tmp_path, monkeypatch, on_disk=True)
    assert (refused.value.code, refused.value.exit_code) == ("disk-full", 5)
    assert list(tmp_path.iterdir()) == []
    assert written


def test_rows_in_a_file_are_read_a_chunk_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of({name: columns_of()[name] for name in ("first", "second", "level", "label")})
    _, rows = fitted(table, bl.Recipe(alpha=1e-3), tmp_path, monkeypatch, on_disk=True)
    chunks = rows.chunks
    assert isinstance(chunks, FileChunks)
    read = list[Any]()
    get = FileChunks._read

    def counted(self: FileChunks, written: Any) -> Any:
        read.append(written)
        return get(self, written)

    monkeypatch.setattr(FileChunks, "_read", counted)
    (stretch,) = rows.stretches(np.array([700, 5, 701]), 3)
    assert (len(stretch), len(read)) == (3, 2)
    read.clear()
    assert len(rows) == ROWS
    assert not read
    next(iter(chunks))
    assert len(read) < len(chunks)


@pytest.mark.parametrize(
    ("target", "roles"),
    [("label", {"time": "when"}), ("label", {"weight": "weight"}), ("kind", {"group": "level"}), ("amount", {})],
)
def test_an_evaluation_is_the_same_within_any_budget(
    target: str, roles: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = columns_of()
    table = bl.read(
        {name: columns[name] for name in {target, "first", "level", *roles.values()}}, target=target, **roles
    )
    model = bl.train(table, bl.Recipe(alpha=1e-2)).model
    expected = bl.evaluate(model, table).to_json()
    seen = list[Any]()
    evaluate = evaluating.evaluate_scored

    def looked_at(model: Any, rows: Any, **options: Any) -> Any:
        seen.append(rows)
        return evaluate(model, rows, **options)

    monkeypatch.setattr(evaluating, "evaluate_scored", looked_at)
    monkeypatch.setattr(segments, "_LARGE", 1_000 / IN_MEMORY)
    monkeypatch.setattr(segments, "ARRAYS_SHARE", 0.0)
    monkeypatch.setattr(budget, "_CACHE", [tmp_path])
    assert bl.evaluate(model, table, memory=IN_MEMORY).to_json() == expected
    assert is_in_file(seen[0].response) is native.built()
