"""The network, the converter of SegFormer's names and whole-image inference, against DAFormer's own code.

`golden/network.npz`: DAFormer's `EncoderDecoder` (`mit_b0`, `DAFormerHead` of width 256, the fusion of
`daformer_sepaspp_mitb5.py`) ran in evaluation mode and float64 on the weights and the image of
`tests.segmentation.reference`; it holds the names and shapes of that network's state, and its logits.

`golden/resnet-101.npz`, `golden/mit-b5.npz`: the same of DAFormer's `deeplabv2red_r50-d8.py` at depth 101 and
of its `daformer_sepaspp_mitb5.py`, and the loss that `decode_head.losses` takes of the labels of `_labels`, a
twentieth of which is void.

`golden/inference.npz`: a drawn image of 60x110 pixels went through DAFormer's test pipeline (`Resize` to
fit within 96x64, `Normalize`) and through `simple_test` with mode `whole`, in float32; it holds what the
network saw and the predicted train ids.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from datum.adaptation.self_training import pixel_loss
from datum.labels import IGNORE
from datum.resizing import fitted_size, resize_image
from datum.segmentation.encoders import build_encoder
from datum.segmentation.encoders.mit import from_segformer
from datum.segmentation.encoders.pretrained import load_pretrained
from datum.segmentation.inference import predict_train_ids
from datum.segmentation.preprocess import to_tensor
from tests.segmentation.reference import (
    golden,
    network_weight,
    normal,
    reference_segmentor,
    reference_state,
    shapes_of,
    to_ours,
    to_reference,
    uniform,
)

NETWORK = golden(__file__, "network")
SHAPES = shapes_of(NETWORK)
SCALE = (96, 64)


@pytest.mark.parametrize(
    "dtype, tolerance",
    [
        # Logits reach 4.3: sums of roundings of 1e-16, taken in another order; measured 6e-15.
        (torch.float64, 1e-12),
        # The same with roundings of 6e-8; measured 6e-6.
        (torch.float32, 2e-5),
    ],
)
def test_logits_are_those_of_daformers_own_network(dtype: torch.dtype, tolerance: float) -> None:
    segmentor = reference_segmentor(SHAPES, "student", head_channels=256).eval().to(dtype)
    image = torch.from_numpy(normal("image", (1, 3, 64, 96))).to(dtype)
    with torch.inference_mode():
        logits = segmentor(image).double().numpy()
    np.testing.assert_allclose(logits, NETWORK["logits"], rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "encoder, parameters, decode_head",
    [("resnet-101", 42_519_392, 700_454), ("mit-b5", 81_443_008, 3_712_275)],
)
def test_whole_networks_have_daformers_parameters_logits_and_loss(
    encoder: str, parameters: int, decode_head: int
) -> None:
    """In float32, as they are trained: logits to 1e-4, the loss to 1e-5."""
    found = golden(__file__, encoder)
    segmentor = reference_segmentor(shapes_of(found), "student", head_channels=256, encoder=encoder)
    assert sum(p.numel() for p in segmentor.encoder.parameters()) == parameters
    assert sum(p.numel() for p in segmentor.head.parameters()) == decode_head
    segmentor = segmentor.eval().float()
    with torch.inference_mode():
        logits = segmentor(torch.from_numpy(normal("image", (1, 3, 64, 96))).float())
        loss = pixel_loss(logits, _labels())
    np.testing.assert_allclose(logits.numpy(), found["logits"], rtol=0, atol=1e-4)
    assert float(loss) == pytest.approx(float(found["loss"]), abs=1e-5)


def test_a_file_in_segformers_names_fills_the_encoder(tmp_path: Path) -> None:
    """Every parameter comes from the file, none from the random weights before."""
    official = {
        name.removeprefix("backbone."): tensor.float()
        for name, tensor in reference_state(SHAPES, "student").items()
        if name.startswith("backbone.")
    }
    file = tmp_path / "mit_b0.pth"
    torch.save({**official, "head.weight": torch.zeros(1000, 256), "head.bias": torch.zeros(1000)}, file)
    encoder = build_encoder("mit-b0", drop_path_rate=0.0)
    load_pretrained(encoder, "mit-b0", file)
    expected = reference_segmentor(SHAPES, "student", head_channels=256).encoder.float().state_dict()
    found = encoder.state_dict()
    assert found.keys() == expected.keys() == from_segformer(official).keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_the_converter_of_names_loses_nothing() -> None:
    state = reference_state(SHAPES, "student")
    back = to_reference(to_ours(state), SHAPES)
    assert back.keys() == SHAPES.keys()
    for name, tensor in back.items():
        expected = network_weight(name, SHAPES[name], "student")
        assert np.array_equal(tensor.numpy(), expected), name


def test_whole_image_inference_predicts_what_daformer_predicts() -> None:
    """No two logits of a pixel are closer than 7e-5, so rounding in float32 turns no pixel over."""
    found = golden(__file__, "inference")
    image = _street()
    size = fitted_size(image.shape[:2], SCALE)
    seen = to_tensor([resize_image(image, size)])[0].numpy()
    # Values of about 2 in float32; DAFormer divides by the deviation in another order.
    np.testing.assert_allclose(seen, found["network_input"], rtol=0, atol=1e-6)
    segmentor = reference_segmentor(SHAPES, "student", head_channels=256).eval().float()
    predicted = predict_train_ids(segmentor, [image], scale=SCALE, output_size=image.shape[:2])[0]
    np.testing.assert_array_equal(predicted, found["prediction"])


def _labels() -> torch.Tensor:
    """int64[1, 64, 96]: train ids and void, evenly."""
    ids = (uniform("labels", (1, 64, 96)) * 20).astype(np.int64)
    return torch.from_numpy(np.where(ids == 19, IGNORE, ids))


def _street() -> np.ndarray:
    """uint8[60, 110, 3]: colored blocks under noise."""
    blocks = (uniform("street", (8, 14, 3)) * 256).astype(np.uint8)
    noise = (uniform("street/3", (60, 110, 3)) * 256).astype(np.uint8)
    return cv2.resize(blocks, (110, 60), interpolation=cv2.INTER_NEAREST) // 2 + noise // 2
