"""`batchlearn predict`: one prediction for each row, in order, batch by batch."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from cyclopts import Parameter

from batchlearn.cli.arguments import CommandResult, Flag, Names, warn
from batchlearn.cli.options import ALL_ROWS, NO_CODE, WHOLE, CodeOptions, PartFlags, RowFlags, files_of, open_for
from batchlearn.cli.predict.scored import Writer, check_output, writing
from batchlearn.cli.progress import progress
from batchlearn.errors import DataError
from batchlearn.formatting.numbers import count, percent, rounded_up
from batchlearn.models.encoded import EncodedModel, scoring_remarks
from batchlearn.models.model import Predictions
from batchlearn.progress import Progress
from batchlearn.report.document import Document
from batchlearn.report.terms.columns import lines_sentence
from batchlearn.tables.columns import Kind, empty
from batchlearn.tables.table import Table, read

FORMAT_VERSION = 1
# Above this share of rows with a level that training never saw, a column is probably not what it was.
_MANY_UNSEEN = 0.5


def predict(  # noqa: PLR0913 - each argument is a flag
    model: Annotated[str, Parameter(help="Folder of a model, as train wrote it.")],
    data: Annotated[str, Parameter(help="Rows to predict: a file, a folder or a pattern; no target is needed.")],
    /,
    *,
    output: Annotated[str, Parameter(name=["--output", "-o"], help="File to write: .parquet or .csv.")],
    bounds: Annotated[Flag, Parameter(help="Add how far each prediction can be from the optimum's.")] = False,
    fee: Annotated[
        float | None,
        Parameter(help="Cost of a person's look at a row, instead of that of the training; needs a model with costs."),
    ] = None,
    rows: RowFlags = ALL_ROWS,
    part: PartFlags = WHOLE,
    drop: Annotated[Names, Parameter(help="Columns to ignore: a,b. Repeatable.")] = (),
    code: CodeOptions = NO_CODE,
    force: Annotated[Flag, Parameter(help="Replace the output where it exists.")] = False,
) -> CommandResult:
    """Score every row of a table, in order, however large it is.

    One row is written for each row read (for each row kept, with --where). With a fee for a person's look at a row,
    kept with the model or given here, rows on which deciding costs more than that on average are left to people: their
    prediction is empty.
    """
    began = time.perf_counter()
    path = Path(output)
    check_output(path, data, force)
    loaded = code.open(model).model
    loaded = loaded if fee is None else loaded.with_fee(fee)
    table = _opened(loaded, data, part, rows, drop)
    loaded.check(table)
    with progress() as report, writing(path, output_schema(loaded, bounds), force) as writer:
        tally = write_predictions(loaded, table, bounds, writer, report)
    remarks = scoring_remarks(loaded, table, tally.unreadable)
    for remark in remarks:
        warn(str(remark.note))
    columns = table.uses(remarks, loaded.columns)
    record: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "model": model,
        "data": data,
        "output": output,
        "rows": tally.rows,
        "rows_read": tally.rows_read,
        "unseen": dict(tally.unseen),
        "pooled": dict(tally.pooled),
        "lines_passed_over": dict(table.lines_passed_over),
        "columns": [column.to_json() for column in columns],
        "columns_not_used": sum(not column.used for column in columns),
        "left_to_people": tally.left_to_people,
        "largest_bound": tally.largest_bound,
        "seconds": time.perf_counter() - began,
    }
    return CommandResult(record, _show(record, tally))


@dataclass
class Tally:
    """What happened to the rows of one scoring."""

    rows: int = 0
    rows_read: int = 0
    unseen: Counter[str] = field(default_factory=Counter)
    pooled: Counter[str] = field(default_factory=Counter)
    unreadable: Mapping[str, int] = field(default_factory=dict)
    left_to_people: int | None = None  # None: the model has no fee and decides every row
    largest_bound: float | None = None


def write_predictions(
    model: EncodedModel, table: Table, bounds: bool, writer: Writer, report: Callable[[Progress], None]
) -> Tally:
    """Write a prediction for each row of the table; memory does not grow with it."""
    tally = Tally()
    # An intercept alone reads no column, but its rows have to be counted.
    scan = table.scan(model.columns or [table.columns[0].name])
    for batch in scan:
        predictions = model.predict_batch(batch, bounds=bounds)
        writer.write_batch(model.to_table(predictions))
        tally.rows += batch.num_rows
        left = model.left_to_people(predictions.response)
        if left is not None:
            tally.left_to_people = (tally.left_to_people or 0) + int(left.sum())
        tally.unseen.update({name: number for name, number in model.encoding.count_unseen(batch).items() if number})
        tally.pooled.update({name: number for name, number in model.encoding.count_pooled(batch).items() if number})
        if predictions.bound is not None:
            tally.largest_bound = max(tally.largest_bound or 0.0, float(np.max(predictions.bound)))
        report(Progress("predicting", batch.num_rows))
    tally.rows_read, tally.unreadable = scan.rows_read, scan.unreadable
    return tally


def _opened(model: EncodedModel, data: str, part: PartFlags, rows: RowFlags, drop: tuple[str, ...]) -> Table:
    """Open the rows as the model reads them; a file of no bytes has none."""
    try:
        return open_for(model, files_of(data, part), rows, drop=drop)
    except DataError as problem:
        if problem.code != "file-empty" or not model.columns:
            raise
        kinds = {name: model.encoding.kinds.get(name, Kind.NUMBER) for name in model.columns}
        return read({name: empty(kind, 0) for name, kind in kinds.items()}, like=model.readings)


def output_schema(model: EncodedModel, bounds: bool) -> pa.Schema:
    """Return the columns of the predictions."""
    classes = len(model.target.classes)
    one = np.zeros((1, classes) if classes > 2 else 1)
    return model.to_table(Predictions(one, one, np.zeros(1) if bounds else None)).schema


def _show(record: dict[str, Any], tally: Tally) -> Document:
    document = Document()
    document.title(f"Predicted {count(tally.rows, 'row')} in {record['seconds']:.1f} s: {record['output']}")
    if tally.rows_read != tally.rows:
        document.line(
            f"{tally.rows_read:,} read = {tally.rows:,} predicted + {tally.rows_read - tally.rows:,} excluded"
        )
    if tally.left_to_people is not None:
        left = f" ({percent(tally.left_to_people / tally.rows)})" if tally.rows else ""
        document.line(f"{count(tally.left_to_people, 'row')}{left} left to people: their prediction is empty")
    if tally.largest_bound is not None:
        largest = rounded_up(tally.largest_bound)
        document.line(f"No prediction is off the optimum's by more than {largest:.1e}; each has its own bound.")
    for name, number in tally.pooled.most_common():
        share = number / tally.rows
        document.line(
            f"{name}: {count(number, 'row')} ({percent(share)}) with a level too rare in training for a coefficient"
        )
    for name, number in tally.unseen.most_common():
        share = number / tally.rows
        document.line(f"{name}: {count(number, 'row')} ({percent(share)}) with a level that training never saw")
        if share > _MANY_UNSEEN:
            document.line("Most rows: is this column still what it was in training?", "yellow", 4)
    if record["lines_passed_over"]:
        document.line(lines_sentence(record["lines_passed_over"]))
    document.line("Next:")
    document.command(f"batchlearn evaluate {shlex.quote(record['model'])} LABELLED.parquet")
    return document
