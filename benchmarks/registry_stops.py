"""Stops the commands promote and rollback in the middle of their work while others promote, and lets them go on.

    python -m benchmarks.registry_stops [--tries 2000] [--stops 200]

First, which needs strace: for each system call S that changes files, and each k, the real command is stopped by
`strace -e inject=S:signal=STOP:when=k`. While it stands still the champion is read and others promote three times;
then it goes on. It must say that it won and have its generation, or say that another came first and have none.

Then eight processes try to promote, and one of them, drawn at random, is stopped and later continued again and again.
The exit status is 1 where a generation is missing or there twice, or a process says what the registry does not.
(RELIABILITY P1 d; the tests stop an in-process disk before each operation instead, which needs no strace.)
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.registry_kills import CALLS, COMMANDS, ROOT, count, live, prepared
from tests.registry.made import WHY, store_with

from batchlearn.artifacts.store import FolderStore
from batchlearn.registry.promotions import champion, promote, promotions

OTHERS, PROCESSES = 3, 8
LONGEST_STOP = 0.2
STANDS = 0.1
CONFLICT = 4


def standing(process: str) -> str | None:
    """Return what changes whenever a stopped process runs on: None where it is not stopped."""
    lines = dict(line.split(":\t", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return lines["voluntary_ctxt_switches"] if lines["State"][0] in "tT" else None


def held(tracer: subprocess.Popen[str]) -> int | None:
    """Return the traced process once it has stopped; None where it ended without."""
    children = Path(f"/proc/{tracer.pid}/task/{tracer.pid}/children")
    while tracer.poll() is None:
        for child in children.read_text().split():
            with suppress(FileNotFoundError, ProcessLookupError, KeyError):
                # Each call that strace looks at stops it too, but it runs on at once.
                before = standing(child)
                time.sleep(STANDS)
                if before is not None and standing(child) == before:
                    return int(child)
        time.sleep(0.01)
    return None


def stopped(command: str, call: str, k: int, folder: Path) -> tuple[str, float]:
    """Stop a command at its k-th call of this kind; return what came of it and how long the others took at most."""
    root = prepared(folder / "project", command)
    before = champion(FolderStore(root))
    trace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:signal=STOP:when={k}"]
    arguments = [sys.executable, "-B", "-m", "batchlearn", *COMMANDS[command], "--json"]
    tracer = subprocess.Popen([*trace, *arguments], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child = held(tracer)
    if child is None:
        return "bad: not stopped", 0.0
    longest, store = 0.0, FolderStore(root)
    for _ in range(OTHERS):
        began = time.monotonic()
        stands = live(root)
        promote(store, 2 if stands == 1 else 1, WHY, champion(store))
        longest = max(longest, time.monotonic() - began)
    os.kill(child, signal.SIGCONT)
    said = tracer.communicate(timeout=60)[0]
    history, first = promotions(store), 0 if before is None else before.generation
    won = [one.generation for one in history[first:] if one.reason != WHY]
    if [one.generation for one in history] != list(range(1, first + OTHERS + len(won) + 1)) or len(won) > 1:
        return "bad: generations", longest
    if not won:
        return ("lost" if tracer.returncode == CONFLICT else "bad: said it won"), longest
    fine = tracer.returncode == 0 and json.loads(said)["generation"] == won[0]
    return ("won" if fine else "bad: said it lost"), longest


def race(tries: int, stops: int) -> dict[str, int | bool]:
    """Let processes race, of which one after the other is stopped for a while; return what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store_with(root, 2)
        command = [sys.executable, "-m", "tests.registry.racer", folder, str(tries)]
        running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)]
        drawn, done = random.Random(1), 0
        while done < stops and any(one.poll() is None for one in running):
            one = drawn.choice([one for one in running if one.poll() is None] or running)
            if one.poll() is None:
                os.kill(one.pid, signal.SIGSTOP)
                time.sleep(drawn.uniform(0.0, LONGEST_STOP))
                os.kill(one.pid, signal.SIGCONT)
                done += 1
            time.sleep(0.01)
        results = [json.loads(one.communicate()[0]) for one in running]
        history = promotions(FolderStore(root))
    won = sorted(number for numbers, _ in results for number in numbers)
    whole = won == [one.generation for one in history] == list(range(1, len(won) + 1))
    chained = [one.before for one in history[1:]] == [one.version for one in history[:-1]]
    return {"stops": done, "tries": PROCESSES * tries, "promotions": len(won), "sound": whole and chained}


def main() -> int:
    parser = argparse.ArgumentParser(description="Stop writers of the registry in the middle of their work.")
    parser.add_argument("--tries", type=int, default=2_000)
    parser.add_argument("--stops", type=int, default=200)
    options = parser.parse_args()
    good = True
    for command in COMMANDS if shutil.which("strace") else ():
        outcomes: collections.Counter[str] = collections.Counter()
        longest = 0.0
        for call in CALLS:
            with tempfile.TemporaryDirectory() as folder:
                times = count(prepared(Path(folder) / "count", command), COMMANDS[command], call)
            for k in range(1, times + 1):
                with tempfile.TemporaryDirectory() as folder:
                    outcome, waited = stopped(command, call, k, Path(folder))
                outcomes[outcome] += 1
                longest = max(longest, waited)
        good &= not any(outcome.startswith("bad") for outcome in outcomes)
        print(f"{command}: stopped at {sum(outcomes.values())} points, {dict(outcomes)}; others took {longest:.2f} s")
    found = race(options.tries, options.stops)
    print(f"race: {found}")
    return int(not (good and found["sound"]))


if __name__ == "__main__":
    sys.exit(main())
