"""flights2008_jan day by day: what a retrain would gain, bracketed from the new day alone, beside the truth.

    python benchmarks/flights_by_day.py [--write] [recipe ...]

Trains on days 1 to 20, then each of the next eleven days: the champion's kept totals and the new day give a bracket; a
training from scratch on all days gives the truth, and the next champion. The penalty is fixed in total (1, or the
strengths chosen on days 1 to 20), encodings and strengths are those of days 1 to 20. The same is done with all rows
shuffled among the days, where nothing changes from day to day. Prints a line a day and then the tables; `--write` puts
them into docs/bracket.md. Takes about ten minutes on two cores.

Seconds are given three times: by the clock from the files on, with one thread and with two (a scratch retrain reads all
rows, chooses what a recipe leaves open, encodes, fits and certifies; the day alone reads its own file and the kept
totals, encodes and brackets; it has one chunk and so one thread), and of the processor without the files (choosing what
a recipe leaves open and the fit, beside the bracket).
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from data_sets import FOLDER
from numpy.typing import NDArray

from batchlearn import read
from batchlearn.data.build import Mask, build_rows, profile_parts
from batchlearn.data.encoding import Encoding
from batchlearn.data.encoding_fit import EncodingRules, fit_encoding
from batchlearn.data.ledger import Ledger, read_ledger
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.threads import one_blas_thread
from batchlearn.data.split import with_lots
from batchlearn.kernels.design import Floats
from batchlearn.objectives.losses import Loss, loss_of
from batchlearn.objectives.penalties import Penalty
from batchlearn.objectives.stopping import PredictionsWithin
from batchlearn.progress import finish
from batchlearn.retraining.bracket import BracketResult, Change, bracket
from batchlearn.selection.structure import Structure, choose_structure
from batchlearn.selection.terms import encoding_penalty
from batchlearn.statistics.objective import Objective
from batchlearn.statistics.totals import LineTotal, ValueTotal
from batchlearn.tables.table import Table
from batchlearn.training.certificate import Units
from batchlearn.training.optimise import Optimum, Problem, optimise
from batchlearn.training.train import fit_objective
from batchlearn.updating.bound_from_totals import bound_from_totals
from batchlearn.updating.refine import refine
from batchlearn.updating.storage import dump, load
from batchlearn.updating.sufficient_statistics import SufficientStatistics, collect_statistics
from batchlearn.updating.update import Update

FLIGHTS = FOLDER / "flights2008_jan.parquet"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "bracket.md"
DAYS, FIRST = 31, 20
JANUARY = 13_879  # 1 January 2008, in days of Unix time
APART = ["dep_delay", "arr_delay", "cancelled"]
CALENDAR = ["month", "day_of_month", "day_of_week", "crs_dep_time"]
RECIPES = {
    "carrier, times, distance": ([*APART, *CALENDAR, "flight_num", "tail_num", "origin", "dest"], 10),
    "and airports": ([*APART, *CALENDAR, "flight_num", "tail_num"], 1_500),
    "default": (APART, None),
}
RECENT = 0.1
SHUFFLES = (1, 2, 3)
MANY = 600


@dataclass(frozen=True)
class Setting:
    """A recipe made ready: the rows of each day in one encoding, and the penalty of any number of them."""

    name: str
    encoding: Encoding
    days: list[MemoryRows]
    loss: Loss
    penalty: Penalty
    seconds: float  # reading, choosing and encoding
    choosing: float  # of the processor, for what the recipe leaves open

    def objective_for(self, weight: float) -> Objective:
        """Return the objective of rows of this total weight."""
        return Objective(self.loss, self.penalty.over(weight))


class Day(NamedTuple):
    """What one day showed."""

    true: float
    found: BracketResult
    seconds: float
    scratch_seconds: float
    certified_passes: int
    agreement: float  # largest difference of linear predictors over what the two bounds allow
    two_sided: tuple[bool, bool, bool]  # by C8, second order, third order
    next_gain: float | None  # of the update on the rows of the next day, a row
    kept_bytes: int


def opened(name: str, path: Path) -> tuple[Table, Ledger, NDArray[np.intp]]:
    """Return the rows of a file as the recipe reads them, with the number of each row's day."""
    table = read(path, target="dep_delayed_15min", time="sched_dep", drop=RECIPES[name][0], where="not cancelled")
    ledger = with_lots(table, read_ledger(table, loss=None))
    assert ledger.time is not None
    return table, ledger, np.where(ledger.used, np.floor(ledger.time / 86_400e6), 0).astype(int) - JANUARY


def chosen(name: str, table: Table, ledger: Ledger, part: Mask, threads: int = 2) -> Structure:
    """Choose what the recipe leaves open on a part of the rows."""
    minimum = RECIPES[name][1]
    if minimum is None:
        structure: Structure = finish(choose_structure(table, ledger, part, EncodingRules(), threads))
        return structure
    return Structure(EncodingRules(additive=True, bins=8, minimum_rows=minimum))


