"""Names of the field as people say them: metrics, baselines, models, scales."""

from __future__ import annotations

from typing import NamedTuple


class GlossaryEntry(NamedTuple):
    """A word of the field with the line that explains it; `lower_is_better` is None where neither is.

    `short` is what a narrow column says instead, in ASCII.
    """

    name: str
    meaning: str
    lower_is_better: bool | None = None
    short: str = ""


METRICS = {
    "log_loss": GlossaryEntry(
        "log loss", "the mean of -ln(probability given to what happened); 0 is perfect foresight", True
    ),
    "brier": GlossaryEntry(
        "Brier score", "the mean squared distance of the probability from 0 or 1 as it turned out", True, "brier"
    ),
    "auc": GlossaryEntry(
        "AUC", "how often a random row of the one class is ranked above one of the other; 0.5 is chance", False
    ),
    "average_precision": GlossaryEntry(
        "average precision", "the share of hits among the rows ranked first, averaged", False
    ),
    "accuracy": GlossaryEntry("accuracy", "the share of rows whose likelier class is the true one", False),
    "mse": GlossaryEntry(
        "mean squared error", "the mean of the squared errors, in squared units of the target", True, "MSE"
    ),
    "rmse": GlossaryEntry("RMSE", "the root of the mean squared error, in units of the target", True),
    "mae": GlossaryEntry(
        "mean absolute error", "how far predictions are off on average, in units of the target", True, "MAE"
    ),
    "r2": GlossaryEntry("R²", "the share of the squared error of the mean that the model removes", False, "R2"),
    "poisson_deviance": GlossaryEntry(
        "Poisson deviance", "the misfit of predicted counts; 0 is perfect", True, "poisson deviance"
    ),
    "gamma_deviance": GlossaryEntry("gamma deviance", "the misfit of predicted amounts; 0 is perfect", True),
    "tweedie_deviance": GlossaryEntry(
        "Tweedie deviance", "the misfit of predicted amounts; 0 is perfect", True, "tweedie deviance"
    ),
    "huber_loss": GlossaryEntry(
        "Huber loss", "half the squared error, of large errors a multiple of their size", True, "huber loss"
    ),
    "d2": GlossaryEntry(
        "D²",
        "the share of the deviance of the mean (of the mean rate, with an exposure) that the model removes",
        False,
        "D2",
    ),
}
BASELINES = {
    "constant": GlossaryEntry(
        "constant", "always the mean, the base rates, or the rate times the exposure, of the training labels"
    ),
    "last_value": GlossaryEntry("last value", "what the label of the row just before says"),
}
MODELS = {
    "logistic": "logistic regression",
    "squared": "linear regression",
    "huber": "robust linear regression",
    "poisson": "Poisson regression",
    "gamma": "gamma regression",
    "tweedie": "Tweedie regression",
    "softmax": "multinomial logistic regression",
}
_SPLITS = {"time": "the latest rows by time", "group": "whole groups, drawn at random", "random": "random rows"}
_LOG_LINKS = {"poisson", "gamma", "tweedie"}
_PROBABILITIES = {"logistic", "softmax"}


def metric(name: str) -> GlossaryEntry:
    """Return the words for a metric; an unknown one keeps its name and claims no direction."""
    return METRICS.get(name, GlossaryEntry(name.replace("_", " "), ""))


def baseline(name: str) -> GlossaryEntry:
    """Return the words for a baseline."""
    return BASELINES.get(name, GlossaryEntry(name.replace("_", " "), ""))


def how_split(kind: str, one_time: bool = False) -> str:
    """Say which rows were held out, by how they were told apart; `one_time`: a split by time found one time only."""
    return f"{_SPLITS[kind]}{', because all rows have the same time' if one_time else ''}"


def in_short(name: str) -> str:
    """Return the name of a metric or baseline for a narrow column."""
    term = METRICS.get(name) or BASELINES.get(name)
    return name.replace("_", " ") if term is None else term.short or term.name


def predicts_probabilities(loss: object) -> bool:
    """Whether a model of this loss predicts probabilities."""
    return isinstance(loss, str) and loss in _PROBABILITIES


def effect_scale(loss: object) -> GlossaryEntry:
    """Return the scale on which effects add up, and how to read it."""
    if predicts_probabilities(loss):
        return GlossaryEntry("log odds", "0.7 more is twice the odds, 1.1 more three times, 0.7 less half")
    if isinstance(loss, str) and loss in _LOG_LINKS:
        return GlossaryEntry("log of the mean", "0.7 more is twice the mean, 0.1 more is 10 % more, 0.7 less half")
    return GlossaryEntry("units of the target", "1 more is a prediction that is 1 higher")
