"""Makes the frozen models and kept totals of a date: python -m tests.models.formats.make_fixtures FOLDER (once).

A folder a model, with the rows it was trained on, what is kept of them where something is, and what it predicts for
some of them: as `test_formats.py` beside this file reads it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from batchlearn.data.encoding_fit import EncodingRules
from batchlearn.models.decision import Costs
from batchlearn.retraining.cycle.continued import statistics_of
from batchlearn.tables.table import read
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import train
from batchlearn.updating.storage import dump

ROWS = 600
RECIPES = {
    # Curves, a pair, class weights, costs and people to ask.
    "additive": Recipe(
        loss="logistic",
        rules=EncodingRules(bins=8),
        class_weight={"yes": 2.0, "no": 1.0},
        costs=Costs(1.0, 5.0, 0.2),
        holdout=0.0,
    ),
    "classes": Recipe(alpha=0.001, holdout=0.0),
    "huber": Recipe(loss="huber", alpha=0.001, holdout=0.0),
    # Weights of forty on average; that of 2026-11 was made at 7721ba3, the last commit that took them as they come.
    "weighted": Recipe(loss="squared", rules=EncodingRules(bins=8), holdout=0.0),
}


def made(name: str) -> pa.Table:
    """Return rows with a number, some of them missing, a category and a label of the recipe's kind."""
    rng = np.random.default_rng(11)
    size, age = rng.normal(size=(2, ROWS))
    colour = rng.integers(0, 4, ROWS)
    eta = np.where(size > 0.0, 2.0, -2.0) * np.where(colour > 1, 1.0, -1.0) + 0.5 * age
    labels = {
        "additive": np.where(eta + rng.logistic(size=ROWS) > 0.0, "yes", "no"),
        "classes": np.array(["low", "middle", "high"])[np.digitize(eta + rng.logistic(size=ROWS), [-1.0, 1.0])],
        "huber": eta + rng.standard_t(2, size=ROWS),
        "weighted": eta + rng.normal(size=ROWS),
    }
    size[rng.random(ROWS) < 0.1] = np.nan
    table = pa.table(
        {
            "size": pa.array(size, from_pandas=True),
            "age": age,
            "colour": [("red", "green", "blue", "türkis")[k] for k in colour],
            "label": labels[name].tolist(),
        }
    )
    return table.append_column("worth", pa.array(rng.uniform(10.0, 70.0, ROWS))) if name == "weighted" else table


def main(folder: Path) -> None:
    for name, recipe in RECIPES.items():
        here = folder / name
        here.mkdir(parents=True)
        rows = made(name)
        table = read(rows, target="label", weight="worth" if "worth" in rows.column_names else None)
        fit = train(table, recipe, threads=1)
        assert fit.certificate.certified
        fit.save(here / "model")
        kept = statistics_of(fit, table, 1)
        if kept is not None:
            (here / "kept.safetensors").write_bytes(dump(kept))
        pq.write_table(rows, here / "rows.parquet", compression="zstd")
        predictions = fit.model.predict(rows.slice(0, 20), bounds=True)
        assert predictions.bound is not None
        said = {
            "fingerprint": fit.certificate.fingerprint,
            "predictor": [value.hex() for value in predictions.predictor.ravel().tolist()],
            "bound": predictions.bound.ravel().tolist(),
        }
        (here / "said.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
