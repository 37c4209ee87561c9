"""Videos in, videos out: every picture, at its time, in its size."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from datum.config import EvaluationSettings
from datum.errors import InputError
from datum.formats.predictions import PREDICTIONS
from datum.labels import TRAIN_ID_TO_COLOR, TRAIN_ID_TO_LABEL_ID
from datum.outputs import digests_below, unfinished
from datum.photographs import read_image
from datum.prediction.videos import look_at_video, video_frames
from tests.prediction.footage_of_tests import RATE, picture, read_video, write_photograph, write_video
from tests.prediction.test_predict import SETTINGS, expected, label_ids, network, run

STREET = Path(__file__).parents[2].parent / "shared" / "data" / "camvid-day-to-dusk" / "source" / "images"
"""Street video of a research data set, which is not the project's to hold."""

__all__ = ["network"]


def test_a_video_keeps_its_pictures_their_size_and_their_times(network: Path, tmp_path: Path) -> None:
    pictures = [picture(seed, 50, 66) for seed in range(12)]
    # As of a phone: not evenly apart.
    times = [index / RATE + (0.02 if index % 3 else 0) for index in range(12)]
    write_video(tmp_path / "in" / "a drive.mp4", pictures, times)
    write_photograph(tmp_path / "in" / "photograph.png", 0)
    settings = EvaluationSettings(scale=(96, 64), batch_size=5)
    kinds = ("beside", "color", "label_ids", "overlay")
    files = run(network, tmp_path / "out", tmp_path / "in", kinds=kinds, settings=settings)
    seen, seen_at = read_video(tmp_path / "in" / "a drive.mp4")
    assert [name for name in files if "drive" in name and "label_ids" not in name] == [
        "beside/a drive.webm",
        "color/a drive.webm",
        "overlay/a drive.webm",
    ]
    for kind, width in (("color", 66), ("overlay", 66), ("beside", 132)):
        shown, shown_at = read_video(tmp_path / "out" / kind / "a drive.webm")
        assert len(shown) == 12 and shown[0].shape == (50, width, 3)
        np.testing.assert_allclose(shown_at, seen_at, atol=0.001)
    colors, _ = read_video(tmp_path / "out" / "color" / "a drive.webm")
    ids = sorted((tmp_path / "out" / "label_ids" / "a drive").glob("*.png"))
    assert [file.name for file in ids] == [f"{index:06d}.png" for index in range(12)]
    for index in (0, 6, 11):
        prediction = expected(network, seen[index])
        # Passes of another number of pictures differ in rounding.
        assert np.mean(label_ids(ids[index]) == TRAIN_ID_TO_LABEL_ID[prediction]) > 0.999
        assert np.abs(colors[index].astype(int) - TRAIN_ID_TO_COLOR[prediction]).mean() < 20
    assert '"frames": 12' in (tmp_path / "out" / PREDICTIONS).read_text()


def test_a_video_of_one_picture_size_and_a_photograph_of_its_name_do_not_meet(
    network: Path, tmp_path: Path
) -> None:
    write_video(tmp_path / "in" / "x.mp4", [picture(0, 32, 48)] * 2)
    write_photograph(tmp_path / "in" / "x" / "000000.png", 0)
    files = run(network, tmp_path / "out", tmp_path / "in")
    assert files == [
        "label_ids/x/000000.png",
        "label_ids/x.mp4/000000.png",
        "label_ids/x.mp4/000001.png",
    ]


@pytest.mark.parametrize("name", ["film.mp4", "film.avi", "film.mkv"])
def test_a_video_that_is_cut_short_is_named_before_anything_is_written(
    network: Path, tmp_path: Path, name: str
) -> None:
    write_photograph(tmp_path / "in" / "0.png", 0)
    file = write_video(tmp_path / "in" / name, [picture(seed, 96, 128) for seed in range(30)])
    assert look_at_video(file).frames == 30
    data = file.read_bytes()
    for part in (0.1, 0.6):
        file.write_bytes(data[: round(len(data) * part)])
        with pytest.raises(InputError, match=f"{name}: cannot be read as a video"):
            run(network, tmp_path / "out", tmp_path / "in")
    assert not unfinished(tmp_path / "out").exists()


@pytest.mark.parametrize("quarters, matrix", [(1, (0, 1, -1, 0)), (2, (-1, 0, 0, -1)), (3, (0, -1, 1, 0))])
def test_the_video_of_a_turned_phone_is_turned(
    tmp_path: Path, quarters: int, matrix: tuple[int, int, int, int]
) -> None:
    file = write_video(tmp_path / "turned.mp4", [picture(seed, 48, 64) for seed in range(3)])
    data = bytearray(file.read_bytes())
    place = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    numbers = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    data[place : place + 36] = b"".join(number.to_bytes(4, signed=True) for number in numbers)
    file.write_bytes(data)
    shown = next(video_frames(file)).image
    stored = np.rot90(shown, k=quarters)
    assert stored.shape == (48, 64, 3)
    # OpenCV turns on its own, with the same FFmpeg beneath.
    _, turned = cv2.VideoCapture(str(file)).read()
    np.testing.assert_array_equal(shown, turned[..., ::-1])


def test_the_same_video_comes_out_as_the_same_bytes(network: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "street.mp4", [picture(seed, 48, 64) for seed in range(6)])
    for output in ("one", "other"):
        run(network, tmp_path / output, tmp_path / "street.mp4", kinds=("overlay",))
    one, other = (tmp_path / output / "overlay" / "street.webm" for output in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_a_video_starts_anew_after_an_interruption(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.prediction.test_predict import counting

    write_video(tmp_path / "in" / "x.mp4", [picture(seed, 32, 48) for seed in range(6)])
    write_photograph(tmp_path / "in" / "y.png", 0)
    options = {"kinds": ("label_ids", "overlay"), "settings": SETTINGS}
    counting(monkeypatch, stop_after=4)
    with pytest.raises(KeyboardInterrupt):
        run(network, tmp_path / "out", tmp_path / "in", **options)
    batches = counting(monkeypatch)
    run(network, tmp_path / "out", tmp_path / "in", **options)
    assert batches == [1] * 6
    monkeypatch.undo()
    run(network, tmp_path / "anew", tmp_path / "in", **options)
    assert len(digests_below(tmp_path / "out")) == 10
    assert digests_below(tmp_path / "out").keys() == digests_below(tmp_path / "anew").keys()


@pytest.mark.skipif(not STREET.is_dir(), reason=f"{STREET} is not there")
def test_real_street_video_comes_out_whole(network: Path, tmp_path: Path) -> None:
    pictures = [read_image(file) for file in sorted(STREET.glob("*.png"))[:20]]
    write_video(tmp_path / "street.mov", pictures)
    run(network, tmp_path / "out", tmp_path / "street.mov", kinds=("overlay",))
    shown, _ = read_video(tmp_path / "out" / "overlay" / "street.webm")
    assert len(shown) == 20 and shown[0].shape == pictures[0].shape
