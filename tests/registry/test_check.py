"""RELIABILITY section 3, 116: every state that a registry should not be in has a name, and nothing is destroyed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.registry.made import WHY, one_more, promote_all, store_with

from batchlearn.artifacts.store import FolderStore
from batchlearn.registry.check import check
from batchlearn.registry.ledger import record_event
from batchlearn.registry.promotions import Reason, champion, promote

WEIGHTS = "versions/000002/model/weights.safetensors"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = store_with(tmp_path, 4)
    promote_all(store, 1, 2)
    record_event(store, "turn", WHY.at, {"version": 1, "judged_against": None})
    record_event(store, "turn", WHY.at, {"version": 2, "judged_against": 1})
    return store


def remove(name: str) -> Callable[[FolderStore], object]:
    return lambda store: shutil.rmtree(store.path(name)) if store.path(name).is_dir() else store.path(name).unlink()


def flip(name: str) -> Callable[[FolderStore], object]:
    def work(store: FolderStore) -> None:
        data = bytearray(store.path(name).read_bytes())
        data[len(data) // 2] ^= 1
        store.path(name).write_bytes(data)

    return work


def replace_version(store: FolderStore) -> None:
    shutil.rmtree(store.path("versions/000002"))
    shutil.copytree(store.path("versions/000003"), store.path("versions/000002"))


def back_in_time(store: FolderStore) -> None:
    promote(store, 1, Reason("", "ann", "2025-01-01T00:00:00Z"), champion(store))


def answered_and_lost(store: FolderStore) -> None:
    promote(store, 3, replace(WHY, asked=2), champion(store))
    store.path("events/000002.json").unlink()


def write(name: str) -> Callable[[FolderStore], object]:
    return lambda store: (store.root / name).write_bytes(b"")


Fault = tuple[Callable[[FolderStore], object], str]

SERIOUS: dict[str, Fault] = {
    "a champion that is not there": (remove("versions/000002"), "promoted-version-missing"),
    "a champion with a flipped bit": (flip(WEIGHTS), "version-altered"),
    "a champion that is another version": (replace_version, "version-altered"),
    "a generation that is missing": (remove("promotions/000001.json"), "registry-gap"),
    "a promotion with a flipped bit": (flip("promotions/000002.json"), "registry-damaged"),
    "a promotion of no bytes": (write("promotions/000002.json"), "registry-damaged"),
    "promotions that are gone": (remove("promotions"), "registry-damaged"),
    "events of which the newest are gone": (answered_and_lost, "registry-damaged"),
    "the newest version, altered": (flip("versions/000004/recipe.toml"), "version-altered"),
    "an event that is missing": (remove("events/000001.json"), "registry-gap"),
}
OTHERS: dict[str, Fault] = {
    "a version that was never live": (lambda _store: None, "never-promoted"),
    "a version that was never live, altered": (flip("versions/000003/recipe.toml"), "version-altered"),
    "what a killed writer left": (write("promotions/.batchlearn-tmp-0123"), "unfinished-write"),
    "a file of somebody else": (write("versions/notes"), "stranger"),
    "a clock that went back": (back_in_time, "clock-went-back"),
}


def test_a_sound_registry_has_no_serious_finding(store: FolderStore) -> None:
    assert [finding.state for finding in check(store)] == ["never-promoted", "never-promoted"]


@pytest.mark.parametrize("fault", SERIOUS)
def test_what_is_relied_on_and_not_as_written_is_serious(fault: str, store: FolderStore) -> None:
    work, state = SERIOUS[fault]
    work(store)
    found = check(store)
    assert found[0].serious
    assert state in {finding.state for finding in found if finding.serious}
    assert all(finding.proposal for finding in found)


@pytest.mark.parametrize("fault", OTHERS)
def test_what_nobody_relies_on_is_said(fault: str, store: FolderStore) -> None:
    work, state = OTHERS[fault]
    work(store)
    found = check(store)
    assert state in {finding.state for finding in found}
    assert not any(finding.serious for finding in found)


@pytest.mark.parametrize("fault", [*SERIOUS, *OTHERS])
def test_a_check_changes_nothing(fault: str, store: FolderStore) -> None:
    {**SERIOUS, **OTHERS}[fault][0](store)
    before = {path: (path.stat().st_mtime_ns, path.is_dir()) for path in store.root.rglob("*")}
    check(store)
    assert {path: (path.stat().st_mtime_ns, path.is_dir()) for path in store.root.rglob("*")} == before


def test_an_empty_project_is_sound(tmp_path: Path) -> None:
    assert check(FolderStore(tmp_path)) == []
    one_more(FolderStore(tmp_path), 0)
    assert [finding.state for finding in check(FolderStore(tmp_path))] == ["never-promoted"]
