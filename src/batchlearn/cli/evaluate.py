"""`batchlearn evaluate`: what a model is worth on labelled rows."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from batchlearn.cli.arguments import CommandResult, Count, Names
from batchlearn.cli.options import (
    ALL_ROWS,
    NO_CODE,
    UNJUDGED,
    WHOLE,
    CodeOptions,
    JudgingFlags,
    Memory,
    PartFlags,
    RowFlags,
    files_of,
    open_for,
)
from batchlearn.evaluation.scored import score
from batchlearn.formatting.notes import Code, Note
from batchlearn.formatting.numbers import count
from batchlearn.models.encoded import scoring_remarks
from batchlearn.report.document import Document
from batchlearn.report.training.brief import model_sentence, show_evaluation, show_notes
from batchlearn.tables.table.budget import budget_of
from batchlearn.tables.table.segments import within
from batchlearn.training.evaluate import evaluate_scored
from batchlearn.training.fit import FORMAT_VERSION
from batchlearn.training.recipe import Recipe


def evaluate(  # noqa: PLR0913 - each argument is a flag
    model: Annotated[str, Parameter(help="Folder of a model, as train wrote it.")],
    data: Annotated[str, Parameter(help="Labelled rows that the model has not seen: a file, a folder or a pattern.")],
    /,
    *,
    judging: JudgingFlags = UNJUDGED,
    rows: RowFlags = ALL_ROWS,
    part: PartFlags = WHOLE,
    drop: Annotated[Names, Parameter(help="Columns to ignore: a,b. Repeatable.")] = (),
    code: CodeOptions = NO_CODE,
    seed: Annotated[Count, Parameter(help="Seed of the intervals.")] = 0,
    memory: Memory = None,
) -> CommandResult:
    """Judge a model on labelled rows: metrics with intervals, baselines, calibration, slices.

    Rows are ordered, grouped and weighted by the columns of the training where the table has them.
    """
    seed = Recipe(seed=seed).seed
    stored = code.open(model)
    table = open_for(stored.model, files_of(data, part), rows, judging, drop)
    with within(budget_of(memory)):
        scored = score(stored.model, table, seed=seed)
        evaluation = evaluate_scored(stored.model, scored, seed=seed)
    target = stored.model.target
    remarks = scoring_remarks(stored.model, table.like(stored.model.readings), scored.unreadable)
    notes = [remark.note for remark in remarks]
    used = {*stored.model.columns, target.column, table.roles.time, table.roles.group, table.roles.weight}
    known = (stored.record.get("certificate") or {}).get("fingerprint")
    if known is not None and known == scored.fingerprint:
        notes.append(Note(Code.OWN_ROWS, {"rows": evaluation.rows}))
    # Older records tell only the whole condition, with the times of a version's rows.
    condition = stored.record.get("where", stored.record.get("condition"))
    if condition and not rows.where:
        notes.append(Note(Code.TRAINED_UNDER_CONDITION, {"condition": condition}))
    record: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "model": model,
        "data": data,
        "seed": seed,
        "lines_passed_over": dict(table.lines_passed_over),
        "columns": [column.to_json() for column in table.uses(remarks, used)],
        "evaluation": evaluation.to_json(),
        "notes": list(map(str, notes)),
        "noted": [note.to_json() for note in notes],
    }

    document = Document()
    document.title(f"Evaluated on {count(evaluation.rows, 'row')}: {model_sentence(stored.model)}")
    show_evaluation(document, evaluation, target)
    show_notes(document, notes, evaluation)

    return CommandResult(record, document)
