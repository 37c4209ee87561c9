"""The prompts that the images cycle through."""

from __future__ import annotations

import difflib

from datum.config import THING_PROMPTS, GenerationSettings
from datum.errors import InputError
from datum.labels import CLASS_NAMES

KNOWN_CLASSES = (*THING_PROMPTS, *CLASS_NAMES)
"""What a prompt can ask for: DATUM's plurals and the names of the 19 classes."""


def build_prompts(settings: GenerationSettings) -> list[str]:
    """One prompt a class: `{c}` in the template is replaced by the class; without `{c}`, one prompt in all.

    Raises `InputError` for a template with another placeholder and for a list of classes that is empty or
    holds an unknown one.
    """
    template = settings.prompt_template
    asks_for_classes = "{c}" in template
    classes = settings.prompt_classes if asks_for_classes else ("",)
    if not classes:
        raise InputError(
            "generation.prompt_classes: is empty, expected at least one class for the {c} of prompt_template"
        )
    for name in classes:
        if asks_for_classes and name not in KNOWN_CLASSES:
            close = difflib.get_close_matches(name, KNOWN_CLASSES, n=1)
            hint = f"did you mean {close[0]}?" if close else f"expected some of {', '.join(KNOWN_CLASSES)}"
            raise InputError(f"generation.prompt_classes: unknown class {name!r}; {hint}")
    prompts = [template.replace("{c}", name) for name in classes]
    for prompt in prompts:
        if "{" in prompt or not prompt.strip():
            raise InputError(
                f"generation.prompt_template={template!r}: expected a text in which {{c}} alone is replaced"
            )
    return prompts
