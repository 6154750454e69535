from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.made import environment

from batchlearn.artifacts.lock import one_at_a_time
from batchlearn.errors import RegistryError

HOLD = """
import sys
from pathlib import Path
from batchlearn.artifacts.lock import one_at_a_time
with one_at_a_time(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_names_its_holder_and_ends_with_it_however_it_ends(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder.stdin, holder.stdout:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RegistryError, match=rf"process {holder.pid}\b") as refusal, one_at_a_time(tmp_path):
            pass
        assert refusal.value.code == "project-locked"
        # One that stands still holds the lock, and nobody waits for it.
        os.kill(holder.pid, signal.SIGSTOP)
        assert os.WIFSTOPPED(os.waitpid(holder.pid, os.WUNTRACED)[1])
        began = time.monotonic()
        with pytest.raises(RegistryError, match=rf"process {holder.pid}\b"), one_at_a_time(tmp_path):
            pass
        assert time.monotonic() - began < 5.0
        holder.kill()
        holder.wait()
    with one_at_a_time(tmp_path):
        pass
