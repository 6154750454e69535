"""Which of two classes a project is about: what its first version fixed, whatever becomes the rarer one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.retraining.made import SETTINGS_TEXT, day, make_project, orders, turn

from batchlearn.artifacts.store import FolderStore
from batchlearn.errors import UsageError
from batchlearn.formatting.notes import Code
from batchlearn.registry.loading import load_version
from batchlearn.registry.place import SETTINGS
from batchlearn.registry.version import read_version


def add(root: Path, first: int, last: int, share: float) -> None:
    """Write the orders of some days, about this share of which are fraud."""
    rows = orders(first, last)
    score = rows["size"].to_numpy() + np.random.default_rng(first).normal(size=len(rows))
    labels = np.where(score > np.quantile(score, 1.0 - share), "fraud", "ok")
    rows = rows.set_column(rows.schema.get_field_index("bought"), "bought", pa.array(labels.tolist()))
    pq.write_table(rows, root / "data" / f"{first:03d}.parquet")


def classes_of(root: Path, number: int) -> tuple[object, ...]:
    store = FolderStore(root)
    return load_version(store, read_version(store, number)).model.target.classes


@pytest.mark.parametrize("start", ["scratch", "warm"])
def test_a_retrain_keeps_the_positive_class_though_another_is_rarer_by_now(start: str, tmp_path: Path) -> None:
    root = make_project(tmp_path, SETTINGS_TEXT, {"rows = 300": f'rows = 300\nstart = "{start}"'})
    add(root, 0, 10, 0.2)
    first = turn(root, day(13))
    assert first.promoted
    assert "fraud" in next(str(note) for note in first.notes if note.code is Code.POSITIVE_CLASS)
    add(root, 10, 40, 0.8)
    second = turn(root, day(43))
    assert [note for note in second.notes if note.code is Code.POSITIVE_CLASS] == []
    # In a world that turned over the champion is worse than a constant; of its classes nothing is wrong.
    assert [note.code for note in second.alarms] == [Code.WORSE_THAN_CONSTANT]
    assert (classes_of(root, 1), classes_of(root, 2)) == (("ok", "fraud"), ("ok", "fraud"))
    # Another one than the versions have is refused, and nothing is written.
    add(root, 40, 50, 0.5)
    text = (root / SETTINGS).read_text()
    (root / SETTINGS).write_text(text.replace("[recipe]", '[recipe]\npositive = "ok"'))
    with pytest.raises(UsageError) as refused:
        turn(root, day(53))
    assert refused.value.code == "positive-fixed"
    (root / SETTINGS).write_text(text.replace("[recipe]", '[recipe]\npositive = "fraud"'))
    turn(root, day(53))
    assert classes_of(root, 3) == ("ok", "fraud")


def test_the_first_version_takes_the_class_of_the_recipe(tmp_path: Path) -> None:
    root = make_project(tmp_path, SETTINGS_TEXT, {"[recipe]": '[recipe]\npositive = "ok"'})
    add(root, 0, 10, 0.2)
    assert turn(root, day(13)).promoted
    assert classes_of(root, 1) == ("fraud", "ok")
    text = (root / SETTINGS).read_text()
    (root / SETTINGS).write_text(text.replace('positive = "ok"\n', ""))
    add(root, 10, 40, 0.2)
    turn(root, day(43))
    assert classes_of(root, 2) == ("fraud", "ok")
