"""What stands where: one distribution of streets, the same for every domain."""

from __future__ import annotations

import dataclasses
import math

from datum.datasets.streetscenes.camera import Camera
from datum.datasets.streetscenes.elements import (
    Barrier,
    Bollard,
    Building,
    Cycle,
    Element,
    Lamp,
    Person,
    Side,
    Sign,
    Street,
    TrafficLight,
    Tree,
    Vehicle,
    depth_order,
)
from datum.datasets.streetscenes.streams import Stream

LANE = 3.3
"""Width of a lane, metres."""
BACKDROP = 130.0
"""Depth, metres, of the skyline."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """A street and what stands in it, the farthest first."""

    street: Street
    elements: tuple[Element, ...]


def draw_camera(stream: Stream, height: int, width: int) -> Camera:
    """Where the camera hangs and looks; the view grows wider with the picture's aspect ratio."""
    return Camera(
        height=height,
        width=width,
        focal=stream.uniform(0.72, 0.92) * math.sqrt(height * width),
        center=width * (0.5 + stream.uniform(-0.11, 0.11)),
        horizon=height * stream.uniform(0.46, 0.56),
        eye=stream.uniform(1.4, 2.1),
        bend=stream.uniform(-0.0012, 0.0012) if stream.chance(0.4) else 0.0,
    )


def draw_layout(stream: Stream) -> Layout:
    """Draw a street with everything in it."""
    street = _draw_street(stream)
    elements: list[Element] = []
    parked = {-1: stream.chance(0.55), 1: stream.chance(0.5)}
    storeys = stream.uniform(2.0, 4.6)
    for side in (street.left, street.right):
        elements += _draw_frontage(stream, street, side, storeys)
        elements += _draw_street_furniture(stream, street, side)
        if parked[side.sign]:
            elements += _draw_parked_vehicles(stream, street, side)
        elements += _draw_people_on_sidewalk(stream, street, side)
    if street.closed:
        elements += _draw_end(stream, street)
    elements += _draw_traffic(stream, street)
    elements += _draw_junction(stream, street)
    elements = _without_collisions(elements)
    elements.sort(key=depth_order, reverse=True)
    return Layout(street=street, elements=tuple(elements))


def _draw_street(stream: Stream) -> Street:
    lanes_left = 2 if stream.chance(0.25) else 1
    right_curb = LANE / 2 + (2.3 if stream.chance(0.6) else 0.5)
    left_curb = -LANE / 2 - LANE * lanes_left - (2.2 if stream.chance(0.5) else 0.4)
    near = stream.uniform(11.0, 34.0)
    junction = (near, near + stream.uniform(7.0, 11.0)) if stream.chance(0.6) else None
    zebra: float | None = None
    if junction is not None and stream.chance(0.6):
        zebra = junction[0] - 4.5
    elif stream.chance(0.2):
        zebra = stream.uniform(6.0, 18.0)
    sides = [
        Side(
            sign=sign,
            curb=curb,
            verge=stream.uniform(1.0, 2.2) if stream.chance(0.33) else 0.0,
            sidewalk=stream.uniform(2.0, 4.2),
        )
        for sign, curb in ((-1, left_curb), (1, right_curb))
    ]
    return Street(
        left=sides[0],
        right=sides[1],
        divider=-LANE / 2,
        junction=junction,
        zebra=zebra,
        end=stream.uniform(48.0, 95.0),
        closed=stream.chance(0.45),
        pattern=stream.integer(0, 4095),
    )


_HALF_SIZES = {"car": (1.1, 2.4), "truck": (1.4, 4.0), "bus": (1.5, 5.8), "bicycle": (0.5, 1.0), "motorcycle": (0.6, 1.2)}
# Half width and half length, metres, with some room around.


