"""What stands where: one distribution of streets, the same for every domain."""

import dataclasses
import math
from collections.abc import Iterator

from datum.streetscenes.drawing.camera import Camera
from datum.streetscenes.drawing.elements import (
    FARTHEST,
    LANE,
    SIGN_KINDS,
    STORY,
    Barrier,
    BarrierKind,
    Bollard,
    Building,
    Element,
    Lamp,
    Side,
    Sign,
    Street,
    Tree,
)
from datum.streetscenes.drawing.streams import Stream
from datum.streetscenes.drawing.traffic import (
    draw_junction,
    draw_parked_vehicles,
    draw_people_on_sidewalk,
    draw_traffic,
    without_collisions,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arrangement:
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


def draw_arrangement(stream: Stream) -> Arrangement:
    """Draw a street with everything in it."""
    street = _draw_street(stream)
    elements: list[Element] = []
    sides = ((street.left, stream.chance(0.55)), (street.right, stream.chance(0.5)))
    stories = stream.uniform(2.0, 4.6)
    for side, parked in sides:
        elements += _draw_frontage(stream, street, side, stories)
        elements += _draw_street_furniture(stream, street, side)
        if parked:
            elements += draw_parked_vehicles(stream, street, side)
        elements += draw_people_on_sidewalk(stream, side)
    if street.closed:
        elements += _draw_end(stream, street)
    elements += draw_traffic(stream, street)
    elements += draw_junction(stream, street)
    return arranged(street, without_collisions(elements))


def arranged(street: Street, elements: list[Element]) -> Arrangement:
    """The elements from the farthest to the nearest."""
    return Arrangement(
        street=street, elements=tuple(sorted(elements, key=lambda element: element.depth, reverse=True))
    )


def _draw_street(stream: Stream) -> Street:
    lanes_left = 2 if stream.chance(0.25) else 1
    right_curb = LANE / 2 + (2.3 if stream.chance(0.6) else 0.5)
    left_curb = -LANE / 2 - LANE * lanes_left - (2.2 if stream.chance(0.5) else 0.4)
    near = stream.uniform(11.0, 34.0)
    junction = (near, near + stream.uniform(7.0, 11.0)) if stream.chance(0.6) else None
    crosswalk: float | None = None
    if junction is not None and stream.chance(0.6):
        crosswalk = near - 4.5
    elif stream.chance(0.2):
        crosswalk = stream.uniform(6.0, 18.0)
    left, right = (
        Side(
            sign=sign,
            curb=curb,
            verge=stream.uniform(1.0, 2.2) if stream.chance(0.33) else 0.0,
            sidewalk=stream.uniform(2.4, 5.0),
        )
        for sign, curb in ((-1, left_curb), (1, right_curb))
    )
    return Street(
        left=left,
        right=right,
        divider=-LANE / 2,
        junction=junction,
        crosswalk=crosswalk,
        end=stream.uniform(48.0, 95.0),
        closed=stream.chance(0.45),
    )


def _draw_frontage(stream: Stream, street: Street, side: Side, stories: float) -> list[Element]:
    """Houses, walls, fences and hedges along one side, with a gap where the other street crosses."""
    elements: list[Element] = []
    z = 1.2
    hidden_to = 0.0  # height to which the next house's face toward the camera is hidden
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
            count = max(1, min(7, round(stories + stream.uniform(-1.3, 1.3))))
            setback = stream.uniform(0.0, 2.0) if stream.chance(0.25) else 0.0
            house = Building(
                side=side.sign,
                x=side.frontage + side.sign * setback,
                near=z,
                far=far,
                stories=count,
                breadth=stream.uniform(9.0, 14.0),
                exposed=count * STORY > hidden_to,
                shop=stream.chance(0.4),
                pitched=stream.chance(0.5),
            )
            elements.append(house)
            hidden_to = house.height
        else:
            elements += _draw_green_plot(stream, side, z, far)
            hidden_to = 0.0
        z = far + (stream.uniform(1.0, 3.0) if stream.chance(0.2) else 0.0)
    return elements


def _draw_green_plot(stream: Stream, side: Side, near: float, far: float) -> list[Element]:
    """A wall, fence or hedge with trees behind it."""
    kinds: tuple[BarrierKind, ...] = ("wall", "wall", "fence", "fence", "fence", "hedge")
    kind = stream.choice(kinds)
    elements: list[Element] = []
    pieces = max(1, round((far - near) / 6.0))
    step = (far - near) / pieces
    height = {"wall": 2.0, "fence": 1.7, "hedge": 1.6}[kind] * stream.uniform(0.75, 1.3)
    x = side.frontage
    for piece in range(pieces):
        start = near + piece * step
        elements.append(Barrier(side=side.sign, x=x, near=start, far=start + step, height=height, kind=kind))
        for _ in range(stream.integer(1, 2)):
            z = start + step + stream.uniform(0.0, 1.5)
            elements.append(_draw_tree(stream, x + side.sign * stream.uniform(2.5, 8.0), z, (5.0, 10.0)))
    return elements


def _draw_tree(stream: Stream, x: float, z: float, height: tuple[float, float]) -> Tree:
    """A tree whose height lies between two bounds."""
    tall = stream.uniform(*height)
    return Tree(x=x, z=z, height=tall, crown=tall * stream.uniform(0.26, 0.4), shape=stream.integer(0, 4095))


def _draw_street_furniture(stream: Stream, street: Street, side: Side) -> list[Element]:
    """Trees, lamps, bollards and signs between curb and sidewalk."""
    elements: list[Element] = []
    edge = side.curb + side.sign * 0.5
    if stream.chance(0.5):
        spacing, first = stream.uniform(8.0, 15.0), stream.uniform(6.0, 14.0)
        for z in _row(street, first, spacing, margin=2.0):
            elements.append(_draw_tree(stream, edge + side.sign * 0.4, z, (4.5, 7.5)))
    if stream.chance(0.75):
        spacing, first = stream.uniform(16.0, 26.0), stream.uniform(7.0, 20.0)
        for z in _row(street, first, spacing, margin=1.0):
            height = stream.uniform(6.0, 7.0)
            elements.append(Lamp(x=edge, z=z, height=height, arm=-side.sign * stream.uniform(1.2, 2.0)))
    if stream.chance(0.2):
        row = _row(street, 6.0, 2.5, margin=0.5, end=30.0)
        elements += [Bollard(x=edge, z=z, height=0.95) for z in row]
    for _ in range(stream.integer(0, 2)):
        z, height, size = stream.uniform(7.0, 26.0), stream.uniform(2.2, 2.9), stream.uniform(0.75, 1.0)
        kind = stream.choice(("round", *SIGN_KINDS))
        elements.append(Sign(x=edge, z=z, height=height, size=size, kind=kind))
    return elements


def _row(
    street: Street, first: float, spacing: float, margin: float, end: float = FARTHEST
) -> Iterator[float]:
    """Depths at equal distances along the street, but for those within `margin` meters of the junction."""
    z = first
    while z < min(street.end, end):
        if not street.in_junction(z, margin):
            yield z
        z += spacing


def _draw_end(stream: Stream, street: Street) -> list[Element]:
    """A row of houses across the end of the street."""
    elements: list[Element] = []
    x = street.left.frontage - 30.0
    while x < street.right.frontage + 30.0:
        house = Building(
            side=0,
            x=x,
            near=street.end + 8.0,
            far=street.end + 9.0,
            breadth=stream.uniform(8.0, 16.0),
            stories=stream.integer(2, 6),
            exposed=True,
            shop=stream.chance(0.4),
            pitched=stream.chance(0.5),
        )
        elements.append(house)
        x += house.breadth
    return elements
