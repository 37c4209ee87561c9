"""The scale that a source is read at, and stored at."""

import pytest

from datum.config import load_settings
from datum.formats.source_scale import ingestion_scale


@pytest.mark.parametrize(
    "overrides, expected",
    [
        ([], (1280, 720)),
        (["run.benchmark=synthia-to-cityscapes"], (1280, 760)),
        (["run.method=hrda"], (2560, 1440)),
        (["run.method=source-only", "run.beside=hrda"], (2560, 1440)),
        (["adaptation.source_scale=[640, 360]"], (640, 360)),
        (["generation.labels=source"], None),
    ],
)
def test_a_source_is_stored_as_the_runs_trainings_read_it_unless_images_are_drawn_from_it(
    overrides: list[str], expected: tuple[int, int] | None
) -> None:
    assert ingestion_scale(load_settings("paper", overrides)) == expected
