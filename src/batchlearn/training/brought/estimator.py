"""An estimator as a person named it: found, made anew for each fit, and asked for what its `fit` takes.

Code runs here, and only here in a training, that is not ours: what was typed, or what a project's file names. Whatever
it prints goes to standard error, and whatever it raises becomes an error of ours with its message.
"""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from batchlearn.artifacts.manifest import sha256
from batchlearn.data.ledger import Ledger
from batchlearn.data.target import Target, Task
from batchlearn.errors import UsageError, quoted
from batchlearn.kernels.design import Floats
from batchlearn.models.brought import LearnerRecord, Setting
from batchlearn.models.brought.code import import_file
from batchlearn.models.brought.formats import PACKAGES, foreign_code, library_of
from batchlearn.tables.table import Roles

_SEEDS = 1 << 32
# Names so alike are one name misspelt; libraries that take any name have others that are not listed.
_MISSPELT = 0.8


@dataclass(frozen=True)
class NamedEstimator:
    """What was named, and how one that was never fitted is made of it; `file` is the user's, where one was named."""

    path: str
    settings: Mapping[str, Setting]
    make: Callable[[], Any] = field(repr=False)
    packages: Mapping[str, str]
    file: Path | None = None
    file_sha256: str | None = None

    def fresh(self, seed: int) -> Any:
        """Return an estimator that was never fitted, with what was set, and seeded where it draws and was not."""
        with foreign_code(f"{self.path} cannot be made", "learner-failed", "Mend it, or use another one."):
            estimator = self.make()
            known = estimator.get_params() if hasattr(estimator, "get_params") else {}
            quiet: dict[str, Any] = {
                name: seed % _SEEDS
                for name, value in known.items()
                if name.rpartition("__")[2] == "random_state" and value is None
            }
            if library_of(estimator) == "lightgbm" and not {"verbosity", "verbose"} & known.keys():
                quiet["verbosity"] = -1
            if library_of(estimator) == "xgboost" and "enable_categorical" not in self.settings:
                quiet["enable_categorical"] = True
            if library_of(estimator) == "catboost":
                quiet |= _quiet_catboost(known.keys(), seed)
            return estimator.set_params(**quiet) if quiet else estimator


def _quiet_catboost(given: Collection[str], seed: int) -> dict[str, Any]:
    """Return what keeps CatBoost from writing files and reports, and its seed, where none of these was set."""
    names = {
        "allow_writing_files": ({"allow_writing_files"}, False),
        "verbose": ({"verbose", "verbose_eval", "silent", "logging_level"}, False),
        "random_seed": ({"random_seed", "random_state"}, seed % _SEEDS),
    }
    return {name: value for name, (same, value) in names.items() if not same & set(given)}


def name_estimator(path: str, settings: Mapping[str, Setting], folder: Path) -> NamedEstimator:
    """Find what a path names, import it, and see that it can be made; UsageError where that is not so."""
    place, colon, name = path.rpartition(":")
    file = folder / place if colon else None
    if not colon:
        place, _, name = path.rpartition(".")
    if not place or not name:
        raise UsageError(
            f"The model is {quoted(path)}; needed is an import path with a class or a function, such as "
            "lightgbm.LGBMClassifier, or a file with one, such as my_models.py:build.",
            code="learner-path",
        )
    mend = "Mend it, or name another one."
    with foreign_code(
        f"{quoted(path)} cannot be imported", code="learner-not-imported", advice=mend, refusal=UsageError
    ):
        try:
            module = import_module(place) if file is None else import_file(file)
        except ImportError as problem:
            raise _not_there(path, place, problem) from problem
    found = getattr(module, name, None)
    if not callable(found):
        there = [known for known in dir(module) if callable(getattr(module, known)) and not known.startswith("_")]
        close = difflib.get_close_matches(name, there, n=1, cutoff=0.5)
        advice = f"did you mean {quoted(close[0])}?" if close else f"it has {quoted(', '.join(there[:10]), 200)}."
        raise UsageError(
            f"There is no class or function {quoted(name)} in {quoted(place)}; {advice}", code="learner-name"
        )
    named = _checked(path, settings, lambda: _made(path, found, settings))
    hashed = None if file is None else sha256(file.read_bytes())
    return NamedEstimator(path, dict(settings), named.make, named.packages, file, hashed)


def given_estimator(estimator: Any) -> NamedEstimator:
    """Return an estimator that was given as an object, to be made anew by copying it."""
    kind, parts = type(estimator), type(estimator).__module__.split(".")
    # By the shortest path that leads to its class, which is the one that people type.
    homes = (".".join(parts[:length]) for length in range(1, len(parts)))
    home = next((one for one in homes if getattr(sys.modules.get(one), kind.__name__, None) is kind), kind.__module__)
    path = f"{home}.{kind.__qualname__}"

    def copied() -> Any:
        if not hasattr(estimator, "get_params") or not hasattr(type(estimator), "set_params"):
            return deepcopy(estimator)
        from sklearn.base import clone

        return clone(estimator)

    return _checked(path, {}, copied)