def encoding_of(table: Table, ledger: Ledger, part: Mask, structure: Structure) -> Encoding:
    """Fit the encoding to a part of the rows."""
    profiles = finish(profile_parts(table, ledger, [part]))[0]
    return fit_encoding(table.features, profiles, structure.rules, "sched_dep", structure.pairs)


def prepare(name: str) -> Setting:
    began = time.perf_counter()
    table, ledger, day = opened(name, FLIGHTS)
    first, start = ledger.used & (day < FIRST), time.process_time()
    structure = chosen(name, table, ledger, first)
    choosing, encoding = time.process_time() - start, encoding_of(table, ledger, first, structure)
    parts = (ledger.used & (day == number) for number in range(DAYS))
    days = [finish(build_rows(table, ledger, encoding, part, 2, fingerprinted=False)) for part in parts]
    penalty, loss = encoding_penalty(encoding, structure.strengths, None), loss_of(ledger.target)
    return Setting(name, encoding, days, loss, penalty, time.perf_counter() - began, choosing)


def from_files(setting: Setting) -> tuple[float, float, float]:
    """Return the seconds of day 21 alone and of a scratch retrain with one thread and two, by the clock from files on.

    Medians of five, and of 30 for the day, which takes turns with the others. The champion is of days 1 to 20;
    its kept totals are read as a version keeps them.
    """
    name, old = setting.name, joined(setting.days[:FIRST])
    kept = dump(collect_statistics(setting.objective_for(old.total_weight), old, fit(setting, old)))
    rows, loss = pq.read_table(FLIGHTS), setting.loss.name
    day = np.floor(rows["sched_dep"].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy() / 86_400e6) - JANUARY
    alone, scratch = [], dict[int, list[float]]({1: [], 2: []})
    with tempfile.TemporaryDirectory() as folder:
        new, every = Path(folder, "day.parquet"), Path(folder, "days.parquet")
        pq.write_table(rows.filter(pa.array(day == FIRST)), new)
        pq.write_table(rows.filter(pa.array(day <= FIRST)), every)
        for threads in (1, 2) * 5:
            for _ in range(3):
                began = time.perf_counter()
                table, ledger, _ = opened(name, new)
                added = finish(build_rows(table, ledger, setting.encoding, ledger.used, threads, fingerprinted=False))
                bracket(load(kept, setting.encoding.layout, loss), Change(added), setting.penalty)
                alone.append(time.perf_counter() - began)
            began = time.perf_counter()
            table, ledger, _ = opened(name, every)
            structure = chosen(name, table, ledger, ledger.used, threads)
            encoding = encoding_of(table, ledger, ledger.used, structure)
            rows_of_all = finish(build_rows(table, ledger, encoding, ledger.used, threads, fingerprinted=False))
            weight = rows_of_all.total_weight
            objective = fit_objective(ledger.target, encoding, structure.strengths, None, weight)
            optimise(Problem(objective, rows_of_all, PredictionsWithin(), Units(encoding.units), encoding.names))
            scratch[threads].append(time.perf_counter() - began)
    return float(np.median(alone)), float(np.median(scratch[1])), float(np.median(scratch[2]))


def joined(days: list[MemoryRows]) -> MemoryRows:
    return replace(days[0], chunks=tuple(chunk for rows in days for chunk in rows.chunks))


def shuffled(days: list[MemoryRows], seed: int) -> list[MemoryRows]:
    """Return the same rows dealt out at random to days of the same sizes."""
    order = np.random.default_rng(seed).permutation(sum(len(rows) for rows in days))
    chunks = joined(days).chunks
    dense = np.concatenate([c.dense for c in chunks], axis=1)[:, order]
    codes, label = (
        np.concatenate([c.codes for c in chunks], axis=1)[:, order],
        np.concatenate([c.label for c in chunks]),
    )
    label, found, start = label[order], [], 0
    for rows in days:
        part = slice(start, start + len(rows))
        chunk = replace(rows.chunks[0], dense=dense[:, part], codes=codes[:, part], label=label[part])
        found.append(replace(rows, chunks=(chunk,)))
        start += len(rows)
    return found


def fit(setting: Setting, rows: MemoryRows, start: Floats | None = None) -> Optimum:
    objective = setting.objective_for(rows.total_weight)
    problem = Problem(objective, rows, PredictionsWithin(), Units(setting.encoding.units), setting.encoding.names)
    return optimise(problem, start)


