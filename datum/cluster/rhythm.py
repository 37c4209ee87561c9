"""How often a schedule repeats the reproduction: a name or a cron, checked, in words, and its next times.

KFP 2.15 to 2.17 reads crons with robfig/cron 1.2.0 (`cron.Parse`): six fields, the seconds first, and no time
zone among them. All schedules of an installation run in one zone, that of its controller
(CRON_SCHEDULE_TIMEZONE). So `TZ=…` before a rhythm changes nothing: it says which zone is meant, and is
refused where the controller runs in another (`datum.cluster.schedule`).
"""

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from datum.errors import InputError

RHYTHMS = {
    "nightly": "0 0 3 * * *",
    "weekly": "0 0 3 * * 1",
    "monthly": "0 0 3 1 * *",
}
"""Crons by the names that commands and the setting `schedule` give them. To add one, add a line."""
ZONE_PREFIX = "TZ="
YEARS = 5
"""How far ahead robfig/cron looks for the next time."""
MOST_LISTED = 4
"""Times of a day that are named one by one."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")

_PART = re.compile(r"(?:(?P<star>[*?])|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>\d{1,4}))?", re.ASCII)
"""One of the parts of a field between commas."""


class _Kind(NamedTuple):
    """What a field of a cron may hold."""

    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()
    """Names of the values from `least` on."""


_KINDS = (
    _Kind("second", 0, 59),
    _Kind("minute", 0, 59),
    _Kind("hour", 0, 23),
    _Kind("day of the month", 1, 31),
    _Kind("month", 1, 12, tuple(name.lower() for name in _MONTHS)),
    _Kind("day of the week", 0, 6, tuple(name[:3].lower() for name in _DAYS)),
)


class _Field(NamedTuple):
    """A field of a cron, read."""

    values: frozenset[int]
    star: bool
    """Whether a `*` or `?` stands in it, which decides what two fields of days mean together."""


@dataclasses.dataclass(frozen=True)
class Rhythm:
    """When runs start."""

    text: str
    """As it was given."""
    cron: str
    """Second, minute, hour, day of the month, month, day of the week (0 to 6, Sunday first)."""
    zone: str = ""
    """The IANA time zone that is meant; empty: KFP's, whichever it is."""

    @classmethod
    def parse(cls, text: str) -> "Rhythm":
        """The rhythm that `text` describes: a name or a cron, perhaps after `TZ=ZONE`.

        Raises `InputError` for any other text, and for one that never comes.
        """
        zone, rest = "", text.strip()
        if rest.startswith(ZONE_PREFIX):
            zone, _, rest = rest.removeprefix(ZONE_PREFIX).partition(" ")
            time_zone(zone)
        cron = RHYTHMS.get(rest.strip(), " ".join(rest.split()))
        rhythm = cls(" ".join(text.split()), cron, zone)
        rhythm._fields()
        if next(rhythm.times(datetime.now(UTC), ZoneInfo("UTC")), None) is None:
            raise InputError(f"schedule: found {text!r}, expected a rhythm that comes within {YEARS} years")
        return rhythm

    def times(self, after: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """The times that follow `after`, in `zone`; none more than `YEARS` years later.

        What falls into the hour that a clock skips is left out, and into one that it repeats comes twice: as
        KFP's controller does it.
        """
        seconds, minutes, hours, days, months, weekdays = self._fields()
        first = after.astimezone(zone).date()
        for day in (first + timedelta(days=number) for number in range(366 * YEARS)):
            if day.month in months.values and _is_due(day, days, weekdays):
                for minute in _minutes_of(day, zone):
                    if minute.hour in hours.values and minute.minute in minutes.values:
                        moments = (minute.replace(second=second) for second in sorted(seconds.values))
                        yield from (moment for moment in moments if moment.timestamp() > after.timestamp())

    def words(self) -> str:
        """The rhythm for a person, without its zone."""
        seconds, minutes, hours, days, months, weekdays = self._fields()
        which = []
        if len(days.values) < 31:
            which.append(f"on day {_listed(map(str, sorted(days.values)))} of the month")
        if len(weekdays.values) < 7:
            which.append(f"on {_listed(f'{_DAYS[day]}s' for day in sorted(weekdays.values))}")
        both = ", only " if days.star or weekdays.star else ", and "
        when = both.join(which) or "every day"
        if len(months.values) < 12:
            when += f", in {_listed(_MONTHS[month - 1] for month in sorted(months.values))}"
        clock = [sorted(field.values) for field in (hours, minutes, seconds)]
        shown = [":".join(f"{part:02}" for part in parts) for parts in itertools.product(*clock)]
        if clock[2] == [0]:
            shown = [moment.removesuffix(":00") for moment in shown]
        if len(shown) <= MOST_LISTED:
            return f"{when} at {_listed(shown)}"
        return f"{when}, {len(shown)} times from {shown[0]} to {shown[-1]}"

    def _fields(self) -> list[_Field]:
        parts = self.cron.split(" ")
        if len(parts) != len(_KINDS):
            found = f"schedule: found {self.text!r}" + (f", {len(parts)} fields" if len(parts) > 1 else "")
            raise InputError(
                f"{found}, expected {', '.join(RHYTHMS)} or a cron of six fields, the seconds first, such as "
                f"'{RHYTHMS['weekly']}' for Mondays at 03:00, perhaps after {ZONE_PREFIX}Europe/Berlin"
            )
        return [_read(part, kind, self.text) for part, kind in zip(parts, _KINDS)]


def time_zone(name: str) -> ZoneInfo:
    """The zone of an IANA name. Raises `InputError` for one that is not known here."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(
            f"schedule: found the time zone {name!r}, expected an IANA name such as Europe/Berlin or UTC"
        ) from None


def _read(text: str, kind: _Kind, whole: str) -> _Field:
    """A field of a cron: values, ranges `a-b`, `*` or `?`, steps `/n`, and lists of these with commas."""
    values: set[int] = set()
    star = False
    for part in text.split(","):
        match = _PART.fullmatch(part)
        low, high = kind.least, kind.most
        if match and not match["star"]:
            low = _number(match["low"], kind)
            # A step without an end runs to the end of the field.
            high = _number(match["high"], kind) if match["high"] else high if match["step"] else low
        step = int(match["step"] or 1) if match else 0
        if not match or not kind.least <= low <= high <= kind.most or not step:
            names = f" or {kind.names[0]} to {kind.names[-1]}" if kind.names else ""
            raise InputError(
                f"schedule: found {part!r} as the {kind.name} in {whole!r}, expected numbers from "
                f"{kind.least} to {kind.most}{names}, with * , - and /"
            )
        star = star or bool(match["star"])
        values.update(range(low, high + 1, step))
    return _Field(frozenset(values), star)


def _number(text: str, kind: _Kind) -> int:
    """A value of a field; one below all for a text that is none."""
    if text.lower() in kind.names:
        return kind.least + kind.names.index(text.lower())
    return int(text) if text.isdecimal() and len(text) < 4 else -1


def _is_due(day: date, days: _Field, weekdays: _Field) -> bool:
    """Whether a day fits: both fields where either has a star, else one of the two."""
    fits = day.day in days.values, day.isoweekday() % 7 in weekdays.values
    return all(fits) if days.star or weekdays.star else any(fits)


def _minutes_of(day: date, zone: ZoneInfo) -> Iterator[datetime]:
    """The minutes of a day as the clock shows them: none that it skips, twice those that it repeats."""
    moment = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    while (local := moment.astimezone(zone)).date() <= day:
        if local.date() == day:
            yield local
        moment += timedelta(minutes=1)


def _listed(parts: Iterable[str]) -> str:
    *head, last = parts
    return f"{', '.join(head)} and {last}" if head else last
