"""Manifests: size and SHA-256 of each file of a folder, so that any other byte is noticed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from batchlearn.artifacts.strict_json import dump

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
# Changes only with the format: the first release that reads it.
NEEDS = "batchlearn >= 0.1"


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def entries_of(files: Mapping[str, bytes]) -> dict[str, dict[str, int | str]]:
    """Return size and SHA-256 of each of these files."""
    return {name: {"bytes": len(data), "sha256": sha256(data)} for name, data in sorted(files.items())}


def manifest_of(files: Mapping[str, bytes]) -> bytes:
    """Return the one manifest of these files."""
    return dump({"format_version": FORMAT_VERSION, "needs": NEEDS, "files": entries_of(files)})


def needed_release(needs: object) -> str:
    """Return what a file of a newer format says it needs, if that is a release of ours."""
    text = str(needs)
    return text if re.fullmatch(r"batchlearn >= [0-9][0-9.]{0,20}", text) else "a newer batchlearn"
