"""What was pruned: files that records of the ledger name, each with the bytes that it had.

A file of a version that such a record names may be gone; any other that is gone is damage.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from batchlearn.artifacts.store import damaged
from batchlearn.registry.records import EVENTS, Record

PRUNE = "prune"  # the kind of such an event
REMOVABLE = {"kept.safetensors"}  # what a version is whole without, whatever a record says


@dataclass(frozen=True)
class PrunedFile:
    """A file that goes, or went."""

    version: int | None  # None: it belongs to no version
    file: str  # in the folder of the version, or of the store
    bytes: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def files_of_record(event: Record) -> tuple[PrunedFile, ...]:
    """Return what one record of a pruning names, of what a version may be without."""
    try:
        return tuple(
            PrunedFile(one["version"], one["file"], one["bytes"], one["sha256"])
            for one in event.content["files"]
            if one["version"] is not None and one["file"] in REMOVABLE
        )
    except (KeyError, TypeError) as problem:
        where = f"{EVENTS}/{event.number:06d}.json"
        raise damaged(where, f"it does not say which files were pruned ({problem})") from problem


def pruned_files(history: Iterable[Record]) -> frozenset[PrunedFile]:
    """Return all files of versions that the ledger says were pruned."""
    return frozenset(one for event in history if event.content["kind"] == PRUNE for one in files_of_record(event))
