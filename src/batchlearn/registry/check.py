"""Is the registry what it says it is? Every file is read and every state that should not be has a name and an advice.

Nothing is changed here, whatever is found: truth is the files, and only a person can say which of two truths is meant.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
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
    found, history, past = _check_records(store)
    recorded = pruned_files(past)
    numbers = version_numbers(store)
    bad: dict[int, BatchlearnError] = {}
    for number in numbers:
        try:
            verify_version(store, number, recorded=recorded)
        except (IntegrityError, RegistryError) as problem:
            bad[number] = problem
    try:
        live = champion(store)
    except (IntegrityError, RegistryError):
        live = None
    gone = _removed(past, history or (), numbers, live)
    found += [
        RegistryFinding(
            "removed-version", False, f"version {number} is not there; rows were forgotten after its training", _GONE
        )
        for number in sorted(gone)
    ]
    for number, refusal in bad.items():
        found.append(_damaged_version(store, number, refusal, live, numbers[-1]))
    for number in numbers:
        if number not in bad:
            found += _check_objective(store, number, live)
    # Of many promotions of the same bytes one says it for all.
    for promotion in {(one.version, one.identity): one for one in reversed(history or ())}.values():
        found += _check_promotion(store, promotion, numbers, bad, recorded) if promotion.version not in gone else []
    if history is not None:
        found += _oddities(history, numbers)
    found += [*_unpruned(store, past), *_leftovers(store)]
    return sorted(found, key=lambda finding: not finding.serious)


def _removed(
    past: Sequence[Record], history: Sequence[Promotion], numbers: list[int], live: Promotion | None
) -> set[int]:
    """Return the versions that were live and may have been removed on purpose, because rows were forgotten since."""
    missing = {one.version for one in history} - set(numbers) - ({live.version} if live else set())
    return {number for number in missing if forgotten_since(past, number)}


def _damaged_version(
    store: FolderStore, number: int, refusal: BatchlearnError, live: Promotion | None, newest: int
) -> RegistryFinding:
    folder = f"versions/{number:06d}"
    if live is not None and live.version == number:
        return RegistryFinding(
            refusal.code, True, f"the champion, version {number}: {refusal.message}", "batchlearn rollback"
        )
    if number == newest:
        what = f"version {number}, which the next training goes on from: {refusal.message}"
        command = f"rm -r {shlex.quote(str(store.path(folder)))}   # or restore it from a backup"
        return RegistryFinding(refusal.code, True, what, command)
    advice = f"restore {folder} from a backup, or leave it unused"
    return RegistryFinding(refusal.code, False, f"version {number}: {refusal.message}", advice)


def _check_objective(store: FolderStore, number: int, live: Promotion | None) -> list[RegistryFinding]:
    """Find out whether a version went on from kept totals when that scaled its terms' centres as if in total."""
    version = read_version(store, number)
    if version.description["format_version"] > 1 or version.description.get("start") not in ("update", "fine-tune"):
        return []
    stored = load_version(store, version)
    if stored.record["solver"] not in ("update", "fine-tune") or not stored.record["structure"]["strengths"]:
        return []  # the first version of a project is from scratch whatever its policy says
    if all(term.unit.centre is None for term in encoding_terms(stored.model.encoding).values()):
        return []
    is_live = live is not None and live.version == number
    what = (
        f"{'the champion, ' * is_live}version {number} went on from kept totals by an earlier release, which penalised "
        "pairs, bins and cycles otherwise than a training does: what is stated of its distance from the optimum is of "
        "another objective"
    )
    again = 'batchlearn retrain --anyway   # with start = "warm" or "scratch" in [policy]'
    return [RegistryFinding("update-of-another-objective", is_live, what, again if is_live else "leave it unused")]


