"""A journal of what the rows answered, on disk and in order: a training that was stopped goes on where it ends.

A training asks its rows for totals, and goes through stretches of them; all else follows from the answers. Asked again
in the same order and answered from here it takes the same way to the last bit, without a solver having to say how it
is saved. What is computed from answers costs little beside them.

In the folder `journal/training.json` says whose answers they are, `journal/NUMBER.SHA256.safetensors` holds those from
that number on, `journal/NUMBER.SHA256.STAGE.json` what came of all those before it in a stage, which are gone then, and
`journal/finished.json` is there once the training was done. Each is written whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import fields, is_dataclass, replace
from json import dumps
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_type_hints

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from batchlearn.artifacts.disk import LOCAL_DISK, Disk
from batchlearn.artifacts.folders import named_problems
from batchlearn.artifacts.lock import one_at_a_time
from batchlearn.artifacts.manifest import NEEDS, needed_release, sha256
from batchlearn.artifacts.store import FolderStore
from batchlearn.artifacts.strict_json import Malformed, dump, parse
from batchlearn.artifacts.tensors import header_of
from batchlearn.data.rows import Rows, State, Statistic, Step, Totals
from batchlearn.errors import BatchlearnError, IntegrityError, RegistryError, UsageError, quoted
from batchlearn.kernels.design import Floats
from batchlearn.progress import Answer, Said

FORMAT_VERSION = 1
# Seconds of work that a kill costs at most, besides the reading of the rows that was under way.
INTERVAL = 30.0
_PLACE, _TRAINING, _FINISHED = "journal", "journal/training.json", "journal/finished.json"
# A file is written earlier where its answers are this large, in bytes, or their description is, in characters.
_LARGEST_ANSWERS, _LONGEST_DESCRIPTION = 1 << 26, 1 << 17
_LARGEST_FILE, _DIGEST = 1 << 36, 32
# Of an array of so many numbers those that are zero are left out.
_LARGE = 1_024
_SAME = "same"


class Journal:
    """The answers of one training; to be entered before it begins.

    Args:
        folder: Where it is kept; made where it is not there yet.
        seconds: From one writing to the next.
        disk: The operations that write.

    Attributes:
        answered: Answers that were there already.
        computed: Answers that had to be computed.
        damaged: The file from which on answers were not those that had been written, and were computed again.
        finished: Whether the training was done before.
    """

    def __init__(self, folder: str | os.PathLike[str], seconds: float = INTERVAL, disk: Disk = LOCAL_DISK) -> None:
        if not seconds >= 0.0:
            raise UsageError(
                f"A checkpoint every {seconds} seconds was asked for; 0 or more are needed, such as {INTERVAL:g}.",
                code="checkpoint-interval",
            )
        self.folder, self.answered, self.computed, self.finished = Path(os.path.abspath(folder)), 0, 0, False
        self.damaged: str | None = None
        self._disk, self._store, self._seconds = disk, FolderStore(self.folder, disk), seconds
        self._held, self._files, self._known = ExitStack(), deque[str](), deque[tuple[str, list[Any]]]()
        self._stages, self._passed = dict[str, str](), list[str]()  # files of stages by name; of answers since the last
        self._waiting, self._bytes, self._described = list[tuple[str, list[Any]]](), list[bytes](), 0
        self._size, self._written = 0, time.monotonic()
        self._walk: Any = None  # the question, the state before, the state now, the rows so far

    def __enter__(self) -> Self:
        """Take the folder. RegistryError where another process has it, UsageError where it holds something else."""
        with named_problems(self.folder):
            if not self.folder.is_dir():
                self._disk.make_folder(self.folder)
            others = sorted(name for name in os.listdir(self.folder) if name != _PLACE and not name.startswith("."))
        if others:
            raise UsageError(
                f"The folder {quoted(self.folder)} holds {quoted(others[0])} and is no checkpoint; name an empty "
                "folder or one that is not there yet.",
                code="checkpoint-folder",
            )
        self._held.enter_context(one_at_a_time(self.folder, "on this checkpoint"))
        self._store.remove_unfinished(_PLACE)
        names = self._store.names(_PLACE)
        self.finished = _FINISHED.removeprefix(f"{_PLACE}/") in names
        self._files.extend(name for name in names if name.endswith(".safetensors"))
        self._stages = {parts[2]: ".".join(parts) for name in names if len(parts := name.split(".")) == 4}
        self._written = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is not written yet, or that the training is done where nothing ended it; give the folder back.

        A training that is done needs no more answers: what the last interval brought may be computed again.
        """
        with self._held:
            if kind is None:
                self._store.put_if_absent(_FINISHED, dump({"format_version": FORMAT_VERSION, "needs": NEEDS}))
                return
            with suppress(BatchlearnError):  # whatever ended the training is what is to be said
                self.write()

    def begin(self, training: Mapping[str, str]) -> None:
        """Say whose answers these are: all that decides the training. UsageError where it is of another one."""
        remedy = "Give another folder with --checkpoint, or remove this one to begin anew."
        wanted = {"format_version": FORMAT_VERSION, "needs": NEEDS, "training": dict(training)}
        # Answers come after it: without it nobody knows whose they are.
        if not (self._files or self._stages or self.finished) and self._store.put_if_absent(_TRAINING, dump(wanted)):
            return
        try:
            found = parse(self._store.get(_TRAINING, _LONGEST_DESCRIPTION))
            version, then = (found["format_version"], found["training"]) if isinstance(found, dict) else (None, None)
            if type(version) is not int or not isinstance(then, dict):
                raise Malformed("it has no version or no training")
        except (IntegrityError, Malformed, KeyError) as problem:
            raise IntegrityError(
                f"The checkpoint {quoted(self.folder)} is damaged: {_TRAINING} does not say whose it is. {remedy}",
                code="checkpoint-damaged",
            ) from problem
        if version > FORMAT_VERSION:
            raise RegistryError(
                f"The checkpoint {quoted(self.folder)} has format {version}; this batchlearn reads formats up to "
                f"{FORMAT_VERSION}. It needs {needed_release(found.get('needs'))}: upgrade, or name another folder.",
                code="checkpoint-newer",
            )
        other = [name for name in dict.fromkeys([*training, *then]) if training.get(name) != then.get(name)]
        if other:
            was, now = (quoted(given.get(other[0], "not there")) for given in (then, training))
            raise UsageError(
                f"The checkpoint {quoted(self.folder)} is of another training: its {other[0]} was {was} and is {now}. "
                f"{remedy}",
                code="checkpoint-other",
            )

    def stage(self, name: str, kind: Any, work: Generator[Said, None, Answer]) -> Generator[Said, None, Answer]:
        """Do a stage of a training, or return what came of it before; then what rows answered on the way is let go.

        `kind` is its type. Where it does not come back equal from JSON, the answers stay instead.
        """
        from pydantic import TypeAdapter  # imported here: few trainings are kept

        adapter: TypeAdapter[Answer] = TypeAdapter(kind)
        file = self._stages.pop(name, None)
        if file is not None:
            try:
                data = self._store.get(f"{_PLACE}/{file}", _LARGEST_FILE)
                if sha256(data)[:_DIGEST] != file.split(".")[1]:
                    raise Malformed("its name is not that of its bytes")
                known = adapter.validate_json(data)
            except (IntegrityError, ValueError):  # those of JSON and of pydantic among them
                self._forget(file)
            else:
                number = int(file.split(".")[0])
                while self._files and int(self._files[0].split(".")[0]) < number:
                    self._store.remove(f"{_PLACE}/{self._files.popleft()}")
                self.answered = number - self.computed
                return known
        if self._waiting:  # they are asked for again, stage or not
            self.write()
        self._passed = []
        answer = yield from work
        try:
            data = adapter.dump_json(answer)
            equal = adapter.validate_json(data) == answer
        except ValueError:
            equal = False
        if equal:
            self._put_down()
            number = self.answered + self.computed
            self._store.put_if_absent(f"{_PLACE}/{number:09d}.{sha256(data)[:_DIGEST]}.{name}.json", data)
            self._waiting, self._bytes, self._described, self._size = [], [], 0, 0
            for each in self._passed:
                self._store.remove(f"{_PLACE}/{each}")
            self._passed, self._written = [], time.monotonic()
        return answer

    # --- what rows are asked ------------------------------------------------------------------------------------------

    def total(
        self, statistic: Statistic[Totals], parameters: Floats, rows: Rows, compute: Callable[[], Totals]
    ) -> Totals:
        """Return the totals of a statistic of all rows, as they were computed before where they were."""
        self._put_down()
        kind = type(statistic)
        question = f"{kind.__name__} of {len(rows)} rows at {_digest(parameters)}"
        known = self._next(question)
        if known is None:
            answer = compute()
            self._keep(question, list(answer))
            return answer
        # The totals' own type, by its fields' names where it has some.
        make: Any = getattr(get_type_hints(kind.__call__)["return"], "_make", tuple)
        totals: Totals = make(known)
        return totals

    def walk(
        self,
        order: NDArray[np.intp],
        stretches: Callable[[NDArray[np.intp]], Iterator[Rows]],
        step: Step[State],
        state: State,
    ) -> Iterator[tuple[State, int]]:
        """Yield state and rows so far after steps over stretches of rows in this order; not after those known.

        Kept is where the first stretch leads, for what a pass begins with is looked at after it, where another
        question is asked on the way, and the end.
        """
        first = 0
        while first < len(order):
            question = f"rows from {first} of {len(order)} on at {_digest(*_leaves(state))}"
            known = self._next(question)
            if known is not None:
                first, state = known[0], _rebuilt(state, iter(known[1:]))
                yield state, first
                continue
            before, start = state, first
            for stretch in stretches(order[first:]):
                state, first = step(stretch, state), first + len(stretch)
                self._walk = question, before, state, first
                if start == 0 or first == len(order) or self._due():
                    self._put_down()
                yield state, first
                if self._walk is None:
                    break

    # --- files --------------------------------------------------------------------------------------------------------

    def write(self) -> None:
        """Write the answers that are not written yet. ResourceError where that fails: they are still there to write."""
        self._put_down()
        if self._waiting:
            described = {"answers": dumps(self._waiting)}
            data = save({"bytes": np.frombuffer(b"".join(self._bytes), dtype=np.uint8)}, described)
            number = self.answered + self.computed - len(self._waiting)
            self._passed.append(_file_name(number, data))
            self._store.put_if_absent(f"{_PLACE}/{self._passed[-1]}", data)
            self._waiting, self._bytes, self._described, self._size = [], [], 0, 0
        self._written = time.monotonic()

    def _due(self) -> bool:
        return time.monotonic() - self._written >= self._seconds

    def _put_down(self) -> None:
        """Keep where the walk under way has come to."""
        if self._walk is not None:
            (question, before, state, first), self._walk = self._walk, None
            pairs = zip(_leaves(state), _leaves(before), strict=True)
            self._keep(question, [first, *(_SAME if now is then else now for now, then in pairs)])

    def _keep(self, question: str, leaves: list[Any]) -> None:
        described = [self._described_leaf(leaf) for leaf in leaves]
        self._waiting.append((question, described))
        self._described += len(dumps(described)) + len(question)
        self.computed += 1
        self._size = sum(map(len, self._bytes))
        if self._due() or self._size > _LARGEST_ANSWERS or self._described > _LONGEST_DESCRIPTION:
            self.write()

    def _described_leaf(self, leaf: Any) -> Any:
        """Return what JSON says of a leaf; the bytes of an array are put with the others."""
        if isinstance(leaf, np.ndarray):
            # Products may differ in their last bits between the two orders in memory.
            order: Literal["C", "F"] = "F" if leaf.flags.f_contiguous and not leaf.flags.c_contiguous else "C"
            values, described = leaf.ravel(order), {"array": leaf.dtype.str, "shape": leaf.shape, "order": order}
            if leaf.dtype == np.float64 and leaf.size >= _LARGE:
                # Half of a symmetric matrix is zero, and so are most pairs of levels. By bits: -0.0 is another number.
                there = values.view(np.uint64) != 0
                values, described["there"] = values[there], int(there.sum())
                self._bytes.append(np.packbits(there).tobytes())
            self._bytes.append(values.tobytes())
            return described
        if isinstance(leaf, np.generic):
            self._bytes.append(leaf.tobytes())
            return {"number": leaf.dtype.str}
        return {"float": leaf.hex()} if isinstance(leaf, float) else leaf

    def _next(self, question: str) -> list[Any] | None:
        """Return the leaves of the next answer, None where the journal ends."""
        if not self._known and self._files:
            self._read(self._files.popleft())
        if not self._known:
            return None
        asked, leaves = self._known.popleft()
        if asked != question:
            raise IntegrityError(
                f"The checkpoint {quoted(self.folder)} answers {quoted(asked)}; this training asks {quoted(question)}. "
                "Numbers come out otherwise here than where it was written, by another processor or another NumPy: go "
                "on there, or remove the folder to begin anew.",
                code="checkpoint-differs",
            )
        self.answered += 1
        return leaves

    def _forget(self, name: str) -> None:
        """Remove a file that is not the one that was written, and those after it."""
        self.damaged = name
        for each in (name, *self._files, *self._stages.values()):
            self._store.remove(f"{_PLACE}/{each}")
        self._files.clear()
        self._stages.clear()

    def _read(self, name: str) -> None:
        """Take in a file."""
        number = self.answered + self.computed
        try:
            data = self._store.get(f"{_PLACE}/{name}", _LARGEST_FILE)
            if name != _file_name(number, data):
                raise Malformed("its name is not that of its bytes")
            header: Any = header_of(data)
            held, answers = load(data)["bytes"].tobytes(), parse(header["__metadata__"]["answers"].encode())
        except (IntegrityError, Malformed, SafetensorError):
            self._forget(name)
            return
        self._passed.append(name)
        place = 0

        def leaf(described: Any) -> Any:
            """Return what was described, from the bytes in turn."""
            nonlocal place
            if not isinstance(described, dict):
                return described
            if "float" in described:
                return float.fromhex(described["float"])
            kind, shape = np.dtype(described.get("array", described.get("number"))), described.get("shape", ())
            size, there = int(np.prod(shape)), None
            if "there" in described:
                bits = np.frombuffer(held, np.uint8, -(-size // 8), place)
                there, place = np.unpackbits(bits, count=size).astype(bool), place + len(bits)
            values = np.frombuffer(held, kind, described.get("there", size), place)
            place += values.nbytes
            if "array" not in described:
                return values[0]
            whole = np.zeros(size, kind)
            whole[slice(None) if there is None else there] = values
            return whole.reshape(shape, order=described["order"])

        self._known.extend((question, [leaf(each) for each in leaves]) for question, leaves in answers)


def kept_stage(
    journal: Journal | None, name: str, kind: Any, work: Generator[Said, None, Answer]
) -> Generator[Said, None, Answer]:
    """Return the work, as a stage of the journal where there is one."""
    return work if journal is None else journal.stage(name, kind, work)


def _file_name(number: int, data: bytes) -> str:
    return f"{number:09d}.{sha256(data)[:_DIGEST]}.safetensors"


def _digest(*leaves: Any) -> str:
    """Return a digest of arrays and numbers."""
    found = hashlib.sha256()
    for leaf in leaves:
        found.update(np.ascontiguousarray(leaf).tobytes() if isinstance(leaf, np.ndarray) else repr(leaf).encode())
    return found.hexdigest()[:_DIGEST]


def _leaves(state: Any) -> Iterator[Any]:
    """Yield the arrays and numbers that a state is made of, field by field."""
    if is_dataclass(state):
        for each in fields(state):
            yield from _leaves(getattr(state, each.name))
    elif isinstance(state, tuple):
        for each in state:
            yield from _leaves(each)
    else:
        yield state


def _rebuilt(before: Any, leaves: Iterator[Any]) -> Any:
    """Return a state like one before it, of other leaves."""
    if is_dataclass(before) and not isinstance(before, type):
        return replace(before, **{each.name: _rebuilt(getattr(before, each.name), leaves) for each in fields(before)})
    if isinstance(before, tuple):
        parts = [_rebuilt(each, leaves) for each in before]
        return getattr(before, "_make", tuple)(parts)
    leaf = next(leaves)
    return before if isinstance(leaf, str) and leaf == _SAME else leaf
