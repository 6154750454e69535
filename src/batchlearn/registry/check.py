"""Is the registry what it says it is? Every file is read and every state that should not be has a name and an advice.

Nothing is changed here, whatever is found: truth is the files, and only a person can say which of two truths is meant.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from batchlearn.artifacts.folders import TEMPORARY
from batchlearn.artifacts.store import FolderStore
from batchlearn.errors import BatchlearnError, IntegrityError, RegistryError
from batchlearn.registry.ledger import check_promotions, events, forgotten_since
from batchlearn.registry.loading import load_version
from batchlearn.registry.promotions import PROMOTIONS, Promotion, champion, promotions
from batchlearn.registry.pruned import PRUNE, PrunedFile, files_of_record, pruned_files
from batchlearn.registry.records import EVENTS, Record
from batchlearn.registry.version import VERSIONS, is_there, read_version, verify_version, version_numbers
from batchlearn.selection.terms import encoding_terms

_GONE = "nothing, if it was removed on purpose; else restore it from a backup"


@dataclass(frozen=True)
class RegistryFinding:
    """One thing that is not as it should be, or that a person may want to know."""

    state: str  # a slug
    serious: bool  # whether something that is relied on is not there
    what: str
    proposal: str

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain values."""
        return {"state": self.state, "serious": self.serious, "what": self.what, "proposal": self.proposal}


def check(store: FolderStore) -> list[RegistryFinding]:
    """Read every record and every byte of every version; return what is wrong, the serious first."""
    found: list[RegistryFinding] = []

    def refused(problem: BatchlearnError, folder: str) -> None:
        found.append(RegistryFinding(problem.code, True, problem.message, f"restore {folder}/ from a backup"))

    # 1. The records. What cannot be read is as good as empty from here on.
    history: Sequence[Promotion] | None = None
    past: Sequence[Record] = ()
    try:
        history = promotions(store)
    except (IntegrityError, RegistryError) as problem:
        refused(problem, PROMOTIONS)
    try:
        past = events(store)
    except (IntegrityError, RegistryError) as problem:
        refused(problem, EVENTS)
    else:
        told = max((one.reason.asked or 0 for one in history or ()), default=0)
        if told > len(past):
            what = f"{EVENTS} ends with {len(past)}, and a promotion answers event {told}"
            found.append(RegistryFinding("registry-damaged", True, what, f"restore {EVENTS}/ from a backup"))
        try:
            if history is not None:
                check_promotions(past, history[-1] if history else None)
        except IntegrityError as problem:
            refused(problem, PROMOTIONS)
    # 2. What they speak of, and 3. what harms nothing.
    found += _versions(store, history or (), past)
    found += [*_history(store, history), *_unpruned(store, past), *_leftovers(store)]
    return sorted(found, key=lambda finding: not finding.serious)


def _versions(store: FolderStore, history: Sequence[Promotion], past: Sequence[Record]) -> Iterator[RegistryFinding]:
    """Read every byte of every version, and compare those that were live with their promotions."""
    numbers, recorded = version_numbers(store), pruned_files(past)
    live = None
    with suppress(IntegrityError, RegistryError):  # the last promotion may be whole where an earlier one is not
        stands = champion(store)
        live = None if stands is None else stands.version
    bad = _damaged(store, numbers, live, recorded)
    # What was live and is not there may have been removed on purpose, if rows were forgotten since.
    missing = {one.version for one in history} - {*numbers, live}
    removed = {number for number in missing if forgotten_since(past, number)}
    for number in sorted(removed):
        what = f"version {number} is not there; rows were forgotten after its training"
        yield RegistryFinding("removed-version", False, what, _GONE)
    yield from bad.values()
    for number in numbers:
        if number not in bad:
            yield from _check_objective(store, number, number == live)
    # Of many promotions of the same bytes one says it for all.
    for promotion in {(one.version, one.identity): one for one in reversed(history)}.values():
        named = f"generation {promotion.generation} names version {promotion.version}"
        if promotion.version in {*removed, *bad}:
            continue
        if promotion.version not in numbers:
            what = f"{named}, which is not there"
            yield RegistryFinding("promoted-version-missing", True, what, "restore it from a backup")
            continue
        try:
            verify_version(store, promotion.version, promotion.identity, recorded)
        except IntegrityError as problem:
            yield RegistryFinding(problem.code, True, f"{named}: {problem.message}", "restore it from a backup")


