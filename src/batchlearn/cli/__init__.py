"""The command line: `main` reads the arguments, runs one command and turns what came out into text and an exit code.

Importing this package loads neither NumPy nor Arrow: each command is imported when it is typed.
"""

from __future__ import annotations

import ctypes
import gc
import json
import math
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import LazyLoader, find_spec, module_from_spec
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, TextIO

from batchlearn.errors import BatchlearnError, ResourceError, UsageError

__all__ = ["main"]

FORMAT_VERSION = 1
INTERNAL_ERROR, INTERRUPTED = 1, 130
COMMANDS = {
    "inspect": "Show how each column of a table would be read, without training.",
    "train": "Fit a model to every row of a table, certify and evaluate it.",
    "compare": "Compare full batch, mini-batch and online on one objective, or models (--models).",
    "backtest": "Replay retraining policies over history: when would it have been right to train again?",
    "evaluate": "Judge a model on labelled rows: metrics with intervals, baselines, slices.",
    "predict": "Score every row of a table, in order, however large it is.",
    "verify": "Read the rows again and check a model's certificate against them.",
    "export": "Write a model as ONNX, as SQL or for MLflow, checked against its own predictions.",
    "init": "Write a project folder: where rows come from, how to train, when, what may go live.",
    "retrain": "One turn of the cycle: look, decide, train, judge, record.",
    "promote": "Make a version live; no data is needed.",
    "rollback": "Make the version live again that was live before.",
    "history": "Which version was live when, why and by whom.",
    "status": "Who is live, and what waits for a person.",
    "forget": "Train again without some rows, for good, and list what still holds them.",
    "registry": "Check every record and byte of the registry, prune what older versions kept, or mirror it in MLflow.",
    "demo": "Train, evaluate, verify and tamper on data that comes with scikit-learn.",
}
# Flags that belong to every command, at whatever place they are typed.
_JSON = {"--json": True, "--json=true": True, "--json=True": True, "--json=false": False, "--json=False": False}
_DEBUG = "--debug"
_WITHOUT_ENCODING = ("retrain", "forget")
"""They read what the project file says."""
_WITHOUT_ROWS = ("status", "history", "promote", "rollback")
"""They read records, which are JSON."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; nothing is raised."""
    tokens = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        _accept_any_character(stream)
    debug = _DEBUG in tokens or os.environ.get("BATCHLEARN_DEBUG", "") not in ("", "0")
    boundary = _Boundary(tokens, as_json=any(_JSON.get(token, False) for token in tokens), debug=debug)
    tokens = [token for token in tokens if token not in _JSON and token != _DEBUG]
    if os.environ.get("BATCHLEARN_KERNELS", "") == "numpy":
        from batchlearn.kernels import native

        native.use_numpy()
    if cache := os.environ.get("BATCHLEARN_CACHE"):
        from batchlearn.tables.table.budget import keep_rows_in

        keep_rows_in(Path(cache))
    with boundary, _interruptible():
        if argv is None and tokens not in ([], ["-h"], ["--help"], ["--version"]):
            # What is imported stays: a tenth of the time of it would go to a search for garbage. `parse_and_run` has
            # it searched for again, among what is made from then on.
            gc.disable()
            _keep_memory()
            if tokens[0] not in _WITHOUT_ROWS:
                _import_numbers()
        boundary.exit_code = _run(tokens, boundary.as_json)
    if argv is None:
        gc.freeze()  # else Python would look for garbage among all modules before it ends: 0.07 s of a training
    return boundary.exit_code


