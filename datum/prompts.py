"""The words of DATUM's prompts, and the prompts that the drawn images cycle through."""

import re
import unicodedata
from collections.abc import Mapping, Sequence

from datum.errors import InputError
from datum.values import did_you_mean

PLURALS: Mapping[str, str] = {
    "traffic light": "traffic lights",
    "traffic sign": "traffic signs",
    "person": "persons",
    "rider": "riders",
    "car": "cars",
    "truck": "trucks",
    "train": "trains",
    "bus": "buses",
    "motorcycle": "motorcycles",
    "bicycle": "bicycles",
}
"""Class -> its word in a prompt, in the order of DATUM's prompts (`dreambooth/generate_dreambooth.py`)."""


def build_prompts(template: str, classes: Sequence[str]) -> list[str]:
    """One prompt a class: `{c}` in the template is replaced by the class; without `{c}`, one prompt in all.

    The arguments are the settings `generation.prompt_template` and `generation.prompt_classes`. Raises
    `InputError` for a template with another placeholder, and for a list of classes that is empty or holds
    other words than DATUM's plurals and the names of the 19 classes.
    """
    # Needs numpy, which the settings and `datum --help` do without.
    from datum.labels import CLASS_NAMES

    known = (*PLURALS.values(), *CLASS_NAMES)
    asks_for_classes = "{c}" in template
    words = classes if asks_for_classes else ("",)
    if not words:
        raise InputError(
            "generation.prompt_classes: is empty, expected at least one class for the {c} of prompt_template"
        )
    for word in words:
        if asks_for_classes and word not in known:
            hint = did_you_mean(word, known, otherwise="expected some of")
            raise InputError(f"generation.prompt_classes: unknown class {word!r}; {hint}")
    _require_template("generation.prompt_template", template, "{c}")
    return [template.replace("{c}", word) for word in words]


def prompt_of_classes(template: str, classes: Sequence[str]) -> str:
    """The setting `generation.labeled_prompt` with DATUM's words for all `classes` in place of `{names}`.

    Raises `InputError` for a template with another placeholder.
    """
    _require_template("generation.labeled_prompt", template, "{names}")
    return template.replace("{names}", " ".join(PLURALS.get(name, name) for name in classes))


def _require_template(setting: str, template: str, placeholder: str) -> None:
    require_prompt(setting, template)
    if odd := re.search(r"[{}]", template.replace(placeholder, "")):
        raise InputError(
            f"{setting}={template!r}: found {odd[0]}, expected a text in which {placeholder} alone is "
            "replaced; write the other braces out, or leave them away"
        )


def require_prompt(setting: str, prompt: str) -> None:
    """Raises `InputError` that names `setting` for a prompt that no tokenizer takes as it was meant: empty,
    or with characters that are no text."""
    if not prompt.strip():
        raise InputError(f"{setting}: is empty, expected a prompt such as 'a photo of sks'")
    for character in prompt:
        if unicodedata.category(character) in ("Cc", "Cs") and not character.isspace():
            raise InputError(f"{setting}: found the character {character!a}, expected text; leave it away")
