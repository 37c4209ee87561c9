"""SIGTERM, as a cluster sends it to a process of its own."""

import signal
import subprocess
import sys

WORK = """
import sys, time
from datum import stopping
from datum.errors import exit_status
stopping.GRACE = float(sys.argv[2])
with exit_status():
    if sys.argv[1] == "at once":
        print("works", flush=True)
        time.sleep(60)
    if sys.argv[1] == "in a destructor":
        class Busy:
            def __del__(self):
                print("works", flush=True)
                for _ in range(10**9):
                    time.sleep(0.01)
        del (busy := [Busy()])[0]
        time.sleep(60)
    with stopping.deferred():
        for step in range(10**9):
            if step == 1:
                print("works", flush=True)
            time.sleep(0.01)
            if stopping.stop_asked() and sys.argv[1] == "deferred":
                print("saved", flush=True)
                raise stopping.Stopped(f"step {step} is saved")
"""


def stopped(kind: str, grace: float = 25.0) -> tuple[int, str, str]:
    """(status, what was printed, what was said on standard error) of a process that is sent SIGTERM."""
    command = [sys.executable, "-c", WORK, kind, str(grace)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "works\n"
        process.send_signal(signal.SIGTERM)
        printed, said = process.communicate(timeout=20)
        return process.returncode, printed, said


def test_a_stopped_command_ends_with_75_and_one_line() -> None:
    assert stopped("at once") == (75, "", "datum: stopped; the same command goes on from what is saved\n")


def test_a_signal_where_nothing_can_be_raised_stops_the_command_all_the_same() -> None:
    status, printed, said = stopped("in a destructor")
    assert (status, printed) == (75, "")
    assert said == "datum: stopped; the same command goes on from what is saved\n"


def test_a_training_saves_its_state_before_it_stops() -> None:
    status, printed, said = stopped("deferred")
    assert (status, printed) == (75, "saved\n")
    assert said.startswith("datum: step ") and said.count("\n") == 1


def test_what_does_not_stop_by_itself_is_ended_before_it_is_killed() -> None:
    status, printed, said = stopped("never", grace=0.5)
    assert (status, printed) == (75, "")
    assert said == "datum: stopped; the same command goes on from what was saved before\n"
