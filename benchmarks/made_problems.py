"""Generated problems for `rivals.py`: rows with one objective, its value and its optimum in float64.

The objective is the mean loss and 1/2n |coefficients|^2, the intercept not penalised: what scikit-learn's C = 1 is on n
rows. The optimum is found by a Newton method written here, which shares no code with any of the contenders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack
from scipy.sparse.linalg import LinearOperator, cg

Floats = NDArray[np.float64]

LEVELS = (5, 10, 10, 15, 20, 20, 30, 40, 50, 100)  # 300 in ten columns, as tables of motor policies have
NON_ZEROS = 70
BLOCK = 65_536
_MOST_DIRECT, _MOST_STEPS = 1_500, 60
# Relative to the objective; the gaps that are measured are larger by five powers of ten.
_DECREMENT = 1e-14


class Data(NamedTuple):
    """Rows as they come, and their labels: one of dense (n, d), sparse or codes is there."""

    label: Floats
    dense: NDArray[np.float32] | None = None
    sparse: Any = None  # CSR (n, d), float32
    codes: NDArray[np.uint8] | None = None  # (groups, n)

    @property
    def columns(self) -> int:
        """How many coefficients there are besides the intercept."""
        if self.codes is not None:
            return sum(LEVELS)
        return (self.sparse if self.dense is None else self.dense).shape[1]

    def first(self, rows: int) -> Data:
        """Return the first rows."""
        return Data(
            self.label[:rows],
            None if self.dense is None else self.dense[:rows],
            None if self.sparse is None else self.sparse[:rows],
            None if self.codes is None else self.codes[:, :rows],
        )

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        """Yield the design in float64, some rows at a time: arrays where it is dense, else CSR."""
        for start in range(0, len(self.label), BLOCK):
            own = slice(start, start + BLOCK)
            if self.dense is not None:
                yield own, self.dense[own].astype(np.float64)
            elif self.sparse is not None:
                yield own, self.sparse[own].astype(np.float64)
            else:
                assert self.codes is not None
                yield own, one_hot(self.codes[:, own])


@dataclass(frozen=True)
class Made:
    """A problem: what is asked of contenders, how its rows are made, and how many in either size."""

    kind: Literal["optimum", "stream", "batches"]
    loss: Literal["logistic", "poisson", "squared"]
    make: Callable[[int, int, np.random.Generator], Data]
    small: tuple[int, int]  # rows, columns
    large: tuple[int, int]


def one_hot(codes: NDArray[np.uint8]) -> Any:
    """Return indicators of all levels, CSR (n, levels), of codes (groups, n)."""
    row = np.arange(codes.shape[1])
    ones = np.ones(len(row))
    parts = [
        csr_array((ones, (row, group)), shape=(len(row), levels)) for group, levels in zip(codes, LEVELS, strict=True)
    ]
    return hstack(parts, format="csr")


def dense_classes(rows: int, columns: int, rng: np.random.Generator) -> Data:
    """Normal columns and classes of a linear model."""
    dense = rng.normal(size=(rows, columns)).astype(np.float32)
    return Data(_drawn(dense @ (rng.normal(size=columns) / columns**0.5).astype(np.float32), rng), dense=dense)


def uneven_classes(rows: int, columns: int, rng: np.random.Generator) -> Data:
    """The same with columns whose scales run from 0.03 to 30."""
    data = dense_classes(rows, columns, rng)
    assert data.dense is not None
    return data._replace(dense=data.dense * np.geomspace(0.03, 30.0, columns, dtype=np.float32))


def sparse_classes(rows: int, columns: int, rng: np.random.Generator) -> Data:
    """Seventy entries a row in columns that are the rarer the later they come, as words are."""
    column = np.minimum(columns ** rng.uniform(size=(rows, NON_ZEROS)), columns).astype(np.int32) - 1
    value = np.abs(rng.normal(size=column.shape)).astype(np.float32) + np.float32(0.1)
    # Of 32 bits: scikit-learn's saga takes no others.
    pointers = np.arange(0, column.size + 1, NON_ZEROS, dtype=np.int32)
    sparse = csr_array((value.ravel(), column.ravel(), pointers), shape=(rows, columns))
    sparse.sum_duplicates()
    truth = rng.normal(size=columns).astype(np.float32) / np.float32(NON_ZEROS**0.5)
    return Data(_drawn(sparse @ truth, rng), sparse=sparse)


def categorical_counts(rows: int, columns: int, rng: np.random.Generator) -> Data:  # noqa: ARG001 - as LEVELS says
    """Ten columns of categories whose later levels are rarer, and counts of which nine in ten are none."""
    codes = np.stack([(levels * rng.uniform(size=rows) ** 2).astype(np.uint8) for levels in LEVELS])
    eta = sum(rng.normal(scale=0.2, size=levels)[group] for group, levels in zip(codes, LEVELS, strict=True))
    return Data(rng.poisson(np.exp(eta - 2.3)).astype(np.float64), codes=codes)


def dense_numbers(rows: int, columns: int, rng: np.random.Generator) -> Data:
    """Normal columns and numbers with as much noise as signal."""
    dense = rng.normal(size=(rows, columns)).astype(np.float32)
    label = dense @ (rng.normal(size=columns) / columns**0.5).astype(np.float32) + rng.normal(size=rows)
    return Data(label.astype(np.float64), dense=dense)


def _drawn(eta: Any, rng: np.random.Generator) -> Floats:
    return (rng.uniform(size=len(eta)) < 1.0 / (1.0 + np.exp(-np.asarray(eta, dtype=np.float64)))).astype(np.float64)


MADE = {
    "dense 100": Made("optimum", "logistic", uneven_classes, (50_000, 100), (1_000_000, 100)),
    "dense 28": Made("optimum", "logistic", dense_classes, (200_000, 28), (5_000_000, 28)),
    "dense 1000": Made("optimum", "logistic", dense_classes, (5_000, 1_000), (100_000, 1_000)),
    "categories": Made("optimum", "poisson", categorical_counts, (60_000, 300), (600_000, 300)),
    "sparse": Made("optimum", "logistic", sparse_classes, (20_000, 5_000), (500_000, 100_000)),
    "online 28": Made("stream", "logistic", dense_classes, (100_000, 28), (1_000_000, 28)),
    "online sparse": Made("stream", "logistic", sparse_classes, (20_000, 20_000), (200_000, 100_000)),
    "batches of 128": Made("batches", "squared", dense_numbers, (100_000, 100), (1_000_000, 100)),
}


def save(data: Data, folder: Path) -> None:
    """Write rows into a folder, an array a file."""
    folder.mkdir()
    arrays = {"label": data.label, "dense": data.dense, "codes": data.codes}
    if data.sparse is not None:
        arrays |= {"values": data.sparse.data, "columns": data.sparse.indices, "pointers": data.sparse.indptr}
        arrays |= {"shape": np.array(data.sparse.shape)}
    for name, array in arrays.items():
        if array is not None:
            np.save(folder / f"{name}.npy", array)


def load(folder: Path) -> Data:
    """Return the rows of a folder."""
    found = {path.stem: np.load(path) for path in folder.glob("*.npy")}
    sparse = None
    if "values" in found:
        shape = tuple(found["shape"].tolist())
        sparse = csr_array((found["values"], found["columns"], found["pointers"]), shape=shape)
    return Data(found["label"], found.get("dense"), sparse, found.get("codes"))


def losses(loss: str, eta: Floats, label: Floats) -> tuple[Floats, Floats, Floats]:
    """Return each row's loss, half a deviance for counts and numbers, with its first and second derivative in eta."""
    if loss == "logistic":
        mean = 1.0 / (1.0 + np.exp(-eta))
        return np.logaddexp(0.0, eta) - label * eta, mean - label, mean * (1.0 - mean)
    if loss == "poisson":
        mean = np.exp(eta)
        some = np.where(label > 0.0, label, 1.0)
        return mean - label * eta + label * np.log(some) - label, mean - label, mean
    return 0.5 * (eta - label) ** 2, eta - label, np.ones_like(eta)


