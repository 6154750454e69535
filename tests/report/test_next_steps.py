"""What a training page proposes to type next."""

from __future__ import annotations

import shlex

import numpy as np
import pytest

import batchlearn as bl
from batchlearn.cli.compare import model_entries
from batchlearn.report.training.answers import answers


def proposed(loss: str | None, label: object) -> list[str]:
    rows = {"x": np.arange(60.0), "a day": np.arange(60.0), "y": label}
    fit = bl.train(bl.read(rows, target="y", time="a day"), bl.Recipe(loss, alpha=0.1))
    (answer,) = (one for one in answers(fit, [], "model") if one.question == "What would I do next?")
    (line,) = (one for one in answer.sentences if "gradient boosting" in one)
    return shlex.split(line.partition(": ")[2])


@pytest.mark.parametrize(
    ("loss", "label", "boosting"),
    [
        (None, ["yes", "no", "no"] * 20, "HistGradientBoostingClassifier"),
        (None, ["u", "v", "w"] * 20, "HistGradientBoostingClassifier"),
        (None, np.arange(60.0) * 1.5, "HistGradientBoostingRegressor"),
        ("poisson", np.arange(60) % 5, "HistGradientBoostingRegressor(loss=poisson)"),
        ("gamma", np.arange(60.0) + 0.5, "HistGradientBoostingRegressor(loss=gamma)"),
    ],
)
def test_the_page_says_how_to_know_what_boosting_would_reach(loss: str | None, label: object, boosting: str) -> None:
    words = proposed(loss, label)
    assert words[:5] == ["batchlearn", "compare", "ROWS", "--target", "y"]
    assert words[words.index("--time") + 1] == "a day"
    assert ("--loss" in words) == (loss is not None)
    names = [entry.title for entry in model_entries(words[-1])]
    assert names == ["additive", f"sklearn.ensemble.{boosting}"]


def test_who_brought_a_model_along_is_not_told() -> None:
    rows = {"x": np.arange(60.0), "y": np.arange(60.0) % 7}
    fit = bl.train(bl.read(rows, target="y"), model="sklearn.linear_model.Ridge")
    (answer,) = (one for one in answers(fit, [], "model") if one.question == "What would I do next?")
    assert not any("gradient boosting" in one for one in answer.sentences)
