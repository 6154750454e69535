"""Who serves: compiled kernels or their twins."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.cli.made import environment

from batchlearn.kernels import native


def test_the_twins_serve_for_a_while() -> None:
    before = native.name()
    with native.numpy_serves():
        assert native.compiled() is None
        assert native.name() == "kernels: NumPy"
    assert native.name() == before
    assert native.built() == (before != "kernels: NumPy")


@pytest.mark.skipif(not native.built(), reason="the kernels are not compiled here")
def test_a_variable_lets_the_twins_serve_the_command_line() -> None:
    def version(**more: str) -> str:
        command = [sys.executable, "-m", "batchlearn", "--version"]
        return subprocess.run(command, env=environment(more), capture_output=True, text=True, check=True).stdout

    assert "kernels: compiled" in version()
    assert "kernels: NumPy" in version(BATCHLEARN_KERNELS="numpy")
