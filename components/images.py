"""The container image that each component runs in."""

from __future__ import annotations

import types
from collections.abc import Mapping

STAGES = ("personalization", "generation", "adaptation", "evaluation", "reporting")
"""Stages with an image of their own; reading and choosing data (ingest) shares `reporting`'s."""

IMAGES: Mapping[str, str] = types.MappingProxyType({stage: f"datum-{stage}:0.1.0" for stage in STAGES})
"""Image of each stage where nothing else is said: the tag that `make images` builds. Pipelines for a cluster
are compiled with the digests that `make push` records."""
