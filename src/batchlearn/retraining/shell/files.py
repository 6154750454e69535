"""The files of a version, and the sample rows that it must score to the same bits before it may go live."""

from __future__ import annotations

import io
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from batchlearn.artifacts.strict_json import dump
from batchlearn.artifacts.tensors import pack
from batchlearn.data.ledger import read_ledger
from batchlearn.models.files import files_of
from batchlearn.registry.version import ENVIRONMENT, EXPECTED, KEPT, MODEL_FOLDER, RECIPE, SAMPLE
from batchlearn.retraining.cycle.events import Trained
from batchlearn.tables.table import Table
from batchlearn.updating.storage import dump as dump_kept

SAMPLE_ROWS = 300
_PACKAGES = ("batchlearn", "numpy", "scipy", "pyarrow", "safetensors", "scikit-learn")


def version_files(trained: Trained, recipe: str, seed: int) -> tuple[dict[str, bytes], tuple[int, ...]]:
    """Return the files of a version by name, and the shape of the responses that its sample rows must score."""
    fit, table = trained.fit, trained.fit.model.as_read(trained.table)
    ledger = read_ledger(table, target=fit.model.target, weight_constant=fit.model.weight_constant)
    sample = _sample(table, ledger.used, seed)
    expected = fit.model.predict(sample).response
    sink = io.BytesIO()
    pq.write_table(sample, sink, write_page_checksum=True)
    model = {f"{MODEL_FOLDER}/{name}": data for name, data in files_of(fit.model, fit.record()).items()}
    files = {
        **model,
        RECIPE: recipe.encode(),
        ENVIRONMENT: dump(_environment()),
        SAMPLE: sink.getvalue(),
        EXPECTED: pack({"response": expected}),
    }
    if trained.kept is not None:
        files[KEPT] = dump_kept(trained.kept)
    return files, expected.shape


def _sample(table: Table, used: NDArray[np.bool_], seed: int) -> pa.Table:
    """Return some of the used rows of a table in canonical types, all columns, drawn at random and in order.

    Moments say that they are in UTC: without a zone they would be what a clock showed.
    """
    names = [column.name for column in table.columns]
    chosen = np.sort(np.random.default_rng(seed).permutation(np.flatnonzero(used))[:SAMPLE_ROWS])
    parts, start = [], 0
    for batch in table.scan(names):
        inside = chosen[(chosen >= start) & (chosen < start + batch.num_rows)] - start
        if len(inside):
            parts.append(batch.take(pa.array(inside)))
        start += batch.num_rows
    sample = pa.Table.from_batches([_decoded(part) for part in parts])
    for at, name in enumerate(names):
        if table.readings[name].zone is not None:
            moments = sample.column(at).cast(pa.timestamp("us", "UTC"))
            sample = sample.set_column(at, name, moments)
    return sample


def _decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    arrays = [array.dictionary_decode() if pa.types.is_dictionary(array.type) else array for array in batch.columns]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _environment() -> dict[str, Any]:
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "(not installed)"
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "packages": packages,
    }
