"""`batchlearn promote` and `rollback`: who is live changes by one new record, and no data is needed."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from batchlearn.cli.arguments import Answer
from batchlearn.cli.options import Count, Flag, Json, who
from batchlearn.cli.terminal import Page
from batchlearn.errors import RegistryError, UsageError
from batchlearn.registry.ledger import (
    AGREED,
    OVERRULED,
    REVIEW,
    TURN,
    choices,
    events,
    forgotten_since,
    latest_turn_of,
    record_event,
    waiting,
)
from batchlearn.registry.place import open_store
from batchlearn.registry.promotions import ROLLBACK, Promotion, Reason, champion, needed_champion, promotions
from batchlearn.registry.promotions import promote as promote_version
from batchlearn.registry.promotions import rollback as rollback_version
from batchlearn.registry.records import Record
from batchlearn.registry.store import FolderStore
from batchlearn.registry.version import read_version, version_numbers

FORMAT_VERSION = 1


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LedgerOptions:
    """What goes into the ledger."""

    why: Annotated[str | None, Parameter(help="Reason for the ledger.")] = None
    by: Annotated[str | None, Parameter(help="Name for the ledger; that of the user unless given.")] = None
    expected: Annotated[Count | None, Parameter(help="Generation that must be live; refused where another one is.")] = (
        None
    )
    project: Annotated[str, Parameter(help="Folder of the project, or one inside it.")] = "."


DEFAULT_LEDGER = LedgerOptions()


def promote(
    version: Annotated[Count | None, Parameter(help="Number of the version; the one that waits, unless given.")] = None,
    /,
    *,
    force: Annotated[Flag, Parameter(help="Promote although the gate did not say so; needs --why.")] = False,
    decline: Annotated[Flag, Parameter(help="Leave the champion live, and say so in the ledger.")] = False,
    ledger: LedgerOptions = DEFAULT_LEDGER,
    json: Json = False,  # noqa: ARG001 - shown by --help; main reads the flag itself
) -> Answer:
    """Make a version live, or decline to.

    Every byte of it is checked; no data is read. A version that the gate did not pass needs --force and --why.
    """
    store = open_store(ledger.project)
    history = events(store)
    stands = _expected(store, ledger)
    number = version if version is not None else _waiting(store, history, stands)
    read_version(store, number)
    turn = latest_turn_of(history, number)
    if stands is not None and stands.version == number:
        undo = " `batchlearn rollback` takes it back." if decline else ""
        raise UsageError(f"Version {number} is live already.{undo}", code="already-live")
    passed = _passed(turn, stands)
    at, by = _now(), who(ledger.by)
    judged = _judged_better(store, turn, stands)
    live = None if stands is None else stands.version
    if decline:
        _refuse_again(history, live, number)
        answer = OVERRULED if judged else AGREED
        choice = {"by": by, "why": ledger.why, "chosen": live, "instead_of": number}
        _record_review(store, at, turn, answer, _looked(history), choice)
        return _declined(number, answer)
    if not passed and not (force and ledger.why):
        raise UsageError(
            f"{_not_passed(number, turn, stands)} To make it live all the same, add "
            f"{'--why REASON, which goes' if force else '--force and --why REASON; both go'} into the ledger.",
            code="gate-not-passed",
        )
    if turn is not None and not turn.content["rehearsed"]:
        raise RegistryError(
            f"Version {number} did not score its own sample rows to the same bits in a new process: "
            f"{turn.content['rehearsal']} It is not made live. Train again.",
            code="version-not-rehearsed",
        )
    gate = None if turn is None else turn.content["gate"]
    why = ledger.why or (str(gate["sentence"]) if gate else "")
    reason = Reason(why, by, at, not passed, gate, None if turn is None else turn.number)
    done = promote_version(store, number, reason, stands)
    choice = {"by": by, "why": why, "chosen": number, "instead_of": done.before, "generation": done.generation}
    _record_review(store, at, turn, AGREED if judged else OVERRULED, _looked(history), choice)
    return _live(done, forgotten_since(history, number))


def rollback(
    *,
    to: Annotated[Count | None, Parameter(help="An earlier champion; the one before, unless given.")] = None,
    ledger: LedgerOptions = DEFAULT_LEDGER,
    json: Json = False,  # noqa: ARG001 - shown by --help; main reads the flag itself
) -> Answer:
    """Make the version live again that was live before. No data is needed, and nothing is lost."""
    store = open_store(ledger.project)
    stands = _expected(store, ledger) or needed_champion(store)
    at, by = _now(), who(ledger.by)
    why = ledger.why or f"rolled back from version {stands.version}"
    # Everything is read before the promotion: what fails after it would be told as if nothing had been changed.
    history = events(store)
    turn = latest_turn_of(history, stands.version)
    done = rollback_version(store, Reason(why, by, at), stands, to)
    choice = {"by": by, "why": why, "chosen": done.version, "instead_of": stands.version, "generation": done.generation}
    # Who takes back what was forced past the gate agrees with it.
    _record_review(store, at, turn, AGREED if stands.reason.forced else OVERRULED, _looked(history), choice)
    return _live(done, forgotten_since(history, done.version))


def _waiting(store: FolderStore, history: Sequence[Record], stands: Promotion | None) -> int:
    found = [event.content["version"] for event in waiting(history, stands) if "version" in event.content]
    if not found:
        raise UsageError(
            "No version waits for a person. Name one: `batchlearn promote VERSION`; `batchlearn history` lists them "
            f"({len(version_numbers(store))} in all).",
            code="nothing-waits",
        )
    return int(found[-1])


def _expected(store: FolderStore, ledger: LedgerOptions) -> Promotion | None:
    stands = champion(store)
    generation = 0 if stands is None else stands.generation
    if ledger.expected is not None and ledger.expected != generation:
        raise RegistryError(
            f"Generation {generation} is live and not {ledger.expected}, which was expected; nothing was changed. Look "
            "at `batchlearn history`.",
            code="promotion-conflict",
        )
    return stands


def _passed(turn: Record | None, stands: Promotion | None) -> bool:
    """Say whether the gate passed the version against the very champion that is live."""
    if turn is None or turn.content["gate"]["verdict"] != "promote":
        return False
    return bool(turn.content["judged_against"] == (None if stands is None else stands.generation))


def _judged_better(store: FolderStore, turn: Record | None, stands: Promotion | None) -> bool:
    """Say whether the gate found a version better than the one that is live, whoever was live in between."""
    if turn is None or turn.content["gate"]["verdict"] != "promote":
        return False
    against = turn.content["judged_against"]
    rival = None if against is None else next(one.version for one in promotions(store) if one.generation == against)
    return rival == (None if stands is None else stands.version)


def _refuse_again(history: Sequence[Record], live: int | None, number: int) -> None:
    """Refuse to decline what was declined before with nothing else decided since: it would count twice."""
    decided = choices(history)
    if decided and (decided[-1].chosen, decided[-1].instead_of) == (live, number):
        last = decided[-1]
        raise UsageError(f"Version {number} was declined already, by {last.by} at {last.at}.", code="already-declined")


def _not_passed(number: int, turn: Record | None, stands: Promotion | None) -> str:
    if turn is None:
        return f"Version {number} was not judged."
    if turn.content["gate"]["verdict"] == "promote":
        live = "none" if stands is None else f"generation {stands.generation}"
        return f"Version {number} was judged against another champion than the one that is live now ({live})."
    return f"The gate did not pass version {number}. {turn.content['gate']['sentence']}"


def _looked(history: Sequence[Record]) -> float | None:
    """Return up to when rows had been looked at when a person decided: rows labelled since judge the decision."""
    return max((event.content["looked"] for event in history if event.content["kind"] == TURN), default=None)


def _record_review(
    store: FolderStore, at: str, turn: Record | None, answer: str, as_of: float | None, choice: dict[str, Any]
) -> None:
    """Write down a person's decision, so that later rows can tell whether it was right."""
    about = None if turn is None else turn.number
    record_event(store, REVIEW, at, {"about": about, "answer": answer, "as_of": as_of, **choice})


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _live(done: Promotion, forgotten: Sequence[str]) -> Answer:
    record = {"format_version": FORMAT_VERSION, **done.to_json(), "forgotten_since": list(forgotten)}

    def show(page: Page) -> None:
        page.title(f"Version {done.version} is live (generation {done.generation})")
        page.line(done.reason.why)
        for where in forgotten:
            page.bullet(f"It was trained before the rows where {where} were forgotten, perhaps on them.", "red")
        if done.before is not None:
            page.line("To take it back:")
            again = f"batchlearn promote {done.before} --force --why REASON"
            page.command(again if done.kind == ROLLBACK else "batchlearn rollback")

    return Answer(record, show)


def _declined(number: int, answer: str) -> Answer:
    record = {"format_version": FORMAT_VERSION, "version": number, "answer": answer}
    return Answer(record, lambda page: page.title(f"Version {number} was declined; the champion stays live"))
