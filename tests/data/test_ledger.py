"""The ledger: every row that was read has gone somewhere, and only once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchlearn.data.ledger import read_ledger, role_columns, walk
from batchlearn.data.target import Target
from batchlearn.errors import DataError
from batchlearn.formatting.rejections import Rejection
from batchlearn.tables.table import Table, read

NUMBERS = Target("y", "squared")


def table_of(columns: dict[str, Any], **roles: Any) -> Table:
    return read(pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()}), **roles)


def some_missing(rng: np.random.Generator, values: Any, share: float) -> np.ndarray[Any, Any]:
    return np.where(rng.random(len(values)) < share, np.nan, values)


def random_table(rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw a table and its roles: each role is there or not, each column has gaps."""
    n, share = int(rng.integers(1, 30)), rng.uniform(0.0, 0.5)
    columns: dict[str, Any] = {
        "y": some_missing(rng, rng.integers(0, 4, n).astype(float), share),
        "w": some_missing(rng, rng.integers(0, 3, n).astype(float), share),
        "o": some_missing(rng, rng.normal(size=n), share),
        "e": some_missing(rng, rng.uniform(0.5, 2.0, n), share),
        "t": some_missing(rng, rng.integers(0, 5, n).astype(float), share),
        "x": some_missing(rng, rng.normal(size=n), share),
    }
    names = {"weight": "w", "offset": "o", "exposure": "e", "time": "t"}
    roles = {role: name for role, name in names.items() if rng.random() < 0.6}
    if rng.random() < 0.3:
        roles["where"] = "x > 0"
    return columns, roles


def expected_counts(columns: dict[str, Any], roles: dict[str, Any], classes: tuple[float, ...]) -> dict[str, int]:
    """Follow each row by itself, in plain Python."""
    counts = {"used": 0, "unlabelled": 0}
    added = [role for role in ("offset", "exposure") if role in roles]
    for row in zip(*columns.values(), strict=True):
        value = dict(zip(columns, row, strict=True))
        lacking = [
            ("no weight", "weight" in roles and np.isnan(value["w"])),
            ("a weight of 0", "weight" in roles and value["w"] == 0.0),
            (f"no {' or '.join(added)}", any(np.isnan(value[role[0]]) for role in added)),
            ("no time", "time" in roles and np.isnan(value["t"])),
            (Rejection.UNSEEN, bool(classes) and value["y"] not in classes),
        ]
        if "where" in roles and not value["x"] > 0.0:
            place: str = Rejection.EXCLUDED
        elif np.isnan(value["y"]):
            place = "unlabelled"
        else:
            place = next((reason for reason, holds in lacking if holds), "used")
        counts[place] = counts.get(place, 0) + 1
    return counts


def test_every_row_is_accounted_for() -> None:
    compared = 0
    for number in range(500):
        rng = np.random.default_rng((1, number))
        columns, roles = random_table(rng)
        classes = (0.0, 1.0) if rng.random() < 0.3 else ()
        target = Target("y", "logistic", classes) if classes else NUMBERS
        expected = expected_counts(columns, roles, classes)
        table = table_of(columns, target="y", **roles)
        if not expected["used"]:
            with pytest.raises(DataError, match=r"no row|add up to 0"):
                read_ledger(table, target)
            continue
        ledger = read_ledger(table, target)
        counts = ledger.counts
        assert counts.read == len(columns["y"]) == counts.used + counts.unlabelled + sum(counts.rejected.values())
        assert {"used": counts.used, "unlabelled": counts.unlabelled, **counts.to_json()["rejected"]} == expected
        assert counts.used == ledger.used.sum()
        assert not (ledger.used & ledger.unseen).any()
        assert np.isfinite(ledger.label[ledger.used]).all()
        for values in (ledger.weight, ledger.offset, ledger.time):
            assert values is None or np.isfinite(values[ledger.used | ledger.unseen]).all()
        compared += 1
    assert compared > 350


