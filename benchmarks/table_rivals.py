"""What people would run instead: scikit-learn's linear models on one-hot columns, on the very same split."""

from __future__ import annotations

import time
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
from data_sets import DataSet
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.metrics import log_loss, mean_poisson_deviance, mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from batchlearn.data.ledger import read_ledger
from batchlearn.data.split import hold_out, with_lots
from batchlearn.tables.table import Table, read

SEED, SHARE = 0, 0.2
# Of L-BFGS: what scikit-learn does by default; hundreds more take minutes on the largest sets.
_MULTICLASS_STEPS = 100


class Score(NamedTuple):
    """A peer's proper score on the later rows, and what it took."""

    name: str
    score: float
    seconds: float
    columns: int


def open_table(data: DataSet) -> Table:
    """Open a set as `batchlearn train` would."""
    return read(data.path, target=data.target, time=data.time, drop=data.drop, where=data.condition)


def frames(data: DataSet) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return the features as a frame, the labels, and which rows are held out: those batchlearn holds out."""
    table = open_table(data)
    ledger = with_lots(table, read_ledger(table, loss=data.loss))
    late = hold_out(ledger, SHARE, SEED).late[ledger.used]
    used, label = ledger.used, ledger.label[ledger.used]
    if data.task == "multiclass":
        label = np.asarray(ledger.target.classes)[label.astype(int)].astype(str)
    batches = [batch.to_pandas() for batch in table.scan([column.name for column in table.features])]
    frame = pd.concat(batches, ignore_index=True)[used]
    for name in list(frame.columns):
        if pd.api.types.is_datetime64_any_dtype(frame[name]):
            parts = frame.pop(name).dt
            for part in ("hour", "weekday", "month"):
                frame[f"{part}({name})"] = getattr(parts, part).astype("string")
        elif not pd.api.types.is_numeric_dtype(frame[name]):
            frame[name] = frame[name].astype("string")
        elif name == data.time:
            frame.pop(name)
    return frame.convert_dtypes(), label, late


def linear(data: DataSet) -> Score:
    """Fit scikit-learn's linear model of the task with its defaults (more iterations) on one-hot columns."""
    frame, label, late = frames(data)
    text = [name for name in frame.columns if pd.api.types.is_string_dtype(frame[name])]
    numbers = [name for name in frame.columns if name not in text]
    frame[text] = frame[text].fillna("(missing)").astype(object)
    frame[numbers] = frame[numbers].astype("float64")
    scaled = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    columns = ColumnTransformer([("text", OneHotEncoder(handle_unknown="ignore"), text), ("numbers", scaled, numbers)])
    model = {
        "binary": LogisticRegression(max_iter=1000),
        "multiclass": LogisticRegression(max_iter=_MULTICLASS_STEPS),
        "count": PoissonRegressor(alpha=1.0 / len(label), max_iter=1000),
        "regression": Ridge(),
    }[data.task]
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = make_pipeline(columns, model).fit(frame[~late], label[~late])
    seconds = time.perf_counter() - began
    width = len(pipeline[0].get_feature_names_out())
    judged = late & seen(label, late, data.task)
    found = score(data.task, label[judged], predicted(pipeline, data.task, frame[judged]), model)
    return Score(type(model).__name__, found, seconds, width)


def seen(label: np.ndarray, late: np.ndarray, task: str) -> np.ndarray:
    """Return which rows have a class that the earlier rows show; all of them where labels are no classes."""
    return np.isin(label, np.unique(label[~late])) if task == "multiclass" else np.ones(len(label), dtype=bool)


def predicted(model: object, task: str, frame: pd.DataFrame) -> np.ndarray:
    """Return the mean, the probability of the second class, or those of all classes, (rows, classes)."""
    if task == "multiclass":
        return np.asarray(model.predict_proba(frame))
    if task == "binary":
        return np.asarray(model.predict_proba(frame)[:, 1])
    return np.asarray(model.predict(frame))


def score(task: str, label: np.ndarray, response: np.ndarray, model: object) -> float:
    """Return log loss, Poisson deviance or mean squared error."""
    if task == "multiclass":
        return float(log_loss(label, np.clip(response, 1e-15, 1.0), labels=model.classes_))
    if task == "binary":
        return float(log_loss(label, np.clip(response, 1e-15, 1 - 1e-15)))
    if task == "count":
        return float(mean_poisson_deviance(label, np.maximum(response, 1e-15)))
    return float(mean_squared_error(label, response))
