"""A project whose labels are counts for so much exposure: versions and evaluations know the rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.retraining.made import SETTINGS_TEXT, day, make_project, orders, turn

from batchlearn.artifacts.store import FolderStore
from batchlearn.registry.loading import load_version
from batchlearn.registry.version import read_version


def add(root: Path, first: int, last: int) -> pa.Table:
    """Write the orders of some days as counts; the later ones have run for longer."""
    rows = orders(first, last)
    rng = np.random.default_rng(first)
    years = rng.uniform(0.05, 0.2 + 0.02 * first, len(rows))
    claims = rng.poisson(years * np.exp(0.3 * rows["size"].to_numpy())).astype(float)
    rows = rows.drop(["bought"]).append_column("bought", pa.array(claims)).append_column("years", pa.array(years))
    pq.write_table(rows, root / "data" / f"{first:03d}.parquet")
    return rows


@pytest.mark.parametrize("start", ["scratch", "warm"])
def test_versions_keep_the_rate_and_are_held_against_it(start: str, tmp_path: Path) -> None:
    changes = {"rows = 300": f'rows = 300\nstart = "{start}"', 'drop = ["user"]': 'drop = ["user"]\nexposure = "years"'}
    root = make_project(tmp_path, SETTINGS_TEXT, changes)
    parts = [add(root, 0, 20)]
    assert turn(root, day(23)).promoted
    parts.append(add(root, 20, 40))
    second = turn(root, day(43))
    assert second.alarms == ()
    rows = pa.concat_tables(parts)
    claims, years, seen = (rows[name].to_numpy() for name in ("bought", "years", "seen"))
    store = FolderStore(root)
    version = read_version(store, 2)
    model = load_version(store, version).model
    assert model.loss == "poisson"
    assert model.offset_constant == pytest.approx(np.log(claims.sum() / years.sum()), abs=1e-12)
    found = version.description["evaluation"]
    late = np.argsort(seen)[-found["rows"] :]
    early = np.argsort(seen)[: -found["rows"]]
    mean = claims[early].sum() / years[early].sum() * years[late]
    expected = np.abs(claims[late] - mean).mean()
    assert found["baselines"]["constant"]["mae"]["value"] == pytest.approx(expected, rel=1e-9)
