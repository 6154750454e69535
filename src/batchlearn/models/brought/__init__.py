"""A model that is an estimator of the user's: of scikit-learn's interface, fitted to the same rows, judged like ours.

What it reads is an encoding too: it says which columns count, how rare and unseen levels are told apart, and how the
rows become a matrix where the estimator takes no frame. Nothing here trains, and nothing here imports by a name that
stands in a file: the libraries whose own formats are read are a closed list (`formats`), and an object of other types
is restored only where a person named those types (`Allowed`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa

from batchlearn.data.encoding import CalendarTerm, Encoding, LevelTerm
from batchlearn.data.profile import calendar_part
from batchlearn.data.target import Task
from batchlearn.errors import DataError, UsageError
from batchlearn.kernels.design import Floats
from batchlearn.models.brought.formats import NOTHING_ALLOWED, Allowed, Library, restored
from batchlearn.models.encoded import EncodedModel
from batchlearn.models.links import logistic
from batchlearn.models.model import Predictions
from batchlearn.tables.columns import Kind, floats
from batchlearn.tables.text.times import local_times

Form = Literal["frame", "texts", "matrix"]
Setting = bool | int | float | str | None
# Probabilities of zero and one have no logarithm of their odds.
_SMALLEST = 1e-15
# What probabilities of single precision may be off one in sum.
_SUM_OF_SHARES = 1e-4
_SECOND = 1e6  # microseconds


@dataclass(frozen=True)
class LearnerRecord:
    """What a model was made of: enough to say what it is, to see that it is still the same, and to restore it.

    Attributes:
        path: As the user named it: `lightgbm.LGBMClassifier`, or `my_models.py:build`.
        settings: What was set of it.
        form: What it is fed: a frame, the texts of one column, or the matrix of the encoding.
        packages: Version by name of the packages that it is made of.
        kept_by: Whose format it is kept in; None where it is not kept, and has to be rebuilt.
        types: What an object of the user's consists of, beyond what is known to be harmless.
        file_sha256: Of the user's file, where `path` names one.
        rounds: Where an early stop on rows that judge nothing ended it; None where nothing stopped early.
        calibration: Slope and intercept that make log odds of what it says, where it gives no probabilities.
        class_weights: What each class counted in training.
        base: What trees begin at beside an offset: that of a model without features.
    """

    path: str
    settings: Mapping[str, Setting]
    form: Form
    packages: Mapping[str, str]
    kept_by: Library | None = None
    types: tuple[str, ...] = ()
    file_sha256: str | None = None
    rounds: int | None = None
    calibration: tuple[float, float] | None = None
    class_weights: tuple[float, ...] = ()
    base: float = 0.0


@dataclass(frozen=True)
class BroughtModel(EncodedModel):
    """Predicts what an estimator of the user's says of the encoded rows; `train` makes one of `model=`.

    Attributes:
        learner: What it is and how it was made.
        kept: The estimator in the format of `learner.kept_by`; empty where it is not kept.
        allowed: What a person named, without which an object of other types is not restored.
        fitted: The estimator of this very process, where it was fitted here.
    """

    learner: LearnerRecord
    kept: bytes = field(repr=False)
    allowed: Allowed = NOTHING_ALLOWED
    fitted: object | None = field(default=None, repr=False, compare=False)

    @property
    def restored_with(self) -> tuple[str, ...] | None:
        """What a person has to type beside its path for it to be used; None where no file holds it."""
        if self.learner.kept_by is None:
            return None
        types, file = self.learner.types, self.learner.path.rpartition(":")[0]
        return (*(("--trust", ",".join(types)) if types else ()), *(("--code", file) if types and file else ()))

    @property
    def learned_by(self) -> str:
        """What the user named to be fitted."""
        return self.learner.path

    @property
    def no_certificate(self) -> str:
        """Why no prediction comes with a bound on its distance from the optimum's."""
        return (
            f"This model is a {self.learner.path}, brought along: nothing is known of its objective that could bound "
            "how far it is from an optimum."
        )

    def allowing(self, allowed: Allowed) -> Self:
        """Return the model with what a person named that may be imported to restore it.

        Args:
            allowed: Types, and a file of code.
        """
        return replace(self, allowed=allowed)

    @cached_property
    def estimator(self) -> Any:
        """What predicts: restored from its bytes when it is asked for first, never before."""
        if self.fitted is not None:
            return self.fitted
        return restored(self.learner, self.kept, self.allowed, self.target.loss, len(self.target.classes))

    def predict_batch(self, batch: pa.RecordBatch, *, bounds: bool = False) -> Predictions:
        """Predict the rows of one batch.

        Args:
            batch: Rows in canonical types, as `Table.scan` gives them, with the model's `columns`.
            bounds: Refused: nothing bounds what an estimator of the user's says.
        """
        if bounds:
            raise UsageError(f"{self.no_certificate} Predict without --bounds.", code="no-bounds")
        rows = estimator_rows(self.encoding, self.learner, self.roles.time, [self._as_encoded(batch)])
        offset = None
        if self.roles.offset or self.roles.exposure:
            offset = np.asarray(self._offset(batch) + self.learner.base)
        response = self._response(self.estimator.respond(rows, offset), batch.num_rows)
        if self.target.task is Task.CLASSES:
            clipped = np.clip(response, _SMALLEST, 1.0 - _SMALLEST)
            logs = np.log(clipped)
            two = response.ndim == 1
            return Predictions(response, logs - np.log1p(-clipped) if two else logs - logs.mean(1, keepdims=True), None)
        if self.target.task is Task.NUMBER:
            return Predictions(response, response, None)
        return Predictions(response, np.log(np.maximum(response, _SMALLEST)), None)

    def _response(self, said: Any, rows: int) -> Floats:
        """Return what the estimator says as responses; DataError where it is nothing that could be one."""
        classes = len(self.target.classes)
        found = np.asarray(said, dtype=np.float64)
        if classes == 2 and self.learner.calibration is not None:
            slope, intercept = self.learner.calibration
            found = logistic(slope * found + intercept)
        elif classes == 2 and found.shape == (rows, 2):
            found = found[:, 1]
        needed = (rows, classes) if classes > 2 else (rows,)
        if found.shape != needed:
            raise self._unfit(f"came in the shape {found.shape}; {needed} is needed")
        if not np.all(np.isfinite(found)):
            raise self._unfit(f"is not finite in {int((~np.isfinite(found)).sum()):,} places")
        if not classes:
            return found
        if np.any((found < 0.0) | (found > 1.0)) or (
            classes > 2 and np.any(np.abs(found.sum(axis=1) - 1.0) > _SUM_OF_SHARES)
        ):
            raise self._unfit("is no probability: it has to lie between 0 and 1, and those of a row to add up to 1")
        if self.learner.class_weights:
            # Of rows whose class k counts w_k times its probability is in proportion to w_k P(k).
            weights = np.asarray(self.learner.class_weights)
            if classes == 2:
                return np.asarray(found / weights[1] / (found / weights[1] + (1.0 - found) / weights[0]))
            found = found / weights
            found = found / found.sum(axis=1, keepdims=True)
        return found

    def _unfit(self, what: str) -> DataError:
        return DataError(
            f"What {self.learner.path} predicts {what}. Mend the estimator, or use another one.",
            code="learner-response",
        )


