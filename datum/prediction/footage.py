"""What is to be predicted: photographs and videos, named as files, folders or patterns.

Everything is looked at before work begins, and has one name that its predictions get: its path below the
folder that all inputs lie in, without the ending, unless two would be the same then.
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from datum.errors import InputError
from datum.folders import IMAGE_SUFFIXES, files_below, is_passed_over, looks_like_an_image, require_portable
from datum.outputs import unfinished
from datum.photographs import image_header
from datum.prediction.videos import VIDEO_SUFFIXES, Video, look_at_video
from datum.telemetry import log

_SHOWN = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Footage:
    """A photograph or a video that is to be predicted."""

    file: Path
    name: str
    """Name of its predictions, less their ending: relative, with forward slashes."""
    size: tuple[int, int]
    """(width, height) in pixels, as it is shown."""
    video: Video | None = None
    """What is known of a video; None for a photograph."""


def find_footage(inputs: Sequence[str], output: Path) -> list[Footage]:
    """All photographs and videos that `inputs` name, by name; each file once.

    A folder stands for the PNG, JPEG and video files in it at any depth; a pattern (`*`, `**`, `?`, `[…]`)
    that is no file's name, for what it matches. Raises `InputError` for an input that is missing, empty or
    neither, for all that cannot be read, in one line, and where an input lies in the output.
    """
    files: dict[Path, str] = {}
    for text in inputs:
        for file in _files(text):
            files.setdefault(file.absolute(), text)
    _require_outside(files, output)
    names = _names(list(files), inputs)
    found, broken = [], []
    for file, name in names.items():
        try:
            found.append(_look_at(file, name))
        except InputError as error:
            broken.append((file, str(error)))
    if broken:
        others = ", ".join(str(file) for file, _ in broken[1 : 1 + _SHOWN])
        more = f" (and {len(broken) - 1} of {len(names)} more, such as {others})" if others else ""
        raise InputError(broken[0][1] + more)
    return sorted(found, key=lambda footage: footage.name)


def _files(text: str) -> Iterator[Path]:
    path = Path(text)
    if path.is_dir():
        yield from _files_of_folder(path)
    elif path.exists() or not any(c in text for c in "*?["):
        yield path
    else:
        yield from _matched(text)


def _matched(pattern: str) -> list[Path]:
    anchor = Path(pattern).anchor
    try:
        found = sorted(Path(anchor).glob(pattern.removeprefix(anchor)))
    except ValueError as error:
        raise InputError(f"{pattern}: is no pattern ({str(error).lower()}); mend it") from None
    taken = [file for file in found if file.is_file() and _is_taken(file.as_posix())]
    if not taken:
        raise InputError(f"{pattern}: matches no PNG, JPEG or video file; mend the pattern")
    return taken


def _files_of_folder(folder: Path) -> list[Path]:
    names = files_below(folder)
    taken = [name for name in names if _is_taken(name)]
    require_portable(str(folder), taken)
    others = [name for name in names if not _is_taken(name) and looks_like_an_image(name)]
    if others:
        shown = ", ".join(others[:_SHOWN])
        log(f"{folder}: {len(others)} files are neither PNG, JPEG nor video and are passed over: {shown}")
    if not taken:
        raise InputError(
            f"{folder}: holds no image or video, expected files that end in "
            f"{', '.join((*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))}"
        )
    return [folder / name for name in taken]


def _is_taken(name: str) -> bool:
    """Whether a file of this name in a folder is taken."""
    return name.lower().endswith((*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)) and not is_passed_over(Path(name).name)


def _require_outside(files: dict[Path, str], output: Path) -> None:
    for folder in (output.resolve(), unfinished(output)):
        for file, text in files.items():
            if file.resolve().is_relative_to(folder):
                raise InputError(
                    f"--output {output}: the input {text} lies in it, expected a folder apart from the "
                    "inputs; name another"
                )


def _names(files: Sequence[Path], inputs: Sequence[str]) -> dict[Path, str]:
    """File -> name. Of one input that is a folder it is the path below that folder; two files that differ in
    their endings alone keep them."""
    only = Path(inputs[0]).absolute()
    top = only if len(inputs) == 1 and only.is_dir() else Path(os.path.commonpath([f.parent for f in files]))
    plain = {file: file.relative_to(top).with_suffix("").as_posix() for file in files}
    taken = Counter(name.casefold() for name in plain.values())
    # The pictures of a video get a folder of its name.
    taken.update({parent.as_posix().casefold() for name in plain.values() for parent in Path(name).parents})
    whole = {file: file.relative_to(top).as_posix() for file in files}
    names = {file: name if taken[name.casefold()] == 1 else whole[file] for file, name in plain.items()}
    if len({name.casefold() for name in names.values()}) < len(files):
        names = whole
    require_portable(str(top), list(names.values()))
    return names


def _look_at(file: Path, name: str) -> Footage:
    if file.suffix.lower() in VIDEO_SUFFIXES:
        video = look_at_video(file)
        return Footage(file=file, name=name, size=video.size, video=video)
    size, _ = image_header(file)
    return Footage(file=file, name=name, size=size)
