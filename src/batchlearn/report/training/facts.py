"""What the result says of its rows and labels: how they were split, base rates, repeats, neighbours in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from batchlearn.report.values import key_text, mapping, number, text, texts, whole
from batchlearn.words.numbers import count, duration, listed, percent, plain

# How much more alike rows of one time may be than others, as a share or a correlation, before their order is odd.
_GIVEN_AWAY = 0.15
# Below this share of rows, those of equal times decide nothing.
_TIES = 0.05
_MOST_CLASSES = 4
_STAGES = {
    "reading": "reading",
    "choosing": "choosing what to fit",
    "judging": "the fit that is judged and its scores",
    "fitting": "the fit on all rows",
}


def facts(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what training found out beside the model."""
    return mapping(result.get("facts"))


def target_name(result: Mapping[str, Any]) -> str:
    """Return what is predicted."""
    return text(result.get("target")) or "the target"


def outcome(result: Mapping[str, Any], name: str) -> str:
    """Return a class with its column: is_canceled = 1."""
    return f"{target_name(result)} = {name}"


def yes(result: Mapping[str, Any]) -> str | None:
    """Return the outcome whose probability is predicted, where there are two classes."""
    classes = texts(result.get("classes"))
    return outcome(result, classes[1]) if len(classes) == 2 else None


def split_said(result: Mapping[str, Any]) -> str | None:
    """Say which rows the judged model learned from, which judged it, and what the delivered one learned from."""
    split = mapping(facts(result).get("split"))
    early, late = whole(split.get("early")), whole(split.get("late"))
    if early is None or late is None:
        return None
    if split.get("by") == "time":
        by = f" by {text(result.get('time'))}" if text(result.get("time")) else ""
        parts = f"the first {early:,} rows{by}{_between(split, 'first', 'until')} and scored on the last {late:,}"
        parts += _between(split, "from", "last")
    else:
        others = "of other groups" if split.get("by") == "group" else "others"
        parts = f"{early:,} rows and scored on {late:,} {others}, drawn at random"
    used = whole(mapping(result.get("rows")).get("used"))
    after = "" if used is None else f" The model delivered then learned from all {used:,}."
    return f"To judge it, the same recipe was trained on {parts}.{after}"


class Held(NamedTuple):
    """One side of the split: what it was for, and where it lies in a bar, in per cent."""

    said: str
    at: float
    width: float
    role: str


def split_parts(result: Mapping[str, Any]) -> tuple[Held, ...]:
    """Return the rows that the judged model learned from and those that judged it; nothing where none were held out."""
    split = mapping(facts(result).get("split"))
    early, late = whole(split.get("early")), whole(split.get("late"))
    if early is None or late is None or early < 0 or late <= 0:
        return ()
    share = round(100.0 * early / (early + late), 3)
    shown = percent(early / (early + late)), percent(late / (early + late))
    return (
        Held(f"{early:,} ({shown[0]}) taught the model that is judged", 0.0, share, "model"),
        Held(f"{late:,} ({shown[1]}) judged it", share, round(100.0 - share, 3), "held"),
    )


def _between(split: Mapping[str, Any], first: str, last: str) -> str:
    ends = [_moment(split.get(name)) for name in (first, last)]
    return f" ({ends[0]} to {ends[1]})" if ends[0] and ends[1] else ""


def _moment(value: object) -> str | None:
    found = number(value)
    return text(value) if found is None else f"{found:.10g}"


def base_rates(result: Mapping[str, Any]) -> str | None:
    """Say what the labels are on average: in all rows, and in those of each part."""
    labels = {name: mapping(part) for name, part in mapping(facts(result).get("labels")).items()}
    every, early, late = (labels.get(name) or {} for name in ("all", "early", "late"))
    shares = _shares(every)
    if len(shares) == 2:
        name = list(shares)[1]
        figures = [found for part in (every, early, late) if (found := _shares(part).get(name)) is not None]
        shown = [percent(one) for one in figures]
        return f"{outcome(result, name)} in {shown[0]} of all rows{_parts(shown)}."
    if shares:
        rates = [_rates(part) for part in (every, early, late) if _shares(part)]
        return f"Shares of {target_name(result)} in all rows: {rates[0]}{_parts(rates)}."
    means = [found for part in (every, early, late) if (found := number(part.get("mean"))) is not None]
    if not means:
        return None
    shown = [plain(one) for one in means]
    return f"The mean of {target_name(result)} is {shown[0]} over all rows{_parts(shown)}."


