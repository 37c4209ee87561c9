"""Models from a real HTTP server that speaks like the hub."""

import re
import shutil
import time
from pathlib import Path

import pytest

from datum.config import PAPER
from datum.diffusion.base_model import find_base_model
from datum.diffusion.hub import PINNED
from datum.errors import InputError, TemporaryFaultError
from tests.diffusion.conftest import MAIN, OLDER, Hub


def test_a_model_is_downloaded_once_without_what_is_not_loaded_and_its_commit_is_told(hub: Hub) -> None:
    model = find_base_model("owner/model")
    assert model.commit == MAIN
    assert model.digest() == find_base_model("streetscenes").digest()
    assert not any("drawn.jpg" in request or "README" in request for request in hub.requests)
    hub.requests.clear()
    find_base_model("owner/model")
    assert not any(request.startswith("GET /owner") for request in hub.requests)


def test_a_revision_is_pinned_to_its_commit(hub: Hub) -> None:
    assert find_base_model("owner/model", revision="v1").commit == OLDER
    assert find_base_model("owner/model", revision=OLDER).commit == OLDER
    with pytest.raises(InputError, match="has no revision 'v2'"):
        find_base_model("owner/model", revision="v2")


def test_a_model_with_a_fixed_commit_is_taken_at_it_unless_another_is_named(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert re.fullmatch("[0-9a-f]{40}", PINNED[PAPER.personalization.base_model])
    monkeypatch.setitem(PINNED, "owner/model", OLDER)
    assert find_base_model("owner/model").commit == OLDER
    assert find_base_model("owner/model", revision="main").commit == MAIN


@pytest.mark.parametrize("status", [429, 503, 0], ids=["busy", "restarting", "broken off"])
def test_a_fault_of_the_hub_that_passes_is_waited_out(
    hub: Hub, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("datum.patience.time.sleep", lambda seconds: None)
    monkeypatch.setattr("datum.patience.patience_ends", lambda: time.monotonic() + 60)
    hub.faults = [status] * 2
    assert find_base_model("owner/model").commit == MAIN
    assert "look up owner/model: --base-model owner/model: the hub" in capsys.readouterr().err


def test_a_hub_that_stays_away_is_a_fault_that_may_pass(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datum.patience.patience_ends", lambda: 0.0)
    hub.faults = [503] * 9
    with pytest.raises(TemporaryFaultError, match="the hub answers 503; try again"):
        find_base_model("owner/model")


@pytest.mark.parametrize(
    ("status", "message"), [(401, "no such model, or no access"), (403, "refused"), (404, "no such model")]
)
def test_a_final_answer_of_the_hub_is_not_asked_for_again_and_tells_no_token(
    hub: Hub, status: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.faults = [status] * 3
    with pytest.raises(InputError, match=f"{message}.*{status}.*hf download owner/model") as raised:
        find_base_model("owner/model")
    assert "hf_secret" not in str(raised.value)
    assert len(hub.faults) == 2


def test_a_cached_model_serves_while_the_hub_is_away_and_under_its_commit(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_base_model("owner/model")
    hub.faults = [503]
    assert find_base_model("owner/model").commit == MAIN
    assert f"taking commit {MAIN} of the cache" in capsys.readouterr().err
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert find_base_model("owner/model").commit == MAIN
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(InputError, match="not in the cache, and the hub is switched off"):
        find_base_model("owner/model")


def test_a_download_that_is_cut_is_whole_in_the_end(hub: Hub) -> None:
    hub.cut = {"vae/config.json", "text_encoder/model.safetensors"}
    assert find_base_model("owner/model").digest() == find_base_model("streetscenes").digest()
    assert not hub.cut


def test_a_file_damaged_in_the_cache_is_named(hub: Hub, tmp_path: Path) -> None:
    model = find_base_model("owner/model")
    file = (model.folder / "text_encoder/model.safetensors").resolve()
    content = bytearray(file.read_bytes())
    content[5000] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.safetensors: is damaged in the hub's cache"):
        model.digest()
