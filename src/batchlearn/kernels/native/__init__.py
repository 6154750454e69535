"""Who serves: the kernels compiled ahead of time where the installation has them, else their NumPy twins.

The twins are what the tests measure the compiled ones by, and what serves where there was no compiler. A fit agrees
across the two within its bounds, not in its last bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

try:
    # The second code is for where mypy finds a compiled module, and there is nothing to ignore.
    from batchlearn.kernels.native import compiled as _found  # type: ignore[attr-defined, unused-ignore]  # not built
except ImportError:
    _built: Any = None
else:
    _built = _found
_serving: list[ModuleType | None] = [_built]


def compiled() -> Any:
    """Return the module of compiled kernels; None where their twins serve."""
    return _serving[-1]


def built() -> bool:
    """Whether the installation has compiled kernels, whoever serves now."""
    return _built is not None


def name() -> str:
    """Return who serves, as `--version` has it."""
    module = compiled()
    if module is None:
        return "kernels: NumPy"
    level = module.level()
    return f"kernels: compiled, x86-64-v{level}" if level else "kernels: compiled"


def use_numpy() -> None:
    """Let the NumPy twins serve from now on."""
    _serving[:] = [None]


@contextmanager
def numpy_serves() -> Iterator[None]:
    """Let the NumPy twins serve for a while."""
    _serving.append(None)
    try:
        yield
    finally:
        _serving.pop()
