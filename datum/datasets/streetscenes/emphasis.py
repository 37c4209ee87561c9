"""Scenes that show one class large and near."""

from __future__ import annotations

import dataclasses
import math

from datum.datasets.streetscenes.elements import (
    Cycle,
    Element,
    Person,
    Sign,
    Street,
    TrafficLight,
    Tree,
    Vehicle,
    depth_order,
)
from datum.datasets.streetscenes.layout import LANE, Layout
from datum.datasets.streetscenes.streams import Stream

EMPHASIZED = (
    "traffic light", "traffic sign", "person", "rider", "car", "truck", "bus", "motorcycle", "bicycle", "vegetation",
)  # fmt: skip
"""Classes that a scene can be asked to show."""


def emphasize(layout: Layout, name: str, stream: Stream) -> Layout:
    """Add one to three objects of a class near the camera; what stood in their way goes."""
    if name not in EMPHASIZED:
        raise ValueError(f"emphasis is {name!r}, expected one of {', '.join(EMPHASIZED)}")
    added = _draw(name, layout.street, stream)
    reach = 3.0 if name in ("truck", "bus") else 1.0
    kept = [e for e in layout.elements if not _in_the_way(e, added, reach)]
    elements = sorted([*kept, *added], key=depth_order, reverse=True)
    return dataclasses.replace(layout, elements=tuple(elements))


def _in_the_way(element: Element, added: list[Element], reach: float) -> bool:
    """Whether a movable thing overlaps one of the added or stands between it and the camera."""
    if not isinstance(element, Vehicle | Cycle | Person | Tree):
        return False
    half = 4.5 if isinstance(element, Vehicle) else 1.0
    for other in added:
        assert not hasattr(other, "near")
        if element.z - half > other.z + reach:  # type: ignore[union-attr]
            continue
        seen_at = other.x * element.z / other.z  # type: ignore[union-attr]
        if abs(element.x - seen_at) < 3.2:  # type: ignore[union-attr]
            return True
    return False


def _draw(name: str, street: Street, stream: Stream) -> list[Element]:
    left_lane, right_curb = -LANE, street.right.curb
    if name == "traffic light":
        z, size = stream.uniform(6.5, 10.0), stream.uniform(1.3, 1.7)
        lights: list[Element] = [
            TrafficLight(x=right_curb + 0.3, z=z, height=3.5, size=size, arm=0.0),
            TrafficLight(x=-LANE / 2 - stream.uniform(0.0, 2.0), z=z + 1.0, height=3.5, size=size, arm=0.0),
        ]
        return lights[: stream.integer(1, 2)] if stream.chance(0.6) else lights
    if name == "traffic sign":
        z = stream.uniform(5.5, 8.0)
        kinds = ("round", "triangle", "rectangle", "diamond", "stop")
        return [
            Sign(
                x=x, z=z + 0.5 * i, height=stream.uniform(2.0, 2.6), size=stream.uniform(1.1, 1.5),
                kind=stream.choice(kinds),  # type: ignore[arg-type]
            )
            for i, x in enumerate((right_curb + 0.2, -LANE / 2 - 1.0)[: stream.integer(1, 2)])
        ]  # fmt: skip
    if name == "person":
        z = stream.uniform(4.6, 7.5)
        middle = stream.uniform(-2.6, 1.2)
        facing = stream.choice((0.0, math.pi, math.pi / 2, -math.pi / 2))
        return [
            Person(
                x=middle + i * stream.uniform(0.7, 1.1), z=z + stream.uniform(-0.3, 0.8),
                height=stream.uniform(1.6, 1.9), facing=facing + stream.uniform(-0.3, 0.3), gait=stream.unit(),
            )
            for i in range(stream.integer(1, 3))
        ]  # fmt: skip
    if name in ("rider", "bicycle", "motorcycle"):
        return _draw_cycles(name, stream)
    if name == "vegetation":
        return [
            Tree(x=side, z=stream.uniform(7.0, 11.0), height=stream.uniform(6.0, 8.0), crown=stream.uniform(2.2, 3.0),
                 shape=stream.integer(0, 4095))
            for side in (street.left.curb - 0.6, street.right.curb + 0.6)
        ]  # fmt: skip
    return _draw_vehicles(name, left_lane, stream)


def _draw_cycles(name: str, stream: Stream) -> list[Element]:
    kind = name if name != "rider" else stream.choice(("bicycle", "bicycle", "motorcycle"))
    ridden = name == "rider" or stream.chance(0.5)
    heading = stream.choice((0.4, -0.4, math.pi - 0.4, math.pi + 0.4, math.pi / 2, -math.pi / 2))
    z = stream.uniform(4.6, 6.5)
    return [
        Cycle(
            x=stream.uniform(-1.8, 0.6) + 1.5 * i, z=z + i * stream.uniform(0.3, 1.0),
            heading=heading + stream.uniform(-0.25, 0.25), kind=kind, ridden=ridden,  # type: ignore[arg-type]
        )
        for i in range(stream.integer(1, 2))
    ]  # fmt: skip


def _draw_vehicles(name: str, left_lane: float, stream: Stream) -> list[Element]:
    large = name != "car"
    z = stream.uniform(11.0, 14.0) if large else stream.uniform(6.5, 9.5)
    place = stream.integer(0, 2)
    x, heading = ((0.0, 0.0), (left_lane, math.pi), (left_lane / 2, stream.sign() * math.pi / 2))[place]
    if place == 2 and large:
        z -= 3.0
    vehicles: list[Element] = [
        Vehicle(
            x=x + stream.uniform(-0.3, 0.3), z=z, heading=heading + stream.uniform(-0.15, 0.15),
            kind=name, model=stream.integer(0, 4095), moving=True,  # type: ignore[arg-type]
        )
    ]  # fmt: skip
    if place != 2 and stream.chance(0.5):
        x, heading = (left_lane, math.pi) if place == 0 else (0.0, 0.0)
        vehicles.append(
            Vehicle(
                x=x, z=z + stream.uniform(1.0, 6.0), heading=heading, kind=name,  # type: ignore[arg-type]
                model=stream.integer(0, 4095), moving=True,
            )
        )  # fmt: skip
    return vehicles
