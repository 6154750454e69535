"""Times as people write them and clocks show them: forms in strptime's words, moments, and zones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchlearn.errors import ResourceError, UsageError, quoted

MICROSECONDS = pa.timestamp("us")
_OF_UTC = ("UTC", "Etc/UTC", "GMT", "+00:00")
ISO = "ISO 8601"
"""Stands for %Y-%m-%d with any time after it, to the fraction of a second, and a zone or none."""
_ISO_PATTERN = (
    r"(?P<Y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)"
    r"(?:[ T](?P<H>\d\d):(?P<M>\d\d)(?::(?P<S>\d\d)(?:[.,](?P<f>\d{1,9}))?)?)? ?(?P<z>Z|UTC|GMT|[+-]\d\d:?\d\d)?"
)
ZONED = r":\d\d(?::\d\d(?:[.,]\d+)?)? ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d)$"
"""What ends an ISO time that says its zone."""
OFFSET = r"(?P<offset>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)$"

# Dots are written with the day first wherever dates have dots; of the others both orders are in use.
_DATES = (
    *("%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d/%m/%y", "%m/%d/%y"),
    *("%d.%m.%Y", "%d.%m.%y", "%Y.%m.%d"),
    *("%d-%m-%Y", "%m-%d-%Y", "%Y-%m-%d", "%d-%m-%y", "%m-%d-%y"),
    *("%d-%b-%Y", "%d-%b-%y", "%Y-%b-%d", "%d/%b/%Y", "%d %b %Y", "%d. %b %Y", "%b %d %Y", "%b %d, %Y"),
)
_CLOCKS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%H.%M", "%H.%M.%S", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p", "%I:%M:%S%p")
# Not %b %y: Mar 21 is a day of March, while Mar-21 is how spreadsheets show a month.
_MONTHS_OF_YEARS = ("%Y-%m", "%Y/%m", "%m/%Y", "%b %Y", "%b-%Y", "%b-%y")
_AFTER_DATES = ("", *(f"{between}{clock}" for between in (" ", ", ") for clock in _CLOCKS), "T%H:%M:%S")
_BASIC = ("%Y%m%dT%H%M%S", "%Y%m%dT%H%M", "%Y%m%dT%H%M%S%z")
"""ISO 8601 without hyphens and colons."""
FORMS = (ISO, *(f"{date}{after}" for date in _DATES for after in _AFTER_DATES), *_BASIC, *_MONTHS_OF_YEARS)
CLOCK_FORMS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%H.%M.%S", "%I:%M %p", "%I:%M:%S %p")
"""Times of day: numbers, in seconds since midnight."""

MONTH = (
    "(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    "nov(?:ember)?|dec(?:ember)?)"
)
_FIELDS = {
    "Y": r"(?P<Y>\d{4})",
    "y": r"(?P<y>\d\d)",
    "m": r"(?P<m>\d{1,2})",
    "d": r"(?P<d>\d{1,2})",
    "b": rf"(?P<b>{MONTH})\.?",
    "B": rf"(?P<b>{MONTH})",
    "H": r"(?P<H>\d{1,2})",
    "I": r"(?P<I>\d{1,2})",
    "M": r"(?P<M>\d\d)",
    "S": r"(?P<S>\d\d)",
    "f": r"(?P<f>\d{1,9})",
    "p": r"(?P<p>[AaPp])\.?[Mm]\.?",
    "z": r"(?P<z>Z|[+-]\d\d:?\d\d)",
    "%": "%",
}
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_LAST_OF_THIS_CENTURY = 68
"""Of years of two digits, as in POSIX: 69 is 1969 and 68 is 2068."""


@cache
def pattern(form: str) -> str:
    """Return the regular expression of texts of a form; UsageError where it holds a field that is not known."""
    if form == ISO:
        return f"^{_ISO_PATTERN}$"
    parts = re.split(r"%(.)", form)
    unknown = [field for field in parts[1::2] if field not in _FIELDS]
    if unknown or not any(field in "YydmbBHI" for field in parts[1::2]):
        known = " ".join(f"%{field}" for field in _FIELDS)
        raise UsageError(
            f"{quoted(form)} is no form of times; it is made of {known}, as in %d/%m/%Y %H:%M", code="date-format"
        )
    # Two fields without a sign between them have their full width, or the one would take from the other.
    whole = [
        _FIELDS[part].replace("{1,2}", "{2}")
        if number % 2 and not parts[number + 1]
        else _FIELDS[part]
        if number % 2
        else re.escape(part)
        for number, part in enumerate(parts)
    ]
    return f"^{''.join(whole)}$"


def moments(texts: pa.Array, form: str | None, *, zoned: bool = False) -> pa.Array:
    """Return timestamp[us] of texts without outer spaces: null where one is not of the form or no such moment is.

    Without a form it is ISO 8601. Times with a zone are in UTC, and those without one are no moments if `zoned`; else
    the other way round.
    """
    if form in (None, ISO):
        try:
            return texts.cast(pa.timestamp("us", "UTC") if zoned else MICROSECONDS).view(MICROSECONDS)
        except pa.ArrowInvalid:
            pass  # a text among them is none: each is looked at
    values, found = _fields(texts, form or ISO)
    if form in (None, ISO):
        found &= np.asarray(pc.match_substring_regex(texts, ZONED).fill_null(False)) == zoned
    year = values["Y"] if "Y" in values else values["y"] + np.where(values["y"] <= _LAST_OF_THIS_CENTURY, 2000, 1900)
    month = values["m"] if "m" in values else values["b"]
    found &= (month >= 1) & (month <= 12)
    first = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + np.where(found, month - 1, 0)
    of_month = values.get("d", np.ones(len(found), np.int64))
    day = first.astype("datetime64[D]") + (of_month - 1)
    found &= (of_month >= 1) & (day.astype("datetime64[M]") == first)
    time = day.astype("datetime64[us]") + _microseconds_of_day(values, found).astype("timedelta64[us]")
    return pa.array(time, MICROSECONDS, mask=~found)


def seconds_of_day(texts: pa.Array, form: str) -> pa.Array:
    """Return float64 seconds since midnight: null where a text is not of the form or no such time is."""
    values, found = _fields(texts, form)
    microseconds = _microseconds_of_day(values, found)
    return pa.array(microseconds / 1e6, pa.float64(), mask=~found)


def _fields(texts: pa.Array, form: str) -> tuple[dict[str, np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    """Return the whole numbers that the texts hold by field, and which texts are of the form."""
    read = pc.extract_regex(texts, pattern(form))
    found = np.array(read.is_valid())
    values: dict[str, np.ndarray[Any, Any]] = {}
    for field in read.type:
        part = pc.struct_field(read, field.name).fill_null("")
        if field.name == "b":
            names = pc.utf8_lower(pc.utf8_slice_codeunits(part, 0, 3))
            numbers = pc.add(pc.index_in(names, pa.array(_MONTHS)).cast(pa.int64()), 1)
        elif field.name == "p":
            numbers = pc.equal(pc.utf8_lower(part), "p").cast(pa.int64())
        elif field.name == "f":
            numbers = pc.utf8_slice_codeunits(pc.utf8_rpad(part, 6, "0"), 0, 6).cast(pa.int64())
        elif field.name == "z":
            numbers = _minutes(part)
        else:
            numbers = pc.if_else(pc.equal(part, ""), "0", part).cast(pa.int64())
        values[field.name] = np.array(numbers.fill_null(0))
    return values, found


def _minutes(zones: pa.Array) -> pa.Array:
    """Return the minutes by which a zone such as +02:00 or Z is before UTC."""
    plain = pc.replace_substring(zones, ":", "")
    digits = pc.if_else(pc.equal(pc.binary_length(plain), 5), plain, "+0000")
    total = pc.add(
        pc.multiply(pc.utf8_slice_codeunits(digits, 1, 3).cast(pa.int64()), 60),
        pc.utf8_slice_codeunits(digits, 3, 5).cast(pa.int64()),
    )
    return pc.if_else(pc.starts_with(digits, "-"), pc.negate(total), total)


def _microseconds_of_day(values: dict[str, np.ndarray[Any, Any]], found: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the microseconds since midnight, and take out of `found` what no clock shows."""
    none = np.zeros(len(found), np.int64)
    hour, minute, second = (values.get(field, none) for field in "HMS")
    if "I" in values:
        found &= (values["I"] >= 1) & (values["I"] <= 12)
        hour = values["I"] % 12 + 12 * values.get("p", none)
    # A leap second is the first of the next minute, as in POSIX.
    found &= (hour < 24) & (minute < 60) & (second <= 60)
    minutes = hour * 60 + minute - values.get("z", none)
    return np.asarray((minutes * 60 + second) * 1_000_000 + values.get("f", none))


