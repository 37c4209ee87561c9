"""Labeled drawings as a second labeled source of a training."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datum.adaptation.adapt import adapt, crop_rules
from datum.adaptation.inputs import find_labeled, find_source
from datum.adaptation.sampling import CropRules, TrainingSamples, batches
from datum.config import AdaptationSettings
from datum.device import choose_device
from datum.errors import InputError
from datum.formats.generated import write_manifest
from datum.formats.labeled import image_name, label_name
from datum.labels import IGNORE
from datum.outputs import digests_below, sha256
from datum.provenance import read_provenance
from tests.adaptation.small_training import small_training
from tests.formats.test_labeled import drawing

SKY, BUS = 10, 15


@functools.cache
def pattern(size: int) -> np.ndarray:
    """Train ids whose left half is a bus, with a corner of void, and whose right half is the sky."""
    label = np.full((size, size), SKY, dtype=np.uint8)
    label[:, : size // 2] = BUS
    label[:4, -4:] = IGNORE
    return label


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return drawn(tmp_path / "generated", 64)


def drawn(output: Path, size: int) -> Path:
    """An output of three labeled drawings, light where their labels say bus."""
    folder = output / "labeled"
    entries = []
    for index in range(3):
        file = image_name(index, BUS)
        drawing(folder, index, BUS, pattern(size), size)
        light = np.where(pattern(size) == BUS, 200, 40).astype(np.uint8)
        Image.fromarray(np.repeat(light[..., None], 3, axis=2)).save(folder / file)
        entries.append(drawing_of(folder, index))
    write_manifest(folder, entries, [])
    return output


def drawing_of(folder: Path, index: int) -> Any:
    """The record of a drawing that lies there."""
    image = Image.open(folder / image_name(index, BUS)).copy()
    entry = drawing(folder, index, BUS, np.asarray(Image.open(folder / label_name(image_name(index, BUS)))))
    image.save(folder / image_name(index, BUS))
    return dataclasses.replace(entry, sha256=sha256(folder / entry.file))


def rules(size: int, factor: int = 1, share: float = 1.0) -> CropRules:
    return CropRules(
        size=size,
        class_max_ratio=0.75,
        rare_min_pixels=10,
        rare_min_crop_pixels=5,
        source_scale=(96, 64),
        target_scale=None,
        target_factor=factor,
        labeled_share=share,
    )


def samples(scenes: Path, output: Path | None, rules: CropRules, seed: int = 0) -> TrainingSamples:
    source = find_source("gta-to-cityscapes", scenes / "gta")
    return TrainingSamples(
        source=source, target=[], labeled=find_labeled(output), rules=rules, temperature=0.01, seed=seed
    )


def is_drawing(label: np.ndarray) -> bool:
    return set(np.unique(label)) <= {SKY, BUS, IGNORE}


def test_drawings_are_the_share_of_the_source_samples_that_the_setting_says(
    scenes: Path, output: Path
) -> None:
    drawings = samples(scenes, output, rules(64, share=7 / 13))
    found = [is_drawing(drawings[index][1]) for index in range(400)]
    assert np.mean(found) == pytest.approx(7 / 13, abs=0.06)
    again = samples(scenes, output, rules(64, share=7 / 13))
    assert all(np.array_equal(*pair) for pair in zip(drawings[31], again[31]))


def test_without_drawings_the_samples_are_those_of_before(scenes: Path) -> None:
    without, before = (samples(scenes, None, rules(64, share=share)) for share in (7 / 13, 0.0))
    for index in range(8):
        assert all(np.array_equal(*pair) for pair in zip(without[index], before[index]))


def test_a_drawing_is_flipped_with_its_label_and_distorted_and_nothing_else(
    scenes: Path, output: Path
) -> None:
    drawings = samples(scenes, output, rules(64))
    labels, lights = [], set()
    for index in range(40):
        image, label = drawings[index]
        labels.append(label)
        light = image.astype(int).sum(axis=2)
        assert light[label == BUS].min() > light[label == SKY].max()
        lights.add(tuple(image[32, 32]))
    assert all(any(np.array_equal(label, pattern(64)[:, ::way]) for way in (1, -1)) for label in labels)
    assert 5 < sum(np.array_equal(label, pattern(64)) for label in labels) < 35
    assert len(lights) > 10


@pytest.mark.parametrize(
    "size, crop, factor, filled",
    [(64, 32, 1, 32), (64, 96, 1, 64), (32, 64, 2, 64)],
    ids=["larger is cropped", "smaller is padded", "of HRDA's crop it is doubled"],
)
def test_a_drawing_of_another_size_than_the_crop(
    scenes: Path, tmp_path: Path, size: int, crop: int, factor: int, filled: int
) -> None:
    drawings = samples(scenes, drawn(tmp_path / "generated", size), rules(crop, factor))
    read = batches(drawings, first=0, last=2, batch_size=2, workers=0, device=choose_device("cpu"))
    for batch in read:
        assert batch.labels.shape == (2, crop, crop)
        assert (batch.labels[:, filled:] == IGNORE).all() and (batch.source[:, :, filled:] == 0).all()
        assert (batch.labels[:, :filled, :filled] != IGNORE).float().mean() > 0.9


def test_the_size_of_drawings_follows_the_resolution_of_the_recipe() -> None:
    hrda = crop_rules(AdaptationSettings(resolution_factor=2, crop=1024), "gta-to-cityscapes", None)
    assert (hrda.target_factor, hrda.size, hrda.labeled_share) == (2, 1024, 7 / 13)


@pytest.mark.parametrize(
    "method, changes",
    [
        ("source-only", {}),
        ("daformer", {}),
        ("daformer", {"multi_resolution": True, "resolution_factor": 2, "pseudo_margins_of": "image"}),
        ("daformer", {"masked_consistency": True}),
    ],
    ids=["source-only", "daformer", "hrda", "mic"],
)
def test_a_training_with_drawings_resumes_to_the_same_bits(
    scenes: Path,
    settings: AdaptationSettings,
    output: Path,
    tmp_path: Path,
    method: str,
    changes: dict[str, Any],
) -> None:
    settings = dataclasses.replace(settings, iterations=4, validate_every=4, save_every=2, **changes)
    target = None if method == "source-only" else scenes / "cityscapes"
    weights = {}
    for name, labeled in (("whole", output), ("resumed", output), ("without", None)):
        arguments = small_training(scenes, tmp_path / name, settings) | {"method": method, "target": target}
        state_uri = (tmp_path / "state").as_uri()
        adapt(**arguments | {"encoder": "resnet-18-half", "labeled": labeled, "state_uri": state_uri})
        for newest in (tmp_path / "state").rglob("*000004*"):
            newest.unlink()
        weights[name] = sha256(tmp_path / name / "last.safetensors")
    assert weights["whole"] == weights["resumed"] != weights["without"]
    record = read_provenance(tmp_path / "whole")
    assert record and record["inputs"]["labeled"] and record["inputs"]["named"]["labeled"] == str(output)


def test_other_drawings_are_another_training(
    scenes: Path, settings: AdaptationSettings, output: Path, tmp_path: Path
) -> None:
    arguments = small_training(scenes, tmp_path / "adapted", dataclasses.replace(settings, iterations=1))
    arguments |= {"method": "source-only", "target": None, "validation": None, "encoder": "resnet-18-half"}
    adapt(**arguments, labeled=output)
    before = digests_below(tmp_path / "adapted")
    adapt(**arguments, labeled=output)
    assert digests_below(tmp_path / "adapted") == before
    with pytest.raises(InputError, match=r"inputs\.labeled"):
        adapt(**arguments)


def test_an_output_without_labeled_drawings_is_refused_before_anything_is_written(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path
) -> None:
    (tmp_path / "generated").mkdir()
    with pytest.raises(InputError, match=r"found no labeled/manifest\.jsonl, expected labeled drawings"):
        adapt(
            **small_training(scenes, tmp_path / "adapted", settings),
            labeled=tmp_path / "generated",
        )
    assert not list(tmp_path.glob("adapted*"))
