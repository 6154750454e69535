"""The questions that a comparison answers, with the figures of this result."""

from __future__ import annotations

import math
from collections.abc import Sequence

from batchlearn.comparison.critical import sampling_loss
from batchlearn.comparison.outcome import Comparison, Outcome
from batchlearn.formatting.names import metric
from batchlearn.formatting.numbers import at_most, count, duration, passes, percent, plain, size
from batchlearn.report.comparison.tables import at_place, batch, critical_batch, excess_of, excess_said, is_misled
from batchlearn.report.document import Answer
from batchlearn.report.values import LONGEST_SENTENCE, short
from batchlearn.training.regimes import FullBatch, MiniBatch, Online, Regime

_MIDDLE = 128


def answers(result: Comparison) -> list[Answer]:
    """Return the answers in the order in which people ask."""
    return [
        recommended(result),
        _cost_of_mini_batch(result),
        _online(result),
        _batch_size(result),
        _production(result.outcomes),
        _changes(result),
    ]


def recommended(result: Comparison) -> Answer:
    """Say which contender to take, and why."""
    found = result.recommendation
    said = short(found.reason, LONGEST_SENTENCE), _good_enough(result)
    return Answer("Which one should I take?", _capital(found.contender), "good", said, "contenders")


def _capital(name: str) -> str:
    return f"{name[:1].upper()}{name[1:]}"


def _good_enough(result: Comparison) -> str:
    good, rows = plain(result.good_enough, 2), count(len(result.benchmark.rows), "row")
    if sampling_loss(result.noise) is None:
        return f"Good enough means {good} here: a ten-thousandth of what the optimum gains over the mean."
    return (
        f"Good enough means {good} here: what having no more than {rows} costs on average, "
        "whoever learns from them. What is nearer to the optimum than that cannot be seen on new rows."
    )


def optimum(result: Comparison) -> Answer:
    """Say what the distances are measured from."""
    found, question = result.benchmark.optimum, "What are they measured against?"
    certificate = found.certification.certificate
    if certificate.loss_bound is None:
        why = short(str(certificate.reason or "its certificate does not say why"), LONGEST_SENTENCE)
        said = f"The lowest loss that any run has reached. It is not proved to be the lowest there is: {why}."
        return Answer(
            question, "The best known", "warn", (said, "Distances are from it, not from the optimum."), "curves"
        )
    said = (
        f"The optimum of one objective over the same rows: a loss of {plain(result.best, 6)}, "
        f"proved to be at most {at_most(certificate.loss_bound)} above the lowest there is."
    )
    gain = plain(found.null_value - result.best)
    start = f"Every contender starts from the model that knows only the mean, {gain} above it."
    return Answer(question, "The certified optimum", "good", (said, start), "curves")


def _first(found: Sequence[Outcome], *regimes: Regime) -> Outcome | None:
    return next((one for one in found if one.contender.regime in regimes), None)


