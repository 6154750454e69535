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
from batchlearn.data.split import hold_out
from batchlearn.tables.table import Table, read

SEED, SHARE = 0, 0.2


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
    ledger = read_ledger(table, loss=data.loss)
    split = hold_out(ledger, SHARE, SEED)
    batches = [batch.to_pandas() for batch in table.scan([column.name for column in table.features])]
    frame = pd.concat(batches, ignore_index=True)[ledger.used]
    for name in list(frame.columns):
        if pd.api.types.is_datetime64_any_dtype(frame[name]):
            parts = frame.pop(name).dt
            for part in ("hour", "weekday", "month"):
                frame[f"{part}({name})"] = getattr(parts, part).astype("string")
        elif not pd.api.types.is_numeric_dtype(frame[name]):
            frame[name] = frame[name].astype("string")
        elif name == data.time:
            frame.pop(name)
    return frame.convert_dtypes(), ledger.label[ledger.used], split.late[ledger.used]


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
        "count": PoissonRegressor(alpha=1.0 / len(label), max_iter=1000),
        "regression": Ridge(),
    }[data.task]
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = make_pipeline(columns, model).fit(frame[~late], label[~late])
    seconds = time.perf_counter() - began
    width = len(pipeline[0].get_feature_names_out())
    return Score(
        type(model).__name__, score(data.task, label[late], predicted(pipeline, data.task, frame[late])), seconds, width
    )


def predicted(model: object, task: str, frame: pd.DataFrame) -> np.ndarray:
    """Return the probability of the second class, or the mean."""
    if task == "binary":
        return np.asarray(model.predict_proba(frame)[:, 1])
    return np.asarray(model.predict(frame))


def score(task: str, label: np.ndarray, response: np.ndarray) -> float:
    """Return log loss, Poisson deviance or mean squared error."""
    if task == "binary":
        return float(log_loss(label, np.clip(response, 1e-15, 1 - 1e-15)))
    if task == "count":
        return float(mean_poisson_deviance(label, np.maximum(response, 1e-15)))
    return float(mean_squared_error(label, response))
