"""Who drives, rides, walks and parks in a street."""

import math

from datum.streetscenes.drawing.elements import (
    FARTHEST,
    LANE,
    Cycle,
    CycleKind,
    Element,
    Person,
    Side,
    Street,
    TrafficLight,
    Vehicle,
    VehicleKind,
)
from datum.streetscenes.drawing.streams import Stream

_HALF_SIZES = {
    "car": (1.1, 2.4),
    "truck": (1.4, 4.0),
    "bus": (1.5, 5.8),
    "train": (1.5, 8.2),
    "bicycle": (0.5, 1.0),
    "motorcycle": (0.6, 1.2),
}
# Half width and half length, meters, with some room around.


def without_collisions(elements: list[Element]) -> list[Element]:
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


def draw_parked_vehicles(stream: Stream, street: Street, side: Side) -> list[Element]:
    """A row of cars, and now and then a truck, along one curb."""
    elements: list[Element] = []
    z = stream.uniform(5.5, 12.0)
    while z < min(street.end, FARTHEST) - 5:
        if not street.in_junction(z, 6.0) and stream.chance(0.72):
            kind: VehicleKind = "truck" if stream.chance(0.05) else "car"
            heading = (0.0 if side.sign > 0 else math.pi) + stream.uniform(-0.03, 0.03)
            elements.append(
                draw_vehicle(stream, side.curb - side.sign * 1.05, z, heading, kind, moving=False)
            )
        z += stream.uniform(5.6, 8.0)
    return elements


def draw_vehicle(
    stream: Stream, x: float, z: float, heading: float, kind: VehicleKind, moving: bool = True
) -> Vehicle:
    """A vehicle of any model."""
    return Vehicle(x=x, z=z, heading=heading, kind=kind, model=stream.integer(0, 4095), moving=moving)


def draw_people_on_sidewalk(stream: Stream, side: Side) -> list[Element]:
    """Pedestrians alone and in pairs, and parked cycles."""
    elements: list[Element] = []
    for _ in range(stream.integer(0, 4)):
        x = side.walk + side.sign * stream.uniform(0.4, max(0.5, side.sidewalk - 0.5))
        z = 5.0 + 22.0 * stream.unit() ** 1.3
        elements.append(_draw_pedestrian(stream, x, z))
        if stream.chance(0.3):
            elements.append(_draw_pedestrian(stream, x + 0.65, z + 0.2))
    if stream.chance(0.2):
        x, z = side.walk + side.sign * 0.8, stream.uniform(6.0, 15.0)
        heading = side.sign * stream.uniform(0.9, 1.5)
        elements += [
            Cycle(x=x, z=z + 0.9 * i, heading=heading, kind="bicycle", ridden=False)
            for i in range(stream.integer(1, 3))
        ]
    if stream.chance(0.06):
        x, z = side.curb - side.sign * 0.6, stream.uniform(6.0, 14.0)
        heading = side.sign * stream.uniform(0.5, 1.2)
        elements.append(Cycle(x=x, z=z, heading=heading, kind="motorcycle", ridden=False))
    return elements


def _draw_pedestrian(stream: Stream, x: float, z: float, facing: float | None = None) -> Person:
    if facing is None:
        facing = stream.choice((0.0, math.pi)) + stream.uniform(-0.5, 0.5)
    height = stream.uniform(1.15, 1.4) if stream.chance(0.1) else stream.uniform(1.58, 1.9)
    return Person(x=x, z=z, height=height, facing=facing, gait=stream.unit() if stream.chance(0.8) else -1.0)


def draw_traffic(stream: Stream, street: Street) -> list[Element]:
    """Vehicles and riders that drive along the street."""
    elements: list[Element] = []
    z = stream.uniform(8.0, 26.0)
    while z < min(street.end, FARTHEST):
        elements.append(_draw_driver(stream, stream.uniform(-0.3, 0.3), z, 0.0))
        z += stream.uniform(9.0, 30.0)
    lanes = 1 if street.left.curb > -LANE * 1.5 - 2.5 else 2
    for lane in range(1, lanes + 1):
        z = stream.uniform(6.5, 24.0)
        while z < min(street.end, FARTHEST):
            elements.append(_draw_driver(stream, -LANE * lane + stream.uniform(-0.3, 0.3), z, math.pi))
            z += stream.uniform(10.0, 32.0)
    return elements


def _draw_driver(stream: Stream, x: float, z: float, heading: float) -> Element:
    heading += stream.uniform(-0.04, 0.04)
    if stream.chance(0.12):
        aside = 1.0 if heading < 1.0 else -1.0
        kind: CycleKind = "bicycle" if stream.chance(0.65) else "motorcycle"
        near = min(z, 6.0 + 10.0 * stream.unit())
        return Cycle(x=x + aside, z=near, heading=heading, kind=kind, ridden=True)
    vehicle = _draw_vehicle_kind(stream)
    return draw_vehicle(stream, x, z if vehicle == "car" else max(z, 12.0), heading, vehicle)


def _draw_vehicle_kind(stream: Stream) -> VehicleKind:
    dice = stream.unit()
    return "bus" if dice < 0.08 else "truck" if dice < 0.15 else "car"


def draw_junction(stream: Stream, street: Street) -> list[Element]:
    """Traffic lights, crossing vehicles and people on the crosswalk."""
    elements: list[Element] = []
    left, right = street.left, street.right
    if street.crosswalk is not None:
        for _ in range(stream.integer(0, 3)):
            x = stream.uniform(left.curb, right.curb)
            facing = stream.sign() * (math.pi / 2 + stream.uniform(-0.2, 0.2))
            elements.append(_draw_pedestrian(stream, x, street.crosswalk + stream.uniform(0.5, 2.5), facing))
    if street.junction is None:
        return elements
    near, far = street.junction
    if stream.chance(0.7):
        size = stream.uniform(1.0, 1.25)
        reach = stream.uniform(3.0, 5.0) if stream.chance(0.35) else 0.0
        x, height = right.curb + 0.5, 5.0 if reach else 3.4
        elements.append(TrafficLight(x=x, z=near - 0.8, height=height, size=size, arm=-reach))
        elements.append(TrafficLight(x=left.curb - 0.5, z=near - 0.8, height=3.4, size=size))
        elements.append(TrafficLight(x=x, z=far + 0.8, height=3.4, size=size))
    if stream.chance(0.45):
        heading = stream.sign() * math.pi / 2
        x = stream.uniform(left.frontage + 2.0, right.frontage - 2.0)
        z = (near + far) / 2 + math.copysign(1.6, heading)
        elements.append(draw_vehicle(stream, x, z, heading, _draw_vehicle_kind(stream)))
    if stream.chance(0.2):
        heading = stream.sign() * math.pi / 2
        x = stream.uniform(left.curb, right.curb)
        kind: CycleKind = "bicycle" if stream.chance(0.6) else "motorcycle"
        elements.append(Cycle(x=x, z=near + 0.8, heading=heading, kind=kind, ridden=True))
    return elements
