"""Photographs and videos that the tests of prediction predict, and a network that does it."""

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from PIL import ExifTags, Image

from datum.segmentation.segmentor import SegmentorConfig, build_segmentor, save_segmentor

RATE = 15
"""Pictures a second of a video."""


def write_network(folder: Path) -> Path:
    """A network with random weights, whose predictions have many classes."""
    torch.manual_seed(0)
    segmentor = build_segmentor(SegmentorConfig(encoder="mit-b0", head_channels=16)).eval()
    with torch.no_grad():
        segmentor.head.conv_seg.weight *= 20
    save_segmentor(folder / "best.safetensors", segmentor, {})
    return folder


def picture(seed: int, height: int, width: int) -> np.ndarray:
    """uint8[height, width, 3]: smooth colors."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(blocks, (width, height), interpolation=cv2.INTER_CUBIC)


def write_photograph(file: Path, seed: int, height: int = 48, width: int = 64, orientation: int = 1) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(picture(seed, height, width)).save(file, exif=exif)
    return file


def write_png_of_bad_pixels(file: Path) -> Path:
    """A PNG whose checksums hold and whose pixels cannot be decompressed."""
    header = struct.pack(">IIBBBBB", 64, 48, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", b"no pixels at all"), (b"IEND", b""))
    file.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )
    return file


def write_video(file: Path, pictures: list[np.ndarray], times: list[float] | None = None) -> Path:
    """An MP4 (or what the ending says); `times` are in seconds, evenly apart by default."""
    file.parent.mkdir(parents=True, exist_ok=True)
    tick = Fraction(1, 600 if times else RATE)
    with av.open(str(file), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = tick
        for index, image in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.time_base = tick
            frame.pts = round(times[index] / tick) if times else index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


def read_video(file: Path) -> tuple[list[np.ndarray], list[float]]:
    """The pictures of a video and their times, by PyAV alone."""
    with av.open(str(file)) as container:
        frames = list(container.decode(video=0))
    return [frame.to_ndarray(format="rgb24") for frame in frames], [float(frame.time) for frame in frames]
