"""The page of one training: one HTML file that needs nothing else, from what `train --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchlearn.report.html import render
from batchlearn.report.plots import Entry, Forest, Heading, Interval, forest
from batchlearn.report.terms import shapes as terms
from batchlearn.report.training import answers, facts, findings, proof, quality, worst
from batchlearn.report.values import clean, key_text, mapping, number, records, sequence, text, texts, whole
from batchlearn.words.names import MODELS, effect_scale
from batchlearn.words.numbers import count, duration, fixed, plain, telling_places

_MOST_ALTERNATIVES = 30
_MOST_SHAPES = 60


def training_page(result: Mapping[str, Any]) -> str:
    """Return the page as HTML; parts that the result lacks, or has as None, are left out or said to be missing.

    `result` is what `train --json` prints. It may also hold: trace (records of passes, value, bound, seconds), shapes
    (records of column, kind, names, edges, low, high, effect, standard_error, and as far as known spread, first,
    second), worst_rows (records of row, label, response, loss, values), chosen, alternatives (records of name, score,
    seconds, chosen), facts, table, target, time and classes. The page has no script, asks for nothing, and escapes
    every name.
    """
    return render("page.html", _content(result))


def _content(result: Mapping[str, Any]) -> dict[str, Any]:
    judged, found = quality.score(result), terms.shapes(result)
    flat = terms.flat_from(found)
    drawn = found[:flat][:_MOST_SHAPES]
    content: dict[str, Any] = {
        "unlisted": max(flat - _MOST_SHAPES, 0),
        "title": text(result.get("target")) or "the target",
        "subtitle": _subtitle(result),
        "facts": _head_facts(result),
        "verdict": answers.cards(result),
        "looks": answers.first_looks(result),
        "ledger": proof.ledger(result),
        "proof": proof.proof(result),
        "stages": facts.stages(result),
        "passes": proof.passes_said(result),
        "trace": proof.trace_plots(result),
        "score": judged,
        "split": facts.split_said(result),
        "split_parts": facts.split_parts(result),
        "judged_size": facts.judged_size(result),
        "base_rates": facts.base_rates(result),
        "score_forest": None if judged is None else quality.score_forest(judged),
        "metrics": quality.metric_table(result),
        "drift": findings.drift_sentence(result, judged),
        "cuts": quality.cut_table(result),
        "decision": quality.decision(result),
        "unseen": quality.unseen_table(result),
        "calibration": quality.calibration_plot(result),
        "calibration_facts": quality.calibration_facts(result),
        "slices": worst.slice_forest(result, judged),
        "slices_given": len(sequence(mapping(result.get("evaluation")).get("slices"))),
        "sliced": mapping(result.get("evaluation")).get("slices") is not None,
        "shapes": drawn,
        "weighted": all(shape.deviation is not None for shape in drawn),
        "flat": terms.flat_said(found[flat:]),
        "scale": effect_scale(result.get("loss")),
        "worst": worst.worst_rows(result),
        "chosen": _chosen(result),
        "strengths": _strengths(result),
        "alternatives": _alternatives(result),
        "left_out": findings.left_out(result),
        "notes": findings.other_notes(result),
        "answers": answers.answers(result),
    }
    return {**content, "sections": _sections(content)}


def _sections(content: Mapping[str, Any]) -> dict[str, str]:
    """Return the sections that this page has, in order, by anchor."""
    every = {
        "rows": ("Rows", content["ledger"] is not None),
        "proof": ("Proof", True),
        "scores": ("Scores", True),
        "calibration": ("Calibration", content["calibration"] is not None),
        "slices": ("Slices", content["sliced"]),
        "terms": ("Effects", bool(content["shapes"])),
        "worst": ("Worst rows", bool(content["worst"])),
        "choice": ("Choices", bool(content["chosen"] or content["alternatives"])),
        "notes": ("Notes", bool(content["left_out"] or content["notes"])),
        "answers": ("Questions", True),
    }
    return {anchor: name for anchor, (name, present) in every.items() if present}


def _subtitle(result: Mapping[str, Any]) -> str:
    loss = text(result.get("loss"))
    kind = MODELS.get(loss or "", f"a model of the {loss} loss" if loss else "a model")
    encoding, pairs = text(result.get("encoding")), len(sequence(_choice(result).get("pairs")))
    table, outcome = text(result.get("table")), facts.yes(result)
    said = [f"{kind[:1].upper()}{kind[1:]}", *([encoding] if encoding else [])]
    said += [f"with {pairs} {'pair' if pairs == 1 else 'pairs'} of columns"] if pairs else []
    said += [f"trained on {clean(table)}"] if table else []
    predicts = f" It predicts the probability of {clean(outcome)}." if outcome else ""
    return f"{', '.join(said)}.{predicts}"


def _head_facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows, coefficients = whole(mapping(result.get("rows")).get("used")), whole(result.get("coefficients"))
    passes, seconds = whole(result.get("passes")), number(result.get("seconds"))
    shown = []
    if rows is not None:
        shown.append(("rows learned from", f"{rows:,}"))
    if coefficients is not None:
        shown.append(("coefficients", f"{coefficients:,}"))
    if passes is not None:
        shown.append(("passes of the last fit", f"{passes:,}"))
    if seconds is not None:
        shown.append(("time in all", duration(seconds)))
    if text(result.get("time")):
        shown.append(("ordered by", text(result.get("time")) or ""))
    return shown


def _choice(result: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(result.get("chosen")) or mapping(result.get("structure"))


def _chosen(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was chosen, as names and values in words; lists of records and strengths have their own places."""
    shown: list[tuple[str, str]] = []
    for name, value in _choice(result).items():
        if name in ("alternatives", "strengths"):
            continue
        entries = texts(value) if isinstance(value, list | tuple) else [said] if (said := _value(value)) else []
        shown.append((key_text(name).replace("_", " "), ", ".join(entries) or "none"))
    alpha = number(result.get("alpha"))
    # With a strength for each term, alpha alone would say too little.
    if alpha is not None and shown and not _strengths(result):
        shown.append(("penalty alpha", plain(alpha)))
    return shown


