"""How often a schedule repeats the reproduction: the one table of the rhythms. To add one, add a line."""

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class Rhythm:
    """When runs start, in the time zone of KFP's scheduler (UTC unless set otherwise)."""

    cron: str
    """Second, minute, hour, day of the month, month, day of the week: KFP reads six fields, not five."""
    words: str
    """The same for a person."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\d*/,-]+( [\d*/,-]+){5}", self.cron):
            raise ValueError(f"cron {self.cron!r}: expected six fields of digits, *, /, comma and -")


RHYTHMS = {
    "weekly": Rhythm("0 0 3 * * 1", "Mondays at 03:00"),
    "monthly": Rhythm("0 0 3 1 * *", "the first of the month at 03:00"),
}
"""The rhythms by the names that commands and the setting `schedule` give them."""
