"""The ledger: which version was live when, why and by whom; and every turn, review and outcome beside that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from batchlearn.artifacts.store import Store, damaged
from batchlearn.registry.promotions import PROMOTIONS, Promotion
from batchlearn.registry.records import EVENTS, Log, Record

# The kinds of events: a turn of the cycle; rows that must not come back; what a person decided where the gate had
# spoken; what rows labelled since say of that so far, and whether the person was right; a turn that an alarm ended.
CYCLE, FORGET, REVIEW, OVERRIDE_INTERIM, OUTCOME = "turn", "forget", "review", "hindsight", "outcome"
ALARM = "alarm"
AGREED, OVERRULED = "agreed", "overruled"


@dataclass(frozen=True)
class Tenure:
    """A stretch of time during which one version was live."""

    version: int
    since: str
    until: str | None  # None: it is live
    promotion: Promotion

    def to_json(self) -> dict[str, Any]:
        """Return the stretch as plain values."""
        why = {key: value for key, value in self.promotion.to_json().items() if key not in ("version", "at")}
        return {"version": self.version, "since": self.since, "until": self.until, **why}


def tenures(history: Sequence[Promotion]) -> list[Tenure]:
    """Return who was live when, in the order of generations: a clock that went back does not reorder them."""
    ends: list[str | None] = [*(promotion.reason.at for promotion in history), None][1:]
    return [
        Tenure(promotion.version, promotion.reason.at, end, promotion)
        for promotion, end in zip(history, ends, strict=True)
    ]


def record_event(store: Store, kind: str, at: str, content: Mapping[str, Any]) -> Record:
    """Write an event; it survives a loss of power once this returns."""
    return Log(store, EVENTS).write({"kind": kind, "at": at, **content})


def events(store: Store) -> list[Record]:
    """Return all events in order, each checked against the one before."""
    return list(Log(store, EVENTS).all())


@dataclass(frozen=True)
class Reviews:
    """What has landed on people: how often they were asked, how often they overruled, and whether rightly."""

    asked: int
    asked_this_month: int
    answered: int
    overrides: int
    right: int  # of the overrides, by rows that came later
    wrong: int
    open: tuple[int, ...]  # events that asked and have no answer

    def to_json(self) -> dict[str, Any]:
        """Return the counts as plain values; an override whose outcome is not known yet is neither right nor wrong."""
        return {
            "asked": self.asked,
            "asked_this_month": self.asked_this_month,
            "answered": self.answered,
            "overrides": self.overrides,
            "right": self.right,
            "wrong": self.wrong,
            "unknown": self.overrides - self.right - self.wrong,
            "open": list(self.open),
        }


def reviews(history: Sequence[Record], now: str) -> Reviews:
    """Count reviews in the events up to `now`, an ISO 8601 time whose first seven characters are the month."""
    asked = [event for event in history if event.content.get("review")]
    answers = [event.content for event in history if event.content["kind"] == REVIEW]
    outcomes = [event.content["outcome"] for event in history if event.content["kind"] == OUTCOME]
    answered = {answer["about"] for answer in answers}
    return Reviews(
        asked=len(asked),
        asked_this_month=sum(event.content["at"][:7] == now[:7] for event in asked),
        answered=len(answered & {event.number for event in asked}),
        overrides=sum(choice.answer == OVERRULED for choice in choices(history)),
        right=outcomes.count("right"),
        wrong=outcomes.count("wrong"),
        open=tuple(event.number for event in asked if event.number not in answered),
    )


@dataclass(frozen=True)
class Choice:
    """What a person decided, and what rows labelled since say of it."""

    event: int
    at: str
    by: str
    why: str | None
    answer: str
    chosen: int | None  # the version that the person chose; None: none was live
    instead_of: int | None
    outcome: str | None  # "right", "wrong", or None where rows have not told yet, or nobody was overruled
    because: str | None  # what the latest look said; None: nothing was looked at

    def to_json(self) -> dict[str, Any]:
        """Return the decision as plain values."""
        return asdict(self)


def _which(review: Record) -> object:
    """Tell decisions apart: a command and the turn that takes it for killed may both write down the same one."""
    said = review.content
    generation = said.get("generation")
    return review.number if generation is None else (said["chosen"], said["instead_of"], generation)


def choices(history: Sequence[Record]) -> list[Choice]:
    """Return what people decided, in order, each once and with its outcome as far as it is known."""
    reviewed = [event for event in history if event.content["kind"] == REVIEW]
    decided = {_which(event): event for event in reversed(reviewed)}
    looks = {one.content["about"]: one.content for one in history if one.content["kind"] in (OVERRIDE_INTERIM, OUTCOME)}
    return [
        Choice(
            event.number,
            said["at"],
            said["by"],
            said["why"],
            said["answer"],
            said["chosen"],
            said["instead_of"],
            looks.get(event.number, {}).get("outcome"),
            looks.get(event.number, {}).get("why"),
        )
        for event in reversed(decided.values())
        if (said := event.content)
    ]


def waiting(history: Sequence[Record], live: Promotion | None) -> list[Record]:
    """Return the turns that asked a person who has not answered; not those judged against an earlier champion."""
    generation = None if live is None else live.generation
    unanswered = set(reviews(history, "").open)
    return [
        event
        for event in history
        if event.number in unanswered and event.content.get("judged_against", generation) == generation
    ]


def forgotten_since(history: Sequence[Record], version: int) -> list[str]:
    """Return the conditions of rows that were forgotten after a version was trained, perhaps on them."""
    turns = (event for event in history if event.content["kind"] == CYCLE)
    trained = next((turn.number for turn in turns if turn.content["version"] == version), 0)
    return [event.content["where"] for event in history if event.content["kind"] == FORGET and event.number > trained]


def highest_version(history: Sequence[Record]) -> int:
    """Return the highest number of a version that turns speak of, 0 for none: it is never given again."""
    return max((event.content["version"] for event in history if event.content["kind"] == CYCLE), default=0)


def check_promotions(history: Sequence[Record], stands: Promotion | None) -> None:
    """Refuse promotions of which the newest are gone: IntegrityError where an event speaks of a later one."""
    known = 0 if stands is None else stands.generation
    told = max(
        (event.content.get(key) or 0 for event in history for key in ("judged_against", "generation")), default=0
    )
    if told > known:
        raise damaged(PROMOTIONS, f"it ends with generation {known}, and {EVENTS} speak of generation {told}")


def standing_alarm(history: Sequence[Record]) -> Record | None:
    """Return the alarm that ended the latest turn on record, or None where a turn has ended otherwise since."""
    latest = next((one for one in reversed(history) if one.content["kind"] in (ALARM, CYCLE)), None)
    return latest if latest is not None and latest.content["kind"] == ALARM else None


def latest_cycle_of(history: Sequence[Record], version: int) -> Record | None:
    """Return the turn of the cycle that made or judged a version last, or None."""
    turns = (event for event in reversed(history) if event.content["kind"] == CYCLE)
    return next((event for event in turns if event.content.get("version") == version), None)