def _checked(path: str, settings: Mapping[str, Setting], make: Callable[[], Any]) -> NamedEstimator:
    """Make one to see that it is an estimator, and of which packages."""
    with foreign_code(f"{path} cannot be made", "learner-failed", "Mend it, or use another one."):
        estimator = make()
    if not callable(getattr(estimator, "fit", None)) or not callable(getattr(estimator, "predict", None)):
        raise UsageError(
            f"{quoted(path)} gives a {type(estimator).__name__}, which is no estimator: it needs the methods fit and "
            "predict, as those of scikit-learn have them.",
            code="learner-no-estimator",
        )
    return NamedEstimator(path, settings, make, _packages(estimator))


def _made(path: str, found: Callable[..., Any], settings: Mapping[str, Setting]) -> Any:
    """Return an estimator of a class or function with what was set; UsageError with the nearest name where unknown."""
    if inspect.isclass(found) and not hasattr(found, "set_params"):
        known = [*inspect.signature(found).parameters]
        _refuse_unknown(path, settings, known, any_name=False)
        return found(**settings)
    estimator: Any = found()
    if not settings:
        return estimator
    if not hasattr(estimator, "set_params"):
        raise _unknown(path, next(iter(settings)), [])
    takes = inspect.signature(type(estimator).__init__).parameters.values()
    any_name = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in takes)
    # Those of CatBoost say which parameters were set, and not which there are.
    named = [one.name for one in takes if one.kind is not inspect.Parameter.VAR_KEYWORD and one.name != "self"]
    _refuse_unknown(path, settings, [*dict.fromkeys([*estimator.get_params(), *named])], any_name)
    return estimator.set_params(**settings)


def _refuse_unknown(path: str, settings: Mapping[str, Setting], known: list[str], any_name: bool) -> None:
    for name in settings:
        if name not in known and not (any_name and not difflib.get_close_matches(name, known, n=1, cutoff=_MISSPELT)):
            raise _unknown(path, name, known)


def _unknown(path: str, name: str, known: list[str]) -> UsageError:
    close = difflib.get_close_matches(name, known, n=1)
    advice = f"did you mean {quoted(close[0])}?" if close else f"it has {quoted(', '.join(known) or 'none', 300)}."
    return UsageError(f"{quoted(path)} has no parameter {quoted(name)}; {advice}", code="learner-parameter")


def _not_there(path: str, place: str, problem: ImportError) -> UsageError:
    missing = (problem.name or "").partition(".")[0]
    if missing in PACKAGES and missing == place.partition(".")[0]:
        return UsageError(
            f"{quoted(path)} needs {missing}, which is not installed: pip install 'batchlearn[{missing}]'",
            code="extra-missing",
        )
    return UsageError(
        f"{quoted(path)} cannot be imported: {problem}. Check the path, and that its package is installed here.",
        code="learner-module-missing",
    )


def _packages(estimator: Any) -> dict[str, str]:
    """Return the version by name of the packages whose classes an estimator and its steps are made of."""
    parts = [estimator, *(estimator.get_params().values() if hasattr(estimator, "get_params") else ())]
    modules = {type(part).__module__.partition(".")[0] for part in parts}
    known = packages_distributions()
    names = {known[module][0] for module in modules if module in known} - {"batchlearn"}
    found = {name: version(name) for name in sorted(names)}
    return {name: one for name, one in found.items() if name in PACKAGES or name == "scikit-learn" or name in names}


# --- what its fit takes ---------------------------------------------------------------------------------------------


def _last_step(estimator: Any) -> tuple[Any, str]:
    """Return the step of a pipeline that learns, and what its parameters begin with."""
    prefix = ""
    while isinstance(getattr(estimator, "steps", None), list) and estimator.steps:
        name, estimator = estimator.steps[-1]
        prefix += f"{name}__"
    return estimator, prefix


