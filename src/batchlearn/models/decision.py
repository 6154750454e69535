"""What wrong decisions cost, and the probability above which "yes" is the cheaper one."""

from __future__ import annotations

from dataclasses import dataclass

from batchlearn.errors import UsageError

# Beyond these the share that is the threshold has no digits left.
_LEAST, _MOST = 1e-100, 1e100


@dataclass(frozen=True)
class Costs:
    """What deciding for the second of two classes costs where the first is true, and the other way round."""

    false_positive: float
    false_negative: float

    def __post_init__(self) -> None:
        for name, cost in (("positive", self.false_positive), ("negative", self.false_negative)):
            if not _LEAST <= cost <= _MOST:
                raise UsageError(
                    f"The cost of a false {name} is {cost!r}; it needs to be a number above 0 (from {_LEAST:g} to "
                    f"{_MOST:g}). Only the ratio of the two costs decides.",
                    code="cost-not-positive",
                )

    @property
    def threshold(self) -> float:
        """The probability of the second class above which deciding for it costs less on average.

        At probability p "yes" costs (1 - p) false_positive and "no" costs p false_negative (Elkan 2001, section 2).
        """
        return self.false_positive / (self.false_positive + self.false_negative)
