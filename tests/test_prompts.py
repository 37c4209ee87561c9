import pytest

from datum.config import GenerationSettings
from datum.errors import InputError
from datum.prompts import build_prompts


def test_the_default_prompts_are_those_of_datum() -> None:
    prompts = build_prompts(GenerationSettings())
    assert len(prompts) == 10
    assert prompts[0] == "a photo of sks traffic lights"
    assert prompts[9] == "a photo of sks bicycles"


def test_a_template_without_a_class_is_one_prompt() -> None:
    settings = GenerationSettings(prompt_template="a photo of a sks urban scene")
    assert build_prompts(settings) == ["a photo of a sks urban scene"]


@pytest.mark.parametrize("template", ["a {d}", "a {c} {", " "])
def test_a_template_that_cannot_be_filled_in_is_refused(template: str) -> None:
    with pytest.raises(InputError, match=r"generation\.prompt_template"):
        build_prompts(GenerationSettings(prompt_template=template))


def test_no_class_for_a_template_that_wants_one_is_refused() -> None:
    with pytest.raises(InputError, match=r"generation\.prompt_classes: is empty"):
        build_prompts(GenerationSettings(prompt_classes=()))


@pytest.mark.parametrize(
    "name, hint",
    [("bicycle s", "did you mean bicycles"), ("unicorns", "expected some of traffic lights"), ("", "''")],
)
def test_an_unknown_class_is_refused_with_the_nearest_known_one(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=rf"generation\.prompt_classes: unknown class .*{hint}"):
        build_prompts(GenerationSettings(prompt_classes=("cars", name)))


def test_names_of_the_other_classes_can_be_asked_for_too() -> None:
    assert build_prompts(GenerationSettings(prompt_classes=("road", "sky")))[1] == "a photo of sks sky"
