"""Scratch, warm, update, fine-tune, window and verify speak of one objective, whatever its terms and how rows grow.

The objective is written out here from the terms' unit penalties: strengths over the total weight of the rows, centres
as they are. Its optimum comes from Newton steps on the dense design, to the last digits of a float64.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from tests.updating.made import design

from batchlearn.data.bins import BinTerm
from batchlearn.data.encoding import CalendarTerm, LevelTerm, PairTerm
from batchlearn.data.encoding_fit import EncodingRules
from batchlearn.data.rows import Rows
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.kernels.design import Floats
from batchlearn.models.encoded import EncodedModel
from batchlearn.models.files import save
from batchlearn.objectives.losses import loss_of
from batchlearn.progress import finish
from batchlearn.retraining.cycle.continued import encode_rows, statistics_of, train_from
from batchlearn.retraining.cycle.state import Champion, TrainingTables
from batchlearn.selection.structure import Structure
from batchlearn.selection.terms import encoding_terms
from batchlearn.tables.table import Table, read
from batchlearn.training.fit import Fit
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import fit_objective, train
from batchlearn.training.verification.stored import verify_model
from batchlearn.updating.storage import dump, load

ROWS, GONE = 600, 150
GROWTH = {"one in a hundred": 6, "a third": 200, "as many again": 600}
X, HOURS = BinTerm("x", (-0.5, 0.5), -4.0, 4.0), CalendarTerm("when", "hour", (0, 6, 12, 18))
GAPS, COLOUR = BinTerm("gaps", (0.0,), -4.0, 4.0, missing=True), LevelTerm("colour", ("blue", "pink", "red"))
STRENGTHS = {"x": 300.0, "gaps": 70.0, "hour(when)": 800.0, "colour": 200.0}
# The columns that are dropped, the pairs, and the loss.
KINDS: dict[str, tuple[list[str], tuple[PairTerm, ...], str]] = {
    "bins": (["gaps", "when", "colour"], (), "squared"),
    "missing": (["x", "when", "colour"], (), "logistic"),
    "cyclic": (["x", "gaps", "colour"], (), "poisson"),
    "levels": (["x", "gaps", "when"], (), "logistic"),
    "pairs": (["gaps", "when"], (PairTerm(X, COLOUR),), "logistic"),
    "pairs of all kinds": ([], (PairTerm(X, COLOUR), PairTerm(GAPS, HOURS), PairTerm(COLOUR, HOURS)), "poisson"),
}


def columns(kind: str, rows: int, seed: int) -> pa.Table:
    """Draw rows in which pairs of columns count, and more of it the larger the seed."""
    rng = np.random.default_rng(seed)
    x, gaps, colour, hour = (
        rng.normal(size=rows),
        rng.normal(size=rows),
        rng.integers(0, 3, rows),
        rng.integers(0, 4, rows),
    )
    gaps[rng.random(rows) < 0.2] = np.nan
    eta = 0.4 * x + np.array([0.0, 0.6, -0.6])[colour] * np.sign(x) + 0.3 * np.nan_to_num(gaps, nan=1.0) * (hour - 1.5)
    eta = (eta + 0.2 * seed) * 0.7
    draws: dict[str, Callable[[], Any]] = {
        "squared": lambda: eta + rng.normal(size=rows),
        "logistic": lambda: (rng.random(rows) < 1.0 / (1.0 + np.exp(-eta))).astype(float),
        "poisson": lambda: rng.poisson(np.exp(np.minimum(0.5 * eta, 2.0))).astype(float),
        "classes": lambda: np.array(["no", "so", "yes"])[np.where(rng.random(rows) < 0.3, 2, (eta > 0.0).astype(int))],
    }
    return pa.table(
        {
            "x": x,
            "gaps": pa.array(gaps, from_pandas=True),
            "when": np.datetime64("2026-01-01", "us") + (hour * 6 * 3_600_000_000).astype("timedelta64[us]"),
            "colour": [COLOUR.levels[k] for k in colour],
            "weight": rng.uniform(0.5, 2.0, rows),
            "label": draws[KINDS[kind][2] if kind in KINDS else kind](),
        }
    )


def table_of(kind: str, rows: pa.Table) -> Table:
    dropped = KINDS[kind][0] if kind in KINDS else []
    return read(rows, target="label", weight="weight", drop=dropped)


def choosing(pairs: tuple[PairTerm, ...]) -> Any:
    """Return what takes the place of choosing a structure: bins, these pairs and strengths of each size."""

    def choose(*_: Any, **__: Any) -> Generator[int, None, Structure]:
        yield 0
        strengths = {**STRENGTHS, **{pair.column: 40.0 + 300.0 * k for k, pair in enumerate(pairs)}}
        return Structure(EncodingRules(additive=True, bins=6), pairs, strengths)

    return choose


class Optimum(NamedTuple):
    """An objective written out over the rows of a model's encoding, and its optimum."""

    penalty: Floats  # (d, d)
    design: Floats
    label: Floats
    weight: Floats
    loss: Any
    parameters: Floats

    def value(self, parameters: Floats) -> float:
        losses = self.loss.value(self.design @ parameters, self.label)
        return float(self.weight @ losses / self.weight.sum() + 0.5 * parameters @ self.penalty @ parameters)

    @staticmethod
    def of(model: EncodedModel, rows: Rows, strengths: dict[str, float]) -> Optimum:
        assert isinstance(rows, MemoryRows)
        weight = np.concatenate([chunk.weight for chunk in rows.chunks if chunk.weight is not None])
        label, loss, X = np.concatenate([chunk.label for chunk in rows.chunks]), loss_of(model.target), design(rows)
        penalty = np.zeros((X.shape[1], X.shape[1]))
        for name, term in encoding_terms(model.encoding).items():
            centre = 0.0 if term.unit.centre is None else term.unit.centre
            penalty[term.part, term.part] += strengths[name] / weight.sum() * term.unit.matrix + centre
        w = model.parameters.copy()
        for _ in range(30):
            eta = X @ w
            gradient = X.T @ (weight * loss.slope(eta, label)) / weight.sum() + penalty @ w
            bent = weight * loss.least_curvature(eta, eta) / weight.sum()
            w = w - np.linalg.solve(X.T @ (bent[:, None] * X) + penalty, gradient)
        return Optimum(penalty, X, label, weight, loss, w)


