"""Why rows are set aside: a code for each reason, whose value is the clause that people read and records hold."""

from __future__ import annotations

from enum import StrEnum


class Rejection(StrEnum):
    """A reason to set a row aside although it was read and has a label."""

    EXCLUDED = "excluded by the condition"
    NO_WEIGHT = "no weight"
    ZERO_WEIGHT = "a weight of 0"
    NO_OFFSET = "no offset"
    NO_EXPOSURE = "no exposure"
    NO_OFFSET_OR_EXPOSURE = "no offset or exposure"
    NO_TIME = "no time"
    UNSEEN = "a class not seen in training"
