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

import re
import shlex
from typing import ClassVar


class BatchlearnError(Exception):
    """An error with a sentence for people, a stable code for programs and an exit code for shells.

    Args:
        message: What came, what is needed and what to do.
        code: A slug that never changes, such as "column-missing"; the page of errors lists all.

    Attributes:
        message: The sentence.
        code: The slug.
        exit_code: What the command line exits with: 1, or that of the subclass.

    Example:
        >>> import batchlearn as bl
        >>> try:
        ...     bl.Recipe(holdout=2.0)
        ... except bl.BatchlearnError as error:
        ...     print(error.code, error.exit_code)
        holdout-range 2
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class UsageError(BatchlearnError, ValueError):
    """An argument, a flag or a setting is not what it should be. It is a ValueError too.

    Example:
        >>> import batchlearn as bl
        >>> bl.Recipe(holdout=2.0)
        Traceback (most recent call last):
        batchlearn.errors.UsageError: The held-out share is 2.0; it needs to be at least 0 and below 1, such as 0.2.
    """

    exit_code = 2


class DataError(BatchlearnError, ValueError):
    """The rows are not what they should be. It is a ValueError too.

    Example:
        >>> import batchlearn as bl
        >>> bl.read({"hours": [7.0, 8.0]}, target="delay")
        Traceback (most recent call last):
        batchlearn.errors.DataError: there is no column 'delay' in 'table'; it has 'hours'
    """

    exit_code = 3


class RegistryError(BatchlearnError):
    """A model or a store was written by something newer, or is in another state than the command needs.

    Example:
        >>> import tempfile
        >>> import batchlearn as bl
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     saved = bl.train(bl.read({"x": [1.0, 2.0], "y": [1.0, 3.0]}, target="y")).save(f"{folder}/model")
        ...     manifest = saved / "manifest.json"
        ...     size = manifest.write_text(manifest.read_text().replace('"format_version": 1', '"format_version": 99'))
        ...     try:
        ...         bl.load(saved)
        ...     except bl.RegistryError as error:
        ...         print(error.code)
        model-newer
    """

    exit_code = 4


class ResourceError(BatchlearnError):
    """Disk, memory or permission is not there.

    Example:
        >>> import batchlearn as bl
        >>> bl.ResourceError.exit_code
        5
    """

    exit_code = 5


class IntegrityError(BatchlearnError):
    """Bytes are not the ones that were written, or a certificate does not hold for the rows given.

    Example:
        >>> import tempfile
        >>> import batchlearn as bl
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     saved = bl.train(bl.read({"x": [1.0, 2.0], "y": [1.0, 3.0]}, target="y")).save(f"{folder}/model")
        ...     size = (saved / "model.json").write_text("{}")
        ...     try:
        ...         bl.load(saved)
        ...     except bl.IntegrityError as error:
        ...         print(error.code)
        model-damaged
    """

    exit_code = 6


class CertificateError(BatchlearnError):
    """A required certificate could not be given.

    Example:
        >>> import batchlearn as bl
        >>> bl.CertificateError.exit_code, issubclass(bl.NoFiniteOptimum, bl.CertificateError)
        (7, True)
    """

    exit_code = 7


class NoFiniteOptimum(CertificateError):
    """The objective has no minimum at finite coefficients: separable classes, or columns that repeat each other.

    A penalty above 0 gives every objective one.

    Example:
        >>> import batchlearn as bl
        >>> try:
        ...     bl.LinearClassifier(alpha=0.0).fit([[1.0], [2.0], [3.0], [4.0]], [0, 0, 1, 1])
        ... except bl.NoFiniteOptimum as error:
        ...     print(error.code)
        no-finite-optimum
    """


def quoted(value: object, limit: int = 80) -> str:
    """Show a value inside a message: control characters escaped, at most `limit` characters."""
    text = repr(value) if isinstance(value, str) else repr(str(value))
    return text if len(text) <= limit else text[: limit - 2] + "…'"


def in_shell(text: str) -> str:
    """Write a text so that a shell takes it for one word: in double quotes where single ones are part of it."""
    if "'" not in text or "!" in text:  # of which some shells make an earlier command
        return shlex.quote(text)
    return '"' + re.sub(r'([\\"$`])', r"\\\1", text) + '"'
