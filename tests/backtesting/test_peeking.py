"""A policy that looks at what is still to come is refused where that can be seen: what it holds, what it opens."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.backtesting.made import RECIPE, history_of, opened, stream

import batchlearn as bl
from batchlearn.backtesting.backtest import iter_backtest
from batchlearn.backtesting.peeking import FileWatch, refuse_later_rows
from batchlearn.backtesting.plan import BacktestPlan
from batchlearn.errors import UsageError
from batchlearn.formatting.notes import recorded
from batchlearn.progress import finish
from batchlearn.retraining.policies import Decision, Policy, Situation
from batchlearn.retraining.policies.combined import AnyOf
from batchlearn.retraining.policies.text import parse_policies

KEEP = Decision(False, (recorded("kept"),))
EVERYTHING = stream(40)


@dataclass(frozen=True)
class Holding:
    """Made with something, which it need not even look at."""

    held: object

    def __str__(self) -> str:
        return "Holding"

    def decide(self, situation: Situation) -> Decision:
        del situation
        return KEEP


@dataclass(frozen=True, slots=True)
class Slotted:
    """Has no dictionary of attributes."""

    held: object

    def decide(self, situation: Situation) -> Decision:
        del situation
        return KEEP


class AroundIt:
    """Looks at rows of its module."""

    def decide(self, situation: Situation) -> Decision:
        del situation
        return Decision(EVERYTHING.num_rows > 10**9, (recorded("counted"),))


def early(rows: pa.Table) -> pa.Table:
    return rows.slice(0, 200)


LATER: dict[str, Callable[[pa.Table], object]] = {
    "table": lambda rows: rows,
    "some rows of it": lambda rows: rows.slice(700, 50),
    "labels without times": lambda rows: rows.select(["bought"]).slice(0, 20),
    "within a dict": lambda rows: {"all": [early(rows), rows]},
    "opened": opened,
    "a column": lambda rows: np.asarray(rows.column("size")),
    "columns by name": lambda rows: {"when": rows.column("seen").to_pylist()},
}
EARLIER: dict[str, Callable[[pa.Table], object]] = {
    "rows known at first": early,
    "a calendar": lambda _: pa.table({"seen": np.array(["2027-01-01"], "datetime64[us]"), "holiday": [True]}),
    "numbers": lambda _: [0.5, {"a": np.arange(5.0)}],
    "nothing": lambda _: None,
}


@pytest.mark.parametrize("kind", LATER)
@pytest.mark.usefixtures("nothing_trained")
def test_a_policy_that_holds_later_rows_is_refused_before_a_model_is_trained(kind: str) -> None:
    policies: list[Policy] = [AnyOf(bl.Never(), Holding(LATER[kind](EVERYTHING)))]
    with pytest.raises(UsageError, match=r"holds a .*situation\.evidence") as refused:
        finish(iter_backtest(opened(EVERYTHING), policies, RECIPE, BacktestPlan(windows="3d"), threads=1))
    assert refused.value.code == "policy-peeks"


@pytest.mark.parametrize("kind", EARLIER)
def test_what_had_arrived_and_what_is_no_row_may_be_held(kind: str) -> None:
    refuse_later_rows("Holding", Holding(EARLIER[kind](EVERYTHING)), history_of(EVERYTHING))


@pytest.mark.parametrize("policy", [AroundIt(), Slotted({"rows": EVERYTHING})], ids=["around", "slots"])
def test_rows_around_the_method_and_in_slots_are_seen(policy: Policy) -> None:
    with pytest.raises(UsageError) as refused:
        refuse_later_rows("Mine", policy, history_of(EVERYTHING))
    assert refused.value.code == "policy-peeks"


OWN = """\
import pyarrow.parquet as pq
from batchlearn.formatting.notes import recorded
from batchlearn.retraining.policies import Decision


class Mine:
    def decide(self, situation):
        if situation.trained is not None:
            {look}
        return Decision(situation.trained is None, (recorded("said so"),))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="files are watched by inotify")
@pytest.mark.parametrize(
    ("look", "peeks"),
    [
        ('pq.read_table("{path}")', True),  # not by Python's open
        ('open("{path}", "rb").close()', True),
        ("situation.evidence.losses(), situation.evidence.samples(), situation.evidence.bracket()", False),
        ('open("{other}").close()', False),
    ],
)
def test_a_policy_that_reads_the_files_of_the_table_is_refused(look: str, peeks: bool, tmp_path: Path) -> None:
    path, other = tmp_path / "rows.parquet", tmp_path / "holidays.txt"
    pq.write_table(EVERYTHING, path)
    other.write_text("none")
    (tmp_path / "own.py").write_text(OWN.format(look=look.format(path=path, other=other)))
    table = bl.read(path, target="bought", time="seen", drop=["known"])
    steps = iter_backtest(
        table, parse_policies("never; own.py:Mine", str(tmp_path)), RECIPE, BacktestPlan(windows="6d"), threads=1
    )
    if not peeks:
        assert finish(steps).outcome("own.py:Mine").retrains == 0
        return
    with pytest.raises(UsageError, match=r"read 'rows\.parquet' while it was asked") as refused:
        finish(steps)
    assert refused.value.code == "policy-peeks"


def before_evidence(watch: FileWatch, path: Path) -> None:
    """Read as a policy may, then ask for evidence."""
    path.read_text()
    with watch.ours():
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="files are watched by inotify")
def test_our_own_reading_is_none_of_the_policys(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text("rows")
    with FileWatch([path]) as watch:
        with watch.refused("A"), watch.ours():
            path.read_text()
        with pytest.raises(UsageError), watch.refused("B"):
            before_evidence(watch, path)
    with watch.refused("C"):
        path.read_text()  # nobody watches any more
