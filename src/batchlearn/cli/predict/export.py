"""`batchlearn export`: a model for where batchlearn is not, checked against the model before it is written."""

from __future__ import annotations

import os
import shlex
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from batchlearn.artifacts.folders import named_problems, write_durably, write_folder
from batchlearn.cli.arguments import CommandResult, Flag, Names, warn
from batchlearn.cli.options import ALL_ROWS, WHOLE, PartFlags, RowFlags, files_of, open_for
from batchlearn.errors import UsageError, quoted
from batchlearn.exports.agreement import check_agreement, telling_rows
from batchlearn.exports.exportable import linear
from batchlearn.exports.mlflow_folder import MLMODEL, mlflow_files
from batchlearn.exports.onnx_graph import predicted_by_onnx, to_onnx
from batchlearn.exports.sql import predicted_in_duckdb, to_sql
from batchlearn.formatting.numbers import count
from batchlearn.models.files import read_model
from batchlearn.report.document import Document

FORMAT_VERSION = 1


def export(  # noqa: PLR0913 - each argument is a flag
    model: Annotated[str, Parameter(help="Folder of a model, as train wrote it.")],
    output: Annotated[str, Parameter(help="File to write; for mlflow a folder.")],
    /,
    *,
    to: Annotated[
        Literal["onnx", "sql", "mlflow"], Parameter(help="An ONNX graph, a SELECT, or a folder of MLflow's.")
    ],
    check: Annotated[str | None, Parameter(help="Rows to check on; rows made for it unless given.")] = None,
    table: Annotated[str, Parameter(help="sql: the table to predict, as SQL names it.")] = "rows",
    keep: Annotated[
        Names, Parameter(help="sql: columns that come with the predictions: a,b; those read unless given.")
    ] = (),
    rows: RowFlags = ALL_ROWS,
    part: PartFlags = WHOLE,
    force: Annotated[Flag, Parameter(help="Replace the output where it exists.")] = False,
) -> CommandResult:
    """Write a model for where batchlearn is not, after a check that it predicts the same.

    ONNX Runtime (else ONNX itself) and DuckDB predict rows made to meet every code of every term and the floats on both
    sides of each edge, or those of --check. Exit code 6, and nothing written, where a prediction differs by more than
    1e-9 of its size. A folder of MLflow's holds the model itself.
    """
    if (to != "sql" and (table != "rows" or keep)) or (to == "mlflow" and check is not None):
        raise UsageError("--table and --keep belong to --to sql, --check to onnx and sql.", code="option-unknown")
    target, stored = Path(output), read_model(model)
    if not target.parent.is_dir():
        raise UsageError(
            f"There is no folder {quoted(target.parent)} for the export; make it first, or write elsewhere.",
            code="output-folder-missing",
        )
    ours = (target / MLMODEL).is_file() if to == "mlflow" else target.is_file()
    if os.path.lexists(target) and not (force and ours):
        raise UsageError(
            f"{quoted(target)} exists already and is not overwritten; choose another name, or replace an export of the "
            "same kind with --force.",
            code="output-exists",
        )
    checked: dict[str, Any] | None = None
    if to == "mlflow":
        files = mlflow_files(Path(model), stored.model, stored.identity)
        with named_problems(target):
            write_folder(target, files)
    else:
        known = linear(stored.model, "SQL" if to == "sql" else "ONNX")
        if to == "onnx":
            data = to_onnx(known)
            predicted = partial(predicted_by_onnx, data, known)
        else:
            data = f"-- The batchlearn model {stored.identity}\n{to_sql(known, table, keep)};\n".encode()
            predicted = partial(predicted_in_duckdb, to_sql(known), known)
        if to == "sql" and find_spec("duckdb") is None:
            warn("duckdb is not installed, so nothing was predicted with the query to check it.")
        else:
            given = None if check is None else open_for(known, files_of(check, part), rows)
            if given is not None:
                known.check(given)
            batches = [telling_rows(known)] if given is None else given.scan(known.columns)
            largest, number = check_agreement(known, predicted, batches)
            checked = {"rows": number, "largest_difference": largest, "data": check}
        with named_problems(target):
            whole = target.with_name(f".{target.name}.unfinished")
            whole.unlink(missing_ok=True)
            write_durably(whole, data)
            whole.replace(target)
    record = {"format_version": FORMAT_VERSION, "model": model, "to": to, "output": output, "check": checked}
    return CommandResult(record, _show(record))


def _show(record: dict[str, Any]) -> Document:
    document = Document()
    output, checked = shlex.quote(record["output"]), record["check"]
    document.title(f"Exported to {record['output']}")
    if checked is not None:
        whose = "made to tell the two apart" if checked["data"] is None else f"of {checked['data']}"
        document.line(
            f"It predicts as the model does: {count(checked['rows'], 'row')} {whose}, the largest difference "
            f"{checked['largest_difference']:.1e} of a prediction's size."
        )
    how = {
        "onnx": f'python -c "from onnxruntime import InferenceSession as Session; Session({record["output"]!r})"',
        "sql": f"duckdb warehouse.duckdb < {output}",
        "mlflow": f'python -c "from mlflow.pyfunc import load_model; load_model({record["output"]!r})"',
    }
    document.line("Next, with MLflow and pandas installed:" if record["to"] == "mlflow" else "Next:")
    document.command(how[record["to"]])
    return document
