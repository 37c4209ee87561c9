"""Whole-image inference."""

import numpy as np
import torch
from torch.nn import functional

from datum.segmentation.inference import predict_train_ids
from datum.segmentation.preprocess import resize_image, to_tensor
from datum.segmentation.segmentor import SegmentorConfig, build_segmentor


def test_logits_go_to_the_input_size_and_then_to_the_output_size() -> None:
    torch.manual_seed(0)
    segmentor = build_segmentor(SegmentorConfig(encoder="mit-b0", head_channels=8)).eval()
    images = [np.random.default_rng(i).integers(0, 256, (60, 100, 3), dtype=np.uint8) for i in range(2)]
    found = predict_train_ids(segmentor, images, scale=(80, 64), output_size=(120, 200))
    with torch.no_grad():
        logits = segmentor(to_tensor([resize_image(image, (48, 80)) for image in images]))
    for size in ((48, 80), (120, 200)):
        logits = functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    assert found.dtype == np.uint8 and found.shape == (2, 120, 200)
    np.testing.assert_array_equal(found, logits.argmax(1).numpy())


def test_a_prediction_does_not_depend_on_the_images_beside_it() -> None:
    torch.manual_seed(0)
    segmentor = build_segmentor(SegmentorConfig(encoder="mit-b0", head_channels=8)).eval()
    images = [np.random.default_rng(i).integers(0, 256, (64, 64, 3), dtype=np.uint8) for i in range(3)]
    together = predict_train_ids(segmentor, images, scale=(64, 64), output_size=(64, 64))
    alone = [predict_train_ids(segmentor, [i], scale=(64, 64), output_size=(64, 64))[0] for i in images]
    assert np.mean(together == np.stack(alone)) > 0.999
