"""The camera of a scene: from metres in the street to pixels in the picture."""

from __future__ import annotations

import dataclasses

NEAREST = 0.9
"""Metres: nothing nearer is drawn, so that no projection divides by zero."""

Pixel = tuple[float, float]


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
    """Height of the camera above the road, metres."""
    bend: float
    """Sideways drift of the street, metres per metre squared: it lies at x = bend * z * z."""

    def project(self, x: float, y: float, z: float) -> Pixel:
        """Column and row of a point given in metres; x counts from the middle of the ego lane."""
        if z < NEAREST:
            z = NEAREST
        scale = self.focal / z
        return self.center + (x + self.bend * z * z) * scale, self.horizon + (self.eye - y) * scale

    def scale(self, z: float) -> float:
        """Pixels per metre at a depth of z metres."""
        return self.focal / max(z, NEAREST)
