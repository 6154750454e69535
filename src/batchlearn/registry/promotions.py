"""Who is live: the version that the last promotion record names.

A promotion is one new record, created with put-if-absent under the next number (the *generation*): it is there or it
is not, and there is never a moment with two champions or none. A rollback is a record too. Neither needs data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchlearn.artifacts.store import Store, damaged
from batchlearn.errors import RegistryError, UsageError
from batchlearn.registry.records import Log, Record
from batchlearn.registry.version import no_champion, verify_version

PROMOTIONS = "promotions"
PROMOTE, ROLLBACK = "promote", "rollback"


@dataclass(frozen=True)
class Reason:
    """Why a version goes live, and on whose word."""

    why: str
    by: str
    at: str  # ISO 8601 in UTC
    forced: bool = False  # against the gate, or without it
    gate: Mapping[str, Any] | None = None
    asked: int | None = None  # the event that asked for this promotion


@dataclass(frozen=True)
class Promotion:
    """One promotion or rollback."""

    generation: int
    kind: str
    version: int
    identity: str
    before: int | None  # the version that was live until then
    reason: Reason
    record: Record = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the promotion as plain values."""
        reason = self.reason
        return {
            "generation": self.generation,
            "kind": self.kind,
            "version": self.version,
            "before": self.before,
            "at": reason.at,
            "by": reason.by,
            "why": reason.why,
            "forced": reason.forced,
            "gate": None if reason.gate is None else dict(reason.gate),
        }


def champion(store: Store) -> Promotion | None:
    """Return the promotion that stands, or None before the first. Reads one record."""
    record = _log(store).last()
    return None if record is None else _promotion(record)


def promotions(store: Store) -> list[Promotion]:
    """Return all promotions in order, each checked against the one before."""
    return [_promotion(record) for record in _log(store).all()]


def promotion_of(store: Store, generation: int) -> Promotion:
    """Return one promotion by its number; IntegrityError where it is not there or was altered."""
    return _promotion(_log(store).read(generation))


def promote(store: Store, version: int, reason: Reason, expected: Promotion | None) -> Promotion:
    """Make a version live, if `expected` is still the promotion that stands (None: if there is none yet).

    Every byte of the version is checked first. RegistryError where another promotion came in between, UsageError where
    there is no such version or it is live already, IntegrityError where it was altered.
    """
    if expected is not None and expected.version == version:
        raise UsageError(f"Version {version} is live already.", code="already-live")
    return _append(store, PROMOTE, version, reason, expected)


def rollback(store: Store, reason: Reason, expected: Promotion, to: int | None = None) -> Promotion:
    """Make the version live that was live before, or an earlier one; the conditions are those of `promote`."""
    stack = live_stack(promotions(store))
    if to is None and len(stack) < 2:
        raise UsageError(
            f"No version was live before version {expected.version}, so there is nothing to roll back to. "
            "`batchlearn promote VERSION` makes any registered version live.",
            code="no-earlier-champion",
        )
    target = stack[-2] if to is None else to
    if target not in stack[:-1]:
        raise UsageError(
            f"Version {target} was not live before version {expected.version}; roll back to one of "
            f"{', '.join(map(str, sorted(set(stack[:-1])))) or 'none'}, or promote it.",
            code="never-live",
        )
    return _append(store, ROLLBACK, target, reason, expected)


def live_stack(history: Sequence[Promotion]) -> list[int]:
    """Return the versions that a chain of rollbacks would pass through, the live one last."""
    stack: list[int] = []
    for promotion in history:
        if promotion.kind == ROLLBACK:
            while stack and stack[-1] != promotion.version:
                stack.pop()
        if not stack or stack[-1] != promotion.version:
            stack.append(promotion.version)
    return stack


def needed_champion(store: Store) -> Promotion:
    """Return the promotion that stands; RegistryError where there is none."""
    found = champion(store)
    if found is None:
        raise no_champion()
    return found


def _append(store: Store, kind: str, version: int, reason: Reason, expected: Promotion | None) -> Promotion:
    identity = verify_version(store, version).identity
    content = {
        "kind": kind,
        "version": version,
        "identity": identity,
        "before": None if expected is None else expected.version,
        "by": reason.by,
        "at": reason.at,
        "why": reason.why,
        "forced": reason.forced,
        "gate": None if reason.gate is None else dict(reason.gate),
        "asked": reason.asked,
    }
    record = _log(store).append(content, None if expected is None else expected.record)
    if record is None:
        stands = needed_champion(store)
        raise RegistryError(
            f"{stands.reason.by} made version {stands.version} live in the meantime (generation {stands.generation}: "
            f"{stands.kind}), so version {version} was not. Look at `batchlearn history`, and type the command again "
            "if it is still wanted.",
            code="promotion-conflict",
        )
    return _promotion(record)


def _log(store: Store) -> Log:
    return Log(store, PROMOTIONS)


def _promotion(record: Record) -> Promotion:
    content = record.content
    try:
        reason = Reason(
            content["why"], content["by"], content["at"], content["forced"], content["gate"], content["asked"]
        )
        return Promotion(
            record.number,
            content["kind"],
            content["version"],
            content["identity"],
            content["before"],
            reason,
            record,
        )
    except KeyError as problem:
        raise damaged(f"{PROMOTIONS}/{record.number:06d}.json", f"it does not say {problem}") from problem
