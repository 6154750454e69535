"""A project's registry as MLflow shows it: a registered model with a version for each of ours, and its aliases.

One way: what is done there changes nothing here, and a second run adds only what is new. Each version is loaded with
its bytes checked before it is handed on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from batchlearn.artifacts.folders import write_folder
from batchlearn.artifacts.store import Store
from batchlearn.errors import RegistryError, ResourceError, UsageError, quoted
from batchlearn.exports.mlflow_folder import mlflow_files
from batchlearn.registry.loading import load_version
from batchlearn.registry.promotions import champion
from batchlearn.registry.version import Version, read_version, version_numbers

CHAMPION, NEWEST = "champion", "newest"
_VERSION, _IDENTITY = "batchlearn.version", "batchlearn.identity"
_MODEL = "model"


@dataclass(frozen=True)
class Mirrored:
    """What a mirror has: MLflow's number of each version of ours, those that were added, and where aliases point."""

    name: str
    uri: str
    versions: dict[int, int]
    added: tuple[int, ...]
    aliases: dict[str, int]  # to versions of ours

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**asdict(self), "added": list(self.added)}


def mirror(store: Store, uri: str, name: str) -> Mirrored:
    """Bring a registered model of MLflow up to what the registry holds.

    UsageError without the extra; ResourceError where MLflow refuses, with its words; RegistryError where a model of
    that name mirrors another project; IntegrityError where a version is not what was registered.
    """
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as problem:
        raise UsageError(
            'The package mlflow-skinny, which speaks to MLflow, is not there: pip install "batchlearn[mlflow]".',
            code="extra-missing",
        ) from problem
    with _refusals(MlflowException, uri):
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        if not any(known.name == name for known in client.search_registered_models(f"name='{name}'")):
            client.create_registered_model(
                name, description="A mirror of a batchlearn registry; changes here are lost."
            )
        there = {
            int(one.tags[_VERSION]): one
            for one in client.search_model_versions(f"name='{name}'")
            if _VERSION in one.tags
        }
        added = []
        for number in version_numbers(store):
            version = read_version(store, number)
            known = there.get(number)
            if known is None:
                there[number] = _added(client, store, version, name)
                added.append(number)
            elif known.tags.get(_IDENTITY) != version.identity:
                raise RegistryError(
                    f"The registered model {quoted(name)} at {quoted(uri)} has a version {number} of another registry; "
                    "one name mirrors one project. Give another --name.",
                    code="mirror-of-another",
                )
        live = champion(store)
        wanted = {} if live is None else {CHAMPION: live.version}
        wanted |= {NEWEST: max(there)} if there else {}
        for alias, number in wanted.items():
            client.set_registered_model_alias(name, alias, there[number].version)
    versions = {number: int(one.version) for number, one in sorted(there.items())}
    return Mirrored(name, uri, versions, tuple(added), wanted)


def _added(client: Any, store: Store, version: Version, name: str) -> Any:
    """Log a version's folder as an artifact of a run, and register it; return MLflow's record of it."""
    stored = load_version(store, version)
    experiment = client.get_experiment_by_name(name)
    run = client.create_run(client.create_experiment(name) if experiment is None else experiment.experiment_id)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, _MODEL)
        write_folder(target, mlflow_files(version.model_path, stored.model, stored.identity))
        client.log_artifacts(run.info.run_id, str(target), _MODEL)
    client.set_terminated(run.info.run_id)
    tags = {_VERSION: str(version.number), _IDENTITY: version.identity}
    source = f"{run.info.artifact_uri}/{_MODEL}"
    return client.create_model_version(name, source, run.info.run_id, tags=tags)


@contextmanager
def _refusals(kind: type[Exception], uri: str) -> Iterator[None]:
    try:
        yield
    except kind as problem:
        raise ResourceError(
            f"MLflow at {quoted(uri)} refused: {quoted(str(problem), 300)}. What was mirrored stays; run the command "
            "again when that is settled.",
            code="mlflow-refused",
        ) from problem
