"""Rows whose times have a zone: the sample of a version says that its moments are in UTC."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tests.retraining.made import ROWS, day, make_project, orders, turn

from batchlearn.models.files import load


def test_a_version_trained_on_zoned_times_scores_its_own_sample(tmp_path: Path) -> None:
    root, rows = make_project(tmp_path / "project"), orders(0, 10)
    for name in ("seen", "known"):
        zoned = rows[name].cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us", "Europe/Berlin"))
        rows = rows.set_column(rows.schema.get_field_index(name), name, zoned)
    pq.write_table(rows, root / "data" / "days.parquet")
    assert turn(root, f"{day(14)}T00:00Z").version == 1
    sample = pq.read_table(root / "versions" / "000001" / "sample.parquet")
    assert sample.schema.field("seen").type == pa.timestamp("us", "UTC")
    model = load(root / "versions" / "000001" / "model")
    drawn = pc.is_in(rows["size"], sample["size"].combine_chunks())
    assert 0 < sample.num_rows < 10 * ROWS
    np.testing.assert_array_equal(model.predict(sample).response, model.predict(rows.filter(drawn)).response)
