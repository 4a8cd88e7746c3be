"""Claims about windows: they are Dagster's, whatever the zone and the offsets, and their names find them again."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from dagster import (
    DailyPartitionsDefinition,
    HourlyPartitionsDefinition,
    MonthlyPartitionsDefinition,
    WeeklyPartitionsDefinition,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from seedream_assets.config.partitions import DEFAULT_FORMATS, TimeWindows, parse_moment

START = datetime(2026, 9, 28, 5, 30)
DAGSTERS = {
    "hourly": HourlyPartitionsDefinition,
    "daily": DailyPartitionsDefinition,
    "weekly": WeeklyPartitionsDefinition,
    "monthly": MonthlyPartitionsDefinition,
}


@st.composite
def windows(draw):
    unit = draw(st.sampled_from(list(DAGSTERS)))
    hourly = unit == "hourly"
    return TimeWindows(
        unit=unit,
        start=START,
        timezone="UTC" if hourly else draw(st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"])),
        format=DEFAULT_FORMATS[unit],
        minute=draw(st.sampled_from([0, 15])),
        hour=0 if hourly else draw(st.sampled_from([0, 6])),
        day={"weekly": draw(st.integers(0, 6)), "monthly": draw(st.integers(1, 28))}.get(unit, 0),
        end_offset=draw(st.sampled_from([0, 1])),
    )


def dagsters(one):
    offsets = {"minute_offset": one.minute, "end_offset": one.end_offset}
    if one.unit != "hourly":
        offsets["hour_offset"] = one.hour
    if one.unit in ("weekly", "monthly"):
        offsets["day_offset"] = one.day
    return DAGSTERS[one.unit](start_date=one.start, timezone=one.timezone, fmt=one.format, **offsets)


@settings(deadline=None, max_examples=60)
@given(windows(), st.datetimes(START + timedelta(days=1), START + timedelta(days=90), timezones=st.just(UTC)))
def test_the_windows_until_now_are_dagsters(one, now):
    keys = list(one.until(now))
    assert keys == list(dagsters(one).get_partition_keys(current_time=now))
    latest = one.latest(now)
    assert ([one.name(latest)] if latest else []) == keys[-1:]


@settings(deadline=None)
@given(windows(), st.datetimes(START + timedelta(days=32), START + timedelta(days=400)))
def test_a_moment_is_in_the_window_that_begins_before_it_and_whose_name_finds_it(one, moment):
    begin = one.begin_of(moment)
    assert begin <= moment < one.next(begin)
    assert one.find(one.name(begin)) == begin


def test_a_moment_with_an_offset_counts_in_the_dataset_s_zone():
    berlin = TimeWindows(unit="daily", start=START, timezone="Europe/Berlin", format="%Y-%m-%d")
    late = parse_moment("2026-11-01T23:30:00Z")
    assert berlin.name(berlin.begin_of(berlin.local(late))) == "2026-11-02"
    assert berlin.local(parse_moment("2026-11-01T23:30:00")).hour == 23
    assert berlin.local(datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("UTC"))).hour == 14


@pytest.mark.parametrize("name", ["2026-11-02", "2026-11", "today", "2026-11-01-06:00", ""])
def test_what_no_window_is_called_finds_none(name):
    weekly = TimeWindows(unit="weekly", start=START, timezone="UTC", format="%Y-%m-%d")
    assert weekly.find(name) is None
    assert weekly.find("2026-11-01") == datetime(2026, 11, 1)  # a Sunday


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2026-11-01", (2026, 11, 1)),
        ("20261101", (2026, 11, 1)),
        ("2026-11", (2026, 11, 1)),
        ("2026-11-01 06:30:00", (2026, 11, 1)),
        ("01.11.2026", None),
        ("11/01/2026", None),
        ("2026-02-30", None),
        ("", None),
    ],
)
def test_dates_are_read_in_one_order_only(text, found):
    moment = parse_moment(text)
    assert (moment and moment.timetuple()[:3]) == found
