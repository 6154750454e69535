"""`batchlearn compare` from the shell to its page."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.made import Run, one_object
from tests.report.reading import Reading

COMPARE = ("compare", "rows.parquet", "--target", "bought", "--time", "day", "--drop", "count")
SHORT = ("--passes", "2", "--seconds", "0.5", "--seeds", "1")


def test_the_command_keeps_the_contract_of_its_json(run: Run, here: Path) -> None:
    code, out, err = run(*COMPARE, *SHORT, "--json")
    assert (code, err) == (0, "")
    found = one_object(out)
    assert found["format_version"] == 1
    assert found["optimum"]["certificate"]["status"] == "certified"
    assert [one["name"] for one in found["contenders"]][0::4] == ["full batch", "online"]
    assert found["budget"] == {"passes": 2.0, "full_batch_passes": 2.0, "seconds": 0.5}
    assert all(one["spread_over_seeds"]["seeds"] == 1 for one in found["contenders"])
    assert found["recommendation"].keys() == {"contender", "reason", "changes"}
    assert found["report"] == str(Path("comparisons") / "bought-1.html")
    assert "Would online do?" in Reading((here / found["report"]).read_text(encoding="utf-8")).text
    assert not list(here.glob("comparisons/.*"))


@pytest.mark.parametrize("columns", ["100", "80", "60"])
def test_people_read_each_contender_and_the_recommendation(
    run: Run, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    code, out, _ = run(*COMPARE, *SHORT)
    assert code == 0
    words = " ".join(out.split())
    for name in ("full batch", "mini-batch 32", "mini-batch 128", "mini-batch 512", "online"):
        assert words.count(name) >= 2  # what it spent and left, and its memory
    for part in ("the certified optimum", "Predicted at the start", "Measured: batches of up to", "Recommended: "):
        assert part in words
    assert "Report written to comparisons/bought-1.html" in words
    assert max(map(len, out.splitlines())) <= int(columns)
    assert out.isascii()


def test_a_page_goes_where_it_is_asked_for_and_replaces_nothing_unasked(run: Run, here: Path) -> None:
    assert run(*COMPARE, *SHORT, "--output", "page.html", "--json")[0] == 0
    written = (here / "page.html").read_bytes()
    code, out, _ = run(*COMPARE, *SHORT, "--output", "page.html", "--json")
    assert (code, one_object(out)["error"]["code"]) == (2, "output-exists")
    assert (here / "page.html").read_bytes() == written
    assert run(*COMPARE, *SHORT, "--output", "page.html", "--force", "--seed", "5")[0] == 0
    assert (here / "page.html").read_bytes() != written
    (here / "folder").mkdir()
    assert run(*COMPARE, *SHORT, "--output", "folder", "--force")[0] == 2


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (("--seeds", "0"), "seeds-range"),
        (("--passes", "0"), "budget-range"),
        (("--seconds", "-1"), "budget-range"),
        (("--rows", "1"), "rows-range"),
        (("--output", "nowhere/page.html"), "output-folder-missing"),
        (("--loss", "cubic"), "loss-unknown"),
    ],
)
def test_mistakes_are_refused_before_any_work(run: Run, here: Path, flags: tuple[str, str], code: str) -> None:
    exit_code, out, _ = run(*COMPARE, *flags, "--json")
    assert exit_code == 2
    assert one_object(out)["error"]["code"] == code
    assert not (here / "comparisons").exists()


def test_a_loss_that_only_models_are_compared_on_is_refused_with_the_way_to_compare_them(run: Run) -> None:
    gamma = ("compare", "rows.csv", "--target", "count", "--loss", "gamma", "--drop", "bought", "--where", "count > 0")
    code, out, _ = run(*gamma, "--json")
    assert (code, one_object(out)["error"]["code"]) == (2, "comparison-loss")
    assert "--models additive,linear" in one_object(out)["error"]["message"]
    code, out, _ = run(*gamma, "--models", "additive,linear", "--json")
    assert code == 0, out


def test_a_table_of_counts_and_weights_compares(run: Run) -> None:
    words = ("compare", "rows.csv", "--target", "count", "--loss", "poisson", "--drop", "bought", "--weight", "day")
    code, out, _ = run(*words, *SHORT, "--json")
    assert code == 0
    found = one_object(out)
    assert found["loss"] == "poisson"
    assert not any(one["diverged"] for one in found["contenders"])


BOOSTED = "lightgbm.LGBMClassifier(n_jobs=1,n_estimators=20)"
MODELS = (*COMPARE, "--models", f"additive, linear,{BOOSTED}")


def test_models_are_compared_by_name_and_the_question_is_said(run: Run, here: Path) -> None:
    code, out, err = run(*MODELS, "--json")
    assert (code, err) == (0, "")
    found = one_object(out)
    assert found["question"] == "models"
    assert [one["name"] for one in found["models"]] == ["additive", "linear", BOOSTED]
    assert {(one["a"], one["b"]) for one in found["differences"]} == {
        ("additive", "linear"),
        ("additive", BOOSTED),
        ("linear", BOOSTED),
    }
    assert found["recommendation"]["model"] in ("additive", "linear")
    assert found["report"] == str(Path("comparisons") / "bought-1.html")
    page = Reading((here / found["report"]).read_text(encoding="utf-8")).text
    for part in (
        "Which model should I take?",
        BOOSTED,
        "nothing is known of its objective",
        "Ways of reading the rows",
    ):
        assert part in page


@pytest.mark.parametrize("columns", ["100", "60"])
def test_people_read_each_model_each_difference_and_the_reason(
    run: Run, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    code, out, _ = run(*MODELS)
    assert code == 0
    words = " ".join(out.split())
    assert words.startswith("Compared 3 models: which model should I take?")
    assert "additive minus linear: " in words
    assert "Recommended: " in words
    assert max(map(len, out.splitlines())) <= int(columns)
    assert out.isascii()


@pytest.mark.parametrize("models", ["additive", "linear,linear", "linear,,additive", "linear,x(", "linear,x(a=1"])
def test_models_that_are_none_are_refused(run: Run, models: str) -> None:
    code, out, _ = run(*COMPARE, "--models", models, "--json")
    assert (code, one_object(out)["error"]["code"]) == (2, "models-to-compare")


@pytest.mark.parametrize(
    ("models", "said"),
    [("additiv,linear", "did you mean 'additive'?"), ("linear,ridge", "additive and linear are ours; any other")],
)
def test_a_name_that_is_none_is_refused_before_anything_is_trained(
    run: Run, models: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("batchlearn.comparison.models.iter_train", trained)
    code, out, _ = run(*COMPARE, "--models", models, "--json")
    error = one_object(out)["error"]
    assert (code, error["code"]) == (2, "learner-path")
    assert said in error["message"]


def test_a_budget_is_none_of_models(run: Run, here: Path) -> None:
    code, out, _ = run(*MODELS, *SHORT, "--json")
    assert (code, one_object(out)["error"]["code"]) == (2, "option-unknown")
    assert not (here / "comparisons").exists()
