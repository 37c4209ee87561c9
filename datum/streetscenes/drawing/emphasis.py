"""Scenes that show one class large and near."""

import math
from collections.abc import Sequence

from datum.streetscenes.drawing.arrangement import Arrangement, arranged
from datum.streetscenes.drawing.elements import (
    LANE,
    SIGN_KINDS,
    Cycle,
    CycleKind,
    Element,
    Person,
    Sign,
    Standing,
    Street,
    TrafficLight,
    Tree,
    Vehicle,
    VehicleKind,
)
from datum.streetscenes.drawing.streams import Stream
from datum.streetscenes.drawing.traffic import draw_vehicle

_VEHICLES: dict[str, VehicleKind] = {"car": "car", "truck": "truck", "bus": "bus", "train": "train"}
_DEPTHS: dict[VehicleKind, tuple[float, float]] = {"car": (6.5, 9.5), "train": (13.0, 17.0)}
_CYCLES: dict[str, tuple[CycleKind, ...]] = {
    "rider": ("bicycle", "bicycle", "motorcycle"),
    "bicycle": ("bicycle",),
    "motorcycle": ("motorcycle",),
}
EMPHASIZED = ("traffic light", "traffic sign", "person", *_CYCLES, *_VEHICLES, "vegetation")
"""Classes that a scene can be asked to show; a train stands in no other scene."""


def emphasis_of(seed: int) -> str | None:
    """For scenes to learn from: every second shows a class large and near, which one cycling through those
    that can be asked for."""
    return EMPHASIZED[seed // 2 % len(EMPHASIZED)] if seed % 2 else None


def emphasize(arrangement: Arrangement, name: str, stream: Stream) -> Arrangement:
    """Add one to three objects of a class near the camera; what stood in their way goes."""
    if name not in EMPHASIZED:
        raise ValueError(f"emphasis is {name!r}, expected one of {', '.join(EMPHASIZED)}")
    added = _draw(name, arrangement.street, stream)
    reach = {"truck": 5.0, "bus": 5.0, "train": 8.0}.get(name, 1.0)
    kept = [e for e in arrangement.elements if not any(_in_the_way(e, a, reach) for a in added)]
    return arranged(arrangement.street, [*kept, *added])


def _in_the_way(element: Element, added: Standing, reach: float) -> bool:
    """Whether a movable thing overlaps `added`, `reach` meters deep, or stands between it and the camera."""
    if not isinstance(element, Vehicle | Cycle | Person | Tree):
        return False
    half = 4.5 if isinstance(element, Vehicle) else 1.0
    if element.z - half > added.z + reach:
        return False
    return abs(element.x - added.x * element.z / added.z) < 3.2


def _draw(name: str, street: Street, stream: Stream) -> Sequence[Standing]:
    if name in _VEHICLES:
        return _draw_vehicles(_VEHICLES[name], stream)
    if name in _CYCLES:
        return _draw_cycles(stream.choice(_CYCLES[name]), name == "rider" or stream.chance(0.5), stream)
    if name == "person":
        return _draw_people(stream)
    if name == "vegetation":
        return _draw_trees(street, stream)
    return _draw_posts(name, street, stream)


def _draw_people(stream: Stream) -> list[Person]:
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


def _draw_trees(street: Street, stream: Stream) -> list[Tree]:
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


def _draw_posts(name: str, street: Street, stream: Stream) -> list[Standing]:
    """Signs or lights on the right curb, on an island in the middle of the street, or both."""
    curb, island = street.right.curb + 0.3, street.divider
    added: list[Standing] = []
    for x in stream.choice(((curb,), (island,), (curb, island))):
        z = max(abs(x) / 0.36, stream.uniform(5.5, 7.5))  # no farther aside than the narrowest view shows
        if name == "traffic light":
            added.append(TrafficLight(x=x, z=z, height=3.5, size=z * stream.uniform(0.16, 0.21)))
        else:
            size, height = z * stream.uniform(0.17, 0.23), stream.uniform(2.0, 2.6)
            added.append(Sign(x=x, z=z, height=height, size=size, kind=stream.choice(SIGN_KINDS)))
    return added


def _draw_cycles(kind: CycleKind, ridden: bool, stream: Stream) -> list[Cycle]:
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


def _draw_vehicles(kind: VehicleKind, stream: Stream) -> list[Vehicle]:
    """One in the ego lane, one that comes, one that crosses, or the first two together."""
    # The depth of the middle: the longer, the farther, so that all of it lies before the camera.
    z = stream.uniform(*_DEPTHS.get(kind, (11.0, 14.0)))
    ahead, coming = (0.0, 0.0, z), (-LANE, math.pi, z + stream.uniform(0.0, 4.0))
    crossing = (-LANE / 2, stream.sign() * math.pi / 2, z if kind == "car" else z - 3.0)
    places = stream.choice(((ahead,), (coming,), (crossing,), (ahead, coming)))
    # From straight ahead or behind, nothing but the end of a train would show.
    slant = 0.2 * stream.sign() if kind == "train" and places != (crossing,) else 0.0
    return [
        draw_vehicle(
            stream, x + stream.uniform(-0.3, 0.3), depth, heading + slant + stream.uniform(-0.15, 0.15), kind
        )
        for x, heading, depth in places
    ]
