"""Whole-image inference."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from datum.resizing import resize_image
from datum.segmentation.inference import NotFiniteError, predict_train_ids
from datum.segmentation.preprocess import to_tensor
from datum.segmentation.segmentor import Segmentor, SegmentorConfig, build_segmentor


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


class _SmallMemory(Segmentor):
    """A network on a GPU that holds one image at a time."""

    largest = 1

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.largest:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return super().forward(images)


def test_a_batch_that_a_gpu_has_no_memory_for_is_predicted_in_halves(
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.manual_seed(0)
    segmentor = build_segmentor(SegmentorConfig(encoder="mit-b0", head_channels=8)).eval()
    images = [np.random.default_rng(i).integers(0, 256, (64, 64, 3), dtype=np.uint8) for i in range(3)]
    alone = [predict_train_ids(segmentor, [i], scale=(64, 64), output_size=(64, 64))[0] for i in images]
    segmentor.__class__ = _SmallMemory
    found = predict_train_ids(segmentor, images, scale=(64, 64), output_size=(64, 64))
    np.testing.assert_array_equal(found, np.stack(alone))
    assert "no memory for 3 images at once, goes on with 1" in capsys.readouterr().err
    _SmallMemory.largest = 0
    with pytest.raises(torch.OutOfMemoryError):
        predict_train_ids(segmentor, images, scale=(64, 64), output_size=(64, 64))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_whose_logits_are_not_finite_predicts_nothing(value: float) -> None:
    segmentor = build_segmentor(SegmentorConfig(encoder="mit-b0", head_channels=8)).eval()
    with torch.no_grad():
        list(segmentor.head.parameters())[-1].fill_(value)
    with pytest.raises(NotFiniteError, match="the network's output is not finite"):
        predict_train_ids(segmentor, [np.zeros((64, 64, 3), np.uint8)], scale=(64, 64), output_size=(64, 64))
