"""Grid of a sensitivity sweep: the variants of a pair set, and the alignment error of each image.

Each pair has one direction for each error, drawn once: the sign of scale and of rotation and the bearing of the shift.
All levels, factors and qualities use these, so that the points of a curve differ by the size of the error alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

HIGH_QUALITY = "hq"
LEVELS = {"scale": "scale", "rotation": "degrees", "shift": "shift", "joint": "joint"}
"""Option that lists the levels of a factor of alignment error, by the factor's name in records."""

_DIRECTIONS = 1301  # purpose of the random stream


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to spoil an image.

    Attributes:
        resolution: Side in pixels that it is reduced to; None leaves its quality alone.
        factor: Kind of alignment error, a key of :data:`LEVELS`; None leaves it aligned.
        level: Size of the error: relative (scale), degrees (rotation), fraction of the image width (shift), or multiple
            of the joint maximum (joint).
        other: Second factor and its level, for an error of two factors at once.
    """

    resolution: int | None = None
    factor: str | None = None
    level: float = 0.0
    other: tuple[str, float] | None = None

    @property
    def quality(self) -> str:
        """Name of the quality in records: ``hq``, ``r24`` ..."""
        return quality_key(HIGH_QUALITY if self.resolution is None else self.resolution)


def quality_key(quality: str | int) -> str:
    """Name in records of a quality as options list it: ``hq``, or the side in pixels that images are reduced to."""
    return HIGH_QUALITY if quality == HIGH_QUALITY else f"r{quality}"


def variants(options: Mapping[str, Any]) -> Iterator[Variant]:
    """List all variants of a sweep, quality by quality; each quality opens with the undistorted one.

    Pairs of factors in the option ``maps``, where there is one, come last, at all pairs of their ``map_levels``.
    """
    for quality in options["qualities"]:
        resolution = None if quality == HIGH_QUALITY else int(quality)
        yield Variant(resolution)
        for factor, option in LEVELS.items():
            for level in sorted(options[option]):
                yield Variant(resolution, factor, float(level))
        for one, other in options.get("maps", ()):
            for level, second in product(options["map_levels"][one], options["map_levels"][other]):
                yield Variant(resolution, one, float(level), (other, float(second)))


def number_of_variants(options: Mapping[str, Any]) -> int:
    """Number of all variants of a sweep."""
    return sum(1 for _ in variants(options))


@dataclass(frozen=True, slots=True)
class Directions:
    """Direction of each of N alignment errors.

    Attributes:
        scale: Signs (N,): 1 enlarges the face, -1 shrinks it.
        rotation: Signs (N,): 1 turns clockwise, -1 counter-clockwise.
        bearing: Angles (N,) of the shift in radians, 0 to the right.
    """

    scale: Floats
    rotation: Floats
    bearing: Floats

    def __getitem__(self, rows: slice | Integers) -> Directions:
        return Directions(self.scale[rows], self.rotation[rows], self.bearing[rows])


def draw_directions(number: int, seed: int) -> Directions:
    """Draw directions for ``number`` images: fair signs, a uniform bearing."""
    rng = np.random.default_rng([seed, _DIRECTIONS])
    signs = rng.choice([-1.0, 1.0], size=(2, number))
    return Directions(signs[0], signs[1], rng.uniform(0, 2 * np.pi, number))


def error_matrices(variant: Variant, directions: Directions, joint_maximum: Mapping[str, float], size: int) -> Floats:
    """Similarities (N, 2, 3) that take aligned images of ``size`` pixels to wrongly aligned ones.

    Args:
        variant: Kind and size of the error.
        directions: Directions of the N errors.
        joint_maximum: Joint error of level 1: ``scale``, ``degrees`` and ``shift``.
        size: Side of the images in pixels.
    """
    from aroface.faces.geometry import similarity_matrix  # which needs OpenCV, while a plan counts variants without it

    if variant.factor == "joint":
        scale, degrees, shift = (variant.level * joint_maximum[key] for key in ("scale", "degrees", "shift"))
    else:
        sizes = dict([(variant.factor, variant.level), *([variant.other] if variant.other else [])])
        scale, degrees, shift = (sizes.get(key, 0.0) for key in ("scale", "rotation", "shift"))
    return similarity_matrix(
        1 + scale * directions.scale,
        degrees * directions.rotation,
        shift * np.cos(directions.bearing),
        shift * np.sin(directions.bearing),
        size,
    )


def choose_pairs(same: Booleans, most: int | None) -> Integers:
    """Numbers of at most ``most`` pairs, ascending, evenly spaced among the genuine and among the impostor pairs.

    The share of each kind and, in sets made of folds, the share of each fold stay as they are.
    """
    if most is None or most >= len(same):
        return np.arange(len(same))
    kinds = [np.flatnonzero(same), np.flatnonzero(~same)]
    genuine = round(most * len(kinds[0]) / len(same))
    counts = (genuine, most - genuine)
    spaced = [kind[np.arange(count) * len(kind) // count] for kind, count in zip(kinds, counts, strict=True) if count]
    return np.sort(np.concatenate(spaced))
