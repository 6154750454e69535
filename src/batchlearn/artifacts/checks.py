"""What files may hold of a field, written beside its type and checked where a file is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True, kw_only=True)
class Checked:
    """In `Annotated[type, Checked(ge=0)]` the rules of pydantic's `Field`, by its names, without its import.

    Pydantic would be a tenth of the time in which a command starts; it is imported where a file is read or checked.
    """

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    discriminator: str | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Return what pydantic makes of the type with its own `Field`."""
        from pydantic import Field  # imported here: not to import it earlier is what this class is for

        return handler.generate_schema(
            Annotated[source, Field(**{name: rule for name, rule in vars(self).items() if rule is not None})]
        )
