"""What is kept of a paired comparison between interim analyses: a few figures of each, as plain values.

Messages and documents call an interim analysis a look, and so does the JSON that is kept.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchlearn.errors import IntegrityError, quoted
from batchlearn.evaluation.paired import ROWS_PER_BLOCK

# 1 analysed the rows that were labelled since, 2 analyses the rows of a time, all of them labelled.
FORMAT_VERSION = 2


@dataclass(frozen=True)
class InterimAnalysis:
    """The new rows of one analysis: their number, weight, and the mean loss of both models on them."""

    rows: int
    weight: float
    champion: float
    challenger: float

    def joined(self, other: InterimAnalysis) -> InterimAnalysis:
        """Return the two analyses as one."""
        weight = self.weight + other.weight
        share = other.weight / weight
        return InterimAnalysis(
            self.rows + other.rows,
            weight,
            self.champion + share * (other.champion - self.champion),
            self.challenger + share * (other.challenger - self.challenger),
        )


@dataclass(frozen=True)
class InterimAnalyses:
    """All analyses so far, in order; the last may still have too few rows and grows with the next."""

    analyses: tuple[InterimAnalysis, ...] = ()
    classes: Mapping[str, int] | None = None
    """Rows by label; None where no labels were given."""
    until: float | None = None
    """Time of the latest row."""
    against: str = "champion"
    """Who stands in the champion's place."""
    dropped: int = 0
    """Analyses of an earlier release, which are not among these."""

    @property
    def rows(self) -> int:
        """The rows of all analyses."""
        return sum(analysis.rows for analysis in self.analyses)

    def added(
        self, analysis: InterimAnalysis, classes: Mapping[str, int] | None, until: float | None
    ) -> InterimAnalyses:
        """Return the analyses with one more; a last one of fewer than 20 rows is joined with it."""
        analyses = self.analyses
        if analyses and analyses[-1].rows < ROWS_PER_BLOCK:
            analyses, analysis = analyses[:-1], analyses[-1].joined(analysis)
        counted = self.classes if classes is None else dict(Counter(self.classes or {}) + Counter(classes))
        return InterimAnalyses((*analyses, analysis), counted, self.until if until is None else until, self.against)

    def to_json(self) -> dict[str, Any]:
        """Return the analyses as plain values."""
        classes = None if self.classes is None else dict(self.classes)
        analyses = [dict(vars(analysis)) for analysis in self.analyses]
        kept = {"looks": analyses, "classes": classes, "until": self.until, "against": self.against}
        return {"format_version": FORMAT_VERSION, **kept}

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> InterimAnalyses:
        """Return the analyses that `to_json` gave; none for None. IntegrityError where it is not what was written.

        Analyses of an earlier release are dropped: they were at rows whose labels were known early, whatever the
        others' were. As no verdict came of them, a new series at later rows keeps its rate.
        """
        if value is None:
            return cls()
        try:
            analyses = tuple(
                InterimAnalysis(
                    int(one["rows"]), float(one["weight"]), float(one["champion"]), float(one["challenger"])
                )
                for one in value["looks"]
            )
            given = value["classes"]
            classes = None if given is None else {str(name): int(rows) for name, rows in given.items()}
            until = None if value["until"] is None else float(value["until"])
            against, version = str(value.get("against", "champion")), int(value.get("format_version", 1))
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise _damaged(problem) from problem
        sound = all(
            analysis.rows > 0
            and analysis.weight > 0.0
            and math.isfinite(analysis.weight + analysis.champion + analysis.challenger)
            for analysis in analyses
        )
        if not sound or not math.isfinite(until or 0.0) or not 1 <= version <= FORMAT_VERSION:
            raise _damaged("a figure is out of its range")
        if version < FORMAT_VERSION:
            return cls(until=until, against=against, dropped=len(analyses))
        return cls(analyses, classes, until, against)


def _damaged(problem: object) -> IntegrityError:
    return IntegrityError(
        f"What was kept of the earlier looks is not as it was written ({quoted(problem)}). Restore it, or begin a "
        "new series of looks with a new challenger.",
        code="gate-state",
    )
