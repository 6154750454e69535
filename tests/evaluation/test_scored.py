"""Rows are scored from one reading: labels, responses and categories of the rows that a ledger uses, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import batchlearn as bl
from batchlearn.data.encoding import LevelTerm
from batchlearn.data.ledger import read_ledger
from batchlearn.data.target import Target
from batchlearn.errors import DataError
from batchlearn.evaluation.scored import score, score_each
from batchlearn.kernels.design import Floats
from batchlearn.models.decision import Costs
from batchlearn.models.model import Predictions
from batchlearn.retraining.cycle.candidate import compare, contest
from batchlearn.retraining.gate import Gate
from batchlearn.tables.readings import ColumnReading
from batchlearn.tables.table import Roles, Scan, Table, read
from batchlearn.training.evaluate import evaluate

ROWS = 900
ROLES: tuple[dict[str, str], ...] = (
    {},
    {"time": "at"},
    {"group": "shop"},
    {"time": "at", "group": "shop", "weight": "times"},
    {"weight": "times"},
)


def visits(labels: str, seed: int = 0) -> pa.Table:
    """Make rows some of which lack a label, a weight, a time or an exposure."""
    rng = np.random.default_rng(seed)
    size, colour = rng.normal(size=ROWS), rng.choice(["red", "green", "blue"], ROWS)
    drawn = {
        "classes": np.where(size + rng.logistic(size=ROWS) > 0.0, "yes", "no"),
        "three": np.array(["a", "b", "c"])[
            np.argmax(np.c_[size, -size, 0 * size] + rng.gumbel(size=(ROWS, 3)), axis=1)
        ],
        "counts": rng.poisson(np.exp(0.5 * size + (colour == "red"))).astype(float),
        "numbers": size + rng.normal(size=ROWS),
    }
    found: dict[str, Any] = {"size": size, "colour": colour, "shop": rng.integers(0, 30, ROWS), "y": drawn[labels]}
    found |= {"at": np.floor(rng.permutation(ROWS) / 3), "times": rng.integers(0, 3, ROWS).astype(float)}
    found["days"] = rng.uniform(1.0, 3.0, ROWS)
    for name in ("y", "at", "times", "days"):
        found[name] = pa.array(found[name], mask=rng.random(ROWS) < 0.05)
    return pa.table(found)


def opened(rows: pa.Table, labels: str, roles: dict[str, str]) -> Table:
    named: dict[str, Any] = {**roles, **({"exposure": "days"} if labels == "counts" else {})}
    return read(rows, target="y", **named, drop=sorted({"shop", "at", "times", "days"} - set(named.values())))


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    found: list[list[str]] = []
    scan = Table.scan

    def counted(table: Table, columns: list[str]) -> Scan:
        found.append(list(columns))
        return scan(table, columns)

    monkeypatch.setattr(Table, "scan", counted)
    return found


@pytest.mark.parametrize("roles", ROLES, ids=lambda roles: "-".join(roles) or "plain")
@pytest.mark.parametrize("labels", ["classes", "three", "counts", "numbers"])
def test_rows_are_what_the_ledger_uses_with_what_the_model_predicts(
    labels: str, roles: dict[str, str], scans: list[list[str]]
) -> None:
    recipe = bl.Recipe(loss="poisson" if labels == "counts" else None, holdout=0.0)
    model = bl.train(opened(visits(labels), labels, roles), recipe).model
    rows = visits(labels, seed=1)
    if labels in ("classes", "three"):
        named = rows.column("y").to_pylist()
        named[next(k for k in range(ROWS) if named[k] is not None and rows.column("at")[k].is_valid)] = "never seen"
        rows = rows.set_column(rows.schema.get_field_index("y"), "y", pa.array(named))
    table = opened(rows, labels, roles)
    scans.clear()
    scored = score(model, table, seed=5)
    assert len(scans) == 1
    ledger = read_ledger(table, model.target)
    assert scored.entry is not None
    assert np.array_equal(np.sort(scored.entry), np.flatnonzero(ledger.used | ledger.unseen))
    expected = model.predict(rows.take(pa.array(scored.entry))).response
    assert scored.response.tobytes() == np.ascontiguousarray(expected).tobytes()
    assert np.array_equal(scored.label, ledger.label[scored.entry], equal_nan=True)
    assert scored.unseen is not None
    assert sum(scored.unseen_classes.values()) == scored.unseen.sum() == np.isnan(scored.label).sum()
    codes, names = scored.categories["colour"]
    colours = rows.column("colour").take(pa.array(scored.entry)).to_pylist()
    assert [names[code] for code in codes if code < len(names) - 1] == [
        colour for colour, code in zip(colours, codes, strict=True) if code < len(names) - 1
    ]
    assert (scored.time is None) == ("time" not in roles)
    if scored.time is not None:
        assert np.all(np.diff(scored.time) >= 0.0)
    elif scored.group is not None:  # rows of one group stand together
        assert np.count_nonzero(np.diff(scored.group)) + 1 == len(np.unique(scored.group))


@pytest.mark.parametrize("roles", ROLES, ids=lambda roles: "-".join(roles) or "plain")
def test_an_evaluation_reads_the_rows_once(roles: dict[str, str], scans: list[list[str]]) -> None:
    table = opened(visits("classes"), "classes", roles)
    model = bl.train(table, bl.Recipe(holdout=0.0)).model
    scans.clear()
    evaluate(model, table)
    assert len(scans) == 1


def test_two_models_score_the_same_rows_from_one_reading(scans: list[list[str]]) -> None:
    table = opened(visits("numbers"), "numbers", {})
    models = [bl.train(table, bl.Recipe(alpha=alpha, holdout=0.0)).model for alpha in (0.01, 1.0)]
    scans.clear()
    both = score_each(models, table, seed=2)
    assert len(scans) == 1
    for model, rows in zip(models, both, strict=True):
        assert rows.response.tobytes() == score(model, table, seed=2).response.tobytes()
        assert rows.label.tobytes() == both[0].label.tobytes()
    assert both[0].response.tobytes() != both[1].response.tobytes()


def test_what_is_wrong_with_a_row_is_said_as_the_ledger_says_it() -> None:
    rows = visits("counts")
    model = bl.train(opened(rows, "counts", {}), bl.Recipe(loss="poisson", holdout=0.0)).model
    days = rows.column("days").to_pylist()
    days[7] = 0.0
    broken = rows.set_column(rows.schema.get_field_index("days"), "days", pa.array(days))
    with pytest.raises(DataError, match="row 8"):
        score(model, opened(broken, "counts", {}))


def test_a_model_that_reads_no_column_scores_rows() -> None:
    rows = visits("numbers").select(["y"])
    model = bl.train(read(rows, target="y"), bl.Recipe(holdout=0.0)).model
    assert model.columns == ()
    scored = score(model, read(rows, target="y"))
    assert len(scored.label) == ROWS - rows.column("y").null_count
    assert np.ptp(scored.response) == 0.0
    assert scored.response[0] == pytest.approx(model.constant(1)[0], rel=1e-12)


@dataclass(frozen=True)
class BySign:
    """A model of another kind: the second of two classes is likely where a number is above 0."""

    target: Target
    column: str
    roles: Roles = field(default_factory=Roles)
    weight_constant: float = 1.0
    costs: Costs | None = None
    level_terms: tuple[LevelTerm, ...] = ()
    no_certificate: str = "No penalty and no optimum: a rule."
    readings: Mapping[str, ColumnReading] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def as_read(self, table: Table) -> Table:
        return table

    def check(self, table: Table) -> None:
        table.column(self.column)

    def predict(self, data: object, *, bounds: bool = False) -> Predictions:
        (batch,) = read(data).scan(self.columns)
        return self.predict_batch(batch, bounds=bounds)

    def predict_batch(self, batch: pa.RecordBatch, *, bounds: bool = False) -> Predictions:  # noqa: ARG002
        response = np.where(np.asarray(batch.column(self.column)) > 0.0, 0.8, 0.2)
        return Predictions(response, np.log(response / (1.0 - response)), None)

    def decide(self, response: Floats) -> pa.Array:
        return pa.array(self.target.classes).take(pa.array((response > 0.5).astype(int)))

    offset_constant = None

    def constant(self, rows: int, offset: Floats | None = None) -> Floats:  # noqa: ARG002
        return np.full(rows, 0.5)


def test_a_model_of_another_kind_is_evaluated_and_judged() -> None:
    table = opened(visits("classes"), "classes", {"time": "at"})
    linear = bl.train(table, bl.Recipe(holdout=0.0)).model
    rule = BySign(linear.target, "size")
    found = evaluate(rule, table)
    label, sure = score(rule, table).label, score(rule, table).response
    assert found.metrics["log_loss"].value == pytest.approx(-np.mean(np.log(np.where(label == 1.0, sure, 1.0 - sure))))
    assert found.slices == []
    verdict = compare(Gate(), contest(rule, linear, table))
    apart = (score(linear, table).losses(linear.target) - score(rule, table).losses(linear.target)).mean()
    assert verdict.difference == pytest.approx(apart)
    assert compare(Gate(), contest(linear, rule, table)).difference == pytest.approx(-apart)
    gone = compare(Gate(), contest(BySign(linear.target, "gone"), linear, table))
    assert "a constant prediction stood in for it" in str(gone.to_json())
