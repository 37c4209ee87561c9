"""The promises of the network that the demo starts from."""

import numpy as np

from datum.config import DEMO
from datum.layouts import CITYSCAPES
from datum.outputs import sha256
from datum.segmentation.checkpoints import PACKAGED_FOLDER
from datum.segmentation.inference import predict_with
from datum.segmentation.segmentor import load_segmentor
from datum.streetscenes.drawing import SOURCE_DOMAIN, draw_scene
from datum.streetscenes.model.start_network import LARGEST_BYTES, NAME

FILE = PACKAGED_FOLDER / NAME


def test_the_network_takes_at_most_eight_megabytes() -> None:
    assert sum(file.stat().st_size for file in PACKAGED_FOLDER.iterdir()) <= LARGEST_BYTES


def test_its_card_is_that_of_its_file() -> None:
    assert sha256(FILE) in (PACKAGED_FOLDER / "README.md").read_text()


def test_it_is_of_the_demos_shape() -> None:
    config = load_segmentor(FILE).config
    assert (config.encoder, config.head_channels) == (DEMO.run.encoder, DEMO.adaptation.head_channels)


def test_it_sees_the_streets_of_the_source() -> None:
    scenes = [draw_scene(seed, SOURCE_DOMAIN) for seed in range(6)]
    images = [scene.image for scene in scenes]
    predicted = predict_with(DEMO.evaluation, load_segmentor(FILE), images, (128, 128))
    labels = np.array([CITYSCAPES.to_train_id[scene.label_ids] for scene in scenes])
    assert np.mean(predicted == labels) > 0.85
