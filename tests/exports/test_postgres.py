"""The same SQL in PostgreSQL, which is stricter than DuckDB about types and about what overflows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.exports.made import CASES, linear_of, model_of
from tests.tables.postgres_server import OWNER

import batchlearn as bl
from batchlearn.exports import to_sql
from batchlearn.exports.agreement import telling_rows
from batchlearn.models.linear import LinearModel
from batchlearn.tables.columns import Kind

TYPES = {
    Kind.NUMBER: "double precision",
    Kind.BOOLEAN: "boolean",
    Kind.CATEGORY: "text",
    Kind.TIMESTAMP: "timestamp",
}


def predicted(postgres: Path, model: LinearModel, batch: pa.RecordBatch) -> Any:
    """What the query says of rows of a table in the server, in their order, by column."""
    import psycopg

    kinds = {name: model.encoding.kinds.get(name, Kind.NUMBER) for name in model.columns}
    names = ['"' + name.replace('"', '""') + '"' for name in batch.schema.names]
    types = {plain: "timestamptz" if plain in model.encoding.zones else TYPES[kind] for plain, kind in kinds.items()}
    columns = [f"{name} {types[plain]}" for name, plain in zip(names, batch.schema.names, strict=True)]
    with psycopg.connect(f"postgresql://{OWNER}@/postgres?host={postgres}") as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        connection.execute(f"CREATE TEMPORARY TABLE rows (row_number integer, {', '.join(columns)})".encode())
        with connection.cursor().copy(b"COPY rows FROM STDIN") as copy:
            for number, row in enumerate(batch.to_pylist()):
                copy.write_row([number, *row.values()])
        query = f"SELECT * FROM ({to_sql(model, 'rows', ['row_number'])}) AS scored ORDER BY row_number"
        cursor = connection.execute(query.encode())
        assert cursor.description is not None
        return dict(zip([one.name for one in cursor.description], zip(*cursor.fetchall(), strict=True), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_predictions_and_decisions_are_the_models(postgres: Path, case: str) -> None:
    model = model_of(case)
    batch = telling_rows(model).slice(0, 600)
    expected, found = model.to_table(model.predict_batch(batch)), predicted(postgres, model, batch)
    assert list(found)[1:] == expected.schema.names
    for name in expected.schema.names:
        ours, theirs = expected.column(name).to_pylist(), list(found[name])
        assert theirs == (pytest.approx(ours, rel=1e-11) if isinstance(ours[0], float) else ours), name


def test_what_underflows_is_no_error(postgres: Path) -> None:
    rows: dict[str, list[Any]] = {"x": [0.0, 1.0, 2.0, 3.0] * 20, "y": [1, 4, 20, 90] * 20}
    far = pa.RecordBatch.from_pydict({"x": [-2000.0, 0.0, 100.0]})
    counts = linear_of(bl.read(rows, target="y"), bl.Recipe("poisson", alpha=1e-6, holdout=0.0))
    two = linear_of(bl.read({**rows, "y": [k > 10 for k in rows["y"]]}, target="y"), bl.Recipe(alpha=1e-4, holdout=0.0))
    many = linear_of(bl.read({**rows, "y": list("uvwv") * 20}, target="y"), bl.Recipe(alpha=1e-4, holdout=0.0))
    for model in (counts, two, many):
        found = predicted(postgres, model, far)
        last = np.asarray([*found.values()][-1], dtype=float)
        ours = model.predict_batch(far).response
        assert last == pytest.approx(ours if ours.ndim == 1 else ours[:, -1], rel=1e-9, abs=1e-300)
