"""The user's own file: imported where a person named it, once, and by no name that stands in a model or a record."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from batchlearn.errors import UsageError, quoted


def import_file(path: Path) -> ModuleType:
    """Run a file of Python as the module of its name, and return it; the same file is run once.

    UsageError where it is not there, or where its name is that of another module.
    """
    path = path.resolve()
    if not path.is_file():
        raise UsageError(
            f"There is no file {quoted(path)}; name the file that defines the estimator: my_models.py:build.",
            code="learner-file-missing",
        )
    known = sys.modules.get(path.stem)
    if known is not None:
        if getattr(known, "__file__", None) == str(path):
            return known
        raise UsageError(
            f"{quoted(path)} has the name of another module, {quoted(path.stem)}; give the file another name.",
            code="learner-file-name",
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{quoted(path)} is no file of Python; its name ends in .py.", code="learner-file-missing")
    module = importlib.util.module_from_spec(spec)
    # What is restored later finds its types by the name of the module.
    sys.modules[path.stem] = module
    whole = False
    try:
        spec.loader.exec_module(module)
        whole = True
    finally:
        if not whole:
            del sys.modules[path.stem]
    return module
