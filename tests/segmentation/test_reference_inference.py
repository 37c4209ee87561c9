"""Sliding window, several scales and mirrored images, beside mmsegmentation's own code.

Its `slide_inference` is the one of DAFormer and HRDA line by line, and its `SegTTAModel` averages what
DAFormer's `aug_test` does: the softmax of each view's logits. HRDA's own `EncoderDecoder` (commit of its
main branch, batched slide and not, and its `aug_test` with six ratios and flip) ran beside ours when this
was written: no pixel differed.
"""

import types
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder, SegTTAModel
from mmseg.structures import SegDataSample
from torch import Tensor

from datum.config import EvaluationSettings, load_settings
from datum.errors import InputError
from datum.resizing import fitted_size, resize_image
from datum.segmentation.inference import predict_train_ids, predict_with, upsample
from datum.segmentation.preprocess import to_tensor
from datum.segmentation.segmentor import Segmentor, SegmentorConfig, build_segmentor

HEIGHT, WIDTH = 160, 300


class Reference(EncoderDecoder):
    """mmsegmentation's segmentor around our network: its inference, our logits."""

    def __init__(self, network: Segmentor, test: dict[str, Any]) -> None:
        torch.nn.Module.__init__(self)
        self.network, self.out_channels = network, 19
        self.test_cfg = types.SimpleNamespace(**test, get=lambda key, default: test.get(key, default))

    def encode_decode(self, inputs: Tensor, batch_img_metas: object) -> Tensor:
        return upsample(self.network(inputs), inputs.shape[2:])


class Exact(Segmentor):
    """In float64: what a pass computes does not depend on the windows beside it, whose rounding turns a pixel
    of a network with random weights over now and then."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.double())


@pytest.fixture(scope="module")
def network() -> Segmentor:
    torch.manual_seed(0)
    segmentor = build_segmentor(SegmentorConfig(encoder="mit-b0", head_channels=32)).eval().double()
    segmentor.__class__ = Exact
    return segmentor


def picture(seed: int) -> np.ndarray:
    blocks = np.random.default_rng(seed).integers(0, 256, (20, 40, 3), dtype=np.uint8)
    return cv2.resize(blocks, (WIDTH, HEIGHT))


def expected(
    network: Segmentor, image: np.ndarray, settings: EvaluationSettings, test: dict[str, Any]
) -> np.ndarray:
    """What mmsegmentation predicts for the image and its views, uint8[height, width]."""
    reference, samples = Reference(network, test), []
    for ratio in settings.ratios:
        scale = (int(settings.scale[0] * ratio), int(settings.scale[1] * ratio))
        size = fitted_size((HEIGHT, WIDTH), scale)
        for mirrored in (False, True) if settings.flip else (False,):
            view = resize_image(image, size)
            view = cv2.flip(view, 1) if mirrored else view
            about = {"ori_shape": (HEIGHT, WIDTH), "img_shape": size, "flip": mirrored}
            sample = SegDataSample(metainfo=about | {"flip_direction": "horizontal", "img_path": ""})
            with torch.no_grad():
                logits = reference.inference(to_tensor([view]), [sample.metainfo])
            # Its own `postprocess_result` mirrors before it resizes, DAFormer after.
            logits = upsample(logits, (HEIGHT, WIDTH))[0]
            sample.set_data({"seg_logits": PixelData(data=logits.flip(2) if mirrored else logits)})
            samples.append(sample)
    if len(samples) == 1:
        return samples[0].seg_logits.data.argmax(0).numpy()
    merging = types.SimpleNamespace(module=reference)
    merged = SegTTAModel.merge_preds(merging, [samples])
    return merged[0].pred_sem_seg.data.numpy()[0]


@pytest.mark.parametrize("scale", [(250, 130), (96, 64)])
@pytest.mark.parametrize("crop, stride", [(96, 64), (128, None), (100, 33)])
def test_a_sliding_window_predicts_what_mmsegmentation_predicts(
    network: Segmentor, scale: tuple[int, int], crop: int, stride: int | None
) -> None:
    settings = EvaluationSettings(scale=scale, slide_crop=crop, slide_stride=stride)
    images = [picture(seed) for seed in range(2)]
    found = predict_with(settings, network, images, (HEIGHT, WIDTH))
    test = {"mode": "slide", "crop_size": (crop, crop), "stride": (stride or crop // 2,) * 2}
    for image, one in zip(images, found):
        assert len(np.unique(one)) > 5
        np.testing.assert_array_equal(one, expected(network, image, settings, test))


@pytest.mark.parametrize(
    "ratios, flip, crop",
    [((1.0,), True, None), ((0.5, 1.0, 1.5), False, None), ((0.5, 0.75, 1.0, 1.25), True, None)]
    + [((0.5, 1.0), True, 96)],
)
def test_views_are_averaged_as_mmsegmentation_averages_them(
    network: Segmentor, ratios: tuple[float, ...], flip: bool, crop: int | None
) -> None:
    settings = EvaluationSettings(scale=(256, 128), ratios=ratios, flip=flip, slide_crop=crop)
    images = [picture(seed) for seed in range(2)]
    found = predict_with(settings, network, images, (HEIGHT, WIDTH))
    test = {"mode": "slide", "crop_size": (96, 96), "stride": (48, 48)} if crop else {"mode": "whole"}
    for image, one in zip(images, found):
        np.testing.assert_array_equal(one, expected(network, image, settings, test))
    plain = predict_train_ids(network, images, scale=(256, 128), output_size=(HEIGHT, WIDTH))
    assert (plain != found).any()


def test_the_test_of_hrda_is_three_windows_in_one_pass(network: Segmentor) -> None:
    settings = load_settings(
        "paper",
        ["evaluation.scale=[2048, 1024]", "evaluation.slide_crop=1024", "evaluation.slide_stride=512"],
    ).evaluation
    passes: list[tuple[int, ...]] = []

    class Seen(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images: Tensor) -> Tensor:
            passes.append(tuple(images.shape))
            return images.new_zeros(len(images), 19, 256, 256)

    seen: Any = Seen()
    predict_with(settings, seen, [np.zeros((1024, 2048, 3), np.uint8)], (1024, 2048))
    assert passes == [(3, 3, 1024, 1024)]


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["slide_stride=64"], r"slide_stride=64: expected at most evaluation\.slide_crop, which is None"),
        (["slide_stride=65", "slide_crop=64"], r"slide_stride=65: .* which is 64: windows would leave gaps"),
        (["slide_crop=0"], r"slide_crop=0: expected 1 or more"),
        (["ratios=[]"], r"ratios=\[\]: expected one or more numbers from 0\.1 to 10"),
        (["ratios=[1, 0]"], r"ratios=\[1\.0, 0\.0\]: expected one or more numbers from 0\.1 to 10"),
        (["flip=perhaps"], r"flip: found 'perhaps', expected true or false"),
    ],
)
def test_windows_with_gaps_and_scales_of_nothing_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_settings("paper", [f"evaluation.{override}" for override in overrides])
