"""Grid of a sensitivity sweep: the variants of a set of pairs or templates, and the alignment error of each image.

Each pair, or each image of a template, has one direction for each error, drawn once: the sign of scale and of rotation
and the bearing of the shift. All levels, factors and qualities use these, so that the points of a curve differ by the
size of the error alone. An error of a model (:data:`MODELS`) has normal draws instead, likewise of all levels.
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

MODELS = ("adversary", "detector", "points")
"""Models of alignment errors, which are factors as well: options of these names list their levels, none by default.

``adversary``: the training adversary's step in random directions; a level multiplies it. ``detector``: errors of
SCRFD-2.5G as measured on faces of so many pixels, the level. ``points``: each of the five landmarks is displaced by so
many pixels of a crop of 112 on average, and the face is aligned by them.
"""

PIXELS = ("blur", "noise", "jpeg", "contrast", "occlusion")
"""Corruptions of pixels, which are factors as well: options of these names list their levels, none by default."""

_DIRECTIONS = 1301  # purpose of the random stream
_DRAWS = 1302
_FIRST_SIDE = 1303
_NUMBERS = 11  # normal draws of one error, as many as the adversary's takes
_MEAN_LENGTH = np.sqrt(np.pi / 2)  # mean length of a normal vector in the plane


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to spoil an image.

    Attributes:
        resolution: Side in pixels that it is reduced to; None leaves its quality alone.
        factor: Kind of error, a key of :data:`LEVELS` or a name of :data:`MODELS` or :data:`PIXELS`; None for none.
        level: Size of the error: relative (scale), degrees (rotation), fraction of the image width (shift), multiple
            of the joint maximum (joint), or as :data:`MODELS` or :mod:`aroface.faces.corruption` has it.
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
        for model in MODELS:
            for level in sorted(options.get(model, ())):
                yield Variant(resolution, model, float(level))
        for corruption in PIXELS:
            for level in sorted(options.get(corruption, ())):
                yield Variant(resolution, corruption, float(level))
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
        draws: Standard normal draws (N, 11) of errors that follow a model; None where there are no such errors.
    """

    scale: Floats
    rotation: Floats
    bearing: Floats
    draws: Floats | None = None

    def __getitem__(self, rows: slice | Integers) -> Directions:
        draws = None if self.draws is None else self.draws[rows]
        return Directions(self.scale[rows], self.rotation[rows], self.bearing[rows], draws)


def draw_directions(number: int, seed: int, *, models: bool = False, first_side: bool = False) -> Directions:
    """Draw directions for ``number`` images: fair signs, a uniform bearing.

    Args:
        number: Number of images, each with an error of its own.
        seed: Seed of the draws.
        models: True if there are errors that follow a model; their draws take 88 bytes an image.
        first_side: True for the first images of pairs, whose errors are others than those of the second ones.
    """
    side = (_FIRST_SIDE,) if first_side else ()
    rng = np.random.default_rng([seed, _DIRECTIONS, *side])
    signs = rng.choice([-1.0, 1.0], size=(2, number))
    draws = np.random.default_rng([seed, _DRAWS, *side]).standard_normal((number, _NUMBERS)) if models else None
    return Directions(signs[0], signs[1], rng.uniform(0, 2 * np.pi, number), draws)


def has_models(options: Mapping[str, Any]) -> bool:
    """True if a sweep has errors that follow a model."""
    return any(options.get(model) for model in MODELS)


def error_matrices(variant: Variant, directions: Directions, joint_maximum: Mapping[str, float], size: int) -> Floats:
    """Similarities (N, 2, 3) that take aligned images of ``size`` pixels to wrongly aligned ones.

    Args:
        variant: Kind and size of the error.
        directions: Directions of the N errors.
        joint_maximum: Joint error of level 1: ``scale``, ``degrees`` and ``shift``.
        size: Side of the images in pixels.
    """
    from aroface.faces.geometry import similarity_matrix  # which needs OpenCV, while a plan counts variants without it

    if variant.factor in MODELS:
        return _model_matrices(variant, directions, size)
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


def _model_matrices(variant: Variant, directions: Directions, size: int) -> Floats:
    if directions.draws is None:
        raise ValueError("directions without draws of a model")
    if variant.factor == "detector":
        return _detector_errors(variant.level, directions.draws, size)
    if variant.factor == "points":
        return _point_errors(variant.level, directions.draws, size)
    return _adversary_errors(variant.level, directions.draws, size)


def _detector_errors(resolution: float, draws: Floats, size: int) -> Floats:
    from aroface.faces.degrade import ALIGNMENT_ERRORS
    from aroface.faces.geometry import similarity_matrix

    scale, degrees, shift = ALIGNMENT_ERRORS["scrfd"].sds(resolution)
    return similarity_matrix(
        np.exp(scale * draws[:, 0]), degrees * draws[:, 1], shift * draws[:, 2], shift * draws[:, 3], size
    )


def _point_errors(pixels: float, draws: Floats, size: int) -> Floats:
    from aroface.faces.geometry import TEMPLATE_SIZE, similarity, template

    exact = template(size)
    sd = pixels / _MEAN_LENGTH * size / TEMPLATE_SIZE
    return similarity(exact + sd * draws[:, :10].reshape(-1, 5, 2), exact)


def _adversary_errors(strength: float, draws: Floats, size: int) -> Floats:
    """Similarities of the adversary's default options, but that the signs of its one step are random.

    A warp of the adversary shows at u, in [-1, 1]², the image at ``s R(theta) u + t``; these are the inverse.
    """
    from aroface.adversary.options import AdversaryOptions
    from aroface.faces.geometry import similarity_matrix

    options = AdversaryOptions(kind="random")
    starts, steps, signs = draws[:, :4], draws[:, 4:7], np.where(draws[:, 7:] < 0, -1.0, 1.0)
    sds = (options.start_sd_scale, options.start_sd_theta, options.start_sd_shift, options.start_sd_shift)
    factors = np.array([options.step_scale, options.step_theta, options.step_shift, options.step_shift])
    sizes = (options.step_mean + options.step_sd * steps)[:, [0, 1, 2, 2]]
    scale, theta, right, down = (strength * (np.array(sds) * starts + factors * sizes * signs)).T
    # At ten times the strength a scale may come to 0; the adversary's own lower limit of a scale is half.
    scale = np.maximum(1 + scale, 0.5)
    shift_x = -(np.cos(theta) * right + np.sin(theta) * down) / (2 * scale)
    shift_y = -(np.cos(theta) * down - np.sin(theta) * right) / (2 * scale)
    return similarity_matrix(1 / scale, -np.degrees(theta), shift_x, shift_y, size)


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
