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

from batchlearn.backtesting.history import Arrivals, read_history
from batchlearn.backtesting.matrix import LossMatrix
from batchlearn.backtesting.replay import Durations, PolicyRun, ReplayContext, replay
from batchlearn.models.files import load, read_model
from batchlearn.progress import finish
from batchlearn.retraining.policies import Action
from batchlearn.retraining.policies.combined import With
from batchlearn.retraining.policies.text import parse_policy
from batchlearn.retraining.sources.label_times import shown_instant
from batchlearn.retraining.verdict import Gate
from batchlearn.tables.table import read
from batchlearn.training.recipe import Recipe

DAYS, TURN = 50, 25
# What passes the gate goes live, and a margin so large passes it always here: the backtest has no gate.
GATE = '[gate]\nmode = "non-inferiority"\nmargin = 0.99\npromote = "auto"\nshare = 0.5\n\n[review]\nof = []\n\n'
NO_TIME = ReplayContext(Durations((1, 10_000), (0.0, 0.0)))


def world(days: int = DAYS) -> pa.Table:
    """Orders of a world that turns over."""
    return pa.concat_tables([orders(0, TURN), orders(TURN, days, slope=-1.5)])


def predicted(
    text: str, gate: Gate | None = None, windows: str = "2d", days: int = DAYS
) -> tuple[LossMatrix, PolicyRun]:
    """Return the matrix, and what a policy is said to do."""
    table = read(world(days), target="bought", time="seen", drop=["user"])
    history = read_history(table, Arrivals("known"), windows, 0.2)
    matrix = LossMatrix(history, Recipe(alpha=0.01, holdout=0.0), 1, gate=gate, share=0.5)
    run = finish(replay(text, parse_policy(text), matrix, NO_TIME))
    assert not any(one.refused for one in run.decisions)
    return matrix, run


TEXTS = ("rows 400", "every 6d", "decay 0.05", "all(every 6d, gain 2)", "drift psi 0.05")
ACTIONS = (
    *((text, Action(start=start)) for text in TEXTS for start in ("scratch", "warm")),
    *(("rows 400", Action(start=start, half_life="6d")) for start in ("scratch", "warm")),
    *(("rows 400", Action(start=start)) for start in ("fine-tune", "online")),
)


@pytest.mark.parametrize(("text", "action"), ACTIONS, ids=[f"{text} with {action}" for text, action in ACTIONS])
def test_day_by_day_production_does_what_was_predicted(text: str, action: Action, tmp_path: Path) -> None:
    matrix, run = predicted(str(With(parse_policy(text), action)))
    decided = {one.now: one.decision.retrain for one in run.decisions}
    assert len(run.models) > 1 or text.startswith("drift")
    faded = "" if action.half_life is None else f'\nhalf_life = "{action.half_life.written}"'
    wanted = f'{GATE}[policy]\nwhen = "{text}"\nstart = "{action.start}"{faded}'
    make_project(tmp_path, SETTINGS_TEXT, {'[policy]\nwhen = "rows"\nrows = 300': wanted})
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
    for at, (one, model) in enumerate(zip(run.models, models, strict=True)):
        if at == 0 and action.half_life is not None:
            continue  # production begins with a model of the policy, the backtest with one of all policies
        ours = finish(matrix.trained(one.key))
        if action.start in ("scratch", "fine-tune", "online") or at == 0:
            assert ours.model.parameters.tobytes() == model.parameters.tobytes()
            continue
        # Both are near the optimum of the same rows: no prediction of these differs by more than the two bounds.
        learned = whole.filter(pc.less_equal(whole["known"], pa.scalar(int(one.now), pa.timestamp("us"))))
        predicted_here, predicted_live = (each.predict(learned).response for each in (ours.model, model))
        mine, other = ours.prediction_bound, found_bound(tmp_path, at + 1)
        assert mine is not None
        assert np.max(np.abs(predicted_here - predicted_live)) <= mine + other


NON_INFERIOR = Gate("non-inferiority", margin=0.02, promote="auto")
JUDGED = (
    *((text, Gate(promote="auto"), "2d", DAYS) for text in ("rows 250", "decay 0.05", "rows 250 with rows=new")),
    ("rows 250 with start=warm", NON_INFERIOR, "2d", DAYS),
    ("every 20d", Gate("anytime", promote="auto"), "1d", 62),
)


@pytest.mark.parametrize(("text", "gate", "windows", "days"), JUDGED, ids=[f"{one[0]} {one[1].mode}" for one in JUDGED])
def test_a_gate_says_what_it_says_in_production(text: str, gate: Gate, windows: str, days: int, tmp_path: Path) -> None:
    _, run = predicted(text, gate, windows, days)
    margin = "" if gate.margin is None else f"margin = {gate.margin}\n"
    settings = f'[gate]\nmode = "{gate.mode}"\n{margin}promote = "auto"\nshare = 0.5\n\n[review]\nof = []\n\n'
    when = f'{settings}[policy]\nwhen = "{text}"\nstructure = "keep"'
    make_project(tmp_path, SETTINGS_TEXT, {'[policy]\nwhen = "rows"\nrows = 300': when})
    add_days(tmp_path, 0, TURN)
    add_days(tmp_path, TURN, days, slope=-1.5)
    verdicts = set()
    for one in run.decisions:
        found = turned(tmp_path, shown_instant(one.now, stamped=True)[:10])
        trained = found.decision == "retrain"
        assert (trained, found.promoted) == (one.decision.retrain, one.live is not None), found.reason
        if one.judged is not None:
            ours, theirs = one.judged.verdict, found.gate
            assert theirs is not None
            assert (ours.verdict, ours.rows) == (theirs.verdict, theirs.rows)
            assert (ours.difference is None) == (theirs.difference is None)
            if ours.difference is not None:
                # From scratch both are the same models; warm ones are near one optimum, each by its certificate.
                assert ours.difference == pytest.approx(theirs.difference, abs=1e-3 if "warm" in text else 1e-12)
            assert [note.code for note in one.judged.alarms] == [note.code for note in found.alarms]
            verdicts.add(ours.verdict)
        elif not one.decision.retrain:
            assert found.gate is None
    assert "promote" in verdicts or text.endswith("rows=new")


def found_bound(root: Path, version: int) -> float:
    """Return by how much any predictor of a version is off at most, as its model has it on record."""
    record = read_model(root / "versions" / f"{version:06d}" / "model").record
    return float(record["certificate"]["prediction_bound"])


def test_the_same_rows_are_read(tmp_path: Path) -> None:
    make_project(tmp_path)
    pq.write_table(world(), tmp_path / "data" / "all.parquet")
    matrix, _ = predicted("never")
    now = float(matrix.history.edges[3])
    given = context(tmp_path, shown_instant(now, stamped=True)[:10])
    ours = matrix.history.rows(now).table(matrix.history.times.labelled_by(now))
    theirs = given.source.table(given.source.times().labelled_by(now))
    columns = ["seen", "size", "colour", "bought"]
    one, other = (pa.Table.from_batches(table.scan(columns)).to_pylist() for table in (ours, theirs))
    assert one == other
