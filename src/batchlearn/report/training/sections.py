"""The sections of the page of one training, each as its blocks in order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from batchlearn.formatting.names import effect_scale
from batchlearn.formatting.numbers import count, duration, fixed, plain, telling_places
from batchlearn.report.document import (
    Beside,
    Block,
    Bullets,
    Fact,
    FactLines,
    Folded,
    Section,
    Sentence,
    Stack,
    TextTable,
    WorstRows,
)
from batchlearn.report.figures.plots import Entry, Forest, Interval, forest
from batchlearn.report.terms.columns import lines_sentence
from batchlearn.report.terms.shapes import Drawn, flat_from, flat_said
from batchlearn.report.training import data_summary, findings, proof, quality, worst
from batchlearn.report.training.verdict import finished
from batchlearn.report.values import short
from batchlearn.selection.structure import Structure
from batchlearn.training.fit import Fit

_MOST_ALTERNATIVES = 30
_TERMS_AT_FIRST, _ROWS_AT_FIRST = 12, 3


def sections(fit: Fit, terms: Sequence[Drawn], unlisted: int) -> tuple[Section, ...]:
    """Return the sections that this page has, in order; `unlisted` terms have no figure."""
    plot = quality.calibration_plot(fit)
    calibration = () if plot is None else (Beside((plot, FactLines(quality.calibration_facts(fit.evaluation)))),)
    every = (
        Section("rows", "Rows", "Where every row went", _rows(fit)),
        Section("proof", "Proof", "How near to the optimum it is", _proof(fit)),
        Section("scores", "Scores", "What it is worth on rows it has not seen", _scores(fit)),
        Section("calibration", "Calibration", "Whether predictions mean what they say", calibration),
        Section("slices", "Slices", "Where it is worse than elsewhere", _slices(fit)),
        Section("terms", "Effects", "What it has learned", _terms(fit, terms, unlisted)),
        Section("worst", "Worst rows", "Held-out rows it got most wrong", _worst(fit)),
        Section("choice", "Choices", "What was chosen by the data", _choice(fit)),
        Section("notes", "Notes", "Notes", _notes(fit)),
    )
    return tuple(section for section in every if section.blocks)


def _lead(text: str) -> Sentence:
    return Sentence("lead", text)


def _rows(fit: Fit) -> tuple[Block, ...]:
    ledger, split = proof.ledger(fit.rows), proof.split_parts(fit)
    if len(ledger) == 1:
        found: list[Block] = [_lead(f"{fit.rows.read:,} rows were read and all of them are {ledger[0].said}.")]
    else:
        rows = tuple((part.said, f"{part.rows:,}", part.share) for part in ledger)
        colours = tuple(part.role for part in ledger)
        found = [
            _lead(f"{fit.rows.read:,} rows were read. Each is in one of these parts."),
            Stack("Parts of the rows read", ledger, legend=False),
            TextTable(("rows", "number", "share"), rows, figures_only=True, compact=True, swatches=colours),
        ]
    if split:
        found.append(Sentence("heading", "Of those used, to judge the recipe"))
        found.append(Stack("Rows that taught the judged model and rows that judged it", split, legend=True))
    return tuple(found)


def _proof(fit: Fit) -> tuple[Block, ...]:
    said = f"No bound is proved: {proof.refusal(fit)}."
    if proof.proved(fit) is not None:
        said = (
            f"{finished(fit).brief[0]} This is a bound: wherever the optimum is, the model is no further from it. It "
            "was computed from all training rows after training, rounding errors included, and it speaks of these "
            "rows, these terms and this penalty only."
        )
    plots, spent = tuple(proof.trace_plots(fit)), (proof.passes_said(fit), data_summary.stages(fit))
    found: list[Block] = [_lead(f"{said} Training ended because {fit.status.value}."), FactLines(proof.facts(fit))]
    if plots:
        found.append(Beside(plots))
    if any(spent):
        found.append(_lead(" ".join(filter(None, spent))))
    return tuple(found)


def _scores(fit: Fit) -> tuple[Block, ...]:
    evaluation, judged = fit.evaluation, quality.score(fit.evaluation)
    if evaluation is None or judged is None:
        nothing = "No rows were held out, so there is no score. A score on the rows that a model learned from says too "
        return (_lead(f"{nothing}little about new ones."),)
    split = (
        data_summary.split_said(fit) or "The same recipe was trained on the other rows and judged on the held-out ones."
    )
    baselines = (
        "A baseline is what costs nothing: the constant says what the columns are worth, the last value whether the "
        "order of the rows alone would do as well."
    )
    found: list[Block] = [
        Sentence("line", " ".join(filter(None, (split, data_summary.base_rates(fit))))),
        _lead(" ".join(filter(None, (baselines, data_summary.judged_size(fit))))),
        quality.score_forest(judged),
    ]
    drift = findings.drift_sentence(fit, judged)
    if drift:
        found.append(Sentence("line", drift, anchor="drift"))
    found += [Sentence("heading", "All scores"), quality.metric_table(evaluation)]
    cuts, decision = quality.cut_table(fit), quality.decision(evaluation, fit.model.target)
    for heading, anchor, told in (("What a threshold finds", "", cuts), ("What decisions cost", "decision", decision)):
        if told is not None:
            found += [Sentence("heading", heading, anchor=anchor), Sentence("line", told[0]), told[1]]
    if evaluation.unseen_classes:
        named = [f"{short(name)}: {count(rows, 'held-out row')}" for name, rows in evaluation.unseen_classes.items()]
        found.append(Sentence("heading", "Classes that training never saw"))
        found.append(Sentence("line", f"{'; '.join(named)}."))
    return tuple(found)


def _slices(fit: Fit) -> tuple[Block, ...]:
    drawn = worst.slice_forest(fit, quality.score(fit.evaluation))
    if drawn is not None or fit.evaluation is None:
        return () if drawn is None else (drawn,)
    but = ", but for levels that most of the rows have" if fit.evaluation.slices else ""
    return (_lead(f"No level of a category column loses significantly more than the other rows{but}."),)


def _terms(fit: Fit, terms: Sequence[Drawn], unlisted: int) -> tuple[Block, ...]:
    flat, scale = flat_from(terms), effect_scale(fit.model.loss)
    shown = tuple(terms[:flat])
    if not shown:
        return ()
    weighted = all(term.deviation is not None for term in shown)
    order = (
        "First come the terms that move the predictions of the rows most; the number beside a name is the standard "
        "deviation over the rows of what the term adds, so rare levels count little however large their effects."
        if weighted
        else "Columns whose effects lie furthest apart come first."
    )
    reach = (
        "how far another sample of rows, and what the penalty took away, may have put it from the true one; that of "
        "the first and of the last step of a shape rests on its own rows, and is wider"
        if fit.structure.strengths
        else "how well these rows pin it down, the penalty taken as given"
    )
    found: list[Block] = [
        _lead(f"Each figure shows what one column adds to the prediction, in {scale.name}: {scale.meaning}. {order}"),
        _lead(
            f"An effect is against the mean of its term{' over the rows' if weighted else chr(39) + 's levels'}: only "
            "differences within a figure count, not its height. A band or bar is the 95 % interval of such a "
            f"difference: {reach}. It is not the range in which predictions or single rows lie."
        ),
        Beside(shown[:_TERMS_AT_FIRST], "shapes"),
    ]
    more = shown[_TERMS_AT_FIRST:]
    if more:
        found.append(Folded(f"{len(more)} more that move predictions less", (Beside(more, "shapes"),)))
    if terms[flat:]:
        hardly = f"Hardly any prediction is moved by these, which are not drawn: {flat_said(terms[flat:])}."
        found.append(Sentence("line", hardly))
    if unlisted:
        beyond = "more terms, with effects that lie closer together than all of these, are not drawn."
        found.append(Sentence("line", f"{unlisted:,} {beyond}"))
    return tuple(found)


def _worst(fit: Fit) -> tuple[Block, ...]:
    rows = worst.worst_rows(fit)
    if not rows:
        return ()
    said = (
        "Rows with the largest loss. Look for labels that are wrong and for values that cannot be. The columns that "
        "pushed the prediction furthest from that of the other rows come first, with their effects in the model that "
        "was judged."
    )
    more = rows[_ROWS_AT_FIRST:]
    folded = (Folded(f"{len(more)} more", (WorstRows(more, _ROWS_AT_FIRST + 1),)),) if more else ()
    return (_lead(said), WorstRows(rows[:_ROWS_AT_FIRST]), *folded)


def _choice(fit: Fit) -> tuple[Block, ...]:
    structure, alpha = fit.structure, fit.alpha
    if fit.model.learned_by is not None:
        return (FactLines(tuple(Fact(short(name), short(str(one))) for name, one in fit.recipe.set.items())),)
    chosen = [
        Fact("encoding", structure.name),
        Fact("bins", f"{structure.rules.bins}" if structure.rules.additive else "none"),
        Fact("pairs", ", ".join(short(pair.column) for pair in structure.pairs) or "none"),
    ]
    alternatives = _alternatives(structure)
    drawn = () if alternatives is None else (alternatives,)
    if not structure.strengths:
        return (FactLines((*chosen, Fact("penalty alpha", plain(alpha)))), *drawn)
    # With a strength for each term, alpha alone would say too little.
    ordered = sorted(structure.strengths.items(), key=lambda one: one[1])
    rows = tuple((short(name), plain(value)) for name, value in ordered)
    said = "How strongly a term is held towards having no effect, or no bends: the larger, the flatter. Weakest first."
    table = TextTable(("term", "strength"), rows, figures_only=True, compact=True)
    strengths = Folded(f"Penalty strength of each of {len(rows)} terms", (Sentence("line", said), table))
    return (FactLines(tuple(chosen)), *drawn, strengths)


def _alternatives(structure: Structure) -> Forest | None:
    given = structure.alternatives[:_MOST_ALTERNATIVES]
    if not given:
        return None
    lowest, places = min(one.loss for one in given), telling_places([one.loss for one in given])
    entries = [
        Entry(
            one.name,
            f"{count(one.coefficients, 'coefficient')}; {duration(one.seconds)}",
            Interval(one.loss, role="model" if one.chosen else "other"),
            fixed(one.loss, places),
        )
        for one in given
    ]
    said = [
        "Mean loss on the last block of the rows that the judged model learned from; each was fitted to the rows "
        "before that block, and coefficients and seconds are of that fit. Lower is better."
    ]
    chosen = [one.loss for one in given if one.chosen]
    if chosen:
        said.append("The chosen one is in blue.")
        if min(chosen) > lowest:
            said.append(
                "It is not the lowest. 64 bins stay unless few do better by 1 %, and pairs come in only where the loss "
                "falls by 0.3 % and two standard errors."
            )
    return forest("What the alternatives scored", " ".join(said), "mean loss", entries)


def _notes(fit: Fit) -> tuple[Block, ...]:
    notes = tuple(("", note) for note in findings.other_notes(fit))
    said = tuple(findings.special_columns(fit))
    columns = (Sentence("heading", "Columns left out, or read in a special way"), Bullets(said)) if said else ()
    lines = (Sentence("line", f"{lines_sentence(fit.lines_passed_over)}."),) if fit.lines_passed_over else ()
    return tuple(chain((Bullets(notes),) if notes else (), columns, lines))
