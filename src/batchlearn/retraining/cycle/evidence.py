"""What would be evidence enough where the judging rows were not: how many rows, by a larger share or by more time."""

from __future__ import annotations

import math
from typing import NamedTuple

from batchlearn.evaluation.paired import FEWEST_BLOCKS, ROWS_PER_BLOCK
from batchlearn.formatting.notes import Code, Note
from batchlearn.retraining.verdict import Verdict

# Beyond this share of the new rows more would judge than teach.
LARGEST_SHARE = 0.5
# An interval so many times as long as the difference says nothing of how many rows would show it.
_FAR = 1e3
_DAY = 86_400e6


class JudgingCut(NamedTuple):
    """The time after which new labelled rows judge, how many there are in all, and when the first and last was seen."""

    at: float
    rows: int
    first: float
    last: float


def evidence_needed(verdict: Verdict, cut: JudgingCut, share: float, stamped: bool) -> Note | None:
    """Return how many judging rows would decide, and which share or how much more time would bring them.

    None where the verdict is a decision, or nothing says how many. More time is forecast at the rate of the new rows.
    Neither is said where less than half of the share could judge: rows of one time stay together, and where the next
    cut falls does not follow from a share.
    """
    needed = rows_needed(verdict)
    if needed is None or needed <= verdict.rows:
        return None
    larger = math.ceil(100.0 * needed / cut.rows) / 100.0
    more = max(math.ceil(needed / share) - cut.rows, 1)
    span = cut.last - cut.first
    time = span * more / cut.rows / (_DAY if stamped else 1.0) if span > 0.0 else None
    values = {"rows": verdict.rows, "needed": needed, "now": share, "in_days": stamped}
    if verdict.rows < 0.5 * share * cut.rows:
        return Note(Code.EVIDENCE_NEEDED, {**values, "share": None, "more_rows": None, "time": None})
    said = {"share": larger if larger <= LARGEST_SHARE else None, "more_rows": more, "time": time}
    return Note(Code.EVIDENCE_NEEDED, {**values, **said})


def rows_needed(verdict: Verdict) -> int | None:
    """Return how many rows would bring a verdict if what was seen stays so; None where nothing says it.

    The length of the gate's interval falls with the root of the rows: with so many it ends at no difference.
    """
    if verdict.verdict != "not enough evidence":
        return None
    for reason in verdict.reasons:
        said = reason.values
        if reason.code is Code.FEW_BLOCKS and said["rows"] < FEWEST_BLOCKS * ROWS_PER_BLOCK:
            return FEWEST_BLOCKS * ROWS_PER_BLOCK
        if reason.code is Code.FEW_OF_A_CLASS and said["rarer"]:
            return math.ceil(verdict.rows * int(said["needed"]) / int(said["rarer"]))
        if reason.code is Code.LOSSES_COMPARED and said["low"] is not None:
            apart = said["difference"] - (said["margin"] or 0.0) * said["champion"]
            half = max(said["high"] - said["difference"], said["difference"] - said["low"])
            if half < _FAR * abs(apart):
                return math.ceil(verdict.rows * float(half / apart) ** 2)
    return None
