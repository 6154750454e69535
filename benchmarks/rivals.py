"""Rivals on the same problems: seconds to a gap, memory, passes, and who says "converged" too soon.

    python benchmarks/rivals.py [--large] [--rounds 3] [--limit 60] [--only NAME] [--output rivals] [problem ...]

Each measurement is a process of its own at one thread. Minimisers are first run once at each tolerance of a ladder; the
true relative gap of each answer is measured afterwards, against one float64 optimum. The loosest tolerance that gets to
1e-3, 1e-6 and 1e-9 is then run in turns with the others', and the median of its seconds is shown. What learns rows as
they come is timed over one pass. Writes OUTPUT.json, OUTPUT.md and OUTPUT.svg; README.md beside this file says why this
is fair. Contenders whose package is not installed are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from subprocess import TimeoutExpired
from typing import Any

import numpy as np
from made_problems import MADE, load, objective, optimum, save
from optimum_rivals import OPTIMUM_RIVALS, installed, takers
from real_streams import REAL, make_real
from rivals_plot import svg
from runner import ProcessFailed, in_turns, run_apart
from stream_rivals import STREAM_RIVALS, best_setting

FORMAT_VERSION = 1
GAPS = (1e-3, 1e-6, 1e-9)
LADDER = tuple(10.0**-power for power in range(2, 13))
FALSE_ABOVE = 1e-3
# Rows that are fitted before the clock runs: modules that load on first use are no part of a fit.
_WARMING = 1_000

Run = dict[str, Any]


def measure(folder: Path, kind: str, loss: str, name: str, setting: str) -> Run:
    """Run one contender on the rows of a folder, in this process; what is measured is from its call to its return."""
    data = load(folder)
    if kind == "optimum":
        fit = partial(OPTIMUM_RIVALS[name].fit, loss=loss)
        fit(data.first(_WARMING), tolerance=1e-2)
        run, answer = _measured(lambda: fit(data, tolerance=float(setting)))
        value = objective(data, loss, answer.coefficients, answer.intercept)
        run |= {"claims": answer.claims, "passes": answer.passes}
        return run | {"objective": value if np.isfinite(value) else None}
    stream = STREAM_RIVALS[name]
    data = data if stream.rows is None else data.first(stream.rows)
    if setting == "choose":
        chosen = best_setting(stream, data)
        return {"setting": chosen, "quality": stream.quality(data, chosen), "rows": len(data.label)}
    stream.learn(data.first(_WARMING), json.loads(setting))
    return _measured(lambda: stream.learn(data, json.loads(setting)))[0]


def _measured(call: Callable[[], Any]) -> tuple[Run, Any]:
    """Return seconds and megabytes of a call, and what it returned."""
    # The largest memory so far is forgotten: what counts is what the call adds to the rows.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _peak()
    began, work = time.perf_counter(), time.process_time()
    found = call()
    seconds, work = time.perf_counter() - began, time.process_time() - work
    return {"seconds": seconds, "cpu_seconds": work, "megabytes": _peak() - before}, found


def _peak() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return float(status.split("VmHWM:")[1].split()[0]) / 1024.0


def apart(folder: Path, kind: str, loss: str, name: str, setting: str, limit: float | None) -> Run:
    """Measure in a process of its own; a run that fails or takes too long says so."""
    command = [sys.executable, Path(__file__).resolve(), "--measure", folder, kind, loss, name, setting]
    try:
        return dict(json.loads(run_apart(command, folder, limit).splitlines()[-1]))
    except TimeoutExpired:
        return {"failed": "out of time"}
    except ProcessFailed as error:
        return {"failed": str(error).strip().splitlines()[-1]}


def climbed(folder: Path, loss: str, name: str, best: float, limit: float) -> list[Run]:
    """Run one contender at ever smaller tolerances, until the least gap is reached or it fails."""
    runs: list[Run] = []
    for tolerance in LADDER:
        run = apart(folder, "optimum", loss, name, repr(tolerance), limit)
        run["tolerance"] = tolerance
        if run.get("objective") is not None:
            run["gap"] = max(run["objective"] - best, 0.0) / best
        runs.append(run)
        # One gap at several tolerances is no end: a bound that was met long before ends a fit at the same point.
        if "failed" in run or run.get("gap", np.inf) <= min(GAPS):
            break
    return runs


def loosest(runs: list[Run], gap: float) -> Run | None:
    """Return the run at the loosest tolerance whose true gap is small enough."""
    return next((run for run in runs if run.get("gap", np.inf) <= gap), None)


def false_claims(runs: list[Run]) -> int:
    """Count the answers that were called converged and are not."""
    return sum(
        run.get("claims") is True and run.get("gap", np.inf) > FALSE_ABOVE for run in runs if "failed" not in run
    )


def minimised(folder: Path, loss: str, only: tuple[str, ...], rounds: int, limit: float) -> dict[str, Any]:
    """Return what each minimiser reached, and the seconds of the tolerances that mattered, measured in turns."""
    data = load(folder)
    best, names = optimum(data, loss), [name for name in takers(loss, data) if name.startswith(only)]
    del data
    found: dict[str, Any] = {}
    for name in names:
        runs = climbed(folder, loss, name, best, limit)
        found[name] = {"runs": runs, "false_claims": false_claims(runs)}
        gaps = ", ".join(f"{run.get('gap', np.nan):.0e}" for run in runs)
        print(f"  {name}: gaps {gaps}", flush=True)
    reached = [(name, loosest(found[name]["runs"], gap)) for name in names for gap in GAPS]
    needed = list(dict.fromkeys((name, run["tolerance"]) for name, run in reached if run))
    again = in_turns(needed, rounds, lambda one: apart(folder, "optimum", loss, one[0], repr(one[1]), None))
    timed = dict(zip(needed, again, strict=True))
    for name in names:
        found[name]["reached"] = {}
        for gap in GAPS:
            run = loosest(found[name]["runs"], gap)
            if run is not None:
                seconds = [one["seconds"] for one in timed[name, run["tolerance"]]]
                megabytes = max(one["megabytes"] for one in timed[name, run["tolerance"]])
                one = {"tolerance": run["tolerance"], "gap": run["gap"], "seconds": median(seconds), "all": seconds}
                found[name]["reached"][f"{gap:.0e}"] = one | {"megabytes": megabytes, "passes": run["passes"]}
    return {"optimum": best, "contenders": found}


def streamed(folder: Path, kind: str, only: tuple[str, ...], rounds: int) -> dict[str, Any]:
    """Return how well and how fast each contender learns rows once through."""
    data = load(folder)
    best = optimum(data, "squared") if kind == "batches" else None
    rivals = {name: rival for name, rival in STREAM_RIVALS.items() if kind in rival.kinds and name.startswith(only)}
    names = [name for name, rival in rivals.items() if installed(rival.module)]
    found = {name: apart(folder, kind, "", name, "choose", None) for name in names}
    names = [name for name in names if "failed" not in found[name]]
    settings = [json.dumps(found[name]["setting"]) for name in names]
    pairs = list(zip(names, settings, strict=True))
    timed = in_turns(pairs, rounds, lambda pair: apart(folder, kind, "", *pair, None))
    for name, runs in zip(names, timed, strict=True):
        seconds = [run["seconds"] for run in runs]
        found[name] |= {"seconds": median(seconds), "all": seconds, "megabytes": max(run["megabytes"] for run in runs)}
        found[name]["rows_per_second"] = found[name]["rows"] / median(seconds)
        if best is not None:
            found[name]["quality"] = (found[name]["quality"] - best) / best
    return {"optimum": best, "contenders": found}


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = []
    for name, problem in results["problems"].items():
        lines += [f"### {name}: {problem['loss']}, {problem['rows']:,} rows x {problem['columns']:,} columns", ""]
        if problem["kind"] == "optimum":
            lines.append("| | s to 1e-3 | 1e-6 | 1e-9 | MB | passes | false claims |")
            lines.append("|---|---:|---:|---:|---:|---:|---:|")
            for contender, found in problem["contenders"].items():
                reached = [found["reached"].get(f"{gap:.0e}") for gap in GAPS]
                cells = ["-" if one is None else f"{one['seconds']:.2f}" for one in reached]
                last = next((one for one in reversed(reached) if one), None)
                cells += ["-", "-"] if last is None else [f"{last['megabytes']:.0f}", _number(last["passes"])]
                lines.append(f"| {contender} | {' | '.join(cells)} | {found['false_claims']} |")
        else:
            quality = "progressive loss" if problem["kind"] == "stream" else "relative gap after"
            lines += [f"| | rows/s | {quality} | MB | setting |", "|---|---:|---:|---:|---|"]
            for contender, found in problem["contenders"].items():
                if "failed" in found:
                    lines.append(f"| {contender} | {found['failed']} | | | |")
                    continue
                setting = " ".join(f"{key}={value}" for key, value in found["setting"].items())
                cells = f"{found['rows_per_second']:,.0f} | {found['quality']:.4g} | {found['megabytes']:.0f}"
                lines.append(f"| {contender} | {cells} | {setting} |")
        lines.append("")
    return "\n".join(lines)


def _number(passes: float | None) -> str:
    return "" if passes is None else f"{passes:.0f}"


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        folder, *rest = sys.argv[2:]
        print(json.dumps(measure(Path(folder), *rest)))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", metavar="problem", default=list(MADE))
    parser.add_argument("--large", action="store_true", help="rows and columns as in the large tables")
    parser.add_argument("--shape", type=int, nargs=2, metavar=("ROWS", "COLUMNS"), help="of every generated problem")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds that one run on the ladder may take")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[""], help="contenders whose names begin so")
    parser.add_argument("--output", type=Path, default=Path("rivals"))
    asked = parser.parse_args()
    unknown = [name for name in asked.problems if name not in {*MADE, *REAL}]
    if unknown:
        parser.error(f"no such problem: {unknown[0]}; there are {', '.join([*MADE, *REAL])}")
    results: dict[str, Any] = {"format_version": FORMAT_VERSION, "processors": os.cpu_count(), "problems": {}}
    for name in asked.problems:
        kind, loss = ("stream", "logistic") if name in REAL else (MADE[name].kind, MADE[name].loss)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "rows"
            if name in REAL:
                data = make_real(name)
            else:
                shape = asked.shape or (MADE[name].large if asked.large else MADE[name].small)
                data = MADE[name].make(*shape, np.random.default_rng(0))
            save(data, folder)
            rows, columns = len(data.label), data.columns
            del data
            print(f"{name}: {rows:,} rows x {columns:,} columns", flush=True)
            if kind == "optimum":
                found = minimised(folder, loss, tuple(asked.only), asked.rounds, asked.limit)
            else:
                found = streamed(folder, kind, tuple(asked.only), asked.rounds)
        results["problems"][name] = {"kind": kind, "loss": loss, "rows": rows, "columns": columns, **found}
        asked.output.with_suffix(".json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    asked.output.with_suffix(".md").write_text(table(results), encoding="utf-8")
    asked.output.with_suffix(".svg").write_text(svg(results), encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
