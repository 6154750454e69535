"""Rows in memory whose texts may be numbers or times, as JSON, databases without types and the like have them."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from batchlearn.tables.columns import is_text
from batchlearn.tables.readings import ColumnReading
from batchlearn.tables.sources import ArrowSource
from batchlearn.tables.text.inspection import TextRules, inspected
from batchlearn.tables.text.survey import ColumnSurvey


class InspectedSource(ArrowSource):
    """A table whose columns of text are read as those of a CSV file are: by what all of their texts have in common.

    `like` says it for the columns that it names. `roles` are those of columns whose values must be readable.
    """

    def __init__(
        self,
        table: pa.Table,
        rules: TextRules,
        roles: Mapping[str, str],
        like: Mapping[str, ColumnReading] | None = None,
    ) -> None:
        readings: dict[str, ColumnReading] = {}
        for place, field in enumerate(table.schema):
            if not is_text(field.type):
                continue
            texts = table.column(place).cast(pa.string())
            texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
            table = table.set_column(place, field.name, texts)
            if like is not None and field.name in like:
                readings[field.name] = like[field.name]
                continue
            role = roles.get(field.name)
            survey = ColumnSurvey(frozenset(rules.null), rules.date_format, is_time=role == "time")
            for batch in table.select([place]).to_batches():
                survey.add(batch.column(0))
            found = inspected(field.name, survey, rules, role)
            readings[field.name] = found.reading
            self.remarks = (*self.remarks, *found.remarks)
        self.readings = readings
        super().__init__(table)

    def like(self, readings: Mapping[str, ColumnReading]) -> InspectedSource:
        """Return the same rows with some columns read otherwise."""
        other = copy.copy(self)
        other.readings = {name: readings.get(name, reading) for name, reading in self.readings.items()}
        return other
