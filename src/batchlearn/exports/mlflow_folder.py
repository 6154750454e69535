"""A model as a folder of MLflow's `pyfunc` flavour: our own model folder, and how MLflow loads it by this module.

Nothing of MLflow is needed to write the folder or to load it by hand; it carries every model, whatever its encoding.
"""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from batchlearn.data.target import Task
from batchlearn.models.brought import BroughtModel
from batchlearn.models.files import load
from batchlearn.models.folder import read_files
from batchlearn.models.model import Model

FLAVOUR, MLMODEL = "python_function", "MLmodel"
_MODEL, _PYTHON, _PACKAGES = "model", "python_env.yaml", "requirements.txt"


class PyfuncModel:
    """What MLflow calls: `predict` of a data frame gives the columns of `batchlearn predict` as a data frame."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def predict(self, model_input: Any, params: Any = None) -> Any:
        """Predict every row, in order.

        Args:
            model_input: What the model's own `predict` takes: a data frame, Arrow data, a dictionary of columns.
            params: Of MLflow's protocol: {"bounds": True} adds how far each prediction can be from the optimum's.

        Returns:
            A data frame.
        """
        bounds = bool((params or {}).get("bounds", False))
        return self.model.to_table(self.model.predict(model_input, bounds=bounds)).to_pandas()


def _load_pyfunc(path: str) -> PyfuncModel:
    """Load a model folder, every byte checked: MLflow calls this by its name."""
    return PyfuncModel(load(path))


def mlflow_files(path: Path, model: Model, identity: str) -> dict[str, bytes]:
    """Return the files of the folder for the model that was loaded from a path, whose manifest has this SHA-256."""
    own = version("batchlearn")
    described = {
        "flavors": {
            FLAVOUR: {
                "loader_module": __name__,
                "data": _MODEL,
                "python_version": platform.python_version(),
                "env": {"virtualenv": _PYTHON},
            },
            "batchlearn": {"data": _MODEL, "version": own, "identity": identity},
        },
        # Any type: MLflow would refuse whole numbers where it was told doubles. The model checks what it reads.
        "signature": {
            "inputs": _json([{"type": "any", "name": name, "required": False} for name in model.columns]),
            "outputs": _json([{"type": _type_of(model), "name": "prediction"}]),
            "params": _json([{"name": "bounds", "type": "boolean", "default": False, "shape": None}]),
        },
        "model_uuid": identity[:32],
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    python = {"python": platform.python_version(), "dependencies": [f"-r {_PACKAGES}"]}
    files = {f"{_MODEL}/{name}": data for name, data in read_files(path).items()}
    # JSON is YAML.
    files |= {MLMODEL: _json(described, 2).encode(), _PYTHON: _json(python, 2).encode()}
    packages = {"batchlearn": own, **(model.learner.packages if isinstance(model, BroughtModel) else {})}
    pinned = [f"{name}=={release}" for name, release in packages.items()]
    return files | {_PACKAGES: "".join(f"{line}\n" for line in (*pinned, "pandas")).encode()}


def _type_of(model: Model) -> str:
    if model.target.task is not Task.CLASSES:
        return "double"
    return {bool: "boolean", str: "string", int: "long"}.get(type(model.target.classes[0]), "double")


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent)
