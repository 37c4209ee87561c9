"""The table of rhythms."""

import pytest

from datum.cluster.rhythm import RHYTHMS, Rhythm
from datum.cluster.settings import load_cluster_settings
from datum.errors import InputError


@pytest.mark.parametrize("rhythm", ["", *RHYTHMS])
def test_every_rhythm_of_the_table_can_be_set(rhythm: str) -> None:
    assert load_cluster_settings(overrides=[f"schedule={rhythm}"]).schedule == rhythm


def test_a_rhythm_that_is_in_no_table_is_refused_with_those_that_are() -> None:
    with pytest.raises(InputError, match="found 'daily', expected one of '', weekly, monthly"):
        load_cluster_settings(overrides=["schedule=daily"])


@pytest.mark.parametrize("cron", ["0 3 * * 1", "", "0 0 3 * * 1 2026", "0 0 3 * * MON", "0  3 * * 1 1"])
def test_a_cron_without_six_fields_is_refused(cron: str) -> None:
    with pytest.raises(ValueError, match="expected six fields"):
        Rhythm(cron, "never")
