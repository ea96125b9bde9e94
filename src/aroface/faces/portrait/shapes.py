"""Outlines in the frame of the head, and the curves that they are made of.

The frame has x to the viewer's right, y down and z towards the viewer. Its unit is a pixel of the 112-pixel template
on an average face; its origin lies between eyes and nose tip, in the axis that the head turns about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Colour = Floats | Sequence[float]

SKULL = (39.0, 66.0, 44.0)
"""Half-axes of the ellipsoid that the features lie on."""
SKULL_Y = -9.0


@dataclass(frozen=True, slots=True)
class Shape:
    """An outline to be filled, or a bundle of strands to be drawn as thin lines.

    Attributes:
        points: (N, P, 3) for an outline, (N, K, P, 3) for K strands.
        colour: RGB in 0..255 under even light, (N, 3) or one for all.
        weight: Weight of light and of the texture of the skin, 0 (as the backdrop) to 1 (skin).
        visible: (N,) bool, or None for always.
    """

    points: Floats
    colour: Colour
    weight: float = 1.0
    visible: npt.NDArray[np.bool_] | None = None


def depth(x: Floats, y: Floats) -> Floats:
    """The skull's surface z at (x, y)."""
    a, b, c = SKULL
    return c * np.sqrt(np.maximum(1 - (x / a) ** 2 - ((y - SKULL_Y) / b) ** 2, 0.02))


def stack(*coordinates: Any) -> Floats:
    """Broadcast coordinates against each other and stack them on a last axis."""
    return np.stack(np.broadcast_arrays(*coordinates), axis=-1)


def on_skull(x: Any, y: Any, lift: Any = 0.0) -> Floats:
    """Points (..., 3) that lie ``lift`` above the skull at (x, y)."""
    return stack(x, y, depth(np.asarray(x), np.asarray(y)) + lift)


def column(*values: Any) -> Floats:
    """Traits (N,) and numbers side by side: (N, len(values))."""
    return stack(*values)


def mirrored(half: Floats, sign: float) -> Floats:
    """Continue (N, P) coordinates of one half backwards on the other: the same (1) or opposite (-1) values."""
    return np.concatenate([half, sign * half[:, ::-1]], axis=1)


def ribbon(first: Floats, second: Floats) -> Floats:
    """The outline (N, 2P, D) between two curves (N, P, D)."""
    return np.concatenate([first, second[:, ::-1]], axis=1)


def strands(*points: Floats) -> Floats:
    """K strands (N, K, P, 3) from the K first, second … points of all of them, (N, K, 3) each."""
    return np.stack(points, axis=2)


def curve(points: Floats, steps: int = 4, closed: bool = True) -> Floats:
    """Smooth curve (N, samples, D) through control points (N, C, D), ``steps`` samples from one to the next."""
    return _catmull_rom(points.shape[1], steps, closed) @ points


@cache
def circle(count: int) -> tuple[Floats, Floats]:
    """Cosine and sine of ``count`` equal steps around the circle."""
    angle = np.arange(count) * (2 * np.pi / count)
    return np.cos(angle), np.sin(angle)


@cache
def _catmull_rom(count: int, steps: int, closed: bool) -> Floats:
    """Weights (samples, count) of a Catmull-Rom spline through ``count`` points."""
    segments = count if closed else count - 1
    t = np.arange(steps) / steps
    basis = 0.5 * stack(-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2)
    weights = np.zeros((segments * steps + (not closed), count))
    for segment in range(segments):
        for offset in range(4):
            index = segment + offset - 1
            index = index % count if closed else min(max(index, 0), count - 1)
            weights[segment * steps : (segment + 1) * steps, index] += basis[:, offset]
    if not closed:
        weights[-1, -1] = 1
    return weights
