"""What can stand in a street. All lengths are meters; x is right of the ego lane's middle, z is ahead."""

import dataclasses
from typing import Literal

LANE = 3.3
"""Width of a lane, meters."""
FARTHEST = 60.0
"""Depth, meters, beyond which only houses are drawn: anything else would be a pixel or two."""
BACKDROP = 130.0
"""Depth, meters, of the skyline."""
STORY = 3.0
"""Height of a story, meters."""

BarrierKind = Literal["wall", "fence", "hedge"]
SignKind = Literal["round", "triangle", "rectangle", "diamond", "stop"]
VehicleKind = Literal["car", "truck", "bus", "train"]
"""A train is a tram: it shares the road."""
CycleKind = Literal["bicycle", "motorcycle"]
SIGN_KINDS: tuple[SignKind, ...] = ("round", "triangle", "rectangle", "diamond", "stop")


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
    crosswalk: float | None
    """Depth where a crosswalk begins."""
    end: float
    """Depth where the street ends."""
    closed: bool
    """Houses stand across the street's end; otherwise it runs to the horizon."""

    def in_junction(self, z: float, margin: float) -> bool:
        """Whether a depth lies in the junction or within `margin` meters of it."""
        return self.junction is not None and self.junction[0] - margin < z < self.junction[1] + margin


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frontage:
    """What reaches from one depth to another along the street."""

    side: int
    """-1 left, 1 right, 0 for a house across the street's end."""
    x: float
    """Of the façade along the street; of the left edge for a house across."""
    near: float
    far: float

    @property
    def depth(self) -> float:
        """The depth that decides who is painted first."""
        return self.far


@dataclasses.dataclass(frozen=True, kw_only=True)
class Building(Frontage):
    stories: int
    breadth: float
    """How far it reaches away from the street, or along x for a house across."""
    exposed: bool
    """Nothing hides the face toward the camera: no taller house adjoins it there."""
    shop: bool
    pitched: bool
    """With a pitched roof, not a flat one."""

    @property
    def height(self) -> float:
        return self.stories * STORY + 1.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Barrier(Frontage):
    """A wall, fence or hedge along the street with green behind it."""

    height: float
    kind: BarrierKind


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standing:
    """What stands in one place."""

    x: float
    z: float

    @property
    def depth(self) -> float:
        """The depth that decides who is painted first."""
        return self.z


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tree(Standing):
    height: float
    crown: float
    """Radius of the crown."""
    shape: int
    """Which of the stored crown shapes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lamp(Standing):
    """A street lamp with its arm over the road."""

    height: float
    arm: float
    """Reach of the arm along x, signed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bollard(Standing):
    """A short post on the curb."""

    height: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrafficLight(Standing):
    height: float
    size: float
    """Height of the housing."""
    arm: float = 0.0
    """Reach of an arm that carries a second housing over the road, signed; 0 for none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sign(Standing):
    height: float
    size: float
    """Diameter."""
    kind: SignKind


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vehicle(Standing):
    heading: float
    """Radians clockwise from straight ahead: 0 drives away from the camera, pi comes toward it."""
    kind: VehicleKind
    model: int
    moving: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cycle(Standing):
    heading: float
    """Radians as for vehicles."""
    kind: CycleKind
    ridden: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Person(Standing):
    height: float
    facing: float
    """Radians as for vehicles."""
    gait: float
    """Phase of the step, 0 to 1; below 0 the person stands."""


Element = Frontage | Standing
