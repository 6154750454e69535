"""The backtest predicts production: the same policy, turned day by day around a disk, decides and trains the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.retraining.made import SETTINGS_TEXT, add_days, context, make_project, orders
from tests.retraining.made import turn as turned

from batchlearn.backtesting.cells import ModelKey
from batchlearn.backtesting.history import Arrivals, read_history
from batchlearn.backtesting.matrix import LossMatrix
from batchlearn.backtesting.replay import Durations, ReplayContext, replay
from batchlearn.models.files import load, read_model
from batchlearn.progress import finish
from batchlearn.retraining.policies import Action
from batchlearn.retraining.policies.text import parse_policy
from batchlearn.retraining.sources.label_times import shown_instant
from batchlearn.tables.table import read
from batchlearn.training.recipe import Recipe

DAYS, TURN = 50, 25
# What passes the gate goes live, and a margin so large passes it always here: the backtest has no gate.
GATE = '[gate]\nmode = "non-inferiority"\nmargin = 0.99\npromote = "auto"\nshare = 0.5\n\n[review]\nof = []\n\n'
NO_TIME = ReplayContext(Durations((1, 10_000), (0.0, 0.0)))


def world() -> pa.Table:
    """Orders of a world that turns over."""
    return pa.concat_tables([orders(0, TURN), orders(TURN, DAYS, slope=-1.5)])


def predicted(text: str) -> tuple[LossMatrix, dict[float, bool], list[float]]:
    """Return the matrix, what a policy decides as of each edge, and when it trains."""
    table = read(world(), target="bought", time="seen", drop=["user"])
    history = read_history(table, Arrivals("known"), "2d", 0.2)
    matrix = LossMatrix(history, Recipe(alpha=0.01, holdout=0.0), 1)
    run = finish(replay(text, parse_policy(text), matrix, NO_TIME))
    assert not any(one.refused for one in run.decisions)
    return matrix, {one.now: one.decision.retrain for one in run.decisions}, [one.now for one in run.models]


@pytest.mark.parametrize("start", ["scratch", "warm"])
@pytest.mark.parametrize("text", ["rows 400", "every 6d", "decay 0.05", "all(every 6d, gain 2)", "drift psi 0.05"])
def test_day_by_day_production_does_what_was_predicted(text: str, start: str, tmp_path: Path) -> None:
    matrix, decided, trained = predicted(f"{text} with start={start}" if start != "scratch" else text)
    assert len(trained) > 1 or text.startswith("drift")
    make_project(
        tmp_path,
        SETTINGS_TEXT,
        {'[policy]\nwhen = "rows"\nrows = 300': f'{GATE}[policy]\nwhen = "{text}"\nstart = "{start}"'},
    )
    add_days(tmp_path, 0, TURN)
    add_days(tmp_path, TURN, DAYS, slope=-1.5)
    models, live = [], {}
    for now in decided:
        found = turned(tmp_path, shown_instant(now, stamped=True)[:10])
        live[now] = found.version is not None
        if found.version is not None:
            assert found.promoted, found.gate
            models.append(load(tmp_path / "versions" / f"{found.version:06d}" / "model"))
    assert live == decided
    whole = world()
    for at, (now, model) in enumerate(zip(trained, models, strict=True)):
        edge = int(np.searchsorted(matrix.history.edges, now))
        ours = finish(matrix.trained(ModelKey(Action(start="scratch" if at == 0 else start), edge)))
        if start == "scratch" or at == 0:
            assert ours.model.parameters.tobytes() == model.parameters.tobytes()
            continue
        # Both are near the optimum of the same rows: no prediction of these differs by more than the two bounds.
        learned = whole.filter(pc.less_equal(whole["known"], pa.scalar(int(now), pa.timestamp("us"))))
        predicted_here, predicted_live = (one.predict(learned).response for one in (ours.model, model))
        mine, other = ours.prediction_bound, found_bound(tmp_path, at + 1)
        assert mine is not None
        assert np.max(np.abs(predicted_here - predicted_live)) <= mine + other


def found_bound(root: Path, version: int) -> float:
    """Return by how much any predictor of a version is off at most, as its model has it on record."""
    record = read_model(root / "versions" / f"{version:06d}" / "model").record
    return float(record["certificate"]["prediction_bound"])


def test_the_same_rows_are_read(tmp_path: Path) -> None:
    make_project(tmp_path)
    pq.write_table(world(), tmp_path / "data" / "all.parquet")
    matrix, _, _ = predicted("never")
    now = float(matrix.history.edges[3])
    given = context(tmp_path, shown_instant(now, stamped=True)[:10])
    ours = matrix.history.rows(now).table(matrix.history.times.labelled_by(now))
    theirs = given.source.table(given.source.times().labelled_by(now))
    columns = ["seen", "size", "colour", "bought"]
    one, other = (pa.Table.from_batches(table.scan(columns)).to_pylist() for table in (ours, theirs))
    assert one == other
