"""Makes frozen registries: python -m tests.registry.make_fixture FOLDER [updated] (once, when a format begins).

A project with two versions, a promotion, a rollback and their events, as `tests/registry/test_formats.py` reads it; or,
`updated`, one whose second version went on from kept totals in an encoding with a pair. `fixtures/updated-1` is of
commit c10b51d, the last one at which such an update was of another objective than a training.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.retraining.made import SETTINGS_TEXT, add_days, day, make_project, turn

from batchlearn.artifacts.store import FolderStore
from batchlearn.data.bins import BinTerm
from batchlearn.data.encoding import LevelTerm, PairTerm
from batchlearn.data.encoding_fit import EncodingRules
from batchlearn.registry.promotions import Reason, needed_champion, promote, rollback
from batchlearn.selection.structure import Structure

PAIR = PairTerm(BinTerm("size", (-0.5, 0.5), -4.0, 4.0), LevelTerm("colour", ("blue", "green", "red")))
STRENGTHS = {"size": 30.0, "colour": 20.0, "hour(seen)": 800.0, "weekday(seen)": 800.0, PAIR.column: 40.0}


def rolled_back(folder: Path) -> None:
    """Make a project that promoted its second version and rolled back."""
    make_project(folder)
    add_days(folder, 0, 10)
    turn(folder, day(13))
    add_days(folder, 10, 20, slope=-1.5)
    turn(folder, day(23))
    store = FolderStore(folder)
    promote(store, 2, Reason("better", "ann", "2026-01-24T00:00:00Z"), needed_champion(store))
    rollback(store, Reason("complaints", "bob", "2026-01-25T00:00:00Z"), needed_champion(store))


def with_a_pair(*_: Any) -> Generator[int, None, Structure]:
    """Take the place of choosing a structure."""
    yield 0
    return Structure(EncodingRules(additive=True, bins=6), (PAIR,), STRENGTHS)


def updated(folder: Path) -> None:
    """Make a project whose live version is an update with a pair."""
    changes = {"rows = 300": 'rows = 300\nstart = "update"', "alpha = 0.01\n": ""}
    make_project(folder, SETTINGS_TEXT, changes)
    add_days(folder, 0, 10)
    with patch("batchlearn.training.train.choose_structure", with_a_pair):
        turn(folder, day(13))
    add_days(folder, 10, 20)
    turn(folder, day(23))
    store = FolderStore(folder)
    if needed_champion(store).version == 1:
        promote(store, 2, Reason("more rows", "ann", "2026-01-24T00:00:00Z"), needed_champion(store))


if __name__ == "__main__":
    root = Path(sys.argv[1])
    (updated if sys.argv[2:] == ["updated"] else rolled_back)(root)
    shutil.rmtree(root / "data")