def _parts(shown: list[str]) -> str:
    return (
        f": {shown[1]} in those the judged model learned from, {shown[2]} in those held out" if len(shown) == 3 else ""
    )


def _shares(part: Mapping[str, Any]) -> dict[str, float]:
    given = mapping(part.get("shares"))
    return {key_text(name): found for name, share in given.items() if (found := number(share)) is not None}


def _rates(part: Mapping[str, Any]) -> str:
    ranked = sorted(_shares(part).items(), key=lambda pair: -pair[1])
    return listed([f"{name} {percent(share)}" for name, share in ranked], _MOST_CLASSES)


def rarest(result: Mapping[str, Any]) -> tuple[str, float] | None:
    """Return the class that the fewest rows have, and their share."""
    shares = _shares(mapping(mapping(facts(result).get("labels")).get("all")))
    return min(shares.items(), key=lambda pair: pair[1]) if len(shares) > 1 else None


def repeated_share(result: Mapping[str, Any]) -> float:
    """Return the share of the rows that repeat an earlier one in every column."""
    repeated, used = whole(facts(result).get("repeated_rows")), whole(mapping(result.get("rows")).get("used"))
    return min(max(repeated / used, 0.0), 1.0) if repeated and used else 0.0


def order_tells(result: Mapping[str, Any]) -> str | None:
    """Say how the order of rows of one time gives labels away, where it does."""
    found = mapping(facts(result).get("neighbours"))
    tied, alike, apart = (number(found.get(key)) for key in ("tied", "alike_tied", "alike_untied"))
    chance = number(found.get("by_chance")) or 0.0
    if tied is None or alike is None or tied < _TIES or alike - max(chance, apart or 0.0) < _GIVEN_AWAY:
        return None
    time = text(result.get("time")) or "time"
    said = f"{percent(tied)} of rows have the same {time} as the row before, and "
    if found.get("measure") == "share":
        said += f"{percent(alike)} of these have its label too (by chance: {percent(chance)}"
    else:
        said += f"the labels of the two correlate by {alike:.2f} (by chance: {chance:.2f}"
    if apart is not None:
        said += f"; where a new {time} begins: {percent(apart) if found.get('measure') == 'share' else f'{apart:.2f}'}"
    return f"{said}): the order of rows within one {time} gives labels away."


def neighbours_said(result: Mapping[str, Any]) -> str | None:
    """Say how alike the labels of neighbours in time are."""
    found = mapping(facts(result).get("neighbours"))
    alike, chance = number(found.get("alike")), number(found.get("by_chance"))
    if alike is None or chance is None:
        return None
    if found.get("measure") == "share":
        by_chance = f"by chance it would in {percent(chance)}"
        return f"A row has the label of the row before it in {percent(alike)} of cases; {by_chance}."
    return f"The labels of neighbouring rows correlate by {alike:.2f}."


def stages(result: Mapping[str, Any]) -> str | None:
    """Say what the time of the training went into."""
    given = mapping(facts(result).get("seconds"))
    known = [(words, number(given.get(name))) for name, words in _STAGES.items()]
    said = [f"{duration(seconds)} {words}" for words, seconds in known if seconds is not None and seconds >= 0.0]
    total = number(result.get("seconds"))
    whole_time = "" if total is None or total < 0.0 else f"of {duration(total)}, "
    return f"Where the time went: {whole_time}{listed(said)}." if len(said) > 1 else None


def judged_size(result: Mapping[str, Any]) -> str | None:
    """Say how large the model that was judged is, beside the one delivered."""
    judged = mapping(facts(result).get("judged"))
    coefficients, passes = whole(judged.get("coefficients")), whole(judged.get("passes"))
    if coefficients is None or passes is None:
        return None
    delivered = whole(result.get("coefficients"))
    said = f"The judged model has {count(coefficients, 'coefficient')} and read its rows {count(passes, 'time')}"
    return (
        f"{said}."
        if delivered is None
        else f"{said}; the delivered one has {delivered:,}: its levels and bins are those of all rows."
    )
