"""What can stand in a street. All lengths are metres; x is right of the ego lane's middle, z is ahead."""

from __future__ import annotations

import dataclasses
from typing import Literal

LANE = 3.3
"""Width of a lane, metres."""

FARTHEST = 60.0
"""Depth, metres, beyond which only houses are drawn: anything else would be a pixel or two."""

Roof = Literal["flat", "pitched"]
BarrierKind = Literal["wall", "fence", "hedge"]
SignKind = Literal["round", "triangle", "rectangle", "diamond", "stop"]
VehicleKind = Literal["car", "truck", "bus"]
CycleKind = Literal["bicycle", "motorcycle"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """One side of the street, from the curb outwards."""

    sign: int
    """-1 left, 1 right."""
    curb: float
    """x of the curb."""
    verge: float
    """Width of the grass between curb and sidewalk, 0 for none."""
    sidewalk: float
    """Width of the sidewalk."""

    @property
    def walk(self) -> float:
        """x where the sidewalk begins."""
        return self.curb + self.sign * self.verge

    @property
    def frontage(self) -> float:
        """x where houses, walls and fences stand."""
        return self.walk + self.sign * self.sidewalk


@dataclasses.dataclass(frozen=True, kw_only=True)
class Street:
    """The ground of a scene."""

    left: Side
    right: Side
    divider: float
    """x of the line between the directions."""
    junction: tuple[float, float] | None
    """Depths between which another street crosses."""
    zebra: float | None
    """Depth where a zebra crossing begins."""
    end: float
    """Depth where the street ends."""
    closed: bool
    """Houses stand across the street's end; otherwise it runs to the horizon."""

    def in_junction(self, z: float, margin: float) -> bool:
        """Whether a depth lies in the junction or within `margin` metres of it."""
        return self.junction is not None and self.junction[0] - margin < z < self.junction[1] + margin


@dataclasses.dataclass(frozen=True, kw_only=True)
class Building:
    """A house along the street (side -1 or 1) or across its end (side 0)."""

    side: int
    x: float
    """Of the façade along the street; of the left edge for a house across."""
    near: float
    far: float
    height: float
    storeys: int
    breadth: float
    """How far it reaches away from the street, or along x for a house across."""
    shop: bool
    exposed: bool
    """Nothing hides the face towards the camera: no taller house adjoins it there."""
    roof: Roof


@dataclasses.dataclass(frozen=True, kw_only=True)
class Barrier:
    """A wall, fence or hedge along the street with green behind it."""

    side: int
    x: float
    near: float
    far: float
    height: float
    kind: BarrierKind


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tree:
    x: float
    z: float
    height: float
    crown: float
    """Radius of the crown."""
    shape: int
    """Which of the stored crown shapes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lamp:
    """A street lamp with its arm over the road."""

    x: float
    z: float
    height: float
    arm: float
    """Reach of the arm along x, signed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bollard:
    """A short post on the curb."""

    x: float
    z: float
    height: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrafficLight:
    x: float
    z: float
    height: float
    size: float
    """Height of the housing."""
    arm: float
    """Reach of an arm that carries a second housing over the road, signed; 0 for none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sign:
    x: float
    z: float
    height: float
    size: float
    """Diameter."""
    kind: SignKind


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vehicle:
    x: float
    z: float
    heading: float
    """Radians clockwise from straight ahead: 0 drives away from the camera, pi comes towards it."""
    kind: VehicleKind
    model: int
    moving: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cycle:
    x: float
    z: float
    heading: float
    kind: CycleKind
    ridden: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Person:
    x: float
    z: float
    height: float
    facing: float
    """Radians as for vehicles."""
    gait: float
    """Phase of the step, 0 to 1; below 0 the person stands."""


Element = Building | Barrier | Tree | Lamp | Bollard | TrafficLight | Sign | Vehicle | Cycle | Person


def depth_order(element: Element) -> float:
    """The depth that decides who is painted first: a frontage counts from its far end."""
    if isinstance(element, Building | Barrier):
        return element.far
    return element.z
