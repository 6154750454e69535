"""CatBoost: its JSON is looked through before native code reads it, and predicts what the estimator did, to the bit.

The checks are tried on trees made by hand. What needs the library itself is passed over where it is not installed.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow.parquet import write_table
from tests.estimators.brought.made import small
from tests.retraining.made import orders
from tests.test_imports import loaded_by, within

import batchlearn as bl
from batchlearn.formatting.notes import Code
from batchlearn.models.brought import BroughtModel
from batchlearn.models.brought.formats import catboost_estimator
from batchlearn.models.brought.trees import check_catboost
from batchlearn.training.brought.starts import go_on

SMALL: dict[str, Any] = {"iterations": 10, "thread_count": 1}
OTHERS = ("two", "three", "number", "count", "weight", "days")


def float_split(place: int, feature: int, border: float) -> dict[str, Any]:
    return {"split_index": place, "float_feature_index": feature, "border": border, "split_type": "FloatFeature"}


def two_trees() -> dict[str, Any]:
    """Two features with borders (-1, 0.5) and (2), a tree of two splits and one of one split."""
    features = [
        {
            "borders": borders,
            "feature_id": name,
            "feature_index": place,
            "flat_feature_index": place,
            "has_nans": False,
            "nan_value_treatment": "AsIs",
        }
        for place, (name, borders) in enumerate([("a", [-1.0, 0.5]), ("b", [2])])
    ]
    return {
        "features_info": {"float_features": features},
        "model_info": {"params": {"loss_function": {"type": "RMSE", "params": {}}, "flat_params": {}}},
        "oblivious_trees": [
            {
                "leaf_values": [1, 10.0, 100.0, 0.1],
                "leaf_weights": [1, 2, 3, 4],
                "splits": [float_split(1, 0, 0.5), float_split(2, 1, 2)],
            },
            {"leaf_values": [0.25, 0.5], "leaf_weights": [5, 5], "splits": [float_split(0, 0, -1.0)]},
        ],
        "scale_and_bias": [1, [1000]],
    }


def at(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(found: Any) -> None:
        for key in path[:-1]:
            found = found[key]
        found[path[-1]] = value

    return change


SPLIT = ("oblivious_trees", 0, "splits", 0)


@pytest.mark.parametrize(
    "change",
    [
        at(*SPLIT, "split_index", value=3),
        at(*SPLIT, "split_index", value=-1),
        at(*SPLIT, "split_index", value=0),
        at(*SPLIT, "float_feature_index", value=7),
        at(*SPLIT, "border", value=0.25),
        at(*SPLIT, "split_type", value="OneHotFeature"),
        at("features_info", "float_features", 0, "flat_feature_index", value=500),
        at("features_info", "float_features", 1, "feature_index", value=0),
        at("features_info", "float_features", 0, "borders", value=[0.5, -1.0]),
        at("features_info", "float_features", 1, "borders", value=[]),
        at("features_info", "categorical_features", value=[{"feature_index": 0, "flat_feature_index": 2}]),
        at("oblivious_trees", 0, "leaf_values", value=[1.0, 2.0]),
        at("oblivious_trees", 1, "leaf_values", value=[1.0, 2.0, 3.0, 4.0]),
        at("oblivious_trees", 0, "leaf_weights", value=[1, 2, 3]),
        at("oblivious_trees", 0, "leaf_weights", value=[1, 2, 3, -4]),
        at("oblivious_trees", 0, "splits", value=None),
        at("oblivious_trees", 0, "splits", value=[float_split(0, 0, -1.0)] * 500),
        at("oblivious_trees", value=[]),
        at("features_info", "float_features", 1, "borders", value=[2, 1e300]),
        at("trees", value=[]),
        at("ctr_data", value={}),
        at("scale_and_bias", value=[1, [0, 0]]),
        at("scale_and_bias", value=[1]),
        at("model_info", value=[]),
        at("model_info", "class_params", value={"class_label_type": "Integer"}),
    ],
)
def test_an_index_of_catboost_that_leads_out_is_refused(change: Callable[[dict[str, Any]], None]) -> None:
    found = two_trees()
    assert check_catboost(json.dumps(found).encode(), 0) == ([1.0, 10.0, 100.0, 0.1, 0.25, 0.5], 1.0, [1000.0])
    change(found)
    with pytest.raises(bl.IntegrityError) as refused:
        check_catboost(json.dumps(found).encode(), 0)
    assert (refused.value.code, refused.value.exit_code) == ("learner-damaged", 6)


def test_the_classes_of_catboost_are_those_of_its_outputs() -> None:
    found = two_trees()
    of_two = {"class_label_type": "Integer", "class_names": [2, 0], "class_to_label": [0, 1], "classes_count": 0}
    found["model_info"]["class_params"] = of_two
    check_catboost(json.dumps(found).encode(), 3)
    for change, classes in (
        ({}, 2),
        ({}, 0),
        ({"class_names": [0, 0]}, 3),
        ({"class_names": [0, 1, 2]}, 3),
        ({"class_names": [0, 0.5]}, 3),
        ({"class_to_label": [1, 0]}, 3),
        ({"class_label_type": "String"}, 3),
    ):
        found["model_info"]["class_params"] = of_two | change
        with pytest.raises(bl.IntegrityError):
            check_catboost(json.dumps(found).encode(), classes)


def test_trees_made_by_hand_are_read_as_they_were_meant() -> None:
    pytest.importorskip("catboost", reason="the extra catboost is not installed")
    estimator = catboost_estimator(json.dumps(two_trees()).encode(), 0)
    rows = np.array([[-2.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 3.0], [1.0, 3.0]])
    # Bit k of a leaf says whether the row lies above the border of split k.
    expected = 1000.0 + np.array([1.0 + 0.25, 1.0 + 0.5, 10.0 + 0.5, 100.0 + 0.5, 0.1 + 0.5])
    assert np.allclose(estimator.predict(rows), expected, rtol=1e-15)


def fitted(kind: str, target: str, drop: tuple[str, ...] = (), recipe: dict[str, Any] | None = None) -> bl.Fit:
    pytest.importorskip("catboost", reason="the extra catboost is not installed")
    table = bl.read(small(), target=target, drop=[*(one for one in OTHERS if one != target), *drop])
    settings: dict[str, Any] = {"model": f"catboost.CatBoost{kind}", "set": SMALL, "holdout": 0.0}
    return bl.train(table, bl.Recipe(**settings | (recipe or {})))


def brought(fit: bl.Fit) -> BroughtModel:
    assert isinstance(fit.model, BroughtModel)
    return fit.model


@pytest.mark.parametrize("drop", [(), ("level",)], ids=["matrix", "frame"])
@pytest.mark.parametrize(
    ("target", "settings"),
    [
        ("two", {}),
        ("three", {}),
        ("number", {}),
        ("count", {"loss_function": "Poisson"}),
    ],
)
def test_catboost_is_kept_in_its_own_format_to_the_last_bit(
    target: str, settings: dict[str, Any], drop: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = "Classifier" if target in ("two", "three") else "Regressor"
    catboost = pytest.importorskip("catboost", reason="the extra catboost is not installed")
    kept, fit_itself = list[Any](), getattr(catboost, f"CatBoost{kind}").fit

    def remembered(self: Any, *given: Any, **named: Any) -> Any:
        kept.append((fit_itself(self, *given, **named), given[0]))
        return self

    monkeypatch.setattr(getattr(catboost, f"CatBoost{kind}"), "fit", remembered)
    monkeypatch.chdir(tmp_path)
    fit = fitted(kind, target, drop, {"set": SMALL | settings})
    assert not list(tmp_path.iterdir()), "CatBoost leaves reports where it is not told otherwise"
    learner = brought(fit).learner
    assert (learner.kept_by, learner.form) == ("catboost", "frame" if drop else "matrix")
    folder = fit.save(tmp_path / "model")
    assert (folder / "learner.catboost.json").is_file()
    estimator, rows = kept[-1]
    said = estimator.predict(rows) if kind == "Regressor" else estimator.predict_proba(rows)
    loaded = bl.load(folder).predict(small()).response
    assert np.array_equal(loaded, said[:, 1] if target == "two" else said)
    assert np.array_equal(loaded, fit.model.predict(small()).response)


def test_trees_of_catboost_predict_without_what_trains(tmp_path: Path) -> None:
    folder = fitted("Regressor", "number").save(tmp_path / "model")
    write_table(small(), tmp_path / "rows.parquet")
    loaded = loaded_by(f"import batchlearn as bl; bl.load({str(folder)!r}).predict({str(tmp_path / 'rows.parquet')!r})")
    assert "catboost" in loaded
    ours = tuple(f"batchlearn.{name}" for name in ("estimators", "retraining", "solvers", "statistics", "training"))
    assert within(loaded, (*ours, "sklearn")) == []


def test_what_json_does_not_hold_to_the_bit_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from catboost import CatBoostClassifier\n\n\ndef levels():\n    return CatBoostClassifier(\n"
        "        iterations=5, thread_count=1, verbose=False, allow_writing_files=False, cat_features=['colour'])\n"
    )
    pytest.importorskip("catboost", reason="the extra catboost is not installed")
    table = bl.read(orders(0, 10), target="bought", time="seen", drop=["user", "known"])
    of_levels = bl.train(table, bl.Recipe(model="mine.py:levels", folder=str(tmp_path)))
    assert brought(of_levels).learner.form == "frame"
    other_shape = fitted("Regressor", "number", recipe={"set": {**SMALL, "grow_policy": "Depthwise"}})
    for fit in (of_levels, other_shape):
        assert (brought(fit).learner.kept_by, brought(fit).kept) == (None, b"")
        assert [note.code for note in fit.notes if note.code is Code.LEARNER_NOT_KEPT]
        assert np.all(np.isfinite(fit.model.predict(table if fit is of_levels else small()).response))


def test_catboost_takes_weights_exposure_and_an_early_stop() -> None:
    pytest.importorskip("catboost", reason="the extra catboost is not installed")
    balanced = fitted("Classifier", "two", recipe={"class_weight": "balanced"})
    share = float(np.mean(np.asarray(small().column("two")) == "yes"))
    assert abs(balanced.model.predict(small()).response.mean() - share) < 0.05
    assert len(brought(balanced).learner.class_weights) == 2
    drop = [one for one in OTHERS if one not in ("count", "days")]
    counts = bl.read(small(), target="count", exposure="days", drop=drop)
    poisson = {"loss_function": "Poisson", **SMALL}
    for settings in (poisson, {**poisson, "grow_policy": "Lossguide"}):
        fit = bl.train(counts, bl.Recipe(model="catboost.CatBoostRegressor", set=settings))
        rows = small()
        twice = rows.set_column(rows.schema.get_field_index("days"), "days", [np.asarray(rows.column("days")) * 2.0])
        once, more = (fit.model.predict(one).response for one in (rows, twice))
        assert np.allclose(more, 2.0 * once, rtol=1e-6)
        assert fit.objective < fit.null_objective
    with pytest.raises(bl.UsageError, match="of CatBoost loss_function=Poisson"):
        bl.train(counts, bl.Recipe(model="catboost.CatBoostRegressor", set=SMALL))
    for rounds in ("iterations", "n_estimators"):
        settings = {"thread_count": 1, rounds: 400, "early_stopping_rounds": 3}
        stopped = brought(fitted("Classifier", "two", recipe={"set": settings}))
        assert stopped.learner.rounds is not None
        assert 1 <= stopped.learner.rounds < 200
        assert stopped.estimator.estimator.tree_count_ == stopped.learner.rounds


def test_trees_are_added_to_those_of_catboost() -> None:
    pytest.importorskip("catboost", reason="the extra catboost is not installed")
    recipe = bl.Recipe(model="catboost.CatBoostClassifier", set=SMALL, holdout=0.0)
    first, whole = (bl.read(orders(0, last), target="bought", time="seen", drop=["user", "known"]) for last in (10, 20))
    model = brought(bl.train(first, recipe))
    before = copy.deepcopy(model.predict(whole).response)
    fit = go_on("warm", model, recipe, whole, 1)
    assert [note.values["how"] for note in fit.notes if note.code is Code.LEARNER_CONTINUED] == ["init_model"]
    assert (model.estimator.estimator.tree_count_, brought(fit).estimator.estimator.tree_count_) == (10, 20)
    assert (brought(fit).learner.kept_by, fit.objective < fit.null_objective) == ("catboost", True)
    assert np.array_equal(before, model.predict(whole).response), "the champion stays as it is"


def test_a_parameter_that_catboost_does_not_have_is_named() -> None:
    pytest.importorskip("catboost", reason="the extra catboost is not installed")
    with pytest.raises(bl.UsageError, match="did you mean 'iterations'") as refused:
        fitted("Classifier", "two", recipe={"set": {"iteration": 5}})
    assert refused.value.code == "learner-parameter"
