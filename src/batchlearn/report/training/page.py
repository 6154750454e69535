"""The page of one training: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batchlearn.models.shapes import Shape
from batchlearn.report.figures.plots import Entry, Forest, Heading, Interval, forest
from batchlearn.report.html import render
from batchlearn.report.terms import shapes as terms
from batchlearn.report.training import answers, facts, findings, proof, quality, worst
from batchlearn.report.training.columns import lines_sentence
from batchlearn.report.values import clean, short
from batchlearn.selection.structure import Alternative, Structure
from batchlearn.training.fit import Fit
from batchlearn.words.names import MODELS, effect_scale
from batchlearn.words.numbers import count, duration, fixed, plain, telling_places

_MOST_ALTERNATIVES = 30
_MOST_SHAPES = 60


def training_page(fit: Fit, model: str | None = None, shapes: Sequence[Shape] | None = None) -> str:
    """Return the report of a fit as HTML; `model` is where it was saved, `shapes` are the fit's own unless given.

    The page has no script, asks for nothing, and escapes every name.
    """
    return render("page.html", _content(fit, model, fit.shapes if shapes is None else shapes))


def _content(fit: Fit, model: str | None, shapes: Sequence[Shape]) -> dict[str, Any]:
    evaluation, judged = fit.evaluation, quality.score(fit.evaluation)
    found = terms.drawn(shapes[:_MOST_SHAPES])
    flat = terms.flat_from(found)
    content: dict[str, Any] = {
        "unlisted": max(len(shapes) - _MOST_SHAPES, 0),
        "title": facts.target_name(fit),
        "subtitle": _subtitle(fit),
        "facts": _head_facts(fit),
        "verdict": answers.cards(fit, found),
        "looks": answers.first_looks(fit),
        "rows": fit.rows,
        "ledger": proof.ledger(fit.rows),
        "certified": proof.proved(fit) is not None,
        "refusal": proof.refusal(fit),
        "status": fit.status.value,
        "proof": proof.facts(fit),
        "stages": facts.stages(fit),
        "passes": proof.passes_said(fit),
        "trace": proof.trace_plots(fit),
        "score": judged,
        "split": facts.split_said(fit),
        "split_parts": proof.split_parts(fit),
        "judged_size": facts.judged_size(fit),
        "base_rates": facts.base_rates(fit),
        "score_forest": None if judged is None else quality.score_forest(judged),
        "metrics": None if evaluation is None else quality.metric_table(evaluation),
        "drift": findings.drift_sentence(fit, judged),
        "cuts": quality.cut_table(fit),
        "decision": quality.decision(fit),
        "unseen": {} if evaluation is None else {short(name): rows for name, rows in evaluation.unseen_classes.items()},
        "calibration": quality.calibration_plot(fit),
        "calibration_facts": quality.calibration_facts(evaluation),
        "slices": worst.slice_forest(fit, judged),
        "slices_given": 0 if evaluation is None else len(evaluation.slices),
        "sliced": evaluation is not None,
        "shapes": found[:flat],
        "weighted": all(term.deviation is not None for term in found[:flat]),
        "flat": terms.flat_said(found[flat:]),
        "scale": effect_scale(fit.model.loss),
        "worst": worst.worst_rows(fit),
        "chosen": _chosen(fit),
        "strengths": _strengths(fit.structure),
        "alternatives": _alternatives(fit.structure),
        "columns": findings.special_columns(fit),
        "passed_over": lines_sentence(fit.lines_passed_over) if fit.lines_passed_over else "",
        "notes": findings.other_notes(fit),
        "answers": answers.answers(fit, found, model),
    }
    return {**content, "sections": _sections(content)}


def _sections(content: Mapping[str, Any]) -> dict[str, str]:
    """Return the sections that this page has, in order, by anchor."""
    every = {
        "rows": ("Rows", True),
        "proof": ("Proof", True),
        "scores": ("Scores", True),
        "calibration": ("Calibration", content["calibration"] is not None),
        "slices": ("Slices", content["sliced"]),
        "terms": ("Effects", bool(content["shapes"])),
        "worst": ("Worst rows", bool(content["worst"])),
        "choice": ("Choices", True),
        "notes": ("Notes", any(content[part] for part in ("columns", "passed_over", "notes"))),
        "answers": ("Questions", True),
    }
    return {anchor: name for anchor, (name, present) in every.items() if present}


def _subtitle(fit: Fit) -> str:
    kind, pairs, outcome = MODELS[fit.model.loss], len(fit.structure.pairs), facts.yes(fit)
    said = [f"{kind[:1].upper()}{kind[1:]}", fit.structure.name]
    said += [f"with {pairs} {'pair' if pairs == 1 else 'pairs'} of columns"] if pairs else []
    predicts = f" It predicts the probability of {clean(outcome)}." if outcome else ""
    return f"{', '.join(said)}.{predicts}"


def _head_facts(fit: Fit) -> list[tuple[str, str]]:
    shown = [
        ("rows learned from", f"{fit.rows.used:,}"),
        ("coefficients", f"{len(fit.model.parameters):,}"),
        ("passes of the last fit", f"{fit.passes:,}"),
        ("time in all", duration(fit.seconds)),
    ]
    time = facts.time_name(fit)
    return [*shown, *([("ordered by", time)] if time else [])]


def _chosen(fit: Fit) -> list[tuple[str, str]]:
    """Return what was chosen, as names and values in words; alternatives and strengths have their own places."""
    structure = fit.structure
    shown = [
        ("encoding", structure.name),
        ("bins", f"{structure.rules.bins}" if structure.rules.additive else "none"),
        ("pairs", ", ".join(short(pair.column) for pair in structure.pairs) or "none"),
    ]
    # With a strength for each term, alpha alone would say too little.
    return shown if structure.strengths else [*shown, ("penalty alpha", plain(fit.alpha))]


def _strengths(structure: Structure) -> list[tuple[str, str]]:
    return [(short(name), plain(value)) for name, value in sorted(structure.strengths.items(), key=lambda one: one[1])]


def _alternatives(structure: Structure) -> Forest | None:
    given = structure.alternatives[:_MOST_ALTERNATIVES]
    if not given:
        return None
    lowest, places = min(one.loss for one in given), telling_places([one.loss for one in given])
    entries = [
        Entry(
            short(one.name),
            f"{count(one.coefficients, 'coefficient')}; {duration(one.seconds)}",
            Interval(one.loss, role="model" if _is_chosen(structure, one) else "other"),
            fixed(one.loss, places),
        )
        for one in given
    ]
    said = [
        "Mean loss on the last block of the rows that the judged model learned from; each was fitted to the rows "
        "before that block, and coefficients and seconds are of that fit. Lower is better."
    ]
    chosen = [one.loss for one in given if _is_chosen(structure, one)]
    if chosen:
        said.append("The chosen one is in blue.")
        if min(chosen) > lowest:
            said.append(
                "It is not the lowest. 64 bins stay unless few do better by 1 %, and pairs come in only where the loss "
                "falls by 0.3 % and two standard errors."
            )
    return forest(Heading("What the alternatives scored", " ".join(said), "mean loss"), entries)


def _is_chosen(structure: Structure, one: Alternative) -> bool:
    return one.name == structure.described
