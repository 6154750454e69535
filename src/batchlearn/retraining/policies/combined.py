"""Policies made of others."""

from __future__ import annotations

from dataclasses import dataclass

from batchlearn.errors import UsageError
from batchlearn.retraining.policies import Action, Decision, Policy, Situation


@dataclass(frozen=True, init=False)
class AnyOf:
    """Train again when one of several policies would; the first that would says how.

    Args:
        policies: One or more.

    Example:
        >>> import batchlearn as bl
        >>> str(bl.AnyOf(bl.Every("30d"), bl.Decay()))
        'any(every 30d, decay 0.05)'
    """

    policies: tuple[Policy, ...]

    def __init__(self, *policies: Policy) -> None:
        """Take one policy or more."""
        object.__setattr__(self, "policies", _some(policies))

    def __str__(self) -> str:
        """Write it as text."""
        return f"any({', '.join(map(str, self.policies))})"

    def decide(self, situation: Situation) -> Decision:
        """Return the reasons of those that would train, or of all where none would.

        Args:
            situation: What has arrived by now.
        """
        if situation.trained is None:
            return _started(self.policies, situation)
        found = [policy.decide(situation) for policy in self.policies]
        due = [one for one in found if one.retrain]
        action = next((one.action for one in due if one.action is not None), None)
        return Decision(bool(due), tuple(note for one in due or found for note in one.reasons), action)


@dataclass(frozen=True, init=False)
class AllOf:
    """Train again when all of several policies would; they are asked until one would keep.

    Args:
        policies: One or more, those first whose evidence costs least.

    Example:
        >>> import batchlearn as bl
        >>> str(bl.AllOf(bl.EveryRows(1000), bl.WhenGainExceeds(3.0)))
        'all(rows 1000, gain 3)'
    """

    policies: tuple[Policy, ...]

    def __init__(self, *policies: Policy) -> None:
        """Take one policy or more."""
        object.__setattr__(self, "policies", _some(policies))

    def __str__(self) -> str:
        """Write it as text."""
        return f"all({', '.join(map(str, self.policies))})"

    def decide(self, situation: Situation) -> Decision:
        """Return the reasons of all, or of the first that would keep.

        Args:
            situation: What has arrived by now.
        """
        if situation.trained is None:
            return _started(self.policies, situation)
        found = list[Decision]()
        for policy in self.policies:
            found.append(policy.decide(situation))
            if not found[-1].retrain:
                return found[-1]
        action = next((one.action for one in found if one.action is not None), None)
        return Decision(True, tuple(note for one in found for note in one.reasons), action)


@dataclass(frozen=True)
class With:
    """Another policy's decision, with what a retrain does.

    Args:
        policy: Says when.
        action: Says how.

    Example:
        >>> import batchlearn as bl
        >>> str(bl.With(bl.Every("7d"), bl.Action(start="warm")))
        'every 7d with start=warm'
    """

    policy: Policy
    action: Action

    def __str__(self) -> str:
        """Write it as text."""
        return f"{self.policy} with {self.action}" if str(self.action) else str(self.policy)

    def decide(self, situation: Situation) -> Decision:
        """Decide as the policy does.

        Args:
            situation: What has arrived by now.
        """
        return self.policy.decide(situation)._replace(action=self.action)


def _some(policies: tuple[Policy, ...]) -> tuple[Policy, ...]:
    if not policies:
        raise UsageError("No policy was given to combine; give one or more.", code="policy-not-valid")
    return policies


def _started(policies: tuple[Policy, ...], situation: Situation) -> Decision:
    """Ask all, so that what no policy can do is refused with the first training already; the first one counts."""
    decision, *_ = [policy.decide(situation) for policy in policies]
    return decision
