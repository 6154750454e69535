"""The catalogue of the real data sets in ../shared/data, as the benchmarks use them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"
LOSSES = {"binary": "logistic", "count": "poisson", "regression": "squared", "multiclass": "softmax"}
# What the catalogue says beyond the files' own metadata.
CONDITIONS = {"flights2008_jan": "not cancelled"}
TIMES = {"acs_employment_ma": "year", "diabetes130": "encounter_id"}


@dataclass(frozen=True)
class DataSet:
    """One set: where it is, what is predicted, what orders the rows, what gives the answer away."""

    name: str
    path: Path
    task: str
    target: str
    time: str | None
    drop: tuple[str, ...]
    condition: str | None

    @property
    def loss(self) -> str:
        """The loss of its task."""
        return LOSSES[self.task]

    @property
    def arguments(self) -> list[str]:
        """The arguments of `batchlearn train`: target, time, loss and the catalogue's columns to drop."""
        words = [str(self.path), "--target", self.target, "--loss", self.loss]
        words += ["--time", self.time] if self.time else []
        words += ["--drop", ",".join(self.drop)] if self.drop else []
        return words + (["--where", self.condition] if self.condition else [])


def data_sets(tasks: tuple[str, ...] = ("binary", "count", "regression")) -> list[DataSet]:
    """Return the sets of these tasks, by name."""
    found = []
    for path in sorted(FOLDER.glob("*.parquet")):
        words = {key.decode(): value.decode() for key, value in (pq.read_schema(path).metadata or {}).items()}
        if words["task"] not in tasks:
            continue
        target, time = words["target"], words["time"] or TIMES.get(path.stem)
        apart = [*words["leakage_columns"].split(","), *words["aux_columns"].split(",")]
        drop = tuple(dict.fromkeys(name for name in apart if name and name != target))
        found.append(DataSet(path.stem, path, words["task"], target, time, drop, CONDITIONS.get(path.stem)))
    return found
