"""What the model is worth on rows it has not seen: scores, what thresholds find, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchlearn.report.estimate import Estimate, estimate
from batchlearn.report.plots import Axes, Entry, Forest, Heading, Interval, Plot, Point, forest
from batchlearn.report.scales import WIDE_PLOT, apart, scale
from batchlearn.report.training.facts import yes
from batchlearn.report.values import key_text, mapping, number, records, texts, whole
from batchlearn.words.names import baseline, metric, predicts_probabilities
from batchlearn.words.numbers import NOTHING, count, decimals, fixed, percent, plain

_CUT_SHARES = ("precision", "recall")


@dataclass(frozen=True)
class Table:
    """Cells in words; the first column names the row."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Score:
    """The score by which the model is judged, beside its baselines and its leave-one-out figure."""

    key: str
    model: Estimate
    baselines: tuple[tuple[str, Estimate], ...]
    leave_one_out: Estimate | None
    leave_one_out_rows: int | None
    rows: int | None

    @property
    def name(self) -> str:
        """The score in words."""
        return metric(self.key).name


def score(result: Mapping[str, Any]) -> Score | None:
    """Return the first metric of the evaluation with what stands beside it, or None where nothing was held out."""
    evaluation = mapping(result.get("evaluation"))
    metrics = mapping(evaluation.get("metrics"))
    key = next(iter(metrics), None)
    if key is None:
        return None
    model = estimate(metrics[key])
    if model.value is None:
        return None
    beside = mapping(evaluation.get("baselines"))
    baselines = [(key_text(name), estimate(mapping(figures).get(key))) for name, figures in beside.items()]
    left_out = mapping(evaluation.get("leave_one_out"))
    inside = estimate(left_out[key]) if key in left_out else None
    return Score(
        key=key_text(key),
        model=model,
        baselines=tuple((name, figure) for name, figure in baselines if figure.value is not None),
        leave_one_out=inside if inside is not None and inside.value is not None else None,
        leave_one_out_rows=whole(left_out.get("rows")),
        rows=whole(evaluation.get("rows")),
    )


def score_forest(judged: Score) -> Forest:
    """Return the model's score beside those of its baselines, on one axis."""
    term = metric(judged.key)
    places = decimals(judged.model.low, judged.model.high)
    held_out = "" if judged.rows is None else f"on {count(judged.rows, 'held-out row')}"
    entries = [_entry("this model", held_out, judged.model, "model", places)]
    if judged.leave_one_out is not None:
        rows = judged.leave_one_out_rows
        detail = "on the rows it learned from, each judged as if it had been left out"
        detail = detail if rows is None else f"on the {count(rows, 'row')} it learned from, each judged as if left out"
        entries.append(_entry("leave-one-out", detail, judged.leave_one_out, "hollow", places))
    for name, figure in judged.baselines:
        entries.append(_entry(baseline(name).name, baseline(name).meaning, figure, "other", places))
    better = {True: "further left is better", False: "further right is better", None: ""}[term.lower_is_better]
    said = ". ".join(part for part in (term.meaning, better.capitalize()) if part)
    return forest(Heading(f"{term.name[:1].upper()}{term.name[1:]}, with 95 % intervals", said, term.name), entries)


def _entry(name: str, detail: str, figure: Estimate, role: str, places: int | None) -> Entry:
    shown = fixed(figure.value, places)
    own = decimals(figure.low, figure.high)
    if own is not None:
        shown += f" ({fixed(figure.low, places or own)} to {fixed(figure.high, places or own)})"
    return Entry(name, detail, Interval(figure.value, figure.low, figure.high, role), shown)


