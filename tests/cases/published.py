"""Tables as people publish them, each in the shape of one that everybody knows, with values of a seeded generator."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow as pa

ROWS = 500


def _lines(columns: dict[str, list[str]], delimiter: str = ",") -> str:
    rows = zip(*columns.values(), strict=True)
    return "".join(delimiter.join(row) + "\n" for row in [tuple(columns), *rows])


def _chance(log_odds: np.ndarray[Any, Any], generator: np.random.Generator) -> np.ndarray[Any, Any]:
    return np.asarray(generator.random(len(log_odds)) < 1.0 / (1.0 + np.exp(-log_odds)))


def _comma(number: float, digits: int) -> str:
    return f"{number:.{digits}f}".replace(".", ",")


def write_passengers(path: Path) -> None:
    """Write a table of Titanic's shape: names as free text, tickets of mixed codes, missing ages and cabins."""
    generator = np.random.default_rng(1)
    female, third = generator.random(ROWS) < 0.35, generator.integers(1, 4, ROWS)
    lived = _chance(2.5 * female - 0.9 * third + 0.4, generator)
    fare = (90.0 / third * generator.uniform(0.5, 1.5, ROWS)).round(4)
    surnames = generator.choice(["Braund", "O'Dwyer", "Van Impe", "Sandström", "Peters"], ROWS)
    lists = {
        "PassengerId": [str(number) for number in range(1, ROWS + 1)],
        "Survived": [str(int(value)) for value in lived],
        "Pclass": [str(value) for value in third],
        "Name": [
            f'"{surname}, {"Mrs" if woman else "Mr"}. Owen {number} of Harris (née {surname[::-1]})"'
            for number, (surname, woman) in enumerate(zip(surnames, female, strict=True))
        ],
        "Sex": ["female" if value else "male" for value in female],
        "Age": ["" if number % 5 == 0 else str(value) for number, value in enumerate(generator.integers(1, 80, ROWS))],
        "SibSp": [str(value) for value in generator.integers(0, 5, ROWS)],
        "Ticket": [str(100000 + 7 * number) if number % 3 else f"A/5 {2000 + number}" for number in range(ROWS)],
        "Fare": [str(value) for value in fare],
        "Cabin": ["" if number % 4 else f"C{number % 100}" for number in range(ROWS)],
        "Embarked": [str(value) for value in generator.choice(["S", "C", "Q"], ROWS)],
    }
    path.write_text(_lines(lists), encoding="utf-8")


def write_churn(path: Path) -> None:
    """Write a telecom's customers: an identifier, totals that are a blank for those who just came, Yes and No."""
    generator = np.random.default_rng(2)
    tenure, monthly = generator.integers(0, 73, ROWS), generator.uniform(18.0, 120.0, ROWS).round(2)
    left = _chance(0.02 * monthly - 0.08 * tenure, generator)
    lists = {
        "customerID": [f"{7000 + number}-{'VHVEG'[number % 5]}{'QWERT'[number // 5 % 5]}" for number in range(ROWS)],
        "SeniorCitizen": [str(value) for value in generator.integers(0, 2, ROWS)],
        "tenure": [str(value) for value in tenure],
        "Contract": [str(value) for value in generator.choice(["Month-to-month", "One year", "Two year"], ROWS)],
        "MonthlyCharges": [str(value) for value in monthly],
        "TotalCharges": [
            str(round(months * price, 2)) if months else " " for months, price in zip(tenure, monthly, strict=True)
        ],
        "Churn": ["Yes" if value else "No" for value in left],
    }
    path.write_text(_lines(lists), encoding="utf-8")


def write_air_quality(path: Path) -> None:
    """Write an export of air quality: semicolons, decimal commas, clocks with points, `;;` behind, -200 for none."""
    generator = np.random.default_rng(3)
    hour = np.arange(24 * 40)
    warm = 12.0 + 6.0 * np.sin(2.0 * np.pi * (hour % 24 - 9) / 24.0) + generator.normal(size=len(hour))
    humid = 80.0 - 2.0 * warm + generator.normal(size=len(hour))
    lines = ["Date;Time;CO(GT);T;RH;;\n"]
    for number, day in zip(hour, np.datetime64("2004-03-10") + hour // 24, strict=True):
        year, month, of_month = str(day).split("-")
        gas = "-200" if number % 16 == 0 else _comma(2.0 + 0.05 * (number % 24), 1)
        values = (f"{of_month}/{month}/{year}", f"{number % 24:02d}.00.00", gas)
        lines.append(";".join([*values, _comma(warm[number], 1), _comma(humid[number], 1)]) + ";;\n")
    path.write_text("".join([*lines, *[";;;;;;\n"] * 20]), encoding="utf-8")


def write_towns(path: Path) -> None:
    """Write a file of a program that knows Latin-1 alone."""
    generator = np.random.default_rng(4)
    towns, area = (
        generator.choice(["Köln", "Orléans", "Málaga", "Århus"], ROWS),
        generator.gamma(2.0, 40.0, ROWS).round(1),
    )
    rent = 5.0 * area + 100.0 * (towns == "Köln") + generator.normal(size=ROWS)
    lists = {"town": towns.tolist(), "area": area.astype(str).tolist(), "rent": rent.round(2).astype(str).tolist()}
    path.write_bytes(_lines(lists).encode("latin-1"))


def write_frame(path: Path) -> None:
    """Write what pandas writes with its defaults: an index without a name, texts in quotes where they need it."""
    generator = np.random.default_rng(5)
    size, when = generator.normal(size=ROWS), np.datetime64("2024-01-01", "ms") + 3_600_000 * np.arange(ROWS)
    place = generator.choice(["a, b", "c", "NA-7"], ROWS)
    table = pa.table({"when": when, "place": place.tolist(), "size": size, "paid": size > 0.2, "y": 2.0 * size})
    table.to_pandas().sample(frac=0.9, random_state=0).to_csv(path)


def write_workbook(path: Path) -> None:
    """Write a workbook of one sheet with texts, days and numbers."""
    generator = np.random.default_rng(6)
    area = generator.gamma(2.0, 40.0, ROWS).round(1)
    rent = (5.0 * area + generator.normal(size=ROWS)).round(2)
    book = openpyxl.Workbook()
    book.active.append(["district", "let on", "area", "rent"])
    for number in range(ROWS):
        day = datetime.datetime(2024, 1, 1) + datetime.timedelta(days=number)
        book.active.append([["Nord", "Süd & West"][number % 2], day, float(area[number]), float(rent[number])])
    book.save(path)
