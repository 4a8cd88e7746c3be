"""How a dataset is cut into partitions: what its owner declares, what a partition may be called, the windows of time.

Everything about windows is wall-clock time of the dataset's zone, without a zone attached; who has an aware moment turns
it into wall-clock time first (`local`). Names and windows are those of Dagster's time partitions definitions; a test
compares them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from seedream_assets.config.base import Config, Place, refuse
from seedream_assets.errors import PartitionKeyError, RowError

TimeUnit = Literal["hourly", "daily", "weekly", "monthly"]
TIME_UNITS: tuple[TimeUnit, ...] = ("hourly", "daily", "weekly", "monthly")
# Dagster's own.
DEFAULT_FORMATS: dict[TimeUnit, str] = {
    "hourly": "%Y-%m-%d-%H:%M",
    "daily": "%Y-%m-%d",
    "weekly": "%Y-%m-%d",
    "monthly": "%Y-%m-%d",
}
NAMES: dict[TimeUnit, str] = {"hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeWindows:
    """Windows of one length, one after the other.

    Attributes:
        unit: Their length.
        start: No window begins before this.
        timezone: IANA name; what local time means.
        format: strftime format of the names.
        minute, hour: When in the hour, or in the day, a window begins.
        day: For weekly 0 (Sunday) to 6; for monthly the day of the month, 1 to 28.
        end_offset: Windows that exist beyond the last complete one.
    """

    unit: TimeUnit
    start: datetime
    timezone: str
    format: str
    minute: int = 0
    hour: int = 0
    day: int = 0
    end_offset: int = 0

    def local(self, moment: datetime) -> datetime:
        """Wall-clock time of the zone; a moment without a zone is that already."""
        return moment if moment.tzinfo is None else moment.astimezone(ZoneInfo(self.timezone)).replace(tzinfo=None)

    def begin_of(self, moment: datetime) -> datetime:
        """The begin of the window that a local moment is in."""
        match self.unit:
            case "hourly":
                begin = moment.replace(minute=self.minute, second=0, microsecond=0)
                return begin if begin <= moment else begin - timedelta(hours=1)
            case "daily":
                begin = self._at_time(moment)
                return begin if begin <= moment else begin - timedelta(days=1)
            case "weekly":
                # isoweekday counts Monday as 1 and Sunday as 7.
                begin = self._at_time(moment - timedelta(days=(moment.isoweekday() % 7 - self.day) % 7))
                return begin if begin <= moment else begin - timedelta(days=7)
            case "monthly":
                begin = self._at_time(moment.replace(day=self.day))
                return begin if begin <= moment else self._next_month(begin, step=-1)

    def next(self, begin: datetime) -> datetime:
        """The begin of the window after the one that begins then."""
        if self.unit == "monthly":
            return self._next_month(begin, step=1)
        hours = {"hourly": 1, "daily": 24, "weekly": 24 * 7}[self.unit]
        return begin + timedelta(hours=hours)

    def name(self, begin: datetime) -> str:
        """The partition's key."""
        return begin.strftime(self.format)

    def find(self, name: str) -> datetime | None:
        """The begin of the window of this name; None where no window has it."""
        try:
            moment = datetime.strptime(name, self.format)  # noqa: DTZ007  # wall-clock time, as everything here
        except ValueError:
            return None
        # A format that leaves out the hour or the day names a moment before the begin: the first window from then on.
        begin = self.begin_of(moment)
        begin = begin if begin == moment else self.next(begin)
        return begin if self.name(begin) == name else None

    @property
    def first(self) -> datetime:
        """The begin of the first window."""
        begin = self.begin_of(self.start)
        return begin if begin >= self.start else self.next(begin)

    def latest(self, now: datetime) -> datetime | None:
        """The begin of the last window that exists: the latest complete one, and `end_offset` more. None before any."""
        complete = self.begin_of(self.begin_of(self.local(now)) - timedelta(minutes=1))
        more = self.end_offset
        if complete < self.first:
            complete, more = self.first, more - 1
        for _ in range(more):
            complete = self.next(complete)
        return complete if more >= 0 else None

    def until(self, now: datetime) -> Iterator[str]:
        """The names of all windows that exist, oldest first."""
        latest = self.latest(now)
        begin = self.first
        while latest is not None and begin <= latest:
            yield self.name(begin)
            begin = self.next(begin)

    def _at_time(self, moment: datetime) -> datetime:
        return moment.replace(hour=self.hour, minute=self.minute, second=0, microsecond=0)

    def _next_month(self, begin: datetime, *, step: int) -> datetime:
        months = begin.year * 12 + begin.month - 1 + step
        return begin.replace(year=months // 12, month=months % 12 + 1)


def parse_moment(text: str) -> datetime | None:
    """A date or a time in ISO 8601, with or without a zone, or a month as 2026-11; None for anything else."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    try:
        return datetime.strptime(text, "%Y-%m")  # noqa: DTZ007  # a month has no zone
    except ValueError:
        return None


def utc_day(moment: datetime) -> datetime:
    """Midnight in UTC that began the day of an aware moment."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


# The partition of a dataset that has none, in file names, the manifest and summaries.
UNPARTITIONED = "all"
PartitionBy = Literal["none", "hourly", "daily", "weekly", "monthly", "column", "table"]
Backfill = Literal["single_run", "per_partition"]
LONGEST_KEY = 200
# What Dagster recommends as the most partitions of an asset (1.13, its page on partitioning).
MOST_PARTITIONS = 100_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _read_start(start: Any) -> date:
    try:
        if isinstance(start, date):
            return start
        return date.fromisoformat(start) if len(start) == len("2026-11-01") else datetime.fromisoformat(start)
    except (TypeError, ValueError):
        raise ValueError("allowed is a day as 2026-11-01, or a time as 2026-11-01T06:00") from None


Start = Annotated[date, PlainValidator(_read_start), WithJsonSchema({"type": "string"})]


class Partitions(Config):
    """How a dataset is cut into partitions."""

    by: PartitionBy = Field(
        default="none",
        description="hourly, daily, weekly or monthly: by a column's date, or by {partition} in the table's path; "
        "column: one partition per value; table: one per file.",
    )
    column: str | None = Field(default=None, description="The table's column that decides.")
    start: Start | None = Field(
        default=None,
        description="From when on, in the zone's own time; required for time partitions.",
        examples=["2026-11-01", "2026-11-01T06:00"],
    )
    timezone: str = Field(
        default="UTC",
        description="For time partitions: in which zone days begin, and times without a zone are meant.",
        examples=["Europe/Berlin"],
    )
    format: str | None = Field(
        default=None, description="strftime format of a time partition's key; default: Dagster's.", examples=["%Y-%m"]
    )
    minute_offset: int | None = Field(default=None, description="Minute at which windows begin.")
    hour_offset: int | None = Field(default=None, description="Hour at which days, weeks and months begin.")
    day_offset: int | None = Field(
        default=None, description="Day on which weeks (0 is Sunday) or months (1 to 28) begin, as Dagster counts them."
    )
    end_offset: int | None = Field(
        default=None, description="Windows beyond the last complete one; 1 makes the current one a partition too."
    )
    backfill: Backfill = Field(
        default="single_run",
        description="single_run: a range is one run and one stream; per_partition: a run for each.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.by == "column" and not self.column:
            raise ValueError("by column needs a column; add column: <name>")
        if self.by in ("none", "table") and self.column:
            raise ValueError(f"by {self.by} takes no column; take column out, or use by: column")
        if self.unit is not None:
            _check_windows(self, self.unit)
            return self
        only_time = ("start", "format", "minute_offset", "hour_offset", "day_offset", "end_offset")
        given = [name for name in only_time if getattr(self, name) is not None]
        given += ["timezone"] if self.timezone != "UTC" else []
        if given:
            refuse(*(((name,), f"by {self.by} takes none; it is for {_either(TIME_UNITS)}") for name in given))
        return self

    @property
    def unit(self) -> TimeUnit | None:
        """The length of a time partition; None for the others."""
        return next((unit for unit in TIME_UNITS if unit == self.by), None)

    @property
    def is_dynamic(self) -> bool:
        """True where the partitions are known only when the tables are looked at."""
        return self.by in ("column", "table")

    @property
    def windows(self) -> TimeWindows | None:
        """The windows of time partitions; None for the others."""
        if self.unit is None or self.start is None:
            return None
        return TimeWindows(
            unit=self.unit,
            start=self.start if isinstance(self.start, datetime) else datetime(*self.start.timetuple()[:3]),  # noqa: DTZ001
            timezone=self.timezone,
            format=self.format or DEFAULT_FORMATS[self.unit],
            minute=self.minute_offset or 0,
            hour=self.hour_offset or 0,
            day=self.day_offset if self.day_offset is not None else (1 if self.unit == "monthly" else 0),
            end_offset=self.end_offset or 0,
        )

    def refuse_unless_key(self, key: str) -> None:
        """Refuse what no partition of this dataset can be called.

        Raises:
            PartitionKeyError: It cannot; says why and what can.
        """
        windows = self.windows
        if windows is not None and windows.find(key) is None:
            name = NAMES[windows.unit]
            example = windows.name(windows.first)
            raise PartitionKeyError(f"partition {key!r} is no {name} of this dataset; the first is {example}")
        if windows is not None and (begin := windows.find(key)) is not None and begin < windows.first:
            raise PartitionKeyError(f"partition {key} is before the first one, {windows.name(windows.first)}")
        if self.is_dynamic and (row_error := error_of_key(key)):
            raise PartitionKeyError(f"partition {key!r} cannot be one: allowed is {row_error.allowed}; {row_error.fix}")


def normal_key(text: str) -> str:
    """A value as it names a partition: Unicode NFC, without outer spaces. Letters keep their case."""
    return unicodedata.normalize("NFC", text).strip()


def error_of_key(key: str) -> RowError | None:
    """Why a value cannot name a partition; None where it can."""
    if not key:
        return RowError("partition_empty", "a value that names a partition", "fill the cell, or take the row out")
    if len(key) > LONGEST_KEY:
        return RowError(
            "partition_length",
            f"1 to {LONGEST_KEY} characters",
            f"it has {len(key)}; partition by a column with short values",
        )
    if found := _CONTROL.search(key):
        return RowError(
            "partition_control_character",
            "a value on one line, without control characters",
            f"take out U+{ord(found[0]):04X} at character {found.start() + 1}",
        )
    if "..." in key:
        return RowError(
            "partition_dots",
            'a value without "...", which Dagster reads as a range of partitions',
            "write … (U+2026) or fewer dots",
        )
    return None


def _check_windows(partitions: Partitions, unit: TimeUnit) -> None:
    name = NAMES[unit]
    if partitions.start is None:
        raise ValueError(f'{unit} needs a first {name}; add start: "2026-11-01"')
    if isinstance(partitions.start, datetime) and partitions.start.tzinfo is not None:
        refuse((("start",), "is in the dataset's own timezone; take the offset out"))
    if problem := _problem_of_zone(partitions.timezone, unit):
        refuse((("timezone",), problem))
    days = {"weekly": (0, 6), "monthly": (1, 28)}
    hours = (0, 23) if unit != "hourly" else None
    ranges = {"minute_offset": (0, 59), "hour_offset": hours, "day_offset": days.get(unit), "end_offset": (0, 1000)}
    problems: list[tuple[Place, str]] = []
    for field, allowed in ranges.items():
        value = getattr(partitions, field)
        if value is None:
            continue
        if allowed is None:
            problems.append(((field,), f"{unit} takes none"))
        elif not allowed[0] <= value <= allowed[1]:
            problems.append(((field,), f"got {value}, allowed is {allowed[0]} to {allowed[1]}"))
    if problems:
        refuse(*problems)
    if not _has_readable_format(partitions):
        message = (
            f"got {partitions.format!r}, allowed is a format that distinguishes every {name} and can be read "
            f"back, as {DEFAULT_FORMATS[unit]}"
        )
        refuse((("format",), message))


def _problem_of_zone(timezone: str, unit: TimeUnit) -> str | None:
    try:
        ZoneInfo(timezone)
    except (ValueError, OSError, LookupError):
        return f"got {timezone!r}, allowed is a name as Europe/Berlin or UTC"
    if unit == "hourly" and timezone != "UTC":
        return (
            f"got {timezone!r}, allowed is UTC for hourly: where clocks are set back an hour comes twice, and two "
            "partitions would have one name"
        )
    return None


def _has_readable_format(partitions: Partitions) -> bool:
    """True where every window has a name of its own that can be read back."""
    windows = partitions.windows
    if windows is None or partitions.format is None:
        return True
    begin = windows.first
    # Far enough to meet a change of the month and of the year.
    for _ in range(60):
        key = windows.name(begin)
        if error_of_key(key) or windows.find(key) != begin:
            return False
        begin = windows.next(begin)
    return True


def _either(names: tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1]
