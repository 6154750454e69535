"""What is wrong with an estimator, each with what to do about it, and a champion that stays."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.cli.made import one_object, process
from tests.estimators.brought.made import small
from tests.retraining.made import SETTINGS_TEXT, add_days, day, make_project, turn

import batchlearn as bl
from batchlearn.artifacts.store import FolderStore
from batchlearn.cli.options.recipe import learner_settings
from batchlearn.registry.promotions import champion
from batchlearn.registry.version import version_numbers

FILE = """\
import numpy as np


class Good:
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.full((len(X), 2), 0.5)

    def predict(self, X):
        return np.zeros(len(X))


class Fails(Good):
    def fit(self, X, y):
        raise RuntimeError("there is no\\nway")


class NotANumber(Good):
    def predict_proba(self, X):
        return np.full((len(X), 2), np.nan)


class OneColumn(Good):
    def predict_proba(self, X):
        return np.full((len(X), 1), 0.5)


class FewRows(Good):
    def predict_proba(self, X):
        return np.full((1, 2), 0.5)


class NoShares(Good):
    def predict_proba(self, X):
        return np.full((len(X), 2), 1.5)


class Prints(Good):
    def fit(self, X, y):
        print("{not JSON")
        return super().fit(X, y)


def nothing():
    return object()


def unmade():
    raise KeyError("x")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "odd_models", raising=False)
    (tmp_path / "odd_models.py").write_text(FILE)
    return tmp_path


def refused(estimator: Any, target: str = "two", **recipe: Any) -> tuple[int, str, str]:
    table = bl.read(small(60), target=target, drop=["three", "number", "count", "weight", "days"])
    with pytest.raises(bl.BatchlearnError) as found:
        bl.train(table, bl.Recipe(**recipe), model=estimator)
    return found.value.exit_code, found.value.code, found.value.message


@pytest.mark.parametrize(
    ("model", "code", "said"),
    [
        ("no_such_package.Model", "learner-module-missing", "No module named 'no_such_package'"),
        ("LGBMClassifier", "learner-path", "needed is an import path"),
        ("lightgbm.LGBMClassifer", "learner-name", "did you mean 'LGBMClassifier'?"),
        ("missing.py:build", "learner-file-missing", "There is no file"),
        ("odd_models.py:Goood", "learner-name", "did you mean 'Good'?"),
        ("odd_models.py:nothing", "learner-no-estimator", "needs the methods fit and predict"),
        ("sklearn.preprocessing.StandardScaler", "learner-no-estimator", "needs the methods fit and predict"),
        ("lightgbm.LGBMRegressor", "learner-task", "a classifier is needed"),
    ],
)
def test_what_names_no_estimator_is_a_usage_error(model: str, code: str, said: str, here: Path) -> None:
    assert here.is_dir()
    exit_code, found, message = refused(model)
    assert (exit_code, found) == (2, code)
    assert said in message


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("unmade", "learner-failed", "KeyError"),
        ("Fails", "learner-failed", "RuntimeError: 'there is no way'"),
        ("NotANumber", "learner-response", "is not finite in 60 places"),
        ("OneColumn", "learner-response", "came in the shape (60, 1); (60,) is needed"),
        ("FewRows", "learner-response", "shape"),
        ("NoShares", "learner-response", "is no probability"),
    ],
)
def test_what_an_estimator_does_wrong_is_a_fault_of_data(name: str, code: str, said: str, here: Path) -> None:
    assert here.is_dir()
    exit_code, found, message = refused(f"odd_models.py:{name}")
    assert (exit_code, found) == (3, code)
    assert said in message
    assert f"odd_models.py:{name}" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import not_there_at_all\n", "No module named 'not_there_at_all'"),
        ("raise OSError('no disk')\n", "OSError: 'no disk'"),
        ("def build(:\n", "SyntaxError"),
    ],
)
def test_a_file_that_cannot_be_imported_says_why(text: str, said: str, here: Path) -> None:
    (here / "odd_models.py").write_text(text)
    exit_code, code, message = refused("odd_models.py:build")
    assert exit_code == 2
    assert code in ("learner-module-missing", "learner-not-imported")
    assert said in message
    assert "odd_models" not in sys.modules


@pytest.mark.parametrize(
    ("model", "setting", "said"),
    [
        ("sklearn.ensemble.HistGradientBoostingClassifier", "max_itr", "did you mean 'max_iter'?"),
        ("lightgbm.LGBMClassifier", "n_estimatorz", "did you mean 'n_estimators'?"),
        ("odd_models.py:Good", "depth", "it has 'none'."),
    ],
)
def test_a_parameter_that_it_does_not_know_has_the_nearest_name(
    model: str, setting: str, said: str, here: Path
) -> None:
    assert here.is_dir()
    exit_code, code, message = refused(None, model=model, set={setting: 3})
    assert (exit_code, code) == (2, "learner-parameter")
    assert said in message


