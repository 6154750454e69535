"""`batchlearn train` beside gradient boosting with its defaults and one-hot linear models, on the same split.

    python benchmarks/boosting.py [--write] [set ...]

The proper score on the later rows, and the share of (constant - boosting) that each recovers, which is the fair measure
where boosting is near zero. `--write` puts the table into docs/boosting.md.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pandas as pd
from data_sets import DataSet
from peers import Score, frames, linear, predicted, score
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from tables import make_table, train

PAGE = Path(__file__).resolve().parents[1] / "docs" / "boosting.md"
HEAD = (
    "| set | s | coefficients | pairs | bound | batchlearn | interval | boosting | its s | linear | constant | "
    "against boosting | share |\n|---|---:|---:|---:|---:|---:|---|---:|---:|---:|---:|---:|---:|"
)
# What scikit-learn's histogram boosting takes as categories.
MOST_LEVELS = 250


def boosting(data: DataSet) -> Score:
    """Fit histogram gradient boosting with its defaults; categories as such where it can take them, else as codes."""
    frame, label, late = frames(data)
    for name in frame.columns:
        if pd.api.types.is_string_dtype(frame[name]):
            levels = frame[name].astype(object).fillna("(missing)").astype("category")
            many = len(levels.cat.categories) > MOST_LEVELS
            frame[name] = levels.cat.codes.astype("float64") if many else levels
        else:
            frame[name] = frame[name].astype("float64")
    model = {
        "binary": HistGradientBoostingClassifier(random_state=0),
        "count": HistGradientBoostingRegressor(loss="poisson", random_state=0),
        "regression": HistGradientBoostingRegressor(random_state=0),
    }[data.task]
    began = time.perf_counter()
    model.fit(frame[~late], label[~late])
    seconds = time.perf_counter() - began
    found = score(data.task, label[late], predicted(model, data.task, frame[late]))
    return Score(type(model).__name__, found, seconds, frame.shape[1])


def line(data: DataSet) -> str:
    """Return one row of the table."""
    found, seconds, _ = train(data)
    name, own = next(iter(found["evaluation"]["metrics"].items()))
    constant = found["evaluation"]["baselines"]["constant"][name]["value"]
    trees, plain = boosting(data), linear(data)
    gap = constant - trees.score
    share = f"{(constant - own['value']) / gap:.1%}" if gap > 0.0 else "boosting gains nothing"
    bound = found["certificate"]["loss_bound"]
    cells = [
        data.name, f"{seconds:.1f}", f"{found['coefficients']:,}", str(len(found["structure"]["pairs"])),
        "none" if bound is None else f"{bound:.0e}", f"{own['value']:.4g}", f"{own['low']:.4g} to {own['high']:.4g}",
        f"{trees.score:.4g}", f"{trees.seconds:.1f}", f"{plain.score:.4g}", f"{constant:.4g}",
        f"{own['value'] / trees.score - 1.0:+.1%}", share,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    make_table(sys.argv[1:], HEAD, line, PAGE)
