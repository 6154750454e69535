"""A weather-like source: stations that come and go, seasons, drift, missing days, and files that land late."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BEGIN = datetime.date(2010, 1, 1)
LATE, MISSING = 0.04, 0.05  # shares of the months of a station that land late, and of its days that are missing
READINGS = 2  # a day
ARRIVALS = 0.3  # share of the quarters in which a station begins


class Station(NamedTuple):
    """A place with a climate of its own, measured in some quarters: from `first` on and before `last`."""

    name: str
    first: int
    last: int
    level: float
    swing: float


class Landing(NamedTuple):
    """A file and the quarter at whose end it is there."""

    name: str
    quarter: int
    station: Station | None  # None: all stations that are not late
    month: int


@dataclass(frozen=True)
class World:
    """What the sky does, and who looks at it. The same seed gives the same rows and files, however many quarters."""

    seed: int
    quarters: int
    stations: int = 12  # at a time, about

    @cached_property
    def places(self) -> list[Station]:
        """Return the stations: each leaves one day, and in about every third quarter another one begins."""
        rng = np.random.default_rng([self.seed, 1])
        found: list[Station] = []
        for quarter in range(self.quarters):
            beginning = self.stations if quarter == 0 else int(rng.random() < ARRIVALS)
            for _ in range(beginning):
                last = quarter + 2 + int(rng.geometric(1 / 24))
                found.append(Station(f"S{len(found):03d}", quarter, last, rng.normal(0.0, 0.6), rng.normal(0.8, 0.3)))
        return found

    @cached_property
    def landings(self) -> list[Landing]:
        """Return the files: one a month, and one for each month of a station that is late by one or two quarters."""
        rng, found = np.random.default_rng([self.seed, 2]), list[Landing]()
        for month in range(3 * self.quarters):
            found.append(Landing(_name(month), month // 3, None, month))
            for place in self.places:
                late, by = rng.random() < LATE, int(rng.integers(1, 3))
                if place.first <= month // 3 < place.last and late:
                    found.append(Landing(f"late-{_name(month)}-{place.name}", month // 3 + by, place, month))
        return found

    def land(self, quarter: int, folder: Path) -> list[str]:
        """Write the files that land by the end of a quarter; return their names."""
        names = []
        for landing in self.landings:
            if landing.quarter != quarter:
                continue
            late = {one.station for one in self.landings if one.month == landing.month and one.station is not None}
            here = [landing.station] if landing.station else [one for one in self.places if one not in late]
            parts = [self.readings(one, landing.month) for one in here if one.first <= landing.month // 3 < one.last]
            pq.write_table(pa.concat_tables(parts).sort_by("time"), folder / f"{landing.name}.parquet")
            names.append(landing.name)
        return names

    def readings(self, station: Station, month: int) -> pa.Table:
        """Return what a station measures in a month."""
        rng = np.random.default_rng([self.seed, 3, int(station.name[1:]), month])
        days = (_first_day(month + 1) - _first_day(month)).days
        measured = np.flatnonzero(rng.random(days) >= MISSING)
        day = np.repeat(measured, READINGS)
        second = rng.integers(0, 86_400, len(day))
        time = np.datetime64(_first_day(month), "us") + (86_400 * day + second).astype("timedelta64[s]")
        years = month / 12 + day / 365.25
        season = np.cos(2 * np.pi * years)
        # The air becomes warmer, instruments read higher from the sixth year on, pressure tells less and less of rain.
        temperature = 9.0 - 11.0 * season + 2.0 * station.level + 0.06 * years + rng.normal(0.0, 3.0, len(day))
        pressure = 1013.0 + rng.normal(0.0, 8.0, len(day)) + 1.5 * (years > 6)
        humidity = np.clip(70.0 + 12.0 * season + rng.normal(0.0, 12.0, len(day)), 5.0, 100.0)
        cloud = rng.choice(["clear", "some", "overcast"], len(day), p=[0.3, 0.4, 0.3])
        score = (
            station.level + station.swing * season - (0.12 - 0.006 * years) * (pressure - 1013.0)
            + 0.03 * (humidity - 70.0) + 0.7 * (cloud == "overcast") - 0.6
        )  # fmt: skip
        rain = score + rng.logistic(size=len(day)) > 0.0
        missing = rng.random(len(day)) < 0.02
        return pa.table(
            {
                "time": time,
                "station": [station.name] * len(day),
                "temperature": temperature,
                "pressure": pressure,
                "humidity": pa.array(humidity, mask=missing),
                "cloud": cloud.tolist(),
                "rain": rain,
            }
        )


def end_of(quarter: int) -> datetime.date:
    """Return the day after a quarter."""
    return _first_day(3 * quarter + 3)


def _first_day(month: int) -> datetime.date:
    return datetime.date(BEGIN.year + month // 12, 1 + month % 12, 1)


def _name(month: int) -> str:
    return f"{_first_day(month):%Y-%m}"
