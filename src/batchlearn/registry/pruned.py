"""What was pruned: files of versions that records of the ledger name, each with the bytes that it had.

A file that such a record names may be gone; any other that is gone is damage.
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
    """A file of a version that goes, or went."""

    version: int
    file: str
    bytes: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def files_of_record(event: Record) -> tuple[PrunedFile, ...]:
    """Return what one record of a pruning names, of what may be removed at all."""
    try:
        return tuple(
            PrunedFile(one["version"], one["file"], one["bytes"], one["sha256"])
            for one in event.content["files"]
            if one["file"] in REMOVABLE
        )
    except (KeyError, TypeError) as problem:
        where = f"{EVENTS}/{event.number:06d}.json"
        raise damaged(where, f"it does not say which files were pruned ({problem})") from problem


def pruned_files(history: Iterable[Record]) -> frozenset[PrunedFile]:
    """Return all that the ledger says was pruned."""
    return frozenset(one for event in history if event.content["kind"] == PRUNE for one in files_of_record(event))