def check(fit: Fit, table: Table, folder: Path) -> Optimum:
    """Check what a fit states against the optimum of the objective written out, and that it is verified."""
    model, rows = fit.model, encode_rows(fit.model, table, 1).rows
    strengths = dict(fit.structure.strengths)
    true = Optimum.of(model, rows, strengths)
    rng = np.random.default_rng(0)
    objective = fit_objective(model.target, model.encoding, strengths, fit.alpha, rows.total_weight)
    for scale in (0.1, 3.0):
        w = scale * rng.normal(size=len(model.parameters))
        assert objective.value(rows, w) == pytest.approx(true.value(w), rel=1e-12)
    stated = fit.certificate
    assert stated.certified, stated.reason
    assert stated.loss_bound is not None
    assert stated.coefficient_bound is not None
    assert true.value(model.parameters) - true.value(true.parameters) <= stated.loss_bound + 1e-15
    assert np.abs(model.parameters - true.parameters).max() <= stated.coefficient_bound + 1e-13
    found = verify_model(save(model, fit.record(), folder), table)
    assert (found.holds, found.reasons) == (True, ())
    return true


@pytest.mark.parametrize("growth", GROWTH)
@pytest.mark.parametrize("kind", KINDS)
def test_every_start_ends_at_the_optimum_of_one_objective(
    kind: str, growth: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchlearn.training.train.choose_structure", choosing(KINDS[kind][1]))
    old, new = columns(kind, ROWS, 1), columns(kind, GROWTH[growth], 2)
    recipe = Recipe(KINDS[kind][2], holdout=0.0)
    begun = train(table_of(kind, old), recipe, threads=1)
    check(begun, table_of(kind, old), tmp_path / "scratch")
    kept = statistics_of(begun, table_of(kind, old), 1)
    assert kept is not None
    totals = load(dump(kept), begun.model.encoding.layout, begun.model.loss)
    strengths = {
        name: STRENGTHS.get(name, 0.0) or begun.structure.strengths[name] for name in begun.structure.strengths
    }
    champion = Champion(begun.model, 0.0, 0.0, 1, strengths, recipe.to_json(), totals)
    everything, stayed = pa.concat_tables([old, new]), pa.concat_tables([old.slice(GONE), new])
    whole = TrainingTables(table_of(kind, everything), table_of(kind, new), None)
    window = TrainingTables(table_of(kind, stayed), table_of(kind, new), table_of(kind, old.slice(0, GONE)))
    for name, start, parts in (
        ("warm", "warm", whole),
        ("update", "update", whole),
        ("warm in a window", "warm", window),
        ("update in a window", "update", window),
    ):
        fit = finish(train_from(start, champion, recipe, parts, 1))
        check(fit, parts.everything, tmp_path / name)
    tuned = finish(train_from("fine-tune", champion, recipe, whole, 1))
    true = Optimum.of(tuned.model, encode_rows(tuned.model, whole.everything, 1).rows, strengths)
    gap = true.value(tuned.model.parameters) - true.value(true.parameters)
    proved = str(tuned.notes[0]).split("is within ")
    assert len(proved) == 1 or gap <= 1.01 * float(proved[1].split(" ")[0])


@pytest.mark.parametrize("scale", [37.0, 0.02])
@pytest.mark.parametrize("kind", ["bins", "missing", "cyclic"])
def test_new_rows_whose_weights_have_another_scale_count_as_they_came(
    kind: str, scale: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update is the optimum of all rows under the first training's constant, and so is a removal."""
    monkeypatch.setattr("batchlearn.training.train.choose_structure", choosing(KINDS[kind][1]))
    old, new = columns(kind, ROWS, 1), columns(kind, 200, 2)
    place = new.schema.get_field_index("weight")
    new = new.set_column(place, "weight", pa.array(scale * np.asarray(new["weight"])))
    recipe = Recipe(KINDS[kind][2], holdout=0.0)
    begun = train(table_of(kind, old), recipe, threads=1)
    constant = begun.model.weight_constant
    assert constant == pytest.approx(np.asarray(old["weight"]).mean(), rel=1e-14)
    kept = statistics_of(begun, table_of(kind, old), 1)
    assert kept is not None
    totals = load(dump(kept), begun.model.encoding.layout, begun.model.loss)
    champion = Champion(begun.model, 0.0, 0.0, 1, dict(begun.structure.strengths), recipe.to_json(), totals)
    everything, stayed = pa.concat_tables([old, new]), pa.concat_tables([old.slice(GONE), new])
    for name, rows, gone in (("update", everything, None), ("window", stayed, table_of(kind, old.slice(0, GONE)))):
        parts = TrainingTables(table_of(kind, rows), table_of(kind, new), gone)
        fit = finish(train_from("update", champion, recipe, parts, 1))
        assert fit.model.weight_constant == constant
        true = check(fit, parts.everything, tmp_path / name)
        assert true.weight == pytest.approx(np.asarray(rows["weight"]) / constant, rel=1e-14)
    again = train(table_of(kind, everything), recipe, threads=1)
    assert again.model.weight_constant == pytest.approx(np.asarray(everything["weight"]).mean(), rel=1e-14)


def test_classes_are_verified_from_scratch_and_warm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than two classes keep no totals, so they have these two starts."""
    monkeypatch.setattr("batchlearn.training.train.choose_structure", choosing((PairTerm(X, COLOUR),)))
    old, new = columns("classes", ROWS, 1), columns("classes", 200, 2)
    recipe = Recipe(holdout=0.0)
    begun = train(table_of("classes", old), recipe, threads=1)
    assert statistics_of(begun, table_of("classes", old), 1) is None
    champion = Champion(begun.model, 0.0, 0.0, 1, dict(begun.structure.strengths), recipe.to_json(), None)
    parts = TrainingTables(table_of("classes", pa.concat_tables([old, new])), table_of("classes", new), None)
    warm = finish(train_from("warm", champion, recipe, parts, 1))
    for name, fit, table in (("scratch", begun, table_of("classes", old)), ("warm", warm, parts.everything)):
        assert fit.certificate.certified
        assert verify_model(save(fit.model, fit.record(), tmp_path / name), table).reasons == ()
        rows = encode_rows(fit.model, table, 1).rows
        strengths = fit.structure.strengths
        objective = fit_objective(fit.model.target, fit.model.encoding, strengths, fit.alpha, rows.total_weight)
        centre = encoding_terms(fit.model.encoding)["x x colour"]
        assert centre.unit.centre is not None
        size = rows.layout.size
        for k in range(2):
            part = slice(centre.part.start + k * size, centre.part.stop + k * size)
            block = next(matrix for there, matrix in objective.penalty.blocks if there == part)
            assert block == pytest.approx(40.0 / rows.total_weight * centre.unit.matrix + centre.unit.centre)
