"""A comparison of models, as a terminal shows it and as a page."""

from __future__ import annotations

from batchlearn.comparison.models import ModelComparison, ModelDifference, ModelOutcome
from batchlearn.data.split import SplitKind
from batchlearn.formatting.names import in_short, metric
from batchlearn.formatting.numbers import NOTHING, count, duration, plain, rounded_up, size
from batchlearn.report.document import Answer, Block, Bullets, Document, Fact, Page, Section, Sentence, TextTable
from batchlearn.report.figures.plots import Entry, Interval, forest
from batchlearn.report.html import render
from batchlearn.report.values import LONGEST_SENTENCE, clean, short

QUESTION = "which model should I take"
_HEADER = ("model", "", "95 % together", "time", "memory", "file", "calibration slope", "proved")


def show_models(document: Document, found: ModelComparison) -> None:
    """Write what came out: a line a model, the differences, the recommendation."""
    kind = "earlier row" if found.split is SplitKind.TIME else "row"
    document.title(f"Compared {count(len(found.outcomes), 'model')}: {QUESTION}?")
    document.facts(
        [
            ("Trained on", f"{count(found.rows, kind)}, each model the same"),
            ("Judged on", _judged_on(found)),
        ]
    )
    document.heading("Models")
    header, *rows = (_HEADER[0], in_short(found.metric), *_HEADER[2:]), *(_cells(one) for one in found.outcomes)
    listing = [
        (name, ", ".join(f"{what} {cell}" for what, cell in zip(header[1:], cells, strict=True) if cell != NOTHING))
        for name, *cells in rows
    ]
    document.table(header, rows, listing=listing)
    document.heading("Differences")
    for one in found.differences:
        document.bullet(f"{one.a} minus {one.b}: {_figures(one)}")
    document.heading(f"Recommended: {found.recommendation.model}")
    document.line(str(found.recommendation.reason))
    document.heading("Notes")
    for note in found.notes:
        document.bullet(str(note))


def models_page(found: ModelComparison) -> str:
    """Return the report of a comparison of models as HTML. The page has no script, and escapes every name."""
    chosen, score = found.recommendation, metric(found.metric)
    names = tuple(clean(short(one.name)) for one in found.outcomes)
    entries = [
        Entry(
            f"{short(one.a)} minus {short(one.b)}",
            "told apart" if one.told_apart else "not told apart",
            Interval(one.difference.value, one.difference.low, one.difference.high),
            plain(one.difference.value, 2),
        )
        for one in found.differences
    ]
    drawn = forest(
        "On the same rows",
        f"Mean {score.name} of the first model minus that of the second, row by row; all intervals from one model hold "
        "together with 95 %. Below 0 the first is better.",
        f"difference in {score.name}",
        entries,
        zero=True,
    )
    table = TextTable((_HEADER[0], score.name, *_HEADER[2:]), tuple(_cells(one) for one in found.outcomes))
    blocks: tuple[Block, ...] = (Sentence("lead", f"{_judged_on(found)}."), table, drawn)
    notes = Bullets(tuple(("", short(str(note), LONGEST_SENTENCE)) for note in found.notes))
    asked = Answer(
        "Which model should I take?", clean(short(chosen.model)), "good", (clean(str(chosen.reason)),), "models"
    )
    return render(
        Page(
            kind="Comparison of models",
            title=short(found.target),
            subtitle=f"{', '.join(names)} on {clean(short(found.table))}: the same rows, the same judge.",
            facts=(
                Fact("rows learned from", f"{found.rows:,}"),
                Fact("rows judged on", f"{found.held_out:,}"),
                Fact("comparison took", duration(found.seconds)),
            ),
            cards=(asked,),
            looks=(),
            sections=(
                Section("models", "Models", "What each one is worth and costs", blocks),
                Section("notes", "Notes", "Notes", (notes,)),
            ),
            answers=(asked, *_answers(found)),
        )
    )


def _answers(found: ModelComparison) -> list[Answer]:
    """Say what is proved of whom, and which question this was not."""
    proved = [one for one in found.outcomes if one.certificate.certified]
    unproved = [f"{one.name}: {one.certificate.reason}" for one in found.outcomes if not one.certificate.certified]
    said = [f"{one.name}: no prediction off by more than {_bound(one)}" for one in proved]
    regimes = (
        "How rows are read (full batch, mini-batch, online) is the other question: `batchlearn compare` without "
        "--models."
    )
    return [
        Answer("What is proved?", count(len(proved), "model"), "plain", (*map(clean, [*said, *unproved]),), "models"),
        Answer("What was not compared?", "Ways of reading the rows", "plain", (regimes,), "models"),
    ]


def _judged_on(found: ModelComparison) -> str:
    kind = "later row" if found.split is SplitKind.TIME else "row"
    drawn = {SplitKind.TIME: "", SplitKind.GROUP: ", of whole groups drawn at random"}
    return f"{count(found.held_out, kind)} that none has seen{drawn.get(found.split, ', drawn at random')}"


def _cells(one: ModelOutcome) -> tuple[str, ...]:
    calibration = one.evaluation.calibration
    slope = None if calibration is None else calibration.slope
    within = NOTHING if one.loss.low is None else f"{plain(one.loss.low)} to {plain(one.loss.high)}"
    return (
        one.name,
        plain(one.loss.value, 4),
        within,
        duration(one.seconds),
        size(one.memory),
        NOTHING if one.bytes is None else size(one.bytes),
        NOTHING if slope is None else f"{slope:.2f}",
        "certified" if one.certificate.certified else "no",
    )


def _bound(one: ModelOutcome) -> str:
    bound = one.certificate.prediction_bound
    return "what no bound is known for" if bound is None else f"{rounded_up(bound):.1e}"


def _figures(one: ModelDifference) -> str:
    found = one.difference
    if found.low is None or found.high is None:
        return f"{found.value:+.4g}, too few rows for an interval"
    return f"{found.value:+.4g} ({found.low:+.4g} to {found.high:+.4g}){'' if one.told_apart else ', not told apart'}"
