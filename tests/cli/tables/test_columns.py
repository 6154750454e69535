"""How columns are read: said once when a model is trained, kept in it, and used by every command on it."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from tests.cli.made import Run, one_object

ROWS = 300
WEEKDAYS = "%d/%m/%Y"


def orders(rows: int = ROWS, seed: int = 5) -> dict[str, list[str]]:
    """Return texts as people export them: an amount that follows from dates, codes, money and a number with gaps."""
    rng = np.random.default_rng(seed)
    day = np.datetime64("2024-01-01") + rng.integers(0, 200, rows)
    weekday = (day.astype("datetime64[D]").astype(int) - 4) % 7
    zipped, price, gap = rng.integers(0, 12, rows), rng.uniform(1.0, 2000.0, rows), rng.normal(size=rows)
    amount = weekday + 0.5 * zipped + price / 500.0 + gap + 0.1 * rng.normal(size=rows)
    when = [str(one) for one in day]
    return {
        "when": [f"{text[8:]}/{text[5:7]}/{text[:4]}" for text in when],
        "zip": [f"{501 + code:05d}" for code in zipped],
        "price": [f"${value:,.2f}" for value in price],
        "gap": ["n/a" if number % 10 == 0 else f"{value:.3f}" for number, value in enumerate(gap)],
        "same": ["x"] * rows,
        "note": [f"customer {number} asked about a late parcel twice on the phone" for number in range(rows)],
        "amount": [f"{value:.4f}" for value in amount],
    }


def write(path: str, columns: dict[str, list[str]], delimiter: str = ",") -> None:
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


@pytest.fixture
def trained(run: Run) -> dict[str, object]:
    write("orders.csv", orders())
    code, out, err = run("train", "orders.csv", "--target", "amount", "--output", "m", "--json")
    assert code == 0, err
    return one_object(out)


def predicted(run: Run, source: str, *more: str) -> list[float]:
    code, _, err = run("predict", "m", source, "-o", "out.csv", "--force", *more)
    assert code == 0, err
    found: list[float] = pacsv.read_csv("out.csv")["prediction"].to_pylist()
    return found


def test_what_became_of_every_column_is_said_in_order(trained: dict[str, object]) -> None:
    columns = trained["columns"]
    assert isinstance(columns, list)
    assert [(one["name"], one["read_as"], one["used"], one["change"]) for one in columns] == [
        ("when", "timestamp", True, "--categories when"),
        ("zip", "category", True, None),
        ("price", "number", True, "--categories price"),
        ("gap", "number", True, "--categories gap"),
        ("same", "category", False, None),
        ("note", "category", False, "--text note"),
        ("amount", "number", True, None),
    ]
    reasons = {one["name"]: one["reason"] for one in columns}
    assert reasons["gap"] == "'gap' is read as a number; missing in 30 rows, written as 'n/a' (30)."
    assert reasons["same"] == "'same' was left out: it is constant."
    assert reasons["note"] == "'note' was left out: it is free text."
    assert reasons["amount"] is None
    assert trained["lines_passed_over"] == {}


@pytest.mark.usefixtures("trained")
def test_a_model_reads_every_later_table_as_it_was_trained(run: Run) -> None:
    before = predicted(run, "orders.csv")
    code, out, _ = run("verify", "m", "orders.csv", "--json")
    assert code == 0
    assert one_object(out)["holds"]
    # Of few rows nobody could tell that days come first, that 501 has zeros before it, or what $ is.
    few = {name: values[1:3] for name, values in orders().items()}
    write("few.csv", few)
    assert predicted(run, "few.csv") == before[1:3]
    # Another order, a delimiter of its own, a column that the model does not know, and one it does not use gone.
    other = {"extra": ["#", "?"], **{name: few[name] for name in ("price", "gap", "zip", "when")}}
    write("other.csv", other, ";")
    assert predicted(run, "other.csv") == before[1:3]
    # The same values with types.
    days = [np.datetime64(f"{text[6:]}-{text[3:5]}-{text[:2]}", "us") for text in few["when"]]
    typed = {"when": days, "zip": few["zip"], "price": [float(text[1:].replace(",", "")) for text in few["price"]]}
    pq.write_table(pa.table({**typed, "gap": list(map(float, few["gap"])), "lists": [[1], [2]]}), "typed.parquet")
    assert predicted(run, "typed.parquet") == before[1:3]


@pytest.mark.usefixtures("trained")
def test_a_column_that_had_gaps_may_be_absent_and_others_may_not(run: Run) -> None:
    columns = {name: values[:10] for name, values in orders().items()}
    gaps = predicted(run, "orders.csv")[0]
    write("absent.csv", {name: values for name, values in columns.items() if name != "gap"})
    code, out, err = run("predict", "m", "absent.csv", "-o", "out.csv", "--force", "--json")
    assert code == 0
    assert "warning: 'gap' is not in the table: it counts as missing in every row" in err
    found = {one["name"]: one for one in one_object(out)["columns"]}
    assert (found["gap"]["used"], found["gap"]["read_as"]) == (True, "number")
    assert found["note"]["used"] is False
    assert pacsv.read_csv("out.csv")["prediction"][0].as_py() == gaps
    assert run("predict", "m", "absent.csv", "-o", "out2.csv", "--strict")[0] == 3
    code, _, err = run("evaluate", "m", "absent.csv")
    assert code == 0, err
    write("absent.csv", {name: values for name, values in columns.items() if name != "price"})
    code, _, err = run("predict", "m", "absent.csv", "-o", "out2.csv")
    assert code == 3
    assert "has no column 'price', which the model reads; in training it was never missing." in err


@pytest.mark.usefixtures("trained")
def test_values_that_are_no_numbers_are_missing_and_counted(run: Run) -> None:
    columns = {name: values[:4] for name, values in orders().items()}
    write("odd.csv", {**columns, "gap": ["n/a", "1O0", ">3", columns["gap"][3]]})
    code, out, err = run("predict", "m", "odd.csv", "-o", "out.csv", "--json")
    assert code == 0
    assert "warning: 'gap' has values in 2 rows that cannot be read as a number: they count as missing." in err
    assert {one["name"]: one["reason"] for one in one_object(out)["columns"]}["gap"].startswith("'gap' has values in 2")
    whole = predicted(run, "orders.csv")
    found = pacsv.read_csv("out.csv")["prediction"].to_pylist()
    assert [found[0], found[3]] == [whole[0], whole[3]]
    code, _, err = run("predict", "m", "odd.csv", "-o", "strict.csv", "--strict")
    assert code == 3
    assert "2 of its values cannot be" in err
    assert not Path("strict.csv").exists()
    code, out, _ = run("evaluate", "m", "odd.csv", "--json")
    assert code == 0
    assert one_object(out)["notes"][0].startswith("'gap' has values in 2 rows")


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("empty", ["empty.csv", "header.csv", "empty.parquet"])
def test_scoring_nothing_gives_a_file_with_the_header(run: Run, empty: str) -> None:
    Path("empty.csv").write_text("", encoding="utf-8")
    Path("header.csv").write_text(",".join(orders()) + "\n", encoding="utf-8")
    types = {"when": pa.timestamp("us"), "zip": pa.string(), "price": pa.float64(), "gap": pa.float64()}
    pq.write_table(pa.table({name: pa.array([], kind) for name, kind in types.items()}), "empty.parquet")
    code, out, err = run("predict", "m", empty, "-o", "out.csv", "--json")
    assert code == 0, err
    assert one_object(out)["rows"] == 0
    assert Path("out.csv").read_text(encoding="utf-8") == '"prediction"\n'


def test_levels_that_are_rare_and_levels_that_are_new_are_counted_apart(run: Run) -> None:
    rng = np.random.default_rng(0)
    shop = ["big"] * 150 + ["other"] * 140 + [f"rare {k}" for k in range(10)]
    rows = {"shop": shop, "size": rng.normal(size=300).tolist(), "y": rng.normal(size=300).tolist()}
    pq.write_table(pa.table(rows), "shops.parquet")
    assert run("train", "shops.parquet", "--target", "y", "--output", "m")[0] == 0
    new = {"shop": ["rare 3", "rare 4", "never", "big", None], "size": [0.0] * 5}
    pq.write_table(pa.table(new), "new.parquet")
    code, out, _ = run("predict", "m", "new.parquet", "-o", "out.csv", "--json")
    assert code == 0
    found = one_object(out)
    assert (found["unseen"], found["pooled"]) == ({"shop": 1}, {"shop": 2})
    code, out, _ = run("predict", "m", "shops.parquet", "-o", "all.csv")
    assert "shop: 10 rows (3.3 %) with a level too rare in training for a coefficient" in out
    assert "never saw" not in out


def test_strict_refuses_what_training_would_leave_out_or_read_in_a_special_way(run: Run) -> None:
    write("orders.csv", orders())
    code, _, err = run("train", "orders.csv", "--target", "amount", "--output", "m", "--strict")
    assert code == 3
    assert "'when' is read as a time: '" in err
    assert "--strict refuses that: correct the column, or add --categories when, or leave --strict out." in err
    plain = {name: orders()[name] for name in ("note", "amount")}
    write("plain.csv", plain)
    code, _, err = run("train", "plain.csv", "--target", "amount", "--output", "m", "--strict")
    assert code == 3
    assert "Column 'note' of plain is free text" in err
    write("plain.csv", {"same": ["a"] * ROWS, **{name: orders()[name] for name in ("amount",)}, "size": ["1.5"] * ROWS})
    assert run("train", "plain.csv", "--target", "amount", "--output", "m", "--strict")[0] == 0


def test_inspect_says_how_columns_would_be_read_and_trains_nothing(run: Run) -> None:
    write("orders.csv", orders())
    code, out, _ = run("inspect", "orders.csv", "--target", "amount", "--json")
    assert code == 0
    read_as = {one["name"]: (one["read_as"], one["used"]) for one in one_object(out)["columns"]}
    assert read_as["when"] == ("timestamp", True)
    assert read_as["zip"] == ("category", True)
    code, out, _ = run("inspect", "orders.csv", "--target", "amount", "--drop", "note", "--categories", "gap")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["amount", "number", "target"] in lines
    assert ["note", "category", "dropped"] in lines
    assert ["gap", "category", "feature"] in lines
    assert "'price' is read as a number: '$" in out
    assert run("inspect", "rows.parquet")[0] == 0
    assert not Path("models").exists()


def test_the_flags_that_remarks_name_change_what_they_say(run: Run) -> None:
    write("orders.csv", orders())
    for name, _, change in remarked(run, "orders.csv"):
        code, out, err = run("inspect", "orders.csv", "--target", "amount", *shlex.split(change), "--json")
        assert code == 0, err
        assert {one["name"]: one["read_as"] for one in one_object(out)["columns"]}[name] == "category"
    ambiguous = {"when": ["01/02/2024", "03/04/2024"] * 50, "size": ["1.5", "2.5"] * 50}
    write("dates.csv", ambiguous)
    ((name, reason, change),) = remarked(run, "dates.csv")
    assert name == "when"
    assert f'--date-format "{WEEKDAYS}"' in reason
    code, out, _ = run("inspect", "dates.csv", *shlex.split(change), "--json")
    assert {one["name"]: one["read_as"] for one in one_object(out)["columns"]}[name] == "timestamp"


def remarked(run: Run, source: str) -> list[tuple[str, str, str]]:
    code, out, _ = run("inspect", source, "--json")
    assert code == 0
    columns = one_object(out)["columns"]
    return [(one["name"], one["reason"], one["change"]) for one in columns if one["change"] is not None]


def test_texts_that_mean_nothing_are_given_in_either_form_and_a_blank_is_one(run: Run) -> None:
    rows = {"x": ["1", "none at all", " ", "gone", "5"] * 40, "y": [str(k % 7) for k in range(200)]}
    write("rows.csv", rows)
    for given in (["--null", "none at all,gone"], ["--null", "none at all", "--null", "gone"]):
        for blank in ([], ["--null", " "]):
            code, out, err = run(
                "train", "rows.csv", "--target", "y", "--output", "m", "--force", "--json", *given, *blank
            )
            assert code == 0, err
            columns = {one["name"]: one for one in one_object(out)["columns"]}
            assert (columns["x"]["read_as"], columns["x"]["used"]) == ("number", True)
            assert "missing in 120 rows" in columns["x"]["reason"]
    # The texts are part of the model.
    assert predicted(run, "rows.csv")[1] == predicted(run, "rows.csv")[2]
    code, out, _ = run("predict", "m", "rows.csv", "-o", "out.csv", "--force", "--json")
    assert all(one["reason"] is None for one in one_object(out)["columns"])


def test_an_encoding_is_given_once_and_kept(run: Run) -> None:
    rows = {"street": ["Königsallee", "Hauptstraße"] * 60, "y": [str(k % 2 + 0.1 * (k % 5)) for k in range(120)]}
    text = "\n".join([",".join(rows), *map(",".join, zip(*rows.values(), strict=True))]) + "\n"
    Path("latin.csv").write_bytes(text.encode("cp1252"))
    code, _, err = run("train", "latin.csv", "--target", "y", "--output", "m")
    assert code == 3
    assert "--encoding cp1252" in err
    assert run("train", "latin.csv", "--target", "y", "--output", "m", "--encoding", "cp1252")[0] == 0
    code, out, _ = run("predict", "m", "latin.csv", "-o", "out.csv", "--json")
    assert code == 0
    assert one_object(out)["unseen"] == {}
    assert run("verify", "m", "latin.csv")[0] == 0
    Path("later.csv").write_bytes(text.encode("utf-8-sig"))
    code, out, _ = run("predict", "m", "later.csv", "-o", "out.csv", "--force", "--json")
    assert (code, one_object(out)["unseen"]) == (0, {})


def test_a_file_without_names_is_scored_and_verified_as_it_was_trained(run: Run) -> None:
    lines = [f"{k % 17 + 0.5},{k % 5},{(k % 17) * 2.0 + k % 5}" for k in range(200)]
    Path("rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    code, out, err = run("train", "rows.csv", "--no-header", "--target", "column_3", "--output", "m")
    assert code == 0, err
    command = next(line.strip() for line in out.splitlines() if line.strip().startswith("batchlearn verify"))
    assert run(*shlex.split(command)[1:])[0] == 0
    assert run("predict", "m", "rows.csv", "--no-header", "-o", "out.csv")[0] == 0


def test_a_row_of_totals_is_passed_over_by_every_command(run: Run) -> None:
    rng = np.random.default_rng(4)
    sold, paid = rng.integers(1, 50, 120), rng.integers(1, 900, 120)
    rows = {"shop": ["north", "south"] * 60, "sold": list(map(str, sold)), "paid": list(map(str, paid))}
    whole = {name: [*values, last] for (name, values), last in zip(rows.items(), ("Total", "", ""), strict=True)}
    whole["sold"][-1], whole["paid"][-1] = str(sold.sum()), str(paid.sum())
    write("sums.csv", whole)
    code, out, err = run("train", "sums.csv", "--target", "paid", "--output", "m", "--json")
    assert code == 0, err
    assert (one_object(out)["rows"]["read"], one_object(out)["lines_passed_over"]) == (120, {"total row": 1})
    code, out, _ = run("predict", "m", "sums.csv", "-o", "out.csv", "--json")
    assert (code, one_object(out)["rows"], one_object(out)["lines_passed_over"]) == (0, 120, {"total row": 1})
    assert run("verify", "m", "sums.csv")[0] == 0
    code, out, _ = run("evaluate", "m", "sums.csv", "--json")
    assert (code, one_object(out)["evaluation"]["rows"]) == (0, 120)


def test_a_folder_may_have_files_without_a_column_that_has_gaps(run: Run) -> None:
    write("orders.csv", orders())
    assert run("train", "orders.csv", "--target", "amount", "--output", "m")[0] == 0
    Path("days").mkdir()
    few = {name: values[:3] for name, values in orders().items() if name not in ("note", "same")}
    write("days/1.csv", few)
    write("days/2.csv", {"more": ["1", "2", "3"], **{name: few[name] for name in few if name != "gap"}})
    both = predicted(run, "days")
    assert both[:3] == predicted(run, "orders.csv")[:3]
    write("alone.csv", {**few, "gap": ["", "n/a", "NA"]})
    assert both[3:] == predicted(run, "alone.csv")
    assert run("predict", "m", "days", "-o", "out.csv", "--force", "--strict")[0] == 3


def test_a_project_takes_the_same_flags(run: Run) -> None:
    times = [f"{1 + k % 28:02d}/{1 + k // 28:02d}/2024" for k in range(120)]
    rows = {"at": times, "size": [f"{k % 9},5" for k in range(120)], "y": [str(k % 9 + 0.5) for k in range(120)]}
    write("rows.csv", rows, ";")
    words = ["--date-format", "%d/%m/%Y", "--decimal", ",", "--encoding", "utf-8", "--null", "gone"]
    code, _, err = run("init", "--source", "rows.csv", "--target", "y", "--time", "at", *words)
    assert code == 0, err
    text = Path("batchlearn.toml").read_text(encoding="utf-8")
    for line in ('date_format = "%d/%m/%Y"', 'decimal = ","', 'encoding = "utf-8"', 'null = ["gone"]'):
        assert f"\n{line} " in text
    assert "\n# no_header = true " in text
    assert "\n# strict = true " in text


def test_columns_left_out_are_said_once_in_one_form(run: Run) -> None:
    rows = [
        f"{k % 12 + 1:02d}/{k % 11 + 1:02d}/2024,{k}00 things were said by {k} people,1,{k % 7}.5" for k in range(99)
    ]
    Path("rows.csv").write_text("\n".join(["when,words,same,y", *rows, ""]), encoding="utf-8")
    code, out, err = run("train", "rows.csv", "--target", "y")
    assert code == 0, err
    text = " ".join(out.split())
    assert text.count("'when' was left out: it holds dates") == 1
    assert text.count("'words' was left out: it is free text") == 1
    assert text.count("it is constant") == 1
    assert "is left out" not in text
