"""The description of a model is closed: what it says is consistent, or it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.models.spoiling import changed, refused, sealed

from batchlearn.artifacts.manifest import MANIFEST
from batchlearn.models.files import load
from batchlearn.models.folder import MODEL
from batchlearn.models.schema import TargetSchema


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format_version",), 2),
        (("kind",), "os.system"),
        (("class",), "builtins.eval"),
        (("label_mean",), "0.5"),
        (("encoding", "numbers", 0, "deviation"), 0.0),
        (("encoding", "numbers", 0, "deviation"), -1.0),
        (("encoding", "numbers", 0, "missing_share"), 1.0),
        (("encoding", "numbers", 0, "low"), 1e9),
        (("encoding", "numbers", 0, "column"), "x" * 513),
        (("encoding", "numbers", 0, "column"), "flag"),
        (("encoding", "numbers", 0, "column"), "another"),
        (("encoding", "numbers", 0, "column"), "a\u202eb"),
        (("encoding", "kinds", "amount"), "category"),
        (("encoding", "kinds", "extra"), "number"),
        (("encoding", "groups", 0, "levels", 0), "red"),
        (("encoding", "groups", 0, "reference"), "red"),
        (("encoding", "groups", 0, "buckets"), 3),
        (("encoding", "groups", 1, "buckets"), 10**9),
        (("encoding", "groups", 1, "buckets"), 4),
        (("encoding", "groups", 0, "kind"), "tree"),
        (("encoding", "groups", 2, "values", 0), 24),
        (("encoding", "groups", 2, "values", 0), -1),
        (("encoding", "groups", 2, "values", 0), 1),
        (("encoding", "groups", 2, "part"), "minute"),
        (("target", "classes"), ["yes"]),
        (("target", "classes"), ["yes", "yes"]),
        (("target", "classes"), ["yes", 1.0]),
        (("target", "task"), "number"),
        (("target", "task"), "amount"),
        (("target", "power"), 1.5),
        (("bounds", "radius"), -1.0),
        (("bounds", "inverse"), False),
        (("bounds",), None),
        (("standard_errors",), 1),
        (("record",), None),
    ],
)
def test_a_description_is_closed_and_consistent(path: tuple[str | int, ...], value: object, folder: Path) -> None:
    refused(changed(folder, *path, to=value), "damaged", "model-damaged")


def test_the_way_descriptions_are_changed_here_is_a_way_to_write(folder: Path) -> None:
    assert load(changed(folder, "label_mean", to=0.25)).label_mean == 0.25


@pytest.mark.parametrize(
    "text",
    [
        b'{"label_mean": 1, "label_mean": 2}',
        b'{"label_mean": NaN}',
        b'{"label_mean": -Infinity}',
        b'{"label_mean": 1e999}',
        b'{"label_mean": ' + b"9" * 5000 + b"}",
        b'{"record": {"x": "\\ud800"}}',
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"label_mean": "\xff"}',
        b"\xef\xbb\xbf{}",
        b"{} {}",
        b"[]",
        b"null",
        b"",
        b"\0",
    ],
    ids=lambda text: repr(text[:24]),
)
@pytest.mark.parametrize("name", [MODEL, MANIFEST])
def test_json_that_could_be_read_in_two_ways_is_refused(text: bytes, name: str, folder: Path) -> None:
    (folder / name).write_bytes(text)
    refused(sealed(folder) if name == MODEL else folder, "damaged", "model-damaged")


def with_target(loss: str, power: object) -> dict[str, Any]:
    return {"column": "y", "task": "amount", "classes": [], "loss": loss, "power": power}


def test_a_tweedie_target_has_a_power_and_no_other_has() -> None:
    assert TargetSchema.model_validate(with_target("tweedie", 1.5)).power == 1.5
    assert TargetSchema.model_validate(with_target("gamma", None)).power is None
    for loss, power in (("tweedie", None), ("tweedie", 2.0), ("tweedie", 1.0), ("gamma", 1.5)):
        with pytest.raises(ValidationError, match="power"):
            TargetSchema.model_validate(with_target(loss, power))
