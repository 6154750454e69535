"""What versions keep of their rows may go, after a record that names it; whatever else is missing is damage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.registry.disks import Killed, PowerModel, RecordingDisk, materialised
from tests.registry.made import WHY, one_more, promote_all, store_with

from batchlearn.artifacts.manifest import MANIFEST, sha256
from batchlearn.artifacts.store import FolderStore
from batchlearn.errors import IntegrityError
from batchlearn.registry.check import check
from batchlearn.registry.ledger import events, record_event
from batchlearn.registry.promotions import champion, needed_champion, promote, rollback
from batchlearn.registry.pruned import PRUNE
from batchlearn.registry.pruning import finish_pruning, plan_pruning, prune
from batchlearn.registry.version import KEPT, read_version, verify_version, version_numbers

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("registry-*"))


def pruned(store: FolderStore, keep: int) -> list[int | None]:
    """Prune, and return of which versions totals were removed."""
    plan = plan_pruning(store, keep)
    prune(store, plan, WHY.at, "ann")
    return [one.version for one in plan.files]


def with_totals(store: FolderStore) -> list[int]:
    return [number for number in version_numbers(store) if (read_version(store, number).path / KEPT).exists()]


def states(store: FolderStore) -> set[str]:
    return {finding.state for finding in check(store)}


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """Six versions, of which 1, 2, 3 and 4 were live in this order and 3 is again."""
    store = store_with(tmp_path / "made", 6)
    promote_all(store, 1, 2, 3, 4)
    rollback(store, WHY, needed_champion(store))
    return store


@pytest.mark.parametrize(("keep", "gone"), [(1, [1, 2, 4, 5]), (2, [1, 2, 5]), (3, [1, 5]), (4, [5]), (9, [5])])
def test_the_totals_stay_of_the_newest_and_of_the_last_that_were_live(
    keep: int, gone: list[int], store: FolderStore
) -> None:
    assert pruned(store, keep) == gone
    assert with_totals(store) == [number for number in range(1, 7) if number not in gone]
    assert states(store) == {"never-promoted"}
    assert pruned(store, keep) == []
    assert len(events(store)) == 1, "where nothing goes nothing is recorded"


def test_a_plan_removes_nothing(store: FolderStore) -> None:
    plan = plan_pruning(store, 2)
    assert (plan.kept, plan.bytes) == ((3, 4, 6), 3 * 99)
    assert with_totals(store) == [1, 2, 3, 4, 5, 6]
    assert events(store) == []


def test_a_pruned_version_is_the_same_version(store: FolderStore) -> None:
    before = verify_version(store, 1)
    pruned(store, 1)
    after = verify_version(store, 1, before.identity)
    assert after == replace(before, pruned=frozenset({KEPT}))
    assert promote(store, 1, WHY, champion(store)).identity == before.identity
    assert rollback(store, WHY, needed_champion(store)).version == 3


def test_the_manifest_lists_what_is_there_for_good_and_the_description_the_totals(store: FolderStore) -> None:
    version = read_version(store, 1)
    listed = json.loads((version.path / MANIFEST).read_bytes())["files"]
    data = (version.path / KEPT).read_bytes()
    assert KEPT not in listed
    assert version.description["removable"] == {KEPT: {"bytes": len(data), "sha256": sha256(data)}}
    assert version.sizes[KEPT] == len(data)


def test_totals_that_are_gone_without_a_record_are_damage(store: FolderStore) -> None:
    (read_version(store, 2).path / KEPT).unlink()
    with pytest.raises(IntegrityError, match=r"the list of its files \('kept.safetensors' too many or missing\)"):
        verify_version(store, 2)
    assert "version-altered" in states(store)


@pytest.mark.parametrize("field", ["version", "file", "bytes", "sha256"])
def test_a_record_excuses_no_other_file_than_it_names(field: str, store: FolderStore) -> None:
    named = plan_pruning(store, 2).files[1].to_json()
    assert named["version"] == 2
    other = {"version": 1, "file": "recipe.toml", "bytes": 98, "sha256": "0" * 64}
    record_event(store, PRUNE, WHY.at, {"by": "ann", "keep": 2, "files": [{**named, field: other[field]}]})
    (read_version(store, 2).path / KEPT).unlink()
    with pytest.raises(IntegrityError, match=r"'kept.safetensors' too many or missing"):
        verify_version(store, 2)


def test_no_record_excuses_a_file_that_is_there_for_good(store: FolderStore) -> None:
    version = read_version(store, 1)
    recipe = {"version": 1, "file": "recipe.toml"}
    recipe |= {"bytes": version.sizes["recipe.toml"], "sha256": version.hashes["recipe.toml"]}
    record_event(store, PRUNE, WHY.at, {"by": "ann", "keep": 2, "files": [recipe]})
    finish_pruning(store, events(store))
    assert verify_version(store, 1) == version
    (version.path / "recipe.toml").unlink()
    with pytest.raises(IntegrityError, match=r"'recipe.toml' too many or missing"):
        verify_version(store, 1)


def test_other_bytes_in_the_place_of_totals_are_damage(store: FolderStore) -> None:
    (read_version(store, 2).path / KEPT).write_bytes(b"others")
    with pytest.raises(IntegrityError, match=r"kept.safetensors is not what was written"):
        verify_version(store, 2)


def test_totals_that_come_back_are_a_leftover_and_go_again(store: FolderStore, tmp_path: Path) -> None:
    backup = shutil.copytree(store.root, tmp_path / "backup")
    pruned(store, 2)
    shutil.copy(backup / "versions" / "000001" / KEPT, read_version(store, 1).path / KEPT)
    found = next(finding for finding in check(store) if finding.state == "prune-unfinished")
    assert (found.serious, found.proposal) == (False, "batchlearn registry prune --keep 2")
    assert pruned(store, 5) == []
    assert with_totals(store) == [3, 4, 6]
    assert len(events(store)) == 1


def test_a_damaged_version_is_left_alone(store: FolderStore) -> None:
    (read_version(store, 1).path / "version.json").write_bytes(b"{}")
    plan = plan_pruning(store, 3)
    assert ([one.version for one in plan.files], plan.left_alone) == ([5], (1,))


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: path.name)
def test_versions_of_each_format_are_pruned(fixture: Path, tmp_path: Path) -> None:
    """In formats 1 and 2 the manifest lists the totals: it stays as it is, and the record says that they are gone."""
    store = FolderStore(shutil.copytree(fixture, tmp_path / "project"))
    one_more(store, 9)
    assert pruned(store, 1) == [2]
    assert not any(finding.serious for finding in check(store))
    assert promote(store, 2, WHY, champion(store)).version == 2


def do_prune(store: FolderStore) -> None:
    prune(store, plan_pruning(store, 2), WHY.at, "ann")


def found_in(root: Path) -> tuple[int, tuple[int, ...]]:
    """Return how many records and which totals there are, once everything is what it is said to be."""
    store = FolderStore(root)
    assert states(store) <= {"never-promoted", "prune-unfinished", "unfinished-write"}
    for number in version_numbers(store):
        verify_version(store, number)
    return len(events(store)), tuple(with_totals(store))


OLD, NEW = (0, (1, 2, 3, 4, 5, 6)), (1, (3, 4, 6))
BETWEEN = {(1, (1, 2, 3, 4, 5, 6)), (1, (2, 3, 4, 5, 6)), (1, (3, 4, 5, 6))}


def test_who_is_killed_leaves_totals_that_the_record_names_and_the_next_removes(
    store: FolderStore, tmp_path: Path
) -> None:
    whole = RecordingDisk(shutil.copytree(store.root, tmp_path / "whole"))
    do_prune(FolderStore(whole.root, whole))
    assert found_in(whole.root) == NEW
    seen = set()
    for last in range(len(whole.ops)):
        disk = RecordingDisk(shutil.copytree(store.root, tmp_path / str(last)), last=last)
        with pytest.raises(Killed):
            do_prune(FolderStore(disk.root, disk))
        seen.add(found_in(disk.root))
        again = FolderStore(shutil.copytree(disk.root, tmp_path / f"{last}-turn"))
        finish_pruning(again, events(again))
        assert found_in(again.root) == (NEW if events(again) else OLD)
        do_prune(FolderStore(disk.root))
        assert found_in(disk.root) == NEW
    assert seen == {OLD, NEW, *BETWEEN}, "the kills are before the record, between the removals, and after them"


def bad_states(root: Path, disk: RecordingDisk, scratch: Path) -> Iterator[str]:
    """Yield what is wrong in each state that a loss of power after each operation may leave."""
    model, checked = PowerModel(root), set[str]()
    for done, op in enumerate(disk.ops, start=1):
        model.apply(op)
        for state in model.states():
            acknowledged = done == len(disk.ops)
            key = f"{acknowledged}{sorted(state.items())}"
            if key in checked:
                continue
            checked.add(key)
            folder = scratch / str(len(checked))
            folder.mkdir(parents=True)
            try:
                found = found_in(materialised(state, folder))
            except (AssertionError, IntegrityError) as problem:
                yield f"after {op.name} {op.path}: {problem}"
                continue
            if found != NEW if acknowledged else found[0] == 0 and found != OLD:
                yield f"after {op.name} {op.path}: {found}"


def test_a_loss_of_power_loses_no_totals_without_a_record_and_each_flush_is_needed(
    store: FolderStore, tmp_path: Path
) -> None:
    whole = RecordingDisk(shutil.copytree(store.root, tmp_path / "whole"))
    do_prune(FolderStore(whole.root, whole))
    assert list(bad_states(store.root, whole, tmp_path / "states")) == []
    flushes = [op for op in whole.ops if op.name == "flush"]
    for forgotten, op in enumerate(flushes):
        disk = RecordingDisk(shutil.copytree(store.root, tmp_path / f"without-{forgotten}"), forgotten=forgotten)
        do_prune(FolderStore(disk.root, disk))
        assert next(bad_states(store.root, disk, tmp_path / f"states-{forgotten}"), None), (
            f"nothing notices that {op.path} is not flushed"
        )
