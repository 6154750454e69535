"""A log of numbered records: 1, 2, 3 and so on, without a gap, each naming the SHA-256 of the one before.

A record is a JSON file that is created with put-if-absent under its number. Of two writers who saw the same last
record one wins and the other is told; nothing is ever changed or removed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from batchlearn.artifacts.manifest import FORMAT_VERSION, NEEDS, needed_release, sha256
from batchlearn.artifacts.store import Store, damaged
from batchlearn.artifacts.strict_json import Malformed, dump, parse
from batchlearn.errors import RegistryError, quoted

EVENTS = "events"  # the folder of the ledger
_LARGEST = 1 << 22
_FILE = re.compile(r"(\d{6,9})\.json\Z")
_KEYS = {"format_version", "needs", "number", "previous", "content", "sha256"}


@dataclass(frozen=True)
class Record:
    """One record as it was read: its number, what it says, and the SHA-256 of its file."""

    number: int
    content: dict[str, Any]
    previous: str | None  # the SHA-256 of the record before, None for the first
    sha256: str


@dataclass(frozen=True)
class Log:
    """The records in one folder of a store."""

    store: Store
    folder: str

    def last(self) -> Record | None:
        """Return the newest record, or None; RegistryError where a number is missing."""
        numbers = self.numbers()
        return self.read(numbers[-1]) if numbers else None

    def numbers(self) -> list[int]:
        """Return 1, 2, ..., n. RegistryError where a number is missing: what it said is not known."""
        found = self._listed()
        if found and len(found) != found[-1]:
            # A folder that is listed while others write may show a record and not the one before it. Whatever was
            # there when that listing ended is in this one.
            last = found[-1]
            found = [number for number in self._listed() if number <= last]
        if found != list(range(1, len(found) + 1)):
            missing = next(number for number in range(1, len(found) + 1) if number not in set(found))
            raise RegistryError(
                f"Of the records in {quoted(self.folder)} number {missing} is missing, and there are {len(found)} "
                f"others up to {found[-1]}. Nothing was changed. Restore it from a backup; `batchlearn registry "
                "check` lists what else is wrong.",
                code="registry-gap",
            )
        return found

    def read(self, number: int) -> Record:
        """Return one record, its bytes checked. IntegrityError where they are not what was written."""
        name = self._name(number)
        data = self.store.get(name, _LARGEST)
        return _parsed(name, number, data)

    def all(self) -> Iterator[Record]:
        """Yield every record in order, each checked against the one before."""
        before: Record | None = None
        for number in self.numbers():
            record = self.read(number)
            if record.previous != (before and before.sha256):
                raise damaged(self._name(number), "it does not follow on the record before, which is another one")
            yield record
            before = record

    def append(self, content: Mapping[str, Any], after: Record | None) -> Record | None:
        """Write the record that follows `after` (None: the first); None where another writer was first.

        Once it returns the record survives a loss of power.
        """
        number = 1 if after is None else after.number + 1
        body = {
            "format_version": FORMAT_VERSION,
            "needs": NEEDS,
            "number": number,
            "previous": None if after is None else after.sha256,
            "content": dict(content),
        }
        data = dump({**body, "sha256": _digest(body)})
        if not self.store.put_if_absent(self._name(number), data):
            return None
        return _parsed(self._name(number), number, data)

    def write(self, content: Mapping[str, Any]) -> Record:
        """Write a record after whatever is the last one by now."""
        while True:
            record = self.append(content, self.last())
            if record is not None:
                return record

    def _listed(self) -> list[int]:
        return sorted(int(match.group(1)) for name in self.store.names(self.folder) if (match := _FILE.match(name)))

    def _name(self, number: int) -> str:
        return f"{self.folder}/{number:06d}.json"


def _digest(body: Mapping[str, Any]) -> str:
    return sha256(json.dumps(body, sort_keys=True, allow_nan=False).encode())


def _parsed(name: str, number: int, data: bytes) -> Record:
    try:
        found = parse(data)
    except Malformed as problem:
        raise damaged(name, str(problem)) from problem
    version = found.get("format_version") if isinstance(found, dict) else None
    check_format(name, version, found.get("needs") if isinstance(found, dict) else None)
    if not isinstance(found, dict) or set(found) != _KEYS or not isinstance(found["content"], dict):
        raise damaged(name, "it does not hold what a record holds")
    stated = found.pop("sha256")
    if _digest(found) != stated or found["number"] != number:
        raise damaged(name, "its SHA-256 or its number is not the one that was written")
    return Record(number, found["content"], found["previous"], sha256(data))


def check_format(name: str, version: object, needs: object, newest: int = FORMAT_VERSION) -> None:
    """Refuse what a newer batchlearn wrote: RegistryError; IntegrityError where no version is stated."""
    if type(version) is not int or version < 1:
        raise damaged(name, f"its format_version is {quoted(version)}; a whole number of 1 or more is needed")
    if version > newest:
        raise RegistryError(
            f"The registry's {quoted(name)} has format {version}; this batchlearn reads formats up to "
            f"{newest}. It needs {needed_release(needs)}: upgrade. Nothing was changed.",
            code="registry-newer",
        )
