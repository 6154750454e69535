"""The page of one training: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from batchlearn.formatting.names import MODELS
from batchlearn.formatting.numbers import count, duration
from batchlearn.models.shapes import Shape
from batchlearn.report.document import Fact, Page
from batchlearn.report.html import render
from batchlearn.report.terms.shapes import drawn
from batchlearn.report.training import answers, data_summary
from batchlearn.report.training.sections import sections
from batchlearn.report.values import clean, short
from batchlearn.training.fit import Fit

_MOST_SHAPES = 60


def training_page(fit: Fit, model: str | None = None, shapes: Sequence[Shape] | None = None) -> str:
    """Return the report of a fit as HTML; `model` is where it was saved, `shapes` are the fit's own unless given.

    The page has no script, asks for nothing, and escapes every name.
    """
    shapes = fit.shapes if shapes is None else shapes
    found, time = drawn(shapes[:_MOST_SHAPES]), data_summary.time_name(fit)
    shown = [
        Fact("rows learned from", f"{fit.rows.used:,}"),
        *([] if fit.model.size is None else [Fact("coefficients", f"{fit.model.size:,}")]),
        *([Fact("passes of the last fit", f"{fit.passes:,}")] if fit.passes else []),
        Fact("time in all", duration(fit.seconds)),
    ]
    kind, pairs, outcome = MODELS[fit.model.loss], len(fit.structure.pairs), data_summary.yes(fit)
    ours = [f"{kind[:1].upper()}{kind[1:]}", fit.structure.name]
    said = ours if fit.model.learned_by is None else [short(fit.model.learned_by)]
    said += [f"with {count(pairs, 'pair')} of columns"] if pairs else []
    predicts = f" It predicts the probability of {clean(outcome)}." if outcome else ""
    page = Page(
        kind="Training report",
        title=data_summary.target_name(fit),
        subtitle=f"{', '.join(said)}.{predicts}",
        facts=(*shown, *([Fact("ordered by", time)] if time else [])),
        cards=tuple(answers.cards(fit, found)),
        looks=tuple(answers.first_looks(fit)),
        sections=sections(fit, found, max(len(shapes) - _MOST_SHAPES, 0)),
        answers=tuple(answers.answers(fit, found, model)),
    )
    return render(page)
