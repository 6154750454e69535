"""What the model is worth on rows it has not seen: scores, what thresholds find, calibration."""

from __future__ import annotations

from dataclasses import dataclass

from batchlearn.data.target import Target, class_name
from batchlearn.evaluation.calibration import ReliabilityBin
from batchlearn.evaluation.intervals import Estimate
from batchlearn.evaluation.report import Evaluation, LeaveOneOut
from batchlearn.formatting.names import baseline, in_short, metric, predicts_probabilities
from batchlearn.formatting.numbers import NOTHING, count, fixed, percent, plain
from batchlearn.report.document import Fact, TextTable
from batchlearn.report.figures.plots import Axes, Entry, Forest, Interval, Plot, Point, forest
from batchlearn.report.figures.scales import WIDE_PLOT, apart, scale
from batchlearn.report.training.data_summary import yes
from batchlearn.report.values import interval, places_of, short, shown
from batchlearn.training.fit import Fit


@dataclass(frozen=True)
class Score:
    """The score by which the model is judged, beside its baselines and its leave-one-out figure."""

    key: str
    model: Estimate
    baselines: dict[str, Estimate]
    leave_one_out: LeaveOneOut | None
    rows: int

    @property
    def name(self) -> str:
        """The score in words."""
        return metric(self.key).name


def score(evaluation: Evaluation | None) -> Score | None:
    """Return the first metric of the evaluation with what stands beside it, or None where nothing was held out."""
    if evaluation is None:
        return None
    key, model = next(iter(evaluation.metrics.items()))
    if model.value is None:
        return None
    beside = {name: figures[key] for name, figures in evaluation.baselines.items() if key in figures}
    inside = evaluation.leave_one_out
    return Score(
        key=short(key),
        model=model,
        baselines={short(name): figure for name, figure in beside.items() if figure.value is not None},
        leave_one_out=inside if inside is not None and inside.metric == key else None,
        rows=evaluation.rows,
    )


def score_forest(judged: Score) -> Forest:
    """Return the model's score beside those of its baselines, on one axis."""
    term, places = metric(judged.key), places_of(judged.model)
    entries = [_entry("this model", f"on {count(judged.rows, 'held-out row')}", judged.model, "model", places)]
    if judged.leave_one_out is not None:
        rows = count(judged.leave_one_out.rows, "row")
        detail = f"on the {rows} it learned from, each judged as if left out"
        entries.append(_entry("leave-one-out", detail, judged.leave_one_out.estimate, "hollow", places))
    for name, figure in judged.baselines.items():
        entries.append(_entry(baseline(name).name, baseline(name).meaning, figure, "other", places))
    better = {True: "further left is better", False: "further right is better", None: ""}[term.lower_is_better]
    said = ". ".join(part for part in (term.meaning, better.capitalize()) if part)
    return forest(f"{term.name[:1].upper()}{term.name[1:]}, with 95 % intervals", said, term.name, entries)


def _entry(name: str, detail: str, figure: Estimate, role: str, places: int | None) -> Entry:
    said, own = fixed(figure.value, places), places_of(figure)
    if own is not None:
        said += f" ({fixed(figure.low, places or own)} to {fixed(figure.high, places or own)})"
    return Entry(name, detail, Interval(figure.value, figure.low, figure.high, role), said)


def metric_table(evaluation: Evaluation) -> TextTable:
    """Return all metrics of the model beside those of the baselines, by their short names where room is scarce."""
    inside, rows, listing = evaluation.leave_one_out, [], []
    names = [baseline(short(name)).name for name in evaluation.baselines]
    for key, figure in evaluation.metrics.items():
        term, places, between = metric(short(key)), places_of(figure), interval(figure)
        figures = [one.get(key) for one in evaluation.baselines.values()]
        beside = [fixed(None if one is None else one.value, places) for one in figures]
        left_out = fixed(inside.estimate.value, places) if inside is not None and inside.metric == key else ""
        better = {True: "lower", False: "higher", None: ""}[term.lower_is_better]
        brief, told = in_short(short(key)), [*zip(names, beside, strict=True), ("leave-one-out", left_out)]
        rows.append(
            (brief, term.name, shown(figure), between, between or NOTHING, *beside, left_out, better, term.meaning)
        )
        listing.append(
            (
                f"{brief} ({better} is better): {shown(figure)}{f' ({between})' if between else ''}",
                ", ".join(f"{who} {value}" for who, value in told if value),
            )
        )
    header = ("", "metric", "model", "interval", "95 % interval", *names, "leave-one-out", "better is", "what it is")
    last = len(header) - 1
    return TextTable(
        header,
        tuple(rows),
        listing=tuple(listing),
        page_only=(1, 4, last) if inside is not None else (1, 4, last - 2, last),
        terminal_only=(0, 3, last - 2),
    )


