"""Cells in a store: what was computed is there again, and what is of another history is refused."""

from __future__ import annotations

from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from signal import SIGKILL
from time import sleep
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.backtesting.made import RECIPE, opened, stream

from batchlearn.backtesting.backtest import iter_backtest
from batchlearn.backtesting.outcome import Backtest
from batchlearn.backtesting.plan import BacktestPlan
from batchlearn.backtesting.replay import Durations
from batchlearn.errors import BatchlearnError
from batchlearn.models.files import read_model
from batchlearn.progress import finish
from batchlearn.retraining.policies import Action, Every, Never
from batchlearn.retraining.policies.combined import With
from batchlearn.retraining.policies.text import parse_policies
from batchlearn.training.recipe import Recipe

# What a training takes is what it took when it was done first, but in two runs without a cache: given, it is the same.
DURATIONS = Durations((1, 10_000), (1.0, 60.0))
POLICIES = "never; every 6d; every 6d with rows=new; every 6d with start=warm; gain 3"


def run(rows: pa.Table, cache: Path | None, recipe: Recipe = RECIPE, windows: int | str = "3d") -> Backtest:
    plan = BacktestPlan(windows=windows, cache=None if cache is None else str(cache), durations=DURATIONS)
    return finish(iter_backtest(opened(rows), parse_policies(POLICIES), recipe, plan, threads=1))


def stable(found: Any) -> Any:
    """Return a record without seconds."""
    if isinstance(found, dict):
        return {key: stable(value) for key, value in found.items() if "seconds" not in key and key != "fits"}
    return [stable(one) for one in found] if isinstance(found, list) else found


def test_a_run_that_was_killed_goes_on(tmp_path: Path) -> None:
    rows = stream(40, turns=(20,))
    plan = BacktestPlan(windows="3d", cache=str(tmp_path / "cache"), durations=DURATIONS)
    work = iter_backtest(opened(rows), parse_policies(POLICIES), RECIPE, plan, threads=1)
    while len(list((tmp_path / "cache").glob("cells/*"))) < 5:
        next(work)
    work.close()
    first, again, without = run(rows, tmp_path / "cache"), run(rows, tmp_path / "cache"), run(rows, None)
    assert again.fits < first.fits < without.fits
    assert stable(first.to_json()) == stable(without.to_json()) == stable(again.to_json())
    # Seconds of a training are those of when it was done.
    assert first.to_json()["policies"] == again.to_json()["policies"]


@pytest.mark.parametrize("start", ["warm", "update", "fine-tune"])
def test_a_chain_that_a_kill_cut_goes_on_where_it_was(start: str, tmp_path: Path) -> None:
    rows, policies = stream(30, turns=(15,)), (Every("6d"), With(Every("3d"), Action(start=start)))
    plan = BacktestPlan(windows="3d", cache=str(tmp_path / "cut"), durations=DURATIONS)
    work = iter_backtest(opened(rows), policies, RECIPE, plan, threads=1)
    said = ""
    while "scoring" not in said or f"window 4 of 8 ({start})" not in said:
        said = next(work).stage
    work.close()
    before = len(list((tmp_path / "cut").glob("models/*")))
    again = finish(iter_backtest(opened(rows), policies, RECIPE, plan, threads=1))
    plan = replace(plan, cache=str(tmp_path / "whole"))
    whole = finish(iter_backtest(opened(rows), policies, RECIPE, plan, threads=1))
    assert again.fits == whole.fits - before
    assert stable(again.to_json()) == stable(whole.to_json())
    for path in (tmp_path / "whole").glob("models/*"):
        there, here = (read_model(folder / "models" / path.name) for folder in (tmp_path / "whole", tmp_path / "cut"))
        assert there.model.parameters.tobytes() == here.model.parameters.tobytes()


def test_a_run_that_the_system_killed_goes_on(tmp_path: Path) -> None:
    rows, cache = stream(40, turns=(20,)), tmp_path / "cache"
    for cells in (2, 9):
        process = get_context("spawn").Process(target=run, args=(rows, cache))
        process.start()
        while process.is_alive() and len(list(cache.glob("cells/*"))) < cells:
            sleep(0.001)
        process.kill()
        process.join()
        assert process.exitcode == -SIGKILL
    assert stable(run(rows, cache).to_json()) == stable(run(rows, None).to_json())


def test_two_runs_at_once_share_a_cache_and_what_was_first_counts(tmp_path: Path) -> None:
    rows = stream(30, turns=(15,))
    plan = BacktestPlan(windows="3d", cache=str(tmp_path))
    two = [iter_backtest(opened(rows), parse_policies(POLICIES), RECIPE, plan, threads=1) for _ in range(2)]
    found = list[Backtest]()
    while two:
        for work in tuple(two):
            try:
                next(work)
            except StopIteration as end:
                found.append(end.value)
                two.remove(work)
    one, other = (each.to_json() for each in found)
    assert one["policies"] == other["policies"]
    assert one["oracle"] == other["oracle"]


def test_what_was_seen_of_late_classes_comes_back(tmp_path: Path) -> None:
    rows = stream(40)
    kind = np.where(rows.column("size").to_numpy() > 0.5, "high", "low").astype(object)
    kind[np.arange(len(kind)) % 3 == 0] = "middle"
    kind[1_000:][np.arange(len(kind) - 1_000) % 4 == 0] = "new"
    table = opened(rows.append_column("kind", pa.array(kind)), target="kind", drop=["known", "bought"])
    plan = BacktestPlan(windows=6, cache=str(tmp_path / "cache"), durations=DURATIONS)
    first, again = (
        finish(iter_backtest(table, (Never(), Every("6d")), replace(RECIPE, loss="softmax"), plan, threads=1))
        for _ in range(2)
    )
    assert first.fits > again.fits
    assert stable(first.to_json()) == stable(again.to_json())
    assert any("new" in str(note) for note in first.notes)
    # A model that has not seen a class gives it no probability: training once pays for it, training again does not.
    never, every = first.policies
    assert never.loss.value is not None
    assert every.loss.value is not None
    assert never.loss.value > every.loss.value + 1.0


@pytest.mark.parametrize(
    "other",
    [{"rows": stream(40, seed=1)}, {"recipe": Recipe(alpha=0.1)}, {"windows": "4d"}],
    ids=["rows", "recipe", "windows"],
)
def test_the_cache_of_another_table_is_refused(other: dict[str, Any], tmp_path: Path) -> None:
    run(stream(40), tmp_path)
    with pytest.raises(BatchlearnError) as refused:
        run(**{"rows": stream(40), "cache": tmp_path, **other})
    assert refused.value.code == "cache-of-another"


@pytest.mark.parametrize(
    "damage", ["cells/*/cell.json", "cells/*/rows.safetensors", "models/*/model.json", "models/*/weights.safetensors"]
)
def test_a_damaged_cell_is_no_cell(damage: str, tmp_path: Path) -> None:
    run(stream(40), tmp_path)
    for path in tmp_path.glob(damage):
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(BatchlearnError) as refused:
        run(stream(40), tmp_path)
    assert refused.value.code == "cache-damaged"
