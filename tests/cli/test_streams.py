"""Where the text goes: pipes that close, narrow terminals, poor locales, Ctrl-C."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cli.made import Run, environment, one_object, process, small_table

TRAIN = ("train", "rows.parquet", "--target", "bought", "--drop", "count")
POOR = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "NO_COLOR": "1", "COLUMNS": "20"}

INTERRUPTED_ONCE = """
import os, signal, sys
import batchlearn.cli.train
from batchlearn import cli

def iter_train(*arguments, **options):
    os.kill(os.getpid(), signal.SIGINT)
    yield

batchlearn.cli.train.iter_train = iter_train
sys.exit(cli.main(["train", "rows.parquet", "--target", "bought", "--json"]))
"""

INTERRUPTED_TWICE = """
import os, signal, sys
import batchlearn.cli.train
from batchlearn import cli

def iter_train(*arguments, **options):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        yield
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        print("still cleaning up", flush=True)

batchlearn.cli.train.iter_train = iter_train
sys.exit(cli.main(["train", "rows.parquet", "--target", "bought"]))
"""

INTERRUPTED_PREDICTING = """
import os, signal, sys
from batchlearn import cli
from batchlearn.models.linear import LinearModel

whole = LinearModel.to_table

def to_table(self, predictions):
    if len(predictions.response) > 1:
        assert any(name.endswith(".partial") for name in os.listdir("."))
        os.kill(os.getpid(), signal.SIGINT)
    return whole(self, predictions)

LinearModel.to_table = to_table
sys.exit(cli.main(["predict", "model", "rows.parquet", "-o", "scored.csv"]))
"""


def script(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", text],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        # A job in the background may have been told to ignore Ctrl-C, and its children with it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_c79_ctrl_c_exits_with_130_and_leaves_nothing(here: Path) -> None:
    before = sorted(os.listdir(here))
    done = script(INTERRUPTED_ONCE, here)
    assert done.returncode == 130
    assert one_object(done.stdout)["error"]["code"] == "interrupted"
    assert sorted(os.listdir(here)) == before


def test_c79_a_second_ctrl_c_stops_at_once(here: Path) -> None:
    done = script(INTERRUPTED_TWICE, here)
    assert (done.returncode, done.stdout) == (130, "")


def test_c79_an_interrupted_prediction_leaves_no_file(here: Path, run: Run) -> None:
    run(*TRAIN, "--output", "model")
    before = sorted(os.listdir(here))
    done = script(INTERRUPTED_PREDICTING, here)
    assert (done.returncode, "Interrupted" in done.stderr) == (130, True)
    assert sorted(os.listdir(here)) == before


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--json"], ["verify", "model", "rows.parquet"]])
def test_c80_a_reader_that_stops_listening_is_no_error(here: Path, run: Run, arguments: list[str]) -> None:
    run(*TRAIN, "--output", "model")
    with subprocess.Popen(
        [sys.executable, "-m", "batchlearn", *arguments],
        cwd=here,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(timeout=60) == 0


def test_c80_standard_output_that_is_closed_or_full(here: Path, run: Run) -> None:
    run(*TRAIN, "--output", "model")
    command = f"{sys.executable} -m batchlearn verify model rows.parquet"
    closed = subprocess.run(
        ["sh", "-c", f"{command} >&-"], cwd=here, env=environment(), capture_output=True, check=False
    )
    assert (closed.returncode, closed.stderr) == (0, b"")
    full = subprocess.run(
        ["sh", "-c", f"{command} > /dev/full"], cwd=here, env=environment(), capture_output=True, check=False
    )
    assert (full.returncode, b"No space left" in full.stderr) == (5, True)


def test_c81_any_locale_width_and_no_colour(here: Path) -> None:
    rows = small_table()
    pq.write_table(pa.table({"größe": rows["size"], "色": rows["colour"], "bought": rows["bought"]}), "unusual.parquet")
    for arguments in (
        ["train", "unusual.parquet", "--target", "bought", "--output", "model"],
        ["evaluate", "model", "unusual.parquet"],
        ["train", "unusual.parquet", "--target", "größ"],
        ["train", "--help"],
        ["--help"],
        ["--version"],
    ):
        done = process(arguments, here, POOR)
        assert done.returncode == (3 if arguments[-1] == "größ" else 0)
        assert "Unicode" not in done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        assert (done.stdout + done.stderr).isascii()


def test_c81_text_keeps_to_the_width(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for width in (20, 40, 60, 100):
        monkeypatch.setenv("COLUMNS", str(width))
        code, out, _ = run(*TRAIN, "--output", "model", "--force")
        assert code == 0
        # Commands stay on one line, to be copied.
        lines = [line for line in out.splitlines() if not line.startswith("  batchlearn ")]
        assert max(map(len, lines)) <= width
        assert all(line == line.rstrip() for line in lines)


def test_levels_cannot_steer_the_terminal(run: Run) -> None:
    rows = small_table(rows=900)
    evil = np.where(np.asarray(rows["colour"].to_pylist()) == "red", "\x1b[2J\u202ered", "[bold]blue[/bold]")
    pq.write_table(pa.table({"size": rows["size"], "colour": evil.tolist(), "y": rows["bought"]}), "evil.parquet")
    run("train", "rows.parquet", "--target", "bought")
    code, out, _ = run("train", "evil.parquet", "--target", "y", "--holdout", "0")
    assert "\x1b" not in out
    assert "\u202e" not in out
    # A model file may refuse such names; what is shown of them is harmless either way.
    assert code in (0, 3)


def test_progress_is_shown_on_a_terminal_after_a_second_and_then_removed(here: Path) -> None:
    slow = """
import time
from batchlearn.cli.progress import watch
from batchlearn.progress import Progress

def work():
    for _ in range(16):
        time.sleep(0.1)
        yield Progress("fitting all rows", rows=100_000, passes=3, bound=1e-9)
    return "outcome"

assert watch(work()) == "outcome"
print("done")
"""
    for terminal in (True, False):
        leader, follower = pty.openpty()
        child = subprocess.Popen(
            [sys.executable, "-c", slow],
            cwd=here,
            env=environment({"COLUMNS": "100", "TERM": "xterm"}),
            stdout=subprocess.PIPE,
            stderr=follower if terminal else subprocess.PIPE,
        )
        os.close(follower)
        out, err = child.communicate(timeout=60)
        shown = drained(leader) if terminal else err.decode()
        assert (child.returncode, out) == (0, b"done\n")
        assert (
            bool(re.search(r"fitting all rows, 3 passes, loss <= optimum \+ 1.0e-09, [\d.]+[kM] rows/s", shown))
            == terminal
        )
        assert terminal or shown == ""


def drained(leader: int) -> str:
    text, until = b"", time.monotonic() + 5.0
    while time.monotonic() < until and select.select([leader], [], [], 0.2)[0]:
        try:
            part = os.read(leader, 65536)
        except OSError:  # what Linux says when nobody holds the other end any more
            break
        if not part:
            break
        text += part
    os.close(leader)
    return text.decode()
