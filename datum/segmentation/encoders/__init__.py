"""The encoders of the segmentation network, a file per family, and their ImageNet weights.

To add an encoder: a row in `datum.methods.ENCODERS`; for a new family a file here with `channels`, `build`
and `in_our_names`, and its row in `FAMILIES`.
"""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import safetensors.torch
import torch
from torch import Tensor, nn

from datum.errors import InputError
from datum.methods import ENCODERS
from datum.segmentation.encoders import mit, resnet

FAMILIES: Mapping[str, ModuleType] = {"mit": mit, "resnet": resnet}


def encoder_channels(name: str) -> tuple[int, int, int, int]:
    """Channels of the four feature maps of encoder `name`, at 1/4, 1/8, 1/16 and 1/32 of the image's size."""
    return _family(name).channels(name)


def build_encoder(name: str, drop_path_rate: float) -> nn.Module:
    """Encoder `name` with random weights: normalized images float32[batch, 3, height, width] -> its four
    feature maps.

    `drop_path_rate` is the stochastic depth of MiT; ResNet has none. Raises `InputError` for an unknown
    name.
    """
    return _family(name).build(name, drop_path_rate)


def load_pretrained(encoder: nn.Module, name: str, file: Path) -> None:
    """Loads ImageNet weights into encoder `name`, from a `.pth` or `.safetensors` file in mmseg's names or in
    those of the family's own files: SegFormer's for MiT, torchvision's for ResNet.

    Raises `InputError` where the file is missing, unreadable or of another encoder.
    """
    state = _family(name).in_our_names(_read_weights(file))
    expected = {
        # Older files lack batch norm's counter, which nothing reads.
        key: tensor
        for key, tensor in encoder.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    for key, tensor in expected.items():
        found = tuple(state[key].shape) if key in state else "nothing"
        if found != tuple(tensor.shape):
            raise InputError(
                f"adaptation.pretrained_encoder {file}: {key} is {found}, expected {tuple(tensor.shape)}; "
                "name a file of ImageNet weights of the encoder in use"
            )
    encoder.load_state_dict({key: state[key] for key in expected}, strict=False)


def _family(name: str) -> ModuleType:
    if name not in ENCODERS:
        raise InputError(f"encoder {name!r}: unknown, expected one of {', '.join(ENCODERS)}")
    return FAMILIES[ENCODERS[name]]


def _read_weights(file: Path) -> Mapping[str, Tensor]:
    if not file.is_file():
        raise InputError(f"adaptation.pretrained_encoder {file}: no such file")
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling a foreign file raises errors of any kind
        raise InputError(
            f"adaptation.pretrained_encoder {file}: {type(error).__name__} while reading it, expected "
            "weights in a .pth (PyTorch, without pickled code) or .safetensors file"
        ) from error
    return loaded.get("state_dict", loaded.get("model", loaded))
