"""Policies as text: what `--policies` and `[policy]` of a project say, such as any(every 30d, decay 0.05)."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from batchlearn.errors import UsageError, quoted
from batchlearn.formatting.notes import Note
from batchlearn.retraining.policies import (
    Action,
    Decision,
    Doubling,
    Every,
    EveryRows,
    Never,
    Policy,
    Situation,
)
from batchlearn.retraining.policies.combined import AllOf, AnyOf, With
from batchlearn.retraining.policies.detection import Decay, Drift
from batchlearn.retraining.policies.worth import Forecast, WhenGainExceeds
from batchlearn.training.regimes import parse_regime

_NUMBER = r"(\d{1,15}(?:\.\d{1,12})?(?:e[+-]?\d{1,3})?)"
_FORMS: tuple[tuple[str, Callable[..., Policy]], ...] = (
    ("never", Never),
    (r"every (\S+)(?: (data|wall))?", lambda period, clock: Every(period, clock or "data")),
    (r"rows (\d{1,15})", lambda rows: EveryRows(int(rows))),
    (rf"doubling(?: {_NUMBER})?", lambda factor: Doubling(float(factor or 2.0))),
    (rf"decay(?: {_NUMBER})?", lambda alpha: Decay(float(alpha or 0.05))),
    (rf"drift (\w+)(?: {_NUMBER})?", lambda test, alpha: Drift(test, float(alpha or 0.05))),
    (rf"gain price(?: {_NUMBER})?", lambda price: WhenGainExceeds(None, _number(price))),
    (rf"gain(?: {_NUMBER})?", lambda multiple: WhenGainExceeds(float(multiple or 3.0))),
    (rf"forecast(?: {_NUMBER})?", lambda price: Forecast(_number(price))),
)
_SHOWN = (
    "never; every 7d; rows 10000; doubling; decay 0.05; drift psi 0.05; gain 3; gain price 500; forecast 500; "
    "any(A, B); all(A, B); my_policies.py:MyPolicy"
)
_STARTS = ("scratch", "warm", "update", "fine-tune", "online")
_DEEPEST = 8
# What running code of a user's may raise.
RAISED = (
    *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, ImportError, LookupError, NameError),
    *(OSError, RuntimeError, SyntaxError, TypeError, ValueError),
)


@dataclass(frozen=True)
class UserPolicy:
    """A policy whose class stands in a file of the user's; its code runs when the policy is asked, and not before."""

    path: str
    name: str
    arguments: tuple[float, ...] = ()
    folder: str = "."

    def __str__(self) -> str:
        """Write it as text."""
        given = ", ".join(f"{one:.12g}" for one in self.arguments)
        return f"{self.path}:{self.name}{f'({given})' if given else ''}"

    def decide(self, situation: Situation) -> Decision:
        """Return what the user's policy decides. UsageError where its code is missing, raises or decides nothing."""
        try:
            decide = getattr(self._made(), "decide", None)
            decision = None if decide is None else decide(situation)
        except RAISED as problem:
            if isinstance(problem, FileNotFoundError) and str(problem.filename).endswith(self.path):
                raise UsageError(
                    f"There is no policy {quoted(str(self))}: there is no file {quoted(problem.filename)}. Write the "
                    "path of the file that has the class.",
                    code="policy-not-valid",
                ) from problem
            raise UsageError(
                f"The policy {quoted(str(self))} raised {type(problem).__name__}: {problem}. Correct its code, or "
                "leave it out.",
                code="policy-raised",
            ) from problem
        if decide is None:
            raise UsageError(
                f"{quoted(str(self))} is no policy: it has no method decide. Give it one, decide(self, situation), "
                "that returns a batchlearn.retraining.policies.Decision.",
                code="policy-not-valid",
            )
        reasons = decision.reasons if isinstance(decision, Decision) else ()
        if not isinstance(decision, Decision) or not reasons or not all(isinstance(one, Note) for one in reasons):
            raise UsageError(
                f"The policy {quoted(str(self))} returned {quoted(str(decision))}; it needs to return a "
                "batchlearn.retraining.policies.Decision with one reason or more, such as Decision(True, "
                '(recorded("Monday"),)).',
                code="policy-raised",
            )
        return decision

    def _made(self) -> Any:
        """Run the file as a module and make the class. Raises what that raises."""
        place = f"{self.folder}/{self.path}"
        module_name = f"policies of {place}"
        spec = importlib.util.spec_from_file_location(module_name, place)
        if spec is None or spec.loader is None:
            raise ImportError(f"{place} is no file of Python")
        sys.modules[module_name] = module = importlib.util.module_from_spec(spec)  # dataclasses look their module up
        spec.loader.exec_module(module)
        return getattr(module, self.name)(*self.arguments)