def _without_collisions(elements: list[Element]) -> list[Element]:
    """Leave out whatever would stand inside a vehicle or cycle that came before it."""
    taken: list[tuple[float, float, float, float]] = []
    kept: list[Element] = []
    for element in elements:
        if isinstance(element, Vehicle | Cycle | Person):
            half_x, half_z = (0.3, 0.3) if isinstance(element, Person) else _HALF_SIZES[element.kind]
            if not isinstance(element, Person) and abs(math.sin(element.heading)) > 0.7:
                half_x, half_z = half_z, half_x
            x, z = element.x, element.z
            if any(abs(x - a) < half_x + p and abs(z - b) < half_z + q for a, b, p, q in taken):
                continue
            if not isinstance(element, Person):
                taken.append((x, z, half_x, half_z))
        kept.append(element)
    return kept


def _in_junction(street: Street, z: float, margin: float) -> bool:
    return street.junction is not None and street.junction[0] - margin < z < street.junction[1] + margin


def _draw_frontage(stream: Stream, street: Street, side: Side, storeys: float) -> list[Element]:
    """Houses, walls, fences and hedges along one side, with a gap where the other street crosses."""
    elements: list[Element] = []
    z = 1.2
    hidden_to = 0.0  # height to which the next house's face towards the camera is hidden
    while z < street.end:
        length = stream.uniform(7.0, 16.0)
        far = z + length
        if street.junction is not None:
            near_edge, far_edge = street.junction
            if z < near_edge < far + 3.0:
                far = near_edge
            elif near_edge <= z < far_edge:
                z, hidden_to = far_edge, 0.0
                continue
        if stream.chance(0.74):
            count = max(1, min(7, round(storeys + stream.uniform(-1.3, 1.3))))
            elements.append(
                Building(
                    side=side.sign,
                    x=side.frontage + side.sign * (stream.uniform(0.0, 2.0) if stream.chance(0.25) else 0.0),
                    near=z,
                    far=far,
                    height=count * 3.0 + 1.2,
                    storeys=count,
                    breadth=stream.uniform(9.0, 14.0),
                    shop=stream.chance(0.4),
                    exposed=count * 3.0 > hidden_to,
                    roof="pitched" if stream.chance(0.5) else "flat",
                )
            )
            hidden_to = count * 3.0 + 1.2
        else:
            hidden_to = 0.0
            elements += _draw_green_plot(stream, side, z, far)
        z = far + (stream.uniform(1.0, 3.0) if stream.chance(0.2) else 0.0)
    return elements


def _draw_green_plot(stream: Stream, side: Side, near: float, far: float) -> list[Element]:
    kinds = ("wall", "wall", "fence", "fence", "fence", "hedge")
    kind = stream.choice(kinds)
    elements: list[Element] = []
    pieces = max(1, round((far - near) / 6.0))
    step = (far - near) / pieces
    height = {"wall": 2.0, "fence": 1.7, "hedge": 1.6}[kind] * stream.uniform(0.75, 1.3)
    for piece in range(pieces):
        start = near + piece * step
        elements.append(
            Barrier(
                side=side.sign, x=side.frontage, near=start, far=start + step, height=height,
                kind=kind,  # type: ignore[arg-type]
            )
        )  # fmt: skip
        for _ in range(stream.integer(1, 2)):
            z = start + step + stream.uniform(0.0, 1.5)
            away = side.frontage + side.sign * stream.uniform(2.5, 8.0)
            elements.append(_draw_tree(stream, away, z, stream.uniform(5.0, 10.0)))
    return elements


def _draw_tree(stream: Stream, x: float, z: float, height: float) -> Tree:
    return Tree(
        x=x, z=z, height=height, crown=height * stream.uniform(0.26, 0.4), shape=stream.integer(0, 4095)
    )


