"""A life from the first training to the last rollback, for estimators of six kinds; and from one kind to another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.cli.made import SOURCE, Run, in_process, one_object, process, refusal
from tests.estimators.brought.made import MY_MODELS, add_noted
from tests.retraining.made import SETTINGS_TEXT, add_days, day, make_project, turn

from batchlearn import cli
from batchlearn.artifacts.store import FolderStore
from batchlearn.formatting.notes import Code
from batchlearn.models.files import load
from batchlearn.registry.check import check
from batchlearn.registry.loading import load_champion
from batchlearn.registry.place import SETTINGS
from batchlearn.registry.promotions import Reason, champion, promote
from batchlearn.training import brought as brought_along

TREES = (
    "functools.partial",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.utils.validation.check_array",
)
INIT = ("init", "--source", "data/*.parquet", "--target", "bought", "--time", "seen", "--labelled", "known")
KINDS = {
    "lightgbm": ("lightgbm.LGBMClassifier", ("n_estimators=10", "n_jobs=1"), ()),
    "xgboost": ("xgboost.XGBClassifier", ("n_estimators=10", "n_jobs=1"), ()),
    "catboost": ("catboost.CatBoostClassifier", ("iterations=10", "thread_count=1"), ()),
    "pipeline": ("my_models.py:boosted", (), TREES),
    "words": ("my_models.py:words", (), ()),
    "by hand": ("my_models.py:Cut", ("column=size",), ("my_models.Cut",)),
}
LIGHTGBM = 'model = "lightgbm.LGBMClassifier"\nset = {n_estimators = 5, n_jobs = 1, learning_rate = 0.5}'
# What goes on from the champion, and how; the others have no start and are trained from scratch, which is said.
WARM = {"lightgbm": "init_model", "xgboost": "xgb_model", "catboost": "init_model"}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BATCHLEARN_DEBUG", raising=False)
    monkeypatch.delitem(sys.modules, "my_models", raising=False)
    (tmp_path / "my_models.py").write_text(MY_MODELS)
    add_noted(tmp_path, 0, 10)
    return tmp_path


@pytest.fixture
def run(shop: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    assert shop.is_dir()
    return in_process(capsys)


def answer(run: Run, *arguments: str) -> dict[str, Any]:
    code, out, _ = run(*arguments, "--json")
    assert code == 0, out
    return one_object(out)


def named(kind: str) -> list[str]:
    model, settings, types = KINDS[kind]
    texts = ["--text", "note"] if kind == "words" else ["--drop", "note"]
    given = [*texts, "--model", model, *(word for one in settings for word in ("--set", one))]
    return given + (["--trust", ",".join(types)] if types else [])


def restored_by(kind: str) -> list[str]:
    model, _, types = KINDS[kind]
    return [*(["--trust", ",".join(types)] if types else []), *(["--code", "my_models.py"] if ":" in model else [])]


@pytest.mark.parametrize("kind", KINDS)
def test_an_estimator_has_the_whole_life_of_a_model(kind: str, shop: Path, run: Run) -> None:
    if kind == "catboost":
        pytest.importorskip("catboost", reason="the extra catboost is not installed")
    rows = "data/000.parquet"
    # 1. Alone: trained, judged, used.
    roles = ("--target", "bought", "--time", "seen", "--drop", "user,known")
    trained = answer(run, "train", rows, *roles, *named(kind), "--output", "model")
    assert trained["learner"] == KINDS[kind][0]
    assert trained["certificate"]["reason_noted"]["code"] == Code.LEARNER_UNPROVED
    scores = trained["evaluation"]
    assert scores["metrics"]["log_loss"]["value"] < scores["baselines"]["constant"]["log_loss"]["value"]
    judged = answer(run, "evaluate", "model", rows, *restored_by(kind))
    assert judged["evaluation"]["rows"] == 600
    predicted = answer(run, "predict", "model", rows, "-o", "scored.parquet", *restored_by(kind))
    assert predicted["rows"] == pq.read_table("scored.parquet").num_rows == 600
    assert answer(run, "verify", "model", rows, *restored_by(kind))["holds"] is True
    # 2. In a project: a first version, and one that takes its place.
    assert run(*INIT, "--drop", "user", *named(kind), "--after-rows", "300")[0] == 0
    text = (shop / "batchlearn.toml").read_text()
    start = "fine-tune" if kind == "by hand" else "warm"
    (shop / "batchlearn.toml").write_text(text.replace('start = "scratch"', f'start = "{start}"'))
    first = answer(run, "retrain", "--now", day(13))
    assert (first["version"], first["promoted"], first["alarms"]) == (1, True, [])
    add_noted(shop, 10, 30, slope=-1.5)
    second = answer(run, "retrain", "--now", day(33))
    assert second["version"] == 2
    continued = [note for note in second["noted"] if note["code"] == Code.LEARNER_CONTINUED]
    assert second["start"] == ("warm" if kind in WARM else "scratch")
    assert [note["values"]["how"] for note in continued] == ([WARM[kind]] if kind in WARM else [])
    assert (second["gate"]["verdict"], second["asked"]) == ("promote", "promotion")
    # 3. Live, back again, and checked.
    assert answer(run, "promote")["version"] == 2
    assert answer(run, "rollback", "--why", "a drill")["version"] == 1
    assert run("history")[0] == run("status")[0] == 0
    assert [found.state for found in check(FolderStore(shop))] == []
    verified = answer(run, "verify", "versions/000002/model", "data", *restored_by(kind))
    assert verified["holds"] is True


def test_a_project_changes_its_recipe_and_back_and_the_gate_compares_the_two(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project")
    add_days(root, 0, 10)
    assert turn(root, day(13)).promoted
    ours = (root / SETTINGS).read_text()
    theirs = ours.replace("alpha = 0.01", LIGHTGBM)
    for number, (settings, made_by) in enumerate([(theirs, "lightgbm.LGBMClassifier"), (ours, None)], start=2):
        (root / SETTINGS).write_text(settings.replace("[policy]", '[policy]\nstart = "warm"'))
        last = 20 * number - 10
        add_days(root, last - 20, last, slope=-1.5 if number == 2 else 1.5)
        found = turn(root, day(last + 3))
        assert (found.version, found.start) == (number, "scratch")
        fell_back = [note.values for note in found.notes if note.code is Code.START_FELL_BACK]
        assert [(values["of"], values["code"]) for values in fell_back] == [("twin", "start-recipe")]
        assert found.gate is not None
        assert (found.gate.verdict, found.gate.rows) == ("promote", 240)
        store = FolderStore(root)
        stands = champion(store)
        promote(store, number, Reason("it is better", "ann", day(last + 3)), stands)
        stored = load_champion(store).stored
        assert (stored.model.learned_by, stored.record["learner"]) == (made_by, made_by)
    assert [found.state for found in check(FolderStore(root))] == []


def test_a_version_that_is_fed_in_another_form_than_the_champion_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_project(tmp_path / "project")
    (root / SETTINGS).write_text((root / SETTINGS).read_text().replace("alpha = 0.01", LIGHTGBM))
    told = []
    for number, pandas in enumerate((True, True, False)):
        monkeypatch.setattr(brought_along, "_pandas_is_installed", lambda pandas=pandas: pandas)
        add_days(root, 10 * number, 10 * number + 10)
        found = turn(root, day(10 * number + 13))
        told.append([note.values for note in found.notes if note.code is Code.LEARNER_FED_OTHERWISE])
    assert told == [[], [], [{"path": "lightgbm.LGBMClassifier", "form": "matrix", "champion": "frame"}]]


def test_what_is_printed_to_be_typed_next_works(run: Run) -> None:
    roles = ("--target", "bought", "--time", "seen", "--drop", "user,known")
    printed = run("train", "data/000.parquet", *roles, *named("by hand"), "--output", "model")[1]
    commands = [line.split() for line in printed.splitlines() if line.strip().startswith("batchlearn ")]
    assert [words[1] for words in commands] == ["predict", "verify"]
    for words in commands:
        assert words[-4:] == ["--trust", "my_models.Cut", "--code", "my_models.py"]
        assert run(*[word.replace("NEW.parquet", "data/000.parquet") for word in words[1:]])[0] == 0
    unkept = [word for word in named("by hand") if word not in ("--trust", "my_models.Cut")]
    printed = run("train", "data/000.parquet", *roles, *unkept, "--output", "other")[1]
    assert "It predicts in no other process" in printed


def test_the_types_to_trust_can_be_copied_from_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    roles = ("--target", "bought", "--time", "seen", "--drop", "user,known")
    model = ("--model", "sklearn.ensemble.HistGradientBoostingClassifier", "--set", "max_iter=5")
    code, out, _ = run("train", "data/000.parquet", *roles, *model, "--output", "model")
    assert code == 0
    assert "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor" in out.split()
    words = out.split("it consists of:")[1].split()
    trusted = words[: 2 * words.count("--trust")]
    assert run("train", "data/000.parquet", *roles, *model, *trusted, "--output", "kept")[0] == 0
    code, out, err = run("evaluate", "kept", "data/000.parquet")
    assert code == 2
    assert "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor" in err.split()
    code, out, _ = run("verify", "kept", "data/000.parquet", *trusted)
    assert code == 0
    (proved,) = [line.split() for line in out.splitlines() if line.split()[:1] == ["Proved"]]
    assert proved[:3] == ["Proved", "nothing:", "sklearn.ensemble.HistGradientBoostingClassifier"]


def test_what_no_file_can_hold_becomes_no_version(shop: Path, run: Run) -> None:
    assert run(*INIT, "--drop", "user,note", "--model", "my_models.py:Cut", "--after-rows", "300")[0] == 0
    code, slug, said = refusal(run, "retrain", "--now", day(13))
    assert (code, slug) == (2, "learner-not-kept")
    assert said.endswith('name them in [recipe]: trust = ["my_models.Cut"]')
    assert not (shop / "versions").exists()
    settings = (shop / SETTINGS).read_text()
    (shop / SETTINGS).write_text(settings.replace('# trust = ["my_models.Hand"]', 'trust = ["my_models.Cut"] #'))
    assert answer(run, "retrain", "--now", day(13))["promoted"] is True


def test_a_file_that_was_changed_since_stops_the_next_turn(shop: Path, run: Run) -> None:
    assert run(*INIT, "--drop", "user", *named("by hand"), "--after-rows", "300")[0] == 0
    assert answer(run, "retrain", "--now", day(13))["promoted"] is True
    add_noted(shop, 10, 20)
    (shop / "my_models.py").write_text(MY_MODELS + "\n# another word\n")
    code, slug, said = refusal(run, "retrain", "--now", day(23))
    assert (code, slug) == (6, "learner-changed")
    assert "my_models.py" in said
    assert answer(run, "status")["champion"]["version"] == 1


def test_what_looks_at_a_registry_imports_nothing_of_it(shop: Path, run: Run) -> None:
    assert run(*INIT, "--drop", "user", *named("by hand"), "--after-rows", "300")[0] == 0
    assert answer(run, "retrain", "--now", day(13))["promoted"] is True
    # A canary: whoever runs the user's file from here on leaves a trace.
    (shop / "my_models.py").write_text("open('sung', 'w').close()\n")
    for words in ("history", "status", "registry check", "promote 1", "registry prune --keep 1"):
        seen = process([*words.split(), "--json"], shop, {"PYTHONPATH": f"{SOURCE}:{shop}"})
        assert seen.returncode in (0, 2), seen.stderr
    assert not (shop / "sung").exists()
    # The loader of a model neither, until it predicts with what a person named.
    load("versions/000001/model")
    assert not (shop / "sung").exists()
    assert run("predict", "versions/000001/model", "data/000.parquet", "-o", "scored.parquet")[0] == 2
    assert not (shop / "sung").exists()


def test_rows_are_forgotten_by_a_training_without_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_project(tmp_path / "project", SETTINGS_TEXT, {"alpha = 0.01": LIGHTGBM})
    add_days(root, 0, 10)
    assert turn(root, day(13)).promoted
    monkeypatch.chdir(root)
    assert cli.main(["forget", "--where", "colour = 'red'", "--why", "asked", "--now", day(13)]) == 0
    stored = load_champion(FolderStore(root)).stored
    assert (stored.model.learned_by, stored.record["rows"]["used"] < 600) == ("lightgbm.LGBMClassifier", True)
    (term,) = stored.model.level_terms
    assert "red" not in term.levels
