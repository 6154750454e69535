"""What happens to a version once it is registered: rehearsed, recorded, promoted, or put before a person.

Everything here follows from the version's own files and the ledger, so a turn that was killed is finished by the next
one, and nothing is done twice.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from batchlearn.artifacts.store import Store
from batchlearn.artifacts.tensors import unpack
from batchlearn.errors import IntegrityError
from batchlearn.registry.ledger import TURN, events, latest_turn_of, record_event, reviews
from batchlearn.registry.promotions import Promotion, Reason, champion, promote, promotions
from batchlearn.registry.records import Record
from batchlearn.registry.version import EXPECTED, SAMPLE, Version, read_file, read_version, version_numbers
from batchlearn.retraining.child import Rehearsal
from batchlearn.retraining.cycle.candidate import Surroundings
from batchlearn.retraining.verdict import EXIT_CODES
from batchlearn.words.notes import Note

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Turn:
    """What one turn of the cycle came to."""

    decision: str  # keep or retrain
    reason: str
    seconds: float
    bracket: dict[str, Any] | None = None
    start: str | None = None
    version: int | None = None
    certificate: dict[str, Any] | None = None
    gate: dict[str, Any] | None = None
    promoted: bool = False
    asked: str | None = None  # what a person was asked about
    alarms: tuple[str, ...] = ()  # what should not be, in a sentence each
    rehearsed: bool = True  # whether the version, if there is one, scored its sample rows to the same bits
    rows: dict[str, Any] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 kept, promoted or waiting; 6 the rehearsal failed; 10 the gate rejected; 11 not enough evidence."""
        if not self.rehearsed:
            return IntegrityError.exit_code
        return 0 if self.gate is None else EXIT_CODES[self.gate["verdict"]]

    def to_json(self) -> dict[str, Any]:
        """Return what `retrain --json` prints."""
        return {
            "format_version": FORMAT_VERSION,
            "decision": self.decision,
            "reason": self.reason,
            "bracket": self.bracket,
            "start": self.start,
            "version": self.version,
            "certificate": self.certificate,
            "gate": self.gate,
            "promoted": self.promoted,
            "asked": self.asked,
            "alarms": list(self.alarms),
            "rows": self.rows,
            "notes": list(map(str, self.notes)),
            "noted": [note.to_json() for note in self.notes],
            "seconds": self.seconds,
        }


def newest_version(store: Store) -> Version | None:
    """Return the newest registered version, or None. IntegrityError where it is damaged."""
    numbers = version_numbers(store)
    if not numbers:
        return None
    try:
        return read_version(store, numbers[-1])
    except IntegrityError as problem:
        raise IntegrityError(
            f"The next training goes on from version {numbers[-1]}, and it is damaged: {problem.message} What can be "
            "done says `batchlearn registry check --repair`.",
            code=problem.code,
        ) from problem


def unfinished(store: Store) -> Version | None:
    """Return the newest version if the turn that made it was killed before its end."""
    version = newest_version(store)
    if version is None:
        return None
    turn = latest_turn_of(events(store), version.number)
    if turn is None:
        return version
    live = any(one.version == version.number for one in promotions(store))
    stale = _generation(champion(store)) != turn.content["judged_against"]
    return version if turn.content["promote"] and not live and not stale else None


class Finished(NamedTuple):
    """Whether a version went live, what a person was asked about, what it raised, and a note."""

    promoted: bool
    asked: str | None
    alarms: tuple[str, ...]
    rehearsed: bool
    note: str


def finish(around: Surroundings, version: Version, gate: dict[str, Any] | None = None) -> Finished:
    """Rehearse, record and promote a version as its verdict and the settings say.

    `gate` is a later verdict than the one that was registered. The order is such that a turn killed in between is
    finished by the next one.
    """
    store = around.project.store
    stands = champion(store)
    turn = latest_turn_of(events(store), version.number) if gate is None else None
    if turn is None:
        turn = _record(around, version, gate or version.description["gate"], stands, rehearse(around, version))
    said = turn.content
    goes_live = bool(said["promote"]) and _generation(stands) == said["judged_against"]
    if goes_live:
        why = said["gate"]["sentence"] if stands is not None else "The first version goes live: nobody is displaced."
        promote(store, version.number, Reason(why, around.by, around.at, False, said["gate"], None), stands)
    return Finished(
        goes_live, said["review"], tuple(said.get("alarms", ())), bool(said["rehearsed"]), str(said["note"])
    )


def rehearse(around: Surroundings, version: Version) -> Rehearsal:
    """Have a copy of the version's own bytes loaded, in a fresh process, and its sample rows scored."""
    store = around.project.store
    shape = tuple(int(size) for size in version.description["sample"]["shape"])
    expected = unpack(read_file(store, version, EXPECTED), {"response": shape})["response"]
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder) / SAMPLE
        sample.write_bytes(read_file(store, version, SAMPLE))
        model = shutil.copytree(version.model_path, Path(folder) / "model")
        return around.rehearse(model, sample, expected)


def _record(
    around: Surroundings, version: Version, gate: dict[str, Any], stands: Promotion | None, rehearsal: Rehearsal
) -> Record:
    against = version.description["judged_against"]
    moved = _generation(stands) != against
    history, settings = events(around.project.store), around.project.settings.review
    alarms = [*version.description.get("alarms", ()), *([] if rehearsal else [rehearsal.sentence])]
    held = bool(alarms) and "alarm" in settings.of
    passed = gate["verdict"] == "promote" and bool(rehearsal) and not moved
    # The first version displaces nobody, and where rows had to go it is no contest: nobody is asked.
    no_contest = stands is None or version.description.get("forgotten") is not None
    goes_live = passed and not held and (no_contest or around.project.gate.promote == "auto")
    kind = None
    if passed and not goes_live:
        kind = "promotion"
    elif gate["verdict"] == "reject" and "rejection" in settings.of:
        kind = "rejection"
    elif held and latest_turn_of(history, version.number) is None:
        kind = "alarm"
    review, note = _within_budget(around, history, kind)
    if moved:
        note = f"Another version went live while this one was judged (generation {_generation(stands)}); train again."
    elif not rehearsal:
        note = f"It does not go live: {rehearsal.sentence}"
    said = {"gate": gate, "rehearsed": bool(rehearsal), "rehearsal": rehearsal.sentence, "alarms": alarms}
    return record_turn(around, version, {**said, "promote": goes_live, "review": review, "note": note})


def record_turn(around: Surroundings, version: Version, said: dict[str, Any]) -> Record:
    """Write down how the turn ended that made or judged a version."""
    description = version.description
    content = {
        "decision": "retrain",
        "reason": description["reason"],
        "version": version.number,
        "as_of": description["data"]["as_of_instant"],
        "looked": around.now,
        "gate": description["gate"],
        "judged_against": description["judged_against"],
        "by": around.by,
        **said,
    }
    return record_event(around.project.store, TURN, around.at, content)


def _within_budget(around: Surroundings, history: Sequence[Record], kind: str | None) -> tuple[str | None, str]:
    """Return what a person is asked about, within the month's budget, and a note."""
    budget = around.project.settings.review.budget
    if kind is None or budget is None or reviews(history, around.at).asked_this_month < budget:
        return kind, ""
    return None, f"The budget of {budget} reviews this month is spent, so nobody is asked."


def _generation(promotion: Promotion | None) -> int | None:
    return None if promotion is None else promotion.generation
