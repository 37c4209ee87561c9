"""The parts of the base model: names, tokens, loading, drawing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from datum.diffusion.base_model import base_model_path
from datum.errors import InputError
from datum.prompts import PLURALS
from datum.streetscenes.benchmark.measure import draw
from datum.streetscenes.model.export import LARGEST_BYTES, export
from datum.streetscenes.model.tokenizer import write_tokenizer
from datum.streetscenes.model.training_scenes import draw_set
from tests.base_models import untrained_pipeline


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("untrained") / "model"
    assert export(untrained_pipeline(0), folder) <= LARGEST_BYTES
    return folder


def test_the_packaged_model_a_folder_and_a_hub_id_are_found(exported: Path) -> None:
    packaged = Path(base_model_path("streetscenes"))
    assert packaged.name == "weights"
    assert (packaged / "model_index.json").is_file()
    assert base_model_path(str(exported)) == str(exported)
    assert base_model_path("CompVis/stable-diffusion-v1-4") == "CompVis/stable-diffusion-v1-4"


def test_a_folder_without_an_index_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model_index\.json") as caught:
        base_model_path(str(tmp_path))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_name_that_is_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="no/such/folder"):
        base_model_path("no/such/folder")


def test_words_of_captions_and_prompts_are_one_token_each(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path)
    for words in PLURALS.values():
        prompt = f"a photo of {words}"
        assert tokenizer.tokenize(prompt) == [f"{word}</w>" for word in prompt.split()]
    for captions in draw_set(range(40)).captions:
        for caption in captions:
            tokens = tokenizer(caption).input_ids
            assert len(tokens) <= tokenizer.model_max_length
            assert tokenizer.eos_token_id not in tokens[:-1]
            assert tokenizer.decode(tokens[1:-1]).replace(" ", "") == caption.replace(" ", "")


def test_the_rare_word_is_spelled_in_pieces(tmp_path: Path) -> None:
    assert write_tokenizer(tmp_path).tokenize("sks") == ["s", "ks</w>"]


def test_an_exported_model_loads_in_float32_and_draws_the_same_for_a_seed(exported: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(exported)
    pipeline.set_progress_bar_config(disable=True)
    assert {part.dtype for part in (pipeline.vae, pipeline.unet, pipeline.text_encoder)} == {torch.float32}
    assert pipeline.safety_checker is None
    pair = draw(pipeline, "a photo of sks cars", range(2))
    assert pair.shape == (2, 3, 128, 128)
    alone = draw(pipeline, "a photo of sks cars", range(1, 2))
    assert np.abs(alone[0].int().numpy() - pair[1].int().numpy()).max() <= 1
    assert not torch.equal(pair[0], pair[1])


def test_untrained_pipelines_follow_their_seed() -> None:
    one, same, other = (untrained_pipeline(seed).unet.conv_in.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