def test_entries_stand_in_the_order_of_the_rows_that_meet_the_condition() -> None:
    columns = {"y": [1.0, 2.0, 3.0, 4.0, 5.0], "x": [1.0, -1.0, 1.0, -1.0, 1.0]}
    table = table_of(columns, target="y", where="x > 0")
    ledger = read_ledger(table)
    assert ledger.label.tolist() == [1.0, 3.0, 5.0]
    shown = [(entries, batch.column("x").to_pylist()) for entries, batch in walk(table, ["x"])]
    assert shown == [(slice(0, 3), [1.0, 1.0, 1.0])]
    assert ledger.counts.to_json() == {"read": 5, "used": 3, "unlabelled": 0, "rejected": {Rejection.EXCLUDED: 2}}


def test_classes_are_those_of_rows_that_count() -> None:
    columns = {"y": ["no", "yes", "other", "third"], "w": [1.0, 2.0, 0.0, None]}
    ledger = read_ledger(table_of(columns, target="y", weight="w"))
    assert ledger.target.classes == ("no", "yes")
    assert ledger.used.tolist() == [True, True, False, False]
    with pytest.raises(DataError) as refused:
        read_ledger(table_of({**columns, "w": [1.0, 0.0, 0.0, 0.0]}, target="y", weight="w"))
    assert refused.value.code == "one-class"


def test_an_unseen_class_is_marked_only_where_the_row_could_be_scored() -> None:
    columns = {"y": ["no", "yes", "new", "new"], "w": [1.0, 1.0, 1.0, None]}
    ledger = read_ledger(table_of(columns, target="y", weight="w"), Target("y", "logistic", ("no", "yes")))
    assert ledger.unseen.tolist() == [False, False, True, False]
    assert ledger.counts.rejected == {"no weight": 1, Rejection.UNSEEN: 1}


def test_the_offset_is_the_offset_and_the_logarithm_of_the_exposure() -> None:
    columns = {"y": [1.0, 2.0, 3.0], "o": [0.5, 1.0, np.nan], "e": [1.0, np.e, 2.0]}
    both = read_ledger(table_of(columns, target="y", offset="o", exposure="e"))
    assert both.offset is not None
    assert both.offset[:2].tolist() == [0.5, 2.0]
    assert both.counts.rejected == {"no offset or exposure": 1}
    alone = read_ledger(table_of(columns, target="y", exposure="e"))
    assert alone.offset is not None
    assert alone.offset.tolist() == [0.0, 1.0, np.log(2.0)]


def test_times_are_microseconds_and_numbers_stay_themselves() -> None:
    stamped = pa.array([0, -86_400_000_001, None], pa.timestamp("us"))
    table = read(pa.table({"y": [1.0, 2.0, 3.0], "t": stamped, "u": [0.5, 1.5, 2.5]}), target="y", time="t")
    ledger = read_ledger(table)
    assert ledger.time is not None
    assert ledger.time[:2].tolist() == [0.0, -86_400_000_001.0]
    assert np.isnan(ledger.time[2])
    assert ledger.counts.rejected == {"no time": 1}


def test_groups_are_codes_in_the_order_of_their_names() -> None:
    columns = {"y": [1.0, 2.0, 3.0, 4.0, 5.0], "g": ["b", "a", None, "b", "c"]}
    ledger = read_ledger(table_of(columns, target="y", group="g"))
    assert ledger.group is not None
    assert ledger.group.tolist() == [1, 0, -1, 1, 2]


def test_the_columns_with_a_role_are_read_once_each() -> None:
    columns = {name: [1.0, 2.0] for name in ("y", "w", "o", "e", "t", "g", "x")}
    table = table_of(columns, target="y", weight="w", offset="o", exposure="e", time="t", group="g")
    assert role_columns(table) == ["y", "w", "o", "e", "t", "g"]


def test_counts_that_are_all_zero_can_be_scored_but_not_learned_from() -> None:
    table = table_of({"y": [0.0, 0.0, np.nan]}, target="y")
    assert read_ledger(table, Target("y", "poisson")).counts.used == 2
    with pytest.raises(DataError, match="is 0 in every row") as refused:
        read_ledger(table, loss="poisson")
    assert refused.value.code == "one-class"