def objective(data: Data, loss: str, coefficients: Floats, intercept: float) -> float:
    """Return the objective at a point; infinite where it overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        sums = [
            losses(loss, block @ coefficients + intercept, data.label[own])[0].sum() for own, block in data.blocks()
        ]
        value = (sum(sums) + 0.5 * coefficients @ coefficients) / len(data.label)
    return float(value) if np.isfinite(value) else float("inf")


def optimum(data: Data, loss: str) -> float:
    """Return the least objective, in float64, by Newton's method: directly, or by conjugate gradients."""
    size, rows = data.columns, len(data.label)
    point, value = np.zeros(size + 1), objective(data, loss, np.zeros(size), 0.0)
    ridge = np.append(np.ones(size), 0.0)
    for _ in range(_MOST_STEPS):
        gradient, curvatures = ridge * point, []
        diagonal, hessian = ridge.copy(), np.diag(ridge) if size <= _MOST_DIRECT else None
        for own, block in data.blocks():
            _, slope, curvature = losses(loss, block @ point[:-1] + point[-1], data.label[own])
            gradient += np.append(block.T @ slope, slope.sum())
            curvatures.append(curvature)
            if hessian is not None:
                dense = block if isinstance(block, np.ndarray) else block.toarray()
                weighted = dense * curvature[:, None]
                hessian[:-1, :-1] += dense.T @ weighted
                hessian[-1, :-1] += weighted.sum(axis=0)
                hessian[:-1, -1] = hessian[-1, :-1]
                hessian[-1, -1] += curvature.sum()
            else:
                diagonal += np.append(block.multiply(block).T @ curvature, curvature.sum())
        direction = _direction(data, gradient, hessian, diagonal, curvatures)
        decrement = -float(gradient @ direction) / rows
        if decrement <= _DECREMENT * value:
            return value
        length, lower = 1.0, value
        while length > 1e-9:
            moved = point + length * direction
            lower = objective(data, loss, moved[:-1], float(moved[-1]))
            if lower < value:
                break
            length /= 2.0
        if lower >= value:  # rounding allows no better
            return value
        point, value = moved, lower
    raise RuntimeError(f"The reference did not come near its optimum in {_MOST_STEPS} steps.")


def _direction(
    data: Data, gradient: Floats, hessian: Floats | None, diagonal: Floats, curvatures: list[Floats]
) -> Floats:
    if hessian is not None:
        return -np.linalg.solve(hessian, gradient)

    def product(direction: Floats) -> Floats:
        total = np.append(direction[:-1], 0.0)
        for (_, block), curvature in zip(data.blocks(), curvatures, strict=True):
            along = curvature * (block @ direction[:-1] + direction[-1])
            total += np.append(block.T @ along, along.sum())
        return total

    shape = (len(gradient), len(gradient))
    inverse = LinearOperator(shape, matvec=lambda vector: vector / diagonal, dtype=np.float64)
    return -cg(LinearOperator(shape, matvec=product, dtype=np.float64), gradient, rtol=1e-6, maxiter=500, M=inverse)[0]
