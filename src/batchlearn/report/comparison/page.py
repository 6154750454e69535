"""The page of one comparison: one HTML file that needs nothing else."""

from __future__ import annotations

from batchlearn.comparison.outcome import Comparison
from batchlearn.report.comparison import answers, figures, tables
from batchlearn.report.html import render
from batchlearn.report.values import LONGEST_SENTENCE, clean, short
from batchlearn.words.names import MODELS
from batchlearn.words.numbers import duration, passes


def comparison_page(result: Comparison) -> str:
    """Return the report of a comparison as HTML. The page has no script, asks for nothing, and escapes every name."""
    found, curves, asked = result.outcomes, figures.curves(result), answers.answers(result)
    content = {
        "title": short(result.trial.target.column),
        "subtitle": _subtitle(result),
        "facts": _facts(result),
        "verdict": [answers.recommended(result), answers.optimum(result)],
        "looks": asked[1:4],
        "curves": curves[:2],
        "by_byte": curves[2:],
        "plane": figures.plane(found),
        "held_out": figures.held_out(found),
        "contenders": tables.contenders(found),
        "noise": tables.noise(result),
        "batch_sizes": figures.batch_sizes(result),
        "sensitivity": tables.sensitivity(found),
        "rates": tables.rates(result.rates),
        "notes": [short(str(note), LONGEST_SENTENCE) for note in result.notes],
        "answers": asked,
    }
    return render("comparison.html", content)


def _subtitle(result: Comparison) -> str:
    where = f"{MODELS[result.trial.objective.loss.name]} on {clean(short(result.table))}"
    return f"Full batch, mini-batch and online head to head: {where}, one objective, one budget."


def _facts(result: Comparison) -> list[tuple[str, str]]:
    return [
        ("rows learned from", f"{len(result.trial.rows):,}"),
        ("coefficients", f"{len(result.trial.start):,}"),
        ("budget of each run", f"{passes(result.budget.passes)} or {duration(result.budget.seconds)}"),
        ("comparison took", duration(result.seconds)),
    ]
