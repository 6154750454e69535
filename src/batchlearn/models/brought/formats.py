"""How an estimator is kept without pickle: in its library's own format, or as what skops makes of it.

The bytes were hashed with the model, but a model may come from anybody. So the trees of LightGBM and XGBoost are looked
through before native code reads them: an index that leads out of its array is refused here. What skops restores of
types that it does not know to be harmless, it restores only where a person named them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol
from warnings import catch_warnings, simplefilter

import numpy as np

from batchlearn.artifacts.manifest import sha256
from batchlearn.artifacts.strict_json import Malformed, parse
from batchlearn.errors import BatchlearnError, DataError, IntegrityError, UsageError, quoted
from batchlearn.kernels.design import Floats
from batchlearn.models.brought.code import import_file
from batchlearn.models.links import INVERSE_LINKS

if TYPE_CHECKING:
    from batchlearn.models.brought import LearnerRecord

Library = Literal["lightgbm", "xgboost", "skops"]
PACKAGES = {"lightgbm": "lightgbm", "xgboost": "xgboost", "skops": "skops"}


@dataclass(frozen=True)
class Allowed:
    """What a person named, on the command line or in a project's file: types, and the file whose code may be run."""

    types: tuple[str, ...] = ()
    file: Path | None = None


NOTHING_ALLOWED = Allowed()


class Responder(Protocol):
    """What says something of each row."""

    def respond(self, rows: Any, offset: Floats | None) -> Any:
        """Return probabilities (rows,) or (rows, K), scores or numbers of rows as `estimator_rows` gives them."""
        ...


@contextmanager
def foreign_code(whose: str, code: str, advice: str) -> Iterator[None]:
    """Run code of other people: what it prints goes to standard error, what it raises becomes a DataError with advice.

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
    except Exception as problem:
        said = " ".join(str(problem).split()) or "no message"
        raise DataError(f"{whose}: {type(problem).__name__}: {quoted(said, 400)}. {advice}", code=code) from problem
    finally:
        sys.stdout = stdout
        sys.stderr.write(printed.getvalue())


class SklearnResponder:
    """An estimator of scikit-learn's interface, as it is in memory."""

    def __init__(self, estimator: Any, path: str, classes: int) -> None:
        self.estimator, self._path, self._classes = estimator, path, classes

    def respond(self, rows: Any, offset: Floats | None) -> Any:
        """Return its probabilities in the order of the classes, else what it decides by, else what it predicts."""
        assert offset is None, "what takes no offset is not trained with one"
        with foreign_code(f"{self._path} failed to predict", "learner-failed", "Mend it, or use another one."):
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
    return "xgboost" if module == "xgboost" and name.startswith("sklearn.XGB") else "skops"


def kept_bytes(estimator: Any, library: Library) -> bytes:
    """Return a fitted estimator as the bytes that it is kept as; for skops, ImportError where it is not installed."""
    if library == "lightgbm":
        return str(estimator.booster_.model_to_string()).encode()
    if library == "xgboost":
        return bytes(estimator.get_booster().save_raw("json"))
    from skops.io import dumps

    return bytes(dumps(estimator))


def types_to_trust(data: bytes) -> tuple[str, ...]:
    """Return the types that an object kept by skops needs and that are not known to be harmless."""
    from skops.io import get_untrusted_types

    return tuple(sorted(get_untrusted_types(data=data)))


def restored(learner: LearnerRecord, data: bytes, allowed: Allowed, loss: str, classes: int) -> Any:
    """Return what predicts, of its kept bytes.

    UsageError where it was not kept, its types are not named, or its library is not installed; IntegrityError where
    a package or the user's file is not the one it was made with, or an index leads out of its array.
    """
    if learner.library is None:
        raise UsageError(
            f"The {learner.path} of this model was not kept: no file holds it without pickle. It is fitted again where "
            f"the rows of its training are given: --rebuild ROWS --learner {learner.path}",
            code="learner-not-kept",
        )
    refuse_other_code(learner, allowed)
    if learner.library == "lightgbm":
        check_lightgbm(data)
        return LightGBMResponder(data, loss)
    if learner.library == "xgboost":
        check_xgboost(data)
        return XGBoostResponder(data)
    from skops.io import loads

    with foreign_code(f"{learner.path} cannot be restored", "learner-not-restored", "Train again."):
        needed = types_to_trust(data)
        untold = sorted(set(needed) - set(allowed.types))
        if untold:
            raise UsageError(
                f"The {learner.path} of this model consists of {', '.join(map(quoted, untold))}, which may run code "
                f"when it is restored. Where you know them, name them: --trust {','.join(untold)}",
                code="learner-needs-trust",
            )
        if allowed.file is not None:
            import_file(allowed.file)
        return SklearnResponder(loads(data, trusted=list(needed)), learner.path, classes)


def refuse_other_code(learner: LearnerRecord, allowed: Allowed) -> None:
    """Refuse a learner whose packages, or whose file of the user's, are not those it was made with: IntegrityError."""
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
    if learner.file_sha256 is None or (learner.library is not None and not learner.types):
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


# --- what native code is not shown ----------------------------------------------------------------------------------


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


def package_version(name: str) -> str:
    """Return the version of a package; ImportError where it is not installed."""
    import_module(PACKAGES.get(name, name))
    return version(name)
