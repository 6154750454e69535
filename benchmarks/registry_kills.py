"""Kills the commands promote and rollback at each of their system calls that write, and looks at what is left.

    python -m benchmarks.registry_kills

needs strace. For each system call S that changes files, and each k, the real command is run under
`strace -e inject=S:signal=KILL:when=k`; afterwards the champion must be the old or the new one with all its bytes
checked, and the new one where the command had answered. (RELIABILITY P1 a; the tests stop an in-process disk at each
operation instead, which needs no strace.)
"""

from __future__ import annotations

import collections
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from batchlearn.artifacts.store import FolderStore
from batchlearn.registry.promotions import needed_champion
from batchlearn.registry.version import verify_version

ROOT = Path(__file__).resolve().parents[1]
FIXTURE = ROOT / "tests" / "registry" / "fixtures" / "registry-1"
CALLS = ("write", "fsync", "link", "unlink", "mkdir", "rename", "ftruncate", "pwrite64")
COMMANDS = {"promote": ["promote", "2", "--force", "--why", "tried"], "rollback": ["rollback"]}


def prepared(folder: Path, command: str) -> Path:
    """Copy the registry; version 1 is live in it, and for a rollback version 2."""
    root = shutil.copytree(FIXTURE, folder)
    if command == "rollback":
        run(root, COMMANDS["promote"])
    return root


def run(root: Path, arguments: list[str], trace: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*trace, sys.executable, "-B", "-m", "batchlearn", *arguments, "--json"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def count(root: Path, arguments: list[str], call: str) -> int:
    """Return how often the command makes a system call."""
    log = root.parent / "strace.log"
    run(root, arguments, ("strace", "-f", "-qq", "-o", str(log), "-e", f"trace={call}"))
    return sum(f"{call}(" in line for line in log.read_text().splitlines())


def live(root: Path) -> int:
    store = FolderStore(root)
    stands = needed_champion(store)
    verify_version(store, stands.version, stands.identity)
    return stands.version


def main() -> None:
    if shutil.which("strace") is None:
        sys.exit("strace is needed for these kills; the tests do without it")
    for command, arguments in COMMANDS.items():
        states: collections.Counter[str] = collections.Counter()
        for call in CALLS:
            with tempfile.TemporaryDirectory() as folder:
                times = count(prepared(Path(folder) / "count", command), arguments, call)
            for k in range(1, times + 1):
                with tempfile.TemporaryDirectory() as folder:
                    root = prepared(Path(folder) / "project", command)
                    old = live(root)
                    trace = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={k}")
                    done = run(root, arguments, trace)
                    found = live(root)
                    if done.stdout and found == old:
                        states["bad: answered, and not done"] += 1
                    states["old" if found == old else "new"] += 1
        print(f"{command}: {sum(states.values())} kill points, {dict(states)}")


if __name__ == "__main__":
    main()
