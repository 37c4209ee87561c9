"""Work on several things at once."""

import threading
import time

import pytest

from datum.threads import at_once, together


def test_together_gives_the_results_in_the_order_of_the_items() -> None:
    def work(item: int) -> int:
        time.sleep(0.01 * (item % 3))
        return item * item

    assert together(work, range(20), threads=4) == [item * item for item in range(20)]


def test_together_works_on_as_many_as_it_is_told_and_never_on_more() -> None:
    lock, running, most = threading.Lock(), [0], [0]

    def work(_: int) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02)
        with lock:
            running[0] -= 1

    together(work, range(12), threads=3)
    assert most == [3]


def test_together_begins_nothing_after_a_failure_and_raises_it() -> None:
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        if item == 2:
            raise ValueError("the third")
        time.sleep(0.05)

    with pytest.raises(ValueError, match="the third"):
        together(work, range(1000), threads=2)
    assert max(begun) <= 4


def test_many_small_files_are_counted_in_files(capsys: pytest.CaptureFixture[str]) -> None:
    at_once("get report", {str(number): 10_000 for number in range(300)}, lambda name: None)
    assert "get report: 300/300 files, " in capsys.readouterr().err.splitlines()[-1]
    at_once("get model", {"a": 5_000_000, "b": 5_000_000}, lambda name: None)
    assert "get model: 10/10 MB, " in capsys.readouterr().err.splitlines()[-1]
