"""The questions that a backtest answers, with the figures of this result."""

from __future__ import annotations

from batchlearn.backtesting.outcome import Backtest, PolicyOutcome
from batchlearn.evaluation.intervals import Estimate, paired_difference, resampling
from batchlearn.formatting.names import metric
from batchlearn.formatting.notes import Code
from batchlearn.formatting.numbers import count, duration, percent, plain
from batchlearn.report.document import Answer
from batchlearn.report.values import LONGEST_SENTENCE, interval, short


def answers(result: Backtest) -> list[Answer]:
    """Return the answers in the order in which people ask."""
    return [often(result), waiting(result), _beside(result, *_WARM), _beside(result, *_ONLINE), _best(result)]


def often(result: Backtest) -> Answer:
    """Say which policy to take, and why."""
    found = result.recommendation
    never = any(note.code is Code.NO_POLICY_BEATS_ONCE for note in found.reasons)
    said = [short(str(note), LONGEST_SENTENCE) for note in found.reasons]
    for name, later in found.later.items():
        other = "training once" if name == "never" else f"training at {name}"
        said.append(f"On the windows that had no say in the choice it loses {_above(later)} than {other}.")
    if result.prices is None:
        said.append("No price was given (--cost), so a retrain costs nothing here but where losses do not differ.")
    return Answer(
        "How often should this be retrained?",
        short(found.policy),
        "plain" if never else "good",
        tuple(said),
        "policies",
    )


def _above(found: Estimate) -> str:
    value = found.value or 0.0
    between = interval(found)
    return f"{plain(abs(value), 3)} {'more' if value > 0.0 else 'less'} a row{f' ({between})' if between else ''}"


def waiting(result: Backtest) -> Answer:
    """Say by how much the loss of a model is above that of a new one as it gets older."""
    question, found = "What does waiting cost?", [one for one in result.freshness if one.loss.value is not None]
    if len(found) < 2:
        return Answer(question, "Not measured", "plain", ("There are too few windows to tell.",), "freshness")
    fresh, unit = found[0], "days" if result.history.times.stamped else "units of the time column"
    size, name, said = 24.0 if result.history.times.stamped else 1.0, metric(result.metric).name, []
    for one in (found[1], found[len(found) // 2], found[-1]):
        more = (one.loss.value or 0.0) - (fresh.loss.value or 0.0)
        ends = [None if end is None else end - (fresh.loss.value or 0.0) for end in (one.loss.low, one.loss.high)]
        between = interval(Estimate(more, *ends))
        said.append(
            f"A model that is {plain(one.age / size, 2)} {unit} old has a {name} that is {plain(abs(more), 3)} "
            f"{'above' if more >= 0.0 else 'below'} that of a new one{f' ({between})' if between else ''}."
        )
    worst = found[-1].loss
    level = fresh.loss.value or 0.0
    grows = worst.low is not None and worst.low > level
    share = ((worst.value or 0.0) - level) / abs(level) if level else 0.0
    brief = (
        f"{percent(share)} more after {plain(found[-1].age / size, 2)} {unit}"
        if grows
        else "Nothing that these rows show"
    )
    return Answer(question, brief, "warn" if grows else "good", tuple(dict.fromkeys(said)), "freshness")


_WARM = ("From scratch or warm?", "start=warm", "A warm start")
_ONLINE = ("Would online do?", "start=online", "Going on row by row")


def _beside(result: Backtest, question: str, key: str, what: str) -> Answer:
    """Compare a policy with the one that differs in how it trains alone; say where there is no such pair."""
    for one in result.policies:
        name, _, given = one.run.name.partition(" with ")
        other = next((two for two in result.policies if two.run.name == name), None)
        if given == key and other is not None and one.retrains:
            return _pair(result, question, what, one, other)
    said = f"Ask for two policies that differ in it alone, such as every 7d; every 7d with {key}."
    return Answer(question, "Not measured", "plain", (said,), "policies")


def _pair(result: Backtest, question: str, what: str, one: PolicyOutcome, other: PolicyOutcome) -> Answer:
    rows = result.judged
    blocks = resampling(int(rows.sum()), 0, clusters=result.window[rows])
    found = paired_difference(one.run.losses[rows], other.run.losses[rows], result.history.weight[rows], blocks)
    said = (
        f"{what} ({one.run.name}) loses {_above(found)} than {other.run.name}.",
        f"{count(one.retrains, 'retrain')} took {duration(one.seconds)}, {count(other.retrains, 'retrain')} from "
        f"scratch {duration(other.seconds)}.",
    )
    if found.high is not None and found.high < 0.0:
        return Answer(question, f"{what}: it loses less", "good", said, "policies")
    if found.low is not None and found.low > 0.0:
        return Answer(question, "From scratch: it loses less", "warn", said, "policies")
    quicker = one.seconds < other.seconds
    return Answer(
        question,
        f"No difference shows; {what.lower() if quicker else 'from scratch'} is quicker",
        "plain",
        said,
        "policies",
    )


def _best(result: Backtest) -> Answer:
    """Say what the oracle would have done."""
    question, oracle = "What could have been won at best?", result.oracle
    least = min(result.policies, key=lambda one: one.loss.value or 0.0)
    said = (
        f"Whoever had known all losses would have trained {count(oracle.best.retrains, 'time')} and lost "
        f"{plain(oracle.loss, 4)} a row; nobody can know that before.",
        f"The best of the policies, {short(least.run.name)}, loses {_above(least.regret)}.",
    )
    return Answer(question, f"{plain(oracle.loss, 4)} a row", "plain", said, "policies")
