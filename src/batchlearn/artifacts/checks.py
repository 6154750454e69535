"""What files may hold of a field, written beside its type and checked where a file is read, by pydantic."""

from __future__ import annotations

from typing import Annotated, Any


class Checked:
    """In `Annotated[type, Checked(ge=0)]` the rules of pydantic's `Field`, which is not imported until a file is read.

    Pydantic is a tenth of the time in which a command starts, and few values come out of files.
    """

    def __init__(self, **rules: Any) -> None:
        self._rules = rules

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Return what pydantic makes of the type with its own `Field`."""
        from pydantic import Field  # imported here: that is what this class is for

        return handler.generate_schema(Annotated[source, Field(**self._rules)])