def _value(value: object) -> str | None:
    found = number(value)
    return text(value) if found is None else plain(found)


def _strengths(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    given = mapping(_choice(result).get("strengths"))
    known = [(key_text(name), found) for name, value in given.items() if (found := number(value)) is not None]
    return [(name, plain(value)) for name, value in sorted(known, key=lambda pair: pair[1])]


def _alternatives(result: Mapping[str, Any]) -> Forest | None:
    given = records(result.get("alternatives")) or records(_choice(result).get("alternatives"))
    scored = [(one, found) for one in given if (found := _alternative_score(one)) is not None][:_MOST_ALTERNATIVES]
    if not scored:
        return None
    lowest = min(found for _, found in scored)
    places = telling_places([found for _, found in scored])
    marked = [one.get("chosen") is True for one, _ in scored]
    entries = [
        Entry(
            text(one.get("name")) or "?",
            _alternative_detail(one),
            Interval(found, role="model" if chosen else "other"),
            fixed(found, places),
        )
        for (one, found), chosen in zip(scored, marked, strict=True)
    ]
    said = [
        "Mean loss on the last block of the rows that the judged model learned from; each was fitted to the rows "
        "before that block, and coefficients and seconds are of that fit. Lower is better."
    ]
    if any(marked):
        said.append("The chosen one is in blue.")
        if min(found for (_, found), chosen in zip(scored, marked, strict=True) if chosen) > lowest:
            said.append(
                "It is not the lowest. 64 bins stay unless few do better by 1 %, and pairs come in only where the loss "
                "falls by 0.3 % and two standard errors."
            )
    return forest(Heading("What the alternatives scored", " ".join(said), "mean loss"), entries)


def _alternative_score(one: Mapping[str, Any]) -> float | None:
    found = number(one.get("score"))
    return number(one.get("loss")) if found is None else found


def _alternative_detail(one: Mapping[str, Any]) -> str:
    coefficients, seconds = whole(one.get("coefficients")), number(one.get("seconds"))
    said = [] if coefficients is None else [count(coefficients, "coefficient")]
    return "; ".join([*said, *([] if seconds is None else [duration(seconds)])])
