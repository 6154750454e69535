"""A project goes on reading its columns as the live model does, and two models that read otherwise are compared."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from tests.retraining.made import ROWS, day, make_project, orders, turn

import batchlearn as bl
from batchlearn.artifacts.store import FolderStore
from batchlearn.evaluation.scored import score, score_each
from batchlearn.formatting.notes import Code
from batchlearn.registry.loading import load_version
from batchlearn.registry.version import read_version
from batchlearn.tables.columns import Kind
from batchlearn.tables.readings import ColumnReading
from batchlearn.tables.table import read


def add_texts(root: Path, first: int, last: int, odd: float = 0.0) -> None:
    """Put the orders of some days into a text file; a share of the sizes are codes there."""
    table = orders(first, last)
    sizes = [f"{value:.4f}" for value in table["size"].to_pylist()]
    rng = np.random.default_rng(first)
    texts = [f"C{number}" if rng.random() < odd else text for number, text in enumerate(sizes)]
    table = table.set_column(table.schema.get_field_index("size"), "size", pa.array(texts))
    pacsv.write_csv(table, root / "data" / f"{first:03d}.csv", pacsv.WriteOptions(quoting_style="none"))


def test_what_new_rows_hold_does_not_change_what_a_column_is(tmp_path: Path) -> None:
    root = make_project(
        tmp_path / "shop", changes={"*.parquet": "*.csv", 'drop = ["user"]': 'drop = ["user"]\nnull = ["C7"]'}
    )
    add_texts(root, 0, 12)
    assert turn(root, day(16)).version == 1
    add_texts(root, 12, 24, odd=0.4)
    # Alone these rows would make another column of it.
    assert "size" not in {column.name for column in read(root / "data").features if column.kind is Kind.NUMBER}
    found = turn(root, day(28))
    assert found.version == 2
    store = FolderStore(root)
    first, second = (load_version(store, read_version(store, number)).model for number in (1, 2))
    assert second.readings["size"] == first.readings["size"]
    assert (second.readings["size"].kind, second.readings["size"].null) == (Kind.NUMBER, ("C7",))
    (said,) = [note for note in found.notes if note.code is Code.UNREADABLE_VALUES]
    assert said.values["column"] == "size"
    assert 0.3 * 12 * ROWS < said.values["rows"] < 0.5 * 12 * ROWS
    assert re.match("'size' has values in .* rows that cannot be read as a number", str(said))


def test_models_that_read_a_column_otherwise_score_the_same_rows() -> None:
    rng = np.random.default_rng(2)
    size = rng.normal(size=400)
    size[::20] = -9.0
    data = pa.table({"size": size, "y": size + rng.normal(size=400), "at": np.arange(400.0)})
    recipe = bl.Recipe(alpha=0.01, holdout=0.0)
    plain, without = (bl.train(read(data, target="y", time="at", null=null), recipe).model for null in ((), ("-9",)))
    assert plain.readings["size"] == ColumnReading(Kind.NUMBER)
    assert without.readings["size"].null == ("-9",)
    later = read(data, target="y", time="at")
    together = score_each((plain, without), later)
    for model, found in zip((plain, without), together, strict=True):
        np.testing.assert_array_equal(found.response, score(model, later).response)
    assert not np.array_equal(together[0].response, together[1].response)
    assert score_each((without, replace(without)), later)[1].response.tobytes() == together[1].response.tobytes()
