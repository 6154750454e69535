"""Training on free text: what is proved of its words, what they say, and that a model of them is one like any other."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_softmax
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from tests.training.made import arrow

from batchlearn.data.encoding_fit import EncodingRules
from batchlearn.models.files import load
from batchlearn.report.training.page import training_page
from batchlearn.tables.table import Table, read
from batchlearn.training.fit import Fit
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import train
from batchlearn.training.verification.stored import verify_model

Floats = NDArray[np.float64]
ALPHA = 0.01
SIGNAL = {"refund": 1.6, "late": 1.1, "thanks": -1.4, "great": -1.0, "not great": 2.2, "w7": 0.8}


def complaints(rows: int, seed: int = 0, words: int = 400) -> tuple[dict[str, Any], Floats]:
    """Draw notes in which six words and pairs of some four hundred carry the signal; return log odds as well."""
    rng = np.random.default_rng(seed)
    share = 1.0 / np.arange(1, words + 1)
    vocabulary = np.array(["the", "not", "refund", "late", "thanks", "great", *(f"w{k}" for k in range(6, words))])
    notes, odds = [], np.zeros(rows)
    for row in range(rows):
        drawn = [str(word) for word in rng.choice(vocabulary, rng.integers(0, 14), p=share / share.sum())]
        there = {*drawn, *(f"{a} {b}" for a, b in pairwise(drawn))}
        odds[row] = sum(effect for word, effect in SIGNAL.items() if word in there)
        notes.append((", ".join(drawn) + ".").upper() if drawn else None)
    x = rng.normal(size=rows)
    odds += 0.5 * x - odds.mean()
    left = rng.random(rows) < expit(odds)
    return {"id": np.arange(rows), "note": notes, "x": x, "left": left}, odds


def table(rows: int = 400, **roles: Any) -> Table:
    return read(arrow(complaints(rows)[0]), target="left", drop="id", **{"text": "note", **roles})


@pytest.fixture(scope="module")
def fit() -> Fit:
    return train(table(1500), Recipe(holdout=0.0), threads=1)


def design(fit: Fit, data: Table) -> Floats:
    """Write out the rows as a matrix; whether a text has a word is checked by what a word is."""
    encoding = fit.model.encoding
    (batch,) = data.scan(encoding.columns)
    dense, codes = encoding.encode(batch)
    assert len(codes) == 0
    numbers = (dense - encoding.shift[:, None]) / encoding.scale[:, None]
    (term,) = encoding.texts
    sparse = np.asarray(encoding.encode_texts(batch).toarray())
    for row, text in enumerate(batch.column("note").to_pylist()):
        found = re.findall(r"\w+", (text or "").lower())
        tokens = {*found, *(f"{a} {b}" for a, b in pairwise(found))}
        assert [label in tokens for label in term.words] == sparse[row, : len(term.words)].astype(bool).tolist()
    return np.hstack([np.ones((batch.num_rows, 1)), numbers.T, sparse])


@pytest.mark.parametrize("loss", ["logistic", "squared", "poisson"])
def test_the_optimum_that_scipy_finds_lies_within_the_certificate(loss: str) -> None:
    data = table(300)
    # Stopped early, so that there is a distance to be bounded.
    fit = train(data, Recipe(loss, alpha=ALPHA, holdout=0.0, tolerance=1e-3), threads=1)
    matrix, label = design(fit, data), complaints(300)[0]["left"].astype(float)
    assert matrix.shape[1] == fit.model.encoding.layout.size > 100
    strengths = np.append(0.0, np.full(matrix.shape[1] - 1, ALPHA))

    def objective(w: Floats) -> tuple[float, Floats]:
        eta = matrix @ w
        value, slope = {
            "logistic": lambda: (np.logaddexp(0.0, eta) - label * eta, expit(eta) - label),
            "squared": lambda: (0.5 * (eta - label) ** 2, eta - label),
            "poisson": lambda: (np.exp(eta) - label * eta, np.exp(eta) - label),
        }[loss]()
        return float(value.mean() + 0.5 * strengths @ w**2), matrix.T @ slope / len(label) + strengths * w

    start, least = np.zeros(matrix.shape[1]), {"maxiter": 20_000, "ftol": 1e-16, "gtol": 1e-11, "maxcor": 50}
    optimum = minimize(objective, start, jac=True, method="L-BFGS-B", options={**least, "maxfun": 40_000})
    found, certificate = fit.model.parameters, fit.certificate
    gap = objective(found)[0] - optimum.fun
    assert certificate.loss_bound is not None
    assert certificate.coefficient_bound is not None
    assert gap <= certificate.loss_bound + 1e-12
    scaled = np.abs(found - optimum.x) / fit.model.encoding.own_units
    assert scaled.max() <= certificate.coefficient_bound + 1e-6
    returned = {"logistic": expit, "squared": lambda eta: eta, "poisson": np.exp}[loss]
    predictions = fit.model.predict(data, bounds=True)
    apart = np.abs(predictions.response - returned(matrix @ optimum.x))
    assert predictions.bound is not None
    assert np.all(apart <= predictions.bound + 1e-7)
    if loss != "squared":  # one Newton step is the optimum of that one
        assert gap > 1e-10
        assert certificate.loss_bound < 1e-3


def test_more_than_two_classes_are_bounded_too() -> None:
    columns, odds = complaints(300)
    columns["left"] = np.array(["a", "b", "c"])[np.digitize(odds, [-0.5, 0.5])]
    data = read(arrow(columns), target="left", drop="id", text=["note"])
    fit = train(data, Recipe(alpha=ALPHA, holdout=0.0, tolerance=1e-3), threads=1)
    matrix, label = design(fit, data), np.digitize(odds, [-0.5, 0.5])
    size = matrix.shape[1]

    def objective(w: Floats) -> tuple[float, Floats]:
        logs = log_softmax(matrix @ w.reshape(3, size).T, axis=1)
        penalised = w.reshape(3, size) * np.append(0.0, np.ones(size - 1))
        slope = (np.exp(logs) - np.eye(3)[label]).T @ matrix / len(label) + ALPHA * penalised
        return float(-logs[np.arange(len(label)), label].mean() + 0.5 * ALPHA * np.sum(penalised**2)), slope.ravel()

    limits = {"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-16, "gtol": 1e-11}
    optimum = minimize(objective, np.zeros(3 * size), jac=True, method="L-BFGS-B", options=limits)
    assert fit.certificate.loss_bound is not None
    gap = objective(fit.model.coefficients.ravel())[0] - optimum.fun
    assert -1e-10 <= gap <= fit.certificate.loss_bound + 1e-12
    best = np.exp(log_softmax(matrix @ optimum.x.reshape(3, size).T, axis=1))
    predictions = fit.model.predict(data, bounds=True)
    assert predictions.bound is not None
    assert np.all(np.abs(predictions.response - best).max(axis=1) <= predictions.bound + 1e-6)


def test_standard_errors_are_those_of_the_inverse_hessian() -> None:
    data = table(300)
    fit = train(data, Recipe(alpha=ALPHA, holdout=0.0), threads=1)
    matrix = design(fit, data)
    chance = expit(matrix @ fit.model.parameters)
    hessian = matrix.T @ (matrix * (chance * (1.0 - chance))[:, None]) / len(matrix)
    hessian += np.diag(np.append(0.0, np.full(len(hessian) - 1, ALPHA)))
    expected = np.sqrt(np.diag(np.linalg.inv(hessian)) / len(matrix))
    assert fit.model.standard_errors is not None
    np.testing.assert_allclose(fit.model.standard_errors, expected, rtol=1e-9)


def test_words_reach_what_can_be_known_and_hashing_all_of_them_does_not() -> None:
    columns, odds = complaints(4000)
    late = slice(3200, None)
    used = read(arrow(columns), target="left", time="id", text="note")
    fit = train(used, threads=1)
    assert fit.evaluation is not None
    auc = fit.evaluation.to_json()["metrics"]["auc"]["value"]
    best = roc_auc_score(columns["left"][late], odds[late])
    without = train(read(arrow(columns), target="left", time="id"), Recipe(alpha=0.001), threads=1)
    assert without.evaluation is not None
    assert auc > best - 0.02 > 0.7
    assert auc > without.evaluation.to_json()["metrics"]["auc"]["value"] + 0.1
    # What people do today, at its best strength of ten.
    texts = [f"{text or ''}" for text in columns["note"]]
    hashed = HashingVectorizer(ngram_range=(1, 2), n_features=2**12).transform(texts)
    peers = (
        LogisticRegression(C=strength, max_iter=2000).fit(hashed[:3200], columns["left"][:3200])
        for strength in np.geomspace(0.1, 100.0, 10)
    )
    assert auc > max(roc_auc_score(columns["left"][late], peer.decision_function(hashed[late])) for peer in peers)


def test_the_words_that_carry_the_signal_are_those_that_are_shown(fit: Fit) -> None:
    (shape,) = (shape for shape in fit.shapes if shape.kind == "text")
    assert shape.rows is not None
    assert shape.standard_error is not None
    account = np.abs(shape.effect) * np.sqrt(shape.rows)
    first = [shape.labels[k] for k in np.argsort(-account)[:5]]
    assert set(first) <= {*SIGNAL, "not"}
    assert len({*first, "not great"} & {*SIGNAL}) >= 5
    notes = [text or "" for text in complaints(1500)[0]["note"]]
    assert shape.rows[shape.labels.index("refund")] == sum("REFUND" in text for text in notes)
    whole = design(fit, table(1500))[:, fit.model.encoding.text_slices[0]]
    added = whole @ fit.model.parameters[fit.model.encoding.text_slices[0]]
    assert shape.deviation == pytest.approx(float(added.std()), rel=1e-12)
    page = training_page(fit)
    assert "words and pairs that move most rows furthest" in page
    assert "refund" in page
    assert fit.summary is not None
    assert {one.column: one.kind for one in fit.summary.columns} == {"note": "text", "x": "number"}


def test_a_row_is_predicted_alone_as_in_its_batch(fit: Fit) -> None:
    columns, _ = complaints(60, seed=5)
    rows = arrow(columns)
    batch = fit.model.predict(rows, bounds=True)
    assert batch.bound is not None
    for row in range(60):
        alone = fit.model.predict(rows.slice(row, 1), bounds=True)
        assert alone.response.tobytes() == batch.response[row : row + 1].tobytes()
        assert alone.bound is not None
        # Of bounds that are products of BLAS the last digit depends on the rows beside.
        assert alone.bound == pytest.approx(batch.bound[row : row + 1], rel=1e-13)


def test_bounds_without_the_inverse_count_words_too(fit: Fit) -> None:
    assert fit.model.bounds is not None
    assert fit.model.bounds.inverse is not None
    wider = replace(fit.model, bounds=replace(fit.model.bounds, inverse=None, inverse_square_scale=None))
    rows = arrow(complaints(60, seed=5)[0])
    tight, wide = (model.predict(rows, bounds=True).bound for model in (fit.model, wider))
    assert tight is not None
    assert wide is not None
    assert np.all(wide >= tight)
    # A row of more words may be off by more.
    counts = [len((text or "").split()) for text in rows["note"].to_pylist()]
    assert np.corrcoef(counts, np.log(wide))[0, 1] > 0.3


def test_a_text_never_seen_is_predicted_and_so_is_none(fit: Fit) -> None:
    found = fit.model.predict({"note": ["zebra xylophone", None, "REFUND refund"], "x": [0.0, 0.0, 0.0]})
    encoding, parameters = fit.model.encoding, fit.model.parameters
    no_words = parameters[0] + parameters[encoding.names.index("note has (no words)")]
    assert found.predictor[1] == pytest.approx(no_words - encoding.shift[0] / encoding.scale[0] * parameters[1])
    assert np.all(np.isfinite(found.response))
    assert found.response[2] > found.response[1]


def test_a_model_of_words_is_saved_loaded_and_verified(fit: Fit, tmp_path: Path) -> None:
    place = fit.save(tmp_path / "model")
    columns, _ = complaints(1500)
    loaded = load(place)
    assert loaded.encoding == fit.model.encoding
    assert loaded.roles.text == ("note",)
    assert loaded.predict(arrow(columns)).response.tobytes() == fit.model.predict(arrow(columns)).response.tobytes()
    assert verify_model(place, arrow(columns), threads=1).holds
    columns["note"][3] = "refund"
    assert not verify_model(place, arrow(columns), threads=1).holds


def test_what_moved_the_worst_rows_counts_their_words() -> None:
    fit = train(table(600), Recipe(alpha=ALPHA), threads=1)
    assert fit.evaluation is not None
    named = {name for row in fit.evaluation.worst_rows for name, _ in row.pushed}
    assert "note" in named


def test_numbers_may_be_text_and_text_may_be_online(tmp_path: Path) -> None:
    rows = ["note,left", *(f"{500 + k % 3},{k % 2}" for k in range(60))]
    (tmp_path / "codes.csv").write_text("\n".join(rows) + "\n")
    data = read(tmp_path / "codes.csv", target="left", text="note")
    for batch_size in ("full", 16, 1):
        fit = train(data, Recipe(alpha=0.1, holdout=0.0, batch_size=batch_size), threads=1)
        assert fit.model.encoding.texts[0].words == ("500", "501", "502")
        assert fit.certificate.certified


def test_rules_cap_the_words() -> None:
    fit = train(table(), Recipe(alpha=ALPHA, holdout=0.0, rules=EncodingRules(text_words=8, text_buckets=2)), threads=1)
    assert fit.model.encoding.texts[0].width == 8 + 2 + 1
