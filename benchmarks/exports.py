"""Whether ONNX and SQL exports predict what the model predicts, on every row of every real data set.

    python benchmarks/exports.py [set ...]

A model is trained on 8,000 rows of each set drawn at random, as `train` chooses it. Its exports then predict all rows
of the set, and rows made to meet every code of every term with the floats on both sides of each edge. Where a model has
more coefficients than SQL takes, the SQL is of a linear model of as many columns, evenly spread, as it takes. Exit code
1 where a prediction differs by more than 1e-9 of its size, or of one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from data_sets import LOSSES, DataSet, data_sets

import batchlearn as bl
from batchlearn.exports import to_onnx, to_sql
from batchlearn.exports.agreement import TOLERANCE, largest_difference, telling_rows
from batchlearn.exports.onnx_graph import predicted_by_onnx
from batchlearn.exports.sql import MOST_COEFFICIENTS, predicted_in_duckdb
from batchlearn.kernels.design import Floats
from batchlearn.models.linear import LinearModel

ROWS = 8_000
Predicted = Callable[[pa.RecordBatch], Floats]


def trained(data: DataSet, drop: tuple[str, ...], recipe: bl.Recipe) -> LinearModel:
    rows = pq.read_table(data.path)
    chosen = np.sort(np.random.default_rng(0).permutation(len(rows))[:ROWS])
    table = bl.read(rows.take(chosen), target=data.target, time=data.time, drop=drop, where=data.condition)
    return bl.train(table, recipe).model


def small_enough(data: DataSet) -> LinearModel:
    """Return a linear model of as many columns as SQL takes the coefficients of, halving them until it does."""
    every = [column.name for column in bl.read(str(data.path), target=data.target, drop=data.drop).features]
    columns = every
    while True:
        dropped = tuple(name for name in every if name not in (*columns, data.time))
        model = trained(data, (*data.drop, *dropped), bl.Recipe(data.loss, alpha=1e-3, holdout=0.0))
        if model.coefficients.size <= MOST_COEFFICIENTS:
            return model
        columns = columns[1::2]  # every other one: neighbouring pixels are much alike


def batches(model: LinearModel, data: DataSet) -> Iterator[pa.RecordBatch]:
    yield telling_rows(model)
    table = model.as_read(model.read(str(data.path)))
    yield from replace(table, roles=bl.read(str(data.path)).roles).scan(model.columns)


def line(data: DataSet) -> tuple[str, float]:
    model = trained(data, data.drop, bl.Recipe(data.loss, holdout=0.0))
    began = time.perf_counter()
    graph = to_onnx(model)
    of_onnx, rows = largest_difference(model, partial(predicted_by_onnx, graph, model), batches(model, data))
    seconds = time.perf_counter() - began
    smaller = model if model.coefficients.size <= MOST_COEFFICIENTS else small_enough(data)
    query = to_sql(smaller)
    of_sql, _ = largest_difference(smaller, partial(predicted_in_duckdb, query, smaller), batches(smaller, data))
    kinds = ", ".join(sorted({type(group).__name__ for group in model.encoding.groups}))
    return (
        f"| {data.name} | {model.target.loss} | {rows:,} | {model.coefficients.size:,} | {kinds} | {of_onnx:.1e} | "
        f"{seconds:.1f} | {smaller.coefficients.size:,} | {of_sql:.1e} |"
    ), max(of_onnx, of_sql)


def main() -> int:
    print("| set | loss | rows | coefficients | groups | ONNX differs by | s | coefficients in SQL | SQL differs by |")
    print("|---|---|---:|---:|---|---:|---:|---:|---:|")
    worst = 0.0
    for data in data_sets(tuple(LOSSES)):
        if not sys.argv[1:] or data.name in sys.argv[1:]:
            written, largest = line(data)
            print(written, flush=True)
            worst = max(worst, largest)
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
