"""`batchlearn promote` and `rollback`: who is live changes by one new record, and no data is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from batchlearn.artifacts.store import FolderStore
from batchlearn.cli.arguments import CommandResult, Count, Flag, moment, who
from batchlearn.errors import RegistryError, UsageError
from batchlearn.registry.decisions import complete, record_promotion, record_refusal
from batchlearn.registry.ledger import (
    check_promotions,
    choices,
    events,
    forgotten_since,
    latest_cycle_of,
    waiting,
)
from batchlearn.registry.place import open_store
from batchlearn.registry.promotions import ROLLBACK, Promotion, Reason, champion, needed_champion
from batchlearn.registry.promotions import promote as promote_version
from batchlearn.registry.promotions import rollback as rollback_version
from batchlearn.registry.records import Record
from batchlearn.registry.version import read_version, version_numbers
from batchlearn.report.document import Document

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
) -> CommandResult:
    """Make a version live, or decline to.

    Every byte of it is checked; no data is read. A version that the gate did not pass needs --force and --why.
    """
    store = open_store(ledger.project)
    history = events(store)
    check_promotions(history, champion(store))
    complete(store)
    stands = _expected(store, ledger)
    number = version if version is not None else _waiting(store, history, stands)
    read_version(store, number)
    turn = latest_cycle_of(history, number)
    if stands is not None and stands.version == number:
        undo = " `batchlearn rollback` takes it back." if decline else ""
        raise UsageError(f"Version {number} is live already.{undo}", code="already-live")
    passed = _passed(turn, stands)
    at, by = moment(), who(ledger.by)
    live = None if stands is None else stands.version
    if decline:
        decided = choices(history)
        if decided and (decided[-1].chosen, decided[-1].instead_of) == (live, number):
            last = decided[-1]
            raise UsageError(
                f"Version {number} was declined already, by {last.by} at {last.at}.", code="already-declined"
            )
        return _declined(number, record_refusal(store, at, by, ledger.why, number, live))
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
    record_promotion(store, done)
    return _live(done, forgotten_since(history, number))


def rollback(
    *,
    to: Annotated[Count | None, Parameter(help="An earlier champion; the one before, unless given.")] = None,
    ledger: LedgerOptions = DEFAULT_LEDGER,
) -> CommandResult:
    """Make the version live again that was live before. No data is needed, and nothing is lost."""
    store = open_store(ledger.project)
    check_promotions(events(store), champion(store))
    complete(store)
    stands = _expected(store, ledger) or needed_champion(store)
    at, by = moment(), who(ledger.by)
    why = ledger.why or f"rolled back from version {stands.version}"
    history = events(store)  # read before: what fails after it would be told as if nothing had been changed
    done = rollback_version(store, Reason(why, by, at), stands, to)
    record_promotion(store, done)
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


def _not_passed(number: int, turn: Record | None, stands: Promotion | None) -> str:
    if turn is None:
        return f"Version {number} was not judged."
    if turn.content["gate"]["verdict"] == "promote":
        live = "none" if stands is None else f"generation {stands.generation}"
        return f"Version {number} was judged against another champion than the one that is live now ({live})."
    return f"The gate did not pass version {number}. {turn.content['gate']['sentence']}"


def _live(done: Promotion, forgotten: Sequence[str]) -> CommandResult:
    record = {"format_version": FORMAT_VERSION, **done.to_json(), "forgotten_since": list(forgotten)}

    document = Document()
    document.title(f"Version {done.version} is live (generation {done.generation})")
    document.line(done.reason.why)
    for where in forgotten:
        document.bullet(f"It was trained before the rows where {where} were forgotten, perhaps on them.", "red")
    if done.before is not None:
        document.line("To take it back:")
        again = f"batchlearn promote {done.before} --force --why REASON"
        document.command(again if done.kind == ROLLBACK else "batchlearn rollback")

    return CommandResult(record, document)


def _declined(number: int, answer: str) -> CommandResult:
    record = {"format_version": FORMAT_VERSION, "version": number, "answer": answer}
    document = Document()
    document.title(f"Version {number} was declined; the champion stays live")
    return CommandResult(record, document)
