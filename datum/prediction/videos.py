"""Videos, frame by frame: read with the times of their frames, and written as VP9 in WebM.

Chrome, Edge, Firefox and Safari (14.1 and newer) play it. VP9 is free of royalties and its encoder, libvpx,
is under a BSD license, as PyAV itself is; OpenCV's wheel has no encoder of a format that browsers play and
that keeps up (its VP9 took 383 s for 60 frames of 480x360). PyAV's wheel also brings FFmpeg (LGPL) and x264
and x265 (GPL), which are not called here; no image of ours holds it.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from datum.errors import InputError
from datum.photographs import LARGEST_PIXELS, require_regular_file
from datum.processors import processors

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg")
"""Endings, in lower case, of the videos in a folder."""
WRITTEN_SUFFIX = ".webm"
"""Ending of the videos that are written."""

_CODEC = "libvpx-vp9"
_OPTIONS = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "30", "b": "0"}
"""As fast as x264's `veryfast`, at the same size and signal-to-noise ratio (street video, 480 to 1440 pixels
wide)."""
_MISSING = 0.5
"""Seconds at the end of a video that may be missing of the duration in its header."""
_TICK = Fraction(1, 1000)
"""Seconds; WebM keeps times in these."""
_BT709 = 1
"""The color matrix of high definition, by its number in FFmpeg and in the file."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Video:
    """What is known of a video before it is decoded."""

    size: tuple[int, int]
    """(width, height) as it is shown, in pixels."""
    frames: int
    """Compressed frames in the file: how many pictures it has, or a few more."""
    rate: Fraction
    """Pictures a second, on average."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frame:
    """A picture of a video."""

    image: np.ndarray
    """uint8[height, width, 3], RGB, upright."""
    time: Fraction
    """Seconds from the start of the video."""


def look_at_video(file: Path) -> Video:
    """What `file` holds; all of it is read, and its first picture decoded.

    Raises `InputError` where it is missing, no video, cut short, or its pictures are too large.
    """
    require_regular_file(file, "a video file")
    with _opened(file) as container:
        stream = _stream(file, container)
        packets, end = 0, 0.0
        for packet in container.demux():
            if packet.size and packet.stream is stream:
                packets += 1
            if packet.size and packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        start = (container.start_time or 0) / 1e6
        declared, rate, total = stream.frames, _rate(stream), (container.duration or 0) / 1e6
        if container.format.name == "avi":
            # It counts ticks, of which some may have no picture; FFmpeg guesses the duration of a cut one.
            declared, total = 0, float(stream.frames * stream.time_base)
        missing = total - (end - start)
    if packets < declared or missing > _MISSING:
        found = f"{packets} of {declared} frames" if packets < declared else f"{missing:.1f} s are missing"
        raise _unreadable(file, f"it is cut short: {found}")
    first = next(video_frames(file), None)
    if first is None:
        raise _unreadable(file, "it has no picture")
    height, width = first.image.shape[:2]
    return Video(size=(width, height), frames=max(packets, 1), rate=rate)


def video_frames(file: Path) -> Iterator[Frame]:
    """The pictures of a video, in the order in which they are shown, turned as it says.

    Raises `InputError` where one cannot be decoded or has another size than the first.
    """
    with _opened(file) as container:
        stream = _stream(file, container)
        stream.thread_type = "AUTO"
        step = 1 / _rate(stream)
        start, last, shape = None, None, None
        for frame in container.decode(stream):
            time = (last or 0) + step if frame.pts is None else frame.pts * frame.time_base
            start = time if start is None else start
            # Players and files want times that grow.
            last = time if last is None or time > last else last + step / 16
            image = np.rot90(frame.to_ndarray(format="rgb24"), k=round(frame.rotation / 90) % 4)
            shape = shape or image.shape
            if image.shape != shape:
                raise _unreadable(file, "the size of its pictures changes")
            yield Frame(image=np.ascontiguousarray(image), time=Fraction(last - start))


class VideoWriter:
    """Writes pictures of one size into a new file; `close` completes it."""

    def __init__(self, file: Path, size: tuple[int, int], rate: Fraction) -> None:
        """`size` is (width, height), in pixels; `rate`, in pictures a second, is what players are told."""
        av = _av(file)
        self._frame = av.VideoFrame.from_ndarray
        # Without it every file has numbers of its own, drawn at random.
        self._container = av.open(str(file), "w", format="webm", options={"fflags": "+bitexact"})
        self._stream = self._container.add_stream(_CODEC, rate=rate, options=_OPTIONS)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = _TICK
        context.colorspace = _BT709
        context.thread_count = processors()
        self._last = -1

    def write(self, image: np.ndarray, time: Fraction) -> None:
        """Adds uint8[height, width, 3], RGB, shown from `time` on, in seconds."""
        frame = self._frame(image, format="rgb24").reformat(format="yuv420p", dst_colorspace=_BT709)
        self._last = max(self._last + 1, round(time / _TICK))
        frame.pts, frame.time_base = self._last, _TICK
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Writes what is left."""
        self._container.mux(self._stream.encode())
        self._container.close()


def _av(file: Path) -> Any:
    try:
        import av
    except ImportError:
        raise InputError(
            f"{file}: is a video, which needs the package av, and that is not installed; install it "
            "(`pip install av==18.1.0`) or name images alone"
        ) from None
    # PyAV's own log asks for Python's lock in decoding threads that a closing decoder waits for: a deadlock.
    av.logging.restore_default_callback()
    av.logging.set_libav_level(av.logging.PANIC)
    return av


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """The container in `file`; turns what FFmpeg says of a damaged one into one line."""
    av = _av(file)
    try:
        with av.open(str(file), metadata_errors="replace") as container:
            yield container
    except av.error.FFmpegError as error:
        if isinstance(error, PermissionError):
            raise
        raise _unreadable(file, str(error.strerror).lower()) from None


def _stream(file: Path, container: Any) -> Any:
    """The first moving picture of a container; raises `InputError` where it has none, or a huge one."""
    if not container.streams.video:
        raise _unreadable(file, "it has no picture")
    stream = container.streams.video[0]
    if stream.width * stream.height > LARGEST_PIXELS:
        raise _unreadable(file, f"its pictures have {stream.width}x{stream.height} pixels")
    return stream


def _rate(stream: Any) -> Fraction:
    rate = Fraction(stream.average_rate or 0).limit_denominator(1001)
    return rate if 0 < rate <= 1000 else Fraction(25)


def _unreadable(file: Path, reason: str) -> InputError:
    return InputError(
        f"{file}: cannot be read as a video ({reason}), expected a whole MP4, MOV, MKV, WebM, AVI or other "
        "file of FFmpeg's; copy or download it again, or convert it"
    )