def metric_table(result: Mapping[str, Any]) -> Table | None:
    """Return all metrics of the model beside those of the baselines."""
    evaluation = mapping(result.get("evaluation"))
    metrics = mapping(evaluation.get("metrics"))
    baselines = mapping(evaluation.get("baselines"))
    rows = []
    for key, given in metrics.items():
        figure, term = estimate(given), metric(key_text(key))
        places = decimals(figure.low, figure.high)
        beside = [fixed(estimate(mapping(one).get(key)).value, places) for one in baselines.values()]
        better = {True: "lower", False: "higher", None: ""}[term.lower_is_better]
        rows.append((term.name, figure.shown, figure.interval or NOTHING, *beside, better, term.meaning))
    names = [baseline(key_text(name)).name for name in baselines]
    header = ("metric", "model", "95 % interval", *names, "better is", "what it is")
    return Table(header, tuple(rows)) if rows else None


def decision(result: Mapping[str, Any]) -> tuple[str, Table] | None:
    """Return what decisions by the threshold cost beside deciding always the same, and a sentence to go above."""
    found = mapping(mapping(result.get("evaluation")).get("decision"))
    cost, threshold = estimate(found.get("cost")), number(found.get("threshold"))
    if cost.value is None or threshold is None:
        return None
    classes = texts(result.get("classes"))
    no, decided = classes if len(classes) == 2 else ("no", "yes")
    costs, best = mapping(found.get("costs")), mapping(found.get("best_on_these_rows"))
    said = [f"The model decides for {decided} above a probability of {plain(threshold)}"]
    false_yes, false_no = number(costs.get("false_positive")), number(costs.get("false_negative"))
    if false_yes is not None and false_no is not None:
        said[0] += f": a wrong {decided} costs {plain(false_yes)}, a wrong {no} {plain(false_no)}"
    share = number(found.get("share_of_yes"))
    said += [] if share is None else [f"It decides so for {percent(share)} of the held-out rows"]
    given = (
        ("by this threshold", "cost"),
        (f"always {no}", "always_no"),
        (f"always {decided}", "always_yes"),
    )
    figures = [(name, estimate(found.get(key))) for name, key in given]
    places = decimals(cost.low, cost.high)
    rows = [(name, fixed(one.value, places), one.interval or NOTHING) for name, one in figures if one.value is not None]
    best_threshold, best_cost = number(best.get("threshold")), number(best.get("cost"))
    if best_threshold is not None and best_cost is not None:
        name = f"by the threshold that is best for these very rows, {plain(best_threshold)}: optimistic"
        rows.append((name, fixed(best_cost, places), NOTHING))
    people = mapping(mapping(result.get("evaluation")).get("abstention"))
    left, with_people, fee = estimate(people.get("left")), estimate(people.get("cost_with_people")), people.get("fee")
    if left.value is not None and with_people.value is not None and number(fee) is not None:
        name = f"{percent(left.value)} left to people at {plain(number(fee) or 0.0)} a row, else by this threshold"
        rows.append((name, fixed(with_people.value, places), with_people.interval or NOTHING))
    return f"{'. '.join(said)}.", Table(("decided", "cost per row", "95 % interval"), tuple(rows))


def cut_table(result: Mapping[str, Any]) -> tuple[str, Table] | None:
    """Return what saying yes above a threshold finds, and a sentence to go above."""
    evaluation = mapping(result.get("evaluation"))
    found = [one for one in records(evaluation.get("cuts")) if number(one.get("threshold")) is not None]
    if not found:
        return None
    rows = []
    for one in found:
        flagged, share = whole(one.get("flagged")) or 0, estimate(one.get("share")).value
        said = f"{flagged:,}" + ("" if share is None else f" ({percent(share)})")
        rows.append(
            (f"above {percent(number(one.get('threshold')) or 0.0)}", said, *(_share(one, key) for key in _CUT_SHARES))
        )
    name = yes(result) or "the second class"
    of = "" if whole(evaluation.get("rows")) is None else f" {whole(evaluation.get('rows')) or 0:,}"
    said = (
        f"Of the{of} held-out rows those are flagged whose predicted probability of {name} is above a threshold: one "
        "half, and the share of such rows among those that the judged model learned from."
    )
    header = ("threshold", "flagged", "right of those flagged (precision)", "found of all such rows (recall)")
    return said, Table(header, tuple(rows))


