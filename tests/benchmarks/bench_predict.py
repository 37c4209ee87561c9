"""Images a second of `datum predict` beside a plain loop (read, predict, write, one after the other), in one
run.

Run with `python tests/benchmarks/bench_predict.py [images [seconds [encoder ...]]]`: by default 60 photos of
mixed sizes and 8 seconds of street video at 15 pictures a second. Made of `../shared/data`'s street video, or
of drawn scenes where that is not there. The loop starts with its network in memory; `datum predict` looks at
its inputs and loads its network in the time that counts.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from PIL import Image

from datum.config import EvaluationSettings
from datum.labels import TRAIN_ID_TO_COLOR, TRAIN_ID_TO_LABEL_ID
from datum.photographs import read_image
from datum.prediction.predict import predict
from datum.segmentation.inference import predict_train_ids
from datum.segmentation.segmentor import Segmentor, SegmentorConfig, build_segmentor, save_segmentor
from datum.streetscenes.drawing import SOURCE_DOMAIN, draw_scene

STREET = Path(__file__).parents[2].parent / "shared" / "data" / "camvid-day-to-dusk" / "source" / "images"
SIZES = ((480, 360), (640, 480), (1024, 512), (960, 720), (1280, 960), (360, 480))
"""(width, height) of the photographs, in turn."""
RATE = 15
SCALES = {"resnet-18-half": (512, 128), "mit-b0": (512, 256)}


def pictures() -> list[np.ndarray]:
    files = sorted(STREET.glob("*.png"))
    if files:
        return [read_image(file) for file in files]
    return [draw_scene(seed, SOURCE_DOMAIN, height=360, width=480).image for seed in range(20)]


def write_photographs(folder: Path, count: int, scenes: Sequence[np.ndarray]) -> list[Path]:
    folder.mkdir()
    files = [folder / f"{index:04d}.jpg" for index in range(count)]
    for index, file in enumerate(files):
        image = cv2.resize(scenes[index % len(scenes)], SIZES[index % len(SIZES)])
        Image.fromarray(image).save(file, quality=92)
    return files


def write_street(file: Path, seconds: int, scenes: Sequence[np.ndarray]) -> Path:
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.height, stream.width = scenes[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for index in range(RATE * seconds):
            frame = av.VideoFrame.from_ndarray(scenes[index % len(scenes)], format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


def overlay(image: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    return cv2.addWeighted(image, 0.5, TRAIN_ID_TO_COLOR[prediction], 0.5, 0)


def plain_photographs(
    segmentor: Segmentor, scale: tuple[int, int], files: Sequence[Path], output: Path
) -> None:
    output.mkdir()
    for file in files:
        image = read_image(file)
        prediction = predict_train_ids(segmentor, [image], scale=scale, output_size=image.shape[:2])[0]
        Image.fromarray(TRAIN_ID_TO_LABEL_ID[prediction]).save(output / f"{file.stem}.png")
        Image.fromarray(overlay(image, prediction)).save(output / f"{file.stem}.jpg", quality=90)


def plain_video(segmentor: Segmentor, scale: tuple[int, int], file: Path, output: Path) -> None:
    output.mkdir()
    options = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "30", "b": "0"}
    with av.open(str(file)) as source, av.open(str(output / "plain.webm"), "w") as target:
        stream = target.add_stream("libvpx-vp9", rate=RATE, options=options)
        stream.pix_fmt = "yuv420p"
        for index, frame in enumerate(source.decode(video=0)):
            image = frame.to_ndarray(format="rgb24")
            if index == 0:
                stream.height, stream.width = image.shape[:2]
            prediction = predict_train_ids(segmentor, [image], scale=scale, output_size=image.shape[:2])[0]
            Image.fromarray(TRAIN_ID_TO_LABEL_ID[prediction]).save(output / f"{index:06d}.png")
            shown = av.VideoFrame.from_ndarray(overlay(image, prediction), format="rgb24")
            target.mux(stream.encode(shown))
        target.mux(stream.encode())


def same_label_ids(plain: Path, ours: Path) -> float:
    """Share of equal pixels."""
    pairs = [(plain / file.name, file) for file in sorted(ours.rglob("*.png"))]
    return float(np.mean([np.mean(np.array(Image.open(a)) == np.array(Image.open(b))) for a, b in pairs]))


def seconds_of(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def bench(encoder: str, folder: Path, photographs: Sequence[Path], film: Path, frames: int) -> None:
    torch.manual_seed(0)
    segmentor = build_segmentor(SegmentorConfig(encoder=encoder, head_channels=32)).eval()
    file = folder / f"{encoder}.safetensors"
    save_segmentor(file, segmentor, {})
    scale = SCALES.get(encoder, (1024, 512))
    predict_train_ids(segmentor, [read_image(photographs[0])], scale=scale, output_size=(360, 480))

    def ours(source: Path, output: Path) -> None:
        predict(
            checkpoint=file,
            inputs=[str(source)],
            output=output,
            settings=EvaluationSettings(scale=scale),
            kinds=("label_ids", "overlay"),
            device="cpu",
        )

    for what, count, plain, source in (
        ("photographs", len(photographs), plain_photographs, photographs[0].parent),
        ("frames of video", frames, plain_video, film),
    ):
        place = folder / f"{encoder} {what}"
        place.mkdir()
        given = photographs if what == "photographs" else film
        loop = seconds_of(lambda: plain(segmentor, scale, given, place / "plain"))  # noqa: B023
        datum = seconds_of(lambda: ours(source, place / "ours"))  # noqa: B023
        share = same_label_ids(place / "plain", place / "ours" / "label_ids")
        print(
            f"{encoder} at {scale[0]}x{scale[1]}, {count} {what}: plain loop {count / loop:.1f}/s, datum "
            f"predict {count / datum:.1f}/s, ratio {loop / datum:.2f}; {100 * share:.4f} % of ids equal",
            flush=True,
        )


def main() -> None:
    images = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    scenes = pictures()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photographs = write_photographs(folder / "photographs", images, scenes)
        film = write_street(folder / "street.mp4", seconds, scenes)
        for encoder in sys.argv[3:] or SCALES:
            bench(encoder, folder, photographs, film, RATE * seconds)


if __name__ == "__main__":
    main()
