"""Versions: what a training left behind, in one folder that is written once, hashed, and never changed.

`versions/000002` holds the model (a folder that `predict` takes as it is), `version.json` (when, from which rows, by
which recipe and start, certificate, evaluation, verdict of the gate), the recipe as text, a few hundred sample rows
with the predictions that must come back for them, the totals that were kept, the list of its rows, and the
environment. `manifest.json` has size and SHA-256 of each; its own SHA-256 is the identity of the version, which
promotions name. Those of what may be removed one day, the totals, are in `version.json`: the manifest lists what is
there for good.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from batchlearn.artifacts.manifest import MANIFEST, NEEDS, entries_of, manifest_of, sha256
from batchlearn.artifacts.store import Store, damaged
from batchlearn.artifacts.strict_json import Malformed, dump, parse
from batchlearn.errors import IntegrityError, RegistryError, UsageError, quoted
from batchlearn.models.folder import LEARNERS, MODEL, ROWS, WEIGHTS
from batchlearn.registry.pruned import REMOVABLE, PrunedFile, pruned_files
from batchlearn.registry.records import EVENTS, Log, check_format

VERSIONS = "versions"
DESCRIPTION, RECIPE, ENVIRONMENT = "version.json", "recipe.toml", "environment.json"
SAMPLE, EXPECTED, KEPT = "sample.parquet", "expected.safetensors", "kept.safetensors"
MODEL_FOLDER = "model"
# In format 1 an update took what of the penalty is per row for in total: `registry.check` finds such versions. Up to
# format 2 the manifest listed the kept totals too.
DESCRIPTION_FORMAT = 3
_NEEDED = {DESCRIPTION, RECIPE, ENVIRONMENT, *(f"{MODEL_FOLDER}/{name}" for name in (MANIFEST, MODEL, WEIGHTS))}
_LEARNERS = {f"{MODEL_FOLDER}/{name}" for name in LEARNERS.values()}
_ALLOWED = _NEEDED | {SAMPLE, EXPECTED, ROWS} | REMOVABLE | _LEARNERS
_FOLDER = re.compile(r"(\d{6,9})\Z")
_LARGEST_DESCRIPTION, _LARGEST = 1 << 26, 1 << 31


@dataclass(frozen=True)
class Version:
    """A registered version: its number, its identity and its description; the model is read by who needs it."""

    number: int
    identity: str
    description: dict[str, Any]
    path: Path
    sizes: dict[str, int]  # bytes of each file but the manifest, pruned or not
    hashes: dict[str, str]  # their SHA-256
    pruned: frozenset[str] = frozenset()  # files that are gone, as the ledger says; known once all bytes are checked

    @property
    def model_path(self) -> Path:
        """The folder of the model."""
        return self.path / MODEL_FOLDER


def version_numbers(store: Store) -> list[int]:
    """Return the numbers of all versions in order."""
    return sorted(int(match.group(1)) for name in store.names(VERSIONS) if (match := _FOLDER.match(name)))


def register(store: Store, description: Mapping[str, Any], files: Mapping[str, bytes], beyond: int = 0) -> Version:
    """Write a new version under the first free number above all that are there, and `beyond` a given one.

    `files` are all files but description and manifests; those of the model come as "model/...". Once it returns
    the version survives a loss of power. ResourceError where it cannot be written.
    """
    inside = f"{MODEL_FOLDER}/"
    model = {name.removeprefix(inside): data for name, data in files.items() if name.startswith(inside)}
    removable = {name: data for name, data in files.items() if name in REMOVABLE}
    lasting = {name: data for name, data in files.items() if name not in REMOVABLE}
    while True:
        number = max([beyond, *version_numbers(store)]) + 1
        stated = {
            **description,
            "removable": entries_of(removable),
            "format_version": DESCRIPTION_FORMAT,
            "needs": NEEDS,
            "number": number,
        }
        for_good = {**lasting, f"{MODEL_FOLDER}/{MANIFEST}": manifest_of(model), DESCRIPTION: dump(stated)}
        if not (_NEEDED <= for_good.keys() <= _ALLOWED):
            raise ValueError(f"a version has the files {sorted(_ALLOWED)}, not {sorted({**for_good, **removable})}")
        whole = {**for_good, **removable, MANIFEST: manifest_of(for_good)}
        if store.put_folder_if_absent(_name(number), whole):
            return read_version(store, number)


def read_version(store: Store, number: int) -> Version:
    """Return the description of a version, checked against its manifest; the other files are not read.

    UsageError where there is no such version, IntegrityError where it is altered, RegistryError where it is newer.
    """
    if number not in version_numbers(store):
        known = version_numbers(store)
        there = f"there are {known[0]} to {known[-1]}" if known else "there is none yet"
        raise UsageError(f"There is no version {number}; {there}. See `batchlearn history`.", code="version-missing")
    name = _name(number)
    manifest = store.get(f"{name}/{MANIFEST}", 1 << 16)
    entries = _entries(f"{name}/{MANIFEST}", manifest)
    data = store.get(f"{name}/{DESCRIPTION}", _LARGEST_DESCRIPTION)
    if entries[DESCRIPTION]["sha256"] != sha256(data):
        raise _altered(name, DESCRIPTION)
    description = _object(f"{name}/{DESCRIPTION}", data)
    stated = description.get("format_version"), description.get("needs")
    check_format(f"{name}/{DESCRIPTION}", *stated, DESCRIPTION_FORMAT)
    if description.get("number") != number:
        raise _altered(name, f"{DESCRIPTION}, which is that of version {quoted(description.get('number'))}")
    removable = description.get("removable", {})
    if not _are_entries(removable) or not (removable.keys() <= REMOVABLE - entries.keys()):
        raise damaged(f"{name}/{DESCRIPTION}", "it does not say what of the version may be removed")
    entries |= removable
    return Version(
        number,
        sha256(manifest),
        description,
        store.path(name),
        sizes={file: entry["bytes"] for file, entry in entries.items()},
        hashes={file: entry["sha256"] for file, entry in entries.items()},
    )


def read_file(store: Store, version: Version, file: str) -> bytes:
    """Return a file of a version, the very bytes that were hashed. IntegrityError where they were altered."""
    name = _name(version.number)
    same_manifest = sha256(store.get(f"{name}/{MANIFEST}", 1 << 16)) == version.identity
    data = store.get(f"{name}/{file}", _LARGEST)
    if not same_manifest or version.hashes.get(file) != sha256(data):
        raise _altered(name, file)
    return data


def prunable(version: Version) -> tuple[PrunedFile, ...]:
    """Return what of a version may be removed, there or not, as a record of a pruning names it."""
    removable = sorted(REMOVABLE & version.sizes.keys())
    return tuple(PrunedFile(version.number, file, version.sizes[file], version.hashes[file]) for file in removable)


def is_there(store: Store, one: PrunedFile) -> bool:
    """Say whether a file of a version that may be pruned is still there."""
    return one.version is not None and one.file in store.names(_name(one.version))


def remove_file(store: Store, gone: PrunedFile) -> bool:
    """Remove a file that a record names; return whether it was there."""
    return store.remove(gone.file if gone.version is None else f"{_name(gone.version)}/{gone.file}")


def verify_version(
    store: Store, number: int, identity: str | None = None, recorded: frozenset[PrunedFile] | None = None
) -> Version:
    """Check every byte of a version, and that it is the one of this identity if given.

    A file may be gone where the ledger says that it was pruned; `recorded` is what it says, which is read where needed.
    """
    version = read_version(store, number)
    if identity is not None and version.identity != identity:
        raise IntegrityError(
            f"Version {number} is not the one that was promoted: its identity is {version.identity[:16]} and not "
            f"{identity[:16]}. Restore the folder {quoted(version.path)} from a backup, or roll back to another one.",
            code="version-replaced",
        )
    found: set[str] = set()
    for parent, folders, names in os.walk(version.path):
        inside = Path(parent).relative_to(version.path)
        found.update(str(inside / name) for name in names)
        found.update(str(inside / name) for name in folders if (Path(parent) / name).is_symlink())
    stated, pruned = {*version.sizes, MANIFEST}, frozenset[str]()
    if missing := [one for one in prunable(version) if one.file not in found]:
        recorded = pruned_files(Log(store, EVENTS).all()) if recorded is None else recorded
        pruned = frozenset(one.file for one in missing if one in recorded)
    if found != stated - pruned:
        odd = quoted(", ".join(sorted(found ^ (stated - pruned))), 200)
        raise _altered(_name(number), f"the list of its files ({odd} too many or missing)")
    for file in version.sizes.keys() - pruned:
        read_file(store, version, file)
    return replace(version, pruned=pruned)


def _entries(name: str, manifest: bytes) -> dict[str, dict[str, Any]]:
    found = _object(name, manifest)
    check_format(name, found.get("format_version"), found.get("needs"))
    entries = found.get("files")
    if not isinstance(entries, dict) or not _are_entries(entries) or not (_NEEDED <= entries.keys() <= _ALLOWED):
        raise damaged(name, "it does not list the files of a version")
    return entries


def _are_entries(entries: object) -> bool:
    return isinstance(entries, dict) and all(
        isinstance(entry, dict) and type(entry.get("bytes")) is int and isinstance(entry.get("sha256"), str)
        for entry in entries.values()
    )


def _object(name: str, data: bytes) -> dict[str, Any]:
    try:
        found = parse(data)
    except Malformed as problem:
        raise damaged(name, str(problem)) from problem
    if not isinstance(found, dict):
        raise damaged(name, "it holds no object")
    return found


def _altered(name: str, file: str) -> IntegrityError:
    return IntegrityError(
        f"{quoted(name)} was altered after it was registered: {file} is not what was written. It is not used. "
        "Restore the folder from a backup, or promote or roll back to another version.",
        code="version-altered",
    )


def _name(number: int) -> str:
    return f"{VERSIONS}/{number:06d}"


def no_champion() -> RegistryError:
    """Make the error for a command that needs a live version where there is none."""
    return RegistryError(
        "No version is live yet. Run `batchlearn retrain`, and `batchlearn promote` where it asks for it.",
        code="no-champion",
    )