def zone_of(stored: pa.DataType) -> str | None:
    """Return the zone that an Arrow type says its times are of; None where it says none."""
    zone: str | None = getattr(stored.value_type if pa.types.is_dictionary(stored) else stored, "tz", None)
    return zone


def is_place(zone: str) -> bool:
    """Whether a zone is that of a place, whose clocks are set forward and back, and no distance from UTC alone."""
    return not re.fullmatch(r"(?:Etc/)?(?:UTC|GMT|[+-]\d\d:?\d\d)", zone)


def local_times(moments: pa.Array, zone: str | None) -> pa.Array:
    """Return what clocks of a zone show at moments in UTC; both are timestamp[us] without a zone.

    Without a zone it is what came; so it is for UTC, which needs no database of zones.
    """
    if zone is None or zone in _OF_UTC:
        return moments
    with _zone_known(zone):
        return pc.local_timestamp(moments.view(pa.timestamp("us", zone)))


def moments_of(local: pa.Array, zone: str) -> pa.Array:
    """Return the moments in UTC at which clocks of a zone show times; both are timestamp[us] without a zone.

    What they show twice, as clocks are set back, is the first of the two; what they skip is the end of the gap.
    """
    if zone in _OF_UTC:
        return local
    with _zone_known(zone):
        return pc.assume_timezone(local, zone, ambiguous="earliest", nonexistent="latest").view(MICROSECONDS)


def check_zone(zone: str) -> None:
    """Raise UsageError where there is no such zone, ResourceError where this machine knows none."""
    local_times(pa.array([0], pa.int64()).view(MICROSECONDS), zone)


@contextmanager
def _zone_known(zone: str) -> Iterator[None]:
    """Say in our errors that a zone is not in the database of the machine, or that there is no such database."""
    try:
        yield
    except pa.ArrowInvalid as problem:
        if "timezone" not in str(problem).lower() and "zoneinfo" not in str(problem).lower():
            raise
        if _has_zones():
            raise UsageError(
                f"there is no time zone {quoted(zone)}; write one of the IANA database, such as Europe/Berlin, or UTC",
                code="zone-unknown",
            ) from problem
        raise ResourceError(
            f"this machine has no database of time zones, and the times are of {quoted(zone)}: install the system's "
            "package tzdata (apt-get install tzdata), which puts it into /usr/share/zoneinfo",
            code="no-time-zones",
        ) from problem


def _has_zones() -> bool:
    try:
        pc.local_timestamp(pa.array([0], pa.int64()).view(pa.timestamp("us", "Etc/UTC")))
    except pa.ArrowInvalid:
        return False
    return True
