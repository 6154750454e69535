"""What is no model, or not the one that was written, is refused with a named error and runs nothing (M111 to M115)."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchlearn.errors import IntegrityError, RegistryError, UsageError
from batchlearn.models.files import load
from batchlearn.models.folder import MANIFEST, MODEL, WEIGHTS, manifest_of
from tests.models.made import GOLDEN

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the golden model that a test may spoil."""
    copy = tmp_path / "model"
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
    with pytest.raises(IntegrityError, match=said) as refusal:
        load(folder)
    assert refusal.value.exit_code == 6
    assert code is None or refusal.value.code == code


# --- M111, M113: other formats under any name -----------------------------------------------------------------------


class Canary:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (self.path,)


def npz(value: Any, *, allow_pickle: bool = True) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=allow_pickle, x=value)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", MODEL, WEIGHTS, "model.npz", "model"])
def test_a_pickle_is_no_model_under_any_name(name: str, tmp_path: Path, folder: Path) -> None:
    canary = tmp_path / "canary"
    for data in (pickle.dumps(Canary(canary)), npz(np.asarray([Canary(canary)], dtype=object)), b"PK\3\4", b""):
        alone = tmp_path / f"alone-{name}"
        alone.write_bytes(data)
        refused(alone, "not a model file", "not-a-model")
        for inside in (MODEL, WEIGHTS):
            before = (folder / inside).read_bytes()
            (folder / inside).write_bytes(data)
            refused(sealed(folder), "damaged", "model-damaged")
            (folder / inside).write_bytes(before)
        (folder / MANIFEST).write_bytes(data)
        refused(folder, "damaged")
    assert not canary.exists()


def test_what_is_no_folder_or_has_no_manifest_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "empty", tmp_path / "pipe", Path("/dev/zero")):
        refused(path, "not a model file", "not-a-model")
    with pytest.raises(UsageError, match="no model") as refusal:
        load(tmp_path / "nothing")
    assert refusal.value.code == "model-missing"
    with pytest.raises(UsageError, match="is no path"):
        load("a\0b")


# --- M112: arrays ---------------------------------------------------------------------------------------------------


def header_and_data(folder: Path) -> tuple[dict[str, Any], bytes]:
    data = (folder / WEIGHTS).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(folder: Path, header: dict[str, Any] | bytes, data: bytes) -> Path:
    written = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(written)) + written + data)
    return sealed(folder)


def spoil(header: dict[str, Any], data: bytes, how: str) -> tuple[dict[str, Any] | bytes, bytes]:
    entry, size = header["parameters"], len(data)
    start, stop = entry["data_offsets"]
    match how:
        case "overlap":
            entry["data_offsets"] = [start - 8, stop - 8] if start else [8, stop + 8]
        case "hole" | "trailing":
            if how == "hole":
                last = max(header.values(), key=lambda each: each["data_offsets"][1])
                last["data_offsets"] = [offset + 8 for offset in last["data_offsets"]]
            data += bytes(8)
        case "shape":
            entry["shape"] = [1, *entry["shape"]]
        case "type":
            entry["dtype"] = "I64"
        case "shorter type":
            entry["dtype"] = "F32"
            entry["shape"] = [2 * entry["shape"][0]]
        case "missing":
            del header["standard_errors"]
        case "unknown":
            header["more"] = {"dtype": "F64", "shape": [0], "data_offsets": [size, size]}
        case "path":
            header["../../x"] = header.pop("parameters")
        case "metadata":
            header["__metadata__"] = {"run": "me"}
        case "negative":
            entry["data_offsets"] = [-8, stop]
        case "cut":
            data = data[:-8]
        case "twice":
            text = json.dumps(header)
            return (text[:-1] + f', "parameters": {json.dumps(entry)}}}').encode(), data
        case _:
            value = {"nan": np.nan, "infinite": np.inf}[how]
            data = data[:start] + struct.pack("<d", value) + data[start + 8 :]
    return header, data


