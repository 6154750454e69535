"""Estimators of the user's go through a backtest: what they cannot do is said, and warm starts depend on their path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.backtesting.made import ROWS, opened, stream

from batchlearn.backtesting.backtest import iter_backtest
from batchlearn.backtesting.history import Arrivals
from batchlearn.backtesting.outcome import Backtest
from batchlearn.backtesting.plan import BacktestPlan
from batchlearn.formatting.notes import Code
from batchlearn.progress import finish
from batchlearn.retraining.policies.text import parse_policies
from batchlearn.tables.table import Table, read
from batchlearn.training.recipe import Recipe

POLICIES = "never; every 6d; every 12d with start=warm; decay 0.05; gain 3; drift psi 0.05"
PIPELINE = """\
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def classes():
    return make_pipeline(StandardScaler(with_mean=False), LogisticRegression(max_iter=200))


def numbers():
    return make_pipeline(StandardScaler(with_mean=False), Ridge())


class Fussy(LogisticRegression):
    def predict_proba(self, rows):
        if rows.max() > 50.0:
            raise ValueError("a size above 50")
        return super().predict_proba(rows)


def fussy():
    return Fussy()
"""


def boosted(kind: str) -> Recipe:
    pytest.importorskip("lightgbm", reason="the extra lightgbm is not installed")
    return Recipe(model=f"lightgbm.LGBM{kind}", set={"n_estimators": 20, "n_jobs": 1, "verbose": -1})


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file that makes pipelines; a module of its name is there once."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "pipelines_of_backtests.py").write_text(PIPELINE)
    return folder


def pipeline(folder: Path, built: str) -> Recipe:
    return Recipe(model=f"pipelines_of_backtests.py:{built}", folder=str(folder))


def run(table: Table, recipe: Recipe, policies: str, **plan: Any) -> Backtest:
    return finish(iter_backtest(table, parse_policies(policies), recipe, BacktestPlan(**plan), threads=1))


@pytest.mark.parametrize("kind", ["boosted", "pipeline"])
def test_an_estimator_takes_part(kind: str, code: Path) -> None:
    recipe = boosted("Classifier") if kind == "boosted" else pipeline(code, "classes")
    found = run(opened(stream(60, turns=(30,))), recipe, POLICIES, windows="6d")
    never, every, warm, decay, gain, drift = found.policies
    assert never.loss.value is not None
    assert every.loss.value is not None
    assert every.loss.value < never.loss.value
    assert every.run.path_dependent is False
    # Boosting goes on from its trees, which no other policy has; the pipeline cannot, and is trained from scratch.
    assert warm.run.path_dependent
    assert {model.cell.start for model in warm.run.retrained} == {"warm" if kind == "boosted" else "scratch"}
    assert decay.retrains > 0
    assert gain.retrains == 0
    assert "not known" in gain.run.decisions[-1].decision.reason
    assert drift.run.decisions[-1].decision.reason
    assert all(model.cell.loss_bound is None for model in every.run.models)


def test_what_an_estimator_cannot_do_is_refused_and_said() -> None:
    found = run(opened(stream(40)), boosted("Classifier"), "never; every 6d with regime=1", windows="6d")
    assert found.policies[1].retrains == 0
    assert any("batch_size" in str(note) for note in found.notes)


def test_a_window_that_an_estimator_cannot_score_is_missing_and_said(code: Path) -> None:
    rows = stream(40)
    day = np.arange(rows.num_rows) // ROWS
    size = np.where((day >= 28) & (day < 30), 100.0, rows.column("size").to_numpy())
    table = opened(rows.set_column(2, "size", pa.array(size)))
    found = run(table, pipeline(code, "fussy"), "never; every 8d", windows="4d")
    judged = found.by_window(found.policies[0].run.losses)
    lacking = np.unique(day[found.history.place[~found.judged & (found.history.seen > found.history.edges[0])]])
    assert set(lacking) >= {28, 29}
    assert len(lacking) <= 8, "the two windows that hold such rows, and no other"
    assert np.isfinite(judged[[0, -1]]).all()
    (note,) = (note for note in found.notes if note.code is Code.ROWS_NOT_SCORED)
    assert "a size above 50" in str(note)
    assert note.values["rows"] == np.sum(np.isin(day, lacking) & ~found.judged)


SETS: dict[str, dict[str, Any]] = {
    "bike_sharing_hour": {"target": "cnt", "time": "timestamp", "drop": ["casual", "registered"]},
    "hotel_bookings": {
        "target": "is_canceled",
        "time": "booking_date",
        "drop": ["reservation_status", "assigned_room_type", "orig_row", "company", "agent"],
        "where": "booking_date >= '2015-07-01' and booking_date <= '2016-01-31'",
    },
}


@pytest.mark.parametrize("kind", ["ours", "boosted", "pipeline"])
@pytest.mark.parametrize("name", SETS)
def test_real_tables_go_through(name: str, kind: str, code: Path, shared_data: Path) -> None:
    classes = name == "hotel_bookings"
    if kind == "ours":
        recipe = Recipe(alpha=0.001)
    elif kind == "boosted":
        recipe = boosted("Classifier" if classes else "Regressor")
    else:
        recipe = pipeline(code, "classes" if classes else "numbers")
    arrivals = Arrivals("reservation_status_date") if classes else Arrivals()
    table, plan = read(shared_data / f"{name}.parquet", **SETS[name]), {"windows": 5, "holdout": 0.4}
    found = run(table, recipe, "never; every 28d; decay 0.05", arrivals=arrivals, **plan)
    assert [one.run.name for one in found.policies] == ["never", "every 28d", "decay 0.05"]
    assert all(one.loss.value is not None for one in found.policies)
    assert found.recommendation.later.keys() == {"never", "every window"}
