"""Exit statuses, as a shell or a cluster sees them."""

import errno

import pytest

from datum.errors import InputError, TemporaryFaultError, exit_status, explained, status_may_pass
from datum.stopping import Stopped


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InputError("file.png: no such file"), 2, "datum: file.png: no such file\n"),
        (
            TemporaryFaultError("s3://bucket: out of reach"),
            75,
            "out of reach; the same command then goes on from what is saved",
        ),
        (KeyboardInterrupt(), 130, "interrupted; the same command goes on"),
    ],
)
def test_each_kind_of_failure_ends_with_one_line_and_its_status(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end, exit_status():
        raise error
    assert end.value.code == status
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (OSError(errno.ENOSPC, "full", "/disk/file"), 75, "/disk/file: the disk is full; make room"),
        (OSError(errno.EROFS, "no", "/cdrom/file"), 2, "/cdrom/file: is on a disk that cannot be written to"),
        (PermissionError(errno.EACCES, "no", "a\nb"), 2, "a\\nb: permission denied"),
        (MemoryError(), 75, "memory: there is not enough memory"),
        (RuntimeError("IoError(Os { code: 28, kind: StorageFull })"), 75, "the disk is full"),
        (
            RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left"),
            2,
            "/dev/shm",
        ),
        (Stopped("stopped"), 75, "stopped; the same command goes on from what is saved"),
    ],
)
def test_a_fault_of_the_machine_is_said_in_one_line_also_as_the_cause_of_another(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for raised in (error, RuntimeError("while saving")):
        with pytest.raises(SystemExit) as end, exit_status():
            if raised is error or isinstance(error, Stopped):
                raise error
            raise raised from error
        assert end.value.code == status
        printed = capsys.readouterr().err
        assert said in printed and printed.count("\n") == 1


def test_a_defect_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), exit_status():
        _ = 1 / 0


def test_a_server_that_is_busy_or_restarting_may_take_the_same_later() -> None:
    assert all(map(status_may_pass, (408, 423, 425, 429, 500, 502, 503, 504, 507, 529)))
    assert not any(map(status_may_pass, (200, 304, 400, 401, 403, 404, 405, 409, 501, 505, 511)))


def test_a_library_that_is_not_installed_is_one_line_and_a_module_of_ours_a_defect() -> None:
    missing = explained(ModuleNotFoundError("No module named 'jinja2.ext'", name="jinja2.ext"))
    assert isinstance(missing, InputError) and str(missing).startswith("jinja2: is not installed here")
    assert explained(ModuleNotFoundError("No module named 'datum.none'", name="datum.none")) is None
