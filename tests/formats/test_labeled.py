"""Labeled drawings, as any hand may have written them."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from datum.errors import InputError
from datum.formats.generated import write_manifest
from datum.formats.labeled import (
    Condition,
    LabeledImage,
    image_name,
    label_name,
    read_dropped,
    read_labeled,
    read_labeled_manifest,
    write_gate,
)
from datum.outputs import sha256


def drawing(
    folder: Path, index: int, train_id: int = 13, label: Any = None, size: int = 16, **fields: Any
) -> LabeledImage:
    """A drawing in `folder`, whose label is `train_id` and void, unless another is given."""
    file = image_name(index, train_id)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    if label is None:
        label = np.full((16, 16), train_id, dtype=np.uint8)
        label[:4] = 255
    Image.new("RGB", (size, size), (index, 0, 0)).save(folder / file)
    Image.fromarray(np.asarray(label, dtype=np.uint8)).save(folder / label_name(file))
    known = {
        "prompt": "a photo of sks urban scene with cars",
        "seed": 7,
        "sha256": sha256(folder / file),
        "model": "0" * 64,
        "redrawn": 0,
        "label_sha256": sha256(folder / label_name(file)),
        "condition": Condition(image="00001.png", top=3, left=4),
        "agreement": 0.75,
        "agreement_by_class": {"car": 0.75},
    }
    return LabeledImage(index=index, file=file, label=label_name(file), **known | fields)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output with two labeled drawings."""
    folder = tmp_path / "output/labeled"
    write_manifest(folder, [drawing(folder, 0), drawing(folder, 3, train_id=11)], [])
    return tmp_path / "output"


def test_what_is_written_is_read(output: Path) -> None:
    folder = output / "labeled"
    pairs = read_labeled(output)
    assert [pair.image for pair in pairs] == [folder / "images/im_0_p13.png", folder / "images/im_3_p11.png"]
    assert [pair.label.name for pair in pairs] == ["im_0_p13_labelTrainIds.png", "im_3_p11_labelTrainIds.png"]
    assert [pair.agreement for pair in pairs] == [0.75, 0.75]
    assert read_labeled_manifest(folder)[1].condition == Condition(image="00001.png", top=3, left=4)
    line = json.loads((folder / "manifest.jsonl").read_text().splitlines()[0])
    assert line["condition"] == {"image": "00001.png", "top": 3, "left": 4}


def test_what_the_gate_drops_is_listed_counted_and_gone(output: Path) -> None:
    folder = output / "labeled"
    kept, dropped = read_labeled_manifest(folder)
    write_gate(folder, [kept], [dropped], share=0.5)
    assert read_dropped(folder) == [dropped]
    assert [pair.image.name for pair in read_labeled(output)] == ["im_0_p13.png"]
    assert [file.name for file in (folder / "labels").iterdir()] == ["im_0_p13_labelTrainIds.png"]
    assert json.loads((folder / "gate.json").read_text()) == {
        "kept": 1,
        "dropped": 1,
        "by_class": {"car": {"kept": 1, "dropped": 0, "agreement": 0.75}},
        "share": 0.5,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file": "images/im_0_p19.png"}, "expected a train id below 19"),
        ({"label": "labels/im_0_p12_labelTrainIds.png"}, "expected labels/im_0_p13_labelTrainIds.png"),
        ({"label": "../../secret.png"}, "expected labels/im_0_p13"),
        ({"label_sha256": "x"}, "label_sha256 is 'x', expected a SHA-256"),
        ({"condition": None}, "condition is None"),
        ({"condition": {"image": "a.png", "top": 1}}, "condition is none"),
        ({"condition": {"image": "../a.png", "top": 1, "left": 2}}, "expected a name in its folder"),
        ({"condition": {"image": "a.png", "top": -1, "left": 2}}, "top is -1"),
        ({"agreement": 1.5}, "agreement is 1.5, expected a share"),
        ({"agreement": True}, "agreement is True, expected a share"),
        ({"agreement": None}, "one is null"),
        ({"agreement_by_class": {"cart": 0.5}}, "names 'cart', expected a class"),
        ({"agreement_by_class": [0.5]}, "expected shares by class"),
    ],
)
def test_a_line_that_none_of_ours_wrote_is_named(output: Path, change: dict[str, Any], message: str) -> None:
    manifest = output / "labeled/manifest.jsonl"
    line = dataclasses.asdict(read_labeled_manifest(output / "labeled")[0])
    manifest.write_text(json.dumps(line | change) + "\n")
    with pytest.raises(InputError, match=rf"manifest\.jsonl, line 1: .*{message}") as raised:
        read_labeled(output)
    assert "\n" not in str(raised.value)


def test_an_output_without_labeled_drawings_says_how_to_draw_them(tmp_path: Path, output: Path) -> None:
    with pytest.raises(InputError, match=r"expected labeled drawings; .*generation\.labels=source"):
        read_labeled(tmp_path)
    (output / "labeled/manifest.jsonl").write_text("")
    with pytest.raises(InputError, match="lists no drawing"):
        read_labeled(output)


def test_a_damaged_missing_or_linked_file_is_named(output: Path, tmp_path: Path) -> None:
    label = output / "labeled/labels/im_0_p13_labelTrainIds.png"
    content = label.read_bytes()
    label.write_bytes(content + b"x")
    with pytest.raises(InputError, match=r"im_0_p13_labelTrainIds\.png: is not the image of the manifest"):
        read_labeled(output)
    label.unlink()
    with pytest.raises(InputError, match=r"im_0_p13_labelTrainIds\.png: is missing"):
        read_labeled(output)
    (tmp_path / "elsewhere.png").write_bytes(content)
    label.symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(InputError, match=r"im_0_p13_labelTrainIds\.png: is a link"):
        read_labeled(output)


def test_labels_of_another_size_and_of_other_ids_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "labeled"
    write_manifest(folder, [drawing(folder, 0, size=8)], [])
    with pytest.raises(InputError, match="found 16x16 pixels, expected 8x8"):
        read_labeled(tmp_path)
    write_manifest(folder, [drawing(folder, 0, label=np.full((16, 16), 19))], [])
    with pytest.raises(InputError, match="found id 19, expected train ids 0 to 18 and 255"):
        read_labeled(tmp_path)


@given(data=st.data())
@hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damage_anywhere_is_refused_in_one_line_or_changes_no_file(
    output: Path, tmp_path: Path, data: st.DataObject
) -> None:
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(output, copy)
    files = sorted(file for file in copy.rglob("*") if file.is_file())
    file = data.draw(st.sampled_from([*files, copy / "labeled/manifest.jsonl"]))
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    match data.draw(st.sampled_from(["change", "cut", "insert"])):
        case "change":
            content[place] = data.draw(st.integers(0, 255))
        case "cut":
            del content[place : place + data.draw(st.integers(1, 200))]
        case "insert":
            content[place:place] = data.draw(st.binary(min_size=1, max_size=8))
    file.write_bytes(bytes(content))
    try:
        pairs = read_labeled(copy)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        # What the line says beside its files, such as the agreement, may be changed and still be one.
        contents = {original.read_bytes() for original in (output / "labeled").rglob("*.png")}
        assert all({pair.image.read_bytes(), pair.label.read_bytes()} <= contents for pair in pairs)
