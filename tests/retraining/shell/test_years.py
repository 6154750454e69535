"""A small part of `python -m benchmarks.ten_years`: cron, a kill, stations that come, nothing for a person to do."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from tests.retraining.shell.stations import World
from tests.retraining.shell.years import Unattended


def test_cron_needs_nobody_although_the_machine_dies(tmp_path: Path) -> None:
    # No call takes less than two processes and two trainings do, so the kill is in time on any machine.
    project = Unattended(tmp_path / "project", World(seed=1, quarters=2, stations=5), longest_life=1.5)
    project.begin("alpha = 0.001")
    calls = list(project.live_through(kills=1))
    assert project.faults(calls, 1, tmp_path / "exact") == []


def test_the_source_has_late_files_and_stations_that_come_and_go(tmp_path: Path) -> None:
    world = World(seed=0, quarters=8)
    names = [name for quarter in range(8) for name in world.land(quarter, tmp_path)]
    stations = [set(pq.read_table(tmp_path / f"{name}.parquet")["station"].to_pylist()) for name in names]
    first, last = stations[0], stations[names.index("2011-12")]
    assert first - last
    assert last - first
    assert any(name.startswith("late-") for name in names)
    again = tmp_path / "again"
    again.mkdir()
    assert [name for quarter in range(8) for name in world.land(quarter, again)] == names
    for name in names:
        assert (again / f"{name}.parquet").read_bytes() == (tmp_path / f"{name}.parquet").read_bytes()
