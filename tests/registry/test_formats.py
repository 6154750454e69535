"""RELIABILITY P18: a registry of every format is read for good; one of a newer format is refused and left as it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.retraining.made import add_days, day, turn

from batchlearn.artifacts.store import FolderStore
from batchlearn.artifacts.tensors import unpack
from batchlearn.errors import RegistryError
from batchlearn.registry.check import check
from batchlearn.registry.ledger import events, tenures
from batchlearn.registry.loading import load_champion, load_version
from batchlearn.registry.promotions import Reason, champion, needed_champion, promote, promotions, rollback
from batchlearn.registry.version import EXPECTED, KEPT, SAMPLE, read_file, verify_version, version_numbers
from batchlearn.retraining.policies import EveryRows
from batchlearn.retraining.project import open_project
from batchlearn.training.verification.stored import verify_model
from batchlearn.updating.storage import load

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("registry-*"))
WHY = Reason("tried", "ann", "2027-01-01T00:00:00Z")


@pytest.fixture(params=FIXTURES, ids=lambda path: path.name)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return shutil.copytree(request.param, tmp_path / "project")


def test_a_registry_of_each_format_is_read(root: Path) -> None:
    store = FolderStore(root)
    assert [(one.kind, one.version) for one in promotions(store)] == [("promote", 1), ("promote", 2), ("rollback", 1)]
    assert [one.until for one in tenures(promotions(store))][-1] is None
    assert [event.content["kind"] for event in events(store)] == ["turn", "turn"]
    assert not any(finding.serious for finding in check(store))
    assert open_project(root).policy == EveryRows(300)


def test_a_version_of_each_format_scores_what_it_scored(root: Path) -> None:
    store = FolderStore(root)
    live = load_champion(store)
    assert live.version.number == 1
    expected = unpack(read_file(store, live.version, EXPECTED), {"response": (300,)})["response"]
    scored = live.stored.model.predict(pq.read_table(live.version.path / SAMPLE)).response
    assert abs(scored - expected).max() <= 1e-12, "another machine rounds otherwise"


def test_the_kept_totals_of_each_format_are_read(root: Path, request: pytest.FixtureRequest) -> None:
    live = load_champion(FolderStore(root))
    kept = load((live.version.path / KEPT).read_bytes(), live.stored.model.encoding.layout, live.stored.model.loss)
    assert kept.rows > 0
    # At first the third-order totals were kept in another order: not read, and the bounds are of second order.
    assert (kept.totals.third is None) == (request.node.callspec.params["root"].name == "registry-1")


def test_a_registry_of_each_format_goes_on(root: Path) -> None:
    store = FolderStore(root)
    assert promote(store, 2, WHY, champion(store)).generation == 4
    assert needed_champion(store).version == 2


def test_a_registry_of_each_format_rolls_back(root: Path) -> None:
    store = FolderStore(root)
    assert promote(store, 2, WHY, champion(store)).generation == 4
    assert rollback(store, WHY, needed_champion(store)).version == 1
    for number in version_numbers(store):
        version = verify_version(store, number)
        sample = pq.read_table(version.path / SAMPLE)
        assert len(load_version(store, version).model.predict(sample).response) == sample.num_rows
    assert not any(finding.serious for finding in check(store))


def look_at_version(store: FolderStore) -> object:
    return promote(store, 2, WHY, champion(store))


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("promotions/000003.json", champion),
        ("promotions/000003.json", look_at_version),
        ("versions/000002/manifest.json", look_at_version),
        ("events/000002.json", events),
    ],
)
def test_what_a_newer_batchlearn_wrote_is_refused_and_left_as_it_is(
    name: str, use: Callable[[FolderStore], object], root: Path
) -> None:
    path = root / name
    said = {**json.loads(path.read_text()), "format_version": 9, "needs": "batchlearn >= 7.1"}
    path.write_text(json.dumps(said))
    before = {one: one.read_bytes() for one in root.rglob("*") if one.is_file()}
    with pytest.raises(RegistryError, match=r"It needs batchlearn >= 7\.1: upgrade") as refusal:
        use(FolderStore(root))
    assert refusal.value.code == "registry-newer"
    assert {one: one.read_bytes() for one in root.rglob("*") if one.is_file()} == before


def test_an_update_of_another_objective_is_found_and_what_goes_on_from_it_is_certified(tmp_path: Path) -> None:
    """Format 1 scaled centres in updates: its second version, live, is off by more than it states."""
    root = shutil.copytree(FIXTURES[0].parent / "updated-1", tmp_path / "project")
    (root / "data").mkdir()
    add_days(root, 0, 10)
    add_days(root, 10, 20)
    model = root / "versions" / "000002" / "model"
    assert not verify_model(model, root / "data").holds
    assert [(one.state, one.serious) for one in check(FolderStore(root))] == [("update-of-another-objective", True)]
    add_days(root, 20, 30)
    again = turn(root, day(33), anyway=True)
    assert (again.version, again.start) == (3, "update")
    assert verify_model(root / "versions" / "000003" / "model", root / "data").reasons == ()
    store = FolderStore(root)
    if needed_champion(store).version == 2:
        promote(store, 3, WHY, needed_champion(store))
    assert [(one.state, one.serious) for one in check(store)] == [("update-of-another-objective", False)]
