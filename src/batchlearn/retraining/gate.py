"""Whether a challenger may take the champion's place: both models' losses on the same later rows, compared in pairs.

A difference is the challenger's mean loss minus the champion's: below zero the challenger is better. Its interval holds
the true difference with probability 1 - alpha (`evaluation.paired`), and the verdict follows from the interval alone:

    superiority       promote where the interval lies below 0, reject where it lies at or above 0
    non-inferiority   promote where it lies below `margin` x the champion's loss, reject where it lies at or above that
    anytime           as superiority, by tests of 15, 30, 60, ... interim analyses: the rate holds however many

Anything else is "not enough evidence". So a verdict is wrong, in whichever direction, with probability alpha at most,
and a challenger that is no better is promoted with probability alpha / 2 at most.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchlearn.errors import DataError, UsageError
from batchlearn.evaluation.metrics import Array
from batchlearn.evaluation.paired import (
    FEWEST_BLOCKS,
    FIRST_TEST,
    LARGEST_CORRELATION,
    ROWS_PER_BLOCK,
    Difference,
    analyses_tested,
    blocked_difference,
    largest_correlation,
    sequential_difference,
    time_blocks,
)
from batchlearn.formatting.notes import Code, Note
from batchlearn.retraining.interim import InterimAnalyses, InterimAnalysis
from batchlearn.retraining.verdict import Gate, Verdict, answered, conclude

__all__ = ["Gate", "Verdict", "judge", "judge_interim", "judge_without_champion"]

# A rarer class carries most of the difference of two log losses; of fewer rows its share is not near enough to normal.
FEWEST_RARER = 20
# Losses nearer than this share of the champion's are two roundings of one model, which a test must not tell apart.
SAME = 1e-9
# Analyses of one call share what that time brought, so few: where a shock that all share makes 70 % of their variance,
# two equal models were told apart within 60 in 2.5 % of 4,000 series with four a call and in 15 % with eight.
ANALYSES_PER_CALL = 4


def judge(
    gate: Gate,
    champion_losses: Array | None,
    challenger_losses: Array,
    weight: Array | None = None,
    time: Array | None = None,
    label: NDArray[Any] | None = None,
    state: Mapping[str, Any] | None = None,
) -> Verdict:
    """Judge a challenger by each labelled later row's loss under both models, all of shape (n,).

    `champion_losses` is None where there is no champion yet. `weight` is each row's, at least 0. `time` orders the
    rows; without it they count as given in order. `label` is for classes only: rows of one class judge nothing. In mode
    "anytime" only rows later than those of earlier analyses are given, and all of the rows of their time: where some
    have no label yet, those that are known early would judge for all. `state` is the last verdict's.

    DataError where lengths differ, a weight or time is unusable, or rows come that are no later than the last
    analysis's.
    """
    if champion_losses is None:
        return _failing(gate, challenger_losses) or answered(
            gate, "promote", Note(Code.NO_CHAMPION), len(challenger_losses)
        )
    return _judged(gate, _paired(champion_losses, challenger_losses, weight, time, label), state)


def judge_interim(
    gate: Gate,
    champion_losses: Array,
    challenger_losses: Array,
    weight: Array | None = None,
    time: Array | None = None,
    label: NDArray[Any] | None = None,
    state: Mapping[str, Any] | None = None,
) -> Verdict:
    """Judge new rows by a gate of mode "anytime" in at most four interim analyses, each of a block of time.

    So four calls may be enough for a verdict, and the rate holds however many follow. Where a block decides, the later
    ones are not analysed. Arguments and errors as those of `judge`; UsageError for a gate of another mode.
    """
    if gate.mode != "anytime":
        raise UsageError(
            f"The gate's mode is {gate.mode}, and only one of mode anytime may look several times.", code="gate-setting"
        )
    return _judged_interim(gate, _paired(champion_losses, challenger_losses, weight, time, label), state)


def judge_without_champion(  # noqa: PLR0913 - the arguments of `judge`, and why
    gate: Gate,
    why: str,
    constant_losses: Array,
    challenger_losses: Array,
    weight: Array | None = None,
    time: Array | None = None,
    label: NDArray[Any] | None = None,
    *,
    state: Mapping[str, Any] | None = None,
) -> Verdict:
    """Judge a challenger where the champion cannot score the later rows, say because a column is gone.

    A champion that cannot score cannot serve either, so the challenger has to be superior to a constant prediction: the
    mean label of its training rows; in mode "anytime" by interim analyses. `why` is a clause for the sentence.
    Arguments and errors as those of `judge`.
    """
    rows = _paired(constant_losses, challenger_losses, weight, time, label, "constant prediction")
    if gate.mode == "anytime":
        found = _judged_interim(gate, rows, state)
    else:
        found = _judge_once(replace(gate, mode="superiority", margin=None), rows)
    return replace(found, reasons=(*found.reasons, Note(Code.CONSTANT_STOOD_IN, {"why": why})))


# --- rows -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Paired:
    """The rows with weight above 0, in the order of time."""

    champion: Array
    challenger: Array
    weight: Array
    time: Array | None
    label: NDArray[Any] | None
    against: str
    """Who stands in the champion's place."""

    def __len__(self) -> int:
        return len(self.weight)

    @property
    def classes(self) -> Mapping[str, int] | None:
        """Rows by label; None where no labels were given."""
        return None if self.label is None else {str(name): rows for name, rows in Counter(self.label.tolist()).items()}

    def part(self, rows: NDArray[np.intp]) -> _Paired:
        """Return some of the rows."""
        time, label = (None if one is None else one[rows] for one in (self.time, self.label))
        return _Paired(self.champion[rows], self.challenger[rows], self.weight[rows], time, label, self.against)


