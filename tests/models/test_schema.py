"""The description of a model is closed: what it says is consistent, or it is refused."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.models.made import GOLDEN
from tests.models.spoiling import changed, refused, sealed

from batchlearn.artifacts.manifest import MANIFEST
from batchlearn.artifacts.strict_json import Malformed
from batchlearn.data.target import Target
from batchlearn.models.files import load
from batchlearn.models.folder import MODEL
from batchlearn.models.schema import describe, parse_schema
from batchlearn.tables.readings import ColumnReading


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format_version",), 3),
        (("format_version",), 0),
        (("readings",), {"amount": {"kind": "category"}}),
        (("text_encoding",), 3),
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


@pytest.mark.parametrize(
    "path",
    [
        ("roles", "offset"),
        ("roles", "drop"),
        ("encoding", "left_out"),
        ("encoding", "numbers", 0, "missing_share"),
        ("encoding", "groups", 0, "rare"),
        ("encoding", "groups", 0, "kind"),
        ("target", "task"),
        ("standard_errors",),
        ("record",),
    ],
)
def test_a_key_that_every_file_has_is_missed(path: tuple[str | int, ...], folder: Path) -> None:
    value = json.loads((folder / MODEL).read_text(encoding="utf-8"))
    place = value
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    (folder / MODEL).write_text(json.dumps(value), encoding="utf-8")
    refused(sealed(folder), str(path[-1]), "model-damaged")


def test_a_key_that_older_files_lack_means_what_it_meant(folder: Path) -> None:
    value = json.loads((folder / MODEL).read_text(encoding="utf-8"))
    for key in ("class_shares", "level_moments", "costs"):
        value.pop(key, None)
    for key in ("loss", "power", "threshold"):
        value["target"].pop(key, None)
    (folder / MODEL).write_text(json.dumps(value), encoding="utf-8")
    model = load(sealed(folder))
    assert (model.costs, model.class_shares, model.level_moments) == (None, (), None)
    assert model.target == Target("late", "logistic", ("no", "yes"))
    number = parse_schema({**value, "target": {"column": "late", "task": "number", "classes": []}})
    assert number.target.loss == "squared"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("encoding", "numbers", 0, "deviation"), -1.5, "'encoding.numbers.0.deviation' is '-1.5'.*greater than 0"),
        (("encoding", "groups", 0, "levels", 0), 7, "levels.0' is '7'.*valid string"),
        (("encoding", "groups", 0, "kind"), "tree", "'tree'.*expected tags: 'bins', 'category', 'calendar', 'pair'"),
        (("encoding", "groups", 2, "part"), "minute", "minute.*hour, weekday, month"),
        (("encoding", "groups", 2, "values", 0), 24, "24.*no hour"),
        (("target", "loss"), "poisson", "poisson.*classes"),
        (("target", "loss"), ["logistic"], "no loss"),
        (("target", "task"), {}, "one of classes, number, count, amount"),
        (("target", "extra"), 1, "extra"),
        (("roles", "extra"), 1, "extra"),
        (("costs",), {"false_positive": 1.0, "false_negative": 0.0, "fee": None}, "false negative is 0.0"),
    ],
)
def test_a_refusal_says_what_came_and_what_is_needed(
    path: tuple[str | int, ...], value: object, said: str, folder: Path
) -> None:
    refused(changed(folder, *path, to=value), said, "model-damaged")


def test_a_description_of_more_levels_than_memory_holds_is_refused_at_once(folder: Path) -> None:
    hashed = {"kind": "category", "buckets": 1 << 20, "levels": [], "rare": False, "missing": False, "reference": None}
    pair = {"kind": "pair", "first": {**hashed, "column": "colour"}, "second": {**hashed, "column": "code"}}
    value = json.loads((folder / MODEL).read_text(encoding="utf-8"))
    value["encoding"]["groups"].append(pair)
    (folder / MODEL).write_text(json.dumps(value), encoding="utf-8")
    refused(sealed(folder), "damaged", "model-damaged")


@pytest.mark.parametrize(
    ("loss", "power", "fits"),
    [
        ("tweedie", 1.5, True),
        ("gamma", None, True),
        ("tweedie", None, False),
        ("tweedie", 2.0, False),
        ("tweedie", 1.0, False),
        ("gamma", 1.5, False),
    ],
)
def test_a_tweedie_target_has_a_power_and_no_other_has(loss: str, power: float | None, fits: bool) -> None:
    target: dict[str, object] = {"column": "y", "task": "amount", "classes": [], "loss": loss, "power": power}
    description = {**describe(load(GOLDEN), {}), "format_version": 1, "target": target}
    if fits:
        assert parse_schema(description).target == Target("y", loss, power=power)
    else:
        with pytest.raises(Malformed, match="power"):
            parse_schema(description)


@pytest.mark.parametrize(("part", "fits", "spoilt"), [("decimal", ",", "x"), ("thousands", "'", "5")])
def test_signs_of_numbers_are_those_that_can_be_read(part: str, fits: str, spoilt: str, folder: Path) -> None:
    kinds = json.loads((folder / MODEL).read_text(encoding="utf-8"))["encoding"]["kinds"]
    fitting = {name: asdict(ColumnReading(kind)) | {part: fits} for name, kind in kinds.items()}
    model = load(changed(folder, "readings", to=fitting))
    assert {getattr(reading, part) for reading in model.readings.values()} == {fits}
    spoiling = {name: asdict(ColumnReading(kind)) | {part: spoilt} for name, kind in kinds.items()}
    refused(changed(folder, "readings", to=spoiling), part, "model-damaged")
