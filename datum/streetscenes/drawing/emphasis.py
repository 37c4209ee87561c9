"""Scenes that show one class large and near."""

from __future__ import annotations

import dataclasses
import math

from datum.streetscenes.drawing.arrangement import Layout
from datum.streetscenes.drawing.elements import (
    LANE,
    Cycle,
    CycleKind,
    Element,
    Person,
    Sign,
    SignKind,
    Street,
    TrafficLight,
    Tree,
    Vehicle,
    VehicleKind,
    depth_order,
)
from datum.streetscenes.drawing.streams import Stream

_VEHICLES: dict[str, VehicleKind] = {"car": "car", "truck": "truck", "bus": "bus"}
_CYCLES: dict[str, tuple[CycleKind, ...]] = {
    "rider": ("bicycle", "bicycle", "motorcycle"),
    "bicycle": ("bicycle",),
    "motorcycle": ("motorcycle",),
}
EMPHASIZED = ("traffic light", "traffic sign", "person", *_CYCLES, *_VEHICLES, "vegetation")
"""Classes that a scene can be asked to show."""

_Added = TrafficLight | Sign | Person | Cycle | Vehicle | Tree


def emphasize(layout: Layout, name: str, stream: Stream) -> Layout:
    """Add one to three objects of a class near the camera; what stood in their way goes."""
    if name not in EMPHASIZED:
        raise ValueError(f"emphasis is {name!r}, expected one of {', '.join(EMPHASIZED)}")
    added = _draw(name, layout.street, stream)
    reach = 5.0 if name in ("truck", "bus") else 1.0
    kept = [e for e in layout.elements if not any(_in_the_way(e, a, reach) for a in added)]
    return dataclasses.replace(layout, elements=tuple(sorted([*kept, *added], key=depth_order, reverse=True)))


def _in_the_way(element: Element, added: _Added, reach: float) -> bool:
    """Whether a movable thing overlaps `added`, `reach` metres deep, or stands between it and the camera."""
    if not isinstance(element, Vehicle | Cycle | Person | Tree):
        return False
    half = 4.5 if isinstance(element, Vehicle) else 1.0
    if element.z - half > added.z + reach:
        return False
    return abs(element.x - added.x * element.z / added.z) < 3.2


def _draw(name: str, street: Street, stream: Stream) -> list[_Added]:
    if name in _VEHICLES:
        return _draw_vehicles(_VEHICLES[name], stream)
    if name in _CYCLES:
        return _draw_cycles(stream.choice(_CYCLES[name]), name == "rider" or stream.chance(0.5), stream)
    if name == "person":
        return _draw_people(stream)
    if name == "vegetation":
        return _draw_trees(street, stream)
    return _draw_posts(name, street, stream)


def _draw_people(stream: Stream) -> list[_Added]:
    z, middle = stream.uniform(3.6, 6.0), stream.uniform(-1.9, 0.8)
    facing = stream.choice((0.0, math.pi, math.pi / 2, -math.pi / 2))
    return [
        Person(
            x=middle + i * stream.uniform(0.7, 1.1),
            z=z + stream.uniform(-0.3, 0.8),
            height=stream.uniform(1.6, 1.9),
            facing=facing + stream.uniform(-0.3, 0.3),
            gait=stream.unit(),
        )
        for i in range(stream.integer(1, 3))
    ]


def _draw_trees(street: Street, stream: Stream) -> list[_Added]:
    return [
        Tree(
            x=x,
            z=stream.uniform(7.0, 11.0),
            height=stream.uniform(6.0, 8.0),
            crown=stream.uniform(2.2, 3.0),
            shape=stream.integer(0, 4095),
        )
        for x in (street.left.curb - 0.6, street.right.curb + 0.6)
    ]


def _draw_posts(name: str, street: Street, stream: Stream) -> list[_Added]:
    """Signs or lights on the right curb, on an island in the middle of the street, or both."""
    kinds: tuple[SignKind, ...] = ("round", "triangle", "rectangle", "diamond", "stop")
    places = stream.choice(
        ((street.right.curb + 0.3,), (street.divider,), (street.right.curb + 0.3, street.divider))
    )
    added: list[_Added] = []
    for x in places:
        z = max(abs(x) / 0.36, stream.uniform(5.5, 7.5))  # no farther aside than the narrowest view shows
        if name == "traffic light":
            added.append(TrafficLight(x=x, z=z, height=3.5, size=z * stream.uniform(0.16, 0.21), arm=0.0))
        else:
            size = z * stream.uniform(0.17, 0.23)
            added.append(
                Sign(x=x, z=z, height=stream.uniform(2.0, 2.6), size=size, kind=stream.choice(kinds))
            )
    return added


def _draw_cycles(kind: CycleKind, ridden: bool, stream: Stream) -> list[_Added]:
    heading = stream.choice((0.5, -0.5, math.pi - 0.5, math.pi + 0.5, math.pi / 2, -math.pi / 2))
    x, z = stream.uniform(-1.5, 0.4), stream.uniform(3.9, 5.8)
    return [
        Cycle(
            x=x + 1.3 * i,
            z=z + i * stream.uniform(0.3, 1.0),
            heading=heading + stream.uniform(-0.2, 0.2),
            kind=kind,
            ridden=ridden,
        )
        for i in range(stream.integer(1, 2))
    ]


def _draw_vehicles(kind: VehicleKind, stream: Stream) -> list[_Added]:
    """One in the ego lane, one that comes, one that crosses, or the first two together."""
    z = stream.uniform(6.5, 9.5) if kind == "car" else stream.uniform(11.0, 14.0)
    ahead, coming = (0.0, 0.0, z), (-LANE, math.pi, z + stream.uniform(0.0, 4.0))
    crossing = (-LANE / 2, stream.sign() * math.pi / 2, z if kind == "car" else z - 3.0)
    return [
        Vehicle(
            x=x + stream.uniform(-0.3, 0.3),
            z=depth,
            heading=heading + stream.uniform(-0.15, 0.15),
            kind=kind,
            model=stream.integer(0, 4095),
            moving=True,
        )
        for x, heading, depth in stream.choice(((ahead,), (coming,), (crossing,), (ahead, coming)))
    ]
