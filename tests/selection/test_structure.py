"""The choice of structure: what the rows show is found, what they do not is left, and no other row is looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.training.made import labels, made, table_of

from batchlearn.data.encoding_fit import EncodingRules
from batchlearn.data.ledger import read_ledger
from batchlearn.data.split import SplitKind, hold_out, with_lots
from batchlearn.kernels.design import Floats
from batchlearn.progress import finish
from batchlearn.selection import structure as module
from batchlearn.selection.interactions import best_pairs
from batchlearn.selection.structure import FEWEST_ROWS, Structure, choose_structure

RULES = EncodingRules()
TASKS = ("squared", "logistic", "poisson")


def choose(
    columns: dict[str, Any],
    loss: str,
    *,
    seed: int = 0,
    threads: int = 1,
    part: Any = None,
    kind: SplitKind | None = None,
    **roles: Any,
) -> Structure:
    table = table_of(columns, **roles)
    ledger = with_lots(table, read_ledger(table, loss=loss))
    used = ledger.used if part is None else ledger.used & part
    return finish(choose_structure(table, ledger, used, RULES, threads, kind, seed))


def same(one: Structure, other: Structure) -> bool:
    """Whether two choices agree to the bit; seconds aside."""
    losses = [[(a.name, a.loss, a.degrees_of_freedom) for a in chosen.alternatives] for chosen in (one, other)]
    chosen = [(s.rules, s.pairs, dict(s.strengths)) for s in (one, other)]
    return losses[0] == losses[1] and chosen[0] == chosen[1]


def columns_of(X: Floats, label: Floats) -> dict[str, Any]:
    return {**{f"x{k}": X[:, k] for k in range(X.shape[1])}, "label": label}


def drawn(seed: int, n: int = 2000, columns: int = 3) -> tuple[np.random.Generator, Floats]:
    rng = np.random.default_rng(seed)
    return rng, rng.uniform(-2.0, 2.0, size=(n, columns))


def mixed(seed: int = 0, n: int = 900) -> dict[str, Any]:
    rng, X = drawn(seed, n)
    colour = rng.integers(0, 12, n)
    eta = np.where(X[:, 0] > 0.0, 1.0, -1.0) + X[:, 1] * X[:, 2] + rng.normal(size=12)[colour]
    offset = rng.normal(size=n)
    return {
        **columns_of(X, labels(rng, "logistic", eta + offset)),
        "colour": [f"c{k}" for k in colour],
        "weight": rng.integers(1, 4, n).astype(float),
        "offset": offset,
        "when": rng.permutation(n).astype(float),
    }


# --- what is found --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", TASKS)
def test_a_step_is_no_line(loss: str) -> None:
    rng, X = drawn(1)
    chosen = choose(columns_of(X, labels(rng, loss, np.where(X[:, 0] > 0.5, 3.0, -1.0) + 0.3 * X[:, 1])), loss)
    linear, additive = chosen.alternatives[:2]
    assert chosen.rules.additive
    assert chosen.name == "additive"
    assert chosen.pairs == ()
    assert additive.loss < linear.loss
    assert set(chosen.strengths) == {"x0", "x1", "x2"}


@pytest.mark.parametrize("loss", TASKS)
def test_a_line_is_a_line_or_costs_next_to_nothing(loss: str) -> None:
    rng, X = drawn(2, 4000)
    chosen = choose(columns_of(X, labels(rng, loss, X[:, 0] - 0.5 * X[:, 1])), loss)
    linear, additive = chosen.alternatives[:2]
    assert chosen.pairs == ()
    assert chosen.name == "linear" or additive.loss > linear.loss * (1.0 - 0.005)


@pytest.mark.parametrize("loss", TASKS)
@pytest.mark.parametrize("shape", ["quadrants", "product"])
def test_two_columns_that_act_only_together_are_found(loss: str, shape: str) -> None:
    rng, X = drawn(3)
    together = X[:, 0] * X[:, 1]
    eta = 3.0 * np.sign(together) if shape == "quadrants" else 2.0 * together
    chosen = choose(columns_of(X, labels(rng, loss, eta)), loss)
    assert [pair.column for pair in chosen.pairs] == ["x0 x x1"]
    assert "x0 x x1" in chosen.strengths
    losses = {one.name: one.loss for one in chosen.alternatives}
    with_pair = next(name for name in losses if name.endswith("1 pairs"))
    assert losses[with_pair] < 0.9 * losses["additive"]
    assert [one["name"] for one in chosen.to_json()["alternatives"] if one["chosen"]] == [with_pair]


@pytest.mark.parametrize("loss", TASKS)
def test_additive_rows_get_no_pair_in_nine_of_ten_draws(loss: str) -> None:
    found = 0
    for seed in range(10):
        rng, X = drawn(100 + seed, 1000)
        eta = np.sin(2.0 * X[:, 0]) + np.where(X[:, 1] > 0.0, 1.0, -1.0)
        found += bool(choose(columns_of(X, labels(rng, loss, eta)), loss).pairs)
    assert found <= 1


def test_two_columns_alone_can_be_asked_for_pairs_again_and_again() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(4000, 2))
    chosen = choose(columns_of(X, np.sin(2.0 * X[:, 0] * X[:, 1]) + 0.1 * rng.normal(size=4000)), "squared")
    assert [pair.column for pair in chosen.pairs] == ["x0 x x1"]


@pytest.mark.parametrize("loss", ["logistic", "softmax"])
def test_candidates_begin_where_others_with_the_same_terms_ended(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, begun = ("select_penalties", "select_class_penalties")[loss == "softmax"], []
    find = getattr(module, name)

    def watched(loss: Any, rows: Any, terms: Any, start: Any = None) -> Any:
        begun.append((terms, start))
        return find(loss, rows, terms, start)

    monkeypatch.setattr(module, name, watched)
    columns = {name: values for name, values in mixed().items() if name in ("x0", "colour", "label")}
    if loss == "softmax":
        columns["label"] = np.asarray(["low", "middle", "high"])[
            np.digitize(columns["x0"] + drawn(1, 900)[1][:, 0], [-0.5, 0.5])
        ]
    choose(columns, loss)
    (terms, nothing), (_, (strengths, coefficients)) = begun[:2]
    assert nothing is None
    # The levels of the category are the same in both, x0 enters in bins the second time.
    assert sum(strength != 1.0 for strength in strengths) == 1
    assert 1 <= np.count_nonzero(coefficients) < len(coefficients) / 2
    assert len(terms) == 2


@pytest.mark.parametrize("size", [1e-8, 1e6])
def test_the_unit_of_the_labels_does_not_matter(size: float) -> None:
    rng, X = drawn(4, 1000)
    label = np.where(X[:, 0] > 0.5, 3.0, -1.0) + X[:, 1] * X[:, 2] + 0.5 * rng.normal(size=1000)
    plain, scaled = (choose(columns_of(X, unit * label), "squared") for unit in (1.0, size))
    assert scaled.pairs == plain.pairs
    assert scaled.rules == plain.rules
    assert dict(scaled.strengths) == pytest.approx(dict(plain.strengths), rel=1e-4)


# --- what is not looked at ------------------------------------------------------------------------------------------


def test_the_same_seed_chooses_the_same_with_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 500)
    columns = mixed()
    one = choose(columns, "logistic", drop=["when"])
    assert same(one, choose(columns, "logistic", threads=3, drop=["when"]))
    assert not same(one, choose(columns, "logistic", seed=1, drop=["when"]))


@pytest.mark.parametrize("time", [None, "when"])
def test_rows_outside_the_part_change_nothing(time: str | None) -> None:
    columns, rng = mixed(), np.random.default_rng(0)
    part = columns["when"] < 700 if time else rng.random(900) < 0.8
    roles: dict[str, Any] = {"weight": "weight", "offset": "offset"}
    roles |= {"time": time} if time else {"drop": ["when"]}
    other = {name: list(values) for name, values in columns.items()}
    outside = np.flatnonzero(~part)
    for row, there in zip(outside, outside[::-1], strict=True):
        other["label"][row] = 1.0 - columns["label"][row]
        other["x0"][row], other["x1"][row] = 1e6, None
        other["colour"][row] = f"new {row}"
        # Other weights of the same mean: that alone is known of rows outside, and changes nothing but last places.
        other["weight"][row], other["offset"][row] = columns["weight"][there], -4.0
    one = choose(columns, "logistic", part=part, **roles)
    assert one.alternatives
    assert same(one, choose(other, "logistic", part=part, **roles))
    assert not same(one, choose(other, "logistic", **roles))


def test_the_last_block_by_time_judges() -> None:
    rng, X = drawn(5, 1500)
    when = np.arange(1500.0)
    step = np.where(X[:, 0] > 0.0, 2.0, -2.0)
    # In the last fifth the step is turned round: only a judge who looks at those rows refuses the shape.
    eta = np.where(when < 1200, step, -step)
    columns = {**columns_of(X, eta + 0.5 * rng.normal(size=1500)), "when": when}
    by_time, by_chance = choose(columns, "squared", time="when"), choose(columns, "squared", drop=["when"])
    assert by_time.alternatives[1].loss > 4.0
    assert by_chance.alternatives[1].loss < 3.0


def test_a_rise_of_the_level_does_not_choose() -> None:
    # Later counts are three times higher for all rows. A judge who blamed candidates for the level would take the pair
    # or the shape that happens to lean upwards; with a level of its own the block tells the true pair from none.
    rng, X = drawn(10, 3000)
    when = np.arange(3000.0)
    eta = X[:, 0] * X[:, 1] + np.log(3.0) * (when >= 2400)
    columns = {**columns_of(X, rng.poisson(np.exp(eta)).astype(float)), "when": when}
    chosen = choose(columns, "poisson", time="when")
    assert [pair.column for pair in chosen.pairs] == ["x0 x x1"]
    # Half the deviance of a Poisson count about its true mean is near one half, whatever the level.
    assert next(one.loss for one in chosen.alternatives if one.name.endswith("1 pairs")) < 0.8


def test_few_bins_are_chosen_where_later_rows_refuse_what_many_hold() -> None:
    rng, X = drawn(12, 6000)
    when, waves = np.arange(6000.0), np.sin(50.0 * X[:, 0])
    rest = np.where(X[:, 0] > 0.0, 2.0, -2.0) + 0.5 * rng.normal(size=6000)
    turned, kept = (rest + waves * np.where(when < 4800, 1.0, later) for later in (-1.0, 1.0))
    by_few, by_many = (
        choose({**columns_of(X, label), "when": when}, "squared", time="when") for label in (turned, kept)
    )
    assert by_few.rules.bins == by_few.to_json()["bins"] == 16
    assert by_many.rules.bins == 64
    assert {"additive", "additive, 16 bins"} <= {one.name for one in by_few.alternatives}


def test_the_search_for_pairs_stays_affordable(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, X = drawn(11)
    columns = columns_of(X, 2.0 * X[:, 0] * X[:, 1] + X[:, 1] * X[:, 2] + rng.normal(size=2000))
    free = choose(columns, "squared")
    assert {"x0 x x1", "x1 x x2"} <= {pair.column for pair in free.pairs}
    widest = max(one.coefficients for one in free.alternatives)
    monkeypatch.setattr(module, "_MOST_COEFFICIENTS", widest - 1)
    less = choose(columns, "squared")
    assert max(one.coefficients for one in less.alternatives) < widest
    monkeypatch.setattr(module, "_MOST_COEFFICIENTS", 1)
    assert not any("pairs" in one.name for one in choose(columns, "squared").alternatives)


def test_pairs_that_their_own_rows_promise_nothing_of_are_not_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, X = drawn(11)
    columns = columns_of(X, 2.0 * X[:, 0] * X[:, 1] + X[:, 1] * X[:, 2] + rng.normal(size=2000))
    assert max(one.pairs for one in choose(columns, "squared").alternatives) > 1
    monkeypatch.setattr(module, "best_pairs", lambda *given: [replace(one, gain=1e-9) for one in best_pairs(*given)])
    chosen = choose(columns, "squared")
    assert max(one.pairs for one in chosen.alternatives) == 1, "one is tried whatever the early rows say"
    assert len(chosen.pairs) == 1


def test_pairs_that_add_nothing_by_themselves_are_not_fitted_with_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, X = drawn(11)
    columns = columns_of(X, 2.0 * X[:, 0] * X[:, 1] + rng.normal(size=2000))
    monkeypatch.setattr(module, "best_pairs", lambda *given: [replace(one, gain=1e9) for one in best_pairs(*given)])
    chosen = choose(columns, "squared")
    assert [pair.column for pair in chosen.pairs] == ["x0 x x1"]
    assert max(one.pairs for one in chosen.alternatives) == 1, "whatever the early rows promise of others"


# --- roles and bad cases --------------------------------------------------------------------------------------------


def test_rows_of_little_weight_count_little() -> None:
    rng, X = drawn(6, 1200)
    step = np.where(X[:, 0] > 0.0, 2.0, -2.0)
    light = rng.random(1200) < 0.5
    label = np.where(light, rng.normal(size=1200) * 5.0, step) + 0.3 * rng.normal(size=1200)
    plain = choose(columns_of(X, label), "squared")
    weighted = choose({**columns_of(X, label), "weight": np.where(light, 1e-4, 1.0)}, "squared", weight="weight")
    assert weighted.alternatives[1].loss < 0.5
    assert plain.alternatives[1].loss > 3.0


def test_an_offset_is_what_is_known_already() -> None:
    rng, X = drawn(7)
    known = np.where(X[:, 0] > 0.0, 2.0, -2.0)
    columns = {**columns_of(X, labels(rng, "logistic", known)), "offset": known}
    chosen = choose(columns, "logistic", offset="offset")
    assert max(alternative.degrees_of_freedom for alternative in chosen.alternatives[:2]) < 15.0
    free = choose(columns, "logistic")
    assert free.alternatives[1].degrees_of_freedom > 15.0
    assert chosen.alternatives[0].loss == pytest.approx(free.alternatives[1].loss, rel=0.1)


def test_few_rows_are_fitted_as_they_are() -> None:
    rng, X = drawn(8, FEWEST_ROWS - 1)
    chosen = choose(columns_of(X, X[:, 0] * X[:, 1] + rng.normal(size=len(X))), "squared")
    assert chosen == Structure(RULES)
    assert chosen.to_json() == {"encoding": "linear", "bins": None, "pairs": [], "strengths": {}, "alternatives": []}
    rng, X = drawn(8, FEWEST_ROWS)
    assert len(choose(columns_of(X, X[:, 0] + rng.normal(size=len(X))), "squared").alternatives) >= 2


def test_earlier_rows_of_one_class_are_fitted_as_they_are() -> None:
    _, X = drawn(9, 400)
    columns = {**columns_of(X, (np.arange(400) >= 350).astype(float)), "when": np.arange(400.0)}
    assert choose(columns, "logistic", time="when") == Structure(RULES)


@pytest.mark.parametrize("loss", ["logistic", "poisson"])
def test_late_rows_that_have_no_level_are_judged_as_they_are(loss: str) -> None:
    rng, X = drawn(12, 1000)
    label = labels(rng, loss, np.sin(2.0 * X[:, 0])) * (np.arange(1000) < 800)
    chosen = choose({**columns_of(X, label), "when": np.arange(1000.0)}, loss, time="when")
    assert len(chosen.alternatives) >= 2
    assert all(np.isfinite(one.loss) for one in chosen.alternatives)


def test_what_was_chosen_is_told_as_plain_values() -> None:
    told = choose(mixed(), "logistic", drop=["when"], weight="weight", offset="offset").to_json()
    assert told["encoding"] == "additive"
    assert set(told["pairs"]) <= set(told["strengths"])
    assert [one["name"] for one in told["alternatives"]][:2] == ["linear", "additive"]
    assert all(one["seconds"] > 0.0 and one["coefficients"] > 1 for one in told["alternatives"])


def test_the_last_block_is_whole_groups_where_the_evaluation_is(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def spying(ledger: Any, share: float, seed: int, kind: SplitKind | None = None) -> Any:
        seen.append((ledger, hold_out(ledger, share, seed, kind)))
        return seen[-1][1]

    monkeypatch.setattr(module, "hold_out", spying)
    columns = made(600)
    columns["person"] = np.random.default_rng(0).integers(0, 40, 600).astype(float)
    chosen = choose(columns, "squared", kind=SplitKind.GROUP, group="person")
    ((ledger, split),) = seen
    assert chosen.alternatives
    assert not set(ledger.group[split.early]) & set(ledger.group[split.late])


def test_one_group_alone_leaves_nothing_to_choose_by() -> None:
    columns = {**made(600), "person": np.ones(600)}
    assert choose(columns, "squared", kind=SplitKind.GROUP, group="person") == Structure(RULES)
