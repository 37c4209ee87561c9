"""ControlNets, found and fitted to a pipeline."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from datum.diffusion.base_model import PACKAGED_FOLDER
from datum.diffusion.condition import condition_of
from datum.diffusion.controlnet import find_controlnet
from datum.diffusion.load import load_controlnet
from datum.errors import InputError
from datum.labels import TRAIN_ID_TO_COLOR
from tests.base_models import untrained_controlnet
from tests.diffusion.conftest import MAIN, Hub


def test_a_condition_is_one_hot_with_void_last_or_the_palette_with_void_black() -> None:
    ids = torch.tensor([[[0, 18], [255, 13]]], dtype=torch.uint8)
    one_hot = condition_of(ids, "one-hot")
    assert one_hot.shape == (1, 20, 2, 2)
    assert one_hot.argmax(1).tolist() == [[[0, 18], [19, 13]]]
    assert one_hot.sum(1).tolist() == [[[1, 1], [1, 1]]]
    colored = (condition_of(ids, "colored") * 255).permute(0, 2, 3, 1).numpy().astype(np.uint8)
    assert np.array_equal(colored, TRAIN_ID_TO_COLOR[ids.numpy()])
    assert colored[0, 1, 0].tolist() == [0, 0, 0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ControlNet of 20 channels for the packaged base model."""
    folder = tmp_path_factory.mktemp("controlnets") / "controlnet"
    untrained_controlnet(20).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("channels", "kind"), [(20, "one-hot"), (3, "colored")])
def test_a_folder_is_told_by_its_channels_and_loads(channels: int, kind: str, tmp_path: Path) -> None:
    model = untrained_controlnet(channels)
    model.save_pretrained(tmp_path)
    found = find_controlnet(str(tmp_path), PACKAGED_FOLDER)
    assert found.kind == kind
    loaded = load_controlnet(found, torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))


def test_half_precision_is_taken_where_there_is_no_other(tmp_path: Path) -> None:
    untrained_controlnet(20).half().save_pretrained(tmp_path, variant="fp16")
    found = find_controlnet(str(tmp_path), PACKAGED_FOLDER)
    assert found.variant == "fp16"
    assert load_controlnet(found, torch.float32).dtype == torch.float32


def test_a_model_in_a_folder_of_the_hub_has_the_digest_of_its_copy(
    hub: Hub, folder: Path, tmp_path: Path
) -> None:
    hub.folder = tmp_path / "repository"
    shutil.copytree(folder, hub.folder / "inner/controlnet")
    (hub.folder / "other.safetensors").write_bytes(b"large")
    found = find_controlnet("owner/model/inner/controlnet", PACKAGED_FOLDER)
    assert found.commit == MAIN
    assert found.digest() == find_controlnet(str(folder), PACKAGED_FOLDER).digest()
    assert not any("other.safetensors" in request for request in hub.requests)
    assert isinstance(load_controlnet(found, torch.float32), ControlNetModel)
    hub.faults = [503]
    assert find_controlnet("owner/model/inner/controlnet", PACKAGED_FOLDER).commit == MAIN
    with pytest.raises(InputError, match=r"^--controlnet owner/model/absent: is no model of diffusers"):
        find_controlnet("owner/model/absent", PACKAGED_FOLDER)


def test_a_controlnet_of_stable_diffusion_1_5_fits_version_1_4(tmp_path: Path) -> None:
    """Their networks have one shape; no weights are needed to tell."""
    pipeline, folder = tmp_path / "pipeline", tmp_path / "controlnet"
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)
        network = ControlNetModel.from_unet(unet, load_weights_from_unet=False, conditioning_channels=20)
    unet.save_config(pipeline / "unet")
    AutoencoderKL(block_out_channels=(32,) * 4).save_config(pipeline / "vae")
    network.save_config(folder)
    (folder / "diffusion_pytorch_model.safetensors").touch()
    assert find_controlnet(str(folder), pipeline).kind == "one-hot"
    assert sum(weights.numel() for weights in network.parameters()) == 361_281_568
    with pytest.raises(InputError, match="has in_channels=4, expected 24 as the UNet in"):
        find_controlnet(str(folder), PACKAGED_FOLDER)


def changed(**settings: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda config: config | settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(cross_attention_dim=768), "has cross_attention_dim=768, expected 96 as the UNet in"),
        (
            changed(block_out_channels=[320, 640]),
            r"has block_out_channels=\[320, 640\], expected \[64, 128\]",
        ),
        (changed(layers_per_block=2), "has layers_per_block=2, expected 1"),
        (changed(in_channels=4), "has in_channels=4, expected 24"),
        (changed(conditioning_channels=4), r"has conditioning_channels=4, expected 20 .* or 3"),
        (changed(conditioning_channels=[3]), r"has conditioning_channels=\[3\], expected 20"),
        (changed(conditioning_embedding_out_channels=[16, 32]), "a latent of 2 x 2 pixels .*expected 8"),
        (changed(_class_name="UNet2DConditionModel"), "is a 'UNet2DConditionModel', expected a diffusers"),
    ],
)
def test_a_controlnet_of_another_base_is_refused_before_it_is_loaded(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], message: str
) -> None:
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(change(config)))
    with pytest.raises(InputError, match=message) as raised:
        find_controlnet(str(tmp_path), PACKAGED_FOLDER)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(f"--controlnet {tmp_path}: ")


def test_a_damaged_or_missing_part_is_named(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = copy / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    save_file({**tensors, "conv_in.bias": torch.full((64,), float("nan"))}, weights, {"format": "pt"})
    with pytest.raises(InputError, match=r"copy has values that are not finite .*\(conv_in\.bias\)"):
        load_controlnet(find_controlnet(str(copy), PACKAGED_FOLDER), torch.float32)
    tensors.pop("conv_in.bias")
    save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(InputError, match=r"its files lack 1 tensors .*conv_in\.bias"):
        load_controlnet(find_controlnet(str(copy), PACKAGED_FOLDER), torch.float32)
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="copy: cannot be loaded: "):
        load_controlnet(find_controlnet(str(copy), PACKAGED_FOLDER), torch.float32)
    weights.unlink()
    with pytest.raises(InputError, match="has no weights"):
        find_controlnet(str(copy), PACKAGED_FOLDER)
    (copy / "config.json").unlink()
    with pytest.raises(InputError, match=r"config\.json is missing or damaged"):
        find_controlnet(str(copy), PACKAGED_FOLDER)
    with pytest.raises(InputError, match=r"no/such/../folder: found no such folder"):
        find_controlnet("no/such/../folder", PACKAGED_FOLDER)
