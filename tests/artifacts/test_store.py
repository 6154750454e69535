"""What a store promises: a name is written once, whole or not at all, and read as it was written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from batchlearn.artifacts.disk import LocalDisk
from batchlearn.artifacts.store import FolderStore
from batchlearn.errors import IntegrityError, ResourceError

LARGEST = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def test_of_two_writers_of_a_name_the_first_stands(store: FolderStore) -> None:
    assert store.put_if_absent("a/1.json", b"first")
    assert not store.put_if_absent("a/1.json", b"second")
    assert store.get("a/1.json", LARGEST) == b"first"
    assert store.put_folder_if_absent("b/1", {"x": b"first", "sub/y": b"too"})
    assert not store.put_folder_if_absent("b/1", {"x": b"second"})
    assert store.get("b/1/sub/y", LARGEST) == b"too"
    assert (store.names("a"), store.names("b"), store.names("c")) == (["1.json"], ["1"], [])
    assert sorted(os.listdir(store.root / "a")) == ["1.json"], "nothing temporary is left"
    assert sorted(os.listdir(store.root / "b")) == ["1"]


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/../x", "a//x", "A", "a\n", "", ".a", "a/.b", "a b", "a/b/c/d/e", "ä"]
)
def test_no_name_leads_out_of_the_folder(name: str, store: FolderStore) -> None:
    with pytest.raises(ValueError, match="no name of a store"):
        store.path(name)


@pytest.mark.parametrize("kind", ["absent", "link", "pipe", "folder", "too large"])
def test_what_is_no_file_of_a_plausible_size_is_damage(kind: str, store: FolderStore) -> None:
    path = store.root / "x"
    match kind:
        case "link":
            (store.root / "target").write_bytes(b"bytes")
            path.symlink_to("target")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "too large":
            path.write_bytes(b"12345")
    with pytest.raises(IntegrityError) as refusal:
        store.get("x", 4)
    assert refusal.value.code == "registry-damaged"


class FullDisk(LocalDisk):
    def create(self, path: Path, data: bytes) -> None:
        super().create(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FailingFlush(LocalDisk):
    def flush(self, path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))


@pytest.mark.parametrize(("disk", "code"), [(FullDisk(), "disk-full"), (FailingFlush(), "output-not-writable")])
def test_where_writing_fails_nothing_is_left_and_nothing_acknowledged(
    disk: LocalDisk, code: str, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    failing, store = FolderStore(tmp_path, disk), FolderStore(tmp_path)
    with pytest.raises(ResourceError) as refusal:
        failing.put_if_absent("a/1.json", b"bytes")
    assert refusal.value.code == code
    with pytest.raises(ResourceError) as refusal:
        failing.put_folder_if_absent("a/2", {"x": b"bytes"})
    assert refusal.value.code == code
    assert os.listdir(tmp_path / "a") == []
    assert store.put_if_absent("a/1.json", b"bytes")
