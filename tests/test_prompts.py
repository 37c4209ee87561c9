import pytest

from datum.config import PAPER
from datum.errors import InputError
from datum.prompts import build_prompts

TEMPLATE, CLASSES = PAPER.generation.prompt_template, PAPER.generation.prompt_classes


def test_the_default_prompts_are_those_of_datum() -> None:
    prompts = build_prompts(TEMPLATE, CLASSES)
    assert len(prompts) == 10
    assert prompts[0] == "a photo of sks traffic lights"
    assert prompts[9] == "a photo of sks bicycles"


def test_a_template_without_a_class_is_one_prompt() -> None:
    assert build_prompts("a photo of a sks urban scene", CLASSES) == ["a photo of a sks urban scene"]


@pytest.mark.parametrize("template", ["a {d}", "a {c} {", " "])
def test_a_template_that_cannot_be_filled_in_is_refused(template: str) -> None:
    with pytest.raises(InputError, match=r"generation\.prompt_template"):
        build_prompts(template, CLASSES)


def test_no_class_for_a_template_that_wants_one_is_refused() -> None:
    with pytest.raises(InputError, match=r"generation\.prompt_classes: is empty"):
        build_prompts(TEMPLATE, ())


@pytest.mark.parametrize(
    "name, hint",
    [("bicycle s", "did you mean bicycles"), ("unicorns", "expected some of traffic lights"), ("", "''")],
)
def test_an_unknown_class_is_refused_with_the_nearest_known_one(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=rf"generation\.prompt_classes: unknown class .*{hint}"):
        build_prompts(TEMPLATE, ("cars", name))


def test_names_of_the_other_classes_can_be_asked_for_too() -> None:
    assert build_prompts(TEMPLATE, ("road", "sky"))[1] == "a photo of sks sky"