def middle_batch(found: Sequence[Outcome]) -> Outcome | None:
    """Return the mini-batch contender that speaks for all: that of 128 rows, else the one in the middle."""
    batches = [one for one in found if isinstance(one.contender.regime, MiniBatch)]
    return _first(batches, MiniBatch(_MIDDLE)) or (batches[len(batches) // 2] if batches else None)


def _cost_of_mini_batch(result: Comparison) -> Answer:
    question, good = "What did mini-batch cost me?", result.good_enough
    one, full = middle_batch(result.outcomes), _first(result.outcomes, FullBatch())
    if one is None:
        return Answer(question, "Not measured", "plain", ("No mini-batch contender took part.",), "contenders")
    excess, ended = excess_of(one), f"{_capital(one.contender.name)} ended {excess_said(one)} above the optimum"
    said = [f"{ended}{_against(one, good)}, after {_spent(one)}."]
    if full is not None:
        said.append(f"Full batch ended {excess_said(full)} above it after {_spent(full)}.")
    said += _held_out(one, good)
    if one.diverged:
        return Answer(question, "It diverged", "warn", tuple(said), "contenders")
    if excess is not None and excess <= good:
        return Answer(question, "Nothing that new rows could show", "good", tuple(said), "contenders")
    return Answer(question, "Some loss: see how much", "plain", tuple(said), "contenders")


def _against(one: Outcome, good: float) -> str:
    excess = excess_of(one)
    if excess is None or not good:
        return ""
    ratio = excess / good
    return (
        f", {percent(ratio)} of what is good enough" if ratio <= 1.0 else f", {plain(ratio)} times what is good enough"
    )


def _spent(one: Outcome) -> str:
    return f"{passes(one.typical.last.passes)} and {duration(one.typical.last.seconds)}"


def _held_out(one: Outcome, good: float) -> list[str]:
    if one.held_out is None or one.held_out.difference.value is None:
        return []
    name, found = metric(one.held_out.metric).name, one.held_out.difference
    value = one.held_out.difference.value
    if found.low is None or found.high is None:
        return [f"On held-out rows its {name} differs from that of the optimum's model by {plain(value, 2)}."]
    chance = "which may be chance"
    if max(abs(found.low), abs(found.high)) <= good:
        chance = "too little to matter"
    elif not found.low <= 0.0 <= found.high:
        chance = f"so it is known to be {'worse' if found.low > 0.0 else 'better'} there"
    side = "above" if value >= 0.0 else "below"
    return [
        f"On held-out rows its {name} is {plain(abs(value), 2)} {side} that of the optimum's model "
        f"(95 % interval {plain(found.low, 2)} to {plain(found.high, 2)}), {chance}."
    ]


def _online(result: Comparison) -> Answer:
    question, one, good = "Would online do?", _first(result.outcomes, Online()), result.good_enough
    if one is None:
        return Answer(question, "Not measured", "plain", ("No online contender took part.",), "contenders")
    excess = excess_of(one)
    said = [
        f"One row at a time, it ended {excess_said(one)} above the optimum{_against(one, good)}, after {_spent(one)}."
    ]
    if _stored(one) is not None:
        said.append(
            "With the rows in the order in which they are stored, as they would come, it ended "
            f"{plain(_stored(one), 2)} above{', worse than the mean alone' if is_misled(one) else ''}."
        )
    said += _held_out(one, good)
    if one.diverged:
        return Answer(question, "No: it diverged", "warn", tuple(said), "contenders")
    low = None if one.held_out is None else one.held_out.difference.low
    worse = low is not None and low > 0.0
    if excess is not None and excess <= good and not worse:
        return Answer(question, "Yes", "good", tuple(said), "contenders")
    if low is not None and not worse:
        said.append("Held-out rows do not tell the two apart, though the training loss does.")
        return Answer(question, "Yes, as far as held-out rows tell", "plain", tuple(said), "contenders")
    return Answer(question, "Not on this budget", "warn", tuple(said), "contenders")


def _stored(one: Outcome) -> float | None:
    """Return how far above the optimum a contender ended on rows as stored; None where it did not."""
    excess = math.inf if one.stored is None else one.excess(one.stored)
    return excess if math.isfinite(excess) else None


def _batch_size(result: Comparison) -> Answer:
    question, rows, measured = "What batch size does this data want?", len(result.benchmark.rows), result.measured
    said = []
    if result.noise:
        steps = [f"{batch(critical_batch(one), rows)} {at_place(one.where)}" for one in result.noise]
        said.append(
            f"Predicted from the gradient noise: {', '.join(steps)}. Up to there twice the batch is nearly twice the "
            "progress a step; beyond it rows are wasted."
        )
    largest = None if measured is None else measured.largest
    if measured is not None and largest is not None:
        end = ", the largest tried" if largest == max(batch_size for batch_size, *_ in measured.sizes) else ""
        said.append(
            f"Measured: batches of up to {largest:,} rows{end} lost nothing in {passes(measured.passes)} of the "
            "mini-batch default."
        )
    if not said:
        return Answer(
            question, "Not measured", "plain", ("The result holds neither prediction nor measurement.",), "noise"
        )
    said.append(
        "The two answer different questions: the prediction is about single plain steps, the measurement about whole "
        "runs of a solver that may reduce the noise itself."
    )
    known = "No size was measured" if largest is None else f"Up to {largest:,} rows, as measured"
    return Answer(question, known, "plain", tuple(said), "noise")


def _production(found: Sequence[Outcome]) -> Answer:
    question, said = "What changes in production with each?", []
    full, one, online = _first(found, FullBatch()), middle_batch(found), _first(found, Online())
    if full is not None:
        said.append(
            f"Full batch: every retraining reads all rows ({_spent(full)}, {size(full.memory.rows)} here). The result "
            "depends on neither seed nor order and ends with a certificate; new rows count after the next retraining."
        )
    if one is not None:
        low, high = one.spread
        spread = f" (here {plain(low, 2)} to {plain(high, 2)})" if math.isfinite(high) else ""
        said.append(
            f"Mini-batch: rows may come from disk in chunks: {size(one.memory.rows)} at a time, and it can be stopped "
            "at any time with a usable model. What is left above the optimum depends on the seed"
            f"{spread}."
        )
    if online is not None:
        stored = _stored(online)
        said.append(
            "Online: each row is used once, when its label comes, and the model follows the data without a retraining. "
            "Nothing proves how far it is from the optimum; the order of rows matters"
            + ("." if stored is None else f" (as stored: {plain(stored, 2)} above the optimum).")
        )
    if not said:
        said.append("No contender took part.")
    return Answer(question, "What is read, held and proved", "plain", tuple(said), "contenders")


def _changes(result: Comparison) -> Answer:
    said = tuple(short(change, LONGEST_SENTENCE) for change in result.recommendation.changes)
    return Answer("What would change the recommendation?", "Other circumstances", "plain", said, "contenders")
