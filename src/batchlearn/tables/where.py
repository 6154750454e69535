"""Conditions on rows, translated to Arrow expressions; SQL's words are parsed by sqlglot and never run as code.

A condition is true, false or unknown (SQL's three values: a comparison with a missing value is unknown), and only rows
for which it is true are kept. Columns, literals, comparisons, AND, OR, NOT, IN, BETWEEN, LIKE and IS are understood.
"""

from __future__ import annotations

import datetime
import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from batchlearn.errors import DataError, UsageError, quoted
from batchlearn.tables.columns import EXACT_INTEGER, Column, Kind, name_advice
from batchlearn.tables.conditions import After, And, Before, Condition, Listed, Missing, Not, Or, Written, literal
from batchlearn.tables.text.times import moments_of

_LONGEST = 10_000
_COMPARISONS: Final[dict[type[exp.Expr], str]] = {
    exp.EQ: "equal",
    exp.NEQ: "not_equal",
    exp.LT: "less",
    exp.LTE: "less_equal",
    exp.GT: "greater",
    exp.GTE: "greater_equal",
}
_MOMENTS = (exp.DataType.Type.DATE, exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPNTZ)
_PREDICATES = (*_COMPARISONS, exp.And, exp.Or, exp.Not, exp.In, exp.Between, exp.Like, exp.Is)
_CONSTRUCTS: Final[dict[type[exp.Expr], str]] = {
    exp.Cast: "a cast",
    exp.Case: "CASE",
    exp.Exists: "a subquery",
    exp.Subquery: "a subquery",
    exp.Query: "a subquery",
    exp.Func: "a function",
    exp.Binary: "an operator other than a comparison",
    exp.Unary: "an operator other than NOT and minus",
    exp.Placeholder: "a placeholder",
    exp.Alias: "AS",
    exp.Command: "a command",
    exp.Drop: "a command",
    exp.DDL: "a command",
}


@dataclass(frozen=True)
class Filter:
    """An Arrow expression over a batch whose first columns are `columns`, made comparable, in this order.

    Those in `listed` are no columns of the table: they say which rows stand at listed places.
    """

    expression: pc.Expression
    columns: tuple[str, ...]
    listed: Mapping[str, Listed]


@dataclass(frozen=True)
class _Operand:
    """One side of a comparison; `kind` is None for NULL, and `text` is set for a literal of text or of a time.

    `column` is set for a column: a time beside it is one of its zone.
    """

    expression: pc.Expression
    kind: Kind | None
    shown: str
    text: str | None = None
    literal: Any = None
    column: Column | None = None


def compile_condition(condition: Condition, columns: Sequence[Column]) -> Filter:
    """Translate a condition on these columns; UsageError says which part is not understood.

    What a person wrote is parsed by itself: a stray bracket cannot change what other parts mean.
    """
    translator = _Translator(str(condition), columns)
    try:
        expression = translator.whole(condition)
    except RecursionError as problem:
        raise _unsupported(str(condition), "deeper nesting than can be read") from problem
    return Filter(expression, tuple(translator.used), translator.listed)


def _parsed(text: str) -> exp.Expr:
    if len(text) > _LONGEST:
        raise _unsupported(text, f"more than {_LONGEST:,} characters")
    try:
        if any(token.comments for token in sqlglot.tokenize(text, dialect="duckdb")):
            raise _unsupported(text, "a comment")
        statements = sqlglot.parse(text, dialect="duckdb")
    except SqlglotError as problem:
        details: list[dict[str, Any]] = getattr(problem, "errors", None) or [{}]
        place = details[0].get("col")
        where = f" near character {place}" if place else ""
        raise UsageError(
            f"the condition {quoted(text)} cannot be read{where}; write one as in SQL's WHERE, for example "
            "\"distance > 100 and carrier in ('AA', 'UA')\"",
            code="where-not-sql",
        ) from problem
    if len(statements) != 1:
        raise _unsupported(text, "more than one statement")
    if statements[0] is None:
        raise UsageError("the condition is empty: write one as in SQL's WHERE, or leave it out", code="where-not-sql")
    return statements[0]