def _draw_street_furniture(stream: Stream, street: Street, side: Side) -> list[Element]:
    """Trees, lamps, bollards and signs between curb and sidewalk."""
    elements: list[Element] = []
    edge = side.curb + side.sign * 0.5
    if stream.chance(0.5):
        spacing = stream.uniform(8.0, 15.0)
        z = stream.uniform(6.0, 14.0)
        while z < street.end:
            if not _in_junction(street, z, 2.0):
                elements.append(
                    _draw_tree(stream, edge + side.sign * 0.4, z, stream.uniform(4.5, 7.5))
                )
            z += spacing
    if stream.chance(0.75):
        spacing = stream.uniform(16.0, 26.0)
        z = stream.uniform(7.0, 20.0)
        while z < street.end:
            if not _in_junction(street, z, 1.0):
                elements.append(
                    Lamp(x=edge, z=z, height=stream.uniform(6.0, 7.0), arm=-side.sign * stream.uniform(1.2, 2.0))
                )
            z += spacing
    if stream.chance(0.2):
        elements += [
            Bollard(x=edge, z=6.0 + 2.5 * i, height=0.95)
            for i in range(10)
            if not _in_junction(street, 6.0 + 2.5 * i, 0.5)
        ]
    for _ in range(stream.integer(0, 2)):
        elements.append(_draw_sign(stream, edge, stream.uniform(7.0, 26.0)))
    return elements


def _draw_sign(stream: Stream, x: float, z: float) -> Sign:
    return Sign(
        x=x,
        z=z,
        height=stream.uniform(2.2, 2.9),
        size=stream.uniform(0.75, 1.0),
        kind=stream.choice(("round", "round", "triangle", "rectangle", "diamond", "stop")),
    )


def _draw_parked_vehicles(stream: Stream, street: Street, side: Side) -> list[Element]:
    elements: list[Element] = []
    x = side.curb - side.sign * 1.05
    heading = 0.0 if side.sign > 0 else math.pi
    z = stream.uniform(5.5, 12.0)
    while z < street.end - 5:
        if not _in_junction(street, z, 6.0) and stream.chance(0.72):
            truck = stream.chance(0.05)
            elements.append(
                Vehicle(
                    x=x,
                    z=z,
                    heading=heading + stream.uniform(-0.03, 0.03),
                    kind="truck" if truck else "car",
                    model=stream.integer(0, 4095),
                    moving=False,
                )
            )
        z += stream.uniform(5.6, 8.0)
    return elements


def _draw_people_on_sidewalk(stream: Stream, street: Street, side: Side) -> list[Element]:
    elements: list[Element] = []
    for _ in range(stream.integer(0, 4)):
        x = side.walk + side.sign * stream.uniform(0.4, max(0.5, side.sidewalk - 0.5))
        z = 5.0 + 22.0 * stream.unit() ** 1.3
        elements.append(_draw_person(stream, x, z))
        if stream.chance(0.3):
            elements.append(_draw_person(stream, x + 0.65, z + 0.2))
    if stream.chance(0.16):
        x = side.walk + side.sign * 0.8
        z = stream.uniform(6.0, 15.0)
        heading = side.sign * stream.uniform(0.7, 1.5)
        elements += [
            Cycle(x=x, z=z + 0.9 * i, heading=heading, kind="bicycle", ridden=False)
            for i in range(stream.integer(1, 3))
        ]
    if stream.chance(0.07):
        elements.append(
            Cycle(
                x=side.curb - side.sign * 0.6,
                z=stream.uniform(6.0, 14.0),
                heading=side.sign * stream.uniform(0.5, 1.2),
                kind="motorcycle",
                ridden=False,
            )
        )
    return elements


def _draw_person(stream: Stream, x: float, z: float, facing: float | None = None) -> Person:
    if facing is None:
        facing = stream.choice((0.0, math.pi)) + stream.uniform(-0.5, 0.5)
    return Person(
        x=x,
        z=z,
        height=stream.uniform(1.15, 1.4) if stream.chance(0.1) else stream.uniform(1.58, 1.9),
        facing=facing,
        gait=stream.unit() if stream.chance(0.8) else -1.0,
    )


def _draw_end(stream: Stream, street: Street) -> list[Element]:
    """A row of houses across the end of the street."""
    elements: list[Element] = []
    x = street.left.frontage - 30.0
    while x < street.right.frontage + 30.0:
        breadth = stream.uniform(8.0, 16.0)
        storeys = stream.integer(2, 6)
        elements.append(
            Building(
                side=0,
                x=x,
                near=street.end + 8.0,
                far=street.end + 9.0,
                height=storeys * 3.0 + 1.2,
                storeys=storeys,
                breadth=breadth,
                shop=stream.chance(0.4),
                exposed=True,
                roof="pitched" if stream.chance(0.5) else "flat",
            )
        )
        x += breadth
    return elements