def _keep_memory() -> None:
    """Have glibc keep up to 64 MB that matrices give back: each page that is taken anew is cleared first.

    Half of a training's system time went to that: 140,000 pages on 48,842 rows, where 60,000 are enough.
    """
    if sys.platform == "linux":
        with suppress(AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD: larger ones are given back as before
            mallopt(-1, 64 << 20)  # M_TRIM_THRESHOLD


def _import_numbers() -> None:
    """Import NumPy and Arrow without what comes with them and no command uses: pandas alone takes a third of a second.

    No command has a data frame, pickles a function or reads from a bucket. What needs pandas after this (an estimator
    that is brought along) imports it itself.
    """
    import numpy as np

    # SciPy copies all names of NumPy, which imports these for it. They are loaded when something of them is used.
    for name in ("ctypeslib", "f2py", "testing"):
        spec = find_spec(f"numpy.{name}")
        if spec is not None and spec.loader is not None and spec.name not in sys.modules:
            spec.loader = LazyLoader(spec.loader)
            sys.modules[spec.name] = module_from_spec(spec)
            spec.loader.exec_module(sys.modules[spec.name])
            setattr(np, name, sys.modules[spec.name])

    unneeded = ("pandas", "cloudpickle", *(f"pyarrow._{store}fs" for store in ("azure", "gcs", "hd", "s3")))

    class NotFound:
        @staticmethod
        def find_spec(name: str, *_: Any) -> None:
            if name in unneeded:
                raise ModuleNotFoundError(name)

    sys.meta_path.insert(0, NotFound)
    try:
        import pyarrow as pa
        import pyarrow.parquet

        pa.array([0])  # Arrow looks for pandas once, when it makes the first array of Python's own values
    finally:
        sys.meta_path.remove(NotFound)


def _run(tokens: list[str], as_json: bool) -> int:
    if tokens in ([], ["-h"], ["--help"]):
        return _write(_help(), 0)
    if tokens == ["--version"]:
        return _write(_version(), 0)
    # Imported here so that --help and --version answer at once.
    from batchlearn.cli.arguments import CommandResult, parse_and_run

    answer = parse_and_run(tokens, COMMANDS)
    if not isinstance(answer, CommandResult):  # the help of a command has been printed
        return 0
    if as_json:
        return _write(_as_json(answer.record), answer.exit_code)
    # Imported here: JSON needs no terminal.
    from batchlearn.report.terminal import printed

    return _write(printed(answer.document), answer.exit_code)


def _write(text: str, exit_code: int) -> int:
    """Print to standard output; a reader that stopped listening (`| head`) does not change how the work ended."""
    if sys.stdout is None:  # closed before we began
        return exit_code
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Send what is still buffered nowhere, or Python would complain about the broken pipe when it ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return exit_code


def _as_json(record: dict[str, Any]) -> str:
    return json.dumps(_finite(record), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    """Return the value with null for numbers that JSON does not have: a bound of infinity is no bound."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _accept_any_character(stream: TextIO | None) -> None:
    """Write characters that the terminal's encoding lacks as escapes instead of failing on them."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [
        "Usage: batchlearn COMMAND [OPTIONS]",
        "",
        "Linear models trained on every row, with a proved bound on the distance to the optimum.",
        "",
        "Commands:",
        *(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()),
        "",
        "Options:",
        "  --help     Show this page; after a command, what the command takes.",
        "  --version  Show the versions that matter.",
        "  --json     After a command: print one JSON object instead of text.",
        "  --debug    Show the traceback of an internal error.",
        "",
        "Start with:  batchlearn demo",
        "Then:        batchlearn train data.parquet --target column",
        "",
        "Exit codes: 0 done, 1 internal error, 2 usage, 3 data, 4 registry, 5 resources, 6 integrity,",
        "            7 no certificate as required or no finite optimum, 10 the gate rejected,",
        "            11 not enough evidence, 12 an alarm ended the turn, 130 interrupted.",
    ]
    return "\n".join(lines)


def _version() -> str:
    from importlib.metadata import version
    from platform import python_version

    import batchlearn
    from batchlearn.kernels import native

    return f"batchlearn {batchlearn.__version__} (Python {python_version()}, NumPy {version('numpy')}, {native.name()})"


class _Boundary:
    """What every command runs inside: an exception that leaves it becomes a message and an exit code."""

    def __init__(self, typed: Sequence[str], as_json: bool, debug: bool) -> None:
        self.typed = typed
        self.as_json = as_json
        self.debug = debug
        self.exit_code = 0

    def __enter__(self) -> _Boundary:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if problem is None:
            return False
        if isinstance(problem, SystemExit):
            self.exit_code = problem.code if isinstance(problem.code, int) else int(problem.code is not None)
            return True
        if isinstance(problem, KeyboardInterrupt):
            self._report(
                "interrupted", "Interrupted; nothing half-written was left. Run the command again.", INTERRUPTED
            )
            return True
        known = _as_ours(problem)
        if known is not None:
            self._report(known.code, known.message, known.exit_code)
        else:
            self._report("internal", _please_report(problem, self.debug), INTERNAL_ERROR)
        if self.debug:
            sys.excepthook(type(problem), problem, trace)
        return True

    def _report(self, code: str, message: str, exit_code: int) -> None:
        self.exit_code = exit_code
        command = _command_that_reads(self.typed, message) if code == "not-utf8" else None
        try:
            if self.as_json:
                error = {"code": code, "message": message, "exit_code": exit_code}
                error |= {} if command is None else {"command": command}
                _write(_as_json({"format_version": FORMAT_VERSION, "error": error}), exit_code)
            elif sys.stderr is not None:
                again = "" if command is None else f"  {command}\n"
                sys.stderr.write(f"error: {_visible(message)}\n{_visible(again)}")
                sys.stderr.flush()
        except OSError:
            # Nobody can be told; the exit code still says it.
            return


def _command_that_reads(typed: Sequence[str], message: str) -> str | None:
    """Return what was typed with the encoding that a message ends in, as a shell takes it; None where there is none."""
    guess = re.search(r" --encoding (\S+)$", message)
    if guess is None or typed[0] in _WITHOUT_ENCODING:
        return None
    kept = [
        word
        for before, word in zip(["", *typed], typed, strict=False)
        if "--encoding" not in (before, word) and not word.startswith("--encoding=")
    ]
    return shlex.join(["batchlearn", *kept, "--encoding", guess.group(1)])


def _as_ours(problem: BaseException) -> BatchlearnError | None:
    """Return the error in our words, or None where it is a fault of this program."""
    if isinstance(problem, BatchlearnError):
        return problem
    if isinstance(problem, UnicodeEncodeError):
        # Arguments that are no UTF-8 reach Python as half characters, which no file can hold.
        return UsageError(
            f"A text holds bytes that are no UTF-8 ({ascii(problem.object)[:80]}); give it in UTF-8.", code="not-utf-8"
        )
    if isinstance(problem, MemoryError):
        return ResourceError(
            "There is not enough memory for this table and this many coefficients. Leave out columns (--drop) or rows "
            "(--where), or use a larger machine.",
            code="memory",
        )
    if isinstance(problem, OSError) and problem.errno is not None:
        where = f" at '{problem.filename}'" if problem.filename else ""
        what = os.strerror(problem.errno)
        return ResourceError(
            f"The operating system refused{where}: {what}. Check space and permissions.", code="operating-system"
        )
    return None


def _please_report(problem: BaseException, debug: bool) -> str:
    again = "" if debug else " Run it again with --debug for the traceback."
    return (
        f"This is a fault in batchlearn ({type(problem).__name__}: {problem}). Please report it with the command that "
        f"you typed.{again}"
    )


def _visible(text: str) -> str:
    """Escape control characters: a message may quote what stands in a file."""
    return "".join(sign if sign.isprintable() or sign == "\n" else f"\\x{ord(sign):02x}" for sign in text)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let the first Ctrl-C unwind, so that temporary files are removed, and the second one stop at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            os._exit(INTERRUPTED)
        pressed = True
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:  # nohup and background jobs ask to be left alone
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
