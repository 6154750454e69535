"""Training on more than two classes, as users see it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

import batchlearn as bl
from batchlearn.models.files import load
from batchlearn.solvers.quasi_newton import LimitedMemory
from batchlearn.training import certificate as certificates
from batchlearn.training import optimise
from batchlearn.training.evaluate import evaluate
from batchlearn.training.verification.stored import verify_model


def flowers(rows: int, seed: int = 0) -> pa.Table:
    """Return three classes whose log odds are linear in two numbers."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(2, rows))
    logits = np.stack([np.zeros(rows), 1.2 * x - 0.5, -0.8 * x + 1.5 * z])
    share = np.exp(logits) / np.exp(logits).sum(axis=0)
    drawn = (rng.random(rows) > np.cumsum(share, axis=0)).sum(axis=0)
    return pa.table({"x": x, "z": z, "kind": np.array(["iris", "rose", "tulip"])[drawn]})


@pytest.fixture(scope="module")
def fit() -> bl.Fit:
    return bl.train(bl.read(flowers(3_000), target="kind"))


def test_a_text_of_three_values_is_learned_certified(fit: bl.Fit) -> None:
    assert fit.model.loss == "softmax"
    assert fit.certificate.certified
    assert fit.evaluation is not None
    figures = fit.evaluation.to_json()
    assert figures["metrics"]["log_loss"]["value"] < figures["baselines"]["constant"]["log_loss"]["value"]
    assert figures["metrics"]["accuracy"]["value"] > 0.55
    loo = figures["leave_one_out"]["log_loss"]["value"]
    assert loo == pytest.approx(figures["metrics"]["log_loss"]["value"], rel=0.1)


def test_many_coefficients_are_left_out_one_by_one_only_where_drift_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(optimise, "default_solver", lambda *_: LimitedMemory())
    rows = flowers(1_500)
    rows = rows.append_column("day", pa.array(np.arange(1_500)))
    drawn = rows.drop_columns(["day"])
    few, *_ = fits = [bl.train(bl.read(drawn, target="kind"))]
    monkeypatch.setattr(certificates, "KEPT_COEFFICIENTS", 1)
    fits += [bl.train(bl.read(drawn, target="kind")), bl.train(bl.read(rows, target="kind", time="day"))]
    told = [one.evaluation for one in fits if one.evaluation is not None]
    assert [one.leave_one_out is not None for one in told] == [True, False, True]
    assert told[2].drift is not None
    assert told[1].metrics["log_loss"].value == pytest.approx(told[0].metrics["log_loss"].value, rel=1e-4)
    assert fits[1].certificate == few.certificate
    assert fits[1].standard_errors == few.standard_errors


def test_coefficients_of_a_column_sum_to_zero_and_are_the_ones_that_drew_the_labels(fit: bl.Fit) -> None:
    found = bl.train(bl.read(flowers(20_000), target="kind"), bl.Recipe(alpha=1e-6, holdout=0.0)).coefficients
    assert sum(found[f"{kind}: x"] for kind in ("iris", "rose", "tulip")) == pytest.approx(0.0, abs=1e-12)
    assert found["rose: x"] - found["iris: x"] == pytest.approx(1.2, abs=0.1)
    assert found["tulip: z"] - found["iris: z"] == pytest.approx(1.5, abs=0.1)
    assert set(fit.standard_errors) == set(fit.coefficients)


def test_the_optimum_is_that_of_scikit_learn() -> None:
    rows = flowers(2_000)
    alpha = 1e-3
    fit = bl.train(bl.read(rows, target="kind"), bl.Recipe(alpha=alpha, holdout=0.0, tolerance=1e-13))
    x = np.column_stack([rows["x"].to_numpy(), rows["z"].to_numpy()])
    scale = x.std(axis=0)
    peer = LogisticRegression(C=1.0 / (alpha * len(x)), tol=1e-10, max_iter=10_000)
    peer.fit((x - x.mean(axis=0)) / scale, rows["kind"].to_numpy(zero_copy_only=False))
    shares = peer.predict_proba((x - x.mean(axis=0)) / scale)
    assert fit.model.predict(rows).response == pytest.approx(shares, abs=1e-5)


def test_predictions_have_a_probability_for_each_class_and_hold_their_bounds(fit: bl.Fit, tmp_path: Path) -> None:
    rows = flowers(500, seed=3)
    fit.save(tmp_path / "model")
    model = load(tmp_path / "model")
    found = model.predict(rows, bounds=True)
    assert found.response.shape == (500, 3)
    assert found.response.sum(axis=1) == pytest.approx(np.ones(500))
    assert found.bound is not None
    tight = bl.train(bl.read(flowers(3_000), target="kind"), bl.Recipe(tolerance=1e-14))
    moved = np.abs(tight.model.predict(rows).response - found.response).max(axis=1)
    assert tight.structure.name == fit.structure.name
    assert np.all(moved <= found.bound)
    written = model.to_table(found)
    assert written.schema.names[:3] == ["prediction", "probability", "probability iris"]
    assert written["prediction"].to_pylist() == [
        ("iris", "rose", "tulip")[k] for k in np.argmax(found.response, axis=1)
    ]


def test_a_saved_model_is_evaluated_and_verified(fit: bl.Fit, tmp_path: Path) -> None:
    fit.save(tmp_path / "model")
    verified = verify_model(tmp_path / "model", flowers(3_000))
    assert verified.reasons == ()
    other = [*flowers(3_000)["kind"].to_pylist()]
    other[7] = "rose" if other[7] != "rose" else "iris"
    changed = flowers(3_000).set_column(2, "kind", pa.array(other))
    assert verify_model(tmp_path / "model", changed).reasons
    later = flowers(1_000, seed=9)
    later = later.set_column(2, "kind", pa.array(["lily", *later["kind"].to_pylist()[1:]]))
    judged = evaluate(load(tmp_path / "model"), bl.read(later, target="kind"))
    assert dict(judged.unseen_classes) == {"lily": 1}
    assert judged.metrics["log_loss"].value is not None


def test_classes_that_only_later_rows_have_are_left_out_of_the_evaluation_and_counted() -> None:
    rows = flowers(1_000)
    kinds = rows["kind"].to_pylist()
    kinds[950:960] = ["lily"] * 10
    rows = rows.set_column(2, "kind", pa.array(kinds)).append_column("t", pa.array(range(1_000)))
    fit = bl.train(bl.read(rows, target="kind", time="t"))
    assert fit.model.target.classes == ("iris", "lily", "rose", "tulip")
    assert fit.evaluation is not None
    assert fit.evaluation.rows == 190
    assert any("10 held-out rows have a class that the earlier rows lack" in note for note in map(str, fit.notes))
    assert "class lily" in bl.page(fit) or "lily" in bl.page(fit)
