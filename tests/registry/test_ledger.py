from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.registry.made import WHY, store_with

from batchlearn.registry.ledger import (
    AGREED,
    CYCLE,
    OUTCOME,
    OVERRIDE_INTERIM,
    OVERRULED,
    REVIEW,
    choices,
    events,
    latest_cycle_of,
    record_event,
    reviews,
    tenures,
)
from batchlearn.registry.promotions import champion, promote, promotions, rollback

DECISION = {"as_of": 0.0, "by": "ann", "why": None, "chosen": 2, "instead_of": 1}


def test_the_ledger_says_who_was_live_when_why_and_by_whom(tmp_path: Path) -> None:
    store = store_with(tmp_path, 2)
    promote(store, 1, replace(WHY, why="first"), None)
    promote(store, 2, replace(WHY, at="2026-02-01T00:00:00Z", by="bob"), champion(store))
    stands = champion(store)
    assert stands is not None
    rollback(store, replace(WHY, at="2026-03-01T00:00:00Z", why="worse"), stands)
    found = [(one.version, one.since[:7], one.until and one.until[:7]) for one in tenures(promotions(store))]
    assert found == [(1, "2026-01", "2026-02"), (2, "2026-02", "2026-03"), (1, "2026-03", None)]
    last = tenures(promotions(store))[-1].to_json()
    assert (last["by"], last["why"], last["kind"]) == ("ann", "worse", "rollback")


def test_reviews_are_counted_with_what_became_of_them(tmp_path: Path) -> None:
    store = store_with(tmp_path, 0)

    def turn(at: str, review: str | None, version: int) -> int:
        return record_event(store, CYCLE, at, {"review": review, "version": version}).number

    first = turn("2026-01-05T00:00:00Z", "promotion", 1)
    turn("2026-01-06T00:00:00Z", None, 2)
    second = turn("2026-02-01T00:00:00Z", "promotion", 3)
    third = turn("2026-02-02T00:00:00Z", "rejection", 4)
    record_event(store, REVIEW, "2026-01-05T00:00:00Z", {**DECISION, "about": first, "answer": AGREED})
    overruled = [
        record_event(store, REVIEW, "2026-02-02T00:00:00Z", {**DECISION, "about": about, "answer": OVERRULED}).number
        for about in (second, None)
    ]
    record_event(store, OUTCOME, "2026-02-09T00:00:00Z", {"about": overruled[0], "outcome": "right"})
    counts = reviews(events(store), "2026-02-10T00:00:00Z")
    assert (counts.asked, counts.asked_this_month, counts.answered) == (3, 2, 2)
    assert (counts.overrides, counts.right, counts.wrong) == (2, 1, 0)
    assert counts.open == (third,)
    assert counts.to_json()["unknown"] == 1
    latest = latest_cycle_of(events(store), 3)
    assert latest is not None
    assert latest.number == second
    assert latest_cycle_of(events(store), 9) is None


def test_decisions_are_told_with_the_latest_that_is_known_of_them(tmp_path: Path) -> None:
    store = store_with(tmp_path, 0)

    def decided(answer: str) -> int:
        said = {**DECISION, "about": None, "answer": answer}
        return record_event(store, REVIEW, "2026-02-02T00:00:00Z", said).number

    told, open_still, unseen, agreed = (decided(said) for said in (OVERRULED, OVERRULED, OVERRULED, AGREED))
    for about in (told, open_still):
        record_event(store, OVERRIDE_INTERIM, "2026-02-03T00:00:00Z", {"about": about, "why": "few rows"})
    record_event(store, OUTCOME, "2026-02-04T00:00:00Z", {"about": told, "why": "many rows", "outcome": "wrong"})
    found = [(one.event, one.outcome, one.because) for one in choices(events(store))]
    assert found == [
        (told, "wrong", "many rows"),
        (open_still, None, "few rows"),
        (unseen, None, None),
        (agreed, None, None),
    ]
