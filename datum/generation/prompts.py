"""The prompts that the images cycle through."""

from __future__ import annotations

from datum.config import GenerationSettings
from datum.errors import InputError


def build_prompts(settings: GenerationSettings) -> list[str]:
    """One prompt a class: `{c}` in the template is replaced by the class; without `{c}`, one prompt in all.

    Raises `InputError` for a template with another placeholder and for an empty list of classes.
    """
    template = settings.prompt_template
    classes = settings.prompt_classes if "{c}" in template else ("",)
    if not classes:
        raise InputError(
            "generation.prompt_classes: is empty, expected at least one class for the {c} of prompt_template"
        )
    prompts = [template.replace("{c}", name) for name in classes]
    for prompt in prompts:
        if "{" in prompt or not prompt.strip():
            raise InputError(
                f"generation.prompt_template={template!r}: expected a text in which {{c}} alone is replaced"
            )
    return prompts
