"""What `datum report` refuses of files that were changed, cut, or made by others: one line, no output."""

import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datum.errors import InputError
from datum.reporting.report import report
from tests.reporting.test_report import write_run

METRICS, RUN, LOG = "evaluation/metrics.json", "run.json", "segmentor/training.jsonl"
DEEP = "[" * 100_000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("whole") / "run", seed=1, miou=30.0, last=20.0)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", seed=1, miou=30.0)


def refusal(run: Path, **options: Any) -> str:
    """The one line that the report ends with; nothing is written."""
    with pytest.raises(InputError) as raised:
        report(runs=[run], output=run.parent / "report", **options)
    assert sorted(path.name for path in run.parent.iterdir()) == ["run"]
    message = str(raised.value)
    assert "\n" not in message and len(message) < 1000
    return message


@pytest.mark.parametrize("name", [RUN, METRICS, LOG, "generated/manifest.jsonl", "segmentor/provenance.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (DEEP.encode(), "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"seed": NaN}', "found NaN, expected a finite number"),
        (b'{"seed": -Infinity}', "found -Infinity"),
        (b'{"seed": 1e400}', "found 1e400"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "of 5000 digits"),
        (b'{"seed": 1, "seed": 2}', "found the key 'seed' twice"),
        (b'{"seed": "\\ud800"}', "surrogates not allowed"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b"[]", "found list, expected a JSON object"),
        (b"{} {}", "Extra data"),
        (b"\0" * 100, "is not JSON"),
        (b"", "is not JSON|lists no image"),
    ],
    ids=lambda value: value[:20].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_no_file_is_read_further_than_it_is_json(run: Path, name: str, content: bytes, message: str) -> None:
    if name == LOG and not content:
        return
    (run / name).write_bytes(content)
    said = refusal(run)
    assert name.rpartition("/")[2] in said
    assert any(part in said for part in message.split("|"))


def test_a_file_of_gigabytes_is_not_read(run: Path) -> None:
    os.truncate(run / METRICS, 5_000_000_000)
    assert "found 5000000000 bytes" in refusal(run)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (["miou"], [], "miou: expected a percentage"),
        (["miou", "19"], True, "miou of 19: found True"),
        (["miou", "16"], "30", "miou of 16: found '30'"),
        (["miou", "13"], 100.1, "miou of 13: found 100.1"),
        (["miou", "19"], -0.1, "miou of 19: found -0.1"),
        (["miou", "19"], 31.0, "says 31.0 for 19, expected 30.0 by its confusion matrix"),
        (["miou", "19"], None, "says None for 19, expected 30.0"),
        (["miou", "20"], 30.0, "miou: expected a percentage for each of 3 keys"),
        (["iou", "../road"], 1.0, "iou: expected a percentage for each of 19 keys"),
        (["iou", "road"], {}, "iou of road: found {}"),
        (["iou", "car"], 3.0, "says 3.0 for car, expected 0.0"),
        (["pixel_accuracy"], 101, "pixel_accuracy: found 101"),
        (["pixel_accuracy"], 12.5, "says 12.5 for pixels"),
        (["images"], 0, "images: found 0"),
        (["images"], -3, "images: found -3"),
        (["images"], True, "images: found True"),
        (["images"], 3.0, "images: found 3.0"),
        (["checkpoint_sha256"], "0" * 64, "and last.safetensors in segmentor/ are others"),
        (["checkpoint_sha256"], "../" * 5000, "expected 64 hexadecimal digits"),
        (["confusion_matrix"], [], "confusion_matrix: expected 19 rows of 19"),
        (["confusion_matrix"], [[0] * 19] * 18, "confusion_matrix: expected 19 rows of 19"),
        (["confusion_matrix"], [[0] * 19] * 18 + [[0] * 18], "confusion_matrix: expected 19 rows of 19"),
        (["confusion_matrix"], [[-1] * 19] * 19, "confusion_matrix: expected 19 rows of 19"),
        (["confusion_matrix"], [[1.0] * 19] * 19, "confusion_matrix: expected 19 rows of 19"),
        (["confusion_matrix"], [[2**62] * 19] * 19, "confusion_matrix: expected 19 rows of 19"),
        (["confusion_matrix"], [["0"] * 19] * 19, "confusion_matrix: expected 19 rows of 19"),
    ],
)
def test_scores_that_are_none_or_contradict_each_other_are_refused(
    run: Path, keys: list[str], value: Any, message: str
) -> None:
    change(run / METRICS, keys, value)
    assert message in refusal(run)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", True),
        ("seed", -1),
        ("seed", 1.0),
        ("seed", None),
        ("method", 3),
        ("data", []),
        ("encoder", {}),
    ],
)
def test_a_description_with_other_values_is_refused(run: Path, key: str, value: Any) -> None:
    change(run / RUN, [key], value)
    assert f"run.json: found {key} {value!r}, expected" in refusal(run)


