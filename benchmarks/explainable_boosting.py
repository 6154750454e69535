"""`batchlearn train` beside interpret's explainable boosting machine, on the same earlier and later rows.

    python -m venv --system-site-packages ebm && ebm/bin/pip install interpret-core
    OMP_NUM_THREADS=1 ebm/bin/python benchmarks/explainable_boosting.py [--runs 3] [set ...]

Both have two jobs and take turns in one run; seconds are medians. Those of batchlearn are of the whole command (start,
reading, choosing, two fits, two certificates, evaluation, saving), those of the other of one `fit` of data in memory.
"""

from __future__ import annotations

import sys
import time
from statistics import median

import pandas as pd
from data_sets import DataSet, data_sets
from interpret.glassbox import ExplainableBoostingClassifier, ExplainableBoostingRegressor
from table_rivals import frames, predicted, score
from tables import train

JOBS = 2
SETS = ("adult", "noaa_weather", "chicago_taxi_15k", "bank_marketing")
HEAD = (
    "| set | batchlearn | interval | explainable boosting | against it | s | its s | times faster |\n"
    "|---|---:|---|---:|---:|---:|---:|---:|"
)


def explainable_boosting(data: DataSet) -> tuple[float, float]:
    """Fit the machine with its defaults; return its score on the later rows and the seconds of the fit."""
    frame, label, late = frames(data)
    for name in frame.columns:
        text = pd.api.types.is_string_dtype(frame[name])
        frame[name] = frame[name].astype(object).fillna("(missing)") if text else frame[name].astype("float64")
    if data.task == "binary":
        model = ExplainableBoostingClassifier(n_jobs=JOBS, random_state=0)
    else:
        objective = "poisson_deviance" if data.task == "count" else "rmse"
        model = ExplainableBoostingRegressor(objective=objective, n_jobs=JOBS, random_state=0)
    began = time.perf_counter()
    model.fit(frame[~late], label[~late])
    seconds = time.perf_counter() - began
    return score(data.task, label[late], predicted(model, data.task, frame[late]), model), seconds


def line(data: DataSet, runs: int) -> str:
    """Return one row of the table."""
    own, theirs, value = [], [], float("nan")
    for _ in range(runs):
        found, seconds, _ = train(data)
        own.append(seconds)
        value, seconds = explainable_boosting(data)
        theirs.append(seconds)
    mine = next(iter(found["evaluation"]["metrics"].values()))
    cells = [
        data.name, f"{mine['value']:.4g}", f"{mine['low']:.4g} to {mine['high']:.4g}", f"{value:.4g}",
        f"{mine['value'] / value - 1.0:+.1%}", f"{median(own):.1f}", f"{median(theirs):.1f}",
        f"{median(theirs) / median(own):.1f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    words = sys.argv[1:]
    runs = int(words.pop(words.index("--runs") + 1)) if "--runs" in words else 3
    wanted = [word for word in words if word != "--runs"] or list(SETS)
    print(HEAD, flush=True)
    for data in data_sets():
        if data.name in wanted:
            print(line(data, runs), flush=True)