def _unsupported(text: str, construct: str) -> UsageError:
    return UsageError(
        f"the condition {quoted(text)} has {construct}; only columns, literals, = <> < <= > >=, AND, OR, NOT, IN, "
        "BETWEEN, LIKE and IS NULL are read: rewrite it, put names with special signs in double quotes, or make a "
        "column for it",
        code="where-unsupported",
    )


class _Translator:
    """Builds the expression and notes the columns it uses, in order of first use."""

    def __init__(self, text: str, columns: Sequence[Column]) -> None:
        self.text = text
        self.columns = columns
        self.zone: str | None = None
        self.used: dict[str, int] = {}
        self.listed: dict[str, Listed] = {}

    def whole(self, condition: Condition) -> pc.Expression:
        """Translate a condition part by part."""
        if isinstance(condition, Written):
            self.zone = condition.zone
            return self.truth(_parsed(condition.text))
        if isinstance(condition, Not):
            return ~pc.coalesce(self.whole(condition.part), pc.scalar(False))
        if isinstance(condition, And | Or):
            join = operator.and_ if isinstance(condition, And) else operator.or_
            return functools.reduce(join, map(self.whole, condition.parts))
        if isinstance(condition, Listed):
            name = f"\0{id(condition)}"  # as no column is called
            self.listed[name] = condition
            return pc.field(self.used.setdefault(name, len(self.used)))
        if isinstance(condition, Missing):
            return self._operand_of(condition.column).expression.is_null()
        return self._ordered(condition)

    def _ordered(self, condition: Before | After) -> pc.Expression:
        column = self._operand_of(condition.column)
        function = "less_equal" if isinstance(condition, Before) else "greater"
        # A time is a number where times are numbers.
        moment, shown = condition.moment, literal(condition.moment)
        if isinstance(moment, datetime.datetime):
            moment = moment if moment.tzinfo is None else moment.astimezone(datetime.UTC).replace(tzinfo=None)
            return self._compared(
                function, column, _known(pa.scalar(moment, pa.timestamp("us")), Kind.TIMESTAMP, shown)
            )
        return self._compared(function, column, _known(_exact(moment), Kind.NUMBER, shown))

    def truth(self, node: exp.Expr) -> pc.Expression:
        """Translate what must be true, false or unknown."""
        if isinstance(node, exp.Paren):
            return self.truth(node.this)
        if isinstance(node, exp.Not):
            return ~self.truth(node.this)
        if isinstance(node, exp.And):
            return self.truth(node.this) & self.truth(node.expression)
        if isinstance(node, exp.Or):
            return self.truth(node.this) | self.truth(node.expression)
        if isinstance(node, _PREDICATES):
            return self._predicate(node)
        operand = self.operand(node)
        if operand.kind not in (Kind.BOOLEAN, None):
            raise UsageError(
                f"{operand.shown} in the condition {quoted(self.text)} is a {operand.kind}; a condition must be true "
                "or false: compare it with a value",
                code="where-kind",
            )
        return operand.expression

    def _predicate(self, node: exp.Expr) -> pc.Expression:
        if isinstance(node, exp.In):
            return self._in(node)
        if isinstance(node, exp.Is):
            return self._is(node)
        if isinstance(node, exp.Like):
            return self._like(node)
        if isinstance(node, exp.Between):
            if node.args.get("symmetric"):
                raise _unsupported(self.text, "SYMMETRIC")
            low = self._compare("greater_equal", node.this, node.args["low"])
            return low & self._compare("less_equal", node.this, node.args["high"])
        return self._compare(_COMPARISONS[type(node)], node.this, node.expression)

    def _compare(self, function: str, left: exp.Expr, right: exp.Expr) -> pc.Expression:
        return self._compared(function, self.operand(left), self.operand(right))

    def _compared(self, function: str, left: _Operand, right: _Operand) -> pc.Expression:
        first, second = self._matched(left, right)
        if first.kind is None or second.kind is None:
            return pc.scalar(pa.scalar(None, pa.bool_()))
        sides = [first.expression, second.expression]
        if any(isinstance(side.literal, float) for side in (first, second)):
            # Else Arrow may compare in float32, where it refuses integers. Rounding keeps the order to any fraction.
            sides = [side.cast(pa.float64(), safe=False) for side in sides]
        return getattr(pc, function)(*sides)

    def _in(self, node: exp.In) -> pc.Expression:
        if node.args.get("query") or node.args.get("unnest") or node.args.get("field"):
            raise _unsupported(self.text, "a subquery")
        tested = self.operand(node.this)
        listed = [self._matched(tested, self.operand(item))[1] for item in node.expressions]
        values = [item.literal for item in listed if item.kind is not None]
        if not listed or any(value is None for value in values):
            raise _unsupported(self.text, "something other than values inside IN (...)")
        unknown = pc.scalar(pa.scalar(None, pa.bool_()))
        if tested.kind is None:
            return unknown
        found = pc.if_else(tested.expression.is_null(), unknown, self._among(tested, values)) if values else unknown
        return found | unknown if len(values) < len(listed) else found

    def _among(self, tested: _Operand, values: list[Any]) -> pc.Expression:
        """Say whether a value, not a missing one, is one of `values`, all of its kind."""
        if tested.kind is Kind.TIMESTAMP:
            return tested.expression.isin(pa.array([value.as_py() for value in values], pa.timestamp("us")))
        if tested.kind is not Kind.NUMBER:
            return tested.expression.isin(pa.array(values))
        if any(abs(value) > EXACT_INTEGER for value in values):
            raise _unsupported(self.text, "a number beyond 2^53 inside IN (...)")
        return tested.expression.cast(pa.float64(), safe=False).isin(pa.array([float(value) for value in values]))

    def _is(self, node: exp.Is) -> pc.Expression:
        if isinstance(node.expression, exp.Null):
            return self.operand(node.this).expression.is_null()
        if isinstance(node.expression, exp.Boolean):
            truth = self.truth(node.this)
            wanted = truth if node.expression.this else ~truth
            return pc.coalesce(wanted, pc.scalar(False))
        raise _unsupported(self.text, "IS with something other than NULL, TRUE or FALSE")

    def _like(self, node: exp.Like) -> pc.Expression:
        tested, pattern = self.operand(node.this), self.operand(node.expression)
        if pattern.text is None or pattern.kind is not Kind.CATEGORY or "\\" in pattern.text:
            raise _unsupported(self.text, "LIKE with something other than a text without backslashes")
        if tested.kind is not Kind.CATEGORY:
            raise self._mismatch(tested, pattern)
        found = pc.match_like(tested.expression, pattern.text)
        return ~found if node.args.get("negate") else found

    def operand(self, node: exp.Expr) -> _Operand:
        """Translate one side of a comparison."""
        if isinstance(node, exp.Paren):
            return self.operand(node.this)
        if isinstance(node, exp.Column):
            if node.args.get("table") is not None:
                raise _unsupported(self.text, f"a name with a point ({quoted(node.sql(dialect='duckdb'), 40)})")
            return self._operand_of(node.name)
        if isinstance(node, exp.Null):
            return _Operand(pc.scalar(pa.scalar(None, pa.bool_())), None, "NULL")
        if isinstance(node, _PREDICATES):
            return _Operand(self.truth(node), Kind.BOOLEAN, quoted(node.sql(dialect="duckdb")))
        return self._literal(node)

    def _literal(self, node: exp.Expr) -> _Operand:
        shown = node.sql(dialect="duckdb")
        if isinstance(node, exp.Boolean):
            return _known(bool(node.this), Kind.BOOLEAN, shown)
        if isinstance(node, exp.Literal) and node.is_string:
            return _known(str(node.this), Kind.CATEGORY, shown, text=str(node.this))
        if isinstance(node, exp.Literal):
            return _known(self._number(str(node.this)), Kind.NUMBER, shown)
        if isinstance(node, exp.Neg):
            inner = self.operand(node.this)
            if inner.kind is Kind.NUMBER and inner.literal is not None:
                return _known(-inner.literal, Kind.NUMBER, shown)
        if isinstance(node, exp.Cast) and node.this.is_string and node.to.this in _MOMENTS:
            return self._moment(str(node.this.this))
        construct = next((words for kind, words in _CONSTRUCTS.items() if isinstance(node, kind)), "something else")
        raise _unsupported(self.text, f"{construct} ({quoted(shown, 40)})")

    def _number(self, digits: str) -> int | float:
        try:
            value: int | float = int(digits) if digits.isdigit() else float(digits)
        except ValueError as problem:
            raise _unsupported(self.text, f"a number written as {quoted(digits)}") from problem
        return _exact(value)

    def _moment(self, text: str, beside: Column | None = None) -> _Operand:
        """Read a time; without a zone of its own it is what a clock showed in that of the column beside it."""
        try:
            moment = datetime.datetime.fromisoformat(text.strip())
        except ValueError as problem:
            raise UsageError(
                f"{quoted(text)} in the condition {quoted(self.text)} is no date or time; write it as 2008-01-31 or "
                "2008-01-31 23:59:00",
                code="where-not-a-time",
            ) from problem
        plain = moment if moment.tzinfo is None else moment.astimezone(datetime.UTC).replace(tzinfo=None)
        value = pa.array([plain], pa.timestamp("us"))
        if moment.tzinfo is None and beside is not None and beside.zone is not None:
            value = moments_of(value, self.zone or beside.zone)
        return _known(value[0], Kind.TIMESTAMP, quoted(text), text=text)

    def _operand_of(self, name: str) -> _Operand:
        exact = [column for column in self.columns if column.name == name]
        alike = exact or [column for column in self.columns if column.name.casefold() == name.casefold()]
        if len(alike) != 1:
            advice = name_advice(name, [column.name for column in self.columns])
            raise DataError(
                f"the condition {quoted(self.text)} names the column {quoted(name)}, which is not in the table; "
                f"{advice}",
                code="column-missing",
            )
        index = self.used.setdefault(alike[0].name, len(self.used))
        return _Operand(pc.field(index), alike[0].kind, f"column {quoted(alike[0].name)}", column=alike[0])

    def _matched(self, first: _Operand, second: _Operand) -> tuple[_Operand, _Operand]:
        """Bring two operands to one kind: a text beside a timestamp is read as a time; NULL goes with everything."""
        if first.kind is Kind.TIMESTAMP and second.text is not None:
            second = self._moment(second.text, first.column)
        if second.kind is Kind.TIMESTAMP and first.text is not None:
            first = self._moment(first.text, second.column)
        zones = [one.column.zone for one in (first, second) if one.kind is Kind.TIMESTAMP and one.column]
        if len(zones) > 1 and None in zones and zones != [None, None]:
            raise DataError(
                f"the condition {quoted(self.text)} compares {first.shown} with {second.shown}; the times of one have "
                "a zone and those of the other have none: say whose clock they are of with --zone",
                code="time-zones-mixed",
            )
        if None not in (first.kind, second.kind) and first.kind is not second.kind:
            raise self._mismatch(first, second)
        return first, second

    def _mismatch(self, first: _Operand, second: _Operand) -> UsageError:
        return UsageError(
            f"the condition {quoted(self.text)} compares {first.shown}, a {first.kind}, with {second.shown}, a "
            f"{second.kind}; both must be of one kind: texts are written in single quotes, numbers without, booleans "
            "as TRUE and FALSE",
            code="where-kind",
        )


def _exact(value: float) -> int | float:
    if abs(value) >= 2**63:
        return float(value)
    return int(value) if value == int(value) else value


def _known(value: Any, kind: Kind, shown: str, text: str | None = None) -> _Operand:
    return _Operand(pc.scalar(value), kind, shown, text, value)