def test_amounts_are_checked_before_anything_is_fitted() -> None:
    def code(values: list[float], loss: str) -> str:
        with pytest.raises(DataError) as refused:
            read_ledger(table_of({"y": values}, target="y"), loss=loss)
        return refused.value.code

    assert code([1.0, 0.0], "gamma") == "label-not-positive"
    assert code([1.0, -2.0], "gamma") == code([1.0, -2.0], "tweedie") == "label-negative"
    assert code([0.0, 0.0], "tweedie") == "one-class"
    for loss, values in (("gamma", [1.0, 2.0]), ("tweedie", [0.0, 2.0])):
        assert read_ledger(table_of({"y": values}, target="y"), loss=loss).target == Target("y", loss)


def test_a_model_of_numbers_refuses_a_target_of_text() -> None:
    with pytest.raises(DataError, match="holds category values; the model predicts numbers") as refused:
        read_ledger(table_of({"y": ["a", "b"]}, target="y"), NUMBERS)
    assert refused.value.code == "target-kind"


def test_no_row_under_the_condition() -> None:
    with pytest.raises(DataError, match="no rows that meet the condition") as refused:
        read_ledger(table_of({"y": [1.0, 2.0], "x": [1.0, 2.0]}, target="y", where="x > 9"))
    assert refused.value.code == "no-rows"


@pytest.mark.parametrize(
    ("weights", "code", "said"),
    [
        ([np.nan, np.nan, np.nan], "no-usable-rows", "1 have no label; set aside: 2 for no weight"),
        ([0.0, 0.0, 1.0], "weight-zero", "add up to 0"),
        ([0.0, np.nan, 1.0], "no-usable-rows", "1 for no weight, 1 for a weight of 0"),
    ],
)
def test_labels_but_none_of_them_with_a_weight(weights: list[float], code: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as refused:
        read_ledger(table_of({"y": [1.0, 2.0, np.nan], "w": weights}, target="y", weight="w"))
    assert refused.value.code == code


def test_no_label_at_all() -> None:
    table = table_of({"y": pa.nulls(3, pa.float64()), "w": [1.0, 2.0, np.nan]}, target="y", weight="w")
    for target, code in ((None, "no-labels"), (NUMBERS, "no-usable-rows")):
        with pytest.raises(DataError) as refused:
            read_ledger(table, target)
        assert refused.value.code == code


def test_weights_that_vanish_in_products() -> None:
    table = table_of({"y": [1.0, 2.0, 3.0], "w": [1e-200, 3e-200, 2e-200]}, target="y", weight="w")
    with pytest.raises(DataError, match="Give them in its unit") as refused:
        read_ledger(table, weight_constant=1.0)
    assert refused.value.code == "weight-vanishes"
    # In a training they are over their own mean.
    ledger = read_ledger(table)
    assert ledger.weight == pytest.approx([0.5, 1.5, 1.0])
    assert ledger.weight_constant == pytest.approx(2e-200)


def test_weights_are_over_their_mean_in_the_used_rows_or_over_that_of_a_model() -> None:
    columns = {"y": [1.0, None, 3.0, 2.0], "w": [2.0, 100.0, 4.0, 0.0]}
    ledger = read_ledger(table_of(columns, target="y", weight="w"))
    assert ledger.weight is not None
    assert (ledger.weight_constant, ledger.weight[ledger.used].tolist()) == (3.0, [2.0 / 3.0, 4.0 / 3.0])
    known = read_ledger(table_of(columns, target="y", weight="w"), weight_constant=2.0)
    assert known.weight is not None
    assert (known.weight_constant, known.weight[known.used].tolist()) == (2.0, [1.0, 2.0])


@pytest.mark.parametrize("each", [7.3, 1e150, 1e-300, 5e-324])
def test_weights_that_are_all_alike_are_none(each: float) -> None:
    ledger = read_ledger(table_of({"y": np.arange(700.0), "w": np.full(700, each)}, target="y", weight="w"))
    assert (ledger.weight, ledger.weight_constant) == (None, each)


def test_the_mean_of_weights_has_the_same_bits_in_any_order() -> None:
    rng = np.random.default_rng(0)
    weight = rng.exponential(size=1_000) ** 4
    found = {
        read_ledger(table_of({"y": np.arange(1_000.0), "w": w}, target="y", weight="w")).weight_constant
        for w in (weight, weight[::-1], rng.permutation(weight))
    }
    assert len(found) == 1
