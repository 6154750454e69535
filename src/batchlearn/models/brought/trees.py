"""Trees of boosting libraries, looked through before native code reads them: an index that leads out is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from batchlearn.artifacts.strict_json import Malformed, parse
from batchlearn.errors import IntegrityError, quoted


def check_lightgbm(data: bytes) -> None:
    """Refuse a text of LightGBM with an index that leads out of its array: IntegrityError."""
    try:
        head, *trees = data.decode().split("\nTree=")
        said = dict(line.split("=", 1) for line in head.splitlines() if "=" in line)
        features, outputs = int(said["max_feature_idx"]) + 1, int(said["num_tree_per_iteration"])
        if not trees or len(trees) % max(outputs, 1) or outputs < 1:
            raise ValueError(f"it has {len(trees)} trees for {outputs} outputs")
        trees[-1] = trees[-1].split("\nend of trees")[0]
        for number, tree in enumerate(trees):
            fields = dict(line.split("=", 1) for line in tree.splitlines() if "=" in line)
            leaves = int(fields["num_leaves"])
            if leaves < 1 or fields.get("is_linear", "0") != "0":
                raise ValueError(f"tree {number} has {leaves} leaves or is linear")
            _lightgbm_tree(fields, leaves, features)
    except (ValueError, KeyError, IndexError) as problem:
        raise _damaged("LightGBM", problem) from problem


def _lightgbm_tree(fields: dict[str, str], leaves: int, features: int) -> None:
    def numbers(name: str, length: int) -> np.ndarray[Any, Any]:
        found = np.asarray(fields[name].split(), dtype=np.float64)
        if len(found) != length:
            raise ValueError(f"{name} has {len(found)} entries and not {length}")
        return found

    numbers("leaf_value", leaves)
    if leaves == 1:
        return
    nodes = leaves - 1
    _within("split_feature", numbers("split_feature", nodes), 0, features)
    threshold, decision = numbers("threshold", nodes), numbers("decision_type", nodes).astype(int)
    children = np.concatenate([numbers(name, nodes) for name in ("left_child", "right_child")])
    # A node is the child of one node, and comes after it; a leaf k is written as -k - 1.
    _within("a child", children, -leaves, nodes)
    if sorted(children) != [*range(-leaves, 0), *range(1, nodes)]:
        raise ValueError("its nodes are no tree")
    parents = np.tile(np.arange(nodes), 2)
    if np.any(children[children > 0] <= parents[children > 0]):
        raise ValueError("a node comes before its parent")
    categorical = (decision & 1).astype(bool)
    sets = int(fields["num_cat"])
    if not sets:
        if categorical.any():
            raise ValueError("a node asks for levels and there are none")
        return
    bounds = numbers("cat_boundaries", sets + 1)
    words = numbers("cat_threshold", int(bounds[-1]))
    if bounds[0] != 0 or np.any(np.diff(bounds) < 0) or np.any(words < 0):
        raise ValueError("the bounds of levels do not ascend")
    _within("a set of levels", threshold[categorical], 0, sets)


def check_xgboost(data: bytes) -> None:
    """Refuse a JSON model of XGBoost with an index that leads out of its array: IntegrityError."""
    try:
        found = parse(data)
        learner = found["learner"]
        booster = learner["gradient_booster"]
        if booster["name"] != "gbtree":
            raise ValueError(f"it is a {quoted(booster['name'])}; gbtree is needed")
        model, features = booster["model"], int(learner["learner_model_param"]["num_feature"])
        trees, groups = model["trees"], max(int(learner["learner_model_param"]["num_class"]), 1)
        if int(model["gbtree_model_param"]["num_trees"]) != len(trees) or len(model["tree_info"]) != len(trees):
            raise ValueError("the number of its trees is another one")
        _within("the group of a tree", np.asarray(model["tree_info"]), 0, groups)
        ends = np.asarray(model["iteration_indptr"])
        if len(ends) and (ends[0] != 0 or ends[-1] != len(trees) or np.any(np.diff(ends) < 0)):
            raise ValueError("its rounds do not ascend")
        for tree in trees:
            _xgboost_tree(tree, features)
    except (Malformed, ValueError, KeyError, IndexError, TypeError) as problem:
        raise _damaged("XGBoost", problem) from problem


def _xgboost_tree(tree: dict[str, Any], features: int) -> None:
    nodes = int(tree["tree_param"]["num_nodes"])
    lengths = {len(tree[name]) for name in _OF_NODES if name in tree}
    if lengths != {nodes} or nodes < 1 or int(tree["tree_param"]["num_feature"]) != features:
        raise ValueError(f"a tree of {nodes} nodes has lists of {sorted(lengths)} entries")
    left, right = (np.asarray(tree[name], dtype=np.int64) for name in ("left_children", "right_children"))
    inner = left != -1
    if np.any(inner != (right != -1)):
        raise ValueError("a node has one child")
    children = np.concatenate([left[inner], right[inner]])
    parents = np.tile(np.flatnonzero(inner), 2)
    _within("a child", children, 1, nodes)
    if len(np.unique(children)) != len(children) or len(children) != nodes - 1 or np.any(children <= parents):
        raise ValueError("its nodes are no tree")
    _within("a split", np.asarray(tree["split_indices"])[inner], 0, features)
    levels, starts = len(tree["categories"]), np.asarray(tree["categories_segments"], dtype=np.int64)
    sizes, own = (np.asarray(tree[name], dtype=np.int64) for name in ("categories_sizes", "categories_nodes"))
    if not len(starts) == len(sizes) == len(own) or np.any(sizes < 0) or np.any(starts < 0):
        raise ValueError("its sets of levels are not as many as the nodes that have one")
    if np.any(starts + sizes > levels):
        raise ValueError("a set of levels leads out of them")
    _within("a node with levels", own, 0, nodes)
    if levels and (min(tree["categories"]) < 0 or max(tree["categories"]) >= 1 << 24):
        raise ValueError("a level is no number of one")
    with_levels = set(np.flatnonzero(np.asarray(tree["split_type"]) == 1).tolist())
    if with_levels != set(own.tolist()):
        raise ValueError("its nodes with levels are others than have some")


def check_catboost(data: bytes, classes: int) -> tuple[list[float], float, list[float]]:
    """Refuse a JSON model of CatBoost of other than symmetric trees of numbers, or whose indices lead out of them.

    Returns the values of its leaves, one tree after the other, its scale and its bias of each output. IntegrityError
    where its classes are others than 0 to `classes` - 1, or, for numbers, where it has any.
    """
    try:
        found = parse(data)
        features, trees = found["features_info"], found["oblivious_trees"]
        scale, bias = found["scale_and_bias"]
        if set(features) != {"float_features"} or found.keys() & {"ctr_data", "trees"} or not trees:
            raise ValueError("it has other than symmetric trees of numbers")
        _catboost_classes(found["model_info"].get("class_params"), classes, len(bias))
        # The borders of all features in a row: it is by their place there that native code splits.
        borders = list[tuple[int, float]]()
        for place, feature in enumerate(features["float_features"]):
            if feature["feature_index"] != place or feature["flat_feature_index"] != place:
                raise ValueError(f"its feature {place} has another index")
            own = np.asarray(feature["borders"], dtype=np.float64)
            if np.any(np.abs(own) > np.finfo(np.float32).max) or np.any(np.diff(own) <= 0):
                raise ValueError(f"the borders of feature {place} do not ascend")
            borders += [(place, border) for border in feature["borders"]]
        values = list[float]()
        for number, tree in enumerate(trees):
            _catboost_tree(number, tree, borders, len(bias))
            values += map(float, tree["leaf_values"])
        return values, float(scale), [float(one) for one in bias]
    except (Malformed, ValueError, KeyError, IndexError, TypeError, AttributeError) as problem:
        raise _damaged("CatBoost", problem) from problem


def _catboost_tree(number: int, tree: dict[str, Any], borders: list[tuple[int, float]], outputs: int) -> None:
    splits = tree["splits"] or []
    _within("a split", [split["split_index"] for split in splits], 0, len(borders))
    for split in splits:
        said = (split["float_feature_index"], split["border"])
        if split["split_type"] != "FloatFeature" or borders[split["split_index"]] != said:
            raise ValueError(f"a split of tree {number} is none of the borders of its feature")
    leaves, values = 2 ** len(splits), len(tree["leaf_values"])
    if values != leaves * outputs:
        raise ValueError(f"tree {number} of {len(splits)} splits has {values} values of leaves")
    weights = np.asarray(tree["leaf_weights"], dtype=np.float64)
    if len(weights) != leaves or np.any(weights < 0):
        raise ValueError(f"tree {number} of {leaves} leaves has {len(weights)} weights of them, or some below 0")


def _catboost_classes(said: dict[str, Any] | None, classes: int, outputs: int) -> None:
    """Refuse classes that are not as many as the outputs tell apart, or none of 0 to `classes` - 1: ValueError."""
    if said is None and not classes and outputs == 1:
        return
    if said is None or not classes or not outputs or said["class_label_type"] != "Integer":
        raise ValueError("it is of classes and numbers are predicted, or the other way round")
    known = max(outputs, 2)
    names = said["class_names"] or said["class_to_label"]
    _within("a class", names, 0, classes)
    if said["class_to_label"] != [*range(known)] or len(set(names)) != known or len(names) != known:
        raise ValueError(f"its {len(names)} classes are not those of {outputs} outputs")


_OF_NODES = (
    "left_children",
    "right_children",
    "parents",
    "split_indices",
    "split_conditions",
    "split_type",
    "default_left",
    "base_weights",
    "sum_hessian",
    "loss_changes",
)


def _within(what: str, values: np.ndarray[Any, Any] | Sequence[float], low: int, end: int) -> None:
    found = np.asarray(values)
    if np.any((found < low) | (found >= end) | (found != np.trunc(found))):
        raise ValueError(f"{what} leads out of {low} to {end - 1}")


def _damaged(library: str, problem: Exception) -> IntegrityError:
    return IntegrityError(
        f"The trees of {library} in this model are damaged: {quoted(problem, 200)}. The bytes that were written are "
        "needed: copy the model again from where it was saved, or train again.",
        code="learner-damaged",
    )
