"""Weights by path, URL, hub file and store URI: where they come from, and what is refused before that."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from datum.errors import InputError
from datum.published_weights import PublishedWeights
from datum.segmentation.encoders import build_encoder
from datum.segmentation.encoders.pretrained import load_pretrained
from datum.segmentation.pretrained_file import PUBLISHED, pretrained_file
from datum.store import open_store
from datum.weight_sources import find_weights
from tests.weights_server import CONTENT, Behavior, weights_server

DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "datum" / "weights"


@pytest.fixture
def server(impatient: None) -> Iterator[Behavior]:
    with weights_server() as behavior:
        yield behavior


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    for text in (str(tmp_path / "mit_b5.pth"), (tmp_path / "mit_b5.pth").as_uri()):
        assert find_weights("x", text) == tmp_path / "mit_b5.pth"


def test_a_url_is_downloaded_once(server: Behavior, cache: Path) -> None:
    url = f"{server.url}/mit_b5.pth?signature=abc#sha256={DIGEST}"
    found = find_weights("x", url)
    assert found.is_relative_to(cache) and found.name == "mit_b5.pth"
    assert found.read_bytes() == CONTENT
    assert find_weights("x", url) == found
    assert [path for path, _ in server.requests] == ["/mit_b5.pth?signature=abc"]


@pytest.mark.parametrize(
    "text, path",
    [
        ("hf://nvidia/mit-b5", "/nvidia/mit-b5/resolve/main/model.safetensors"),
        ("hf://nvidia/mit-b5@a1b2/pytorch_model.bin", "/nvidia/mit-b5/resolve/a1b2/pytorch_model.bin"),
        ("hf://o/n@refs%2Fpr%2F1/a/b.pth", "/o/n/resolve/refs%2Fpr%2F1/a/b.pth"),
    ],
)
def test_a_file_of_the_hub_is_asked_of_it_with_the_token(
    server: Behavior, monkeypatch: pytest.MonkeyPatch, text: str, path: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "not-a-secret")
    assert find_weights("x", text).name == path.rpartition("/")[2]
    assert [asked for asked, _ in server.requests] == [path]
    assert server.asked("Authorization") == ["Bearer not-a-secret"]


def test_an_object_of_a_store_is_fetched(tmp_path: Path, s3_bucket: str) -> None:
    (tmp_path / "weights").write_bytes(CONTENT)
    open_store(f"s3://{s3_bucket}/encoders").put(tmp_path / "weights", "mit_b5.pth")
    found = find_weights("x", f"s3://{s3_bucket}/encoders/mit_b5.pth")
    assert found.name == "mit_b5.pth" and found.read_bytes() == CONTENT
    open_store(f"s3://{s3_bucket}").delete_all()


@pytest.mark.usefixtures("impatient")
def test_where_downloads_are_switched_off_the_cache_is_taken(
    server: Behavior, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    found = find_weights("x", "hf://nvidia/mit-b5")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert find_weights("x", "hf://nvidia/mit-b5") == found
    with pytest.raises(InputError, match=r"x https://host/a.pth: is not in the cache, .* \(HF_HUB_OFFLINE\)"):
        find_weights("x", "https://host/a.pth")
    assert len(server.requests) == 1


def test_a_file_of_the_cache_that_has_changed_is_not_taken(server: Behavior) -> None:
    found = find_weights("x", f"{server.url}/a.pth", DIGEST[:8])
    found.write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match="in the cache has another SHA-256 than"):
        find_weights("x", f"{server.url}/a.pth", DIGEST[:8])


@pytest.mark.parametrize(
    "text, problem",
    [
        ("https:///a.pth", "expected https://server/file"),
        ("https://name@host/a.pth", "with no name or password"),
        ("https://host/a.pth#sha256=abc", "found #sha256='abc', expected 8 to 64 hexadecimal digits"),
        ("hf://mit-b5", "expected hf://owner/name@revision/file"),
        ("hf://o/n@", "expected hf://owner/name@revision/file"),
        ("ftp://host/a.pth", "unknown scheme"),
    ],
)
def test_what_names_nothing_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InputError) as raised:
        find_weights("adaptation.pretrained_encoder", text)
    assert problem in str(raised.value) and "\n" not in str(raised.value)


def test_an_encoder_starts_from_weights_behind_a_url(server: Behavior, tmp_path: Path) -> None:
    encoder = build_encoder("resnet-18-half", 0.0)
    torch.save(encoder.state_dict(), tmp_path / "weights.pth")
    server.content = (tmp_path / "weights.pth").read_bytes()
    file = pretrained_file("resnet-18-half", f"{server.url}/weights.pth")
    assert file is not None
    other = build_encoder("resnet-18-half", 0.0)
    load_pretrained(other, "resnet-18-half", file)
    assert all(torch.equal(value, encoder.state_dict()[key]) for key, value in other.state_dict().items())


def test_published_weights_are_pinned_by_the_digest_in_their_name(
    server: Behavior, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = PublishedWeights(source=f"{server.url}/mit_b5-658746d9.pth", digest="658746d9", license="x")
    monkeypatch.setattr("datum.segmentation.pretrained_file.PUBLISHED_ENCODERS", {"mit-b5": row})
    with pytest.raises(InputError, match=rf"gave a file of SHA-256 {DIGEST[:16]}…, expected 658746d9"):
        pretrained_file("mit-b5", PUBLISHED)
    with pytest.raises(InputError, match="published: there are none of mit-b0"):
        pretrained_file("mit-b0", PUBLISHED)