def by_formula(update: Update) -> bool:
    """Whether C8 as it stands, with second-order remainders of old and new rows alike, is two-sided."""
    kept = update.kept
    hessian = kept.totals.hessian + update.fresh.hessian
    update.penalty.add_to(hessian)
    gradient = kept.totals.gradient + update.fresh.gradient + update.penalty.gradient(kept.parameters)
    step = -np.linalg.solve(hessian, gradient)
    a, decrement = update.domain.reach(step), math.sqrt(float(-(gradient @ step)))
    after = math.exp(0.5 * a) * (math.exp(a) - 1.0 - a) / a * decrement
    return math.exp(0.5 * a) * math.sqrt(kept.leverage) * after < 1.0


def day_of(setting: Setting, number: int, champion: Optimum, rows: list[MemoryRows]) -> tuple[Day, Optimum]:
    old, everything, new = joined(rows[:number]), joined(rows[: number + 1]), rows[number]
    objective = setting.objective_for(everything.total_weight)
    kept = collect_statistics(setting.objective_for(old.total_weight), old, champion)
    began = time.process_time()
    first = bracket(kept, Change(new, times=np.full(len(new), number).astype("datetime64[D]")), setting.penalty)
    seconds = time.process_time() - began
    found = _climbed(first, everything) if first.reached.upper is None else first
    began = time.process_time()
    # With thousands of coefficients the truth comes from a warm fit, certified too; only the first day is timed.
    many = everything.layout.size > MANY
    scratch = fit(setting, everything, found.reached.parameters if many and number > FIRST else None)
    scratch_seconds = time.process_time() - began if not many or number == FIRST else math.nan
    if not many:
        recent = bracket(kept, Change(new), setting.penalty, recent=RECENT).bracket.recent
        found = replace(found, bracket=replace(found.bracket, recent=recent))
    update = Update.of(kept, new, objective)
    second = first.bracket.upper_is_proved
    if kept.totals.third is not None:
        plain = replace(kept, totals=kept.totals._replace(third=None))
        second = bound_from_totals(Update.of(plain, new, objective)).upper is not None
    true = objective.value(everything, kept.parameters) - scratch.value
    _, moved = everything.total(
        LineTotal(objective.loss, scratch.parameters - found.reached.parameters, (1.0,)), kept.parameters
    )
    theirs = scratch.certification.certificate
    allowed = (theirs.radius or math.nan) * (theirs.kappa or math.nan)
    bounds = found.reached.proof.bounds
    allowed += bounds.radius * found.reached.proof.kappa if bounds else math.nan
    after = None if number + 1 == DAYS else _mean_gain(objective, rows[number + 1], kept, found)
    result = Day(
        true, found,
        seconds, scratch_seconds, found.bracket.rung - 1, moved / allowed,
        (by_formula(update), second, first.bracket.upper_is_proved), after, len(dump(kept)),
    )  # fmt: skip
    return result, scratch


def _climbed(first: BracketResult, everything: MemoryRows) -> BracketResult:
    """Return the bracket after readings of all rows, its lower bound still that of rung 1."""
    reached, passes = refine(first.update, first.reached, everything)
    proved = reached.upper is not None
    upper = reached.upper if reached.upper is not None else reached.estimate
    return replace(
        first, reached=reached, bracket=replace(first.bracket, upper=upper, upper_is_proved=proved, rung=1 + passes)
    )


def _mean_gain(objective: Objective, rows: MemoryRows, kept: SufficientStatistics, found: BracketResult) -> float:
    losses = (rows.total(ValueTotal(objective.loss), w)[0] for w in (kept.parameters, found.reached.parameters))
    before, after = losses
    return (before - after) / rows.total_weight


def replay(setting: Setting, rows: list[MemoryRows], show: Callable[[str], None]) -> list[Day]:
    champion, days = fit(setting, joined(rows[:FIRST])), []
    for number in range(FIRST, DAYS):
        day, champion = day_of(setting, number, champion, rows)
        days.append(day)
        said = day.found.bracket
        show(
            f"  day {number + 1}: gain {day.true:.3e}, lower/true {said.lower / day.true:.3f}, two-sided "
            f"{day.two_sided}, passes {day.certified_passes}, upper/true {said.upper / day.true:.4f}, gain/null "
            f"{said.gain_over_null or math.nan:.2f}, shift {said.prediction_shift:.2f}, {day.seconds:.2f} s against "
            f"{day.scratch_seconds:.1f} s, agreement {day.agreement:.2f}"
        )
    return days


