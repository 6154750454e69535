"""Tries to promote so many times against other processes; prints the generations that it won and how often it lost.

    python -m tests.registry.racer ROOT TRIES [STOP]

With STOP it stops before the disk operation of that number, until it gets SIGCONT.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.registry.disks import RecordingDisk
from tests.registry.made import WHY

from batchlearn.artifacts.store import FolderStore
from batchlearn.errors import RegistryError
from batchlearn.registry.promotions import champion, promote


def main() -> None:
    root, tries, *stop = Path(sys.argv[1]), *map(int, sys.argv[2:])
    store = FolderStore(root, RecordingDisk(root, stop=stop[0])) if stop else FolderStore(root)
    won: list[int] = []
    lost = 0
    for _ in range(tries):
        seen = champion(store)
        target = 2 if seen is not None and seen.version == 1 else 1
        try:
            won.append(promote(store, target, WHY, seen).generation)
        except RegistryError as refusal:
            if refusal.code != "promotion-conflict":
                raise
            lost += 1
    sys.stdout.write(json.dumps([won, lost]))


if __name__ == "__main__":
    main()
