"""Progress, as a log and as a terminal show it."""

import os
import pty
import subprocess
import sys

import pytest

from datum.telemetry import Progress

SCRIPT = """
from datum.telemetry import Progress

progress = Progress("draw", 3, unit="images")
for _ in range(3):
    progress.advance(note="loss 1")
"""


def test_a_log_gets_plain_lines_with_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("train", 4, unit="steps", done=2)
    progress.advance()
    progress.advance(note="loss 0.5")
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("train: 4/4 steps, ")
    assert "/s, 0s left, loss 0.5" in line
    assert "\x1b" not in line


def test_a_terminal_gets_a_bar_that_ends_full() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.run([sys.executable, "-c", SCRIPT], stderr=theirs, check=True)
    os.close(theirs)
    assert process.returncode == 0
    shown = os.read(ours, 65536).decode()
    assert "━" * 24 in shown
    assert "3/3 images" in shown
