"""A backtest in brief, as a terminal shows it."""

from __future__ import annotations

from batchlearn.backtesting.outcome import Backtest
from batchlearn.formatting.backtest import time_length
from batchlearn.formatting.names import in_short
from batchlearn.formatting.numbers import count, plain
from batchlearn.report.document import Document
from batchlearn.report.retraining import answers, tables


def show_backtest(document: Document, result: Backtest) -> None:
    """Write what came out: a line a policy, what waiting costs, the recommendation."""
    history, oracle = result.history, result.oracle
    retrains = count(oracle.best.retrains, "retrain")
    document.title(
        f"Replayed {len(result.policies)} policies over {history.windows} windows, {int(result.judged.sum()):,} rows"
    )
    document.facts(
        [
            ("A window", time_length(history.window_hours, history.times.stamped)),
            ("First training", str(history.shown(float(history.edges[0])))),
            (
                "The oracle",
                f"{plain(oracle.loss, 4)} a row with {retrains}, known afterwards",
            ),
            ("Took", f"{result.seconds:.0f} s for {result.fits} trainings"),
        ]
    )
    document.heading("Policies")
    header, rows = tables.brief(result)
    listing = [
        (row[0], ", ".join(f"{what} {cell}" for what, cell in zip(header[1:], row[1:], strict=True))) for row in rows
    ]
    document.table(header, rows, listing=listing)
    marked = any(one.run.path_dependent for one in result.policies)
    legend = "; *: its models depend on the ones before" if marked else ""
    document.line(f"loss: {in_short(result.metric)} a row{legend}", "dim")
    document.heading("What waiting costs")
    for said in answers.waiting(result).sentences:
        document.bullet(said)
    document.heading(f"Recommended: {result.recommendation.policy}")
    for said in answers.often(result).sentences:
        document.line(said)
    if result.notes:
        document.heading("Notes")
    for note in result.notes:
        document.bullet(str(note))