def _draw_traffic(stream: Stream, street: Street) -> list[Element]:
    """Vehicles and riders that drive along the street."""
    elements: list[Element] = []
    z = stream.uniform(8.0, 26.0)
    while z < street.end:
        elements.append(_draw_driver(stream, stream.uniform(-0.3, 0.3), z, 0.0))
        z += stream.uniform(9.0, 30.0)
    lanes = 1 if street.left.curb > -LANE * 1.5 - 2.5 else 2
    for lane in range(1, lanes + 1):
        z = stream.uniform(6.5, 24.0)
        while z < street.end:
            elements.append(_draw_driver(stream, -LANE * lane + stream.uniform(-0.3, 0.3), z, math.pi))
            z += stream.uniform(10.0, 32.0)
    return elements


def _draw_driver(stream: Stream, x: float, z: float, heading: float) -> Element:
    heading += stream.uniform(-0.04, 0.04)
    dice = stream.unit()
    if dice < 0.12:
        aside = 1.0 if heading < 1.0 else -1.0
        kind = "bicycle" if dice < 0.075 else "motorcycle"
        near = min(z, 6.0 + 10.0 * stream.unit())
        return Cycle(x=x + aside, z=near, heading=heading, kind=kind, ridden=True)  # type: ignore[arg-type]
    vehicle = "bus" if dice < 0.19 else "truck" if dice < 0.27 else "car"
    if vehicle != "car":
        z = max(z, 12.0)
    return Vehicle(
        x=x, z=z, heading=heading, kind=vehicle, model=stream.integer(0, 4095), moving=True  # type: ignore[arg-type]
    )


def _draw_junction(stream: Stream, street: Street) -> list[Element]:
    """Traffic lights, crossing vehicles and people on the zebra."""
    elements: list[Element] = []
    if street.zebra is not None:
        for _ in range(stream.integer(0, 3)):
            x = stream.uniform(street.left.curb, street.right.curb)
            facing = stream.sign() * (math.pi / 2 + stream.uniform(-0.2, 0.2))
            elements.append(_draw_person(stream, x, street.zebra + stream.uniform(0.5, 2.5), facing))
    if street.junction is None:
        return elements
    near, far = street.junction
    if stream.chance(0.7):
        size = stream.uniform(1.0, 1.25)
        reach = stream.uniform(3.0, 5.0) if stream.chance(0.35) else 0.0
        height = 5.0 if reach else 3.4
        elements.append(
            TrafficLight(x=street.right.curb + 0.5, z=near - 0.8, height=height, size=size, arm=-reach)
        )
        elements.append(
            TrafficLight(x=street.left.curb - 0.5, z=near - 0.8, height=3.4, size=size, arm=0.0)
        )
        elements.append(TrafficLight(x=street.right.curb + 0.5, z=far + 0.8, height=3.4, size=size, arm=0.0))
    if stream.chance(0.45):
        heading = stream.sign() * math.pi / 2
        x = stream.uniform(street.left.frontage + 2.0, street.right.frontage - 2.0)
        dice = stream.unit()
        kind = "bus" if dice < 0.12 else "truck" if dice < 0.25 else "car"
        elements.append(
            Vehicle(
                x=x, z=(near + far) / 2 + 1.6 * math.copysign(1.0, heading), heading=heading,
                kind=kind, model=stream.integer(0, 4095), moving=True,  # type: ignore[arg-type]
            )
        )  # fmt: skip
    if stream.chance(0.2):
        heading = stream.sign() * math.pi / 2
        x = stream.uniform(street.left.curb, street.right.curb)
        kind = stream.choice(("bicycle", "motorcycle"))
        elements.append(Cycle(x=x, z=near + 0.8, heading=heading, kind=kind, ridden=True))  # type: ignore[arg-type]
    return elements
