"""Files without pickle: the bits that were saved come back, and what could lead native code astray is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.cli.made import environment
from tests.estimators.brought.made import MY_MODELS, small

import batchlearn as bl
from batchlearn import cli
from batchlearn.models.brought import BroughtModel
from batchlearn.models.brought.trees import check_lightgbm, check_xgboost

SMALL: dict[str, Any] = {"n_estimators": 3, "n_jobs": 1}
DROP = ["number", "count", "weight", "days"]
LEARNERS = {"lightgbm.LGBMClassifier": "learner.txt", "xgboost.XGBClassifier": "learner.json"}


def fitted(path: str, target: str = "two", **recipe: Any) -> bl.Fit:
    other = {"two": "three", "three": "two"}[target]
    table = bl.read(small(), target=target, drop=[*DROP, other])
    return bl.train(table, bl.Recipe(model=path, holdout=0.0, **recipe))


@pytest.fixture(scope="module")
def trees() -> dict[str, bytes]:
    found = {}
    for path in LEARNERS:
        model = fitted(path, "three", set=SMALL).model
        assert isinstance(model, BroughtModel)
        found[path] = model.kept
    return found


@pytest.mark.parametrize("path", LEARNERS)
def test_boosting_is_kept_in_its_own_format_to_the_last_bit(path: str, tmp_path: Path) -> None:
    fit = fitted(path, "three", set=SMALL)
    loaded = bl.load(fit.save(tmp_path / "model"))
    assert {file.name for file in (tmp_path / "model").iterdir()} == {
        "manifest.json",
        "model.json",
        "weights.safetensors",
        LEARNERS[path],
    }
    assert np.array_equal(loaded.predict(small()).response, fit.model.predict(small()).response)
    assert loaded.no_certificate == fit.model.no_certificate


@pytest.mark.parametrize("path", LEARNERS)
def test_predicting_needs_its_library_and_nothing_that_trains(path: str, tmp_path: Path) -> None:
    folder = fitted(path, set=SMALL).save(tmp_path / "model")
    code = (
        "import sys, batchlearn as bl\n"
        f"bl.load({str(folder)!r}).predict({{'when': [], 'price[EUR]': [], 'level': []}})\n"
        f"bl.load({str(folder)!r}).predict({{'when': [None], 'price[EUR]': [1.0], 'level': ['a']}})\n"
        "print(*sys.modules, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert path.partition(".")[0] in loaded
    ours = ("training", "solvers", "selection", "statistics", "objectives", "estimators", "retraining", "evaluation")
    assert [name for name in loaded if name.startswith(tuple(f"batchlearn.{one}" for one in ours))] == []


def changed_text(name: str, tree: int, place: int, value: str) -> Callable[[bytes], bytes]:
    """Change one entry of a list of one tree of LightGBM."""

    def change(data: bytes) -> bytes:
        head, *parts = data.decode().split("\nTree=")
        lines = parts[tree].splitlines()
        at = next(k for k, line in enumerate(lines) if line.startswith(f"{name}="))
        values = lines[at].partition("=")[2].split()
        values[place] = value
        lines[at] = f"{name}={' '.join(values)}"
        parts[tree] = "\n".join(lines) + "\n"
        return "\nTree=".join([head, *parts]).encode()

    return change


@pytest.mark.parametrize(
    "change",
    [
        changed_text("split_feature", 0, 0, "99"),
        changed_text("split_feature", 2, 0, "-1"),
        changed_text("left_child", 0, 0, "99"),
        changed_text("left_child", 0, 0, "0"),
        changed_text("right_child", 1, 0, "-99"),
        changed_text("num_leaves", 0, 0, "3000"),
        changed_text("num_leaves", 0, 0, "-3"),
        changed_text("is_linear", 0, 0, "1"),
        lambda data: data.replace(b"max_feature_idx=", b"max_feature_idx=-"),
        lambda data: data.replace(b"num_tree_per_iteration=3", b"num_tree_per_iteration=2000000000"),
        lambda data: data[: len(data) // 2],
        lambda _: b"tree\n",
        lambda _: b"\xff\xfe",
    ],
)
def test_an_index_of_lightgbm_that_leads_out_is_refused(
    change: Callable[[bytes], bytes], trees: dict[str, bytes]
) -> None:
    data = trees["lightgbm.LGBMClassifier"]
    check_lightgbm(data)
    altered = change(data)
    assert altered != data
    with pytest.raises(bl.IntegrityError) as found:
        check_lightgbm(altered)
    assert (found.value.code, found.value.exit_code) == ("learner-damaged", 6)


def changed_json(name: str, place: int, value: Any, tree: int = 0) -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        found["learner"]["gradient_booster"]["model"]["trees"][tree][name][place] = value

    return change


def set_at(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        for key in path[:-1]:
            found = found[key]
        found[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        changed_json("left_children", 0, 5000),
        changed_json("left_children", 0, 0),
        changed_json("right_children", 0, -7),
        changed_json("split_indices", 0, 77),
        changed_json("split_type", 0, 1),
        lambda found: found["learner"]["gradient_booster"]["model"]["trees"][0]["split_conditions"].pop(),
        lambda found: found["learner"]["gradient_booster"]["model"]["trees"].pop(),
        set_at("learner", "gradient_booster", "name", value="dart2"),
        set_at("learner", "gradient_booster", "model", "tree_info", value=[7] * 9),
        set_at("learner", "gradient_booster", "model", "iteration_indptr", value=[0, 99]),
        set_at("learner", "learner_model_param", "num_feature", value="1"),
        set_at("learner", value=[]),
    ],
)
def test_an_index_of_xgboost_that_leads_out_is_refused(change: Any, trees: dict[str, bytes]) -> None:
    data = trees["xgboost.XGBClassifier"]
    check_xgboost(data)
    found = json.loads(data)
    change(found)
    with pytest.raises(bl.IntegrityError) as refused:
        check_xgboost(json.dumps(found).encode())
    assert refused.value.code == "learner-damaged"


def test_levels_of_xgboost_are_looked_through_too(trees: dict[str, bytes]) -> None:
    data = trees["xgboost.XGBClassifier"]
    forest = json.loads(data)["learner"]["gradient_booster"]["model"]["trees"]
    with_levels = [place for place, tree in enumerate(forest) if tree["categories"]]
    assert with_levels, "a tree asks for levels, or this tests nothing"
    for name, value in (("categories_segments", 500), ("categories_sizes", 500), ("categories_nodes", 500)):
        found = json.loads(data)
        changed_json(name, 0, value, with_levels[0])(found)
        with pytest.raises(bl.IntegrityError):
            check_xgboost(json.dumps(found).encode())


def test_an_object_of_other_types_is_restored_only_where_they_are_named(tmp_path: Path) -> None:
    path = "sklearn.ensemble.RandomForestClassifier"
    unkept = fitted(path, set=SMALL).model
    assert isinstance(unkept, BroughtModel)
    assert (unkept.learner.kept_by, unkept.learner.types) == (None, ("sklearn.tree._tree.Tree",))
    fit = fitted(path, set=SMALL, trust=unkept.learner.types)
    folder = fit.save(tmp_path / "model")
    assert (folder / "learner.skops").is_file()
    with pytest.raises(bl.UsageError, match=r"--trust sklearn\.tree\._tree\.Tree") as found:
        bl.load(folder).predict(small())
    assert found.value.code == "learner-needs-trust"
    loaded = bl.load(folder, trust=unkept.learner.types)
    assert np.array_equal(loaded.predict(small()).response, fit.model.predict(small()).response)


def test_code_of_the_user_is_imported_where_it_is_named_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "my_models.py").write_text(MY_MODELS.replace('"size"', '"days"'))
    table = bl.read(small(), target="two", drop=["three", "number", "count", "weight"])
    recipe = bl.Recipe(model="my_models.py:Cut", folder=str(tmp_path), trust=("my_models.Cut",), holdout=0.0)
    folder = bl.train(table, recipe).save(tmp_path / "model")
    with pytest.raises(bl.UsageError, match=r"Name it: --code my_models\.py") as refused:
        bl.load(folder, trust=recipe.trust).predict(small())
    assert refused.value.code == "learner-needs-code"
    named = bl.load(folder, trust=recipe.trust, code=tmp_path / "my_models.py")
    assert len(named.predict(small()).response) == 300


def test_what_no_file_holds_is_fitted_again_to_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pq.write_table(small().slice(0, 200), "rows.parquet")
    pq.write_table(small().slice(1, 200), "others.parquet")
    path = "sklearn.ensemble.RandomForestClassifier"
    roles = ("--target", "two", "--drop", "three,number,count,weight,days", "--where", "weight > 0.6")
    assert cli.main(["train", "rows.parquet", *roles, "--model", path, "--set", "n_estimators=3", "--output", "m"]) == 0
    predict = ["predict", "m", "others.parquet", "-o", "scored.parquet", "--force", "--json"]
    capsys.readouterr()
    for given, code, slug in (
        ([], 2, "learner-not-kept"),
        (["--rebuild", "rows.parquet"], 2, "learner-path"),
        (["--rebuild", "rows.parquet", "--learner", "sklearn.ensemble.ExtraTreesClassifier"], 2, "learner-path"),
        (["--rebuild", "others.parquet", "--learner", path], 6, "learner-not-rebuilt"),
    ):
        assert cli.main([*predict, *given]) == code
        assert json.loads(capsys.readouterr().out)["error"]["code"] == slug
    assert cli.main([*predict, "--rebuild", "rows.parquet", "--learner", path]) == 0
    table = bl.read("rows.parquet", target="two", drop=roles[3].split(","), where="weight > 0.6")
    fit = bl.train(table, bl.Recipe(model=path, set={"n_estimators": 3}))
    rebuilt = pq.read_table("scored.parquet").column("probability_yes").to_numpy()
    assert np.array_equal(rebuilt, fit.model.predict("others.parquet").response)


def test_another_version_of_a_package_is_another_model(tmp_path: Path) -> None:
    fit = fitted("lightgbm.LGBMClassifier", set=SMALL)
    model = fit.model
    assert isinstance(model, BroughtModel)
    other = replace(fit, model=replace(model, learner=replace(model.learner, packages={"lightgbm": "0.1"})))
    with pytest.raises(bl.IntegrityError, match=r"made with lightgbm 0\.1") as found:
        bl.load(other.save(tmp_path / "other")).predict(small())
    assert (found.value.code, found.value.exit_code) == ("learner-changed", 6)
    gone = replace(fit, model=replace(model, learner=replace(model.learner, packages={"not-there": "1"})))
    with pytest.raises(bl.UsageError) as absent:
        bl.load(gone.save(tmp_path / "gone")).predict(small())
    assert absent.value.code == "learner-package-missing"


def test_a_learner_beside_another_description_is_refused(tmp_path: Path) -> None:
    from batchlearn.artifacts.manifest import MANIFEST, manifest_of

    folder = fitted("xgboost.XGBClassifier", set=SMALL).save(tmp_path / "model")
    (folder / "learner.json").rename(folder / "learner.txt")
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.name != MANIFEST}
    (folder / MANIFEST).write_bytes(manifest_of(files))
    with pytest.raises(bl.IntegrityError, match="the files beside it are not those of its learner"):
        bl.load(folder)
