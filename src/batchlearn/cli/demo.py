"""`batchlearn demo`: the whole story on real data that comes with scikit-learn, in a few seconds."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cyclopts import Parameter
from sklearn.datasets import load_breast_cancer

from batchlearn.cli.arguments import CommandResult
from batchlearn.cli.progress import watch
from batchlearn.errors import UsageError, quoted
from batchlearn.report.document import Document
from batchlearn.report.training.brief import certificate_sentence, show_effects, show_evaluation
from batchlearn.tables.table import read
from batchlearn.training.fit import FORMAT_VERSION, Fit
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import iter_train
from batchlearn.training.verification.stored import Verification, verify_model

_TARGET = "diagnosis"
_ROW, _COLUMN = 100, "mean radius"


def demo(
    *,
    output: Annotated[str | None, Parameter(help="New folder to keep the data and the model in.")] = None,
) -> CommandResult:
    """Train, evaluate, verify and tamper on data that comes with scikit-learn.

    569 tumours with 30 measurements of their cell nuclei (Wisconsin, 1995): is it benign or malignant?
    """
    with _folder(output) as folder:
        data, model = folder / "tumours.parquet", folder / "model"
        rows = tumours()
        pq.write_table(rows, data)
        fit = watch(iter_train(read(str(data), target=_TARGET), Recipe()))
        fit.save(model)
        verified = verify_model(model, str(data))
        tampered = verify_model(model, with_one_value_changed(rows))
    record: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "data": "sklearn.datasets.load_breast_cancer",
        "train": {**fit.to_json(), "model": None if output is None else str(model)},
        "verify": verified.to_json(),
        "tampered": tampered.to_json(),
    }
    return CommandResult(record, _show(fit, verified, tampered, output))


@contextmanager
def _folder(output: str | None) -> Iterator[Path]:
    """Give a folder to write to: the one asked for, which must be new, or one that is gone afterwards."""
    if output is None:
        with TemporaryDirectory(prefix="batchlearn-demo-") as folder:
            yield Path(folder)
        return
    try:
        Path(output).mkdir()
    except FileExistsError as problem:
        raise UsageError(
            f"{quoted(output)} exists already; name a new folder for the demo.", code="output-exists"
        ) from problem
    except FileNotFoundError as problem:
        raise UsageError(
            f"There is no folder to put {quoted(output)} in; make it first, or write elsewhere.",
            code="output-folder-missing",
        ) from problem
    yield Path(output)


def tumours() -> pa.Table:
    """Return scikit-learn's breast cancer data with the diagnosis in words, as columns."""
    found = load_breast_cancer()
    columns = {name: np.ascontiguousarray(found.data[:, place]) for place, name in enumerate(found.feature_names)}
    return pa.table({**columns, _TARGET: [str(found.target_names[code]) for code in found.target]})


def with_one_value_changed(rows: pa.Table) -> pa.Table:
    """Return the rows with one measurement changed in its last bit."""
    values = rows.column(_COLUMN).to_numpy().copy()
    values[_ROW] = np.nextafter(values[_ROW], np.inf)
    return rows.set_column(rows.schema.get_field_index(_COLUMN), _COLUMN, pa.array(values))


def _show(fit: Fit, verified: Verification, tampered: Verification, output: str | None) -> Document:
    document = Document()
    document.title("Is a tumour benign or malignant? 569 patients, 30 measurements of cell nuclei, from scikit-learn")
    target = fit.model.target
    document.heading(f"1. Train on every row: {fit.passes} passes, {fit.seconds:.1f} s")
    document.line(certificate_sentence(fit.certificate, target.task).plain)
    show_effects(document, fit)
    if fit.evaluation is not None:
        document.heading(f"2. Evaluate: the same recipe on {fit.evaluation.rows} rows that it did not see")
        show_evaluation(document, fit.evaluation, target)
    document.heading("3. Verify: read the rows again and prove the bounds again")
    document.line("The certificate holds." if verified.holds else "The certificate does not hold: a fault of ours.")
    document.heading(f"4. Tamper: change {_COLUMN} of patient {_ROW + 1} in its last bit")
    document.line(
        "The certificate does not hold any more: " + tampered.reasons[0]
        if tampered.reasons
        else "The change went unnoticed: a fault of ours."
    )
    document.heading("Next:")
    if output is None:
        document.command("batchlearn demo --output demo    # keeps the data and the model")
    else:
        folder = shlex.quote(output)
        document.command(f"batchlearn verify {folder}/model {folder}/tumours.parquet")
        document.command(f"batchlearn predict {folder}/model {folder}/tumours.parquet -o scored.csv --bounds")
    document.command("batchlearn train YOUR.parquet --target COLUMN")
    return document
