"""What a base model is, told before anything is loaded, and while it is."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from datum.diffusion.base_model import PACKAGED_FOLDER, check_base_model, find_base_model
from datum.diffusion.checkpoint import find_checkpoint
from datum.diffusion.load import load_base_model
from datum.errors import InputError

WEIGHTS = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the packaged model, free to be changed."""
    return shutil.copytree(PACKAGED_FOLDER, tmp_path / "model")


def changed(file: str, **fields: Any) -> Callable[[Path], None]:
    """Changes fields of a JSON file."""

    def change(folder: Path) -> None:
        content = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(content | fields))

    return change


def removed(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            changed("model_index.json", _class_name="StableDiffusionXLPipeline"),
            "is a StableDiffusionXLPipeline",
        ),
        (changed("model_index.json", _class_name=["mine", "Pipeline"]), "is a \\['mine', 'Pipeline'\\]"),
        (changed("model_index.json", text_encoder_2=["transformers", "CLIPTextModel"]), "text_encoder_2"),
        (
            changed("model_index.json", unet=["diffusers", "SD3Transformer2DModel"]),
            "unet is SD3Transformer2D",
        ),
        (changed("model_index.json", tokenizer=[None, None]), "tokenizer is missing"),
        (changed("unet/config.json", in_channels=9), "unet has in_channels=9 and the vae 24 latent channels"),
        (changed("unet/config.json", out_channels=48), "unet has out_channels=48"),
        (changed("unet/config.json", cross_attention_dim=768), "cross_attention_dim=768 .* hidden_size=96"),
        (changed("unet/config.json", addition_embed_type="text_time"), "addition_embed_type=text_time"),
        (changed("unet/config.json", num_class_embeds=1000), "num_class_embeds=1000"),
        (changed("vae/config.json", in_channels=4), "vae has in_channels=4, expected 3"),
        (
            changed("scheduler/scheduler_config.json", _class_name="FlowMatchEulerDiscreteScheduler"),
            "scheduler is FlowMatchEulerDiscreteScheduler",
        ),
        (changed("scheduler/scheduler_config.json", _class_name="LCMScheduler"), "scheduler is LCMScheduler"),
        (changed("scheduler/scheduler_config.json", prediction_type="sample"), "prediction_type=sample"),
        (changed("scheduler/scheduler_config.json", beta_schedule="laplace"), "beta_schedule=laplace"),
        (removed("tokenizer/tokenizer.json"), "neither tokenizer.json nor vocab.json"),
        (removed("vae/config.json"), "vae/config.json is missing"),
        (removed("unet/diffusion_pytorch_model.safetensors"), "unet has no weights"),
    ],
)
def test_a_model_that_does_not_fit_is_named_from_its_small_files(
    model: Path, change: Callable[[Path], None], message: str
) -> None:
    change(model)
    with pytest.raises(InputError, match=f"--base-model {model}: .*{message}") as raised:
        check_base_model(str(model))
    assert "\n" not in str(raised.value)


def damaged(kind: str, weights: dict[str, torch.Tensor]) -> None:
    name = sorted(weights)[3]
    match kind:
        case "missing":
            del weights[name]
        case "of another shape":
            weights[name] = weights[name].flatten()[:1].clone()
        case "not finite":
            weights[name].view(-1)[0] = float("nan")
        case "whole numbers":
            weights[name] = weights[name].to(torch.int8)


@pytest.mark.parametrize("part", list(WEIGHTS))
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "its files lack 1 tensors"),
        ("of another shape", "cannot be loaded"),
        ("not finite", "has values that are not finite in float32"),
        ("whole numbers", "as I8, expected F32"),
    ],
)
def test_weights_that_do_not_fit_are_never_filled_in(model: Path, part: str, kind: str, message: str) -> None:
    file = model / part / WEIGHTS[part]
    weights = load_file(file)
    damaged(kind, weights)
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match=rf"--base-model {model}: .*{message}") as raised:
        load_base_model(str(model))
    assert f"{part}: " in str(raised.value) or f"{part} has" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_identity_of_a_model_is_its_content(model: Path, tmp_path: Path) -> None:
    digest = find_base_model(str(model)).digest()
    assert digest == find_base_model("streetscenes").digest()
    (model / "README.md").write_text("another text")
    (model / "other.ckpt").write_bytes(b"weights that nobody loads")
    assert find_base_model(str(shutil.copytree(model, tmp_path / "elsewhere"))).digest() == digest
    weights = load_file(model / "unet" / WEIGHTS["unet"])
    weights["conv_in.bias"] += 1
    save_file(weights, model / "unet" / WEIGHTS["unet"], metadata={"format": "pt"})
    assert find_base_model(str(model)).digest() != digest


def test_a_folder_with_weights_of_one_variant_alone_is_loaded(model: Path) -> None:
    for part, name in WEIGHTS.items():
        (model / part / name).rename(model / part / name.replace(".safetensors", ".fp16.safetensors"))
    assert load_base_model(str(model)).unet.dtype == torch.float32
    assert set(find_base_model(str(model), variant="fp16").variants().values()) == {"fp16"}
    with pytest.raises(InputError, match=r"has no weights of variant bf16"):
        find_base_model(str(model), variant="bf16")
    other = model / "unet/diffusion_pytorch_model.ema.safetensors"
    shutil.copy(model / "unet/diffusion_pytorch_model.fp16.safetensors", other)
    with pytest.raises(InputError, match=r"unet has no weights .*there: ema, fp16"):
        find_base_model(str(model))


def test_a_variant_and_a_revision_that_are_not_there_are_refused(model: Path) -> None:
    with pytest.raises(InputError, match="has no weights of variant fp16"):
        find_base_model(str(model), variant="fp16")
    with pytest.raises(InputError, match=r"--revision v1: .* is a folder, which has no revisions"):
        find_base_model(str(model), revision="v1")


def test_folders_that_only_look_like_checkpoints_are_passed_over(model: Path, tmp_path: Path) -> None:
    for name in ("checkpoint-best", "checkpoint-20", "checkpoint-3.unfinished"):
        shutil.copytree(model, tmp_path / "output" / name)
    assert find_checkpoint(tmp_path / "output", 20).name == "checkpoint-20"
    with pytest.raises(InputError, match=r"checkpoint_step=40: .* expected one of 20$"):
        find_checkpoint(tmp_path / "output", 40)
