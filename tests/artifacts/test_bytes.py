"""What was written before is written the same today, byte for byte: JSON, tensors, manifests, whole versions."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import pytest

from batchlearn.artifacts.manifest import MANIFEST, manifest_of, sha256
from batchlearn.artifacts.store import FolderStore
from batchlearn.artifacts.strict_json import dump, parse
from batchlearn.artifacts.tensors import header_of, pack, unpack
from batchlearn.models.files import files_of, read_model
from batchlearn.models.folder import MODEL, WEIGHTS
from batchlearn.models.schema import FORMAT_VERSION
from batchlearn.registry.records import Log
from batchlearn.registry.version import DESCRIPTION, MODEL_FOLDER, read_version, register

TESTS = Path(__file__).resolve().parents[1]
FIXTURES = [TESTS / "models" / "fixtures", TESTS / "models" / "formats" / "fixtures", TESTS / "registry" / "fixtures"]
STORED = [path for folder in FIXTURES for path in sorted(folder.rglob("*")) if path.is_file()]
JSON = [path for path in STORED if path.suffix == ".json" and path.name not in ("said.json", "linear-1.json")]
TENSORS = [path for path in STORED if path.suffix == ".safetensors"]
MANIFESTS = [path for path in JSON if path.name == MANIFEST]
# Older ones lack keys that are written now.
MODELS = [path.parent for path in MANIFESTS if path.parent.name == "model" and "2026-11" in str(path)]
TODAY = TESTS / "registry" / "fixtures" / "registry-3"


def named(path: Path) -> str:
    return str(path.relative_to(TESTS))


@pytest.mark.parametrize("path", JSON, ids=named)
def test_json_is_written_as_it_was(path: Path) -> None:
    assert dump(parse(path.read_bytes())) == path.read_bytes()


@pytest.mark.parametrize("path", TENSORS, ids=named)
def test_tensors_are_written_as_they_were(path: Path) -> None:
    header: Any = header_of(path.read_bytes())
    shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}
    arrays = unpack(path.read_bytes(), shapes)
    assert sum(array.size for array in arrays.values()) == sum(map(prod, shapes.values()))
    assert pack(arrays) == path.read_bytes()


@pytest.mark.parametrize("path", MANIFESTS, ids=named)
def test_manifests_are_written_as_they_were(path: Path) -> None:
    files = {named_in(path.parent, one): one.read_bytes() for one in path.parent.rglob("*") if one.is_file()}
    del files[MANIFEST]
    description = parse(files.get(DESCRIPTION, b"{}"))
    for removable in description.get("removable", ()):
        del files[removable]
    assert manifest_of(files) == path.read_bytes()


def named_in(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


@pytest.mark.parametrize("path", MODELS, ids=named)
def test_a_model_that_is_read_is_written_as_it_was_and_may_say_more(path: Path) -> None:
    stored = read_model(path)
    written = files_of(stored.model, stored.record)
    assert written[WEIGHTS] == (path / WEIGHTS).read_bytes()
    before, after = parse((path / MODEL).read_bytes()), parse(written[MODEL])
    assert (before.pop("format_version"), after.pop("format_version")) == (1, FORMAT_VERSION)
    assert_says(after, before)
    assert stored.identity == sha256((path / MANIFEST).read_bytes())


def assert_says(after: Any, before: Any) -> None:
    """What was written stands there as it did; parts of it may say more, in keys of their own."""
    if isinstance(before, dict):
        assert before.keys() <= after.keys()
        for key, value in before.items():
            assert_says(after[key], value)
    elif isinstance(before, list):
        assert len(after) == len(before)
        for now, then in zip(after, before, strict=True):
            assert_says(now, then)
    else:
        assert after == before


def test_a_version_is_written_as_it_was(tmp_path: Path) -> None:
    old, new = FolderStore(TODAY), FolderStore(tmp_path)
    for number in (1, 2):
        version = read_version(old, number)
        files = {name: (version.path / name).read_bytes() for name in version.sizes if name != DESCRIPTION}
        given_by_the_registry = ("removable", "format_version", "needs", "number")
        description = {key: value for key, value in version.description.items() if key not in given_by_the_registry}
        del files[f"{MODEL_FOLDER}/{MANIFEST}"]
        again = register(new, description, files)
        # The identity is the SHA-256 of the manifest, which has that of each file.
        assert again.identity == version.identity


@pytest.mark.parametrize("folder", ["promotions", "events"])
def test_records_are_written_as_they_were(folder: str, tmp_path: Path) -> None:
    log, written = Log(FolderStore(TODAY), folder), Log(FolderStore(tmp_path), folder)
    for record in log.all():
        written.write(record.content)
    names = FolderStore(TODAY).names(folder)
    assert [(tmp_path / folder / n).read_bytes() for n in names] == [(TODAY / folder / n).read_bytes() for n in names]