def parse_policies(text: str, folder: str = ".") -> tuple[Policy, ...]:
    """Return the policies that stand between semicolons in a text; UsageError as `parse_policy`."""
    return tuple(parse_policy(one, folder) for one in _split(text, ";"))


def parse_policy(text: str, folder: str = ".", depth: int = 0) -> Policy:
    """Return the policy that a text describes; `str` of it gives the text back.

    A file of the user's is told from the folder. UsageError where the text describes no policy.
    """
    parts = _split(text, " with ")
    if len(parts) == 2:
        return With(parse_policy(parts[0], folder, depth), _action(parts[1]))
    (wanted,) = (re.sub(r"\s+", " ", parts[0].strip()),) if len(parts) == 1 else ("",)
    combined = re.fullmatch(r"(any|all) ?\((.*)\)", wanted)
    if combined is not None and depth < _DEEPEST:
        members = (parse_policy(one, folder, depth + 1) for one in _split(combined[2], ","))
        return AnyOf(*members) if combined[1] == "any" else AllOf(*members)
    own = re.fullmatch(rf"([^:;,()]+\.py):([^\W\d]\w*)(?:\({_NUMBER}(?:, ?{_NUMBER})?\))?", wanted)
    if own is not None:
        return UserPolicy(own[1], own[2], tuple(float(one) for one in own.groups()[2:] if one), folder)
    for form, made in _FORMS:
        found = re.fullmatch(form, wanted)
        if found is not None:
            return made(*found.groups())
    raise UsageError(f"{quoted(text.strip())} is no policy; write one of: {_SHOWN}.", code="policy-not-valid")


def _action(text: str) -> Action:
    """Return what a retrain does, of keys and values: start=warm window=365d half_life=30d rows=new regime=32."""
    given = dict(re.findall(r"(\w+)=(\S+)", text))
    known: dict[str, tuple[str, ...] | None] = dict.fromkeys(("window", "half_life", "regime"))
    known |= {"start": _STARTS, "rows": ("all", "new"), "structure": ("keep", "choose")}
    odd = " ".join(re.sub(r"(\w+)=(\S+)", "", text).split()) or next((key for key in given if key not in known), None)
    if odd is None:
        odd = next(
            (
                f"{key}={given[key]}"
                for key, values in known.items()
                if values and given.get(key, values[0]) not in values
            ),
            None,
        )
    if odd is not None or not given:
        raise UsageError(
            f"{quoted(odd or text)} says nothing of a retrain; write some of "
            "start=scratch|warm|update|fine-tune|online, "
            "window=365d, half_life=30d, rows=new, regime=full|1|32, structure=keep|choose.",
            code="policy-not-valid",
        )
    regime = given.get("regime", "full")
    batch_size = int(regime) if regime.isdecimal() else regime
    parse_regime(batch_size)
    new_only, start, structure = given.get("rows") == "new", given.get("start", "scratch"), given.get("structure")
    return Action(given.get("window"), new_only, start, batch_size, structure or "keep", given.get("half_life"))


def _split(text: str, separator: str) -> list[str]:
    """Cut a text where the separator stands outside of brackets."""
    parts, depth, begun = list[str](), 0, 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and place >= begun and text.startswith(separator, place):
            parts.append(text[begun:place])
            begun = place + len(separator)
    return [*parts, text[begun:]]


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)
