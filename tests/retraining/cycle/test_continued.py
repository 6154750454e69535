"""Starts and brackets as the cycle uses them: certified against a training from scratch."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.retraining.made import ROWS, SETTINGS_TEXT, add_days, begun_project, day, make_project, orders, turn

from batchlearn.artifacts.store import FolderStore
from batchlearn.errors import CertificateError, DataError, IntegrityError, RegistryError, UsageError
from batchlearn.models.decision import Costs
from batchlearn.models.encoded import EncodedModel
from batchlearn.registry.loading import load_version
from batchlearn.registry.place import SETTINGS
from batchlearn.registry.promotions import Reason, needed_champion, promote, rollback
from batchlearn.registry.pruning import plan_pruning, prune
from batchlearn.registry.version import KEPT, read_version
from batchlearn.training.verification.stored import verify_model

DUE = day(33)
STOPS = {"[policy]": "[policy]\nfallback = false"}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return begun_project(tmp_path_factory.mktemp("begun") / "project")


def project(begun: Path, folder: Path, start: str, changes: dict[str, str] | None = None) -> Path:
    root = shutil.copytree(begun, folder / start)
    return make_project(root, SETTINGS_TEXT, {"rows = 300": f'rows = 300\nstart = "{start}"', **(changes or {})})


def model_of(root: Path, number: int) -> EncodedModel:
    store = FolderStore(root)
    return load_version(store, read_version(store, number)).model


def test_a_version_keeps_its_totals(begun: Path) -> None:
    assert KEPT in read_version(FolderStore(begun), 1).sizes


@pytest.mark.parametrize("start", ["warm", "update"])
@pytest.mark.parametrize("penalty", ["alpha = 0.01", ""], ids=["alpha is fixed", "chosen by the data"])
def test_the_start_changes_how_and_not_where_training_ends(
    start: str, penalty: str, begun: Path, tmp_path: Path
) -> None:
    root = project(begun, tmp_path, start) if penalty else chosen_by_the_data(tmp_path / start, start)
    exact = shutil.copytree(root, tmp_path / "exact")
    tight = (exact / SETTINGS).read_text().replace("[recipe]", "[recipe]\ntolerance = 1e-13")
    (exact / SETTINGS).write_text(tight.replace(f'start = "{start}"', 'start = "warm"'))
    second, other = turn(root, DUE), turn(exact, DUE)
    assert second.start == start
    assert second.certificate is not None
    assert other.certificate is not None
    assert second.certificate["status"] == "certified"
    assert second.certificate["rows"] == 30 * ROWS
    rows = orders(0, 30).drop(["bought"])
    apart = model_of(root, 2).predict(rows).response - model_of(exact, 2).predict(rows).response
    allowed = second.certificate["prediction_bound"] + other.certificate["prediction_bound"]
    assert np.abs(apart).max() <= allowed * 1.001
    assert allowed < 1e-2


@pytest.mark.parametrize("start", ["warm", "update"])
def test_a_month_without_a_coefficient_is_said_by_warm_and_refused_by_update(start: str, tmp_path: Path) -> None:
    stops = f'rows = 300\nstart = "{start}"\nfallback = false'
    root = make_project(tmp_path, SETTINGS_TEXT, {"rows = 300": stops, "alpha = 0.01\n": ""})
    add_days(root, 0, 45)
    assert turn(root, day(48)).promoted
    add_days(root, 45, 75)
    if start == "warm":
        notes = list(map(str, turn(root, day(78)).notes))
        assert any("new rows have a month of 'seen' that meets no coefficient: a training" in note for note in notes)
        return
    with pytest.raises(DataError, match="have a month of 'seen' that meets no coefficient") as refusal:
        turn(root, day(78))
    assert refusal.value.code == "encoding-outgrown"


@pytest.mark.parametrize("start", ["warm", "update"])
def test_a_version_that_went_on_is_verified_by_its_own_rows_although_more_came(
    start: str, begun: Path, tmp_path: Path
) -> None:
    root = project(begun, tmp_path, start)
    assert turn(root, DUE).version == 2
    model = root / "versions" / "000002" / "model"
    add_days(root, 30, 40)
    found = verify_model(model, root / "data")
    assert (found.holds, found.reasons, found.rows.used) == (True, (), 30 * ROWS)
    # An update did not read the old rows, and says what that means.
    assert [note.split(":")[0] for note in map(str, found.notes)] == (
        ["The model has no fingerprint of its rows"] if start == "update" else []
    )
    loaded = model_of(root, 2)
    if start == "warm":
        bound = loaded.predict(orders(0, 30).drop(["bought"]), bounds=True).bound
        assert bound is not None
        assert float(bound.max()) <= (found.certificate.prediction_bound or 0.0) * 1.01
    else:
        with pytest.raises(UsageError, match="was updated from kept totals"):
            loaded.predict(orders(0, 30).drop(["bought"]), bounds=True)
    # A label that was turned round since is noticed all the same: by the list, and without it by the mean.
    rows = pq.read_table(root / "data" / "000.parquet")
    bought = np.asarray(rows["bought"])
    bought[0] = not bought[0]
    place = rows.schema.get_field_index("bought")
    pq.write_table(rows.set_column(place, "bought", [bought]), root / "data" / "000.parquet")
    with pytest.raises(DataError) as refusal:
        verify_model(model, root / "data")
    assert refusal.value.code == "rows-replaced"
    assert "mean" in " ".join(verify_model(shutil.copytree(model, tmp_path / "model"), root / "data").reasons)


@pytest.mark.parametrize("window", ["16d", "29d"])
def test_an_update_leaves_out_the_rows_that_left_the_window(window: str, tmp_path: Path) -> None:
    found = {}
    for start in ("warm", "update"):
        recent = {"rows = 300": f'rows = 300\nstart = "{start}"\nwindow = "{window}"'}
        root = make_project(tmp_path / start, SETTINGS_TEXT, recent)
        add_days(root, 0, 20)
        assert turn(root, day(23)).promoted
        add_days(root, 20, 30)
        second = turn(root, DUE)
        assert second.certificate is not None
        assert second.certificate["status"] == "certified"
        found[start] = second.certificate, model_of(root, 2).predict(orders(0, 30).drop(["bought"])).response
        if start == "update":
            assert any("To prove it no old row that stays was read." in note for note in map(str, second.notes))
    (warm, one), (update, other) = found.values()
    assert warm["rows"] == update["rows"] < 30 * ROWS
    assert np.abs(one - other).max() <= warm["prediction_bound"] + update["prediction_bound"]


@pytest.mark.parametrize("start", ["update", "fine-tune"])
def test_a_window_that_leaves_no_old_row_is_refused_by_what_goes_on_from_them(start: str, tmp_path: Path) -> None:
    recent = {"rows = 300": f'rows = 300\nstart = "{start}"\nfallback = false\nwindow = "8d"'}
    root = make_project(tmp_path, SETTINGS_TEXT, recent)
    add_days(root, 0, 20)
    assert turn(root, day(23)).promoted
    add_days(root, 20, 30)
    with pytest.raises(DataError, match="rows that the champion was trained on have left the window") as refusal:
        turn(root, DUE)
    assert refusal.value.code == "past-gone"


def test_rows_that_only_go_are_a_change_too(tmp_path: Path) -> None:
    recent = {"rows = 300": 'rows = 300\nstart = "update"\nfallback = false\nwindow = "16d"'}
    root = make_project(tmp_path, SETTINGS_TEXT, recent)
    add_days(root, 0, 20)
    assert turn(root, day(23)).promoted
    with pytest.raises(DataError, match="No row came or went since the champion was trained") as refusal:
        turn(root, day(23), anyway=True)
    assert refusal.value.code == "no-rows"
    later = turn(root, day(26), anyway=True)
    assert later.bracket is not None
    assert later.certificate is not None
    assert later.certificate["status"] == "certified"
    assert later.certificate["rows"] == 10 * ROWS


def chosen_by_the_data(root: Path, start: str) -> Path:
    make_project(root, SETTINGS_TEXT, {"rows = 300": f'rows = 300\nstart = "{start}"', "alpha = 0.01\n": ""})
    add_days(root, 0, 20)
    assert turn(root, day(23)).promoted
    add_days(root, 20, 30)
    return root


def test_fine_tuning_says_that_it_is_not_the_optimum(begun: Path, tmp_path: Path) -> None:
    second = turn(project(begun, tmp_path, "fine-tune"), DUE)
    assert second.certificate is not None
    assert second.certificate["status"] == "not certified"
    assert any(note.startswith("Not the optimum of all rows") for note in map(str, second.notes))


def test_the_bracket_holds_the_gain_that_training_brings(begun: Path, tmp_path: Path) -> None:
    root = project(begun, tmp_path, "warm", {"alpha = 0.01": "alpha = 0.01\ntolerance = 1e-13"})
    would = turn(root, DUE, dry_run=True)
    assert would.bracket is not None
    assert would.bracket["rung"] == 1
    assert would.bracket["rows_read"] % (10 * ROWS) == 0, "old rows are not read, the new ones some times"
    later = would.bracket["later_gain"]
    assert (later["clusters"], later["cluster"]) == (10, "day"), "by the times of the rows"
    done = turn(root, DUE).bracket
    assert done is not None
    assert (done["lower"], done["upper"]) == (would.bracket["lower"], would.bracket["upper"])
    before, after = (model_of(root, number) for number in (1, 2))
    # The rows are those of two files, each made from a seed of its own.
    rows = pa.concat_tables([pq.read_table(path) for path in sorted((root / "data").glob("*.parquet"))])

    def objective(model: EncodedModel) -> float:
        predictor = model.predict(rows.drop(["bought"])).predictor
        sign = 2.0 * np.asarray(rows["bought"]).astype(float) - 1.0
        weights = model.parameters[1:]
        return float(np.mean(np.logaddexp(0.0, -sign * predictor)) + 0.005 * weights @ weights)

    gain = objective(before) - objective(after)
    assert would.bracket["lower"] <= gain * (1 + 1e-6)
    assert not would.bracket["upper_is_proved"] or gain <= would.bracket["upper"] * (1 + 1e-6)
    assert 0.5 * gain <= would.bracket["lower"]


def test_a_new_level_needs_a_training_from_scratch(begun: Path, tmp_path: Path) -> None:
    root = project(begun, tmp_path, "update", STOPS)
    rows = orders(20, 30)
    violet = pa.array(["violet"] * 100 + rows["colour"].to_pylist()[100:])
    place = rows.schema.get_field_index("colour")
    pq.write_table(rows.set_column(place, "colour", violet), root / "data" / "020.parquet")
    with pytest.raises(DataError, match="'violet' of 'colour' has 100 new rows") as refusal:
        turn(root, DUE)
    assert refusal.value.code == "encoding-outgrown"
    make_project(root)
    assert turn(root, DUE).version == 2


def test_another_recipe_needs_a_training_from_scratch(begun: Path, tmp_path: Path) -> None:
    root = project(begun, tmp_path, "warm", {"alpha = 0.01": "alpha = 0.02", **STOPS})
    with pytest.raises(UsageError) as refusal:
        turn(root, DUE)
    assert refusal.value.code == "start-recipe"


def test_nothing_goes_on_from_a_fine_tuned_champion_that_kept_nothing(begun: Path, tmp_path: Path) -> None:
    root = project(begun, tmp_path, "update")
    kept = read_version(FolderStore(root), 1).path / KEPT
    kept.unlink()
    with pytest.raises((RegistryError, IntegrityError)):
        turn(root, DUE)


@pytest.mark.parametrize("start", ["update", "fine-tune"])
def test_totals_that_were_pruned_are_named_as_the_reason(start: str, begun: Path, tmp_path: Path) -> None:
    root = project(begun, tmp_path, start)
    store = FolderStore(root)
    assert turn(root, DUE).version == 2
    if needed_champion(store).version == 1:
        promote(store, 2, Reason("more rows", "ann", DUE), needed_champion(store))
    prune(store, plan_pruning(store, 1), DUE, "ann")
    assert read_version(store, 1).path.joinpath(KEPT).exists() is False
    rollback(store, Reason("complaints", "ann", DUE), needed_champion(store))
    add_days(root, 30, 40)
    looked = turn(root, day(43), dry_run=True)
    assert (looked.decision, looked.bracket) == ("retrain", None)
    assert "No bracket: the champion's kept totals were pruned." in map(str, looked.notes)
    stopped = shutil.copytree(root, tmp_path / "stopped")
    again = turn(root, day(43))
    assert (again.version, again.start) == (3, "warm")
    assert any("totals were pruned" in str(note) for note in again.notes)
    make_project(stopped, (stopped / SETTINGS).read_text(), STOPS)
    with pytest.raises(RegistryError) as refusal:
        turn(stopped, day(43))
    assert refusal.value.code == "champion-totals-pruned"


@pytest.mark.parametrize("start", ["warm", "update"])
def test_costs_of_decisions_may_change_with_any_start(start: str, begun: Path, tmp_path: Path) -> None:
    costs = "[review]\nfalse_alarm = 1.0\nmiss = 2.0\nfee = 0.5\n\n[policy]"
    root = project(begun, tmp_path, start, {"[policy]": costs})
    second = turn(root, DUE)
    assert second.start == start
    assert second.certificate is not None
    assert second.certificate["status"] == "certified"
    assert model_of(root, 1).costs is None
    assert model_of(root, 2).costs == Costs(1.0, 2.0, 0.5)


def test_another_recipe_has_no_bracket(begun: Path, tmp_path: Path) -> None:
    root = project(begun, tmp_path, "scratch", {"alpha = 0.01": "alpha = 10.0"})
    looked = turn(root, DUE, dry_run=True)
    assert looked.bracket is None
    told = "No bracket: The champion was trained with another alpha than [recipe] says now"
    assert any(told in note for note in map(str, looked.notes))


def test_the_bracket_says_what_the_gain_means_for_all_rows_and_for_the_recent_ones(begun: Path, tmp_path: Path) -> None:
    found = turn(project(begun, tmp_path, "scratch"), DUE, dry_run=True).bracket
    assert found is not None
    assert found["gain_over_null"] > 0.0
    assert found["recent"]["decay"] == 0.1
    assert found["recent"]["gain_over_null"] > 0.0


def test_a_tolerance_that_is_not_proved_makes_no_version(begun: Path, tmp_path: Path) -> None:
    for start in ("scratch", "warm"):
        root = project(begun, tmp_path, start, {"[recipe]": "[recipe]\ntolerance = 1e-40"})
        with pytest.raises(CertificateError) as refusal:
            turn(root, DUE)
        assert (refusal.value.code, refusal.value.exit_code) == ("tolerance-not-met", 7)
        assert FolderStore(root).names("versions") == ["000001"]
