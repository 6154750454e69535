"""Backtests of real tables and simulated streams: at least a dozen policies, and whether the recommended one holds.

    python benchmarks/backtests.py run [SET ...] [--windows 40] [--processes 2] [--results FOLDER]
    python benchmarks/backtests.py areas [SET ...] [--processes 2] [--results FOLDER]
    python benchmarks/backtests.py noaa [--results FOLDER]
    python benchmarks/backtests.py write [--results FOLDER]

`run` replays policies over each set, chooses by the first 60 % of the windows and judges the choice by the rest, which
had no say. Tables of more than 50,000 rows are thinned to every k-th row (`--rows` says otherwise); of kddcup99 the
first 100,000 are used. Sets run in so many processes at once, those that take longest first. `areas` adds, over a range
of prices, what loss and retrains cost together (the area of Regol et al., ICML 2025) of the forecast, of drift
detectors (River's ADWIN and KSWIN on the losses, if it is installed), of the cumulative threshold of CARA (on the
losses alone, without its similarity of queries) and of the oracle. Each set leaves a file of JSON in the folder, and
the models and their losses in a cache beside it, so that a run that was stopped goes on; `write` makes the tables of
docs/backtest.md of the files there are.

`noaa` has 51 windows of noaa_weather, 50 retrains on a calendar, labels one window late, and accuracy beside retrains,
of the default model and of a linear one whose penalty is 1/n of 10,000 rows. Lukats et al. (JDSA 2024) publish runs of
868 detectors on the same rows, with learners of their own.

Simulated: 12,000 rows, 40 windows. The right answer is never to train again where the world stands still, or only the
columns drift, and to train again where an effect turns at a third, or turns slowly.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import batchlearn as bl
from batchlearn.backtesting.history import Arrivals, read_history
from batchlearn.backtesting.plan import default_policies
from batchlearn.evaluation.intervals import paired_difference, resampling
from batchlearn.formatting.notes import recorded
from batchlearn.retraining.policies import Decision, Policy, Situation, first
from batchlearn.retraining.policies.detection import loss_blocks

sys.path.insert(0, str(Path(__file__).resolve().parent))
from data_sets import FOLDER, data_sets

PAGE = Path(__file__).resolve().parents[1] / "docs" / "backtest.md"
REAL = (
    "bank_marketing", "beijing_air", "bike_sharing_hour", "chicago_taxi_15k", "football_intl", "hotel_bookings",
    "kddcup99_10pct", "metro_traffic", "noaa_weather", "nycflights13",
)  # fmt: skip
SLOWEST = ("kddcup99_10pct", "hotel_bookings", "football_intl", "beijing_air", "metro_traffic")
FIRST_OF_KDDCUP, START, HOLDOUT = 100_000, 0.2, 0.4
SIMULATED = {  # whether to train again
    "still": False, "columns drift": False, "an effect turns": True, "an effect turns slowly": True,
}  # fmt: skip
# Prices of a retrain in the area, as shares of what a window loses.
PRICES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)


def simulated(name: str) -> pa.Table:
    """Draw a stream of two classes by four numbers, one row a unit of time."""
    rows = 12_000
    rng = np.random.default_rng(len(name))
    time = np.arange(rows) / rows
    x = rng.normal(size=(4, rows))
    effect = np.full(rows, 1.5)
    if name == "columns drift":
        x[0] += 2.0 * time
        x[3] *= 1.0 + time
    elif name == "an effect turns":
        effect = np.where(time < 1 / 3, 1.5, -1.5)
    elif name == "an effect turns slowly":
        effect = 1.5 - 3.0 * time
    eta = effect * x[0] - x[1] + 0.5 * x[2]
    label = rng.random(rows) < 1.0 / (1.0 + np.exp(-eta))
    return pa.table({"t": np.arange(float(rows)), **{f"x{k}": each for k, each in enumerate(x)}, "y": label})


def opened(name: str, most: int = 50_000) -> tuple[bl.Table, bl.Recipe, Arrivals]:
    """Return a set as a table, its recipe, and when its labels come."""
    if name in SIMULATED:
        return bl.read(simulated(name), target="y", time="t"), bl.Recipe(alpha=0.001), Arrivals()
    (one,) = (each for each in data_sets(("binary", "count", "regression", "multiclass")) if each.name == name)
    rows, target, time, drop, loss = pq.read_table(one.path), one.target, one.time, list(one.drop), one.loss
    arrivals = Arrivals()
    if name == "kddcup99_10pct":
        rows, target, drop, loss = rows.slice(0, FIRST_OF_KDDCUP), "attack", ["label"], "logistic"
        most = max(most, FIRST_OF_KDDCUP)
    if name == "hotel_bookings":  # labels come when a stay ends or is cancelled
        arrivals = Arrivals("reservation_status_date")
        drop = [each for each in drop if each != "reservation_status_date"] + ["arrival_date"]
    stride = -(-rows.num_rows // most)
    rows = rows.take(np.arange(0, rows.num_rows, stride))
    return bl.read(rows, target=target, time=time, drop=drop), bl.Recipe(loss=loss), arrivals


def level_of_window(table: bl.Table, recipe: bl.Recipe, windows: int) -> float:
    """Return about what the rows of a window lose to a constant: the scale of prices."""
    target = table.roles.target or ""
    label = np.concatenate([np.asarray(batch.column(0).to_pylist(), dtype=object) for batch in table.scan([target])])
    label = label[[one is not None for one in label]]
    rows = (1.0 - START) * len(label) / windows
    if recipe.loss in ("squared", "poisson"):
        value = label.astype(np.float64)
        if recipe.loss == "squared":
            return rows * float(np.var(value))
        part = np.where(value > 0.0, value * np.log(np.maximum(value, 1e-9) / value.mean()), 0.0)
        return rows * 2.0 * float(np.mean(part - (value - value.mean())))
    share = np.unique(label.astype(str), return_counts=True)[1] / len(label)
    return rows * -float(share @ np.log(share))


@dataclass(frozen=True)
class Watching:
    """A detector of River's over the losses since the last training, in the order in which labels came."""

    name: str

    def __str__(self) -> str:
        return self.name

    def decide(self, situation: Situation) -> Decision:
        """Train again where it has signalled."""
        if situation.trained is None or situation.evidence is None:
            return first(situation)
        from river import drift

        live = situation.evidence.losses()[-1]
        detector = drift.ADWIN() if self.name == "ADWIN" else drift.KSWIN(seed=0)
        lowest, highest = (np.quantile(live.loss, end) for end in (0.01, 0.99)) if len(live.loss) else (0.0, 1.0)
        scaled = np.clip((live.loss - lowest) / max(highest - lowest, 1e-12), 0.0, 1.0)
        signalled = False
        for one in scaled:
            detector.update(float(one))
            signalled = signalled or detector.drift_detected
        return Decision(signalled, (recorded(f"{self.name} {'has' if signalled else 'has not'} signalled."),))


