"""Ways to spoil a saved model, and the one way in which it must then be refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.models.made import GOLDEN

from batchlearn.artifacts.manifest import MANIFEST, manifest_of
from batchlearn.errors import IntegrityError
from batchlearn.models.files import load
from batchlearn.models.folder import MODEL, WEIGHTS


def golden_copy(parent: Path) -> Path:
    """Copy the golden model into a folder."""
    copy = parent / "model"
    copy.mkdir()
    for source in GOLDEN.iterdir():
        (copy / source.name).write_bytes(source.read_bytes())
    return copy


def sealed(folder: Path) -> Path:
    """Write a manifest that fits the files as they are now: what an attacker, or a broken writer, would leave."""
    files = {name: (folder / name).read_bytes() for name in (MODEL, WEIGHTS)}
    (folder / MANIFEST).write_bytes(manifest_of(files))
    return folder


def refused(folder: Path, said: str | None = None, code: str | None = None) -> None:
    """Check that loading is refused with exit code 6, the words and the code given."""
    with pytest.raises(IntegrityError, match=said) as refusal:
        load(folder)
    assert refusal.value.exit_code == 6
    assert code is None or refusal.value.code == code


def changed(folder: Path, *path: str | int, to: object) -> Path:
    """Write another value at a place of model.json."""
    value = json.loads((folder / MODEL).read_text(encoding="utf-8"))
    place = value
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    (folder / MODEL).write_text(json.dumps(value), encoding="utf-8")
    return sealed(folder)