def estimator_rows(
    encoding: Encoding, learner: LearnerRecord, time: str | None, batches: Iterable[pa.RecordBatch]
) -> Any:
    """Return rows as an estimator is fed them.

    A frame has numbers as they are (missing as NaN), categories with the levels of the encoding (unseen and missing
    ones as NaN), of times hour, weekday and month as numbers where they vary and, but of the column that orders the
    rows, whose trend is no feature, the seconds since 1970. A matrix has the dense columns of the encoding, shifted and
    scaled, a column of zeros and ones for each level, and those of texts, sparse.
    """
    if learner.form == "matrix":
        return _matrix(encoding, batches)
    read: list[list[Any]] = []
    for batch in batches:
        read.append([values for _, values in _columns(encoding, time, batch)])
        names = [name for name, _ in _columns(encoding, time, batch.slice(0, 0))]
    joined = [np.concatenate(parts) for parts in zip(*read, strict=True)]
    if learner.form == "texts":
        return joined[0]
    from pandas import Categorical, DataFrame  # imported here: core models predict without it

    levels = {term.column: [*term.labels[: len(term.labels) - term.missing]] for term in _level_terms(encoding)}
    columns = {
        name: Categorical.from_codes(values, categories=levels[name]) if name in levels else values
        for name, values in zip(names, joined, strict=True)
    }
    frame = DataFrame(columns, columns=names)
    if learner.kept_by in ("lightgbm", "xgboost"):
        frame.columns = _plain_names(names)
    return frame


def _level_terms(encoding: Encoding) -> list[LevelTerm]:
    return [term for term in encoding.groups if isinstance(term, LevelTerm)]


def _columns(encoding: Encoding, time: str | None, batch: pa.RecordBatch) -> list[tuple[str, Any]]:
    """Return the columns of a frame by name: numbers, codes of levels (-1 where there is none), or texts."""
    levels = {term.column: term for term in _level_terms(encoding)}
    texts = {term.column for term in encoding.texts}
    found = list[tuple[str, Any]]()
    for name, kind in encoding.kinds.items():
        array = batch.column(name)
        if name in levels:
            term = levels[name]
            codes = term.encode(array)
            found.append((name, np.where(codes < len(term.labels) - term.missing, codes, -1)))
        elif name in texts:
            found.append((name, np.asarray([text or "" for text in array.to_pylist()], dtype=object)))
        elif kind is Kind.TIMESTAMP:
            shown = local_times(array, encoding.zones.get(name))
            if name != time:
                found.append((name, floats(array.cast(pa.int64())) / _SECOND))
            parts = [term for term in encoding.groups if isinstance(term, CalendarTerm) and term.column == name]
            for part in parts:
                number = calendar_part(shown, part.part).astype(np.float64)
                found.append((part.key, np.where(number < 0, np.nan, number + (part.part == "month"))))
        else:
            found.append((name, floats(array)))
    return found


def _matrix(encoding: Encoding, batches: Iterable[pa.RecordBatch]) -> Any:
    layout, parts, texts = encoding.layout, list[Floats](), list[Any]()
    for batch in batches:
        stored, codes = encoding.encode(batch)
        rows = np.zeros((batch.num_rows, layout.dense + sum(layout.groups)))
        rows[:, : layout.dense] = ((stored - encoding.shift[:, None]) / encoding.scale[:, None]).T
        start = layout.dense
        for code, width in zip(codes, layout.groups, strict=True):
            known = np.flatnonzero(code < width)
            rows[known, start + code[known].astype(np.intp)] = 1.0
            start += width
        parts.append(rows)
        texts.append(encoding.encode_texts(batch))
    dense = np.concatenate(parts)
    if not encoding.texts:
        return dense
    from scipy.sparse import csr_array, hstack, vstack  # imported here: only rows of texts are sparse

    return hstack([csr_array(dense), vstack(texts)], format="csr")


def _plain_names(names: list[str]) -> list[str]:
    """Return names without the signs that files of boosting libraries cannot hold; numbered where two became one."""
    plain = ["".join("_" if sign in '"[]{}<>,:' else sign for sign in name) for name in names]
    return plain if len(set(plain)) == len(plain) else [f"column {place + 1}" for place in range(len(names))]