ARRAYS_SPOILT = (
    "overlap hole trailing shape type missing unknown path metadata negative cut twice nan infinite".split()  # noqa: SIM905
)


@pytest.mark.parametrize("how", [*ARRAYS_SPOILT, "shorter type"])
def test_arrays_other_than_those_described_are_refused(how: str, folder: Path) -> None:
    header, data = spoil(*header_and_data(folder), how)
    refused(with_header(folder, header, data), "damaged", "model-damaged")


def test_a_header_has_a_limit(folder: Path) -> None:
    header, data = header_and_data(folder)
    with_header(folder, json.dumps(header).encode() + b" " * (1 << 20), data)
    refused(folder, "header claims")
    for claimed in (2**63, 2**64 - 1, 2**31, len(data) * 2):
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", claimed) + data)
        refused(sealed(folder), "header claims")
    assert load(with_header(folder, header, data)).parameters.size  # the way these tests write is a way to write


def test_negative_standard_errors_are_refused(folder: Path) -> None:
    header, data = header_and_data(folder)
    start = header["standard_errors"]["data_offsets"][0]
    refused(with_header(folder, header, data[:start] + struct.pack("<d", -1.0) + data[start + 8 :]), "below 0")


# --- M114: the folder -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [MODEL, WEIGHTS, MANIFEST])
def test_a_missing_file_is_refused(name: str, folder: Path) -> None:
    (folder / name).unlink()
    refused(folder, code="not-a-model" if name == MANIFEST else "model-files")


@pytest.mark.parametrize("name", ["model.pkl", ".hidden", "sub"])
def test_a_file_too_many_is_refused(name: str, folder: Path) -> None:
    (folder / name).mkdir() if name == "sub" else (folder / name).touch()
    refused(folder, code="model-files")


@pytest.mark.parametrize("name", [MODEL, WEIGHTS, MANIFEST])
@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "pipe", "folder", "socket", "device"])
def test_what_is_no_file_of_its_own_is_refused(name: str, kind: str, folder: Path, monkeypatch: Any) -> None:
    away = folder.parent / "away"
    (folder / name).rename(away)
    monkeypatch.chdir(folder)  # names of sockets must be short
    with socket.socket(socket.AF_UNIX) as end:
        make: dict[str, Callable[[], object]] = {
            "symbolic link": lambda: os.symlink(away, name),
            "hard link": lambda: os.link(away, name),
            "pipe": lambda: os.mkfifo(name),
            "folder": lambda: os.mkdir(name),
            "socket": lambda: end.bind(name),
            "device": lambda: os.symlink("/dev/zero", name),
        }
        make[kind]()
        refused(folder, "damaged")


def test_a_manifest_of_other_files_is_refused(folder: Path) -> None:
    stated = json.loads((folder / MANIFEST).read_text())
    stated["files"][MODEL]["sha256"] = hashlib.sha256(b"").hexdigest()
    (folder / MANIFEST).write_text(json.dumps(stated, indent=1) + "\n")
    refused(folder, "SHA-256", "model-altered")
    other = {**stated, "files": {**stated["files"], "../x": stated["files"][MODEL]}}
    (folder / MANIFEST).write_text(json.dumps(other, indent=1) + "\n")
    refused(folder, code="model-files")


def test_a_size_is_compared_before_reading(folder: Path) -> None:
    with (folder / WEIGHTS).open("ab") as file:
        file.truncate(1 << 40)  # a sparse file: reading it would fill the memory
    refused(folder, "instead of")
    refused(sealed_size(folder, 1 << 40), "at most")


def sealed_size(folder: Path, size: int) -> Path:
    stated = json.loads((folder / MANIFEST).read_text())
    stated["files"][WEIGHTS]["bytes"] = size
    (folder / MANIFEST).write_text(json.dumps(stated, indent=1) + "\n")
    return folder


