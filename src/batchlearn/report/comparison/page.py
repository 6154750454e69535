"""The page of one comparison: one HTML file that needs nothing else, from what `compare --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchlearn.report.comparison import answers, figures, tables
from batchlearn.report.comparison.entrants import entrants
from batchlearn.report.html import render
from batchlearn.report.values import LONGEST_SENTENCE, clean, mapping, number, text, texts, whole
from batchlearn.words.names import MODELS
from batchlearn.words.numbers import duration, passes


def comparison_page(result: Mapping[str, Any]) -> str:
    """Return the page as HTML; parts that the result lacks, or has as None, are left out or said to be missing.

    `result` is what `compare --json` prints. The page has no script, asks for nothing, and escapes every name.
    """
    found = entrants(result)
    curves = figures.curves(result, found)
    content = {
        "title": text(result.get("target")) or "the target",
        "subtitle": _subtitle(result),
        "facts": _facts(result),
        "verdict": [answers.recommended(result), answers.optimum(result)],
        "looks": answers.answers(result)[1:4],
        "curves": curves[:2],
        "by_byte": curves[2:],
        "plane": figures.plane(found),
        "held_out": figures.held_out(found),
        "contenders": tables.contenders(found),
        "noise": tables.noise(result),
        "batch_sizes": figures.batch_sizes(result),
        "sensitivity": tables.sensitivity(found),
        "rates": tables.rates(result),
        "notes": texts(result.get("notes"), LONGEST_SENTENCE),
        "answers": answers.answers(result),
    }
    return render("comparison.html", content)


def _subtitle(result: Mapping[str, Any]) -> str:
    loss = text(result.get("loss"))
    kind = MODELS.get(loss or "", f"a model of the {loss} loss" if loss else "a model")
    table = text(result.get("table"))
    where = f" on {clean(table)}" if table else ""
    return f"Full batch, mini-batch and online head to head: {kind}{where}, one objective, one budget."


def _facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows, coefficients = whole(result.get("rows")), whole(result.get("coefficients"))
    budget = mapping(result.get("budget"))
    allowed, seconds, taken = number(budget.get("passes")), number(budget.get("seconds")), number(result.get("seconds"))
    facts = []
    if rows is not None:
        facts.append(("rows learned from", f"{rows:,}"))
    if coefficients is not None:
        facts.append(("coefficients", f"{coefficients:,}"))
    if allowed is not None and seconds is not None:
        facts.append(("budget of each run", f"{passes(allowed)} or {duration(seconds)}"))
    if taken is not None:
        facts.append(("comparison took", duration(taken)))
    return facts
