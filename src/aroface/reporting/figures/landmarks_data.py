"""How far alignment errors move a face's landmarks, and whether that tells what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from aroface.embedding.alignment_sweep import Directions, Variant, error_matrices
from aroface.faces.geometry import TEMPLATE, TEMPLATE_SIZE, transform
from aroface.reporting.figures.curves import Curve

_BEARINGS = 360


@dataclass(frozen=True, slots=True)
class Point:
    """One alignment error.

    Attributes:
        factor: its kind.
        displacement: by how much it moves the landmarks, see :func:`mean_displacement`.
        drop: what it costs, a difference of fractions, mean over seeds.
        low: lower end of the 95 % bootstrap interval of the drop.
        high: upper end.
    """

    factor: str
    displacement: float
    drop: float
    low: float
    high: float


def mean_displacement(variant: Variant, joint_maximum: Mapping[str, float]) -> float:
    """Mean distance in pixels by which an error moves the five landmarks of the template in a crop of 112×112.

    The mean over landmarks and over the directions that :func:`.alignment_sweep.draw_directions` draws from:
    both signs of scale and rotation, all bearings of the shift. Errors of one factor are as large in every direction.

    Args:
        variant: kind and size of the error.
        joint_maximum: option of the protocol.
    """
    signs, bearings = np.array([-1.0, 1.0]), np.arange(_BEARINGS) * (2 * np.pi / _BEARINGS)
    scale, rotation, bearing = (each.ravel() for each in np.meshgrid(signs, signs, bearings))
    matrices = error_matrices(variant, Directions(scale, rotation, bearing), joint_maximum, TEMPLATE_SIZE)
    return float(np.linalg.norm(transform(matrices, TEMPLATE) - TEMPLATE, axis=-1).mean())


def points(found: Mapping[tuple[str, str], Curve], quality: str, options: Mapping[str, Any]) -> list[Point]:
    """The errors of one experiment's curves at one quality, but for the undistorted probes.

    Args:
        found: its curves by quality and factor.
        quality: of the probes.
        options: of the protocol.
    """
    maximum = options["joint_maximum"]
    return [
        Point(factor, mean_displacement(Variant(None, factor, level), maximum), drop, low, high)
        for (each, factor), curve in found.items()
        if each == quality
        for level, drop, low, high in zip(curve.levels, curve.drop, curve.drop_low, curve.drop_high, strict=True)
        if level > 0
    ]


def rank_correlation(found: Sequence[Point]) -> float | None:
    """Spearman's correlation of displacement and drop; None where either is the same for all."""
    displacements, drops = [each.displacement for each in found], [each.drop for each in found]
    if len({*displacements}) < 2 or len({*drops}) < 2:
        return None
    return float(spearmanr(displacements, drops).statistic)