def _damaged(
    store: FolderStore, numbers: Sequence[int], live: int | None, recorded: frozenset[PrunedFile]
) -> dict[int, RegistryFinding]:
    """Return the versions whose bytes are not what was written; serious is what something goes on from."""
    found = {}
    for number in numbers:
        try:
            verify_version(store, number, recorded=recorded)
        except (IntegrityError, RegistryError) as problem:
            folder = f"versions/{number:06d}"
            who, advice = f"version {number}", f"restore {folder} from a backup, or leave it unused"
            if number == live:
                who, advice = f"the champion, {who}", "batchlearn rollback"
            elif number == numbers[-1]:
                who = f"{who}, which the next training goes on from"
                advice = f"rm -r {shlex.quote(str(store.path(folder)))}   # or restore it from a backup"
            serious = number in (live, numbers[-1])
            found[number] = RegistryFinding(problem.code, serious, f"{who}: {problem.message}", advice)
    return found


def _check_objective(store: FolderStore, number: int, is_live: bool) -> Iterator[RegistryFinding]:
    """Find out whether a version went on from kept totals when that scaled its terms' centres as if in total."""
    version = read_version(store, number)
    if version.description["format_version"] > 1 or version.description.get("start") not in ("update", "fine-tune"):
        return
    stored = load_version(store, version)
    if stored.record["solver"] not in ("update", "fine-tune") or not stored.record["structure"]["strengths"]:
        return  # the first version of a project is from scratch whatever its policy says
    if any(term.unit.centre is not None for term in encoding_terms(stored.model.encoding).values()):
        what = (
            f"{'the champion, ' * is_live}version {number} went on from kept totals by an earlier release, which "
            "penalised pairs, bins and cycles otherwise than a training does: what is stated of its distance from the "
            "optimum is of another objective"
        )
        again = 'batchlearn retrain --anyway   # with start = "warm" or "scratch" in [policy]'
        yield RegistryFinding("update-of-another-objective", is_live, what, again if is_live else "leave it unused")


def _history(store: FolderStore, history: Sequence[Promotion] | None) -> Iterator[RegistryFinding]:
    """Tell tenures that read oddly because a clock went back, and versions never live, where that can be known."""
    for earlier, later in pairwise(history or ()):
        if later.reason.at < earlier.reason.at:
            what = (
                f"generation {later.generation} is dated {later.reason.at}, before generation {earlier.generation} "
                f"({earlier.reason.at})"
            )
            advice = "check the clock of the machine; the order of generations stands"
            yield RegistryFinding("clock-went-back", False, what, advice)
    never_live = [] if history is None else {*version_numbers(store)} - {one.version for one in history}
    for number in sorted(never_live):
        what, advice = f"version {number} was never live", "keep it: history and forget look at it"
        yield RegistryFinding("never-promoted", False, what, advice)


def _unpruned(store: FolderStore, past: Sequence[Record]) -> Iterator[RegistryFinding]:
    """Tell files that a pruning was to remove and that are still there."""
    for event in past:
        for one in files_of_record(event) if event.content["kind"] == PRUNE else ():
            if is_there(store, one):
                what = f"version {one.version} still has {one.file}, which event {event.number} says was pruned"
                again = f"batchlearn registry prune --keep {event.content['keep']}"
                yield RegistryFinding("prune-unfinished", False, what, again)


def _leftovers(store: FolderStore) -> Iterator[RegistryFinding]:
    """Tell what killed writers left behind; a writer at work has such a name too."""
    for folder in (VERSIONS, PROMOTIONS, EVENTS):
        for left in store.unfinished(folder):
            what = f"{folder}/{left.name} was left by a command that was killed, or is being written"
            command = f"rm -r {shlex.quote(str(left))}   # while no batchlearn command runs"
            yield RegistryFinding("unfinished-write", False, what, command)
        path = store.path(folder)
        for name in sorted(os.listdir(path)) if path.is_dir() else []:
            if not name.startswith(TEMPORARY) and not name.removesuffix(".json").isdigit():
                what = f"{folder}/{name} is nothing that batchlearn wrote"
                yield RegistryFinding("stranger", False, what, "keep other files elsewhere")
