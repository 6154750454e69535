"""RELIABILITY P1: wherever a writer is killed, stopped or loses power, the registry is in the old state or the new."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.made import environment
from tests.registry.disks import Killed, Op, PowerModel, RecordingDisk, materialised
from tests.registry.made import WHY, one_more, promote_all, store_with

from batchlearn.artifacts.store import FolderStore
from batchlearn.errors import BatchlearnError
from batchlearn.registry.ledger import events, record_event
from batchlearn.registry.promotions import champion, promote, promotions, rollback
from batchlearn.registry.version import verify_version, version_numbers

State = tuple[int | None, list[int], int]
Command = Callable[[FolderStore], object]


def do_promote(store: FolderStore) -> object:
    return promote(store, 3, WHY, champion(store))


def do_rollback(store: FolderStore) -> object:
    stands = champion(store)
    assert stands is not None
    return rollback(store, WHY, stands)


def do_first_promotion(store: FolderStore) -> object:
    return promote(store, 1, WHY, None)


def do_register(store: FolderStore) -> object:
    return one_more(store, 9)


def do_record_event(store: FolderStore) -> object:
    return record_event(store, "turn", WHY.at, {"decision": "keep"})


COMMANDS = [do_promote, do_rollback, do_register, do_record_event, do_first_promotion]


def before(root: Path, command: Command) -> Path:
    """Make a registry with three versions, of which the second is live, or none for the first promotion."""
    store = store_with(root, 3)
    if command is not do_first_promotion:
        promote_all(store, 1, 2)
    return root


def state_of(root: Path) -> State:
    """Return who is live, which versions there are (each checked to the last byte) and how many events."""
    store = FolderStore(root)
    live = champion(store)
    numbers = version_numbers(store)
    for number in numbers:
        verify_version(store, number)
    if live is not None:
        verify_version(store, live.version, live.identity)
    return (None if live is None else live.version), numbers, len(events(store))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_writer_killed_before_any_operation_leaves_the_old_state_or_the_new(command: Command, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    old_root = before(tmp_path / "old", command)
    old = state_of(old_root)
    whole = RecordingDisk(shutil.copytree(old_root, tmp_path / "new"))
    command(FolderStore(whole.root, whole))
    new = state_of(whole.root)
    assert new != old
    seen = []
    for last in range(len(whole.ops)):
        disk = RecordingDisk(shutil.copytree(old_root, tmp_path / str(last)), last=last)
        with pytest.raises(Killed):
            command(FolderStore(disk.root, disk))
        seen.append(state_of(disk.root))
        assert seen[-1] in (old, new)
        # The command can be given again: what the first one left behind is in nobody's way.
        if seen[-1] == old:
            command(FolderStore(disk.root))
            assert state_of(disk.root) == new
    assert {str(state) for state in seen} == {str(old), str(new)}, "the kills reach both sides of the change"


def bad_states(root: Path, ops: list[Op], old: State, new: State, scratch: Path) -> Iterator[str]:
    """Yield what is wrong in each state that a loss of power after each operation may leave."""
    model = PowerModel(root)
    checked: set[str] = set()
    for done, op in enumerate(ops, start=1):
        model.apply(op)
        acknowledged = done == len(ops)
        for state in model.states():
            key = f"{acknowledged}{sorted(state.items())}"
            if key in checked:
                continue
            checked.add(key)
            folder = scratch / str(len(checked))
            folder.mkdir()
            try:
                found = state_of(materialised(state, folder))
            except BatchlearnError as problem:
                yield f"after {op.name} {op.path}: {problem}"
                continue
            if found not in ((new,) if acknowledged else (old, new)):
                yield f"after {op.name} {op.path}: {found}"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_loss_of_power_leaves_the_old_state_or_the_new_and_keeps_what_was_acknowledged(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "old").mkdir()
    root = before(tmp_path / "old", command)
    old = state_of(root)
    whole = RecordingDisk(shutil.copytree(root, tmp_path / "new"))
    command(FolderStore(whole.root, whole))
    new = state_of(whole.root)
    (tmp_path / "states").mkdir()
    assert list(bad_states(root, whole.ops, old, new, tmp_path / "states")) == []
    # The test has teeth: without any one of the flushes there is a state that should not be.
    flushes = [op for op in whole.ops if op.name == "flush"]
    for forgotten, op in enumerate(flushes):
        disk = RecordingDisk(shutil.copytree(root, tmp_path / f"without-{forgotten}"), forgotten=forgotten)
        command(FolderStore(disk.root, disk))
        scratch = tmp_path / f"states-{forgotten}"
        scratch.mkdir()
        assert next(bad_states(root, disk.ops, old, new, scratch), None), (
            f"nothing notices that {op.path} is not flushed"
        )


def stopped(root: Path, operation: int) -> subprocess.Popen[str]:
    """Start a process that promotes once, and wait until it has stopped itself before an operation on the disk."""
    command = [sys.executable, "-m", "tests.registry.racer", str(root), "1", str(operation)]
    folder = Path(__file__).resolve().parents[2]
    writer = subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)
    assert os.WIFSTOPPED(os.waitpid(writer.pid, os.WUNTRACED)[1])
    return writer


@pytest.mark.parametrize("end", [signal.SIGCONT, signal.SIGKILL])
def test_a_writer_stopped_before_any_operation_keeps_nobody_waiting_and_spoils_nothing(
    end: signal.Signals, tmp_path: Path
) -> None:
    """Others promote three times while it stands still; then it goes on, or is killed."""
    root = tmp_path / "old"
    promote_all(store_with(root, 3), 1, 2)
    whole = RecordingDisk(shutil.copytree(root, tmp_path / "whole"))
    do_promote(FolderStore(whole.root, whole))
    outcomes = []
    for operation, op in enumerate(whole.ops):
        store = FolderStore(shutil.copytree(root, tmp_path / str(operation)))
        writer = stopped(store.root, operation)
        linked = "link" in [earlier.name for earlier in whole.ops[:operation]]
        seen = champion(store)
        assert seen is not None
        # The racer makes version 1 live where version 2 is.
        assert (seen.generation, seen.version) == ((3, 1) if linked else (2, 2)), f"before {op.name} {op.path}"
        promote_all(store, 3, 2, 3)
        os.kill(writer.pid, end)
        said = writer.communicate(timeout=60)[0]
        history = promotions(store)
        assert [one.version for one in history] == ([1, 2, 1, 3, 2, 3] if linked else [1, 2, 3, 2, 3])
        assert said == ("" if end is signal.SIGKILL else json.dumps([[3], 0] if linked else [[], 1]))
        if end is signal.SIGCONT:
            assert {path.name for path in (store.root / "promotions").iterdir()} == {
                f"{one.generation:06d}.json" for one in history
            }
        outcomes.append(linked)
    assert set(outcomes) == {False, True}, "the stops are on both sides of the change"
