"""What a person decides about a version is an event, so that rows labelled later can tell whether it was right."""

from __future__ import annotations

from collections.abc import Sequence

from batchlearn.artifacts.store import Store
from batchlearn.registry.ledger import (
    AGREED,
    CYCLE,
    OVERRULED,
    REVIEW,
    events,
    latest_cycle_of,
    record_event,
)
from batchlearn.registry.promotions import ROLLBACK, Promotion, champion, promotion_of
from batchlearn.registry.records import Record


def judged_better(store: Store, turn: Record | None, rival: int | None) -> bool:
    """Say whether the gate found a turn's version better than a version (None: no version), whoever was live since."""
    if turn is None or turn.content["gate"]["verdict"] != "promote":
        return False
    against = turn.content["judged_against"]
    return rival == (None if against is None else promotion_of(store, against).version)


def record_promotion(store: Store, done: Promotion) -> None:
    """Write down the decision behind a promotion or rollback: whether it agreed with the gate, and instead of what."""
    past = events(store)
    if done.kind == ROLLBACK:
        taken_back = promotion_of(store, done.generation - 1)
        turn = latest_cycle_of(past, taken_back.version)
        agreed = taken_back.reason.forced  # who takes back what was forced past the gate agrees with it
    else:
        turn = next((event for event in past if event.number == done.reason.asked), None)
        agreed = judged_better(store, turn, done.before)
    _record(store, past, done.reason.at, turn, agreed, done.reason.by, done.reason.why, done.version, done.before)


def record_refusal(store: Store, at: str, by: str, why: str | None, version: int, live: int | None) -> str:
    """Write down that a version was declined and the live one stays; return whether that agreed with the gate."""
    past = events(store)
    turn = latest_cycle_of(past, version)
    agreed = not judged_better(store, turn, live)
    return _record(store, past, at, turn, agreed, by, why, live, version)


def _record(  # noqa: PLR0913, PLR0917 - the fields of one event
    store: Store,
    past: Sequence[Record],
    at: str,
    turn: Record | None,
    agreed: bool,
    by: str,
    why: str | None,
    chosen: int | None,
    instead_of: int | None,
) -> str:
    stands = champion(store)
    content = {
        "about": None if turn is None else turn.number,
        "answer": AGREED if agreed else OVERRULED,
        # Up to when rows had been looked at: those labelled since judge the decision.
        "as_of": max((one.content["looked"] for one in past if one.content["kind"] == CYCLE), default=None),
        "by": by,
        "why": why,
        "chosen": chosen,
        "instead_of": instead_of,
        "generation": None if stands is None else stands.generation,
    }
    record_event(store, REVIEW, at, content)
    return str(content["answer"])


def complete(store: Store) -> None:
    """Write down the decision behind the promotion that stands where its command was killed before it could."""
    stands = champion(store)
    # Nobody decided on what went live by itself, and on what was forgotten the gate had nothing to say.
    if stands is None or (stands.kind != ROLLBACK and stands.reason.asked is None):
        return
    told = (event.content for event in events(store) if event.content["kind"] == REVIEW)
    if all((one["chosen"], one["at"]) != (stands.version, stands.reason.at) for one in told):
        record_promotion(store, stands)
