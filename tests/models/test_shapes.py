"""Shapes: contrasts against the mean of a term, with the errors that a quadratic form of the covariance gives."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.training.made import table_of

from batchlearn.data.encoding_fit import EncodingRules
from batchlearn.kernels.design import Floats
from batchlearn.models.encoded import EncodedModel
from batchlearn.models.shapes import contrasts, shapes
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import train


def columns_of(n: int = 1200) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x, z = rng.uniform(-2.0, 2.0, size=(2, n))
    colour = rng.integers(0, 4, n)
    label = np.where(x > 0.0, 1.5, -1.5) + 0.3 * z + np.asarray([0.0, 0.5, -0.5, 1.0])[colour] + rng.normal(size=n)
    x[rng.random(n) < 0.1] = np.nan
    return {"x": x, "z": z, "colour": [f"c{k}" for k in colour], "label": label}


@pytest.fixture(scope="module")
def additive() -> EncodedModel:
    fit = train(table_of(columns_of()), Recipe(holdout=0.0, rules=EncodingRules(bins=16)), threads=1)
    assert fit.structure.name == "additive"
    return fit.model


@pytest.fixture(scope="module")
def linear() -> EncodedModel:
    return train(table_of(columns_of()), Recipe(alpha=1e-3, holdout=0.0), threads=1).model


def moments(model: EncodedModel) -> Floats:
    """Return the second moments (d, d) of the model, as far as they are kept: numbers, and groups of levels."""
    assert model.standard_errors is not None
    assert model.level_moments is not None
    matrix, at = np.diag(model.standard_errors**2), 0
    for part in model.encoding.layout.group_slices:
        size = part.stop - part.start
        matrix[part, part] = model.level_moments[0, at : at + size**2].reshape(size, size)
        at += size**2
    return np.asarray(matrix)


def centring(model: EncodedModel) -> Floats:
    """Return the matrix that makes contrasts of coefficients: each level less the mean of its term's levels."""
    matrix = np.eye(len(model.parameters))
    for group, part in zip(model.encoding.groups, model.encoding.layout.group_slices, strict=True):
        levels = len(group.names) + (getattr(group, "reference", None) is not None)
        matrix[part, part] -= 1.0 / levels
    return matrix


def test_contrasts_and_their_errors_are_those_of_dense_algebra(additive: EncodedModel, linear: EncodedModel) -> None:
    for model in (additive, linear):
        matrix = centring(model)
        estimates, errors = contrasts(model)
        assert estimates == pytest.approx(matrix @ model.parameters, abs=1e-12)
        assert errors == pytest.approx(np.sqrt(np.diagonal(matrix @ moments(model) @ matrix.T)), rel=1e-9)
        assert np.sqrt(np.diagonal(moments(model))) == pytest.approx(model.standard_errors, rel=1e-12)


def test_with_a_given_penalty_moments_are_the_inverse_hessian(linear: EncodedModel) -> None:
    assert linear.bounds is not None
    assert linear.bounds.inverse is not None
    assert linear.standard_errors is not None
    noise = linear.standard_errors[0] ** 2 / linear.bounds.inverse[0, 0]
    for part in linear.encoding.layout.group_slices:
        assert moments(linear)[part, part] == pytest.approx(noise * linear.bounds.inverse[part, part], rel=1e-9)


def test_a_contrast_does_not_know_what_the_intercept_took_over(additive: EncodedModel) -> None:
    part = additive.encoding.layout.group_slices[0]
    moved = additive.parameters.copy()
    moved[part] += 3.0
    moved[0] -= 3.0
    assert contrasts(replace(additive, parameters=moved))[0][part] == pytest.approx(contrasts(additive)[0][part])


def test_shapes_are_the_terms_widest_first(additive: EncodedModel) -> None:
    found = shapes(additive)
    assert [shape.name for shape in found][:1] == ["x"]
    assert {shape.name: shape.kind for shape in found} == {"x": "bins", "z": "bins", "colour": "category"}
    assert [shape.spread for shape in found] == sorted((shape.spread for shape in found), reverse=True)
    step = found[0]
    assert step.edges is not None
    assert len(step.effect) == len(step.names) == len(step.edges) + 2  # the last is for missing values
    assert step.spread == np.ptp(step.effect)
    assert step.effect[0] < -1.0 < 1.0 < step.effect[-2]
    assert step.low == pytest.approx(-2.0, abs=0.02)
    assert step.high == pytest.approx(2.0, abs=0.02)
    assert np.mean(step.effect) == pytest.approx(0.0, abs=1e-12)


def test_a_number_as_it_is_has_an_effect_of_one_unit(linear: EncodedModel) -> None:
    number = next(shape for shape in shapes(linear) if shape.name == "z")
    place = linear.encoding.names.index("z")
    deviation = linear.encoding.units[place]
    assert number.kind == "number"
    assert number.edges is None
    assert number.effect == pytest.approx([linear.parameters[place] / deviation])
    assert number.spread == pytest.approx(2.0 * abs(linear.parameters[place]))
    assert linear.standard_errors is not None
    assert number.standard_error == pytest.approx([linear.standard_errors[place] / deviation], rel=1e-9)
    indicator = next(shape for shape in shapes(linear) if shape.name == "x")
    assert indicator.names == ("x", "x = (missing)")
    assert len(indicator.effect) == 2


def test_a_reference_level_counts_as_a_level_of_effect_zero() -> None:
    model = train(table_of(columns_of()), Recipe(alpha=0.0, holdout=0.0), threads=1).model
    colour = next(shape for shape in shapes(model) if shape.name == "colour")
    part = model.encoding.layout.group_slices[0]
    assert len(colour.effect) == 3
    assert colour.effect == pytest.approx(model.parameters[part] - model.parameters[part].sum() / 4.0)


def test_without_their_moments_levels_have_no_errors(additive: EncodedModel) -> None:
    bare = replace(additive, level_moments=None)
    for model in (bare, replace(additive, standard_errors=None)):
        assert contrasts(model)[1] is None
        assert all(shape.standard_error is None for shape in shapes(model))
    assert contrasts(bare)[0] == pytest.approx(contrasts(additive)[0])


def test_without_levels_the_errors_need_no_moments() -> None:
    columns = {name: values for name, values in columns_of().items() if name in ("z", "label")}
    model = train(table_of(columns), Recipe(alpha=1e-3, holdout=0.0), threads=1).model
    assert model.standard_errors is not None
    _, errors = contrasts(replace(model, level_moments=None))
    assert errors == pytest.approx(model.standard_errors)


def test_a_shape_is_told_as_plain_values(additive: EncodedModel) -> None:
    told = json.loads(json.dumps([shape.to_json() for shape in shapes(additive)]))
    assert told[0]["column"] == "x"
    assert len(told[0]["effect"]) == len(told[0]["standard_error"]) == len(told[0]["names"])
    assert told[-1]["kind"] in ("bins", "category")