def test_what_a_library_knows_by_other_names_is_passed_on(here: Path) -> None:
    assert here.is_dir()
    table = bl.read(small(60), target="two", drop=["three", "number", "count", "weight", "days"])
    settings = {"bagging_freq": 1, "bagging_fraction": 0.5, "n_jobs": 1, "n_estimators": 2}
    assert bl.train(table, bl.Recipe(model="lightgbm.LGBMClassifier", set=settings)).model.learned_by


def test_an_extra_that_is_absent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    exit_code, code, message = refused("xgboost.XGBClassifier")
    assert (exit_code, code) == (2, "extra-missing")
    assert message.endswith("pip install 'batchlearn[xgboost]'")


def test_settings_of_our_own_models_are_none_of_an_estimators(here: Path) -> None:
    assert here.is_dir()
    for own in ({"alpha": 0.1}, {"tolerance": 1e-6}, {"batch_size": 32}):
        with pytest.raises(bl.UsageError, match="belongs to our own models") as found:
            bl.Recipe(model="odd_models.py:Good", **own)
        assert found.value.code == "learner-recipe"
    with pytest.raises(bl.UsageError) as found:
        bl.Recipe(set={"depth": 3})
    assert found.value.code == "learner-setting-without-model"


def test_a_checkpoint_is_of_our_own_fits(tmp_path: Path) -> None:
    table = bl.read(small(), target="number", drop=["two", "three"])
    with pytest.raises(bl.UsageError, match="Leave checkpoint=") as refused:
        bl.train(table, model="sklearn.linear_model.Ridge", checkpoint=tmp_path / "checkpoint")
    assert refused.value.code == "checkpoint-learner"


def test_settings_are_numbers_where_they_look_like_numbers() -> None:
    typed = ("a=300", "b=0.1", "c=true", "d=none", "e=gini", "f=1e-3")
    assert learner_settings(typed) == {"a": 300, "b": 0.1, "c": True, "d": None, "e": "gini", "f": 1e-3}
    for odd in (("a",), ("=3",), ("a=1", "a=2")):
        with pytest.raises(bl.UsageError, match="each name once with its value") as refused:
            learner_settings(odd)
        assert refused.value.code == "learner-setting"


def test_three_classes_need_probabilities(here: Path) -> None:
    assert here.is_dir()
    table = bl.read(small(), target="three", drop=["two", "number", "count", "weight", "days"])
    with pytest.raises(bl.UsageError, match="CalibratedClassifierCV") as found:
        bl.train(table, model="sklearn.svm.LinearSVC")
    assert found.value.code == "learner-no-probabilities"


def test_rows_of_no_column_are_refused(here: Path) -> None:
    assert here.is_dir()
    with pytest.raises(bl.DataError, match="No column of table is left") as found:
        bl.train(bl.read({"x": [1.0] * 8, "y": [0, 1] * 4}, target="y"), model="odd_models.py:Good")
    assert found.value.code == "learner-without-columns"


def test_what_an_estimator_prints_is_no_answer_of_ours(here: Path) -> None:
    pq.write_table(small(60).select(["price[EUR]", "level", "two"]), here / "rows.parquet")
    words = ["train", "rows.parquet", "--target", "two", "--model", "odd_models.py:Prints", "--json"]
    done = process(words, here)
    assert done.returncode == 0, done.stderr
    assert one_object(done.stdout)["learner"] == "odd_models.py:Prints"
    assert "{not JSON" in done.stderr


def test_a_champion_stays_where_its_challenger_fails(here: Path) -> None:
    root = make_project(here / "project")
    add_days(root, 0, 10)
    assert turn(root, day(13)).promoted
    (root / "odd_models.py").write_text(FILE)
    make_project(root, SETTINGS_TEXT, {"alpha = 0.01": 'model = "odd_models.py:Fails"'})
    add_days(root, 10, 20)
    with pytest.raises(bl.DataError, match="there is no way") as found:
        turn(root, day(23))
    assert found.value.exit_code == 3
    stands = champion(FolderStore(root))
    assert stands is not None
    assert (stands.version, version_numbers(FolderStore(root))) == (1, [1])


def test_a_model_that_keeps_no_estimator_says_so(here: Path) -> None:
    table = bl.read(small(60), target="two", drop=["three", "number", "count", "weight", "days"])
    fit = bl.train(table, model="odd_models.py:Good")
    assert np.all(fit.model.predict(table).response == 0.5)
    loaded = bl.load(fit.save(here / "model"))
    with pytest.raises(bl.UsageError) as found:
        loaded.predict(table)
    assert found.value.code == "learner-not-kept"