def _paired(
    champion: Array,
    challenger: Array,
    weight: Array | None,
    time: Array | None,
    label: NDArray[Any] | None,
    against: str = "champion",
) -> _Paired:
    rows = len(champion)
    each = ((f"{against} losses", champion), ("challenger losses", challenger), ("weights", weight), ("times", time))
    for name, array in (*each, ("labels", label)):
        if array is not None and array.shape != (rows,):
            raise DataError(
                f"There are {rows:,} rows and {name} of shape {array.shape}; the gate compares row by row. Give one of "
                "each for every row.",
                code="gate-rows",
            )
    for name, values, least in (("weight", weight, 0.0), ("time", time, -math.inf)):
        if values is not None and not np.all(np.isfinite(values) & (values >= least)):
            raise DataError(
                f"A later row's {name} is missing, negative or not finite; the gate needs every row's. Leave out the "
                "rows without one.",
                code="gate-rows",
            )
    weight = np.ones(rows) if weight is None else weight
    order = np.arange(rows) if time is None else np.argsort(time, kind="stable")
    order = order[weight[order] > 0.0]
    sorted_time, sorted_label = (None if one is None else one[order] for one in (time, label))
    return _Paired(champion[order], challenger[order], weight[order], sorted_time, sorted_label, against)


def _unusable(gate: Gate, rows: _Paired) -> Verdict | None:
    """Return the verdict on rows that cannot be averaged: there are none, or the challenger fails on some."""
    if not len(rows):
        return answered(gate, "not enough evidence", Note(Code.NO_LABEL_YET), 0)
    if not np.isfinite(rows.champion).all():
        raise DataError(
            f"The {rows.against}'s loss is not finite in some rows; a difference needs both. Judge it as a champion "
            "that cannot score them.",
            code="gate-rows",
        )
    return _failing(gate, rows.challenger)


def _failing(gate: Gate, challenger: Array) -> Verdict | None:
    failed = int(np.sum(~np.isfinite(challenger)))
    if not failed:
        return None
    why = Note(Code.LOSS_NOT_FINITE, {"failed": failed, "rows": len(challenger)})
    return answered(gate, "reject", why, len(challenger))


def _same(gate: Gate, apart: Array, level: float, rows: int) -> Verdict | None:
    """Return the verdict on two models that are one but for rounding; with a margin such a challenger is judged."""
    if gate.margin is not None or np.max(np.abs(apart)) > SAME * abs(level):
        return None
    return answered(gate, "reject", Note(Code.SAME_LOSSES, {"rows": rows}), rows, Difference(0.0, 0.0, 0.0))


def _few_of_a_class(classes: Mapping[str, int] | None) -> Note | None:
    if classes is None:
        return None
    rows, commonest = sum(classes.values()), max(classes.values())
    if rows == commonest:
        return Note(Code.JUDGED_BY_ONE_CLASS, {"rows": rows})
    if rows - commonest < FEWEST_RARER:
        return Note(Code.FEW_OF_A_CLASS, {"rarer": rows - commonest, "rows": rows, "needed": FEWEST_RARER})
    return None


# --- tests ----------------------------------------------------------------------------------------------------------


def _judged(gate: Gate, rows: _Paired, state: Mapping[str, Any] | None) -> Verdict:
    if gate.mode != "anytime":
        return _judge_once(gate, rows)
    before = InterimAnalyses.from_json(state)
    if before.against != rows.against:  # those against another one are of another comparison
        before = InterimAnalyses(until=before.until, against=rows.against)
    return _judge_analysis(gate, rows, before)


