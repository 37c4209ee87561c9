"""What the first tasks find of the cluster from inside: one table, and the first error in it."""

import os
import socket
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from components.check import check_run
from components.inside import (
    METADATA_HOST,
    METADATA_PORT,
    compare_clock,
    compute_on_gpu,
    connect_metadata_store,
    connect_server,
    find_model,
    look,
    rows_of_account,
    rows_of_disk,
    rows_of_node,
    rows_of_store,
    show_rows,
)
from components.installation import on_one_machine
from components.task import SCRATCH
from datum.errors import InputError, TemporaryFaultError
from datum.store import open_store
from tests.stand_in_server import QuietHandler, StandInServer
from tests.weights_server import weights_server


def installed(place: str, **changes: str) -> dict[str, str]:
    places = {name: f"{place}/{name}" for name in ("datasets", "state", "reports")}
    return {**on_one_machine("demo"), **places, **changes}


def test_the_store_is_written_read_and_cleared_and_its_clock_is_compared(s3_bucket: str) -> None:
    rows = rows_of_store(installed(f"s3://{s3_bucket}", store_endpoint=os.environ["S3_ENDPOINT"]))
    assert [row.what for row in rows] == ["datasets", "state", "reports", "clock"]
    assert not any(row.error for row in rows)
    assert rows[1].found == f"s3://{s3_bucket}/state: written, read and removed"
    assert "s from the store's" in rows[3].found
    assert open_store(f"s3://{s3_bucket}").list() == []


def test_a_folder_tells_its_free_space(tmp_path: Path) -> None:
    rows = rows_of_store(installed(f"file://{tmp_path}"))
    assert [row.what for row in rows] == ["datasets", "state", "reports"]
    assert all("are free" in row.found for row in rows)


def test_a_store_that_does_not_tell_its_free_space_is_said_to(s3_bucket: str) -> None:
    place = installed(f"s3://{s3_bucket}", store_endpoint=os.environ["S3_ENDPOINT"])
    rows = rows_of_store(place, {"state": 135 * 10**9})
    assert rows[1].found.endswith("needs up to 135 GB, and an S3 store does not say what is free")


def test_a_folder_or_a_disk_without_room_for_what_the_run_puts_there_is_refused(tmp_path: Path) -> None:
    rows = rows_of_store(installed(f"file://{tmp_path}"), {"datasets": 10, "state": 10**18})
    assert [row.error is None for row in rows] == [True, False, True]
    assert "are free on its disk, up to 1 kB are needed" in rows[0].found
    assert rows[1].found.endswith("expected 1e+09 GB; make room or take a larger one")
    (tmp_path / "full").mkdir()
    assert [row.error is None for row in rows_of_disk({tmp_path / "full": 10**18})] == [False, True]


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A listening socket, which the environment names as KFP's metadata store."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv(METADATA_HOST, "127.0.0.1")
        monkeypatch.setenv(METADATA_PORT, str(listening.getsockname()[1]))
        yield listening


