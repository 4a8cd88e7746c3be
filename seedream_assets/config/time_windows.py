"""The windows of time partitions: which one a moment is in, what it is called, which ones are complete.

Everything here is wall-clock time of the dataset's zone, without a zone attached; who has an aware moment turns it into
wall-clock time first (`local`). Names and windows are those of Dagster's time partitions definitions; a test compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

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
