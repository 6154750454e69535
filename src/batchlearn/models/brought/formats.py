"""How an estimator is kept without pickle: in its library's own format, or as what skops makes of it.

The bytes were hashed with the model, but a model may come from anybody. So the trees of LightGBM, XGBoost and CatBoost
are looked through before native code reads them (`trees`). What skops restores of types that it does not know to be
harmless, it restores only where a person named them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal
from warnings import catch_warnings, simplefilter

import numpy as np

from batchlearn.artifacts.manifest import sha256
from batchlearn.errors import BatchlearnError, DataError, IntegrityError, UsageError, quoted
from batchlearn.formatting.flags import flag
from batchlearn.kernels.design import Floats
from batchlearn.models.brought.code import import_file
from batchlearn.models.brought.trees import check_catboost, check_lightgbm, check_xgboost
from batchlearn.models.links import INVERSE_LINKS

if TYPE_CHECKING:
    from batchlearn.models.brought import LearnerRecord

Library = Literal["lightgbm", "xgboost", "catboost", "skops"]
PACKAGES = ("lightgbm", "xgboost", "catboost", "skops")


@dataclass(frozen=True)
class Allowed:
    """What a person named, on the command line or in a project's file: types, and the file whose code may be run."""

    types: tuple[str, ...] = ()
    file: Path | None = None


NOTHING_ALLOWED = Allowed()


@contextmanager
def foreign_code(
    whose: str, code: str, advice: str, refusal: type[DataError] | type[UsageError] = DataError
) -> Iterator[None]:
    """Run code of other people: what it prints goes to standard error, what it raises becomes a refusal with advice.

    Nobody can name what it may raise: this is the one place that catches everything.
    """
    printed, stdout = StringIO(), sys.stdout
    sys.stdout = printed
    try:
        with catch_warnings():
            simplefilter("ignore")
            yield
    except BatchlearnError:
        raise
    except Exception as problem:  # code of other people may raise anything
        said = " ".join(str(problem).split()) or "no message"
        raise refusal(f"{whose}: {type(problem).__name__}: {quoted(said, 400)}. {advice}", code=code) from problem
    finally:
        sys.stdout = stdout
        sys.stderr.write(printed.getvalue())


class SklearnResponder:
    """An estimator of scikit-learn's interface, as it is in memory."""

    def __init__(self, estimator: Any, path: str, classes: int) -> None:
        self.estimator, self._path, self._classes = estimator, path, classes

    def respond(self, rows: Any, offset: Floats | None) -> Any:
        """Return its probabilities in the order of the classes, else what it decides by, else what it predicts."""
        with foreign_code(f"{self._path} failed to predict", "learner-failed", "Mend it, or use another one."):
            if offset is not None:  # of these only CatBoost is trained with one
                from catboost import Pool

                rows = Pool(rows, baseline=offset, cat_features=self.estimator.get_cat_feature_indices() or None)
            if not self._classes:
                return np.asarray(self.estimator.predict(rows), dtype=np.float64).reshape(-1)
            if hasattr(self.estimator, "predict_proba"):
                return self._in_order(np.asarray(self.estimator.predict_proba(rows), dtype=np.float64))
            decides = getattr(self.estimator, "decision_function", self.estimator.predict)
            return np.asarray(decides(rows), dtype=np.float64)

    def _in_order(self, shares: Floats) -> Floats:
        """Return probabilities with the columns of the classes 0, 1, ...; those of classes it never saw are zero."""
        known = getattr(self.estimator, "classes_", None)
        if known is None or shares.ndim != 2 or shares.shape[1] != len(known):
            return shares
        places = [int(code) for code in known]
        if sorted(places) != [*range(self._classes)]:
            whole = np.zeros((len(shares), self._classes))
            whole[:, places] = shares
            return whole
        return shares[:, np.argsort(places)]


class LightGBMResponder:
    """Trees of LightGBM."""

    def __init__(self, data: bytes, loss: str) -> None:
        from lightgbm import Booster

        self.booster, self._loss = Booster(model_str=data.decode()), loss

    def respond(self, rows: Any, offset: Floats | None) -> Any:
        """Return what its objective makes of the trees; beside an offset what the link of the loss makes of both."""
        if offset is None:
            return self.booster.predict(rows)
        return INVERSE_LINKS[self._loss](self.booster.predict(rows, raw_score=True) + offset)


class XGBoostResponder:
    """Trees of XGBoost."""

    def __init__(self, data: bytes) -> None:
        from xgboost import Booster

        self.booster = Booster()
        self.booster.load_model(bytearray(data))

    def respond(self, rows: Any, offset: Floats | None) -> Any:
        """Return what its objective makes of the trees, on top of an offset where there is one."""
        from xgboost import DMatrix

        return self.booster.predict(DMatrix(rows, base_margin=offset, enable_categorical=True))