def null_ratios(setting: Setting, show: Callable[[str], None]) -> list[float]:
    """Return gain / null of every second day of each shuffle; of every fourth of one with thousands of coefficients."""
    ratios = []
    for seed in SHUFFLES if setting.encoding.layout.size <= MANY else SHUFFLES[:1]:
        rows, champion = shuffled(setting.days, seed), None
        for number in range(FIRST, DAYS, 2 if setting.encoding.layout.size <= MANY else 4):
            old = joined(rows[:number])
            champion = fit(setting, old, None if champion is None else champion.parameters)
            kept = collect_statistics(setting.objective_for(old.total_weight), old, champion)
            ratio = bracket(kept, Change(rows[number]), setting.penalty).bracket.gain_over_null
            ratios.append(ratio or math.nan)
    show(f"  shuffled: gain/null {np.mean(ratios):.3f} on average, {min(ratios):.2f} to {max(ratios):.2f}")
    return ratios


HEADS = (
    "| recipe | coefficients | kept, MB | lower / true | two-sided days: C8 | second order | third order "
    "| upper / true | passes else |\n|---|" + "---:|" * 8,
    "| recipe | gain / null, shuffled | in order | in order, old rows at a tenth | later gain | next day |\n|---|"
    + "---:|" * 5,
    "| recipe | s, day 21 from its file | s, scratch from files, one thread | times | two threads | times "
    "| CPU s, bracket | CPU s, choosing and fit | times |\n|---|" + "---:|" * 8,
)


def lines(setting: Setting, days: list[Day], ratios: list[float]) -> tuple[str, str, str]:
    brackets = [day.found.bracket for day in days]
    lower = [b.lower / d.true for b, d in zip(brackets, days, strict=True)]
    upper = [b.upper / d.true for b, d in zip(brackets, days, strict=True) if b.upper_is_proved and b.rung == 1]
    more = [str(d.certified_passes) for d in days if not d.two_sided[2]]
    two_sided = [f"{sum(d.two_sided[k] for d in days)} of {len(days)}" for k in range(3)]
    took, scratch = (float(np.nanmedian([getattr(d, name) for d in days])) for name in ("seconds", "scratch_seconds"))
    first = [
        setting.name, f"{setting.encoding.layout.size:,}", f"{days[0].kept_bytes / 1e6:.1f}",
        f"{min(lower):.3f} to {max(lower):.3f}", *two_sided,
        f"{min(upper):.3f} to {max(upper):.3f}" if upper else "", ", ".join(more) or "none",
    ]  # fmt: skip
    alone, one, two = from_files(setting)
    seconds = [
        setting.name, f"{alone:.3f}", f"{one:.1f}", f"{one / alone:.0f}", f"{two:.1f}", f"{two / alone:.0f}",
        f"{took:.3f}", f"{setting.choosing + scratch:.1f}",
        f"{float(np.nanmedian([(setting.choosing + d.scratch_seconds) / d.seconds for d in days])):.0f}",
    ]  # fmt: skip
    ratio = [b.gain_over_null or math.nan for b in brackets]
    recent = [b.recent.gain_over_null or math.nan for b in brackets if b.recent is not None]
    pairs = [
        (b.later_gain.value, d.next_gain)
        for b, d in zip(brackets, days, strict=True)
        if b.later_gain and d.next_gain is not None
    ]
    second = [
        setting.name, f"{np.mean(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        f"{np.median(ratio):.1f} ({min(ratio):.1f} to {max(ratio):.1f})",
        f"{np.median(recent):.1f} ({min(recent):.1f} to {max(recent):.1f})" if recent else "",
        f"{np.mean([a for a, _ in pairs]):.1e}", f"{np.mean([b for _, b in pairs]):.1e}",
    ]  # fmt: skip
    return f"| {' | '.join(first)} |", f"| {' | '.join(second)} |", f"| {' | '.join(seconds)} |"


def main(words: list[str]) -> None:
    wanted = [word for word in words if not word.startswith("--")]
    tables: list[list[str]] = [[head] for head in HEADS]

    def show(text: str) -> None:
        print(text, flush=True)

    with one_blas_thread():
        for name in RECIPES:
            if wanted and name not in wanted:
                continue
            setting = prepare(name)
            show(f"{name}: {setting.encoding.layout.size} coefficients, made ready in {setting.seconds:.1f} s")
            days = replay(setting, setting.days, show)
            for table, line in zip(tables, lines(setting, days, null_ratios(setting, show)), strict=True):
                table.append(line)
            worst = max(d.agreement for d in days if not math.isnan(d.agreement))
            show(f"  agreement with scratch: at most {worst:.2f} of the sum of the bounds")
            assert worst <= 1.0
            assert all(d.found.bracket.lower <= d.true for d in days)
            assert all(d.true <= d.found.bracket.upper for d in days if d.found.bracket.upper_is_proved)
    text = "\n\n".join("\n".join(table) for table in tables)
    show(text)
    if "--write" in words:
        page = PAGE.read_text(encoding="utf-8")
        start, stop = page.index("<!-- table -->"), page.index("<!-- end of table -->")
        PAGE.write_text(f"{page[:start]}<!-- table -->\n\n{text}\n\n{page[stop:]}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
