"""Cells of the matrix and their models, and the store in which each is written once: a run that was killed goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from batchlearn.artifacts.manifest import MANIFEST, manifest_of
from batchlearn.artifacts.store import Store
from batchlearn.artifacts.strict_json import Malformed, dump, parse
from batchlearn.artifacts.tensors import pack, unpack
from batchlearn.backtesting.history import History
from batchlearn.data.target import Class
from batchlearn.errors import IntegrityError, UsageError
from batchlearn.kernels.design import Floats
from batchlearn.models.files import StoredModel, read_model
from batchlearn.retraining.policies import Action
from batchlearn.training.recipe import Recipe

_CELLS, _MODELS, _HEADER = "cells", "models", "history.json"
_FACTS, _ARRAYS = "cell.json", "rows.safetensors"
_LARGEST_FACTS, _LARGEST_ARRAYS = 1 << 20, 1 << 34
_OF_ROWS = ("losses", "decided", "errors", "unseen")


class ModelKey(NamedTuple):
    """Which model: what trained it, at which edge, and from which other one, where it depends on its path."""

    action: Action
    edge: int
    before: ModelKey | None = None

    @property
    def name(self) -> str:
        """A name that no other model of the same history has."""
        before = "" if self.before is None else self.before.name
        said = repr((sorted(asdict(self.action).items()), self.edge, before))
        return hashlib.sha256(said.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class MatrixCell:
    """One model of the matrix: what it cost, and what it says of the rows seen after it was trained.

    `losses`, `decided` and `errors` have an entry for each row of the history from `first` on, NaN where the model
    could not score it: the loss under the proper score; the response, of more than two classes the number of the
    likeliest; and how wrong that is, 0 or 1 for classes.
    """

    edge: int
    start: str  # that it was trained from; a start that is refused gives way to a dearer one
    rows: int  # that it was trained on
    rows_read: int
    seconds: float
    loss_bound: float | None  # on the distance from the optimum; None where nothing is proved
    first: int
    losses: Floats
    decided: Floats
    errors: Floats
    unseen: Floats  # 1 where the label is of a class that the model does not know
    refused: str | None = None  # why there is no model; then the one before it stays
    unable: str | None = None  # why it could not score some of the rows
    classes: tuple[Class, ...] = ()  # that the numbers in `decided` stand for, of more than two
    probabilities: bool = False  # whether they are those of the second of two classes


def claim_cache(store: Store, history: History, fingerprint: str, recipe: Recipe) -> None:
    """Make a store the cache of a history and a recipe. UsageError where it is that of another."""
    said = {
        "format_version": 1,
        "rows": fingerprint,
        "edges": list(history.edges),
        "recipe": recipe.to_json(),
        "times": [history.times.seen, history.times.labelled, history.landed, history.times.wait],
        "drop": list(history.table.roles.drop),
    }
    data = dump(said)
    if store.put_if_absent(_HEADER, data) or store.get(_HEADER, _LARGEST_FACTS) == data:
        return
    raise UsageError(
        f"{store.path(_HEADER)} is the cache of another table, recipe, or cut into windows; its losses say nothing of "
        "this one. Name another folder with cache= (--cache), or remove that one.",
        code="cache-of-another",
    )


def read_cell(store: Store, key: ModelKey) -> MatrixCell | None:
    """Return a cell as it was written; None where it is not there. IntegrityError where its bytes are others."""
    folder = f"{_CELLS}/{key.name}"
    if key.name not in store.names(_CELLS):
        return None
    try:
        facts = parse(store.get(f"{folder}/{_FACTS}", _LARGEST_FACTS))
        rows = int(facts.pop("length"))
        arrays = unpack(
            store.get(f"{folder}/{_ARRAYS}", _LARGEST_ARRAYS), dict.fromkeys([*_OF_ROWS, "missing"], (rows,))
        )
        missing = arrays["missing"] > 0.0
        classes = tuple(facts.pop("classes"))
        losses, decided, errors, unseen = (np.where(missing, np.nan, arrays[name]) for name in _OF_ROWS)
        return MatrixCell(**facts, classes=classes, losses=losses, decided=decided, errors=errors, unseen=unseen)
    except (Malformed, KeyError, TypeError, ValueError) as problem:
        raise IntegrityError(
            f"The cell {store.path(folder)} of the cache is not as it was written ({problem}). Remove that folder, and "
            "the backtest computes it again.",
            code="cache-damaged",
        ) from problem


def write_cell(store: Store, key: ModelKey, cell: MatrixCell) -> bool:
    """Write a cell for good, or return False where another run was first."""
    missing = np.isnan(cell.losses)
    arrays = {name: np.where(missing, 0.0, getattr(cell, name)) for name in _OF_ROWS}
    facts: dict[str, Any] = {name: value for name, value in vars(cell).items() if name not in _OF_ROWS}
    files = {
        _FACTS: dump({**facts, "length": len(cell.losses)}),
        _ARRAYS: pack({**arrays, "missing": missing.astype(np.float64)}),
    }
    return store.put_folder_if_absent(f"{_CELLS}/{key.name}", files)


def read_trained(store: Store, key: ModelKey) -> StoredModel | None:
    """Return a model as it was written; None where it is not there. IntegrityError where its bytes are others."""
    if key.name not in store.names(_MODELS):
        return None
    path = store.path(f"{_MODELS}/{key.name}")
    try:
        return read_model(path)
    except IntegrityError as problem:
        raise IntegrityError(
            f"The model {path} of the cache is not as it was written ({problem.message}). Remove that folder, and the "
            "backtest trains it again.",
            code="cache-damaged",
        ) from problem


def write_trained(store: Store, key: ModelKey, files: Mapping[str, bytes]) -> None:
    """Write the files of a model for good, so that what goes on from it can."""
    store.put_folder_if_absent(f"{_MODELS}/{key.name}", {**files, MANIFEST: manifest_of(files)})