@pytest.mark.parametrize(
    "line",
    [
        '{"iteration": true, "source": 1}',
        '{"iteration": 1.5, "source": 1}',
        '{"iteration": -1, "source": 1}',
        '{"iteration": null, "source": 1}',
        '{"source": 1}',
        '{"iteration": 1, "source": null}',
        '{"iteration": 1, "source": "1"}',
        '{"iteration": 1, "source": true}',
        '{"iteration": 1, "source": [1]}',
        '{"iteration": 1, "source": 1e300}',
        "",
    ],
)
def test_a_log_with_other_than_figures_is_refused(run: Path, line: str) -> None:
    (run / LOG).write_text(f'{{"iteration": 1, "source": 1.5}}\n{line}\n{{"iteration": 2, "miou": 3}}\n')
    assert "training.jsonl, line 2: " in refusal(run)


def png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    "name",
    ["one_shot.png", "generated/images/im_0_p0.png", "evaluation/examples/aachen_000000_000019_label.png"],
)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (r) file\n", "neither PNG nor JPEG"),
        (b"GIF89a\x01\x00\x01\x00\x80\x00\x00", "neither PNG nor JPEG"),
        (png(60_000, 60_000, zlib.compress(bytes(1000))), "60000x60000 pixels, expected at most"),
        (png(13_400, 13_400, zlib.compress(bytes(1000))), "13400x13400 pixels, expected at most"),
        (png(9, 9, zlib.compress(bytes(9))), "cannot be decoded"),
        (png(0, 9, b""), "cannot be decoded"),
        (b"", "neither PNG nor JPEG"),
    ],
    ids=["PostScript", "GIF", "bomb", "smaller bomb", "cut", "no width", "empty"],
)
@pytest.mark.filterwarnings("error")
def test_a_picture_that_is_none_is_named_and_starts_no_program(
    run: Path, name: str, content: bytes, message: str
) -> None:
    (run / name).write_bytes(content)
    said = refusal(run)
    assert name in said and any(part in said for part in message.split("|"))


def fifo(file: Path) -> None:
    os.mkfifo(file)


def looping_link(file: Path) -> None:
    file.symlink_to(file)


@pytest.mark.parametrize("make", [Path.mkdir, fifo, looping_link])
@pytest.mark.parametrize(
    "name", [RUN, METRICS, LOG, "one_shot.png", "segmentor/config.yaml", "segmentor/best.safetensors"]
)
def test_what_is_no_file_is_said_to_be_missing(run: Path, name: str, make: Callable[[Path], None]) -> None:
    (run / name).unlink()
    make(run / name)
    assert f"{name.rpartition('/')[2]}: missing" in refusal(run)


def test_a_baseline_is_named_in_printable_characters(run: Path) -> None:
    assert "found the name 'a\\nb'" in refusal(run, baselines={"a\nb": [run]})
    assert "expected one of printable characters" in refusal(run, baselines={"\udcff": [run]})


def test_names_that_are_no_text_are_shown_as_far_as_they_are(run: Path) -> None:
    for file in (run / "evaluation" / "examples").glob("aachen*"):
        file.rename(file.with_name(file.name.replace("aachen", "\udcff")))
    named = run.rename(run.with_name("\udcff"))
    report(runs=[named], output=named.parent / "report")
    assert "?_000000_000019" in (named.parent / "report" / "report.html").read_text()


def test_whatever_decides_the_report_makes_it_anew_when_it_changes(run: Path) -> None:
    output = run.parent / "report"

    def made() -> int:
        report(runs=[run], output=output)
        return (output / "report.html").stat().st_ino

    before = made()
    assert made() == before
    for change_one in (
        lambda: change(run / RUN, ["data"], "other data"),
        lambda: (run / LOG).write_text('{"iteration": 1, "miou": 3}\n'),
        lambda: (run / "one_shot.png").write_bytes((run / "generated/images/im_1_p1.png").read_bytes()),
        lambda: (run / "segmentor/config.yaml").write_text("other: 1\n"),
    ):
        change_one()
        before, after = made(), before
        assert before != after


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([RUN, METRICS, LOG, "generated/manifest.jsonl"]), st.data())
@settings(
    deadline=None,
    derandomize=True,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_value_in_any_place_gives_a_report_or_a_line(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    file = whole / name
    before = file.read_text()
    keys, content = [], json.loads(before.splitlines()[0])
    while (
        isinstance(content, (dict, list)) and content and data.draw(st.booleans() if keys else st.just(True))
    ):
        places = sorted(content) if isinstance(content, dict) else range(len(content))
        keys.append(data.draw(st.sampled_from(places)))
        content = content[keys[-1]]
    output = tmp_path_factory.mktemp("odd") / "report"
    try:
        change(file, keys, data.draw(ODD))
        report(runs=[whole], output=output)
    except InputError as error:
        assert "\n" not in str(error)
        assert not output.exists()
    else:
        json.loads((output / "report.json").read_text(), parse_constant=pytest.fail)
    finally:
        file.write_text(before)


def change(file: Path, keys: list[Any], value: Any) -> None:
    """Sets one value of the JSON in `file`; of JSON lines, in the first one."""
    first, separator, rest = file.read_text().partition("\n")
    content = json.loads(first)
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    file.write_text(json.dumps(content) + separator + rest)
