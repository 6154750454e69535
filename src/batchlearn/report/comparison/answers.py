"""The questions that a comparison answers, with the figures of this result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batchlearn.report.answer import Answer
from batchlearn.report.comparison.entrants import FULL, ONLINE, Entrant, entrants
from batchlearn.report.comparison.tables import batch, critical_batch
from batchlearn.report.values import LONGEST_SENTENCE, mapping, number, records, text, texts
from batchlearn.words.names import metric
from batchlearn.words.numbers import count, duration, passes, percent, plain, size

_WHERE = {"start": "at the start", "optimum": "at the optimum"}


def answers(result: Mapping[str, Any]) -> list[Answer]:
    """Return the answers in the order in which people ask."""
    found = entrants(result)
    return [
        recommended(result),
        _cost_of_mini_batch(result, found),
        _online(result, found),
        _batch_size(result),
        _production(found),
        _changes(result),
    ]


def recommended(result: Mapping[str, Any]) -> Answer:
    """Say which contender to take, and why."""
    question, recommendation = "Which one should I take?", mapping(result.get("recommendation"))
    name, reason = text(recommendation.get("contender")), text(recommendation.get("reason"), LONGEST_SENTENCE)
    if name is None or reason is None:
        return Answer(question, "Nothing to recommend", "warn", ("The result holds no recommendation.",), "contenders")
    good, said = number(result.get("good_enough")), [reason]
    if good is not None:
        said.append(_good_enough(result, good))
    return Answer(question, name[:1].upper() + name[1:], "good", tuple(said), "contenders")


def _good_enough(result: Mapping[str, Any], good: float) -> str:
    rows = number(result.get("rows"))
    if number(result.get("sampling_loss")) is None or rows is None:
        return f"Good enough means {plain(good, 2)} here: a ten-thousandth of what the optimum gains over the mean."
    return (
        f"Good enough means {plain(good, 2)} here: what having no more than {count(rows, 'row')} costs on average, "
        "whoever learns from them. What is nearer to the optimum than that cannot be seen on new rows."
    )


def optimum(result: Mapping[str, Any]) -> Answer:
    """Say what the distances are measured from."""
    given = mapping(result.get("optimum"))
    certificate = mapping(given.get("certificate"))
    question, bound = "What are they measured against?", number(certificate.get("loss_bound"))
    if bound is None:
        why = text(certificate.get("reason"), LONGEST_SENTENCE) or "the result has no certificate"
        said = f"The lowest loss that any run has reached. It is not proved to be the lowest there is: {why}."
        return Answer(
            question, "The best known", "warn", (said, "Distances are from it, not from the optimum."), "curves"
        )
    said = (
        f"The optimum of one objective over the same rows: a loss of {plain(number(given.get('objective')), 6)}, "
        f"proved to be at most {plain(bound, 2)} above the lowest there is."
    )
    gain = (number(given.get("null_objective")) or 0.0) - (number(given.get("objective")) or 0.0)
    start = f"Every contender starts from the model that knows only the mean, {plain(gain)} above it."
    return Answer(question, "The certified optimum", "good", (said, start), "curves")


def _first(found: Sequence[Entrant], regime: str) -> Entrant | None:
    return next((one for one in found if one.regime == regime), None)


def middle_batch(found: Sequence[Entrant]) -> Entrant | None:
    """Return the mini-batch contender that speaks for all: that of 128 rows, else the one in the middle."""
    batches = [one for one in found if one.regime not in (FULL, ONLINE)]
    return _first(batches, "128") or (batches[len(batches) // 2] if batches else None)


def _cost_of_mini_batch(result: Mapping[str, Any], found: Sequence[Entrant]) -> Answer:
    question, one, full = "What did mini-batch cost me?", middle_batch(found), _first(found, FULL)
    if one is None:
        return Answer(question, "Not measured", "plain", ("No mini-batch contender took part.",), "contenders")
    good = number(result.get("good_enough"))
    enough = one.excess is not None and good is not None and one.excess <= good
    said = [f"{_named(one)} ended {one.shown} above the optimum{_against(one, good)}, after {_spent(one)}."]
    if full is not None:
        said.append(f"Full batch ended {full.shown} above it after {_spent(full)}.")
    said += _held_out(one, good)
    if one.diverged:
        return Answer(question, "It diverged", "warn", tuple(said), "contenders")
    short = "Nothing that new rows could show" if enough else "Some loss: see how much"
    return Answer(question, short, "good" if enough else "plain", tuple(said), "contenders")


def _named(one: Entrant) -> str:
    return one.name[:1].upper() + one.name[1:]


def _against(one: Entrant, good: float | None) -> str:
    if one.excess is None or not good:
        return ""
    ratio = one.excess / good
    return (
        f", {percent(ratio)} of what is good enough" if ratio <= 1.0 else f", {plain(ratio)} times what is good enough"
    )


def _spent(one: Entrant) -> str:
    time = "an unknown time" if one.seconds is None else duration(one.seconds)
    return f"{'an unknown number of passes' if one.passes is None else passes(one.passes)} and {time}"


def _held_out(one: Entrant, good: float | None) -> list[str]:
    difference = one.difference
    if difference.value is None:
        return []
    name = metric(one.metric).name
    if difference.low is None or difference.high is None:
        return [
            f"On held-out rows its {name} differs from that of the optimum's model by {plain(difference.value, 2)}."
        ]
    chance = "which may be chance"
    if good is not None and max(abs(difference.low), abs(difference.high)) <= good:
        chance = "too little to matter"
    elif not difference.low <= 0.0 <= difference.high:
        chance = f"so it is known to be {'worse' if difference.low > 0.0 else 'better'} there"
    side = "above" if difference.value >= 0.0 else "below"
    return [
        f"On held-out rows its {name} is {plain(abs(difference.value), 2)} {side} that of the optimum's model "
        f"(95 % interval {plain(difference.low, 2)} to {plain(difference.high, 2)}), {chance}."
    ]


def _online(result: Mapping[str, Any], found: Sequence[Entrant]) -> Answer:
    question, one = "Would online do?", _first(found, ONLINE)
    if one is None:
        return Answer(question, "Not measured", "plain", ("No online contender took part.",), "contenders")
    good = number(result.get("good_enough"))
    said = [f"One row at a time, it ended {one.shown} above the optimum{_against(one, good)}, after {_spent(one)}."]
    if one.stored is not None:
        said.append(
            "With the rows in the order in which they are stored, as they would come, it ended "
            f"{plain(one.stored, 2)} above{', worse than the mean alone' if one.misled else ''}."
        )
    said += _held_out(one, good)
    if one.diverged:
        return Answer(question, "No: it diverged", "warn", tuple(said), "contenders")
    worse = one.difference.low is not None and one.difference.low > 0.0
    if one.excess is not None and good is not None and one.excess <= good and not worse:
        return Answer(question, "Yes", "good", tuple(said), "contenders")
    if one.difference.low is not None and not worse:
        said.append("Held-out rows do not tell the two apart, though the training loss does.")
        return Answer(question, "Yes, as far as held-out rows tell", "plain", tuple(said), "contenders")
    return Answer(question, "Not on this budget", "warn", tuple(said), "contenders")


def _batch_size(result: Mapping[str, Any]) -> Answer:
    question, given = "What batch size does this data want?", mapping(result.get("critical_batch"))
    rows, largest = number(result.get("rows")), number(given.get("measured"))
    noise = {text(one.get("where")) or "": one for one in records(given.get("noise"))}
    said = []
    if noise:
        steps = [f"{batch(critical_batch(one), rows)} {_WHERE.get(where, where)}" for where, one in noise.items()]
        said.append(
            f"Predicted from the gradient noise: {', '.join(steps)}. Up to there twice the batch is nearly twice the "
            "progress a step; beyond it rows are wasted."
        )
    measurement = mapping(given.get("measurement"))
    made = number(measurement.get("passes"))
    if largest is not None:
        after = "" if made is None else f" in {passes(made)}"
        tried = [number(one.get("batch_size")) for one in records(measurement.get("sizes"))]
        most = max((one for one in tried if one is not None), default=None)
        end = ", the largest tried" if most == largest else ""
        said.append(
            f"Measured: batches of up to {largest:,.0f} rows{end} lost nothing{after} of the mini-batch default."
        )
    if not said:
        return Answer(
            question, "Not measured", "plain", ("The result holds neither prediction nor measurement.",), "noise"
        )
    said.append(
        "The two answer different questions: the prediction is about single plain steps, the measurement about whole "
        "runs of a solver that may reduce the noise itself."
    )
    short = "No size was measured" if largest is None else f"Up to {largest:,.0f} rows, as measured"
    return Answer(question, short, "plain", tuple(said), "noise")


def _production(found: Sequence[Entrant]) -> Answer:
    question, said = "What changes in production with each?", []
    full, one, online = _first(found, FULL), middle_batch(found), _first(found, ONLINE)
    if full is not None:
        rows = "" if full.rows_memory is None else f", {size(full.rows_memory)} here"
        said.append(
            f"Full batch: every retraining reads all rows ({_spent(full)}{rows}). The result depends on neither seed "
            "nor order and ends with a certificate; new rows count after the next retraining."
        )
    if one is not None:
        spread = "" if None in one.spread else f" (here {plain(one.spread[0], 2)} to {plain(one.spread[1], 2)})"
        held = "" if one.rows_memory is None else f": {size(one.rows_memory)} at a time"
        said.append(
            f"Mini-batch: rows may come from disk in chunks{held}, and it can be stopped at any time with a usable "
            f"model. What is left above the optimum depends on the seed{spread}."
        )
    if online is not None:
        said.append(
            "Online: each row is used once, when its label comes, and the model follows the data without a retraining. "
            "Nothing proves how far it is from the optimum; the order of rows matters"
            + ("." if online.stored is None else f" (as stored: {plain(online.stored, 2)} above the optimum).")
        )
    if not said:
        said.append("No contender took part.")
    return Answer(question, "What is read, held and proved", "plain", tuple(said), "contenders")


def _changes(result: Mapping[str, Any]) -> Answer:
    said = tuple(texts(mapping(result.get("recommendation")).get("changes"), LONGEST_SENTENCE))
    question = "What would change the recommendation?"
    return Answer(question, "Other circumstances", "plain", said or ("The result does not say.",), "contenders")
