"""A small made table with every kind of column, and the model folder of format 1 that every later version must load.

    PYTHONPATH=src:. python tests/models/made.py

writes tests/models/fixtures/linear-1 and linear-1.json anew. That is for the time before the first release: a released
format never changes, a new one gets a folder of its own beside it.
"""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from batchlearn.data.encoding_fit import EncodingRules
from batchlearn.tables.table import Table, read
from batchlearn.training.fit import Fit
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import train

FIXTURES = Path(__file__).parent / "fixtures"
GOLDEN = FIXTURES / "linear-1"
SCHEMA = pa.schema(
    [
        ("amount", pa.float64()),
        ("grade", pa.int64()),
        ("flag", pa.bool_()),
        ("colour", pa.string()),
        ("code", pa.string()),
        ("when", pa.timestamp("us")),
        ("lead", pa.float64()),
        ("worth", pa.float64()),
        ("late", pa.string()),
    ]
)
ROLES: dict[str, Any] = {"target": "late", "time": "when", "offset": "lead", "weight": "worth"}
# Small enough that `code` is hashed and the rare colours are pooled.
RULES = EncodingRules(minimum_rows=5, level_cap=8, buckets=3)


def made(rows: int = 300, seed: int = 0) -> pa.Table:
    """Return a table whose label depends on every column; some amounts, colours and flags are missing."""
    rng = np.random.default_rng(seed)
    colours = ["red", "green", "blue", "(rare)", "violet", "türkis", "line\nbreak", "\u202eback", ""]
    amount = np.exp(rng.normal(size=rows))
    colour = rng.choice(len(colours), size=rows, p=[0.3, 0.3, 0.2, 0.1, 0.04, 0.03, 0.01, 0.01, 0.01])
    code = rng.integers(0, 30, size=rows)
    hour = rng.integers(0, 24, size=rows)
    lead = rng.normal(size=rows)
    eta = np.log(amount) - 0.3 * colour + 0.1 * (code - 15) + 0.1 * (hour - 12) + lead
    late = rng.random(rows) < 1.0 / (1.0 + np.exp(-eta))
    first = datetime(2008, 1, 1)
    columns = {
        "amount": [None if u < 0.1 else float(a) for a, u in zip(amount, rng.random(rows), strict=True)],
        "grade": rng.integers(-3, 4, size=rows),
        "flag": [None if u < 0.1 else bool(u < 0.5) for u in rng.random(rows)],
        "colour": [None if u < 0.1 else colours[c] for c, u in zip(colour, rng.random(rows), strict=True)],
        "code": [f"{c:03d}" for c in code],
        "when": [first + timedelta(days=int(i // 4), hours=int(h)) for i, h in enumerate(hour)],
        "lead": lead,
        "worth": rng.integers(1, 4, size=rows).astype(np.float64),
        "late": np.where(late, "yes", "no").tolist(),
    }
    return pa.table(columns, schema=SCHEMA)


def asked() -> pa.Table:
    """Return rows to predict: as in training, with levels never seen, and with everything missing that may be."""
    rows = made(9, seed=1).to_pydict()
    rows["amount"][0] = None
    rows["grade"][1] = None
    rows["flag"][2] = None
    rows["colour"][3:6] = [None, "never seen", "violet"]
    rows["code"][5:7] = [None, "never seen"]
    rows["when"][7] = None
    rows["amount"][8] = 1e12
    return pa.table(rows, schema=SCHEMA)


def made_table(rows: int = 300, seed: int = 0) -> Table:
    """Return the made table with its roles."""
    return read(made(rows, seed), **ROLES)


def made_fit(rows: int = 300, seed: int = 0) -> Fit:
    """Train on the made table."""
    return train(made_table(rows, seed), Recipe(rules=RULES), threads=1)


def write() -> None:
    """Write the folder and what it predicts."""
    shutil.rmtree(GOLDEN, ignore_errors=True)
    fit = made_fit()
    fit.save(GOLDEN)
    predictions = fit.model.predict(asked(), bounds=True)
    assert predictions.bound is not None
    rows = asked().to_pydict()
    rows["when"] = [None if when is None else when.isoformat() for when in rows["when"]]
    golden = {
        "rows": rows,
        "predictor": [value.hex() for value in predictions.predictor.tolist()],
        "response": [value.hex() for value in predictions.response.tolist()],
        "bound": predictions.bound.tolist(),
    }
    (FIXTURES / "linear-1.json").write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