def fit_keywords(estimator: Any, learner: LearnerRecord, ledger: Ledger, roles: Roles) -> dict[str, Floats]:
    """Return weights and offsets of the used rows of a ledger by the names that `fit` has for them.

    UsageError where it takes none: rows would count otherwise than they were said to.
    """
    (last, prefix), path = _last_step(estimator), learner.path
    takes, found = inspect.signature(last.fit).parameters, dict[str, Floats]()
    if ledger.weight is not None:
        if "sample_weight" not in takes:
            what = "A half-life was" if roles.weight is None else f"The column of weights {quoted(roles.weight)} was"
            what = "Class weights were" if learner.class_weights else what
            raise UsageError(
                f"{what} given and the fit of {path} takes no sample_weight; leave them out, or use an estimator that "
                "does.",
                code="learner-weights",
            )
        found[f"{prefix}sample_weight"] = ledger.weight[ledger.used]
    if ledger.offset is not None:
        name = next((one for one in ("init_score", "base_margin", "baseline") if one in takes and not prefix), None)
        if name is None or not _has_link(last, ledger.target):
            raise UsageError(
                f"The column {quoted(roles.exposure or roles.offset)} is to be added to the predictor of each row, and "
                f"{path} as it is set takes none. Use LightGBM or XGBoost with the objective of the loss (--loss "
                "poisson --set objective=poisson; of XGBoost count:poisson; of CatBoost loss_function=Poisson), or "
                "leave the role out.",
                code="learner-offset",
            )
        # Left to themselves these libraries begin at 0 beside an offset, and a hundred trees go into the mean.
        found[name] = ledger.offset[ledger.used] + learner.base
    return found


def _has_link(estimator: Any, target: Target) -> bool:
    """Whether what boosting adds up is on the scale of the linear predictor of a loss."""
    given = estimator.get_params()
    objective = str(given.get("objective", given.get("loss_function"))).partition(":variance_power")[0]
    if target.task is Task.CLASSES:
        return len(target.classes) == 2 and objective in ("None", "binary", "binary:logistic", "Logloss")
    if target.task is Task.NUMBER:
        return objective in ("None", "regression", "reg:squarederror", "RMSE")
    logarithmic = ("poisson", "gamma", "tweedie", "count:poisson", "reg:gamma", "reg:tweedie", "Poisson", "Tweedie")
    return objective in logarithmic


def refuse_other_task(estimator: Any, path: str, target: Target) -> None:
    """Refuse a regressor where classes are to be predicted, and the other way round: UsageError."""
    if not hasattr(estimator, "__sklearn_tags__"):
        return
    with foreign_code(f"{path} does not say what it is", "learner-failed", "Mend it, or use another one."):
        kind = estimator.__sklearn_tags__().estimator_type
    needed = "classifier" if target.task is Task.CLASSES else "regressor"
    if kind in ("classifier", "regressor") and kind != needed:
        what = f"holds {len(target.classes)} classes" if target.classes else f"is judged by the {target.loss} loss"
        raise UsageError(
            f"{path} is a {kind}, and '{target.column}' {what}: a {needed} is needed. Name one, or say with --loss "
            "what is predicted.",
            code="learner-task",
        )


class EarlyStop(NamedTuple):
    """How an estimator stops early: on rows that it has to be shown, or on some that it takes away itself."""

    shown: bool
    rounds: str  # the parameter that says how many there are
    off: Mapping[str, Setting]  # what makes it go on to the end

    def ended(self, estimator: Any) -> int | None:
        """Return after how many rounds a fitted estimator stopped; None where it did not look."""
        last, _ = _last_step(estimator)
        if getattr(last, "do_early_stopping_", True) is False:
            return None
        if hasattr(last, "get_best_iteration"):
            return int(last.get_best_iteration()) + 1
        if hasattr(last, "best_iteration"):
            return int(last.best_iteration) + 1
        for name in ("best_iteration_", "n_iter_", "n_estimators_"):
            if getattr(last, name, None) is not None:
                return int(np.max(getattr(last, name)))
        return None


def early_stop(estimator: Any) -> EarlyStop | None:
    """Return how an estimator stops early as it is set; None where it does not."""
    last, prefix = _last_step(estimator)
    known = last.get_params() if hasattr(last, "get_params") else {}
    shown = [name for name in ("early_stopping_rounds", "early_stopping_round") if known.get(name)]
    if shown and not prefix:
        # CatBoost has four names for one parameter, and takes one of them.
        given = next((one for one in ("iterations", "num_boost_round", "num_trees") if one in known), "n_estimators")
        rounds = "n_estimators" if "n_estimators" in known else given
        return EarlyStop(True, rounds, dict.fromkeys(shown))
    if known.get("early_stopping") and "max_iter" in known:
        endless: dict[str, Setting] = {"tol": None} if "penalty" in known else {}
        off: dict[str, Setting] = {"early_stopping": False, **endless}
        return EarlyStop(False, f"{prefix}max_iter", {prefix + name: value for name, value in off.items()})
    if known.get("n_iter_no_change") is not None and "n_estimators" in known:
        return EarlyStop(False, f"{prefix}n_estimators", {f"{prefix}n_iter_no_change": None})
    return None
