"""What the result says of its rows and labels: how they were split, base rates, repeats, neighbours in time."""

from __future__ import annotations

from batchlearn.data.split import SplitKind
from batchlearn.data.target import Class, class_name
from batchlearn.formatting.numbers import count, duration, fixed, listed, percent, plain
from batchlearn.report.values import short
from batchlearn.training.fit import Fit
from batchlearn.training.summary.labels import Ends, LabelSummary, NeighbourSummary

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
    "judging and fitting": "both at once: the fit that is judged with its scores, and the fit on all rows",
}


def target_name(fit: Fit) -> str:
    """Return what is predicted."""
    return short(fit.model.target.column)


def time_name(fit: Fit) -> str | None:
    """Return the column that orders the rows, where there is one."""
    return None if fit.model.roles.time is None else short(fit.model.roles.time)


def outcome(fit: Fit, name: Class) -> str:
    """Return a class with its column: is_canceled = 1."""
    return f"{target_name(fit)} = {short(class_name(name))}"


def yes(fit: Fit) -> str | None:
    """Return the outcome whose probability is predicted, where there are two classes."""
    classes = fit.model.target.classes
    return outcome(fit, classes[1]) if len(classes) == 2 else None


def split_said(fit: Fit) -> str | None:
    """Say which rows the judged model learned from, which judged it, and what the delivered one learned from."""
    split = None if fit.summary is None else fit.summary.split
    if split is None:
        return None
    if split.by is SplitKind.TIME:
        by = f" by {time_name(fit)}" if time_name(fit) else ""
        parts = f"the first {split.early:,} rows{by}{_between(split.earlier)} and scored on the last {split.late:,}"
        parts += _between(split.later)
    else:
        others = "of other groups" if split.by is SplitKind.GROUP else "others"
        parts = f"{split.early:,} rows and scored on {split.late:,} {others}, drawn at random"
    after = f"The model delivered then learned from all {fit.rows.used:,}."
    return f"To judge it, the same recipe was trained on {parts}. {after}"


def _between(ends: Ends | None) -> str:
    if ends is None:
        return ""
    first, last = (short(end) if isinstance(end, str) else f"{end:.10g}" for end in ends)
    return f" ({first} to {last})"


def base_rates(fit: Fit) -> str | None:
    """Say what the labels are on average: in all rows, and in those of each part."""
    labels = {} if fit.summary is None else fit.summary.labels
    parts = [labels[name] for name in ("all", "early", "late") if name in labels]
    if not parts:
        return None
    shares = [part.shares for part in parts if part.shares]
    if shares and len(shares[0]) == 2:
        name = list(shares[0])[1]
        shown = [percent(one[name]) for one in shares]
        return f"{outcome(fit, name)} in {shown[0]} of all rows{_parts(shown)}."
    if shares:
        rates = [_rates(part) for part in parts if part.shares]
        return f"Shares of {target_name(fit)} in all rows: {rates[0]}{_parts(rates)}."
    means = [plain(part.mean) for part in parts if part.mean is not None]
    return f"The mean of {target_name(fit)} is {means[0]} over all rows{_parts(means)}." if means else None


def _parts(shown: list[str]) -> str:
    return (
        f": {shown[1]} in those the judged model learned from, {shown[2]} in those held out" if len(shown) == 3 else ""
    )


def _rates(part: LabelSummary) -> str:
    ranked = sorted((part.shares or {}).items(), key=lambda pair: -pair[1])
    return listed([f"{short(name)} {percent(share)}" for name, share in ranked], _MOST_CLASSES)


def rarest(fit: Fit) -> tuple[str, float] | None:
    """Return the class that the fewest rows have, and their share."""
    every = None if fit.summary is None else fit.summary.labels.get("all")
    shares = (every.shares if every is not None else None) or {}
    return min(shares.items(), key=lambda pair: pair[1]) if len(shares) > 1 else None


def repeated_share(fit: Fit) -> float:
    """Return the share of the rows that repeat an earlier one in every column."""
    return 0.0 if fit.summary is None else fit.summary.repeated_rows / fit.rows.used


def neighbours(fit: Fit) -> NeighbourSummary | None:
    """Return how alike the labels of neighbours in time are, where that is known."""
    return None if fit.summary is None else fit.summary.neighbours


def order_tells(fit: Fit) -> tuple[str, str] | None:
    """Say how the order of rows of one time gives labels away, where it does: how it begins, and the rest."""
    found = neighbours(fit)
    if found is None or found.alike_tied is None or found.tied < _TIES:
        return None
    if found.alike_tied - max(found.by_chance, found.alike_untied or 0.0) < _GIVEN_AWAY:
        return None
    time = time_name(fit) or "time"
    said = f"{percent(found.tied)} of rows have the same {time} as the row before, and "
    if found.measure == "share":
        said += f"{percent(found.alike_tied)} of these have its label too"
        rest = f" (by chance: {percent(found.by_chance)}"
    else:
        said += f"the labels of the two correlate by {fixed(found.alike_tied, 2)}"
        rest = f" (by chance: {fixed(found.by_chance, 2)}"
    if found.alike_untied is not None:
        apart = percent(found.alike_untied) if found.measure == "share" else fixed(found.alike_untied, 2)
        rest += f"; where a new {time} begins: {apart}"
    return said, f"{rest}): the order of rows within one {time} gives labels away."


def neighbours_said(fit: Fit) -> str | None:
    """Say how alike the labels of neighbours in time are."""
    found = neighbours(fit)
    if found is None or found.alike is None:
        return None
    if found.measure == "share":
        by_chance = f"by chance it would in {percent(found.by_chance)}"
        return f"A row has the label of the row before it in {percent(found.alike)} of cases; {by_chance}."
    return f"The labels of neighbouring rows correlate by {fixed(found.alike, 2)}."


def stages(fit: Fit) -> str | None:
    """Say what the time of the training went into."""
    taken = {} if fit.summary is None else fit.summary.seconds
    said = [f"{duration(taken[name])} {words}" for name, words in _STAGES.items() if name in taken]
    return f"Where the time went: of {duration(fit.seconds)}, {listed(said)}." if len(said) > 1 else None


def judged_size(fit: Fit) -> str | None:
    """Say how large the model that was judged is, beside the one delivered."""
    judged = None if fit.summary is None else fit.summary.judged
    if judged is None or fit.model.size is None:
        return None
    return (
        f"The judged model has {count(judged.coefficients, 'coefficient')} and read its rows "
        f"{count(judged.passes, 'time')}; the delivered one has {fit.model.size:,}: its levels and bins are "
        "those of all rows."
    )
