"""The main job, end to end: train, evaluate, predict, verify."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from tests.cli.made import ROWS, Run, one_object, process, small_table

import batchlearn as bl

TRAIN = ("train", "rows.parquet", "--target", "bought", "--time", "day", "--drop", "count")


def test_the_main_job_runs_as_processes(here: Path) -> None:
    trained = process([*TRAIN, "--output", "model", "--json"], here)
    assert (trained.returncode, trained.stderr) == (0, "")
    assert one_object(trained.stdout)["model"] == "model"
    for command in (
        ["evaluate", "model", "rows.csv"],
        ["predict", "model", "rows.csv", "-o", "scored.parquet"],
        ["verify", "model", "rows.csv"],
    ):
        done = process(command, here)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.strip()
    assert pq.read_table("scored.parquet").num_rows == ROWS
    assert not list(here.glob(".*"))


def test_train_keeps_the_contract_of_its_json(run: Run) -> None:
    code, out, _ = run(*TRAIN, "--json", "--seed", "7")
    found = one_object(out)
    assert code == 0
    assert found["format_version"] == 1
    assert found["rows"] == {"read": ROWS, "used": ROWS, "unlabelled": 0, "rejected": {}}
    assert found["model"] == str(Path("models") / "bought-1")
    assert found["seed"] == 7
    certificate = found["certificate"]
    assert certificate["status"] == "certified"
    assert certificate["rows"] == ROWS
    bounds = ("loss_bound", "coefficient_bound", "prediction_bound", "floor")
    assert all(isinstance(certificate[name], float) for name in bounds)
    assert {"reason", "method", "fingerprint"} <= certificate.keys()
    assert {"coefficients", "objective", "passes", "seconds", "encoding"} <= found.keys()
    evaluation = found["evaluation"]
    assert evaluation["rows"] == ROWS // 5
    assert evaluation["metrics"]["log_loss"].keys() == {"value", "low", "high"}
    assert evaluation["baselines"].keys() == {"constant", "last_value"}
    assert "log_loss" in evaluation["leave_one_out"]


def test_a_training_goes_on_from_its_checkpoint_and_says_so(run: Run, here: Path) -> None:
    kept = [*TRAIN, "--force", "--output", "model", "--checkpoint", "kept", "--checkpoint-every", "0"]
    code, out, said = run(*kept)
    assert (code, said) == (0, "")
    assert f"The checkpoint {here / 'kept'} is done and can be removed." in " ".join(out.split())
    weights = Path("model/weights.safetensors").read_bytes()
    (here / "kept" / "journal" / "finished.json").unlink()
    latest = max((here / "kept" / "journal").glob("*.safetensors"))
    latest.write_bytes(latest.read_bytes()[:-1])
    code, out, said = run(*kept, "--json")
    found = one_object(out)["checkpoint"]
    assert found["answered"] == int(latest.name[:9])
    assert (found["computed"], found["damaged"], found["finished_before"]) == (1, latest.name, False)
    assert said.startswith(f"warning: The checkpoint's file {latest.name} was not as it had been written")
    _, out, said = run(*kept)
    assert said == ""
    assert "had finished before: this is its model again" in " ".join(out.split())
    assert Path("model/weights.safetensors").read_bytes() == weights
    code, out, _ = run(*kept, "--alpha", "1", "--json")
    assert (code, one_object(out)["error"]["code"]) == (2, "checkpoint-other")


def test_the_command_line_trains_what_python_trains(run: Run) -> None:
    code, _, _ = run(*TRAIN, "--output", "model", "--where", "size < 2", "--alpha", "0.01")
    assert code == 0
    table = bl.read("rows.parquet", target="bought", time="day", drop=["count"], where="size < 2")
    fit = bl.train(table, bl.Recipe(alpha=0.01))
    assert np.array_equal(bl.load("model").parameters, fit.model.parameters)


@pytest.mark.parametrize(
    "drop", [["--drop", "count,day"], ["--drop", "count", "--drop", "day"], ["--drop", '"count", day']]
)
def test_columns_are_listed_with_commas_or_one_by_one(run: Run, drop: list[str]) -> None:
    code, _, _ = run("train", "rows.parquet", "--target", "bought", *drop, "--output", "model")
    assert code == 0
    assert set(bl.load("model").encoding.columns) == {"size", "colour"}


def test_free_text_is_left_out_and_the_flag_that_is_printed_uses_its_words(run: Run) -> None:
    rng = np.random.default_rng(0)
    paid = rng.random(400) < 0.5
    words = np.array(["refund", "late", "never", "fine", "called", "thanks", "about", "again", "order", "number"])
    notes = [" ".join(rng.choice(words[:8] if yes else words[2:], 7)) + f" {k}" for k, yes in enumerate(paid)]
    rows = zip(notes, rng.normal(size=400).round(3), paid, strict=True)
    Path("notes.csv").write_text(
        "\n".join(["his note,x,paid", *(f"{n},{x},{'yes' if p else 'no'}" for n, x, p in rows)])
    )
    code, out, _ = run("train", "notes.csv", "--target", "paid", "--json", "--output", "without")
    assert code == 0
    without = one_object(out)
    (flag,) = (one["change"] for one in without["columns"] if not one["used"])
    code, out, _ = run("train", "notes.csv", "--target", "paid", *shlex.split(flag), "--json", "--output", "with")
    assert code == 0
    found = one_object(out)
    assert found["certificate"]["status"] == "certified"
    assert [one["kind"] for one in found["facts"]["columns"]] == ["text", "number"]
    aucs = [one["evaluation"]["metrics"]["auc"]["value"] for one in (without, found)]
    assert aucs[0] < 0.65
    assert aucs[1] > 0.8
    assert run("verify", "with", "notes.csv")[0] == 0
    assert run("predict", "with", "notes.csv", "-o", "scored.csv", "--bounds")[0] == 0


def test_models_are_numbered_and_the_first_free_number_is_taken(run: Run) -> None:
    for number in (1, 2, 3):
        code, out, _ = run(*TRAIN, "--json", "--holdout", "0")
        assert code == 0
        assert one_object(out)["model"] == str(Path("models") / f"bought-{number}")
    Path("models/bought-2").rename("models/kept")
    Path("models/bought-2.html").rename("models/kept.html")
    _, out, _ = run(*TRAIN, "--json", "--holdout", "0")
    assert one_object(out)["model"] == str(Path("models") / "bought-2")


def test_the_report_lies_beside_the_model_and_says_what_the_json_says(run: Run) -> None:
    code, out, _ = run(*TRAIN, "--json", "--output", "model")
    found = one_object(out)
    assert (code, found["report"]) == (0, "model.html")
    page = Path("model.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    assert "Predicting bought" in page
    assert f"{found['rows']['used']:,}" in page


def test_a_report_that_cannot_be_written_says_that_the_model_is_saved(run: Run) -> None:
    Path("model.html").mkdir()
    code, _, err = run(*TRAIN, "--holdout", "0", "--output", "model")
    assert code == 5
    assert "The model is saved in model" in err
    assert bl.load("model").target.column == "bought"
    assert not list(Path().glob(".model.html*"))


def test_a_refused_training_leaves_nothing(run: Run, here: Path) -> None:
    before = sorted(path.name for path in here.iterdir())
    code, _, _ = run("train", "rows.parquet", "--target", "size", "--loss", "logistic")
    assert code in (2, 3)
    assert sorted(path.name for path in here.iterdir()) == before


def test_evaluate_uses_the_time_of_the_training_and_notes_its_condition(run: Run) -> None:
    run(*TRAIN, "--output", "model", "--where", "size < 2")
    code, out, _ = run("evaluate", "model", "rows.parquet", "--json")
    found = one_object(out)
    assert code == 0
    assert found["evaluation"]["rows"] == ROWS
    assert "last_value" in found["evaluation"]["baselines"]
    assert any("size < 2" in note for note in found["notes"])
    _, out, _ = run("evaluate", "model", "rows.parquet", "--json", "--where", "size < 2")
    found = one_object(out)
    assert found["evaluation"]["rows"] < ROWS
    (own,) = found["notes"]
    assert own.startswith(f"The model was trained on these very {found['evaluation']['rows']} rows")


@pytest.mark.parametrize("name", ["scored.parquet", "scored.csv"])
def test_predict_writes_a_row_for_each_row_in_order(run: Run, name: str) -> None:
    run(*TRAIN, "--output", "model")
    code, out, _ = run("predict", "model", "rows.csv", "-o", name, "--bounds", "--json")
    assert code == 0
    assert one_object(out)["rows"] == ROWS
    written = pq.read_table(name) if name.endswith(".parquet") else pacsv.read_csv(name)
    expected = bl.load("model").predict("rows.parquet", bounds=True)
    assert written.column_names == ["prediction", "probability_=yes", "bound"]
    assert np.allclose(written["probability_=yes"].to_numpy(), expected.response, rtol=1e-15, atol=0.0)
    assert expected.bound is not None
    assert one_object(out)["largest_bound"] == expected.bound.max()


def test_predict_needs_no_target_and_counts_unseen_levels(run: Run) -> None:
    run(*TRAIN, "--output", "model")
    rows = small_table().drop_columns(["bought"]).slice(0, 10)
    pq.write_table(rows.set_column(1, "colour", pa.array(["violet"] * 6 + ["red"] * 4)), "new.parquet")
    code, out, _ = run("predict", "model", "new.parquet", "-o", "scored.parquet", "--json")
    assert code == 0
    assert one_object(out)["unseen"] == {"colour": 6}
    code, out, _ = run("predict", "model", "new.parquet", "-o", "scored.parquet", "--force")
    assert "colour: 6 rows (60 %)" in out
    assert "is this column still what it was" in out


def test_predict_keeps_only_the_rows_asked_for(run: Run) -> None:
    run(*TRAIN, "--output", "model")
    code, out, _ = run("predict", "model", "rows.parquet", "-o", "few.parquet", "--where", "day < 5", "--json")
    assert (code, one_object(out)["rows"], one_object(out)["rows_read"]) == (0, 5, ROWS)
    code, _, _ = run("predict", "model", "rows.parquet", "-o", "none.parquet", "--where", "day < 0")
    assert (code, pq.read_table("none.parquet").num_rows) == (0, 0)
    assert pq.read_schema("none.parquet") == pq.read_schema("few.parquet")


def test_declared_categories_and_null_texts_need_no_second_declaration_to_predict(run: Run) -> None:
    rows = small_table()
    code_of = pc.index_in(rows["colour"], value_set=pa.array(["red", "green", "blue"]))
    texts = [f"{value:.6f}" if place % 9 else "NA" for place, value in enumerate(rows["size"].to_pylist())]
    table = pa.table({"colour": code_of, "size": texts, "bought": rows["bought"]})
    pacsv.write_csv(table, "coded.csv", pacsv.WriteOptions(quoting_style="none"))
    words = ["coded.csv", "--null", "NA,."]
    code, out, err = run("train", *words, "--target", "bought", "--categories", "colour", "--output", "model")
    assert (code, err) == (0, "")
    assert "batchlearn verify model coded.csv\n" in out
    kinds = bl.load("model").encoding.kinds
    assert (kinds["colour"], kinds["size"]) == ("category", "number")
    for said in (["coded.csv"], words):
        assert run("predict", "model", *said, "-o", "scored.csv", "--force")[0] == 0
        assert run("verify", "model", *said)[0] == 0


def test_verify_exits_with_6_where_one_value_changed(run: Run) -> None:
    run(*TRAIN, "--output", "model")
    code, out, _ = run("verify", "model", "rows.parquet", "--json")
    assert (code, one_object(out)["holds"]) == (0, True)
    rows = small_table()
    size = rows["size"].to_numpy().copy()
    size[7] = np.nextafter(size[7], np.inf)
    pq.write_table(rows.set_column(0, "size", pa.array(size)), "changed.parquet")
    code, out, _ = run("verify", "model", "changed.parquet", "--json")
    found = one_object(out)
    assert (code, found["holds"], found["error"]["exit_code"]) == (6, False, 6)
    assert found["error"]["code"] == "certificate-does-not-hold"
    code, out, _ = run("verify", "model", "changed.parquet")
    assert (code, "does not hold" in out) == (6, True)


def test_a_tolerance_that_is_not_met_exits_with_7_and_keeps_the_model(run: Run) -> None:
    code, out, _ = run(*TRAIN, "--tolerance", "1e-40", "--output", "model", "--json")
    found = one_object(out)
    assert (code, found["error"]["code"], found["error"]["exit_code"]) == (7, "tolerance-not-met", 7)
    assert found["certificate"]["status"] == "certified"
    assert bl.load("model").target.column == "bought"
    assert run(*TRAIN, "--tolerance", "1e-8")[0] == 0


def test_no_finite_optimum_exits_with_7_and_writes_no_model(run: Run, here: Path) -> None:
    rows = small_table()
    labels = pc.if_else(pc.greater(rows["size"], 0.0), "yes", "no")
    pq.write_table(pa.table({"size": rows["size"], "label": labels}), "apart.parquet")
    code, out, _ = run("train", "apart.parquet", "--target", "label", "--alpha", "0", "--json")
    assert (code, one_object(out)["error"]["exit_code"]) == (7, 7)
    assert not (here / "models").exists()


def test_a_fit_without_a_certificate_that_nobody_required_is_done(run: Run) -> None:
    code, out, _ = run(*TRAIN, "--alpha", "0", "--holdout", "0", "--json")
    assert code == 0
    assert one_object(out)["evaluation"] is None


def test_what_people_read_says_what_the_json_says(run: Run) -> None:
    _, out, _ = run(*TRAIN, "--alpha", "0.0025", "--output", "model")
    assert "Trained on 400 rows: logistic regression for bought, probability of =yes" in out
    assert "400 read = 400 used" in out
    assert "certified: the loss is within" in out
    for word in ("log loss", "AUC", "constant", "last value", "leave-one-out", "colour = red", "standard error"):
        assert word in out
    assert "batchlearn predict model NEW.parquet" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(("loss", "target"), [("squared", "size"), ("poisson", "count")])
def test_other_losses_are_shown_with_their_own_metrics(run: Run, loss: str, target: str) -> None:
    code, out, _ = run("train", "rows.parquet", "--target", target, "--loss", loss)
    assert code == 0
    assert {"squared": "RMSE", "poisson": "poisson deviance"}[loss] in out


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        (
            "bike_sharing_hour",
            ["--target", "cnt", "--time", "timestamp", "--loss", "poisson", "--drop", "casual,registered,hr,mnth"],
        ),
        ("adult", ["--target", "target", "--categories", "workclass,education,marital-status,occupation,race,sex"]),
    ],
)
def test_real_tables_train_and_verify(run: Run, shared_data: Path, name: str, flags: list[str]) -> None:
    data = str(shared_data / f"{name}.parquet")
    code, out, err = run("train", data, *flags, "--output", "model", "--json")
    found = one_object(out)
    assert (code, err, found["certificate"]["status"]) == (0, "", "certified")
    score = next(iter(found["evaluation"]["metrics"]))
    assert found["evaluation"]["metrics"][score]["value"] < found["evaluation"]["baselines"]["constant"][score]["value"]
    assert run("verify", "model", data)[0] == 0


def test_class_weights_are_said_and_verified(run: Run) -> None:
    flags = ["--class-weight", "=yes=5,no=2", "--alpha", "0.01", "--output", "heavy"]
    code, out, err = run("train", "rows.parquet", "--target", "bought", *flags, "--json")
    assert (code, err) == (0, "")
    record = one_object(out)
    assert (record["class_weights"], record["positive"]) == ([2.0, 5.0], "=yes")
    (note,) = [note for note in record["notes"] if "counted by class" in note]
    assert "no 2, =yes 5" in note
    assert run("verify", "heavy", "rows.parquet")[0] == 0


def test_costs_decide_what_is_predicted_and_are_judged(run: Run, here: Path) -> None:
    flags = ["--cost-false-positive", "1", "--cost-false-negative", "9", "--alpha", "0.01", "--output", "dear"]
    flags += ["--positive", "no"]
    code, out, _ = run(*TRAIN, *flags, "--json")
    assert code == 0
    decision = one_object(out)["evaluation"]["decision"]
    assert decision["threshold"] == pytest.approx(0.1)
    assert decision["cost"]["low"] <= decision["cost"]["value"] <= decision["cost"]["high"]
    assert decision["best_on_these_rows"]["cost"] <= decision["cost"]["value"]
    page = (here / "dear.html").read_text(encoding="utf-8")
    assert "What decisions cost" in page
    assert run("predict", "dear", "rows.parquet", "-o", "scored.parquet")[0] == 0
    scored = pq.read_table(here / "scored.parquet")
    assert (scored["prediction"].to_numpy() == "no").tolist() == (scored["probability_no"].to_numpy() > 0.1).tolist()
    assert scored["probability_no"].to_numpy().max() > 0.1
    code, out, _ = run("evaluate", "dear", "rows.parquet")
    assert code == 0
    assert "The model decides for no above a probability of 0.1: a wrong no costs" in " ".join(out.split())
    assert "always =yes" in out
    assert "optimistic" in out


def test_rows_that_are_dearer_to_decide_than_to_ask_about_are_left_to_people(run: Run, here: Path) -> None:
    costs = ["--cost-false-positive", "1", "--cost-false-negative", "9", "--fee", "0.5", "--positive", "no"]
    code, out, _ = run(*TRAIN, *costs, "--alpha", "0.01", "--output", "careful", "--json")
    assert code == 0
    judged = one_object(out)["evaluation"]["abstention"]
    assert (judged["fee"], judged["threshold"]) == (0.5, 0.5)
    assert judged["cost_with_people"]["value"] < judged["cost_alone"]["value"]
    assert "left to people at 0.5 a row" in (here / "careful.html").read_text(encoding="utf-8")
    for more, fee, output in (((), 0.5, "scored.parquet"), (("--fee", "0.2"), 0.2, "scored.csv")):
        code, out, _ = run("predict", "careful", "rows.parquet", "-o", output, *more, "--json")
        read = pq.read_table if output.endswith("parquet") else pacsv.read_csv
        scored = read(here / output)
        p = scored["probability_no"].to_numpy()
        dearer = np.minimum(1.0 - p, 9.0 * p) > fee
        assert scored["left_to_people"].to_pylist() == dearer.tolist()
        assert one_object(out)["left_to_people"] == dearer.sum() > 0
        expected = ["" if left else "no" if one > 0.1 else "yes" for one, left in zip(p, dearer, strict=True)]
        assert [(found or "").lstrip("'=") for found in scored["prediction"].to_pylist()] == expected
    code, out, _ = run("predict", "careful", "rows.parquet", "-o", "again.csv")
    assert code == 0
    assert f"{pc.sum(scored['left_to_people']).as_py()} rows" not in out, "the fee is that of the training again"
    assert "%) left to people: their prediction is empty" in out
    assert "left to people at 0.5 a row" in run("evaluate", "careful", "rows.parquet")[1]


@pytest.mark.parametrize("name", ["scored.parquet", "scored.csv"])
def test_more_than_two_classes_are_predicted_with_a_probability_of_each(run: Run, name: str) -> None:
    run("train", "rows.parquet", "--target", "colour", "--drop", "count", "--output", "model")
    code, out, _ = run("predict", "model", "rows.csv", "-o", name, "--bounds", "--json")
    assert (code, one_object(out)["rows"]) == (0, ROWS)
    written = pq.read_table(name) if name.endswith(".parquet") else pacsv.read_csv(name)
    expected = bl.load("model").predict("rows.parquet", bounds=True)
    for place, colour in enumerate(["blue", "green", "red"]):
        assert np.allclose(written[f"probability {colour}"].to_numpy(), expected.response[:, place], rtol=1e-15, atol=0)
    assert written["prediction"].to_pylist() == bl.load("model").decide(expected.response).to_pylist()
    assert expected.bound is not None
    assert one_object(out)["largest_bound"] == expected.bound.max()


def test_a_straight_line_is_lowest_and_highest_at_the_ends_of_its_range(run: Run) -> None:
    _, out, _ = run(
        "train", "rows.parquet", "--target", "colour", "--drop", "count", "--output", "model", "--alpha", "1"
    )
    line = next(line for line in out.splitlines() if line.lstrip().startswith("size (class red)"))
    found = re.fullmatch(r" *size \(class red\) +size = (\S+) +-(\S+) +size = (\S+) +\+(\S+)", line)
    assert found is not None
    assert found[1] != found[3]
    assert found[2] == found[4]
