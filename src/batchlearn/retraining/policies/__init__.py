"""When to train again: a policy looks at what has come since the last training, and says keep or retrain, and why.

A policy sees a `Situation` and nothing else: times, counts and evidence that have arrived by now. So it cannot look
ahead, and the same policy decides the same in production and over the past. As text a policy is what `policies.text`
reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import pyarrow as pa

from batchlearn.errors import UsageError, quoted
from batchlearn.formatting.notes import Code, Note, joined
from batchlearn.kernels.design import Floats
from batchlearn.retraining.bracket import Bracket
from batchlearn.retraining.policies.span import Span

__all__ = [
    "Action", "Decision", "Doubling", "Every", "EveryRows", "Evidence", "Losses", "Never", "Policy", "Samples",
    "Situation", "Span", "check_start", "evidence_of", "first",
]  # fmt: skip

FROM_TOTALS = ("online", "fine-tune", "update")
"""The starts that go on from what the champion kept of its rows."""


class Losses(NamedTuple):
    """Losses of one version on labelled rows that were seen after its training, in the order in which labels came.

    Two versions have the rows that both have in the same order, so `loss[seen > other.trained]` are losses of the
    rows of a later one. Arrays have shape (n,); times are on the scale of the time column.
    """

    trained: float  # as of when the version was trained
    learned: int  # rows that it was trained on
    seen: Floats
    arrived: Floats  # when the label was known, ascending
    loss: Floats  # under the proper score of the version's target


class Samples(NamedTuple):
    """Columns that the newest version reads, without times: of rows known at its training, and of those seen since.

    In the order of time; of either every k-th row, with one k, so that recent rows only ever grow at their end.
    """

    reference: pa.Table
    recent: pa.Table


class Evidence(Protocol):
    """What has arrived by now and costs something to look at, so that it is made when a policy asks for it."""

    def losses(self, versions: int = 1) -> Sequence[Losses]:
        """Return the losses of the last so many versions, oldest first; the last one is the one that serves."""
        ...

    def samples(self) -> Samples:
        """Return rows as the newest version has learned from, and rows seen since, labelled or not."""
        ...

    def bracket(self) -> Bracket | None:
        """Return what training now would gain; None where nothing can be said, of which the turn says why."""
        ...


class Situation(NamedTuple):
    """What a policy may look at."""

    now: float  # by the clock of the data, on the scale of the time column
    trained: float | None  # as of when the newest version was trained; None if there is none
    new_rows: int  # to learn from since then: new, landed late, labelled since
    stamped: bool  # whether times are timestamps
    wall: tuple[float, float] | None = None  # trained and now by the clock on the wall; None where times are numbers
    learned: int | None = None  # labelled rows known at the training of the newest version; None: not on record
    price: float | None = None  # of a retrain, in sums of loss over rows; None: the user gave none
    evidence: Evidence | None = None


@dataclass(frozen=True, init=False)
class Action:
    """What a retrain does: on which rows, from which start, read in which regime, with the structure kept or chosen.

    Args:
        window: Rows seen so recently, such as "365d"; None for all history.
        new_only: Rows that became known since the last training alone.
        start: "scratch", "warm", "update", "fine-tune" or "online".
        batch_size: Rows an update sees, as of a recipe.
        structure: "keep" what the last version chose, or "choose" again.
        half_life: The age at which a row counts half, such as "30d"; None where rows of all ages count alike.

    Raises:
        UsageError: The start does not go on so, or a length of time is none.

    Example:
        >>> import batchlearn as bl
        >>> str(bl.Action(start="warm", half_life="30d"))
        'start=warm half_life=30d'
    """

    window: Span | None
    new_only: bool
    start: str
    batch_size: str | int
    structure: str
    half_life: Span | None

    def __init__(
        self,
        window: Span | str | float | None = None,
        new_only: bool = False,
        start: str = "scratch",
        batch_size: str | int = "full",
        structure: str = "keep",
        half_life: Span | str | float | None = None,
    ) -> None:
        """Take lengths of time as a person writes them, too."""
        spans = [one if one is None or isinstance(one, Span) else Span.parse(one) for one in (window, half_life)]
        check_start(start, batch_size, spans[1])
        given = (spans[0], new_only, start, batch_size, structure, spans[1])
        for name, value in zip(self.__dataclass_fields__, given, strict=True):
            object.__setattr__(self, name, value)

    def __str__(self) -> str:
        """Write what differs from all rows, full batch, from scratch, structure kept."""
        given = {
            "start": self.start if self.start != "scratch" else None,
            "window": None if self.window is None else self.window.written,
            "half_life": None if self.half_life is None else self.half_life.written,
            "rows": "new" if self.new_only else None,
            "regime": self.batch_size if self.batch_size != "full" else None,
            "structure": self.structure if self.structure != "keep" else None,
        }
        return " ".join(f"{name}={value}" for name, value in given.items() if value is not None)


def check_start(start: str, batch_size: str | int, half_life: Span | None) -> None:
    """Refuse a start that cannot go on in these batches, or from totals of rows that fade: UsageError."""
    if start != "scratch" and batch_size != "full":
        raise UsageError(
            f"Batches of {batch_size} are known to training from scratch alone, and "
            f'start = "{start}" goes on otherwise; use start = "scratch", or "online", which learns each new row once.',
            code="start-regime",
        )
    if half_life is not None and start in FROM_TOTALS:
        raise UsageError(
            f"With a half-life every row counts less at each training, so totals of before do not serve, and "
            f'start = "{start}" goes on from them; use start = "scratch" or "warm".',
            code="start-half-life",
        )


class Decision(NamedTuple):
    """Keep or retrain, and why; and how, where the policy says it and not the plan."""

    retrain: bool
    reasons: tuple[Note, ...]
    action: Action | None = None

    @property
    def reason(self) -> str:
        """Why, as one text."""
        return joined(self.reasons)


class Policy(Protocol):
    """Decides when to train again."""

    def decide(self, situation: Situation) -> Decision:
        """Return the decision for a situation; the same situation gives the same decision.

        Args:
            situation: What has arrived by now.
        """
        ...


@dataclass(frozen=True)
class Never:
    """Train once and then never again.

    Example:
        >>> import batchlearn as bl
        >>> str(bl.Never())
        'never'
    """

    def __str__(self) -> str:
        """Write it as text."""
        return "never"

    def decide(self, situation: Situation) -> Decision:
        """Retrain only where there is no version at all.

        Args:
            situation: What has arrived by now.
        """
        if situation.trained is None:
            return first(situation)
        return Decision(False, (Note(Code.NEVER_AGAIN),))


@dataclass(frozen=True, init=False)
class Every:
    """Train again when so much time has passed, if any labelled row has come.

    Args:
        period: Such as "7d" or "12h"; a plain number where the time column holds numbers.
        clock: Whose time passes: "data", the latest that the rows say, or "wall".

    Example:
        >>> import batchlearn as bl
        >>> str(bl.Every("7d"))
        'every 7d'
    """

    period: Span
    clock: str = "data"

    def __init__(self, period: Span | str | float, clock: str = "data") -> None:
        """Take the period as a person writes it, too."""
        object.__setattr__(self, "period", period if isinstance(period, Span) else Span.parse(period))
        object.__setattr__(self, "clock", clock)

    def __str__(self) -> str:
        """Write it as text."""
        return f"every {self.period.written}{'' if self.clock == 'data' else ' ' + self.clock}"

    def decide(self, situation: Situation) -> Decision:
        """Compare the time since the last training with the period.

        Args:
            situation: What has arrived by now.
        """
        self.period.on(situation.stamped)  # refused with the first training already, not with the second
        if situation.trained is None:
            return first(situation)
        clocks = {"data": (situation.trained, situation.now), "wall": situation.wall}
        counted, beside = clocks[self.clock], clocks["wall" if self.clock == "data" else "data"]
        if counted is None:
            raise UsageError(
                "The policy counts time by the clock on the wall, and the time column holds numbers; write clock = "
                '"data" in [policy].',
                code="policy-clock",
            )
        if counted[1] < counted[0]:
            return Decision(False, (Note(Code.CLOCK_WENT_BACK),))
        passed = self.period.passed(*counted, situation.stamped)
        since = {"periods": passed, "period": str(self.period), "clock": self.clock}
        if beside is not None:
            since["other"] = self.period.passed(*beside, situation.stamped)
        if passed < 1.0:
            return Decision(False, (Note(Code.PERIOD_NOT_OVER, since),))
        if not situation.new_rows:
            return Decision(False, (Note(Code.PERIOD_WITHOUT_LABELS, since),))
        return Decision(True, (Note(Code.PERIOD_OVER, {**since, "rows": situation.new_rows}),))


@dataclass(frozen=True)
class EveryRows:
    """Train again when so many rows were labelled since the last training.

    Args:
        rows: How many, 1 or more.

    Example:
        >>> import batchlearn as bl
        >>> str(bl.EveryRows(10_000))
        'rows 10000'
    """

    rows: int

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise UsageError(f"The policy waits for {self.rows} rows; 1 or more are needed.", code="policy-rows")

    def __str__(self) -> str:
        """Write it as text."""
        return f"rows {self.rows}"

    def decide(self, situation: Situation) -> Decision:
        """Compare the number of new rows with the one waited for.

        Args:
            situation: What has arrived by now.
        """
        if situation.trained is None:
            return first(situation)
        enough = situation.new_rows >= self.rows
        code = Code.ENOUGH_NEW_LABELS if enough else Code.FEW_NEW_LABELS
        return Decision(enough, (Note(code, {"rows": situation.new_rows, "needed": self.rows}),))


@dataclass(frozen=True)
class Doubling:
    """Train again when the rows known have grown by a factor since the last training: so many times as log(rows).

    Args:
        factor: Above 1.

    Example:
        >>> import batchlearn as bl
        >>> str(bl.Doubling())
        'doubling'
    """

    factor: float = 2.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.factor) and self.factor > 1.0):
            raise UsageError(
                f"The policy waits until the rows are {self.factor!r} times as many; the factor needs to be above 1.",
                code="policy-factor",
            )

    def __str__(self) -> str:
        """Write it as text."""
        return "doubling" if self.factor == 2.0 else f"doubling {self.factor:.12g}"

    def decide(self, situation: Situation) -> Decision:
        """Compare the number of new rows with what was learned from.

        Args:
            situation: What has arrived by now.
        """
        if situation.trained is None:
            return first(situation)
        if situation.learned is None:
            return Decision(False, (Note(Code.LEARNED_NOT_ON_RECORD),))
        needed = max(math.ceil((self.factor - 1.0) * situation.learned), 1)
        enough = situation.new_rows >= needed
        code = Code.ENOUGH_NEW_LABELS if enough else Code.FEW_NEW_LABELS
        return Decision(enough, (Note(code, {"rows": situation.new_rows, "needed": needed}),))


def first(situation: Situation) -> Decision:
    """Return the decision where there is no version: train, if there is a row to learn from."""
    if not situation.new_rows:
        return Decision(False, (Note(Code.NOTHING_TO_LEARN),))
    return Decision(True, (Note(Code.FIRST_VERSION),))


def evidence_of(situation: Situation, policy: str) -> Evidence:
    """Return the evidence that a policy needs: UsageError where whoever asks it has none."""
    if situation.evidence is None:
        raise UsageError(
            f"The policy {quoted(policy)} looks at losses and rows that have arrived, and was given none. Give it a "
            "Situation with evidence, or use a policy of times and counts such as every 7d.",
            code="policy-evidence",
        )
    return situation.evidence
