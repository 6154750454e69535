"""Sentences on estimators that were brought along."""

from __future__ import annotations

from collections.abc import Callable

from batchlearn.formatting.codes import Code
from batchlearn.formatting.flags import flag

_FORMS = {
    "frame": "a frame: categories as categories, times as numbers",
    "texts": "the texts of its one column",
    "matrix": "the matrix of our encoding: levels as columns of zeros and ones, missing numbers as their mean",
}


def _learner_fed(path: str, form: str, refusal: str | None, pandas: bool = True) -> str:
    missing = "" if pandas else "pandas is not installed, so it was offered no frame: "
    return f"{missing}{path} is fed {_FORMS.get(form, form)}." + (
        "" if refusal is None else f" Before that it was tried otherwise: {refusal}"
    )


def _learner_fed_otherwise(path: str, form: str, champion: str) -> str:
    now, before = _FORMS.get(form, form), _FORMS.get(champion, champion)
    return f"{path} is fed {now}; the champion was fed {before}. See whether pandas is installed here as it was there."


def _learner_not_kept(path: str, types: list[str], missing: str | None) -> str:
    keep = f" To keep it, install {missing}: pip install 'batchlearn[{missing}]'" if missing else ""
    # A flag each: all in one would be a word longer than a line, which a terminal breaks.
    trusted = " ".join(flag("--trust", one) for one in types)
    keep += f" To keep it, name the types that it consists of: {trusted}" if types else ""
    return f"No file can hold {path} without pickle: a saved model has its recipe alone and is rebuilt from it.{keep}"


SENTENCES: dict[Code, str | Callable[..., str]] = {
    Code.LEARNER_FED: _learner_fed,
    Code.LEARNER_FED_OTHERWISE: _learner_fed_otherwise,
    Code.LEARNER_ROUNDS: "{path} stopped early on rows that judge nothing; what is judged and delivered was trained "
    "{rounds:,} rounds, on all of its rows.",
    Code.LEARNER_CALIBRATED: "{path} gives no probabilities: a curve from its scores to them was found on rows that "
    "judge nothing.",
    Code.LEARNER_NOT_KEPT: _learner_not_kept,
    Code.LEARNER_CONTINUED: "{path} went on from the champion ({how}): that is no training from scratch and need not "
    "end where one would.",
    Code.LEARNER_UNPROVED: "{path} was brought along, and nothing is known of its objective that could bound how far "
    "it is from an optimum",
}
