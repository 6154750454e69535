"""RELIABILITY P8: a version that was altered after it was registered is never used."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.registry.made import FILES, one_more, store_with

from batchlearn.errors import BatchlearnError, IntegrityError, RegistryError, UsageError
from batchlearn.registry.version import read_file, read_version, register, verify_version

TRIALS = 300


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_version_gives_back_the_bytes_that_were_registered(tmp_path: Path) -> None:
    store = store_with(tmp_path, 1)
    version = verify_version(store, 1)
    assert version.description["seed"] == 0
    assert {name: read_file(store, version, name) for name in FILES} == FILES
    assert version.model_path.is_dir()


def test_a_version_never_changes_and_has_an_identity_of_its_own(tmp_path: Path) -> None:
    store = store_with(tmp_path, 2)
    first, second = read_version(store, 1), read_version(store, 2)
    assert first.identity != second.identity
    with pytest.raises(UsageError, match="There is no version 3; there are 1 to 2"):
        read_version(store, 3)


def test_what_is_no_version_cannot_be_registered(tmp_path: Path) -> None:
    store = store_with(tmp_path, 0)
    with pytest.raises(ValueError, match="a version has the files"):
        register(store, {}, {**FILES, "run.py": b""})
    assert store.names("versions") == []


def test_a_version_of_a_newer_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_with(tmp_path, 1)
    monkeypatch.setattr("batchlearn.registry.version.DESCRIPTION_FORMAT", 2)
    with pytest.raises(RegistryError, match="has format 3; this batchlearn reads formats up to 2"):
        read_version(store, 1)


def spoil(folder: Path, rng: np.random.Generator) -> str:
    """Alter one version folder in a random way; return what was done."""
    path = files_below(folder)[rng.integers(len(files_below(folder)))]
    data = bytearray(path.read_bytes())
    kind = str(rng.choice(["flip", "cut", "extend", "remove", "add", "link", "other version"]))
    match kind:
        case "flip":
            data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
            path.write_bytes(data)
        case "cut":
            path.write_bytes(data[: rng.integers(len(data))])
        case "extend":
            path.write_bytes(bytes(data) + rng.bytes(int(rng.integers(1, 9))))
        case "remove":
            path.unlink()
        case "add":
            (path.parent / "more.json").write_bytes(b"{}")
        case "link":
            path.rename(folder.parent.parent / "elsewhere")
            path.symlink_to(folder.parent.parent / "elsewhere")
        case "other version":
            shutil.rmtree(folder)
            shutil.copytree(folder.parent / "000002", folder)
    return f"{kind} {path.name}"


def test_every_alteration_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    store_with(tmp_path / "whole", 2)
    identity = read_version(store_with(tmp_path / "whole", 0), 1).identity
    accepted = []
    for trial in range(TRIALS):
        root = shutil.copytree(tmp_path / "whole", tmp_path / str(trial))
        done = spoil(root / "versions" / "000001", rng)
        try:
            verify_version(store_with(root, 0), 1, identity)
        except BatchlearnError as refusal:
            assert refusal.exit_code in (2, 4, 6)  # noqa: PT017 - most trials must come here, and all do
        else:
            accepted.append(done)
        shutil.rmtree(root)
    assert accepted == []


def test_bytes_that_were_swapped_after_the_check_are_refused(tmp_path: Path) -> None:
    store = store_with(tmp_path, 1)
    version = verify_version(store, 1)
    (version.model_path / "model.json").write_bytes(b'{"a model": 2}\n')
    with pytest.raises(IntegrityError, match=r"model/model.json is not what was written"):
        read_file(store, version, "model/model.json")


def test_a_version_that_was_replaced_whole_is_not_the_promoted_one(tmp_path: Path) -> None:
    store = store_with(tmp_path / "a", 1)
    other = store_with(tmp_path / "b", 0)
    one_more(other, seed=77)
    identity = read_version(store, 1).identity
    with pytest.raises(IntegrityError, match="not the one that was promoted"):
        verify_version(other, 1, identity)
