"""A PostgreSQL server of the tests' own: a cluster in a temporary folder, reached by a socket in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OWNER = "batchlearn"
GUARDED = "guarded"
PASSWORD = "right"
# The server refuses to run as root.
_INSTEAD_OF_ROOT = "nobody"


def programs() -> Path | None:
    """Return the folder with the programs of PostgreSQL's newest version, if it is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    initdb = str(found[-1]) if found else shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


@contextmanager
def server(bin_folder: Path) -> Iterator[Path]:
    """Run a server and yield the folder of its socket; all are let in, the user `guarded` by a password."""
    user = _INSTEAD_OF_ROOT if os.geteuid() == 0 else None
    # A path of a socket has at most 107 bytes, and pytest's own folders may be entered by their owner alone.
    folder = Path(tempfile.mkdtemp(prefix="batchlearn-", dir="/tmp"))
    if user is not None:
        shutil.chown(folder, user)

    def run(program: str, *arguments: str) -> None:
        command = [str(bin_folder / program), "-D", str(folder / "data"), *arguments]
        done = subprocess.run(command, user=user, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        run("initdb", "-U", OWNER, "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
        (folder / "data" / "pg_hba.conf").write_text(f"local all {GUARDED} scram-sha-256\nlocal all all trust\n")
        settings = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off -c max_connections=40"
        # Its output goes to a file: a pipe would stay open as long as it runs.
        run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", settings, "start")
        try:
            yield folder
        finally:
            run("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
