"""What the tests of the registry share: stores with versions whose files are small and of no meaning here."""

from __future__ import annotations

from pathlib import Path

from batchlearn.artifacts.disk import LOCAL_DISK, Disk
from batchlearn.artifacts.store import FolderStore
from batchlearn.registry.promotions import Promotion, Reason, champion, promote
from batchlearn.registry.version import Version, register

WHY = Reason(why="the gate: better", by="ann", at="2026-01-01T00:00:00Z")
FILES = {
    "model/model.json": b'{"a model": 1}\n',
    "model/weights.safetensors": bytes(range(64)),
    "recipe.toml": b"alpha = 0.1\n",
    "environment.json": b"{}\n",
    "sample.parquet": b"PAR1",
    "kept.safetensors": bytes(range(99)),
}


def store_with(root: Path, versions: int, disk: Disk = LOCAL_DISK) -> FolderStore:
    """Make a store with so many versions, none of them live."""
    root.mkdir(parents=True, exist_ok=True)
    store = FolderStore(root, disk)
    for number in range(versions):
        one_more(store, number)
    return store


def one_more(store: FolderStore, seed: int) -> Version:
    return register(store, {"seed": seed, "trained_at": "2026-01-01T00:00:00Z"}, FILES)


def promote_all(store: FolderStore, *versions: int) -> list[Promotion]:
    return [promote(store, version, WHY, champion(store)) for version in versions]
