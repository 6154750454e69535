"""A model as an ONNX graph in double precision: comparisons, look-ups and sums, no function of ours.

Inputs are columns, (rows, 1): numbers and booleans as doubles, NaN where missing; categories as text; times as 64-bit
counts of microseconds since 1970, the smallest integer where missing. Zones are in the graph as a table of the changes
of their clocks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchlearn.data.bins import BinTerm
from batchlearn.data.encoding import MISSING, CalendarTerm, LevelTerm, PairTerm, SingleTerm
from batchlearn.data.profile import CALENDAR_PARTS
from batchlearn.errors import UsageError, quoted
from batchlearn.exports.exportable import group_coefficients, linear, single_terms
from batchlearn.kernels.design import Floats
from batchlearn.models.linear import LinearModel
from batchlearn.models.links import INVERSE_LINKS, PROBABILITIES, identity
from batchlearn.models.model import Model
from batchlearn.tables.columns import Kind, floats, without_outer_spaces
from batchlearn.tables.text.times import local_times

# Operators that runtimes of 2022 and later know; those of ai.onnx.ml have had look-ups of text for longer.
_OPSET, _ML_OPSET, _IR = 17, 2, 8
NO_TIME = np.int64(np.iinfo(np.int64).min)
_DAY, _HOUR = 86_400_000_000, 3_600_000_000
# Clocks are known from the start of the first year to that of the last one.
_YEARS = "1900", "2100"


def to_onnx(model: Model) -> bytes:
    """Return the bytes of an ONNX file that predicts as the model does.

    Args:
        model: What `load` or `train` gave.

    Returns:
        A graph with one input for each of the model's `columns` and the outputs "prediction" and, for classes,
        "probability": of the second of two classes, (rows,), of more (rows, classes). With a fee for a person's look
        there is "left_to_people" too. Its metadata say what each text input holds where a value is missing.

    Raises:
        UsageError: The model has what ONNX cannot say, or the extra is not installed: the message says which.

    Example:
        >>> import batchlearn as bl
        >>> from batchlearn.exports import to_onnx
        >>> fit = bl.train(bl.read({"x": [0.0, 1.0, 2.0, 3.0], "y": [1.0, 3.0, 5.0, 7.5]}, target="y"))
        >>> graph = to_onnx(fit.model)
        >>> len(graph) < 3_000
        True
    """
    known, graph = linear(model, "ONNX"), _Graph()
    taken = sorted({"prediction", "probability", "left_to_people"} & set(known.columns))
    if taken:
        raise UsageError(
            f"The model reads a column {quoted(taken[0])}, and that is what an output of the graph is called; inputs "
            "need other names. Rename the column and train again, or use --to sql or --to mlflow.",
            code="export-name",
        )
    codes = _Codes(known, graph)
    # 1. What each term adds to the predictor, (rows, outputs).
    summands = [graph.constant(known.coefficients[:, 0][None, :])]
    if known.encoding.numbers:
        columns = [part for term in known.encoding.numbers for part in codes.dense(term.column, term.mean, term.width)]
        dense = graph.add("Concat", *columns, axis=1)
        centred = graph.add("Sub", dense, graph.constant(known.encoding.shift[None, :]))
        scaled = graph.add("Div", centred, graph.constant(known.encoding.scale[None, :]))
        weights = known.coefficients[:, 1 : known.encoding.layout.lead].T
        summands.append(graph.add("MatMul", scaled, graph.constant(weights)))
    for group, table in zip(known.encoding.groups, group_coefficients(known), strict=True):
        code = codes.of_pair(group) if isinstance(group, PairTerm) else codes.of(group)
        summands.append(graph.add("Gather", graph.constant(table), code, axis=0))
    if known.roles.offset is not None:
        summands.append(known.roles.offset)
    if known.roles.exposure is not None:
        summands.append(graph.add("Log", known.roles.exposure))
    eta = reduce(lambda total, term: graph.add("Add", total, term), summands)
    # 2. The response, and what follows from it.
    outputs = _outputs(known, graph, eta)
    return graph.serialised(known, codes.missing, outputs)


def inputs_of(model: LinearModel, batch: pa.RecordBatch) -> dict[str, NDArray[Any]]:
    """Return the inputs of the model's graph for the rows of a batch in canonical types."""
    found: dict[str, NDArray[Any]] = {}
    for name in model.columns:
        array, kind = batch.column(name), model.encoding.kinds.get(name, Kind.NUMBER)
        if kind is Kind.CATEGORY:
            text = array if model.outer_spaces else without_outer_spaces(array)
            plain = pc.fill_null(text.dictionary_decode(), missing_text(model, name))
            values = np.asarray(plain.to_pylist(), dtype=object)
        elif kind is Kind.TIMESTAMP:
            values = np.asarray(pc.fill_null(array.cast(pa.int64()), int(NO_TIME)).to_numpy(zero_copy_only=False))
        else:
            values = floats(array)
        found[name] = values[:, None]
    return found


