"""Procedural street scenes with exact labels: the demo's data and most tests' input."""

from datum.datasets.streetscenes.caption import caption
from datum.datasets.streetscenes.domain import SOURCE_DOMAIN, TARGET_DOMAIN, Domain
from datum.datasets.streetscenes.emphasis import EMPHASIZED
from datum.datasets.streetscenes.scene import Scene, draw_scene, visible_classes
from datum.datasets.streetscenes.weather import domain_description, random_domain
from datum.datasets.streetscenes.write import write_cityscapes, write_gta

__all__ = [
    "EMPHASIZED",
    "SOURCE_DOMAIN",
    "TARGET_DOMAIN",
    "Domain",
    "Scene",
    "caption",
    "domain_description",
    "draw_scene",
    "random_domain",
    "visible_classes",
    "write_cityscapes",
    "write_gta",
]
