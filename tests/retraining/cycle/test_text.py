"""A project with a column of free text: its versions go on from kept totals as from reading all rows again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tests.retraining.made import ROWS, SETTINGS_TEXT, day, make_project, orders, turn

from batchlearn.artifacts.store import FolderStore
from batchlearn.registry.loading import load_version
from batchlearn.registry.version import read_version

WORDS = np.array(["late", "broken", "thanks", "fine", "box", "door", "call", "refund"])


def noted(first: int, last: int) -> pa.Table:
    """Add notes to the orders of some days, which say whether they were paid."""
    rows, rng = orders(first, last), np.random.default_rng([9, first])
    paid = np.asarray(rows["bought"])
    notes = [" ".join(rng.choice(WORDS[:6] if yes else WORDS[2:], rng.integers(1, 5))) for yes in paid]
    return rows.append_column("note", pa.array(notes))


def test_a_version_of_words_goes_on_to_the_optimum_of_all_rows(tmp_path: Path) -> None:
    found = {}
    for start in ("warm", "update"):
        changes = {
            'drop = ["user"]': 'drop = ["user"]\ntext = ["note"]',
            "rows = 300": f'rows = 300\nstart = "{start}"',
        }
        root = make_project(tmp_path / start, SETTINGS_TEXT, changes)
        pq.write_table(noted(0, 20), root / "data" / "000.parquet")
        assert turn(root, day(23)).promoted
        pq.write_table(noted(20, 30), root / "data" / "020.parquet")
        second = turn(root, day(33))
        assert second.start == start
        # Texts of all words at once are in the domain of the totals, so no row is known to be near.
        assert second.bracket is not None
        assert second.bracket["lower"] > 0.0
        assert not second.bracket["upper_is_proved"]
        certificate = second.certificate
        assert certificate is not None
        assert (certificate["status"], certificate["rows"]) == ("certified", 30 * ROWS)
        store = FolderStore(root)
        first, model = (load_version(store, read_version(store, number)).model for number in (1, 2))
        assert {"late", "thanks", "refund"} <= set(first.encoding.texts[0].words)
        assert first.encoding == model.encoding
        found[start] = model.predict(noted(0, 30).drop(["bought"])).response, certificate["prediction_bound"]
    (warm, one), (update, other) = found.values()
    assert 0.0 < np.abs(warm - update).max() <= one + other
