"""A comparison in brief, as a terminal shows it."""

from __future__ import annotations

from batchlearn.comparison.outcome import Comparison, Outcome
from batchlearn.formatting.names import in_short
from batchlearn.formatting.numbers import count, fixed, passes, rounded_up, size
from batchlearn.report.comparison.tables import at_place, critical_batch, passes_allowed
from batchlearn.report.document import Document


def show_comparison(document: Document, comparison: Comparison) -> None:
    """Write what came out: the optimum, a line a contender, batch sizes, the recommendation."""
    benchmark = comparison.benchmark
    document.title(f"Compared {count(len(comparison.outcomes), 'way')} of reading rows: which one should I take?")
    document.facts(
        [
            ("Read", f"{count(len(benchmark.rows), 'row')}, all of the same model (which model is --models)"),
            (
                "Budget",
                f"{passes_allowed(comparison.budget)} or {comparison.run_seconds:.2g} s a run, "
                f"which ends with the stretch of rows that spends it; {comparison.seconds:.0f} s in all",
            ),
            ("Measured from", _optimum(comparison)),
            ("Good enough", f"{comparison.good_enough:.2g} above it, what the rows themselves cannot tell"),
        ]
    )
    document.heading("Contenders")
    _show_outcomes(document, comparison)
    document.heading("Batch size")
    rows, measured = len(comparison.benchmark.rows), comparison.measured
    for one in comparison.noise:
        critical = critical_batch(one)
        said = "all rows" if critical is None or critical >= rows else count(round(max(critical, 1.0)), "row")
        above = f", {one.excess_loss:.1e} above the optimum" if one.excess_loss else ""
        document.bullet(f"Predicted {at_place(one.where)}{above}: {said}")
    if measured is not None and measured.largest is not None:
        made = passes(measured.passes)
        document.bullet(f"Measured: batches of up to {measured.largest:,} rows lost nothing in {made}")
    recommendation = comparison.recommendation
    document.heading(f"Recommended: {recommendation.contender}")
    document.line(recommendation.reason)
    for change in recommendation.changes:
        document.bullet(change)
    document.heading("Notes")
    for note in comparison.notes:
        document.bullet(str(note))


def _optimum(comparison: Comparison) -> str:
    certificate, loss = comparison.benchmark.optimum.certification.certificate, f"{comparison.best:.6g}"
    if certificate.loss_bound is None:
        return f"the best known loss {loss}; not certified: {certificate.reason}"
    return f"the certified optimum, a loss of {loss}, within {rounded_up(certificate.loss_bound):.1e}"


def _show_outcomes(document: Document, comparison: Comparison) -> None:
    judged = next((one.held_out for one in comparison.outcomes if one.held_out is not None), None)
    metric = in_short(judged.metric) if judged is not None else ""
    header = ["", "passes", "s", "excess", "worst seed", "as stored", *(["held out"] if metric else [])]
    rows = [_row(one, bool(metric)) for one in comparison.outcomes]
    listing = []
    for name, *cells in rows:
        listing.append(
            (name, ", ".join(f"{what} {cell}" for what, cell in zip(header[1:], cells, strict=True) if cell))
        )
    document.table(header, rows, listing=listing)
    document.line(f"excess: loss above the optimum{f'; held out: {metric}' if metric else ''}", "dim")
    working = (f"{one.contender.name} {size(one.memory.rows + one.memory.working)}" for one in comparison.outcomes)
    document.line(f"Memory for rows at hand and work: {', '.join(working)}", "dim")


def _row(one: Outcome, judged: bool) -> list[str]:
    run = one.typical
    excess = one.excess(run)
    bound = one.loss_bound
    above = f"<= {rounded_up(excess + bound):.1e}" if bound is not None and bound > 0.5 * excess else f"{excess:.1e}"
    cells = [one.contender.name, f"{run.last.passes:.3g}", f"{run.last.seconds:.2f}"]
    cells.append("diverged" if one.diverged else above)
    cells.append(f"{one.spread[1]:.1e}" if len(one.runs) > 1 else "")
    cells.append("" if one.stored is None else f"{one.excess(one.stored):.1e}")
    if judged:
        cells.append("" if one.held_out is None else fixed(one.held_out.score.value, None))
    return cells
