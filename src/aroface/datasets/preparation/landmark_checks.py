"""Plausibility of five landmarks: inside the image, in the template's order, in the shape of a face."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aroface.faces.geometry import TEMPLATE, similarity, transform

LARGEST_ANGLE = 60.0
"""Degrees that a head may be inclined. The largest of 13,233 faces of LFW is 46."""

LARGEST_MISFIT = 18.0
"""Root mean square distance from the template, in pixels of the 112×112 crop.

The largest of 13,233 faces of LFW is 13.6, a face in profile has 16.6; points in another order have 19 and more."""

LARGEST_ENLARGEMENT = 16.0
"""Times that a face may be enlarged: at 16 the eyes are 2.2 pixels apart."""

_MARGIN = 0.1  # of the longer side: detectors place points of faces that the border cuts a little outside
_CLEARLY = 3.0  # pixels by which a reflection fits better: in profile it fits as well
_OPPOSED = 0.3  # of the distance from eyes to mouth: the shorter of two opposite pairs of points
_BEYOND = 0.15  # of the distance from eyes to mouth: that the nose may lie above the eyes or below the mouth
_RELATIVE = 1.5  # the largest relative coordinate, of a point somewhat outside


def suspicion(points: npt.ArrayLike, height: int, width: int) -> str | None:
    """Reason why landmarks are implausible, as a short noun phrase; None if they are not.

    Args:
        points: (5, 2) in pixels, in the order of :data:`aroface.faces.geometry.TEMPLATE`.
        height: Height in pixels of the image that they belong to.
        width: Width of the image in pixels.

    Raises:
        InputError: A coordinate is not finite, or all points coincide.
    """
    landmarks = np.asarray(points, np.float64)
    matrix = similarity(landmarks, TEMPLATE)
    longer = max(height, width)
    if longer > 16 and landmarks.min() >= 0 and landmarks.max() <= _RELATIVE:
        return "relative coordinates (0 … 1) in place of pixels"
    mirrored = landmarks * [-1, 1]
    mirror = similarity(mirrored, TEMPLATE)
    misfit = _misfit(matrix, landmarks)
    if _misfit(mirror, mirrored) < min(misfit - _CLEARLY, LARGEST_MISFIT):
        # A reflection about the diagonal is one about the vertical axis and a quarter turn.
        turn = abs(_degrees(mirror))
        exchanged = {0: "left and right", 1: "x and y", 2: "top and bottom"}[round(turn / 90)]
        return f"{exchanged} exchanged"
    margin = _MARGIN * longer
    if (landmarks < -margin).any() or (landmarks > np.array([width, height]) - 1 + margin).any():
        return f"points outside the image of {width}×{height} pixels"
    if _opposed(landmarks):
        return "the eyes or the corners of the mouth exchanged"
    if misfit > LARGEST_MISFIT or not -_BEYOND < _height_of_nose(landmarks) < 1 + _BEYOND:
        return "points that no face has in this order"
    if abs(_degrees(matrix)) > LARGEST_ANGLE:
        return f"a face turned by more than {LARGEST_ANGLE:g}°: are these points of the photograph as it is shown?"
    if np.hypot(*matrix[:, 0]) > LARGEST_ENLARGEMENT:
        return f"a face to be enlarged more than {LARGEST_ENLARGEMENT:g} times"
    return None


def _opposed(points: npt.NDArray[np.float64]) -> bool:
    """Tell whether the line between the eyes and that between the corners of the mouth have opposite directions."""
    left, right, _, mouth_left, mouth_right = points
    height = np.linalg.norm((left + right - mouth_left - mouth_right) / 2)
    return bool((right - left) @ (mouth_right - mouth_left) < -((_OPPOSED * height) ** 2))


def _height_of_nose(points: npt.NDArray[np.float64]) -> float:
    """Position of the nose between the eyes (0) and the mouth (1)."""
    left, right, nose, mouth_left, mouth_right = points
    eyes = (left + right) / 2
    way = (mouth_left + mouth_right) / 2 - eyes
    return float((nose - eyes) @ way / max(way @ way, 1e-9))


def _misfit(matrix: npt.NDArray[np.float64], points: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt(((transform(matrix, points) - TEMPLATE) ** 2).sum(axis=1).mean()))


def _degrees(matrix: npt.NDArray[np.float64]) -> float:
    return float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))
