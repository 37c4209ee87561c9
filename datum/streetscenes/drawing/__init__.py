"""Procedural street scenes with exact labels: the demo's data and most tests' input."""

from datum.streetscenes.drawing.captions import caption
from datum.streetscenes.drawing.domain import SOURCE_DOMAIN, TARGET_DOMAIN, Domain
from datum.streetscenes.drawing.emphasis import EMPHASIZED, emphasis_of
from datum.streetscenes.drawing.scene import Scene, draw_scene, visible_classes
from datum.streetscenes.drawing.town import town_domain
from datum.streetscenes.drawing.weather import domain_description, random_domain
from datum.streetscenes.drawing.write import write_cityscapes, write_gta, write_synthia, write_town

__all__ = [
    "EMPHASIZED",
    "SOURCE_DOMAIN",
    "TARGET_DOMAIN",
    "Domain",
    "Scene",
    "caption",
    "domain_description",
    "draw_scene",
    "emphasis_of",
    "random_domain",
    "town_domain",
    "visible_classes",
    "write_cityscapes",
    "write_gta",
    "write_synthia",
    "write_town",
]
