"""Rhythms: what is read, when they come, and how they are shown."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datum.cluster.rhythm import RHYTHMS, Rhythm
from datum.cluster.settings import load_cluster_settings
from datum.errors import InputError

REFERENCE = (Path(__file__).parent / "cron_times.txt").read_text().splitlines()
"""Cron, zone, moment and the five times after it by robfig/cron 1.2.0, which KFP reads crons with; crons by
chance, moments around changes of the clock."""


@pytest.mark.parametrize("text", ["", *RHYTHMS, "0 30 2 * * MON,THU", "TZ=Europe/Berlin weekly"])
def test_every_rhythm_can_be_set(text: str) -> None:
    assert load_cluster_settings(overrides=[f"schedule={text}"]).schedule == text


def test_the_times_are_those_of_kfps_own_library() -> None:
    for line in REFERENCE:
        cron, zone, moment, times = line.split("|")
        found = islice(Rhythm(cron, cron).times(datetime.fromisoformat(moment), ZoneInfo(zone)), 5)
        shown = [f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for time in found]
        assert shown == times.split(","), line


@given(
    hour=st.integers(0, 23),
    minutes=st.sets(st.integers(0, 59), min_size=1, max_size=3),
    weekdays=st.sets(st.integers(0, 6), min_size=1),
    after=st.datetimes(datetime(2025, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]),
)
def test_each_time_fits_and_none_between_was_left_out(
    hour: int, minutes: set[int], weekdays: set[int], after: datetime, zone: str
) -> None:
    def numbers(values: set[int]) -> str:
        return ",".join(map(str, sorted(values)))

    cron = f"0 {numbers(minutes)} {hour} * * {numbers(weekdays)}"
    first = next(Rhythm(cron, cron).times(after, ZoneInfo(zone)))
    assert first > after
    moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    while moment < first:
        local = moment.astimezone(ZoneInfo(zone))
        assert (local.hour, local.minute) != (hour, min(minutes)) or local.isoweekday() % 7 not in weekdays
        moment += timedelta(minutes=1)
    assert first.hour == hour and first.minute in minutes and first.isoweekday() % 7 in weekdays


@pytest.mark.parametrize(
    "text, words",
    [
        ("nightly", "every day at 03:00"),
        ("weekly", "on Mondays at 03:00"),
        ("monthly", "on day 1 of the month at 03:00"),
        ("0 30 2,14 * * mon,THU", "on Mondays and Thursdays at 02:30 and 14:30"),
        ("15 0 3 * 1-3 *", "every day, in Jan, Feb and Mar at 03:00:15"),
        ("0 */15 * * * *", "every day, 96 times from 00:00 to 23:45"),
        # Both days are meant where neither is a star, and a day that is both where one is.
        ("0 0 3 1,15 * 5", "on day 1 and 15 of the month, and on Fridays at 03:00"),
        ("0 0 3 */15 * 5", "on day 1, 16 and 31 of the month, only on Fridays at 03:00"),
    ],
)
def test_a_rhythm_is_said_in_words(text: str, words: str) -> None:
    assert Rhythm.parse(text).words() == words


@pytest.mark.parametrize(
    "text, said",
    [
        (
            "0 3 * * 1",
            "found '0 3 * * 1', 5 fields, expected nightly, weekly, monthly or a cron of six fields",
        ),
        ("hourly", "found 'hourly', expected nightly"),
        ("0 0 3 * * 1 2026", "7 fields"),
        ("@weekly", "found '@weekly'"),
        ("0 0 3 * * 7", "found '7' as the day of the week in '0 0 3 * * 7', expected numbers from 0 to 6"),
        ("60 0 3 * * 1", "found '60' as the second"),
        ("0 0 3 5-2 * *", "found '5-2' as the day of the month"),
        ("0 0/0 3 * * *", "found '0/0' as the minute"),
        ("0 0 ٣ * * *", "as the hour"),
        ("0 0 3 31 2 *", "expected a rhythm that comes within 5 years"),
        ("TZ=Mars/Olympus weekly", "found the time zone 'Mars/Olympus', expected an IANA name"),
        ("TZ=../UTC weekly", "found the time zone"),
        ("TZ=Europe/Berlin", "found 'TZ=Europe/Berlin'"),
    ],
)
def test_what_never_comes_or_kfp_does_not_read_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_cluster_settings(overrides=[f"schedule={text}"])
    assert str(caught.value).startswith(f"--set schedule={text}: schedule: ") and said in str(caught.value)
