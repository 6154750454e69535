"""`batchlearn train` beside gradient boosting with its defaults and one-hot linear models, on the same split.

    python benchmarks/boosting.py [--write] [set ...]

All sets of the catalogue, or those named. The proper score on the later rows (log loss, Poisson deviance or mean
squared error), and the share of (constant - boosting) that is recovered, the fair measure where boosting is near zero.
Classes that the earlier rows never show are left out of the score of all, and counted. A peer that takes longer than a
minute is stopped. `--write` puts the table into docs/boosting.md, line by line as sets are done: an interruption
loses no line.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from data_sets import DataSet, data_sets
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from table_rivals import Score, frames, linear, predicted, score, seen
from tables import make_table, train

PAGE = Path(__file__).resolve().parents[1] / "docs" / "boosting.md"
HEAD = (
    "| set | s | coefficients | pairs | bound | batchlearn | interval | boosting | its s | linear | its s | constant | "
    "against boosting | share | unseen |\n|---|---:|---:|---:|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|"
)
# What scikit-learn's histogram boosting takes as categories.
MOST_LEVELS = 250
LONGEST = 60.0  # seconds for a peer on one set, reading included


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
    if data.task == "count":
        model = HistGradientBoostingRegressor(loss="poisson", random_state=0)
    elif data.task == "regression":
        model = HistGradientBoostingRegressor(random_state=0)
    else:
        model = HistGradientBoostingClassifier(random_state=0)
    began = time.perf_counter()
    model.fit(frame[~late], label[~late])
    seconds = time.perf_counter() - began
    judged = late & seen(label, late, data.task)
    found = score(data.task, label[judged], predicted(model, data.task, frame[judged]), model)
    return Score(type(model).__name__, found, seconds, frame.shape[1])


def limited(work: Callable[[DataSet], Score], data: DataSet) -> Score | None:
    """Return a peer's score, or None where it was stopped: it runs in a process of its own."""
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=lambda: theirs.send(work(data)))
    process.start()
    theirs.close()
    try:
        return mine.recv() if mine.poll(LONGEST) else None
    finally:
        process.kill()
        process.join()


def line(data: DataSet) -> str:
    """Return one row of the table."""
    found, seconds, _ = train(data)
    trees, plain = limited(boosting, data), limited(linear, data)
    _, label, late = frames(data)
    unseen = int((late & ~seen(label, late, data.task)).sum())
    beside = []
    for peer in (trees, plain):
        beside += ["", f"over {LONGEST:.0f}"] if peer is None else [f"{peer.score:.4g}", f"{peer.seconds:.1f}"]
    evaluation = found.get("evaluation")
    if "error" in found or evaluation is None:
        why = found["error"]["message"] if "error" in found else "no evaluation"
        return f"| {data.name} | {seconds:.1f} | | | | {why} | | {' | '.join(beside)} | | | | {unseen} |"
    name, own = next(iter(evaluation["metrics"].items()))
    constant = evaluation["baselines"]["constant"][name]["value"]
    against = share = ""
    if trees is not None:
        gap = constant - trees.score
        share = f"{(constant - own['value']) / gap:.1%}" if gap > 0.0 else "boosting gains nothing"
        against = f"{own['value'] / trees.score - 1.0:+.1%}"
    bound = found["certificate"]["loss_bound"]
    cells = [
        data.name, f"{seconds:.1f}", f"{found['coefficients']:,}", str(len(found["structure"]["pairs"])),
        "none" if bound is None else f"{bound:.0e}", f"{own['value']:.4g}", f"{own['low']:.4g} to {own['high']:.4g}",
        *beside, f"{constant:.4g}", against, share, str(unseen),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    np.seterr(all="ignore")  # the peers' own warnings are theirs
    make_table(sys.argv[1:], HEAD, line, PAGE, data_sets(("binary", "count", "regression", "multiclass")))