@dataclass(frozen=True)
class Cara:
    """Train again when the losses above that of the first window since the training add up to the price."""

    price: float

    def __str__(self) -> str:
        return f"CARA {self.price:.6g}"

    def decide(self, situation: Situation) -> Decision:
        """Add up what rows since the training lost beyond those of the first tenth of as many as were learned from."""
        if situation.trained is None or situation.evidence is None:
            return first(situation)
        live = situation.evidence.losses()[-1]
        size = max(live.learned // 20, 20)
        means = loss_blocks(live, size, situation.trained, situation.stamped)
        stale = float(np.sum(np.maximum(means - means[0], 0.0))) * size if len(means) else 0.0
        return Decision(stale > self.price, (recorded(f"Staleness {stale:.4g} of {self.price:.4g}."),))


def run(name: str, most: int, windows: int, folder: Path, areas: bool) -> None:
    """Replay policies over a set, and keep what came of it."""
    table, recipe, arrivals = opened(name, most)
    level = level_of_window(table, recipe, windows)
    # The tables of both modes are the same, so that their models are found in one cache.
    cache = str(folder / f"cache {name}")
    plan = bl.BacktestPlan(windows=windows, start=START, arrivals=arrivals, holdout=HOLDOUT, cache=cache)
    if areas:
        priced = [made(price * level) for price in PRICES for made in (bl.Forecast, Cara)]
        policies: list[Policy] = [bl.Never(), bl.Decay(), bl.Drift(), *priced]
        try:
            import river  # noqa: F401 - whether it is there

            policies += [Watching("ADWIN"), Watching("KSWIN")]
        except ImportError:
            print("river is not installed: no ADWIN and KSWIN")
    else:
        history = read_history(table, arrivals, windows, START)
        policies = [*default_policies(history, None), bl.Forecast(0.003 * level), bl.Forecast(0.03 * level)]
    found = bl.backtest(table, policies, recipe, plan, threads=1)
    said = {**found.to_json(), "level": level, "rows": len(found.history.seen), "judged": int(found.judged.sum())}
    kept = found.history.windows - round(HOLDOUT * found.history.windows)
    later = found.judged & (found.window >= kept)
    weight, blocks = found.history.weight[later], resampling(int(later.sum()), 0, clusters=found.window[later])
    said["later"] = {
        one.run.name: {"loss": float(np.average(one.run.losses[later], weights=weight))} for one in found.policies
    }
    said["later_rows"] = int(later.sum())
    never = found.outcome("never").run.losses[later]
    for one in found.policies:
        said["later"][one.run.name] |= paired_difference(one.run.losses[later], never, weight, blocks).to_json()
    kind = "areas" if areas else "run"
    (folder / f"{kind} {name}.json").write_text(json.dumps(said, indent=1))
    print(
        f"{name}: {found.recommendation.policy}; {found.seconds:.0f} s, scratch {found.scratch_seconds:.0f} s",
        flush=True,
    )


def noaa(folder: Path) -> None:
    """Keep accuracy and retrains of calendars and detectors on noaa_weather, by two models."""
    table, recipe, _ = opened("noaa_weather")
    windows, start = 51, 0.02
    rows = len(read_history(table, Arrivals(), windows, start).seen)
    arrivals = Arrivals(wait=float(int((1.0 - start) * rows / windows)))
    length = float(np.median(np.diff(read_history(table, arrivals, windows, start).edges)))
    chosen = bl.Action(structure="choose")
    calendars = [bl.Every(float(f"{k * length * 0.999:.5g}")) for k in (1, 2, 4, 8, 16)]
    watches = [bl.Decay(), bl.Drift(), bl.Drift("ks"), bl.WhenGainExceeds(3.0), Watching("ADWIN"), Watching("KSWIN")]
    for name, model in (("default", recipe), ("linear", bl.Recipe(loss="logistic", alpha=1e-4))):
        cache = str(folder / f"cache noaa {name}")
        plan = bl.BacktestPlan(windows=windows, start=start, arrivals=arrivals, cache=cache)
        # What few rows chose is not kept.
        policies = [bl.Never(), *(bl.With(one, chosen) for one in (*calendars, *watches))]
        found = bl.backtest(table, policies, model, plan, threads=1)
        (folder / f"noaa {name}.json").write_text(json.dumps(found.to_json(), indent=1))
        for one in found.policies:
            print(f"{name}: {one.run.name}: accuracy {1.0 - one.error:.4f}, {one.retrains} retrains", flush=True)


def accuracies(folder: Path) -> list[str]:
    """Return accuracy and retrains of each policy on noaa_weather, by both models."""
    models = {path.stem.removeprefix("noaa "): json.loads(path.read_text()) for path in folder.glob("noaa *.json")}
    if not models:
        return []
    by = {name: {one["name"]: one for one in said["policies"]} for name, said in sorted(models.items())}
    lines = [
        "| policy | " + " | ".join(f"{name}: accuracy (retrains)" for name in by) + " |",
        "|" + "---|" * (len(by) + 1),
    ]
    for policy in next(iter(by.values())):
        cells = [f"{1.0 - each[policy]['error']:.3f} ({each[policy]['retrains']})" for each in by.values()]
        lines.append(f"| `{policy.removesuffix(' with structure=choose')}` | " + " | ".join(cells) + " |")
    return lines


def read(folder: Path, kind: str) -> dict[str, dict[str, Any]]:
    """Return what was kept of the sets, by name."""
    found = {path.stem.removeprefix(f"{kind} "): path for path in sorted(folder.glob(f"{kind} *.json"))}
    order = [*REAL, *SIMULATED]
    return {name: json.loads(found[name].read_text()) for name in order if name in found}


def difference(said: dict[str, Any]) -> str:
    if said["low"] is None:
        return f"{said['value']:+.4g}"
    return f"{said['value']:+.4g} ({said['low']:+.3g} to {said['high']:+.3g})"


def recommendations(sets: dict[str, dict[str, Any]]) -> list[str]:
    """Say how the choice by the first windows did on the rest, and whether it counts."""
    lines = [
        "| set | rows, windows | recommended | over never, later | over every window, later | counts | seconds beside "
        "scratch |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in sets.items():
        later, policy = one["recommendation"]["later"], one["recommendation"]["policy"]
        never, every = later["never"], later["every window"]
        apart = abs(every["value"] - never["value"])
        wide = max((each["high"] - each["low"]) if each["low"] is not None else 0.0 for each in (never, every))
        took, scratch = one["seconds"], max(one["scratch_seconds"], 1e-9)
        cells = [f"{one['rows']:,}, {len(one['windows'])}", f"`{policy}`", difference(never), difference(every)]
        cells += ["yes" if wide < apart else "no", f"{took:.0f} / {scratch:.0f} = {took / scratch:.1f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def policies_by_set(sets: dict[str, dict[str, Any]]) -> list[str]:
    """Return loss and retrains of each kind of policy, over all windows after the first training."""
    lines = ["| set | never | every window | best of the others | oracle (retrains) |", "|---|---|---|---|---|"]
    for name, one in sets.items():
        by = {each["name"]: each for each in one["policies"]}
        others = [each for each in one["policies"] if each["name"] != "never"]
        best = min(others, key=lambda each: each["loss"])
        every, oracle = one["baselines"]["every window"], one["oracle"]
        lines.append(
            f"| {name} | {by['never']['loss']:.4g} | {every['value']:.4g} | {best['loss']:.4g} `{best['name']}` "
            f"({best['retrains']}) | {oracle['loss']:.4g} ({oracle['retrains']}) |"
        )
    return lines


def area(costs: Sequence[float]) -> float:
    """Return the mean of costs over the logarithm of the price."""
    return float(np.trapezoid(costs, np.log(PRICES)) / (np.log(PRICES[-1]) - np.log(PRICES[0])))


def areas(sets: dict[str, dict[str, Any]]) -> list[str]:
    """Return the area under loss + price x retrains over prices, a row and of what a constant would lose."""
    names = ("oracle", "forecast", "CARA", "ADWIN", "KSWIN", "decay 0.05", "drift psi 0.05", "never", "every window")
    lines = ["| set | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
    for name, one in sets.items():
        level, rows = one["level"], one["judged"]
        by = {each["name"]: (each["loss"], each["retrains"]) for each in one["policies"]}
        by["every window"] = (one["baselines"]["every window"]["value"], one["baselines"]["every window"]["retrains"])
        frontier = [(each["loss"], each["retrains"]) for each in one["oracle"]["frontier"]]
        cells = []
        for kind in names:
            costs = []
            for price in PRICES:
                dear = price * level / rows
                own = {"forecast": str(bl.Forecast(price * level)), "CARA": str(Cara(price * level))}.get(kind, kind)
                if kind != "oracle" and own not in by:
                    break
                pairs = frontier if kind == "oracle" else [by[own]]
                costs.append(min(loss + dear * retrains for loss, retrains in pairs))
            cells.append(f"{area(costs):.4g}" if len(costs) == len(PRICES) else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def write(folder: Path) -> None:
    """Put the tables into the page."""
    page = PAGE.read_text(encoding="utf-8")
    runs = read(folder, "run")
    made = {
        "recommendations": recommendations(runs),
        "losses": policies_by_set(runs),
        "areas": areas(read(folder, "areas")),
        "noaa": accuracies(folder),
    }
    for name, lines in made.items():
        if len(lines) <= 2:  # none of its files is there: the table stays
            continue
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, rest = page.split(begin)
        page = before + begin + "\n".join(lines) + "\n" + end + rest.split(end)[1]
    PAGE.write_text(page, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mode", choices=("run", "areas", "noaa", "write"))
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--windows", type=int, default=40)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path(tempfile.gettempdir()) / "batchlearn-backtests")
    arguments = parser.parse_args()
    arguments.results.mkdir(parents=True, exist_ok=True)
    if arguments.mode in ("noaa", "write"):
        noaa(arguments.results) if arguments.mode == "noaa" else write(arguments.results)
        return 0
    chosen = arguments.sets or [*SIMULATED, *(REAL if FOLDER.exists() else ())]
    unknown = [name for name in chosen if name not in (*SIMULATED, *REAL)]
    if unknown:
        parser.error(f"there is no set {unknown[0]}; use some of {', '.join((*SIMULATED, *REAL))}")
    given = arguments.rows, arguments.windows, arguments.results, arguments.mode == "areas"
    chosen.sort(key=lambda name: SLOWEST.index(name) if name in SLOWEST else len(SLOWEST))
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
        for done in [pool.submit(run, name, *given) for name in chosen]:
            done.result()
    return 0


if __name__ == "__main__":
    sys.exit(main())
