"""Chunks read by threads: answers come in the order of the chunks, whoever is done first."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from itertools import islice
from numbers import Integral
from typing import TYPE_CHECKING, TypeVar

from batchlearn.errors import UsageError, quoted

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")

_LARGEST_THREADS = 256


def thread_count(threads: int | None) -> int:
    """Return how many threads read chunks: as many as there are cores unless said otherwise."""
    if threads is None:
        return min(os.cpu_count() or 1, 8)
    if not isinstance(threads, Integral) or threads < 1:
        raise UsageError(
            f"The number of threads is {quoted(threads)}; it needs to be a whole number of 1 or more.",
            code="threads-range",
        )
    return min(int(threads), _LARGEST_THREADS)


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yield work(item) in the order of the items, with no more than two answers a thread in memory."""
    if threads == 1 or (isinstance(items, Sized) and len(items) == 1):
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        source = iter(items)
        # In a copy of our context: NumPy's error state is part of it, and threads start with their own.
        waiting = [pool.submit(copy_context().run, work, item) for item in islice(source, 2 * threads)]
        while waiting:
            answer = waiting.pop(0).result()
            waiting.extend(pool.submit(copy_context().run, work, item) for item in islice(source, 1))
            yield answer


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS and LAPACK at one thread: our own threads read chunks, and bits must not depend on their number."""
    # SciPy's BLAS may be loaded after the first time, with or without its package.
    with _libraries("scipy.linalg" in sys.modules or "scipy.linalg.cython_lapack" in sys.modules).limit(limits=1):
        yield


@cache
def _libraries(with_scipy: bool) -> ThreadpoolController:  # noqa: ARG001 - found anew once SciPy is there
    """Return who holds the threads of the libraries: finding them takes as long as learning 50,000 rows."""
    from threadpoolctl import ThreadpoolController  # imported here: serving reads rows too and does not need it

    return ThreadpoolController()
