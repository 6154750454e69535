"""The page of one comparison: one HTML file that needs nothing else."""

from __future__ import annotations

from dataclasses import replace

from batchlearn.comparison.outcome import Comparison
from batchlearn.formatting.names import MODELS
from batchlearn.formatting.numbers import duration
from batchlearn.report.comparison import answers, figures, tables
from batchlearn.report.document import Answer, Beside, Block, Bullets, Fact, Page, Section, Sentence
from batchlearn.report.html import render
from batchlearn.report.values import LONGEST_SENTENCE, clean, short


def comparison_page(result: Comparison) -> str:
    """Return the report of a comparison as HTML. The page has no script, asks for nothing, and escapes every name."""
    asked = answers.answers(result)
    in_short = tuple((one.question, one.short) for one in asked[1:4])
    where = f"{MODELS[result.benchmark.objective.loss.name]} on {clean(short(result.table))}"
    notes = tuple(("", short(str(note), LONGEST_SENTENCE)) for note in result.notes)
    every = (
        Section("curves", "Curves", "How near to the optimum, for what", _curves(result)),
        Section("contenders", "Contenders", "What each one costs and is worth", _contenders(result)),
        Section("noise", "Batch size", "What batch size this data wants", _noise(result)),
        Section("sensitivity", "Sensitivity", "What the result hangs on", _sensitivity(result)),
        Section("notes", "Notes", "Notes", (Bullets(notes),) if notes else ()),
    )
    page = Page(
        kind="Comparison of regimes",
        title=short(result.benchmark.target.column),
        subtitle=f"Full batch, mini-batch and online head to head: {where}, one objective, one budget.",
        facts=(
            Fact("rows learned from", f"{len(result.benchmark.rows):,}"),
            Fact("coefficients", f"{len(result.benchmark.start):,}"),
            Fact("budget of each run", f"{tables.passes_allowed(result.budget)} or {duration(result.run_seconds)}"),
            Fact("comparison took", duration(result.seconds)),
        ),
        cards=(
            *(replace(one, brief=one.sentences, anchor="") for one in (asked[0], answers.optimum(result))),
            Answer("In short", "", "plain", (), "answers", in_short=in_short),
        ),
        looks=(),
        sections=tuple(section for section in every if section.blocks),
        answers=tuple(asked),
    )
    return render(page)


def _curves(result: Comparison) -> tuple[Block, ...]:
    curves = figures.curves(result)[:2]
    if not curves:
        return (Sentence("lead", "The result holds no curves."),)
    said = (
        "The same objective, rows, start and budget for all. A run ends with the stretch of rows that spends its "
        "budget, so it may make a few passes more; a line that ends early has spent its seconds, has reached the "
        "optimum, or, but for full batch, is where more is not worth it."
    )
    return (Sentence("lead", said), Beside(tuple(curves)))


def _contenders(result: Comparison) -> tuple[Block, ...]:
    found = result.outcomes
    if not found:
        return (Sentence("lead", "No contender took part."),)
    plane, held_out = figures.plane(found), figures.held_out(found)
    beside = (*([] if plane is None else [plane]), *figures.curves(result)[2:])
    return (tables.contenders(found), Beside(beside), *([] if held_out is None else [held_out]))


def _noise(result: Comparison) -> tuple[Block, ...]:
    said = (
        "The gradient of a batch is the gradient of all rows plus noise. Where the batch is small the noise is larger "
        "than the gradient, and twice the batch makes nearly twice the progress; beyond the critical size more rows "
        "add little. Near the optimum the gradient vanishes and the noise does not: there all rows are worth reading, "
        "unless the solver takes the noise out itself."
    )
    found: list[Block] = [Sentence("lead", said)]
    noise, sizes = tables.noise(result), figures.batch_sizes(result)
    if noise is not None:
        found += [Sentence("heading", "Predicted: gradient noise, exact over all rows"), noise]
    if sizes is not None:
        found.append(Beside((sizes,)))
    return tuple(found)


def _sensitivity(result: Comparison) -> tuple[Block, ...]:
    table, rates = tables.sensitivity(result.outcomes), tables.rates(result.rates)
    found: list[Block] = [
        Sentence("lead", "No contender here depends on a seed or on the order of the rows."),
    ]
    if table is not None:
        said = "Loss above the optimum at the end of the budget. Full batch depends on neither."
        found = [Sentence("heading", "Seed and order of the rows"), Sentence("line", said), table]
    if rates is not None:
        said = (
            "The contenders have no learning rate to choose. This is what choosing one for plain stochastic gradients "
            "would mean: mini-batches of 128 rows, one pass."
        )
        found += [Sentence("heading", "Learning rate"), Sentence("line", said), rates]
    return tuple(found)
