"""Model files: a folder with model.json (what the model is), weights.safetensors (its arrays) and their hashes.

A model on disk is data. Reading one runs no code from it, needs nothing of what trains, and either gives the model
that was saved, to the last bit, or an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from batchlearn.artifacts.strict_json import Malformed, dump, parse, plain
from batchlearn.artifacts.tensors import pack, unpack
from batchlearn.errors import DataError, quoted
from batchlearn.models.brought.formats import NOTHING_ALLOWED, Allowed
from batchlearn.models.encoded import EncodedModel
from batchlearn.models.folder import MODEL, WEIGHTS, check_writable, damaged, read_folder, write_model
from batchlearn.models.schema import describe, learner_of, parse_schema, restore, tensors_of

__all__ = ["StoredModel", "check_writable", "files_of", "load", "read_model", "save"]


class StoredModel(NamedTuple):
    """A model as it was read, what its fit has on record, and its identity: the SHA-256 of its manifest."""

    model: EncodedModel
    record: dict[str, Any]
    identity: str


def save(model: EncodedModel, record: Mapping[str, Any], path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Save a model with the record of its fit as a new folder; return the folder's absolute path.

    `record` holds plain values; a float that is not finite becomes null. UsageError where the path exists, unless
    `force` says to replace the model there; ResourceError where it cannot be written; DataError where the model holds
    what no model file may, such as a column name with control characters.
    """
    return write_model(path, files_of(model, record), force)


def files_of(model: EncodedModel, record: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files of a model but their manifest, checked by reading them back; DataError as of `save`."""
    try:
        files = {MODEL: dump(describe(model, plain(record))), WEIGHTS: pack(tensors_of(model)), **learner_of(model)}
        _parsed(files)
    except ValueError as problem:  # of the dump: a number that is not finite, or text that is no Unicode
        raise DataError(
            f"The model cannot be saved: {problem}. A model file holds finite numbers and names that can be printed: "
            "rename the column, or scale it, and train again.",
            code="model-not-storable",
        ) from problem
    return files


def load(
    path: str | os.PathLike[str], *, trust: Sequence[str] = (), code: str | os.PathLike[str] | None = None
) -> EncodedModel:
    """Load a saved model, every byte checked; nothing from it is run.

    Args:
        path: The folder that `Fit.save` or `train --output` wrote.
        trust: Types of an estimator of the user's that may be restored when it predicts, where it needs any.
        code: The file that defines them.

    Returns:
        The model that was saved, to the last bit.

    Raises:
        UsageError: Nothing is there.
        IntegrityError: It is no model, or not as it was written.
        RegistryError: A newer version of batchlearn wrote it.
        ResourceError: It cannot be read.

    Example:
        >>> import tempfile
        >>> import batchlearn as bl
        >>> fit = bl.train(bl.read({"x": [1.0, 2.0, 3.0], "y": [1.0, 3.0, 5.0]}, target="y"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model = bl.load(fit.save(f"{folder}/model"))
        >>> (model.parameters == fit.model.parameters).all()
        np.True_
    """
    return read_model(path, Allowed(tuple(trust), None if code is None else Path(code))).model


def read_model(path: str | os.PathLike[str], allowed: Allowed = NOTHING_ALLOWED) -> StoredModel:
    """Return a saved model with its record and identity; errors as those of `load`."""
    files, identity = read_folder(Path(path))
    try:
        model, record = _parsed(files)
    except _MalformedFile as problem:
        raise damaged(Path(path) / problem.name, str(problem)) from problem
    return StoredModel(model.allowing(allowed), record, identity)


class _MalformedFile(ValueError):
    def __init__(self, name: str, what: str) -> None:
        super().__init__(what)
        self.name = name


def _parsed(files: Mapping[str, bytes]) -> tuple[EncodedModel, dict[str, Any]]:
    try:
        schema = parse_schema(parse(files[MODEL]))
    except Malformed as problem:
        raise _MalformedFile(MODEL, str(problem)) from problem
    try:
        arrays, name = unpack(files[WEIGHTS], schema.shapes), schema.learner_file
        if {*files} != {MODEL, WEIGHTS, *filter(None, [name])}:
            raise Malformed(f"the files beside it are not those of its learner, {quoted(name)}")
        return restore(schema, arrays, files[name] if name else b""), dict(schema.record)
    except Malformed as problem:
        raise _MalformedFile(WEIGHTS, str(problem)) from problem