def decision(evaluation: Evaluation, target: Target) -> tuple[str, TextTable] | None:
    """Return what decisions by the threshold cost beside deciding always the same, and a sentence to go above."""
    found = evaluation.decision
    if found is None or found.cost.value is None:
        return None
    no, decided = (short(class_name(one)) for one in target.classes)
    said = (
        f"The model decides for {decided} above a probability of {plain(found.threshold)}: a wrong {decided} costs "
        f"{plain(found.costs.false_positive)}, a wrong {no} {plain(found.costs.false_negative)}"
    )
    if found.share_of_yes is not None:
        said += f". It decides so for {percent(found.share_of_yes)} of the held-out rows"
    places = places_of(found.cost)
    lines = (
        ("by this threshold", found.cost),
        (f"always {no}", found.always_no),
        (f"always {decided}", found.always_yes),
    )
    known = [(name, one) for name, one in lines if one.value is not None]
    rows = [(name, fixed(one.value, places), interval(one, places) or NOTHING) for name, one in known]
    if found.best_threshold is not None and found.best_cost is not None:
        name = f"by the threshold that is best for these very rows, {plain(found.best_threshold)}: optimistic"
        rows.append((name, fixed(found.best_cost, places), NOTHING))
    people = evaluation.abstention
    if people is not None and people.left.value is not None and people.cost_with_people.value is not None:
        name = f"{percent(people.left.value)} left to people at {plain(people.fee)} a row, else by this threshold"
        cost = people.cost_with_people
        rows.append((name, fixed(cost.value, places), interval(cost, places) or NOTHING))
    return f"{said}.", TextTable(("decided", "cost per row", "95 % interval"), tuple(rows))


def cut_table(fit: Fit) -> tuple[str, TextTable] | None:
    """Return what saying yes above a threshold finds, and a sentence to go above."""
    evaluation = fit.evaluation
    if evaluation is None or not evaluation.cuts:
        return None
    rows = []
    for one in evaluation.cuts:
        share = "" if one.share.value is None else f" ({percent(one.share.value)})"
        found = _share(one.precision), _share(one.recall)
        rows.append((f"above {percent(one.threshold)}", f"{one.flagged:,}{share}", *found))
    said = (
        f"Of the {evaluation.rows:,} held-out rows those are flagged whose predicted probability of {yes(fit)} is "
        "above a threshold: one half, and the share of such rows among those that the judged model learned from."
    )
    header = ("threshold", "flagged", "right of those flagged (precision)", "found of all such rows (recall)")
    return said, TextTable(header, tuple(rows), figures_only=True)


def _share(figure: Estimate) -> str:
    if figure.value is None:
        return NOTHING
    ends = "" if figure.low is None or figure.high is None else f" ({percent(figure.low)} to {percent(figure.high)})"
    return f"{percent(figure.value)}{ends}"


def calibration_plot(fit: Fit) -> Plot | None:
    """Return what happened against what was predicted, in groups of neighbouring predictions."""
    bins = calibration_bins(fit.evaluation)
    if not bins:
        return None
    share = predicts_probabilities(fit.model.loss)
    points = [_bin_point(one, share) for one in bins]
    both = scale(end for p in points for end in (p.x, p.y, p.low, p.high) if end is not None)
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


def _bin_point(one: ReliabilityBin, share: bool) -> Point:
    show = percent if share else plain
    says = f"{count(one.rows, 'row')}: predicted {show(one.mean_response)}, happened {show(one.mean_label)}"
    return Point(one.mean_response, one.mean_label, says, one.low, one.high)


def calibration_bins(evaluation: Evaluation | None) -> tuple[ReliabilityBin, ...]:
    """Return the groups of held-out rows, where they were compared."""
    return () if evaluation is None or evaluation.calibration is None else evaluation.calibration.bins


def bins_off(evaluation: Evaluation | None) -> tuple[int, int]:
    """Return how many groups have an interval that leaves their prediction out, and how many have an interval."""
    known = [
        (one.low, one.mean_response, one.high)
        for one in calibration_bins(evaluation)
        if one.low is not None and one.high is not None
    ]
    return sum(not low <= predicted <= high for low, predicted, high in known), len(known)


def calibration_facts(evaluation: Evaluation | None) -> tuple[Fact, ...]:
    """Return the figures of the calibration, each with what it means."""
    found = None if evaluation is None else evaluation.calibration
    if found is None:
        return ()
    facts = []
    off, groups = bins_off(evaluation)
    if groups:
        said = "groups whose 95 % interval leaves the prediction out; about 1 in 20 would by chance"
        facts.append(Fact("Groups off", f"{off} of {groups}", said))
    if found.observed_over_expected is not None:
        ratio = fixed(found.observed_over_expected, 3)
        facts.append(Fact("Happened over predicted", ratio, "sum of what happened over sum of predictions; 1 is right"))
    error = plain(found.expected_calibration_error)
    facts.append(Fact("Mean distance", error, "how far groups are from the line, weighted by their rows"))
    if found.slope is not None:
        meaning = "1 is right; below 1 predictions are too extreme, above 1 too timid"
        facts.append(Fact("Slope", fixed(found.slope, 2), meaning))
    return tuple(facts)
