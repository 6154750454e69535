"""What the bracket says that later rows gain, against what they do gain, where that is known and on real tables.

    python benchmarks/later_gain_trials.py [--turns 400] [--write]
    python benchmarks/later_gain_trials.py --real [--write]

Simulated: a version of 40 days, then some new days, and rows without end of days like the new ones, on which the
training from scratch on old and new rows is compared with the version: that is the truth, and each world says in how
many turns the stated 95 % interval held it. Days differ by chance (level, slopes, where the columns are) by `shocks`;
the new ones are off the old ones by `drift`. No old row is read. Real: tables in the order of time in ../shared/data,
three turns each, beside what the rows of the next block really gained: shown, not judged.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from data_sets import DataSet, data_sets

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from tests.updating.made import Made, design, drawn, drawn_codes, fitted, joined, kept_of, labelled, one_chunk

import batchlearn as bl
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.threads import one_blas_thread
from batchlearn.evaluation.paired import Difference, blocked_difference, time_blocks
from batchlearn.kernels.design import Floats, Layout
from batchlearn.objectives.losses import named_loss
from batchlearn.retraining.bracket import Change, bracket
from batchlearn.retraining.cycle.continued import encode_rows, statistics_of, times_of
from batchlearn.selection.terms import encoding_penalty
from batchlearn.statistics.objective import Objective
from batchlearn.statistics.rowwise import predictor
from batchlearn.tables.table import Table
from batchlearn.updating.later_gain import LaterGain

PAGE = Path(__file__).resolve().parents[1] / "docs" / "bracket.md"
OLD_DAYS, FRESH_DAYS, FRESH_ROWS = 40, 1000, 20
REAL = (
    "acs_employment_ma", "bank_marketing", "beijing_air", "bike_sharing_hour", "chicago_taxi_15k", "flights2008_jan",
    "football_intl", "hotel_bookings", "metro_traffic", "noaa_weather", "nycflights13",
)  # fmt: skip
REAL_TURNS, MOST_ROWS = 3, 5000
FEW, MANY = Layout(True, 4, (6,)), Layout(True, 8, (12, 12))


class World(NamedTuple):
    name: str
    loss: str
    layout: Layout = FEW
    days: int = 12
    rows: int = 40  # of a day, on average
    drift: float = 0.0
    shocks: float = 0.0
    uneven: float = 0.0  # standard deviation of the logarithm of a day's rows
    by_day: bool = True  # whether the bracket is told the days


WORLDS = (
    World("unchanged", "logistic"),
    World("unchanged, 35 coefficients", "logistic", MANY),
    World("unchanged, rows independent, no days told", "logistic", by_day=False),
    World("drift", "logistic", drift=0.3),
    World("drift, 8 days", "logistic", days=8, drift=0.3),
    World("drift, 60 days", "logistic", days=60, rows=15, drift=0.3),
    World("drift far beyond two-sided", "logistic", drift=1.0),
    World("shocks", "logistic", shocks=0.4),
    World("shocks and drift", "logistic", shocks=0.4, drift=0.3),
    World("shocks and drift, 35 coefficients", "logistic", MANY, days=20, shocks=0.4, drift=0.3),
    World("shocks and drift, uneven days", "logistic", days=16, shocks=0.4, drift=0.3, uneven=0.7),
    World("unchanged", "poisson"),
    World("shocks and drift", "poisson", shocks=0.3, drift=0.2),
    World("unchanged", "squared"),
    World("shocks and drift", "squared", shocks=0.4, drift=0.3),
)


class Turn(NamedTuple):
    value: float
    low: float
    high: float
    true: float
    two_sided: bool


def drawn_days(
    rng: np.random.Generator, world: World, truth: Floats, sizes: Floats
) -> tuple[MemoryRows, Floats, Floats]:
    """Draw days of these sizes; return their rows, the day of each, and the linear predictor that labels came from."""
    layout, day = world.layout, np.repeat(np.arange(len(sizes)), sizes)
    shock = world.shocks * rng.normal(size=(len(sizes), layout.size)) / np.sqrt(layout.size / 4.0)
    dense = rng.normal(size=(layout.dense, len(day)))
    dense += world.shocks * rng.normal(size=(layout.dense, len(sizes)))[:, day]
    rows = one_chunk(layout, dense, drawn_codes(rng, layout, len(day)), np.zeros(len(day)))
    eta = np.einsum("ij,ij->i", design(rows), truth + shock[day])
    return labelled(rows, drawn(rng, world.loss, eta)), day, eta


def turn(world: World, seed: int) -> Turn:
    """Train on old days, bracket new ones, and see what fresh days gain by a training on both."""
    rng = np.random.default_rng(seed)
    size = world.layout.size
    truth = rng.normal(size=size) * 0.5 / np.sqrt(size / 10.0)
    problem = Made(world.loss, world.layout, truth, 1.0, weighted=False)
    later = truth + world.drift * rng.normal(size=size) / np.sqrt(size / 10.0)
    old, _, _ = drawn_days(rng, world, truth, np.full(OLD_DAYS, 60))
    sizes = np.maximum(np.round(world.rows * np.exp(world.uneven * rng.normal(size=world.days))), 2).astype(int)
    new, day, _ = drawn_days(rng, world, later, sizes)
    fresh, _, eta = drawn_days(rng, world, later, np.full(FRESH_DAYS, FRESH_ROWS))
    kept = kept_of(problem, old)
    found = bracket(
        kept, Change(new, times=day.astype("datetime64[D]") if world.by_day else None), problem.penalty
    ).bracket
    both = joined(old, new)
    gained = expected(world.loss, eta, design(fresh), kept.parameters) - expected(
        world.loss, eta, design(fresh), fitted(problem.objective(both.total_weight), both)
    )
    said = found.later_gain
    assert said is not None
    assert said.low is not None
    assert said.high is not None
    return Turn(said.value, said.low, said.high, gained, found.upper_is_proved)


def expected(loss: str, eta: Floats, columns: Floats, parameters: Floats) -> float:
    """Return the mean loss over labels drawn from the true linear predictor, but for what no parameter changes."""
    own = columns @ parameters
    if loss == "squared":
        return 0.5 * float(np.mean((own - eta) ** 2))
    if loss == "poisson":
        eta = np.minimum(eta, 3.0)  # as labels are drawn
        return float(np.mean(np.exp(own) - np.exp(eta) * own))
    return float(np.mean(np.logaddexp(0.0, own) - own / (1.0 + np.exp(-eta))))


def simulated(turns: int, seed: int) -> list[str]:
    """Return the table of the simulated worlds."""
    lines = ["| loss | world | new days | two-sided | true gain | stated | misses below, above | coverage |"]
    lines.append("|---|---|---:|---:|---:|---:|---:|---:|")
    print("\n".join(lines), flush=True)
    for number, world in enumerate(WORLDS):
        found = [turn(world, (seed * 100 + number) * 100_000 + k) for k in range(turns)]
        below, above = sum(t.true < t.low for t in found), sum(t.true > t.high for t in found)
        value, true = np.mean([t.value for t in found]), np.mean([t.true for t in found])
        share = 1.0 - (below + above) / turns
        sided = np.mean([t.two_sided for t in found])
        lines.append(
            f"| {world.loss} | {world.name} | {world.days} | {sided:.0%} | {true:.2e} | {value:.2e} | {below}, {above} "
            f"| {share:.1%} |"
        )
        print(lines[-1], flush=True)
    return lines


def real(turns: int) -> list[str]:
    """Return the table of real turns: of each set as many, one after the other, until its rows end."""
    lines = ["| table | loss | old rows | new | of | two-sided | stated | next block |"]
    lines.append("|---|---|---:|---:|---|---|---|---|")
    print("\n".join(lines), flush=True)
    for one in data_sets():
        if one.time is None or one.name not in REAL:
            continue
        whole = pq.read_table(one.path)
        whole = whole.take(pc.sort_indices(whole, sort_keys=[(one.time, "ascending")]))
        rows = min(len(whole) // (7 + turns), MOST_ROWS)
        apart = (len(whole) - 8 * rows) // max(turns - 1, 1)
        for start in range(0, turns * apart, apart):
            lines.append(real_turn(whole, one, start, rows))
            print(lines[-1], flush=True)
    return lines


def real_turn(whole: pa.Table, one: DataSet, start: int, rows: int) -> str:
    """Train on six blocks of rows, bracket the seventh, and see what the eighth gains by a training on seven."""

    def blocks(first: int, last: int) -> Table:
        part = whole.slice(start + first * rows, (last - first) * rows)
        return bl.read(part, target=one.target, time=one.time, drop=one.drop, where=one.condition)

    old, new = blocks(0, 6), blocks(6, 7)
    fit = bl.train(old, bl.Recipe(loss=one.loss, holdout=0.0))
    kept = statistics_of(fit, old, None)
    assert kept is not None
    added, both, later = (encode_rows(fit.model, table, None) for table in (new, blocks(0, 7), blocks(7, 8)))
    penalty = encoding_penalty(fit.model.encoding, fit.structure.strengths, None)
    found = bracket(kept, Change(added.rows, times=times_of(new, added.ledger)), penalty).bracket
    said, objective = found.later_gain, Objective(named_loss(kept.loss), penalty.over(both.rows.total_weight))
    assert said is not None
    assert later.ledger.time is not None
    gain = losses(later.rows, objective, kept.parameters) - losses(later.rows, objective, fitted(objective, both.rows))
    when, weight = later.ledger.time[later.ledger.used], np.ones(len(gain))
    measured = blocked_difference(gain, weight, time_blocks(weight, when), 0.05)
    of = f"{said.clusters:,} {said.cluster}{'s' if said.clusters > 1 else ''}"
    sided = "yes" if found.upper_is_proved else "no"
    return (
        f"| {one.name} | {fit.model.loss} | {kept.rows:,} | {len(added.rows):,} | {of} | {sided} | {shown(said)} "
        f"| {shown(measured)} |"
    )


def losses(rows: MemoryRows, objective: Objective, parameters: Floats) -> Floats:
    """Return the loss of each row, (rows,)."""
    chunks = map(rows.read, rows.chunks)
    return np.concatenate([objective.loss.value(predictor(chunk, parameters), chunk.label) for chunk in chunks])


def shown(gain: LaterGain | Difference) -> str:
    if gain.low is None or gain.high is None:
        return f"{gain.value:.2g}"
    return f"{gain.value:.2g} ({gain.low:.2g} to {gain.high:.2g})"


def main() -> int:
    parser = argparse.ArgumentParser(description="Judge what later rows are said to gain.")
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real", action="store_true", help="real tables instead, three turns each")
    parser.add_argument("--write", action="store_true", help="write the table into docs/bracket.md")
    options = parser.parse_args()
    began = time.perf_counter()
    with one_blas_thread():
        lines = real(REAL_TURNS) if options.real else simulated(options.turns, options.seed)
    print(f"{time.perf_counter() - began:.0f} s")
    if options.write:
        name = "real turns" if options.real else "later gain"
        page, text = PAGE.read_text(encoding="utf-8"), "\n".join(lines)
        start, stop = page.index(f"<!-- {name} -->"), page.index(f"<!-- end of {name} -->")
        PAGE.write_text(f"{page[:start]}<!-- {name} -->\n\n{text}\n\n{page[stop:]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