# --- M115: newer formats --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "said"),
    [({"needs": "batchlearn >= 2.3.1"}, "needs batchlearn >= 2.3.1"), ({}, "newer"), ({"needs": "\x1b[2J"}, "newer")],
)
def test_a_newer_format_names_what_it_needs(more: dict[str, str], said: str, folder: Path) -> None:
    (folder / MANIFEST).write_text(json.dumps({"format_version": 2, **more, "things": []}))
    (folder / "more.bin").touch()
    with pytest.raises(RegistryError, match=said) as refusal:
        load(folder)
    assert refusal.value.exit_code == 4
    assert refusal.value.code == "model-newer"


@pytest.mark.parametrize("version", [0, -1, True, "1", 1.0, None, []])
def test_a_format_that_never_was_is_refused(version: object, folder: Path) -> None:
    (folder / MANIFEST).write_text(json.dumps({"format_version": version, "files": {}}))
    refused(folder, "format_version")


# --- the description ------------------------------------------------------------------------------------------------


def changed(folder: Path, *path: str | int, to: object) -> Path:
    """Write another value at a place of model.json."""
    value = json.loads((folder / MODEL).read_text(encoding="utf-8"))
    place = value
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    (folder / MODEL).write_text(json.dumps(value), encoding="utf-8")
    return sealed(folder)


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


# --- any damage -----------------------------------------------------------------------------------------------------


def test_any_flipped_bit_and_any_cut_is_refused(folder: Path) -> None:
    rng = np.random.default_rng(20)
    manifest = (folder / MANIFEST).read_bytes()
    trials = [(MANIFEST, 8 * byte + bit) for byte in range(len(manifest)) for bit in (0, 1, 5)]
    trials += [(name, int(rng.integers(0, 8 * (GOLDEN / name).stat().st_size))) for name in (MODEL, WEIGHTS) * 150]
    for name, position in trials:
        whole = (GOLDEN / name).read_bytes()
        flipped = bytearray(whole)
        flipped[position // 8] ^= 1 << position % 8
        for data in (bytes(flipped), whole[: position // 8], whole + whole[: 1 + position % 8]):
            (folder / name).write_bytes(data)
            with pytest.raises((IntegrityError, RegistryError)):
                load(folder)
        (folder / name).write_bytes(whole)
    assert load(folder).parameters.size


def test_bits_flipped_before_the_manifest_was_written_never_crash(folder: Path) -> None:
    rng = np.random.default_rng(21)
    for name in (MODEL, WEIGHTS):
        whole = (GOLDEN / name).read_bytes()
        for _ in range(150):
            flipped = bytearray(whole)
            for position in rng.integers(0, 8 * min(len(whole), 9000), size=3):
                flipped[position // 8] ^= 1 << int(position) % 8
            (folder / name).write_bytes(bytes(flipped))
            try:
                model = load(sealed(folder))
            except IntegrityError:
                continue
            assert np.all(np.isfinite(model.parameters))
        (folder / name).write_bytes(whole)


_WATCHED = """\
import sys
from pathlib import Path
from batchlearn.errors import IntegrityError
from batchlearn.models.files import load
load(sys.argv[1])
happened = []
watched = {"exec", "compile", "import", "subprocess.Popen", "os.system", "socket.connect", "pickle.find_class"}
sys.addaudithook(lambda event, _: event in watched and happened.append(event))
load(sys.argv[1])
for path in sys.argv[2:]:
    try:
        load(path)
    except IntegrityError:
        continue
    sys.exit(f"{path} was loaded")
sys.exit(", ".join(happened))
"""


def test_reading_a_model_runs_imports_and_fetches_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pickle.json").write_bytes(pickle.dumps(Canary(tmp_path / "canary")))
    changed(folder, "kind", to="numpy.ndarray")
    command = [sys.executable, "-c", _WATCHED, str(GOLDEN), str(folder), str(tmp_path / "pickle.json")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (ended.returncode, ended.stderr) == (1, "\n")
