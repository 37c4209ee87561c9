"""`datum weights`: what is listed, and what is downloaded."""

import hashlib
from pathlib import Path

import pytest

from datum.cli import main
from datum.methods import ENCODERS
from datum.published_weights import PUBLISHED_ENCODERS, PublishedWeights
from tests.weights_server import CONTENT, weights_server


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CACHE_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_every_encoder_that_is_offered_has_published_weights() -> None:
    # The half one is the demo's own.
    assert set(ENCODERS) - {"resnet-18-half"} <= set(PUBLISHED_ENCODERS)


def test_the_list_says_where_weights_come_from_whose_they_are_and_whether_they_are_here(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["weights"])
    said = capsys.readouterr().out
    assert "\n  hf://CompVis/stable-diffusion-v1-4\n  CreativeML OpenRAIL-M;" in said
    assert said.count("not on this machine") == len(PUBLISHED_ENCODERS) + 1
    main(["weights", "daformer-gta-mit-b5", "daformer-synthia-mit-b5-uda", "resnet-101"])
    named = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert named == ["mit-b5", "CompVis/stable-diffusion-v1-4", "resnet-101"]
    main(["weights", "mit-b5"])
    assert capsys.readouterr().out == (
        "mit-b5\n"
        "  https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b5_20220624-658746d9.pth\n"
        "  NVIDIA, non-commercial (SegFormer's); sha256 658746d9…; not on this machine\n"
    )


def test_weights_are_downloaded_by_name_and_listed_as_here(
    capsys: pytest.CaptureFixture[str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with weights_server() as server:
        row = PublishedWeights(
            source=f"{server.url}/mit_b5.pth", digest=hashlib.sha256(CONTENT).hexdigest()[:8], license="x"
        )
        monkeypatch.setitem(PUBLISHED_ENCODERS, "mit-b5", row)  # type: ignore[arg-type]
        main(["weights", "mit-b5", "--fetch"])
    file = Path(capsys.readouterr().out.strip())
    assert file.read_bytes() == CONTENT and file.is_relative_to(cache)
    main(["weights", "mit-b5"])
    assert f"; here: {file}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["mit-b9"], "mit-b9: needs no weights that are known, expected an experiment"),
        (["--fetch"], "--fetch: no weights are named"),
    ],
)
def test_what_names_no_weights_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["weights", *arguments])
    assert ended.value.code == 2 and said in capsys.readouterr().err


def test_where_downloads_are_switched_off_none_is_made(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SystemExit) as ended:
        main(["weights", "resnet-101", "--fetch"])
    assert ended.value.code == 2
    assert "downloads are switched off (HF_HUB_OFFLINE)" in capsys.readouterr().err
