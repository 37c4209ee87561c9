"""Exit statuses, as a shell or a cluster sees them."""

import pytest

from datum.errors import InputError, TemporaryFaultError, exit_status


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InputError("file.png: no such file"), 2, "datum: file.png: no such file\n"),
        (TemporaryFaultError("s3://bucket: out of reach"), 75, "state is saved; the same command resumes"),
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


def test_a_defect_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), exit_status():
        _ = 1 / 0
