"""The folder of a model: written whole or not at all, read once, and refused unless every byte is the one written.

manifest.json holds size and SHA-256 of the other files; its own SHA-256 is the identity of the model. What is parsed
later are the very bytes that were hashed here, so nothing can be changed in between.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from batchlearn.artifacts.disk import Irregular, read_regular
from batchlearn.artifacts.folders import named_problems, temporary_folder, write_durably, write_folder
from batchlearn.artifacts.manifest import FORMAT_VERSION, MANIFEST, manifest_of, needed_release, sha256
from batchlearn.artifacts.strict_json import Malformed, parse
from batchlearn.errors import IntegrityError, RegistryError, ResourceError, UsageError, quoted

MODEL, WEIGHTS = "model.json", "weights.safetensors"
# What an estimator of the user's is kept in, by the library whose format it is.
LEARNERS = {
    "lightgbm": "learner.txt",
    "xgboost": "learner.json",
    "catboost": "learner.catboost.json",
    "skops": "learner.skops",
}
NEEDED = frozenset({MODEL, WEIGHTS})
# What lies beside the folder of a version's model: the list of its rows.
ROWS = "rows.json"
# Bytes. Files are read into memory as they are: a bound keeps what claims to be a model from filling it.
_LARGEST = {MODEL: 1 << 26, WEIGHTS: 1 << 31, **dict.fromkeys(LEARNERS.values(), 1 << 31)}
_LARGEST_MANIFEST = 1 << 16
# Of a model with the inverse Hessian of 2,500 coefficients.
PLAUSIBLE_BYTES = 1 << 26


# --- reading --------------------------------------------------------------------------------------------------------


def read_folder(path: Path) -> tuple[dict[str, bytes], str]:
    """Read the files of a model and check them against their manifest.

    Returns the bytes of each file but the manifest, and the SHA-256 of the manifest.
    IntegrityError where a file is missing, altered, too many or no file of its own; RegistryError where a newer
    version wrote them; UsageError where there is nothing.
    """
    with _folder(path) as folder:
        if MANIFEST not in os.listdir(folder):
            raise _no_model(path, f"it has no {MANIFEST}")
        # Opened once: what the path means later does not matter.
        manifest = _read_file(folder, path / MANIFEST, _LARGEST_MANIFEST)
        sizes = _stated_sizes(manifest, path)
        found = set(os.listdir(folder))
        if found != {MANIFEST, *sizes} or not NEEDED <= sizes.keys() <= _LARGEST.keys():
            raise IntegrityError(
                f"The model {quoted(path)} has the files {quoted(', '.join(sorted(found)), 200)}; exactly {MODEL}, "
                f"{WEIGHTS}, {MANIFEST} and what they name are needed. Copy the model again, and keep other files "
                "elsewhere.",
                code="model-files",
            )
        largest = {name: most for name, most in _LARGEST.items() if name in sizes}
        files = {name: _read_file(folder, path / name, most, sizes[name]) for name, most in largest.items()}
    if manifest_of(files) != manifest:
        raise IntegrityError(
            f"The files of the model {quoted(path)} are not those that its {MANIFEST} lists: a SHA-256 differs. The "
            "bytes that were written are needed: copy the model again from where it was saved, or train again.",
            code="model-altered",
        )
    return files, sha256(manifest)


def read_files(path: Path) -> dict[str, bytes]:
    """Read all files of a model, their manifest included, as they are to be copied; errors as of `read_folder`."""
    files, _ = read_folder(path)
    return {**files, MANIFEST: manifest_of(files)}


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as problem:
        raise UsageError(f"There is no model {quoted(path)}; check the path.", code="model-missing") from problem
    except ValueError as problem:
        raise UsageError(f"{quoted(path)} is no path; give the folder of a model.", code="path-not-valid") from problem
    except OSError as problem:
        if problem.errno in (errno.ENOTDIR, errno.ELOOP):
            raise _no_model(path, "it is no folder") from problem
        raise _unreadable(path, problem) from problem
    try:
        yield folder
    finally:
        os.close(folder)


def _no_model(path: Path, why: str) -> IntegrityError:
    return IntegrityError(
        f"{quoted(path)} is not a model file: {why}. A model is a folder that `train` has saved; pickles, joblib and "
        "npz files are never read. Give such a folder, or train again.",
        code="not-a-model",
    )


def damaged(path: Path, what: str) -> IntegrityError:
    """Make the error for a file of a model that does not hold what such a file holds."""
    return IntegrityError(
        f"The model file {quoted(path, 200)} is damaged: {what}. The bytes that were written are needed: copy the "
        "model again from where it was saved, or train again.",
        code="model-damaged",
    )


def _unreadable(path: Path, problem: OSError) -> ResourceError:
    return ResourceError(
        f"{quoted(path)} cannot be read: {problem.strerror}; check its permissions and the disk.",
        code="model-unreadable",
    )


def _read_file(folder: int, path: Path, largest: int, size: int | None = None) -> bytes:
    """Read a regular file that has no other name, of `size` bytes if given, from an opened folder, no link followed."""
    if size is not None and not 0 <= size <= largest:
        raise damaged(path, f"it is said to have {size:,} bytes instead of at most {largest:,}")
    try:
        data = read_regular(path.name, largest if size is None else size, folder=folder)
    except Irregular as problem:
        raise damaged(path, str(problem)) from problem
    except OSError as problem:
        if problem.errno in (errno.ELOOP, errno.ENOENT, errno.ENXIO):
            raise damaged(path, "it is a link, a socket or not there") from problem
        raise _unreadable(path, problem) from problem
    if size not in (None, len(data)):
        raise damaged(path, f"it has {len(data):,} bytes instead of {size:,}")
    return data


def _stated_sizes(data: bytes, path: Path) -> dict[str, int]:
    where = path / MANIFEST
    try:
        manifest = parse(data)
    except Malformed as problem:
        raise damaged(where, str(problem)) from problem
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if not isinstance(manifest, dict) or type(version) is not int or version < 1:
        raise damaged(where, f"its format_version is {quoted(version)}; a whole number of 1 or more is needed")
    if version > FORMAT_VERSION:
        raise RegistryError(
            f"The model {quoted(path)} has format {version}; this batchlearn reads formats up to {FORMAT_VERSION}. It "
            f"needs {needed_release(manifest.get('needs'))}: upgrade, or train again with this one.",
            code="model-newer",
        )
    files = manifest.get("files")
    entries = files.items() if isinstance(files, dict) else ()
    sizes = {name: entry.get("bytes") if isinstance(entry, dict) else None for name, entry in entries}
    if not sizes or not all(type(size) is int for size in sizes.values()):
        raise damaged(where, "it does not list the files with their sizes")
    return {name: int(size or 0) for name, size in sizes.items()}


# --- writing --------------------------------------------------------------------------------------------------------


def check_writable(path: str | os.PathLike[str], force: bool = False, needed: int = PLAUSIBLE_BYTES) -> None:
    """Refuse now what would make saving a model of `needed` bytes fail later; leaves nothing behind.

    UsageError where the path exists (with `force`: and is no model), ResourceError where the disk is full or the
    folder may not be written.
    """
    target = _absolute(path)
    _check_free(target, force)
    with named_problems(target):
        free = shutil.disk_usage(target.parent).free
        if free < needed:
            raise ResourceError(
                f"The disk of {quoted(target)} has {free:,} bytes left; a model may need {needed:,}. Make room, or "
                "save elsewhere.",
                code="disk-full",
            )
        with temporary_folder(target.parent) as trial:
            write_durably(trial / MANIFEST, b"{}\n")


def write_model(path: str | os.PathLike[str], files: Mapping[str, bytes], force: bool = False) -> Path:
    """Write the files and their manifest as a new folder, or as nothing; return its absolute path.

    With `force` a model already there is replaced. Errors as those of `check_writable`.
    """
    target = _absolute(path)
    _check_free(target, force)
    with named_problems(target):
        write_folder(target, {**files, MANIFEST: manifest_of(files)})
    return target


def _absolute(path: str | os.PathLike[str]) -> Path:
    text = os.fspath(path)
    if not text or "\0" in text:
        raise UsageError(f"{quoted(text)} is no path; name a folder for the model.", code="path-not-valid")
    return Path(os.path.abspath(text))


def _check_free(target: Path, force: bool) -> None:
    with named_problems(target):
        if not target.parent.is_dir():
            raise UsageError(
                f"There is no folder {quoted(target.parent)} for the model; make it first, or save elsewhere.",
                code="output-folder-missing",
            )
        if not os.path.lexists(target):
            return
        if not force:
            raise UsageError(
                f"{quoted(target)} exists already and is not overwritten; choose another path, or use --force.",
                code="output-exists",
            )
        # Force is for models: it must not be able to delete anything else.
        names = set(os.listdir(target)) if target.is_dir() and not target.is_symlink() else {""}
        if names and not (MANIFEST in names and names <= {MANIFEST, *_LARGEST}):
            raise UsageError(
                f"{quoted(target)} exists and is no model, so --force does not replace it; remove it yourself, or "
                "choose another path.",
                code="output-not-a-model",
            )