def _check_records(store: FolderStore) -> tuple[list[RegistryFinding], list[Promotion] | None, list[Record]]:
    """Check promotions and events; return both too, None and no event where they cannot be read."""
    found: list[RegistryFinding] = []
    history: list[Promotion] | None = None
    try:
        history = promotions(store)
    except (IntegrityError, RegistryError) as problem:
        found.append(RegistryFinding(problem.code, True, problem.message, f"restore {PROMOTIONS}/ from a backup"))
    try:
        past = events(store)
        told = max((one.reason.asked or 0 for one in history or ()), default=0)
        if told > len(past):
            what = f"{EVENTS} ends with {len(past)}, and a promotion answers event {told}"
            found.append(RegistryFinding("registry-damaged", True, what, f"restore {EVENTS}/ from a backup"))
    except (IntegrityError, RegistryError) as problem:
        found.append(RegistryFinding(problem.code, True, problem.message, f"restore {EVENTS}/ from a backup"))
        return found, history, []
    try:
        if history is not None:
            check_promotions(past, history[-1] if history else None)
    except IntegrityError as problem:
        found.append(RegistryFinding(problem.code, True, problem.message, f"restore {PROMOTIONS}/ from a backup"))
    return found, history, past


def _check_promotion(
    store: FolderStore,
    promotion: Promotion,
    numbers: list[int],
    bad: dict[int, BatchlearnError],
    recorded: frozenset[PrunedFile],
) -> list[RegistryFinding]:
    named = f"generation {promotion.generation} names version {promotion.version}"
    if promotion.version not in numbers:
        return [
            RegistryFinding(
                "promoted-version-missing", True, f"{named}, which is not there", "restore it from a backup"
            )
        ]
    if promotion.version in bad:
        return []
    try:
        verify_version(store, promotion.version, promotion.identity, recorded)
    except IntegrityError as problem:
        return [RegistryFinding(problem.code, True, f"{named}: {problem.message}", "restore it from a backup")]
    return []


def _oddities(history: list[Promotion], numbers: list[int]) -> list[RegistryFinding]:
    """Return what harms nothing: tenures that read oddly because a clock went back, and versions never live."""
    found = [
        RegistryFinding(
            "clock-went-back",
            False,
            f"generation {later.generation} is dated {later.reason.at}, before generation {earlier.generation} "
            f"({earlier.reason.at})",
            "check the clock of the machine; the order of generations stands",
        )
        for earlier, later in pairwise(history)
        if later.reason.at < earlier.reason.at
    ]
    advice = "keep it: history and forget look at it"
    never_live = sorted(set(numbers) - {promotion.version for promotion in history})
    return found + [
        RegistryFinding("never-promoted", False, f"version {number} was never live", advice) for number in never_live
    ]


def _unpruned(store: FolderStore, past: Sequence[Record]) -> list[RegistryFinding]:
    """List files that a pruning was to remove and that are still there."""
    return [
        RegistryFinding(
            "prune-unfinished",
            False,
            f"version {one.version} still has {one.file}, which event {event.number} says was pruned",
            f"batchlearn registry prune --keep {event.content['keep']}",
        )
        for event in past
        if event.content["kind"] == PRUNE
        for one in files_of_record(event)
        if is_there(store, one)
    ]


def _leftovers(store: FolderStore) -> list[RegistryFinding]:
    """List what killed writers left behind; a writer at work has such a name too."""
    found = []
    for folder in (VERSIONS, PROMOTIONS, EVENTS):
        for left in store.unfinished(folder):
            what = f"{folder}/{left.name} was left by a command that was killed, or is being written"
            command = f"rm -r {shlex.quote(str(left))}   # while no batchlearn command runs"
            found.append(RegistryFinding("unfinished-write", False, what, command))
        path = store.path(folder)
        for name in sorted(os.listdir(path)) if path.is_dir() else []:
            if not name.startswith(TEMPORARY) and not name.removesuffix(".json").isdigit():
                what = f"{folder}/{name} is nothing that batchlearn wrote"
                found.append(RegistryFinding("stranger", False, what, "keep other files elsewhere"))
    return found
