"""A backtest as a whole: what it finds in worlds that are known, and what it says of what is missing."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.backtesting.made import DAY, RECIPE, history_of, opened, stream

import batchlearn as bl
from batchlearn.backtesting.backtest import iter_backtest
from batchlearn.backtesting.cells import MatrixCell
from batchlearn.backtesting.outcome import Backtest, choose
from batchlearn.backtesting.plan import BacktestPlan, Prices, default_policies
from batchlearn.backtesting.replay import PolicyRun
from batchlearn.errors import BatchlearnError, DataError, UsageError
from batchlearn.evaluation.intervals import resampling
from batchlearn.formatting.notes import Code, Note
from batchlearn.progress import finish
from batchlearn.retraining.policies import Doubling, Every, EveryRows, Never, Situation
from batchlearn.retraining.policies.combined import With
from batchlearn.retraining.policies.text import parse_policies

POLICIES = "never; every 3d; every 12d; rows 300; doubling; decay 0.05; every 12d with window=12d"


def run(rows: pa.Table, policies: str = POLICIES, **plan: Any) -> Backtest:
    given = {"windows": "3d", **plan}
    return finish(iter_backtest(opened(rows), parse_policies(policies), RECIPE, BacktestPlan(**given), threads=1))


def calm(seed: int, noise: float = 1.0) -> pa.Table:
    return stream(120, seed=seed, noise=noise, rows=60)


@pytest.mark.parametrize(("seed", "noise"), [(1, 1.0), (2, 3.0)], ids=["clear", "noisy"])
def test_in_a_world_that_stays_the_answer_is_never(seed: int, noise: float) -> None:
    found = run(calm(seed, noise), holdout=0.3)
    assert found.recommendation.policy == "never"
    assert [note.code for note in found.recommendation.reasons] == [Code.NO_POLICY_BEATS_ONCE, Code.CHOSEN_BY_FIRST]
    assert "No policy beats training once" in str(found)
    for later in found.recommendation.later.values():
        assert later.low is not None
        assert later.low <= 0.0


@pytest.mark.parametrize("turns", [(60,), (50, 80)], ids=["once", "twice"])
def test_where_the_world_turns_the_answer_is_not_never_and_the_turns_are_found(turns: tuple[int, ...]) -> None:
    found = run(stream(120, turns=turns, seed=4, rows=60), holdout=0.2)
    assert found.recommendation.policy != "never"
    later = found.recommendation.later["never"]
    # Of two turns the second one brings back what was learned first.
    assert later.high is not None
    assert len(turns) == 2 or later.high < 0.0
    edges, decay = found.history.edges, found.outcome("decay 0.05").run
    began = np.datetime64("2026-01-01", "us").astype(float)
    for turn in turns:
        at = began + turn * DAY
        assert any(at < edges[edge] <= at + 6 * DAY for edge in found.oracle.edges), "the oracle trains after the turn"
    first = began + turns[0] * DAY
    assert first < decay.retrained[0].now <= first + 12 * DAY, "decay fires after the turn and not before"


def test_no_path_free_policy_is_below_the_frontier() -> None:
    found = run(stream(80, turns=(40,), seed=4), f"{POLICIES}; every 6d with start=warm; every 6d with start=update")
    least = dict(found.oracle.frontier)
    for one in found.policies:
        assert not one.run.path_dependent
        reached = min(loss for retrains, loss in least.items() if retrains <= one.retrains)
        assert one.loss.value is not None
        assert one.loss.value >= reached - 1e-12
        assert one.regret.value is not None
        assert one.regret.value >= -1e-12
    assert found.oracle.loss == pytest.approx(min(least.values()), abs=1e-12)


def test_prices_decide_and_the_oracle_heeds_them() -> None:
    rows = stream(80, turns=(40,), seed=5)
    cheap, dear = (run(rows, prices=Prices(retrain=price, hour=0.01)) for price in (0.1, 1e6))
    assert dear.recommendation.policy == "never"
    assert cheap.recommendation.policy != "never"
    assert (dear.oracle.best.retrains, dear.oracle.edges) == (0, ())
    assert cheap.oracle.best.retrains > 0
    for found in (cheap, dear):
        assert found.prices is not None
        judged = found.judged
        for one in found.policies:
            assert one.cost == pytest.approx(
                found.prices.retrain * one.retrains
                + found.prices.hour * one.stale_hours
                + one.run.losses[judged] @ found.history.weight[judged]
            )
            assert one.cost is not None
            assert one.cost >= found.oracle.best.cost + found.prices.retrain * found.oracle.best.retrains - 1e-9


@pytest.mark.parametrize("prices", [None, Prices(retrain=0.5)], ids=["free", "priced"])
def test_reasons_of_a_choice_have_the_figures_of_the_windows_that_chose_and_say_so(prices: Prices | None) -> None:
    rows = stream(80, turns=(30,), seed=5)
    found = run(rows, "never; every 3d; every 9d", prices=prices, holdout=0.5)
    first, said = found.recommendation.reasons
    windows = found.history.windows
    kept = windows - round(0.5 * windows)
    assert said == Note(Code.CHOSEN_BY_FIRST, {"windows": kept, "of": windows})
    chosen, edge = found.outcome(found.recommendation.policy), found.history.edges[kept]
    retrained = sum(one.now < edge for one in chosen.run.retrained)
    assert first.values["retrains"] == retrained < chosen.retrains
    if prices is not None:
        assert chosen.cost is not None
        assert first.values["cost"] < chosen.cost
    all_choose = run(rows, "never; every 3d; every 9d", prices=prices).recommendation
    assert [note.code for note in all_choose.reasons] == [first.code]


@pytest.mark.parametrize(
    ("shares", "noise", "chosen"),
    [
        ({"never": 0.0040, "seldom": 0.0030, "often": 0.0}, 0.001, "never"),
        ({"never": 0.0080, "seldom": 0.0002, "often": 0.0}, 0.015, "often"),
        ({"never": 0.0500, "seldom": 0.0002, "often": 0.0}, 0.001, "seldom"),
        ({"never": 0.0500, "seldom": 0.0008, "often": 0.0}, 0.001, "often"),
        ({"never": 0.0040, "seldom": 0.0030, "often": 0.0}, 0.050, "never"),
    ],
    ids=["never is as good for certain", "seldom may do harm", "seldom does no harm for certain",
         "seldom does harm for certain", "nothing is known to beat never"],
)  # fmt: skip
def test_what_retrains_less_is_taken_where_it_is_known_to_do_no_harm(
    shares: dict[str, float], noise: float, chosen: str
) -> None:
    windows = 40
    rng = np.random.default_rng(0)
    moves = rng.normal(size=(len(shares), windows))
    moves -= moves.mean(axis=1, keepdims=True)
    losses = [
        np.repeat(1.0 + share + noise * move * (share > 0.0), 25)
        for share, move in zip(shares.values(), moves, strict=True)
    ]
    runs = [PolicyRun(name, Never(), (), (), lost, lost) for name, lost in zip(shares, losses, strict=True)]
    rows = np.ones(25 * windows, dtype=bool)
    blocks = resampling(len(rows), 0, clusters=np.repeat(np.arange(windows), 25))
    found, _ = choose(runs, None, [0, 3, 39], np.ones(len(rows)), rows, blocks)
    assert found.name == chosen


def test_hours_of_staleness_are_those_in_which_what_serves_is_older_than_a_window() -> None:
    found = run(stream(40), "never; every 3d; every 9d", windows="3d")
    windows, hours = found.history.windows, 72.0
    never, often, seldom = (one.stale_hours for one in found.policies)
    assert never == pytest.approx((windows - 1) * hours, abs=1.0)
    assert often == pytest.approx(0.0, abs=1.0)
    assert seldom == pytest.approx(2 * hours * (windows // 3) + max(windows % 3 - 1, 0) * hours, abs=1.0)


@pytest.mark.parametrize(
    ("text", "code"),
    [("retrain=-1", "cost-negative"), ("retrain=nan", "cost-negative"), ("day=3", "cost-unit"), ("5", "cost-unit")],
)
def test_a_price_that_is_negative_or_of_no_known_unit_is_refused(text: str, code: str) -> None:
    with pytest.raises(UsageError) as refused:
        Prices.parse(text)
    assert refused.value.code == code


def test_prices_are_read_by_their_units() -> None:
    assert Prices.parse("retrain=500, hour=2,loss=0.01") == Prices(500.0, 2.0, 0.01)
    assert Prices.parse("retrain=500").retrain_in_loss == 500.0


def test_what_age_costs_is_beside_new_models_on_the_same_windows() -> None:
    calm_ages, turned = run(calm(6)).freshness, run(stream(120, turns=(60,), seed=6)).freshness
    level = calm_ages[0].loss.value or 0.0
    assert all(one.loss.low is not None and one.loss.low <= level * 1.02 for one in calm_ages)
    last = turned[-1].loss
    assert last.low is not None
    assert last.low > (turned[0].loss.value or 0.0)
    ages = [one.age for one in turned]
    assert ages == [72.0 * (at + 0.5) for at in range(len(ages))]


def test_a_window_that_a_model_cannot_score_is_missing_and_said() -> None:
    rows = stream(60)
    seen = rows.column("seen").cast(pa.int64()).to_numpy()
    day = (seen - seen[0]) // DAY
    size = np.where((day >= 40) & (day < 42), np.inf, rows.column("size").to_numpy())
    found = run(rows.set_column(2, "size", pa.array(size)), "never; every 6d")
    lacking = found.judged[(found.history.seen > found.history.edges[0]) & np.isnan(found.policies[0].run.losses)]
    assert len(lacking)
    assert not lacking.any()
    codes = [note.code for note in found.notes]
    assert Code.ROWS_NOT_SCORED in codes
    means = found.by_window(found.policies[0].run.losses)
    assert np.isnan(means).sum() >= 1
    assert np.isfinite(means[-1]), "later windows are scored all the same"


def test_a_calendar_that_windows_do_not_fit_is_said_with_the_period_that_it_had() -> None:
    found = run(stream(60), "every 2d; every 6d; every 8d; every 6d with start=warm; rows 200", windows="4d")
    (note,) = (note for note in found.notes if note.code is Code.PERIODS_OFF_WINDOWS)
    assert note.values["ran"] == {"every 2d": 96.0, "every 6d": 192.0, "every 6d with start=warm": 192.0}
    assert "every 6d ran every 8 days" in str(note)
    gaps = np.diff([one.now for one in found.outcome("every 6d").run.models])
    assert set(gaps) == {8 * DAY}
    assert Code.PERIODS_OFF_WINDOWS not in [note.code for note in run(stream(40), "every 6d").notes]


def test_windows_without_labels_are_said() -> None:
    rows = stream(60)
    seen = rows.column("seen").cast(pa.int64()).to_numpy()
    gap = (seen - seen[0]) // DAY
    label = [
        None if 30 <= day < 42 else value for day, value in zip(gap, rows.column("bought").to_pylist(), strict=True)
    ]
    found = run(rows.set_column(4, "bought", pa.array(label)), "never; every 6d")
    (note,) = (note for note in found.notes if note.code is Code.WINDOWS_WITHOUT_LABELS)
    assert note.values["windows"] >= 3
    json.dumps(found.to_json(), allow_nan=False)


def test_the_record_has_the_shape_that_programs_read() -> None:
    found = run(stream(60, turns=(30,)), f"{POLICIES}; every 6d with rows=new").to_json()
    assert {"windows", "policies", "oracle", "baselines", "freshness", "recommendation"} <= found.keys()
    given = {"name", "loss", "low", "high", "metric", "retrains", "rows_read", "seconds", "regret_to_oracle"}
    assert all({*given, "path_dependent", "churn"} <= one.keys() for one in found["policies"])
    assert [one["path_dependent"] for one in found["policies"]] == [False] * 7 + [True]
    for one in found["policies"]:
        trained = [line for line in one["ledger"][1:] if line["decision"] == "retrain"]
        assert len(trained) == one["retrains"]
        assert sum(line["rows_read"] for line in trained) == one["rows_read"]
        assert all(line["reason"] and line["as_of"] for line in one["ledger"])
    assert found["baselines"].keys() == {"never", "every window", "last value"}
    assert found["freshness"][0].keys() >= {"age", "loss", "low", "high"}
    assert found["recommendation"].keys() >= {"policy", "reason"}
    json.dumps(found, allow_nan=False)


def test_without_policies_there_are_twelve_or_more_of_all_kinds() -> None:
    table = opened(stream(60, turns=(30,)))
    found = bl.backtest(table, model=RECIPE, plan=BacktestPlan(windows=8), threads=1)
    names = [one.run.name for one in found.policies]
    assert len(names) >= 12
    kinds = ("never", "every", "rows", "doubling", "decay", "drift", "gain", "warm", "window", "half_life", "online")
    for kind in kinds:
        assert any(kind in name for name in names), kind
    numbers = opened(stream(60).append_column("t", pa.array(np.arange(60.0 * 40))), time="t", drop=["seen", "known"])
    names = [one.run.name for one in bl.backtest(numbers, model=RECIPE, plan=BacktestPlan(windows=4)).policies]
    assert len(names) >= 12


def test_default_calendars_are_those_that_are_over_before_the_history_is() -> None:
    for windows, expected in ((2, 1), (3, 2), (5, 3), (9, 4)):
        history = history_of(stream(80), windows)
        length = float(np.diff(history.edges)[0])
        policies = default_policies(history, None)
        calendars = [one for one in policies if isinstance(one, Every)]
        assert len(calendars) == expected
        periods = [one.period for one in calendars]
        for one in policies:
            if isinstance(one, With):
                assert isinstance(one.policy, Every)
                periods.append(one.policy.period)
                periods += [] if one.action.window is None else [one.action.window]
        assert all(period.on(stamped=True) <= (windows - 1) * length for period in periods)
        assert len(set(map(str, policies))) == len(policies)


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize("windows", [2, 3, 5, 20])
def test_default_policies_that_wait_for_rows_are_due_at_an_edge(windows: int, late: bool) -> None:
    history = history_of(stream(40, delay=6), windows, late)
    begun, *_, last = history.edges[:-1]
    known, later = history.known_by(float(begun)), history.known_by(float(last))
    waiting = [one for one in default_policies(history, None) if isinstance(one, EveryRows | Doubling)]
    assert sum(isinstance(one, EveryRows) for one in waiting) == (later > known)
    for one in waiting:
        situation = Situation(float(last), float(begun), later - known, stamped=True, learned=known)
        assert one.decide(situation).retrain, str(one)
    (rows,) = (one.rows for one in waiting if isinstance(one, EveryRows))
    assert rows == pytest.approx(2 * (later - known) / (windows - 1), abs=1) or windows == 2


@pytest.mark.parametrize(
    ("policies", "plan", "code"),
    [
        ("never; never", {}, "policy-names"),
        ("every 100", {}, "span-unit"),
        ("forecast", {}, "policy-price"),
        ("never", {"delay": "5"}, "span-unit"),
    ],
)
def test_what_does_not_fit_is_refused(policies: str, plan: dict[str, Any], code: str) -> None:
    with pytest.raises(BatchlearnError) as refused:
        run(stream(40), policies, **plan)
    assert refused.value.code == code


@pytest.mark.parametrize("policies", ["every 3d; every 100", "never; none.py:Mine"])
@pytest.mark.usefixtures("nothing_trained")
def test_a_policy_that_cannot_decide_is_refused_before_a_model_is_trained(policies: str) -> None:
    with pytest.raises(UsageError):
        run(stream(40), policies)


def test_a_second_class_that_comes_after_the_first_training_is_said_with_the_remedy() -> None:
    rows = stream(40)
    late = np.where(np.arange(rows.num_rows) < rows.num_rows // 2, False, rows.column("bought").to_numpy(False))
    rows = rows.set_column(4, "bought", pa.array(late))
    with pytest.raises(
        DataError, match=r"known by .*2026-01-10.*larger share of the rows \(start=, --first\)"
    ) as refused:
        run(rows)
    assert refused.value.code == "one-class"
    assert run(rows, "never; every 9d", start=0.6).recommendation.policy


@pytest.mark.parametrize(("start", "holdout", "code"), [(0.0, 0.0, "start-range"), (0.2, 1.0, "holdout-range")])
def test_shares_out_of_range_are_refused(start: float, holdout: float, code: str) -> None:
    with pytest.raises(UsageError) as refused:
        BacktestPlan(start=start, holdout=holdout)
    assert refused.value.code == code


def test_weights_count_in_losses_and_in_the_oracle() -> None:
    rows = stream(60, turns=(30,))
    weight = np.where(np.arange(rows.num_rows) % 2 == 0, 3.0, 1.0)
    found = run(rows, "never; every 6d")
    heavy = finish(
        iter_backtest(
            opened(rows.append_column("weight", pa.array(weight)), weight="weight"),
            parse_policies("never; every 6d"),
            RECIPE,
            BacktestPlan(windows="3d"),
            threads=1,
        )
    )
    one = heavy.policies[0]
    judged = heavy.judged
    assert one.loss.value == pytest.approx(np.average(one.run.losses[judged], weights=weight[judged]))
    assert one.loss.value != pytest.approx(found.policies[0].loss.value)
    assert isinstance(one.run.models[0].cell, MatrixCell)