def predicted_by_onnx(graph: bytes, model: Model, batch: pa.RecordBatch) -> Floats:
    """Return the responses that a graph of `to_onnx` gives, (n,) or (n, classes).

    By ONNX Runtime where it is installed, else by the reference implementation in Python that comes with ONNX.
    """
    known = linear(model, "ONNX")
    inputs = inputs_of(known, batch)
    output = "probability" if known.target.classes else "prediction"
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        (found,) = ReferenceEvaluator(graph).run([output], inputs)
    else:
        quiet = onnxruntime.SessionOptions()
        quiet.log_severity_level = 3
        session = onnxruntime.InferenceSession(graph, quiet, providers=["CPUExecutionProvider"])
        (found,) = session.run([output], inputs)
    return np.asarray(found, dtype=np.float64)


def missing_text(model: LinearModel, column: str) -> str:
    """Return the text that stands for a missing value of a category, one that is no level: ONNX has no missing text."""
    terms = [term for term in single_terms(model) if isinstance(term, LevelTerm) and term.column == column]
    known = {level for term in terms for level in (*term.levels, term.reference)}
    # Not the empty text, which a row may well have.
    return next(text for text in (MISSING, f"{MISSING} ", "\1", "\2") if text not in known)


class _Graph:
    """Nodes and constants in the order in which they were added; each is known by the name of its output."""

    def __init__(self) -> None:
        try:
            import onnx  # imported here: an extra
        except ImportError as problem:
            raise UsageError(
                'The package onnx, which writes such files, is not there: pip install "batchlearn[onnx]".',
                code="extra-missing",
            ) from problem
        self._onnx, self._nodes, self._constants = onnx, list[Any](), list[Any]()
        self.types = onnx.TensorProto

    def add(
        self,
        operator: str,
        *inputs: str,
        output: str | None = None,
        axis: int | None = None,
        keepdims: int | None = None,
        to: int | None = None,
    ) -> str:
        """Add an operator with the attributes given; return the name of its output."""
        name = output or f"batchlearn {operator} {len(self._nodes)}"
        attributes = {"axis": axis, "keepdims": keepdims, "to": to}
        given: dict[str, Any] = {key: value for key, value in attributes.items() if value is not None}
        self._nodes.append(self._onnx.helper.make_node(operator, inputs, [name], **given))
        return name

    def look_up(self, texts: str, code: Mapping[str, int], other: int) -> str:
        """Add a look-up of the code of each text, `other` where it has none; return the name of its output."""
        name, keys, values = f"batchlearn LabelEncoder {len(self._nodes)}", list(code), list(code.values())
        table: dict[str, Any] = {"keys_strings": keys, "values_int64s": values, "default_int64": other}
        self._nodes.append(self._onnx.helper.make_node("LabelEncoder", [texts], [name], domain="ai.onnx.ml", **table))
        return name

    def constant(self, value: Any) -> str:
        """Add an array of doubles, integers, booleans or texts; return its name."""
        name = f"batchlearn constant {len(self._constants)}"
        self._constants.append(self._onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def serialised(
        self, model: LinearModel, missing: Mapping[str, str], outputs: Mapping[str, tuple[str, int]]
    ) -> bytes:
        """Return the file: `outputs` have an element type and the columns of their shape, none for (rows,)."""
        helper, types = self._onnx.helper, self.types
        of_kind = {Kind.CATEGORY: types.STRING, Kind.TIMESTAMP: types.INT64}
        kinds = ((name, model.encoding.kinds.get(name, Kind.NUMBER)) for name in model.columns)
        inputs = [
            helper.make_tensor_value_info(name, of_kind.get(kind, types.DOUBLE), ["rows", 1]) for name, kind in kinds
        ]
        infos = [
            helper.make_tensor_value_info(name, getattr(types, kind), ["rows", columns] if columns else ["rows"])
            for name, (kind, columns) in outputs.items()
        ]
        graph = helper.make_graph(self._nodes, "batchlearn", inputs, infos, self._constants)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
        whole = helper.make_model(graph, opset_imports=opsets, ir_version=_IR, producer_name="batchlearn")
        target = model.target
        said = {"target": target.column, "loss": target.loss, "missing": json.dumps(dict(missing))}
        said |= {"classes": json.dumps(target.classes)} if target.classes else {}
        self._onnx.helper.set_model_props(whole, said)
        self._onnx.checker.check_model(whole)
        return bytes(whole.SerializeToString())


class _Codes:
    """The codes of the rows of each term, (rows,), each column's clock and each term's codes computed once."""

    def __init__(self, model: LinearModel, graph: _Graph) -> None:
        self._model, self._graph = model, graph
        self._known: dict[SingleTerm | str, str] = {}
        texts = [name for name, kind in model.encoding.kinds.items() if kind is Kind.CATEGORY]
        self.missing = {name: missing_text(model, name) for name in texts}

    def dense(self, column: str, mean: float, width: int) -> list[str]:
        """Return a number with its mean where it is missing and, of width two, whether it is: (rows, 1) each."""
        add = self._graph.add
        absent = add("IsNaN", column)
        filled = add("Where", absent, self._graph.constant(np.float64(mean)), column)
        return [filled] if width == 1 else [filled, add("Cast", absent, to=self._graph.types.DOUBLE)]

    def of_pair(self, term: PairTerm) -> str:
        """Return the cells of two terms."""
        add, constant = self._graph.add, self._graph.constant
        first, second, width = self.of(term.first), self.of(term.second), term.second.width
        cell = add("Add", add("Mul", first, constant(np.int64(width))), second)
        outside = (
            add("Equal", code, constant(np.int64(none))) for code, none in ((first, term.first.width), (second, width))
        )
        return add("Where", add("Or", *outside), constant(np.int64(term.width)), cell)

    def of(self, term: SingleTerm) -> str:
        """Return the codes of one term."""
        if term not in self._known:
            match term:
                case BinTerm():
                    self._known[term] = self._of_bins(term)
                case LevelTerm():
                    self._known[term] = self._of_levels(term)
                case CalendarTerm():
                    self._known[term] = self._of_calendar(term)
        return self._known[term]

    def _of_bins(self, term: BinTerm) -> str:
        add, constant = self._graph.add, self._graph.constant
        below = add("Less", constant(np.asarray(term.edges)[None, :]), term.column)
        counted = add("ReduceSum", add("Cast", below, to=self._graph.types.INT64), constant([1]), keepdims=0)
        absent = add("Squeeze", add("IsNaN", term.column), constant([1]))
        return add("Where", absent, constant(np.int64(term.ordered)), counted)

    def _of_levels(self, term: LevelTerm) -> str:
        none = term.width
        code = {level: place for place, level in enumerate(term.levels)}
        code |= {} if term.reference is None else {term.reference: none}
        code[self.missing[term.column]] = none - 1 if term.missing else none
        found = self._graph.look_up(term.column, code, len(term.levels) if term.rare else none)
        return self._graph.add("Squeeze", found, self._graph.constant([1]))

    def _of_calendar(self, term: CalendarTerm) -> str:
        add, constant = self._graph.add, self._graph.constant
        code = np.full(CALENDAR_PARTS[term.part], term.width, dtype=np.int64)
        code[list(term.values)] = np.arange(len(term.values))
        known = add("Gather", constant(code), self._clock(term.column, term.part), axis=0)
        missing = constant(np.int64(term.width - 1 if term.missing else term.width))
        found = add("Where", add("Equal", term.column, constant(NO_TIME)), missing, known)
        return add("Squeeze", found, constant([1]))

    def _clock(self, column: str, part: str) -> str:
        """Return hour, weekday or month of what the clock showed, (rows, 1)."""
        add = self._graph.add

        def constant(value: int) -> str:
            return self._graph.constant(np.int64(value))

        time = self._local(column)
        within = add("Mod", time, constant(_DAY))  # has the sign of the divisor
        if part == "hour":
            return add("Div", within, constant(_HOUR))
        days = add("Div", add("Sub", time, within), constant(_DAY))
        if part == "weekday":  # 1970 began on a Thursday
            return add("Mod", add("Add", days, constant(3)), constant(7))
        # Days of years that begin in March and of the 400 years that the calendar repeats after (Hinnant 2021).
        of_era = add("Mod", add("Add", days, constant(719_468)), constant(146_097))

        def whole(value: str, by: int) -> str:
            return add("Div", value, constant(by))

        leaps = add(
            "Sub", add("Add", whole(of_era, 36_524), of_era), add("Add", whole(of_era, 1_460), whole(of_era, 146_096))
        )
        year = whole(leaps, 365)
        before = add("Add", add("Mul", year, constant(365)), add("Sub", whole(year, 4), whole(year, 100)))
        day = add("Sub", of_era, before)
        march = whole(add("Add", add("Mul", day, constant(5)), constant(2)), 153)
        return add("Mod", add("Add", march, constant(2)), constant(12))

    def _local(self, column: str) -> str:
        """Return what a clock of the column's zone shows."""
        zone = self._model.encoding.zones.get(column)
        if zone is None:
            return column
        if column not in self._known:
            starts, shifts = clock_changes(zone)
            passed = self._graph.add("LessOrEqual", self._graph.constant(starts[None, :]), column)
            counts = self._graph.add("Cast", passed, to=self._graph.types.INT64)
            place = self._graph.add("ReduceSum", counts, self._graph.constant([1]), keepdims=1)
            shift = self._graph.add("Gather", self._graph.constant(shifts), place, axis=0)
            self._known[column] = self._graph.add("Add", column, shift)
        return self._known[column]


def clock_changes(zone: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the moments at which the clocks of a zone change, and what they are ahead of UTC before and after each.

    In microseconds, from 1900 to 2100: moments (changes,), shifts (changes + 1,).
    """
    first, last = (int(np.datetime64(year, "us").astype(np.int64)) for year in _YEARS)
    times = np.arange(first, last, _DAY)

    def ahead(moments: NDArray[np.int64]) -> NDArray[np.int64]:
        local = local_times(pa.array(moments).view(pa.timestamp("us")), zone)
        return np.asarray(local.view(pa.int64()).to_numpy(zero_copy_only=False) - moments)

    shifts = ahead(times)
    changed = np.flatnonzero(np.diff(shifts))
    low, high = times[changed], times[changed + 1]
    while np.any(high - low > 1):
        middle = low + (high - low) // 2
        same = ahead(middle) == shifts[changed]
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return high, np.append(shifts[:1], shifts[changed + 1])


def _outputs(model: LinearModel, graph: _Graph, eta: str) -> dict[str, tuple[str, int]]:
    """Add the response and the decision; return the outputs' element types and columns."""
    flat, one = graph.constant([1]), graph.constant(np.float64(1.0))
    classes, link = model.target.classes, INVERSE_LINKS[model.loss]
    if len(classes) > 2:
        share = graph.add("Softmax", eta, axis=1, output="probability")
        graph.add(
            "Gather",
            graph.constant(_values(classes)),
            graph.add("ArgMax", share, axis=1, keepdims=0),
            output="prediction",
        )
        return {"prediction": (_element(classes), 0), "probability": ("DOUBLE", len(classes))}
    if model.loss not in PROBABILITIES:
        response = eta if link is identity else graph.add("Exp", eta)
        graph.add("Squeeze", response, flat, output="prediction")
        return {"prediction": ("DOUBLE", 0)}
    odds = graph.add("Exp", graph.add("Neg", eta))
    share = graph.add("Squeeze", graph.add("Div", one, graph.add("Add", one, odds)), flat, output="probability")
    above = graph.add("Greater", share, graph.constant(np.float64(model.threshold)))
    code = graph.add("Cast", above, to=graph.types.INT64)
    graph.add("Gather", graph.constant(_values(classes)), code, output="prediction")
    found = {"prediction": (_element(classes), 0), "probability": ("DOUBLE", 0)}
    if model.costs is not None and model.costs.fee is not None:
        false = graph.add("Mul", graph.add("Sub", one, share), graph.constant(np.float64(model.costs.false_positive)))
        missed = graph.add("Mul", share, graph.constant(np.float64(model.costs.false_negative)))
        fee = graph.constant(np.float64(model.costs.fee))
        graph.add("Greater", graph.add("Min", false, missed), fee, output="left_to_people")
        found["left_to_people"] = ("BOOL", 0)
    return found


def _values(classes: tuple[Any, ...]) -> NDArray[Any]:
    return np.asarray(classes, dtype=object if isinstance(classes[0], str) else None)


def _element(classes: tuple[Any, ...]) -> str:
    return {str: "STRING", bool: "BOOL", int: "INT64"}.get(type(classes[0]), "DOUBLE")