def _share(one: Mapping[str, Any], key: str) -> str:
    figure = estimate(one.get(key))
    if figure.value is None:
        return NOTHING
    ends = "" if figure.low is None or figure.high is None else f" ({percent(figure.low)} to {percent(figure.high)})"
    return f"{percent(figure.value)}{ends}"


def calibration_plot(result: Mapping[str, Any]) -> Plot | None:
    """Return what happened against what was predicted, in groups of neighbouring predictions."""
    bins = calibration_bins(result)
    if not bins:
        return None
    share = predicts_probabilities(result.get("loss"))
    points = [_bin_point(one, share) for one in bins]
    ends = [end for p in points for end in (p.x, p.y, p.low, p.high) if end is not None]
    both = scale(ends)
    axes = Axes(both, both)
    return Plot(
        title="Predicted against what happened",
        caption="A point on the line: rows with this prediction turned out so on average. Above it, predictions are "
        "too low; below it, too high. Bars are 95 % intervals.",
        x_label="mean prediction of a group of rows" + (" (probability)" if share else ""),
        y_label="mean of what happened",
        x_ticks=apart(both.ticks(), WIDE_PLOT),
        y_ticks=axes.y_ticks(5),
        lines=(axes.line([(both.low, both.low), (both.high, both.high)], "ideal"),),
        dots=axes.dots(points, "model"),
        shape="square",
    )


def _bin_point(one: Mapping[str, Any], share: bool) -> Point:
    predicted, happened = number(one.get("mean_response")) or 0.0, number(one.get("mean_label")) or 0.0
    show = percent if share else plain
    says = f"{count(whole(one.get('rows')) or 0, 'row')}: predicted {show(predicted)}, happened {show(happened)}"
    return Point(predicted, happened, says, number(one.get("low")), number(one.get("high")))


def calibration_bins(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the groups of held-out rows whose means are both known."""
    found = mapping(mapping(result.get("evaluation")).get("calibration"))
    wanted = ("mean_response", "mean_label")
    return [one for one in records(found.get("bins")) if all(number(one.get(key)) is not None for key in wanted)]


def bins_off(result: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many groups have an interval that leaves their prediction out, and how many have an interval."""
    known = [
        (low, number(one.get("mean_response")) or 0.0, high)
        for one in calibration_bins(result)
        if (low := number(one.get("low"))) is not None and (high := number(one.get("high"))) is not None
    ]
    return sum(not low <= predicted <= high for low, predicted, high in known), len(known)


def calibration_facts(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the figures of the calibration, each with what it means."""
    found = mapping(mapping(result.get("evaluation")).get("calibration"))
    ratio, slope = number(found.get("observed_over_expected")), number(found.get("slope"))
    error = number(found.get("expected_calibration_error"))
    facts = []
    off, groups = bins_off(result)
    if groups:
        said = "groups whose 95 % interval leaves the prediction out; about 1 in 20 would by chance"
        facts.append(("Groups off", f"{off} of {groups}", said))
    if ratio is not None:
        facts.append(
            ("Happened over predicted", f"{ratio:.3f}", "sum of what happened over sum of predictions; 1 is right")
        )
    if error is not None:
        facts.append(("Mean distance", plain(error), "how far groups are from the line, weighted by their rows"))
    if slope is not None:
        facts.append(("Slope", f"{slope:.2f}", "1 is right; below 1 predictions are too extreme, above 1 too timid"))
    return facts


def unseen_table(result: Mapping[str, Any]) -> Sequence[tuple[str, int]]:
    """Return the classes that training never saw with their held-out rows."""
    found = mapping(mapping(result.get("evaluation")).get("unseen_classes"))
    return [(key_text(name), whole(rows) or 0) for name, rows in found.items()]
