"""Ten years of a weather-like source that nobody looks after: 40 turns from cron, the machine dying in 20 of them.

    python -m benchmarks.ten_years [--quarters 40] [--kills 20] [--seed 0] [--folder FOLDER]

Stations come and go, files land late, days are missing, the climate and the instruments drift
(`tests/retraining/shell/stations.py`). Each quarter cron calls `batchlearn retrain` and `batchlearn registry prune`, as
docs/retraining.md shows it; in so many of the quarters all its processes get SIGKILL at a random moment, and the next
night's call goes on. Prints each call and what a person would have had to see to: exit code 1 where there is anything,
a version too few or too many, a finding of `registry check`, or a champion that is farther from training on all its
rows than the certificates say. Takes about twenty minutes on two cores.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import sys
import tempfile
from pathlib import Path

from tests.retraining.shell.stations import World
from tests.retraining.shell.years import Call, Unattended

from batchlearn.formatting.numbers import size


def line(call: Call) -> str:
    said = call.said
    if call.code is None:
        return f"{call.night}  killed after {call.seconds:.1f} s"
    gate = (said.get("gate") or {}).get("verdict")
    rows = said.get("rows") or {}
    told = [f"{call.night}  {call.code:>2}  {call.seconds:5.1f} s  {said.get('decision')}"]
    told += [f"version {said.get('version')} by {said.get('start')}: {gate}"] if said.get("version") else []
    told += [", ".join(f"{number:,} {name}" for name, number in rows.items() if isinstance(number, int) and number)]
    return "  ".join(told + [f"alarm: {alarm[:90]}" for alarm in said.get("alarms", ())])


def after_kills(calls: list[Call]) -> str:
    """Say what the calls after killed ones found to do."""
    found = collections.Counter[str]()
    for killed, following in itertools.pairwise(calls):
        if killed.code is None:
            codes = {note["code"] for note in following.said.get("noted", ())}
            if "earlier_run_ended" in codes:
                found["finished the version that was there"] += 1
            elif following.said.get("decision") == "keep":
                found["found nothing left to do"] += 1
            else:
                found["trained again"] += 1
    return ", ".join(f"{number} {what}" for what, number in found.items())


def below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quarters", type=int, default=40)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the project stays; a temporary folder unless given")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        project = Unattended(folder / "project", World(given.seed, given.quarters))
        project.begin()
        calls = []
        for call in project.live_through(given.kills):
            calls.append(call)
            print(line(call), flush=True)
        faults = project.faults(calls, given.kills, folder / "exact")
        apart, bound = project.distance_from_exact(folder / "again")
        kept = project.kept()
        print(
            f"\n{len(calls)} calls, {sum(one.code is None for one in calls)} of them killed; exit codes "
            f"{dict(sorted(collections.Counter(one.code for one in calls if one.code is not None).items()))}; starts "
            f"{dict(collections.Counter(one.said.get('start') for one in calls if one.said.get('version')))}"
        )
        print(f"after the kills: {after_kills(calls)}")
        print(f"{sum(bool(one.said.get('alarms')) for one in calls)} turns with an alarm")
        print(f"probabilities are {apart:.1e} from those of training on all rows; the certificates allow {bound:.1e}")
        pruned = sum(file["bytes"] for one in project.run("history")["pruned"] for file in one["files"])
        versions, totals = below(project.root / "versions"), sum(kept.values())
        print(f"versions {size(versions)}, of which {size(totals)} totals of versions {', '.join(map(str, kept))}")
        print(f"{size(pruned)} were pruned")
        print("\n".join(faults) if faults else "nothing for a person to see to")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
