"""Rows that come day by day, and the user's own file of estimators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tests.retraining.made import orders

MY_MODELS = '''\
import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


class Cut:
    """Says the share of each side of one cut of a column."""

    def __init__(self, column="size"):
        self.column = column

    def fit(self, X, y):
        self.cut_ = float(np.median(X[self.column]))
        above = np.asarray(X[self.column] > self.cut_)
        self.shares_ = [float((y[above == side].sum() + 1.0) / ((above == side).sum() + 2.0)) for side in (False, True)]
        return self

    def predict_proba(self, X):
        one = np.asarray(self.shares_)[np.asarray(X[self.column] > self.cut_).astype(int)]
        return np.column_stack([1.0 - one, one])

    def predict(self, X):
        return (self.predict_proba(X)[:, 1] > 0.5).astype(int)


def boosted():
    kept = ColumnTransformer([("kept", "passthrough", ["size", "colour"])], verbose_feature_names_out=False)
    return make_pipeline(kept.set_output(transform="pandas"), HistGradientBoostingClassifier(max_iter=10))


def words():
    return make_pipeline(ColumnTransformer([("words", TfidfVectorizer(), "note")]), LogisticRegression())
'''

WORDS = {"red": "a crimson thing", "green": "something like grass", "blue": "as the sky is"}


def noted(first: int, last: int, slope: float = 1.5) -> pa.Table:
    """Orders with a note that says their colour in words."""
    table = orders(first, last, slope)
    notes = [
        f"{WORDS[colour]}, {'big' if size > 0 else 'small'}"
        for colour, size in zip(table.column("colour").to_pylist(), table.column("size").to_pylist(), strict=True)
    ]
    return table.append_column("note", pa.array(notes))


def add_noted(root: Path, first: int, last: int, slope: float = 1.5) -> None:
    (root / "data").mkdir(exist_ok=True)
    pq.write_table(noted(first, last, slope), root / "data" / f"{first:03d}.parquet")


def small(rows: int = 300, seed: int = 0) -> pa.Table:
    """Numbers with missing ones, a category with missing and rare levels, a time that is no order, three labels."""
    rng = np.random.default_rng(seed)
    number, drawn = rng.normal(size=rows), rng.choice(["a", "b", "c"], rows)
    score = number + (drawn == "a") + 0.3 * rng.normal(size=rows)
    level = [None if row % 11 == 0 else "odd" if row == 1 else str(one) for row, one in enumerate(drawn)]
    when = np.datetime64("2026-01-01", "us") + rng.integers(0, 90 * 86_400, rows) * 10**6
    return pa.table(
        {
            "when": when,
            "price[EUR]": [None if row % 13 == 0 else float(one) for row, one in enumerate(number)],
            "level": level,
            "weight": rng.uniform(0.5, 2.0, rows),
            "days": rng.uniform(1.0, 3.0, rows),
            "two": np.where(score > 0.4, "yes", "no"),
            "three": np.where(score > 0.8, "high", np.where(score > -0.2, "mid", "low")),
            "number": score,
            "count": rng.poisson(np.exp(0.4 * score)).astype(float),
        }
    )
