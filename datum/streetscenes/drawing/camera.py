"""The camera of a scene: from meters in the street to pixels in the picture."""

import dataclasses

NEAREST = 0.9
"""Meters: nothing nearer is drawn, so that no projection divides by zero."""

Pixel = tuple[float, float]
"""Column and row."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera at the origin of x (right) and z (ahead), looking along z; y is up from the road."""

    height: int
    """Pixels."""
    width: int
    """Pixels."""
    focal: float
    """Pixels."""
    center: float
    """Column of the vanishing point, pixels."""
    horizon: float
    """Row of the horizon, pixels."""
    eye: float
    """Height of the camera above the road, meters."""
    bend: float
    """Sideways drift of the street, meters per meter squared: it lies at x = bend * z * z."""

    def project(self, x: float, y: float, z: float) -> Pixel:
        """Column and row of a point given in meters; x counts from the middle of the ego lane."""
        if z < NEAREST:
            z = NEAREST
        scale = self.focal / z
        return self.center + (x + self.bend * z * z) * scale, self.horizon + (self.eye - y) * scale

    def scale(self, z: float) -> float:
        """Pixels per meter at a depth of z meters."""
        return self.focal / max(z, NEAREST)