def library_of(estimator: object) -> Library:
    """Return in whose format a fitted estimator can be kept; a class of the user's made of one is an object."""
    module, _, name = f"{type(estimator).__module__}.{type(estimator).__qualname__}".partition(".")
    if module == "lightgbm" and name.startswith("sklearn.LGBM"):
        return "lightgbm"
    if module == "catboost" and name in ("core.CatBoostClassifier", "core.CatBoostRegressor"):
        return "catboost"
    return "xgboost" if module == "xgboost" and name.startswith("sklearn.XGB") else "skops"


def kept_bytes(estimator: Any, library: Library) -> bytes:
    """Return a fitted estimator as the bytes that it is kept as; for skops, ImportError where it is not installed."""
    if library == "lightgbm":
        return str(estimator.booster_.model_to_string()).encode()
    if library == "xgboost":
        return bytes(estimator.get_booster().save_raw("json"))
    if library == "catboost":
        with TemporaryDirectory() as folder:
            estimator.save_model(f"{folder}/learner.json", format="json")
            return Path(folder, "learner.json").read_bytes()
    from skops.io import dumps

    return bytes(dumps(estimator))


def catboost_estimator(data: bytes, classes: int) -> Any:
    """Return the estimator of a JSON model of CatBoost; IntegrityError where an index leads out of its array."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    values, scale, bias = check_catboost(data, classes)
    estimator = CatBoostClassifier() if classes else CatBoostRegressor()
    with TemporaryDirectory() as folder:  # CatBoost reads JSON from files alone
        Path(folder, "learner.json").write_bytes(data)
        estimator.load_model(f"{folder}/learner.json", format="json")
    # It reads some numbers of JSON a last bit off.
    estimator.set_leaf_values(np.asarray(values))
    estimator.set_scale_and_bias(scale, bias)
    return estimator


def types_to_trust(data: bytes) -> tuple[str, ...]:
    """Return the types that an object kept by skops needs and that are not known to be harmless."""
    from skops.io import get_untrusted_types

    return tuple(sorted(get_untrusted_types(data=data)))


def restored(learner: LearnerRecord, data: bytes, allowed: Allowed, loss: str, classes: int) -> Any:
    """Return what predicts, of its kept bytes.

    UsageError where it was not kept, its types are not named, or its library is not installed; IntegrityError where
    a package or the user's file is not the one it was made with, or an index leads out of its array.
    """
    if learner.kept_by is None:
        raise UsageError(
            f"The {learner.path} of this model was not kept: no file holds it without pickle. It is fitted again where "
            f"the rows of its training are given: --rebuild ROWS --learner {learner.path}",
            code="learner-not-kept",
        )
    refuse_other_code(learner, allowed)
    if learner.kept_by == "lightgbm":
        check_lightgbm(data)
        return LightGBMResponder(data, loss)
    if learner.kept_by == "xgboost":
        check_xgboost(data)
        return XGBoostResponder(data)
    if learner.kept_by == "catboost":
        with foreign_code(f"{learner.path} cannot be restored", "learner-not-restored", "Train again."):
            return SklearnResponder(catboost_estimator(data, classes), learner.path, classes)
    from skops.io import loads

    with foreign_code(f"{learner.path} cannot be restored", "learner-not-restored", "Train again."):
        needed = types_to_trust(data)
        untold = sorted(set(needed) - set(allowed.types))
        if untold:
            raise UsageError(
                f"The {learner.path} of this model consists of {', '.join(map(quoted, untold))}, which may run code "
                "when it is restored. Where you know them, name them: "
                + " ".join(flag("--trust", one) for one in untold),
                code="learner-needs-trust",
            )
        if allowed.file is not None:
            import_file(allowed.file)
        return SklearnResponder(loads(data, trusted=list(needed)), learner.path, classes)


def refuse_other_code(learner: LearnerRecord, allowed: Allowed) -> None:
    """Refuse a learner whose packages, or whose file of the user's, are not those it was made with: IntegrityError."""
    from importlib.metadata import PackageNotFoundError, version  # imported here: our own models ask for no version

    for name, made_with in learner.packages.items():
        try:
            there = version(name)
        except PackageNotFoundError as problem:
            raise UsageError(
                f"The {learner.path} of this model needs {name} {made_with}, which is not installed: "
                f"pip install '{name}=={made_with}'",
                code="learner-package-missing",
            ) from problem
        if there != made_with:
            raise IntegrityError(
                f"The {learner.path} of this model was made with {name} {made_with} and {there} is installed: it may "
                f"predict otherwise. Install {name}=={made_with}, or train again.",
                code="learner-changed",
            )
    if learner.file_sha256 is None or (learner.kept_by is not None and not learner.types):
        return
    if allowed.file is None:
        raise UsageError(
            f"The {learner.path} of this model is restored with the file of code that it was made with, and no file "
            f"was named. Name it: --code {learner.path.rpartition(':')[0]}",
            code="learner-needs-code",
        )
    if allowed.file.is_file() and sha256(allowed.file.read_bytes()) != learner.file_sha256:
        raise IntegrityError(
            f"{quoted(allowed.file.name)} is not the file that this model was made with: its SHA-256 is another. "
            "Restore it as it was, or train again.",
            code="learner-changed",
        )
