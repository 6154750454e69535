"""Tables as people publish them train with the first natural command, or with the one that the message prints."""

from __future__ import annotations

from pathlib import Path

from tests.cases import published
from tests.cases.made import Answer, Command, remedies

LEFT_OUT = False


def first_natural_command(ask: Command, file: str, *flags: str) -> Answer:
    answer = ask("train", file, *flags, "--output", "model")
    assert answer.code == 0, answer.record
    assert ask("predict", "model", file, "-o", "scored.csv").code == 0
    assert ask("verify", "model", file).code == 0
    return answer


def test_passengers(ask: Command) -> None:
    published.write_passengers(Path("titanic.csv"))
    answer = first_natural_command(ask, "titanic.csv", "--target", "Survived")
    assert answer.columns == {
        "PassengerId": ("number", LEFT_OUT),
        "Survived": ("number", True),
        "Pclass": ("number", True),
        "Name": ("category", LEFT_OUT),
        "Sex": ("category", True),
        "Age": ("number", True),
        "SibSp": ("number", True),
        "Ticket": ("category", LEFT_OUT),
        "Fare": ("number", True),
        "Cabin": ("category", True),
        "Embarked": ("category", True),
    }
    assert answer.column("Name")["change"] == "--text Name"
    assert answer.record["positive"] == "1"
    assert answer.metric("auc") > 0.7


def test_churn_with_blanks(ask: Command) -> None:
    published.write_churn(Path("telco.csv"))
    blanks = Path("telco.csv").read_text().count(", ,")
    assert blanks > 0
    answer = first_natural_command(ask, "telco.csv", "--target", "Churn")
    assert answer.columns == {
        "customerID": ("category", LEFT_OUT),
        "SeniorCitizen": ("number", True),
        "tenure": ("number", True),
        "Contract": ("category", True),
        "MonthlyCharges": ("number", True),
        "TotalCharges": ("number", True),
        "Churn": ("category", True),
    }
    assert f"missing in {blanks} rows" in answer.column("TotalCharges")["reason"]
    assert answer.record["positive"] == "Yes"
    assert answer.metric("auc") > 0.8


def test_air_quality(ask: Command) -> None:
    published.write_air_quality(Path("AirQualityUCI.csv"))
    answer = first_natural_command(ask, "AirQualityUCI.csv", "--target", "RH", "--time", "Date")
    assert answer.columns == {
        "Date": ("timestamp", True),
        "Time": ("number", True),
        "CO(GT)": ("number", True),
        "T": ("number", True),
        "RH": ("number", True),
        "column_6": (None, LEFT_OUT),
        "column_7": (None, LEFT_OUT),
    }
    # The noise of RH has variance 1, its own 100.
    assert answer.metric("mse") < 1.3
    (remedy,) = {each for each in remedies(answer.said) if each.flag == "--null"}
    assert remedy.words == ("--null=-200",)
    again = ask(*remedy.applied(["train", "AirQualityUCI.csv", "--target", "RH", "--time", "Date"]))
    assert again.code == 0, again.record
    assert "'-200' (60)" in again.column("CO(GT)")["reason"]


def test_a_latin1_file(ask: Command) -> None:
    published.write_towns(Path("mieten.csv"))
    refused = ask("train", "mieten.csv", "--target", "rent")
    assert refused.error == "not-utf8"
    (remedy,) = remedies(refused.message)
    answer = first_natural_command(ask, "mieten.csv", "--target", "rent", *remedy.words)
    assert answer.metric("mse") < 1.5


def test_a_frame_with_its_index(ask: Command) -> None:
    published.write_frame(Path("frame.csv"))
    answer = first_natural_command(ask, "frame.csv", "--target", "y", "--time", "when")
    assert answer.columns == {
        "column_1": ("number", LEFT_OUT),
        "when": ("timestamp", True),
        "place": ("category", True),
        "size": ("number", True),
        "paid": ("boolean", True),
        "y": ("number", True),
    }
    assert answer.metric("r2") > 0.999


def test_a_workbook(ask: Command) -> None:
    published.write_workbook(Path("mieten.xlsx"))
    answer = first_natural_command(ask, "mieten.xlsx", "--target", "rent")
    assert answer.columns == {
        "district": ("category", True),
        "let on": ("timestamp", True),
        "area": ("number", True),
        "rent": ("number", True),
    }
    assert answer.metric("mse") < 1.5
