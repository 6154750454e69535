"""Every error a user can meet, and the exit code the command line gives it.

    BatchlearnError                     1  an error of ours: please report it
    ├── UsageError (ValueError)         2  an argument, a flag or a setting is not what it should be
    ├── DataError (ValueError)          3  the rows are not what they should be
    ├── RegistryError                   4  a model or a store was written by something newer, or is in another state
    ├── ResourceError                   5  disk, memory or permission is not there
    ├── IntegrityError                  6  bytes are not the ones that were written, or a certificate does not hold
    └── CertificateError                7  a required certificate could not be given
        └── NoFiniteOptimum             7  the objective has no minimum at finite coefficients

A message says what came, what is needed and what to do, in that order. `code` is stable: it never changes
once released, so a program may test it.
"""

from __future__ import annotations

from typing import ClassVar


class BatchlearnError(Exception):
    """An error with a sentence for people, a stable code for programs and an exit code for shells."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class UsageError(BatchlearnError, ValueError):
    """An argument, a flag or a setting is not what it should be."""

    exit_code = 2


class DataError(BatchlearnError, ValueError):
    """The rows are not what they should be."""

    exit_code = 3


class RegistryError(BatchlearnError):
    """A model or a store was written by something newer, or is in another state than the command needs."""

    exit_code = 4


class ResourceError(BatchlearnError):
    """Disk, memory or permission is not there."""

    exit_code = 5


class IntegrityError(BatchlearnError):
    """Bytes are not the ones that were written, or a certificate does not hold for the rows given."""

    exit_code = 6


class CertificateError(BatchlearnError):
    """A required certificate could not be given."""

    exit_code = 7


class NoFiniteOptimum(CertificateError):
    """The objective has no minimum at finite coefficients: separable classes, or columns that repeat each other."""


def quoted(value: object, limit: int = 80) -> str:
    """Show a value inside a message: control characters escaped, at most `limit` characters."""
    text = repr(value) if isinstance(value, str) else repr(str(value))
    return text if len(text) <= limit else text[: limit - 2] + "…'"
