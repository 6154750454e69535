"""The page of a backtest: every section, figures that are drawn well, answers with the user's figures, nothing run."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from tests.backtesting.made import RECIPE, opened, stream
from tests.report.made import PAYLOADS
from tests.report.reading import Reading
from tests.report.test_page import drawn_well

from batchlearn.backtesting.backtest import iter_backtest
from batchlearn.backtesting.outcome import Backtest
from batchlearn.backtesting.plan import BacktestPlan, Prices
from batchlearn.formatting.notes import Code, Note
from batchlearn.progress import finish
from batchlearn.report.document import Document
from batchlearn.report.page import page
from batchlearn.report.retraining import tables
from batchlearn.report.retraining.brief import show_backtest
from batchlearn.report.terminal import printed
from batchlearn.report.values import shown
from batchlearn.retraining.policies.text import parse_policies
from batchlearn.retraining.verdict import Gate

QUESTIONS = (
    "How often should this be retrained?",
    "What does waiting cost?",
    "From scratch or warm?",
    "Would online do?",
    "What could have been won at best?",
)
POLICIES = "never; every 6d; every 6d with start=warm; every 6d with start=online; every 6d with rows=new; decay 0.05"


@cache
def turned(price: float | None = None) -> Backtest:
    """A backtest of a world that turns."""
    plan = BacktestPlan(windows="6d", holdout=0.25, prices=None if price is None else Prices(price))
    rows = opened(stream(80, turns=(40,)))
    return finish(iter_backtest(rows, parse_policies(POLICIES), RECIPE, plan, threads=1))


@cache
def calm() -> Backtest:
    plan = BacktestPlan(windows=3)
    return finish(iter_backtest(opened(stream(60)), parse_policies("never; every 10d"), RECIPE, plan, threads=1))


def hostile() -> Backtest:
    """A backtest whose names are no names."""
    payload = next(one for one in PAYLOADS if "<script>" in one)
    rows = stream(40).rename_columns(["seen", "known", "size", "colour", payload])
    kind = opened(rows, target=payload)
    policies, plan = parse_policies("never; rows 200"), BacktestPlan(windows=4)
    found = finish(iter_backtest(replace(kind, name=payload), policies, RECIPE, plan, threads=1))
    named = tuple(replace(one, run=replace(one.run, name=f"{one.run.name} {payload}")) for one in found.policies)
    choice = replace(found.recommendation, policy=named[0].run.name)
    return replace(found, policies=named, recommendation=choice, notes=(Note(Code.RECORDED, {"text": payload}),))


def test_a_page_has_every_section_and_answers_with_its_figures() -> None:
    result = turned()
    reading, never = Reading(page(result)), result.baselines["never"]
    assert never.loss is not None
    assert {"time", "policies", "freshness", "decisions", "answers"} <= set(reading.values("id"))
    wanted = (
        *QUESTIONS,
        "Quality over time",
        "Cost and quality",
        "Freshness",
        "the oracle's frontier",
        "every 6d with rows=new (depends on its path)",
        "every 6d with start=online (depends on its path)",
        "Going on row by row (every 6d with start=online) loses",
        "No price was given",
        "On the windows that had no say in the choice it loses",
        f"Baselines on the same rows: never: log loss {shown(never.loss)}, error rate {never.error:.3f}; every window:",
        "another class is the likeliest",
        "Drawn are the recommended policy, never, and those with the least loss",
    )
    for sentence in wanted:
        assert sentence in reading.text, sentence


def test_decisions_stand_with_their_reasons() -> None:
    text = Reading(page(turned())).text
    assert "The policy is never to train again." in text
    assert "the period of 6 days has passed" in text
    summaries = page(turned())
    for policy in POLICIES.split("; "):
        assert f"<summary>{policy}</summary>" in summaries
    assert "left out" not in text


def test_decisions_that_are_left_out_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_MOST_DECISIONS", 3)
    left = len(turned().outcome("never").run.decisions) - 3
    assert f"{left} later decisions left out here" in Reading(page(turned())).text


def test_all_policies_are_drawn_where_there_is_room() -> None:
    assert "Drawn are" not in Reading(page(calm())).text


@pytest.mark.parametrize("result", [turned, calm, hostile], ids=["turned", "calm", "hostile"])
def test_figures_are_drawn_and_nothing_is_run(result: object) -> None:
    assert callable(result)
    made = page(result())
    reading = Reading(made)
    assert drawn_well(made)
    assert not {"script", "iframe", "link", "img"} & {tag for tag, _ in reading.elements}
    assert not [name for _, name, _ in reading.attributes if name.startswith("on")]
    assert "nan" not in reading.text.lower().split()


def test_where_nothing_beats_training_once_it_is_said() -> None:
    for said in (Reading(page(calm())).text, " ".join(written(calm()).split())):
        assert "No policy beats training once" in said
    assert "Ask for two policies that differ in it alone" in page(calm())


def test_prices_are_shown_where_they_are_given() -> None:
    dear = turned(1e6)
    assert "By the prices it is the cheapest of 6" in Reading(page(dear)).text
    assert "No price was given" not in page(dear)
    lines = (line.split() for one in (dear, turned()) for line in written(one).splitlines())
    assert ["cost" in words for words in lines if words[:2] == ["loss", "95"]] == [True, False]


def test_nothing_is_explained_that_is_not_there() -> None:
    bare, marked = written(replace(calm(), notes=())), written(turned())
    assert "Notes" not in bare
    assert "*: its models" not in bare
    assert "*: its models depend on the ones before" in marked
    noted = replace(calm(), notes=(Note(Code.RECORDED, {"text": "Said."}),))
    assert "Notes" in written(noted)


def test_a_missing_interval_and_a_single_retrain_are_said_in_words() -> None:
    result = turned()
    policies = tuple(replace(one, loss=replace(one.loss, low=None, high=None)) for one in result.policies)
    oracle = replace(result.oracle, best=result.oracle.best._replace(retrains=1))
    words = " ".join(written(replace(result, policies=policies, oracle=oracle)).split())
    assert "a row with 1 retrain, known afterwards" in words
    assert f"{policies[0].run.name} {shown(policies[0].loss)} none 0" in words


def test_the_length_of_a_window_is_shown() -> None:
    assert "A window 6 days" in " ".join(written(turned()).split())
    assert "length of a window" in Reading(page(turned())).text


def written(result: Backtest) -> str:
    document = Document()
    show_backtest(document, result)
    return printed(document)


def test_verdicts_of_a_gate_are_on_the_page_and_in_the_terminal() -> None:
    plan = BacktestPlan(windows="6d", gate=Gate("non-inferiority", margin=0.05))
    found = finish(iter_backtest(opened(stream(80, turns=(40,))), parse_policies("every 6d"), RECIPE, plan, threads=1))
    (one,), text = found.policies, Reading(page(found)).text
    assert 0 < len(one.run.models) - 1 < one.retrains
    assert "went live" in text
    for column in ("sent back", "undecided", "alarms"):
        assert column in text
        assert column not in Reading(page(turned())).text
    assert "retrain, live" in text
    assert "retrain, not live" in text
    sent_back = next(each for each in one.run.decisions if each.judged is not None and each.live is None)
    assert sent_back.judged is not None
    assert sent_back.judged.verdict.sentence[:60] in text
    assert "live" in written(found)
