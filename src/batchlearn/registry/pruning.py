"""Pruning: what versions keep that nobody is likely to go on from is removed, after a record that names it.

The record comes first. Who is killed after it leaves files that the record names, and whoever comes next, another
pruning or a turn of the cycle, removes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from batchlearn.artifacts.manifest import sha256
from batchlearn.artifacts.store import Store
from batchlearn.errors import IntegrityError
from batchlearn.registry.ledger import events, record_event
from batchlearn.registry.promotions import promotions
from batchlearn.registry.pruned import PRUNE, PrunedFile, pruned_files
from batchlearn.registry.records import Record
from batchlearn.registry.version import is_there, prunable, read_version, remove_file, version_numbers

_LARGEST = 1 << 40  # of a file that is only removed


@dataclass(frozen=True)
class Pruning:
    """What a pruning keeps and removes."""

    keep: int
    kept: tuple[int, ...]  # versions of which nothing is removed
    files: tuple[PrunedFile, ...]
    unfinished: tuple[PrunedFile, ...]  # what an earlier record names and is still there
    left_alone: tuple[int, ...]  # versions that are damaged, of which nothing is removed either

    @property
    def bytes(self) -> int:
        """How many bytes go."""
        return sum(one.bytes for one in (*self.unfinished, *self.files))

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "keep": self.keep,
            "kept": list(self.kept),
            "files": [one.to_json() for one in self.files],
            "unfinished": [one.to_json() for one in self.unfinished],
            "bytes": self.bytes,
            "left_alone": list(self.left_alone),
        }


def with_parts(store: Store, plan: Pruning, parts: Iterable[str]) -> Pruning:
    """Return a plan that removes files of the store too, which belong to no version."""
    found = []
    for name in parts:
        data = store.get(name, _LARGEST)
        found.append(PrunedFile(None, name, len(data), sha256(data)))
    return replace(plan, files=(*plan.files, *found))


def plan_pruning(store: Store, keep: int) -> Pruning:
    """Say what pruning would remove: totals neither of the newest version nor of the last `keep` that were live.

    The champion is the last of those. IntegrityError or RegistryError where the promotions are damaged.
    """
    numbers, unfinished = version_numbers(store), unfinished_files(store, events(store))
    lived = dict.fromkeys(promotion.version for promotion in reversed(promotions(store)))
    kept = {*list(lived)[:keep], *numbers[-1:]}
    files, left_alone = [], []
    for number in numbers:
        if number in kept:
            continue
        try:
            found = prunable(read_version(store, number))
        except IntegrityError:
            left_alone.append(number)
            continue
        files += [one for one in found if one not in unfinished and is_there(store, one)]
    return Pruning(keep, tuple(sorted(kept & set(numbers))), tuple(files), unfinished, tuple(left_alone))


def prune(store: Store, plan: Pruning, at: str, by: str) -> None:
    """Write down what is removed, and remove it."""
    if plan.files:
        files = [one.to_json() for one in plan.files]
        record_event(store, PRUNE, at, {"by": by, "keep": plan.keep, "files": files})
    for one in (*plan.unfinished, *plan.files):
        remove_file(store, one)


def unfinished_files(store: Store, history: Sequence[Record]) -> tuple[PrunedFile, ...]:
    """Return what records name and is still there, because the pruning was killed or a backup was restored."""
    named = sorted(pruned_files(history), key=lambda one: (one.version or 0, one.file))
    return tuple(one for one in named if is_there(store, one))


def finish_pruning(store: Store, history: Sequence[Record]) -> None:
    """Remove what records name and a killed pruning left."""
    for one in unfinished_files(store, history):
        remove_file(store, one)
