"""The table of rhythms."""

import typing

import pytest

from datum.cluster.rhythm import RHYTHMS, Rhythm
from datum.cluster.settings import ClusterSettings


def test_the_setting_and_the_table_name_the_same_rhythms() -> None:
    setting = typing.get_type_hints(ClusterSettings)["schedule"]
    assert set(typing.get_args(setting)) == {"", *RHYTHMS}


@pytest.mark.parametrize("cron", ["0 3 * * 1", "", "0 0 3 * * 1 2026", "0 0 3 * * MON", "0  3 * * 1 1"])
def test_a_cron_without_six_fields_is_refused(cron: str) -> None:
    with pytest.raises(ValueError, match="expected six fields"):
        Rhythm(cron, "never")