def _judged_interim(gate: Gate, rows: _Paired, state: Mapping[str, Any] | None) -> Verdict:
    starts = time_blocks(rows.weight, rows.time, ANALYSES_PER_CALL)
    for block in np.split(np.arange(len(rows)), starts[1:]):
        verdict = _judged(gate, rows.part(block), state)
        state = verdict.state
        if verdict.verdict != "not enough evidence":
            break
    return verdict


def _judge_once(gate: Gate, rows: _Paired) -> Verdict:
    unusable = _unusable(gate, rows)
    if unusable is not None:
        return unusable
    apart = rows.challenger - rows.champion
    level = float(np.average(rows.champion, weights=rows.weight))
    same = _same(gate, apart, level, len(rows))
    if same is not None:
        return same
    few = _few_of_a_class(rows.classes)
    if few is not None:
        return answered(gate, "not enough evidence", few, len(rows))
    margin = gate.margin or 0.0
    # Challenger - (1 + margin) champion is tested against 0: the margin is a share of a mean that is itself uncertain,
    # and so it is tested exactly at its boundary.
    starts = time_blocks(rows.weight, rows.time)
    found = blocked_difference(apart - margin * rows.champion, rows.weight, starts, gate.alpha)
    if found.low is None:
        needed = {"rows_each": ROWS_PER_BLOCK, "needed": FEWEST_BLOCKS}
        why = Note(Code.FEW_BLOCKS, {"rows": len(rows), "blocks": len(starts), **needed})
        value = Difference(found.value + margin * level, None, None)
        return answered(gate, "not enough evidence", why, len(rows), value)
    negative = bool(min(np.min(rows.champion), np.min(rows.challenger)) < 0.0)
    return conclude(gate, len(rows), level, found, rows.against, negative)


def _judge_analysis(gate: Gate, rows: _Paired, before: InterimAnalyses) -> Verdict:
    if before.until is not None and rows.time is not None and len(rows) and rows.time[0] <= before.until:
        raise DataError(
            "Rows were given that are no later than those of the last look; each row may be judged once. Give the rows "
            "of later times.",
            code="gate-rows-again",
        )
    unusable = _unusable(gate, rows)
    if unusable is not None and (len(rows) or not before.analyses):
        return replace(unusable, state=before.to_json())
    analyses = before
    if len(rows):
        champion, challenger = (float(np.average(of, weights=rows.weight)) for of in (rows.champion, rows.challenger))
        analysis = InterimAnalysis(len(rows), float(rows.weight.sum()), champion, challenger)
        analyses = before.added(analysis, rows.classes, None if rows.time is None else float(rows.time[-1]))
    verdict = replace(_judge_analyses(gate, analyses), state=analyses.to_json())
    if not before.dropped:
        return verdict
    return replace(verdict, reasons=(*verdict.reasons, Note(Code.EARLIER_LOOKS_DROPPED, {"looks": before.dropped})))


def _judge_analyses(gate: Gate, analyses: InterimAnalyses) -> Verdict:
    complete = [analysis for analysis in analyses.analyses if analysis.rows >= ROWS_PER_BLOCK]
    few = _few_of_a_class(analyses.classes)
    if few is None and len(complete) < FIRST_TEST:
        few = Note(Code.FEW_LOOKS, {"complete": len(complete), "rows_each": ROWS_PER_BLOCK, "needed": FIRST_TEST})
    if few is not None:
        return answered(gate, "not enough evidence", few, analyses.rows)
    tested = complete[: analyses_tested(len(complete))]
    weight = np.array([analysis.weight for analysis in tested])
    champion = np.array([analysis.champion for analysis in tested])
    challenger = np.array([analysis.challenger for analysis in tested])
    apart, level = challenger - champion, float(np.average(champion, weights=weight))
    rows = sum(analysis.rows for analysis in tested)
    same = _same(gate, apart, level, rows)
    if same is not None:
        return same
    negative = bool(min(np.min(champion), np.min(challenger)) < 0.0)
    found = sequential_difference(apart, weight, gate.alpha)
    verdict = conclude(gate, rows, level, found, analyses.against, negative)
    if verdict.verdict != "not enough evidence":
        return verdict
    more = [Note(Code.NEXT_TEST, {"looks": len(tested), "next": 2 * len(tested)})]
    if found.low is None:
        correlation = {"correlation": largest_correlation(apart, weight), "largest": LARGEST_CORRELATION}
        more.insert(0, Note(Code.LOOKS_CORRELATED, correlation))
    return replace(verdict, reasons=(*verdict.reasons, *more))