def test_a_metadata_store_out_of_reach_is_named(
    address: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"127.0.0.1:{address.getsockname()[1]}"
    assert connect_metadata_store() == f"{place} accepts connections"
    address.close()
    with pytest.raises(TemporaryFaultError, match=rf"^{place}: KFP's metadata store .*policy datum-kfp$"):
        connect_metadata_store()
    monkeypatch.delenv(METADATA_HOST)
    assert "is not set" in connect_metadata_store()


def test_a_store_that_may_not_be_used_is_named_and_the_rest_is_looked_at_all_the_same(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    rows = rows_of_store(installed(f"s3://{s3_bucket}")) + rows_of_disk({tmp_path: 0})
    with pytest.raises(InputError, match=f"^s3://{s3_bucket}/datasets/.*check the bucket and the secret$"):
        show_rows(rows, tmp_path / "page" / "findings.md")
    said = capsys.readouterr().err.splitlines()
    assert [line[0] for line in said] == ["✗", "✗", "✗", "✓", "✓"]
    table = (tmp_path / "page" / "findings.md").read_text(encoding="utf-8").splitlines()
    assert table[:2] == ["| what | | found |", "|---|---|---|"] and len(table) == 7
    assert table[2].startswith("| datasets | wrong | s3://")
    assert table[-1].startswith("| /dev/shm | right | ")


def test_a_store_out_of_reach_is_said_soon_in_a_line_of_reasonable_length(
    s3_environment: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("S3_ENDPOINT", "http://store.invalid:8333")
    monkeypatch.setenv("DATUM_PATIENCE", "0")
    with pytest.raises(TemporaryFaultError) as end:
        show_rows(rows_of_store(installed("s3://bucket")), tmp_path / "findings.md")
    assert len(str(end.value)) < 250 and "store.invalid" in str(end.value)


@pytest.fixture
def server_of_time() -> Iterator[tuple[str, dict[str, float]]]:
    """URL of a server that refuses anonymous requests, as a store does, and how far its clock is off."""
    off = {"seconds": 0.0}

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.send_response_only(403)
            self.send_header("Date", formatdate(time.time() + off["seconds"], usegmt=True))
            self.end_headers()

    with StandInServer(Handler) as server:
        yield server.url, off


@pytest.mark.parametrize(("seconds", "side"), [(3600.0, "before"), (-3600.0, "after")])
def test_a_clock_that_would_spoil_signatures_is_refused(
    server_of_time: tuple[str, dict[str, float]], seconds: float, side: str
) -> None:
    url, off = server_of_time
    assert "s from the store's" in compare_clock(url)
    off["seconds"] = seconds
    with pytest.raises(InputError, match=rf"clock: is (3599|3600|3601) s {side} that of {url}; set"):
        compare_clock(url)


def test_a_disk_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    rows = rows_of_disk({tmp_path: 0, tmp_path / "none": 0})
    assert [row.error is None for row in rows] == [True, False, True]
    assert "none: cannot be written to (No such file or directory)" in rows[1].found


def test_a_node_is_looked_at_with_the_size_of_what_is_fetched_to_it(
    s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCRATCH, str(tmp_path))
    store = open_store(f"s3://{s3_bucket}")
    for key in ("gta/images/1.png", "cityscapes/leftImg8bit/val/a/1.png"):
        store.write_bytes(key, b"0" * 2_000_000)
    data = {"source": f"s3://{s3_bucket}/gta", "target": f"s3://{s3_bucket}/cityscapes"}
    looked: dict[str, Any] = {"gpu_count": 0, "profile": "demo", "overrides": []}
    rows = rows_of_node(**looked, **data, base_model="none")
    assert [row.what for row in rows] == ["GPU", str(tmp_path), "/tmp", "/dev/shm"]
    assert "up to 4 MB are needed" in rows[1].found
    rows = rows_of_node(**looked, source="", target="", base_model="")
    assert "up to 53.1 MB are needed" in rows[1].found
    assert (rows[-1].what, rows[-1].error) == ("base model", None)
    assert rows[-1].found.startswith("streetscenes")


def test_a_gpu_that_torch_does_not_see_is_refused() -> None:
    import torch

    assert "on processors" in compute_on_gpu(0)
    row = look("GPU", lambda: compute_on_gpu(1))
    if torch.cuda.is_available():
        assert row.error is None and "GiB" in row.found
    else:
        assert isinstance(row.error, InputError) and "sees none in a pod that asked for 1" in row.found


def test_the_base_model_is_found_where_personalization_takes_it_from(s3_bucket: str) -> None:
    assert "streetscenes: in /" in find_model("", "demo", [])
    model = f"s3://{s3_bucket}/model"
    with pytest.raises(InputError, match=r"model: has no model_index\.json; name the folder"):
        find_model(model, "demo", [])
    open_store(model).write_bytes("model_index.json", b"{}")
    assert find_model(model, "demo", []) == f"{model}: is there"


def test_a_server_of_weights_is_asked_before_a_training_waits_for_it() -> None:
    with weights_server() as server:
        assert connect_server(f"{server.url}/mit_b5.pth", "mit-b5") == "127.0.0.1 answers"
        server.statuses = [404]
        assert connect_server(f"{server.url}/mit_b5.pth", "mit-b5") == "127.0.0.1 answers"
    with pytest.raises(InputError, match=r"cannot be reached from a task .*`datum weights mit-b5 --fetch`"):
        connect_server(f"{server.url}/mit_b5.pth", "mit-b5")


def test_a_server_of_weights_is_asked_through_the_proxy_that_the_download_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = "http://weights.invalid/mit_b5.pth"
    with weights_server() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert connect_server(url, "mit-b5") == "weights.invalid answers"
        assert [path for path, _ in proxy.requests] == [url]
        proxy.statuses = [503]
        with pytest.raises(InputError, match=r"cannot be reached from a task \(HTTP Error 503"):
            connect_server(url, "mit-b5")
        monkeypatch.setenv("https_proxy", proxy.url)  # It has no CONNECT.
        with pytest.raises(
            InputError, match=r"cannot be reached from a task \(Tunnel connection failed: 501"
        ):
            connect_server("https://weights.invalid/mit_b5.pth", "mit-b5")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with weights_server() as server:
            assert connect_server(f"{server.url}/mit_b5.pth", "mit-b5") == "127.0.0.1 answers"
            assert len(server.requests) == 1


def test_a_run_with_another_service_account_than_the_installations_is_told_what_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rows_of_account() == [], "a KFP that tells no account"
    monkeypatch.setenv("DATUM_WANTED_SERVICE_ACCOUNT", "datum-runner")
    monkeypatch.setenv("DATUM_SERVICE_ACCOUNT", "pipeline-runner")
    show_rows(rows_of_account(), tmp_path / "findings.md")
    said = capsys.readouterr().err
    assert said.startswith("! service account  pipeline-runner, whose rights the run has")
    assert "| service account | doubtful | pipeline-runner" in (tmp_path / "findings.md").read_text()
    monkeypatch.setenv("DATUM_SERVICE_ACCOUNT", "datum-runner")
    show_rows(rows_of_account(), tmp_path / "findings.md")
    assert capsys.readouterr().err == "✓ service account  datum-runner\n"


def test_parameters_that_cannot_work_are_the_first_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parameters: dict[str, Any] = {
        **{"benchmark": "gta-to-cityscapes", "method": "daformer", "encoder": "resnet-18-half"},
        **dict.fromkeys(("source", "target", "base_model", "pretrained_encoder", "resume_from", "title"), ""),
        **{"overrides": [], "variants": [], "seeds": [1], "named": [], "inputs": []},
        "installation": installed(f"file://{tmp_path}"),
    }
    page = tmp_path / "findings.md"
    check_run(page=page, in_cluster=False, draws=True, **parameters)
    assert page.read_text(encoding="utf-8").splitlines()[2:] == ["| parameters | right | go together |"]
    with pytest.raises(InputError, match="magic"):
        check_run(page=page, in_cluster=True, draws=True, **{**parameters, "method": "magic"})
    assert "| reports | right | file://" in page.read_text(encoding="utf-8")
    assert len(capsys.readouterr().err.splitlines()) > 5
