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
from tests.models.made import GOLDEN
from tests.models.spoiling import changed, refused, sealed

from batchlearn.artifacts.manifest import MANIFEST
from batchlearn.errors import IntegrityError, RegistryError, UsageError
from batchlearn.models.files import load
from batchlearn.models.folder import MODEL, WEIGHTS

ROOT = Path(__file__).resolve().parents[2]


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


def other_entry(header: dict[str, Any], how: str) -> dict[str, Any]:
    """Return a header that describes the first array wrongly."""
    entry = header["parameters"]
    start, stop = entry["data_offsets"]
    changes: dict[str, dict[str, Any]] = {
        "overlap": {"data_offsets": [start - 8, stop - 8] if start else [8, stop + 8]},
        "negative": {"data_offsets": [-8, stop]},
        "other shape": {"shape": [1, *entry["shape"]]},
        "other type": {"dtype": "I64"},
        "shorter type": {"dtype": "F32", "shape": [2 * entry["shape"][0]]},
        "more keys": {"class": "numpy.ndarray"},
    }
    return {**header, "parameters": {**entry, **changes[how]}}


@pytest.mark.parametrize("how", ["overlap", "negative", "other shape", "other type", "shorter type", "more keys"])
def test_an_array_described_in_another_way_is_refused(how: str, folder: Path) -> None:
    header, data = header_and_data(folder)
    refused(with_header(folder, other_entry(header, how), data), "damaged", "model-damaged")


def test_arrays_missing_unknown_or_oddly_named_are_refused(folder: Path) -> None:
    header, data = header_and_data(folder)
    rest = {name: entry for name, entry in header.items() if name != "parameters"}
    more = {"dtype": "F64", "shape": [0], "data_offsets": [len(data), len(data)]}
    for name in ("more", "../../x", "__metadata__", ""):
        entry = {"run": "me"} if name == "__metadata__" else more
        refused(with_header(folder, {**header, name: entry}, data), "it holds", "model-damaged")
    refused(with_header(folder, rest, data), "it holds", "model-damaged")
    refused(with_header(folder, {**rest, "../../x": header["parameters"]}, data), "it holds", "model-damaged")
    twice = json.dumps(header)[:-1] + f', "parameters": {json.dumps(header["parameters"])}}}'
    refused(with_header(folder, twice.encode(), data), "comes twice", "model-damaged")


def test_holes_and_rests_are_refused(folder: Path) -> None:
    header, data = header_and_data(folder)
    refused(with_header(folder, header, data + bytes(8)), "bytes where")
    refused(with_header(folder, header, data[:-8]), "bytes where")
    last = max(header, key=lambda name: header[name]["data_offsets"][1])
    header[last]["data_offsets"] = [offset + 8 for offset in header[last]["data_offsets"]]
    refused(with_header(folder, header, data + bytes(8)), "damaged")
    refused(with_header(folder, header, data), "damaged")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(value: float, folder: Path) -> None:
    header, data = header_and_data(folder)
    for entry in list(header.values()):
        start = entry["data_offsets"][0]
        spoilt = data[:start] + struct.pack("<d", value) + data[start + 8 :]
        refused(with_header(folder, header, spoilt), "not finite", "model-damaged")


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


# --- any damage -----------------------------------------------------------------------------------------------------


def test_any_flipped_bit_and_any_cut_is_refused(folder: Path) -> None:
    rng = np.random.default_rng(20)
    manifest = (folder / MANIFEST).read_bytes()
    trials = [(MANIFEST, 8 * byte + int(bit)) for byte, bit in enumerate(rng.integers(0, 8, size=len(manifest)))]
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
