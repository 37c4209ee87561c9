"""The container image that each component runs in.

images/build.py imports this before anything is installed.
"""

import types
from collections.abc import Mapping
from pathlib import Path

from datum import __version__

STAGES = ("personalization", "generation", "adaptation", "evaluation", "reporting")
"""Stages with an image of their own; reading and choosing data (ingest) shares `reporting`'s."""

BUILT_IMAGES = Path("build/images.json")
"""Where `make images` leaves the images' names with tags, and `make push` with digests, by stage."""


def image_names(registry: str, tag: str) -> dict[str, str]:
    """Name of each stage's image. `registry` is the registry and path before it, or empty; an empty `tag` is
    our version."""
    prefix = f"{registry.rstrip('/')}/" if registry else ""
    return {stage: f"{prefix}datum-{stage}:{tag or __version__}" for stage in STAGES}


IMAGES: Mapping[str, str] = types.MappingProxyType(image_names("", __version__))
"""Image of each stage where nothing else is said: the tag that `make images` builds. Pipelines for a cluster
are compiled with the digests that `make push` records."""
