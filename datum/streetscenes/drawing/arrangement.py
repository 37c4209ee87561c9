"""What stands where: one distribution of streets, the same for every domain."""

from __future__ import annotations

import dataclasses
import math

from datum.streetscenes.drawing.camera import Camera
from datum.streetscenes.drawing.elements import (
    FARTHEST,
    LANE,
    Barrier,
    BarrierKind,
    Bollard,
    Building,
    Element,
    Lamp,
    Side,
    Sign,
    SignKind,
    Street,
    Tree,
    depth_order,
)
from datum.streetscenes.drawing.streams import Stream
from datum.streetscenes.drawing.traffic import (
    draw_junction,
    draw_parked_vehicles,
    draw_people_on_sidewalk,
    draw_traffic,
    without_collisions,
)

_SIGN_KINDS: tuple[SignKind, ...] = ("round", "round", "triangle", "rectangle", "diamond", "stop")
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
            elements += draw_parked_vehicles(stream, street, side)
        elements += draw_people_on_sidewalk(stream, street, side)
    if street.closed:
        elements += _draw_end(stream, street)
    elements += draw_traffic(stream, street)
    elements += draw_junction(stream, street)
    elements = without_collisions(elements)
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
            sidewalk=stream.uniform(2.4, 5.0),
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
    )


def _draw_frontage(stream: Stream, street: Street, side: Side, storeys: float) -> list[Element]:
    """Houses, walls, fences and hedges along one side, with a gap where the other street crosses."""
    elements: list[Element] = []
    z = 1.2
    hidden_to = 0.0  # height to which the next house's face towards the camera is hidden
    while z < street.end:
        length = stream.uniform(7.0, 16.0) * (1.0 + z / FARTHEST)  # far houses show no detail
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
    kinds: tuple[BarrierKind, ...] = ("wall", "wall", "fence", "fence", "fence", "hedge")
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
                kind=kind,
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
        while z < min(street.end, FARTHEST):
            if not street.in_junction(z, 2.0):
                elements.append(_draw_tree(stream, edge + side.sign * 0.4, z, stream.uniform(4.5, 7.5)))
            z += spacing
    if stream.chance(0.75):
        spacing = stream.uniform(16.0, 26.0)
        z = stream.uniform(7.0, 20.0)
        while z < min(street.end, FARTHEST):
            if not street.in_junction(z, 1.0):
                elements.append(
                    Lamp(
                        x=edge,
                        z=z,
                        height=stream.uniform(6.0, 7.0),
                        arm=-side.sign * stream.uniform(1.2, 2.0),
                    )
                )
            z += spacing
    if stream.chance(0.2):
        elements += [
            Bollard(x=edge, z=6.0 + 2.5 * i, height=0.95)
            for i in range(10)
            if not street.in_junction(6.0 + 2.5 * i, 0.5)
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
        kind=stream.choice(_SIGN_KINDS),
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
