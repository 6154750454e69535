"""Makes the frozen registry of format 1: python -m tests.registry.make_fixture FOLDER (once, when a format begins).

A project with two versions, a promotion, a rollback and their events, as `tests/registry/test_formats.py` reads it.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.retraining.made import add_days, day, make_project, turn

from batchlearn.registry.promotions import Reason, needed_champion, promote, rollback
from batchlearn.registry.store import FolderStore


def main(folder: Path) -> None:
    make_project(folder)
    add_days(folder, 0, 10)
    turn(folder, day(13))
    add_days(folder, 10, 20, slope=-1.5)
    turn(folder, day(23))
    store = FolderStore(folder)
    promote(store, 2, Reason("better", "ann", "2026-01-24T00:00:00Z"), needed_champion(store))
    rollback(store, Reason("complaints", "bob", "2026-01-25T00:00:00Z"), needed_champion(store))
    shutil.rmtree(folder / "data")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
