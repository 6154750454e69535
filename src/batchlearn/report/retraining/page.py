"""The page of one backtest: one HTML file that needs nothing else."""

from __future__ import annotations

from dataclasses import replace

from batchlearn.backtesting.outcome import Backtest
from batchlearn.formatting.backtest import time_length
from batchlearn.formatting.names import metric
from batchlearn.formatting.numbers import duration, plain
from batchlearn.report.document import Answer, Beside, Block, Bullets, Fact, Folded, Page, Section, Sentence
from batchlearn.report.html import render
from batchlearn.report.retraining import answers, figures, tables
from batchlearn.report.values import LONGEST_SENTENCE, clean, short, shown

_MOVED = {
    "error rate": "another class is the likeliest",
    "mean absolute error": "by more than a tenth of the spread of the predictions before",
}


def backtest_page(result: Backtest) -> str:
    """Return the report of a backtest as HTML. The page has no script, asks for nothing, and escapes every name."""
    asked, history = answers.answers(result), result.history
    in_short = tuple((one.question, one.short) for one in asked[2:])
    notes = tuple(("", short(str(note), LONGEST_SENTENCE)) for note in result.notes)
    age = figures.ages(result)
    every = (
        Section("time", "Over time", "What each policy would have lost", (figures.over_time(result),)),
        Section("policies", "Policies", "What each policy costs and is worth", _policies(result)),
        Section("freshness", "Freshness", "What waiting costs", () if age is None else (age,)),
        Section("decisions", "Decisions", "What was decided when, and why", _decisions(result)),
        Section("notes", "Notes", "Notes", (Bullets(notes),) if notes else ()),
    )
    page = Page(
        kind="Backtest of retraining policies",
        title=short(result.target),
        subtitle=f"{len(result.policies):,} policies replayed over "
        f"{clean(short(result.table))}: each was told only what had arrived when it decided.",
        facts=(
            Fact("rows that judge", f"{int(result.judged.sum()):,}"),
            Fact("windows", f"{history.windows:,}"),
            Fact("length of a window", time_length(history.window_hours, history.times.stamped)),
            Fact("first training", str(history.shown(float(history.edges[0])))),
            Fact("models compared by the oracle", f"{result.oracle.models:,}"),
            Fact("backtest took", duration(result.seconds)),
        ),
        cards=(
            *(replace(one, brief=one.sentences, anchor="") for one in asked[:2]),
            Answer("In short", "", "plain", (), "answers", in_short=in_short),
        ),
        looks=(),
        sections=tuple(section for section in every if section.blocks),
        answers=tuple(asked),
    )
    return render(page)


def _policies(result: Backtest) -> tuple[Block, ...]:
    name = metric(result.metric).name
    said = (
        f"The {name} is that of the rows that judge, with 95 % intervals of a bootstrap over windows. Regret is "
        "the loss less that of the oracle on the same rows. Moved by a retrain is the share of the next window's "
        f"predictions that a retrain changed, on average: {_MOVED[result.error_metric]}. Every policy begins with the "
        "same model."
    )
    found: list[Block] = [Sentence("lead", said), tables.policies(result), Beside((figures.plane(result),))]
    baselines = "; ".join(
        f"{given}: {'' if one.loss is None else f'{name} {shown(one.loss)}, '}"
        f"{result.error_metric} {plain(one.error, 3)}"
        for given, one in result.baselines.items()
    )
    found.append(Sentence("line", f"Baselines on the same rows: {baselines}."))
    return tuple(found)


def _decisions(result: Backtest) -> tuple[Block, ...]:
    return tuple(Folded(short(one.run.name), tables.decisions(result, one)) for one in result.policies)
