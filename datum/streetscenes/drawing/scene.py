"""From a seed and a domain to a picture with its labels."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from datum.labels import CLASSES
from datum.streetscenes.drawing.arrangement import draw_arrangement, draw_camera
from datum.streetscenes.drawing.buildings import paint_building
from datum.streetscenes.drawing.camera import Camera
from datum.streetscenes.drawing.canvas import Canvas
from datum.streetscenes.drawing.cycles import paint_cycle
from datum.streetscenes.drawing.domain import Domain
from datum.streetscenes.drawing.elements import (
    Barrier,
    Bollard,
    Building,
    Cycle,
    Element,
    Frontage,
    Lamp,
    Person,
    Sign,
    TrafficLight,
    Tree,
    Vehicle,
)
from datum.streetscenes.drawing.emphasis import emphasize
from datum.streetscenes.drawing.furniture import paint_bollard, paint_lamp, paint_sign, paint_traffic_light
from datum.streetscenes.drawing.greenery import paint_barrier, paint_tree
from datum.streetscenes.drawing.ground import paint_ground, shade_ground, texture_ground
from datum.streetscenes.drawing.lens import expose
from datum.streetscenes.drawing.people import paint_person
from datum.streetscenes.drawing.sky import paint_backdrop, paint_sky
from datum.streetscenes.drawing.streams import Stream
from datum.streetscenes.drawing.vehicles import paint_vehicle

_ARRANGEMENT, _LOOKS, _EMPHASIS, _CAMERA, _BACKDROP = range(5)  # purposes of random streams
_PAINTERS: dict[type, Callable[[Canvas, Any, Stream], None]] = {
    Barrier: paint_barrier,
    Bollard: paint_bollard,
    Building: paint_building,
    Cycle: paint_cycle,
    Lamp: paint_lamp,
    Person: paint_person,
    Sign: paint_sign,
    TrafficLight: paint_traffic_light,
    Tree: paint_tree,
    Vehicle: paint_vehicle,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """A street with its exact labels."""

    image: npt.NDArray[np.uint8]
    """RGB, uint8[height, width, 3]."""
    label_ids: npt.NDArray[np.uint8]
    """Cityscapes label ids, uint8[height, width]."""
    seed: int
    domain: Domain


def draw_scene(
    seed: int, domain: Domain, *, height: int = 128, width: int = 128, emphasis: str | None = None
) -> Scene:
    """Draw the street of `seed` (0 or more) as `domain` shows it; height and width in pixels, 16 or more.

    The labels depend on seed, size and emphasis, never on the domain. `emphasis` names a class of
    `EMPHASIZED` that is to stand large and near; everything else keeps its place.
    """
    camera = draw_camera(Stream.from_seed(seed, _CAMERA), height, width)
    arrangement = draw_arrangement(Stream.from_seed(seed, _ARRANGEMENT))
    if emphasis is not None:
        arrangement = emphasize(arrangement, emphasis, Stream.from_seed(seed, _EMPHASIS))
    looks = Stream.from_seed(seed, _LOOKS)
    canvas = Canvas(camera, domain)
    paint_sky(canvas, looks.fork(0))
    paint_ground(canvas, arrangement.street, looks.fork(1))
    texture_ground(canvas, looks.fork(2))
    shade_ground(canvas, arrangement.elements)
    if not arrangement.street.closed:
        paint_backdrop(canvas, Stream.from_seed(seed, _BACKDROP))
    for index, element in enumerate(arrangement.elements):
        if not _outside(camera, element):
            _PAINTERS[type(element)](canvas, element, looks.fork(4 + index))
    image = expose(canvas, looks.fork(3))
    return Scene(image=image, label_ids=canvas.label_ids, seed=seed, domain=domain)


def _outside(camera: Camera, element: Element) -> bool:
    """Whether an element stands wholly beyond the left or right edge of the picture."""
    if isinstance(element, Frontage):
        ends = [camera.project(element.x, 0.0, z)[0] for z in (element.near, element.far)]
        return (element.side < 0 and max(ends) < 0.0) or (element.side > 0 and min(ends) > camera.width)
    reach = 6.5 if isinstance(element, Vehicle | TrafficLight | Tree) else 2.5  # meters, ample
    column, _ = camera.project(element.x, 0.0, element.z)
    margin = reach * camera.scale(element.z)
    return column + margin < 0.0 or column - margin > camera.width


def visible_classes(label_ids: npt.NDArray[np.uint8], min_fraction: float = 0.004) -> list[str]:
    """Names of the classes that cover at least `min_fraction` (0 to 1) of the picture, the largest first."""
    counts = np.bincount(label_ids.ravel(), minlength=256)
    least = max(1.0, min_fraction * label_ids.size)
    found = [c for c in CLASSES if counts[c.label_id] >= least]
    return [c.name for c in sorted(found, key=lambda c: -int(counts[c.label_id]))]
