"""From a version to its model and the list of its rows: the bytes that are parsed are the bytes that were hashed."""

from __future__ import annotations

from typing import NamedTuple

from batchlearn.artifacts.manifest import MANIFEST, sha256
from batchlearn.artifacts.store import Store
from batchlearn.errors import IntegrityError, quoted
from batchlearn.models.brought.formats import NOTHING_ALLOWED, Allowed
from batchlearn.models.files import StoredModel, read_model
from batchlearn.models.folder import ROWS
from batchlearn.registry.promotions import Promotion, needed_champion
from batchlearn.registry.version import MODEL_FOLDER, Version, read_file, verify_version
from batchlearn.tables.table.row_list import RowList


def load_version(store: Store, version: Version, allowed: Allowed = NOTHING_ALLOWED) -> StoredModel:
    """Return the model of a version. IntegrityError where a byte is not the one that was registered."""
    manifest = sha256(read_file(store, version, f"{MODEL_FOLDER}/{MANIFEST}"))
    stored = read_model(version.model_path, allowed)
    if stored.identity != manifest:
        raise IntegrityError(
            f"The model of {quoted(version.path)} changed while it was read. It is not used; try again, and see "
            "`batchlearn registry check`.",
            code="version-altered",
        )
    return stored


class Live(NamedTuple):
    """The version that is live, the promotion that made it so, and its model."""

    promotion: Promotion
    version: Version
    stored: StoredModel


def load_champion(store: Store, allowed: Allowed = NOTHING_ALLOWED) -> Live:
    """Return the live version and its model. RegistryError where none is live, IntegrityError where it was altered."""
    stands = needed_champion(store)
    version = verify_version(store, stands.version, stands.identity)
    return Live(stands, version, load_version(store, version, allowed))


def rows_of(store: Store, version: Version) -> RowList | None:
    """Return the list of a version's rows, its bytes checked; the first releases made none."""
    return RowList.parse(read_file(store, version, ROWS)) if ROWS in version.sizes else None
