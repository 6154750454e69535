from __future__ import annotations

from pathlib import Path

import pytest

from batchlearn.errors import UsageError
from batchlearn.retraining.policies import Situation
from batchlearn.retraining.policies.text import parse_policies, parse_policy

NOW = Situation(now=10.0, trained=5.0, new_rows=7, stamped=False)
TEXTS = (
    *("never", "every 7d", "every 90m wall", "every 250", "rows 10000", "doubling", "doubling 1.5", "decay 0.05"),
    *("drift psi 0.05", "drift ks 0.01", "drift classifier 0.05", "gain 3", "gain price", "gain price 500"),
    *("forecast", "forecast 0.25", "any(every 30d, decay 0.05)", "all(rows 1000, any(gain 3, never))"),
    *(
        "every 7d with start=warm window=365d half_life=30d rows=new structure=choose",
        *("every 7d with rows=new regime=32", "rows 5 with start=online"),
        "any(every 3d with start=warm, never)",
    ),
    *("own.py:Mine", "mine/own.py:Mine(3)", "any(own.py:Mine(3, 0.5), never)"),
)


@pytest.mark.parametrize("text", TEXTS)
def test_a_policy_is_the_same_text_again(text: str) -> None:
    policy = parse_policy(text)
    assert str(policy) == text
    assert parse_policy(f"  {text} ") == policy


def test_policies_stand_between_semicolons() -> None:
    found = parse_policies("never; any(rows 3, own.py:Mine(1, 2)) ;decay")
    assert list(map(str, found)) == ["never", "any(rows 3, own.py:Mine(1, 2))", "decay 0.05"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "policy-not-valid"),
        ("sometimes", "policy-not-valid"),
        ("any()", "policy-not-valid"),
        ("any(never", "policy-not-valid"),
        ("any(" * 40 + "never" + ")" * 40, "policy-not-valid"),
        ("never;", "policy-not-valid"),
        ("every", "policy-not-valid"),
        ("every 7x", "span-not-valid"),
        ("every 0d", "span-not-valid"),
        ("rows 0", "policy-rows"),
        ("doubling 1", "policy-factor"),
        ("decay 1", "policy-alpha"),
        ("decay 5e-400", "policy-alpha"),
        ("drift mmd 0.05", "policy-not-valid"),
        ("gain 0", "policy-amount"),
        ("forecast 1e999", "policy-amount"),
        ("every 7d with", "policy-not-valid"),
        ("every 7d with start=cold", "policy-not-valid"),
        ("every 7d with speed=fast", "policy-not-valid"),
        ("every 7d with start=warm, now", "policy-not-valid"),
        ("every 7d with start=warm with rows=new", "policy-not-valid"),
        ("every 7d with regime=0", "batch-size"),
        ("every 7d with start=warm regime=32", "start-regime"),
        ("every 7d with half_life=0d", "span-not-valid"),
        ("every 7d with start=update half_life=30d", "start-half-life"),
        ("every 7d with window=7", None),
        ("own.py", "policy-not-valid"),
        ("own.py:Mine.other", "policy-not-valid"),
        ("own.py:Mine('x')", "policy-not-valid"),
    ],
)
def test_what_is_no_policy_is_refused(text: str, code: str | None) -> None:
    if code is None:
        assert parse_policies(text)
        return
    with pytest.raises(UsageError) as refusal:
        parse_policies(text)
    assert refusal.value.code == code


OWN = """
from dataclasses import dataclass

from batchlearn.formatting.notes import recorded
from batchlearn.retraining.policies import Decision, Situation


@dataclass(frozen=True)
class Mine:
    rows: float = 5.0

    def decide(self, situation: Situation) -> Decision:
        return Decision(situation.new_rows >= self.rows, (recorded("Mine."),))


class Bare:
    def decide(self, situation):
        return True


class Raises:
    def decide(self, situation):
        return situation.tomorrow
"""


def test_a_class_of_the_user_decides(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    decision = parse_policy("own.py:Mine", str(tmp_path)).decide(NOW)
    assert (decision.retrain, decision.reason) == (True, "Mine.")
    assert not parse_policy("any(own.py:Mine(8), never)", str(tmp_path)).decide(NOW).retrain


def test_code_of_the_user_runs_when_it_is_asked_and_not_before(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(f"from pathlib import Path\n\nPath({str(tmp_path / 'ran')!r}).touch()\n{OWN}")
    policy = parse_policy("own.py:Mine", str(tmp_path))
    assert str(policy) == "own.py:Mine"
    assert not (tmp_path / "ran").exists()
    policy.decide(NOW)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["own.py:Bare", "own.py:Raises", "own.py:Missing", "own.py:Mine(1, 2)"])
def test_code_that_fails_is_a_refusal_that_names_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(UsageError) as refusal:
        parse_policy(name, str(tmp_path)).decide(NOW)
    assert refusal.value.code == "policy-raised"
    assert name in refusal.value.message


@pytest.mark.parametrize(("name", "said"), [("none.py:Mine", "there is no file"), ("own.py:Odd", "no method decide")])
def test_what_is_no_policy_of_the_user_is_said(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(f"{OWN}\n\nclass Odd:\n    pass\n")
    with pytest.raises(UsageError, match=said) as refusal:
        parse_policy(name, str(tmp_path)).decide(NOW)
    assert refusal.value.code == "policy-not-valid"
    assert name in refusal.value.message
