"""Five-point alignment: the ArcFace template, similarity transforms and the warp that applies them.

Points are (x, y) in pixels with pixel centres at integer coordinates. A transform is a 2×3 matrix ``[A | t]`` that maps
a source point p to ``A p + t``; y points down, so that a positive angle turns clockwise on the screen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from aroface.errors import InputError

FloatArray = npt.NDArray[np.floating[Any]]
Image = npt.NDArray[np.uint8]

TEMPLATE_SIZE = 112
TEMPLATE: npt.NDArray[np.float32] = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
"""Left eye, right eye, nose, left and right mouth corner (the viewer's left first) in a 112×112 crop.

Source: insightface ``face_align.arcface_dst``.
"""
TEMPLATE.setflags(write=False)


def template(size: int = TEMPLATE_SIZE) -> npt.NDArray[np.float32]:
    """The five-point template of a crop of ``size`` × ``size`` pixels, (5, 2)."""
    return TEMPLATE * np.float32(size / TEMPLATE_SIZE)


def similarity(source: npt.ArrayLike, target: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Least-squares similarity (rotation, uniform scale, shift) that maps ``source`` onto ``target``.

    In the plane the least-squares solution without reflection has a closed form; it equals Umeyama, "Least-squares
    estimation of transformation parameters between two point patterns", TPAMI 1991, eq. 40-43.

    Args:
        source: Points (..., P, 2), P >= 2; leading dimensions broadcast against those of ``target``.
        target: Points (..., P, 2).

    Returns:
        Matrices (..., 2, 3).

    Raises:
        InputError: A coordinate is not finite, or all the source points of one set coincide.
    """
    here, there = np.broadcast_arrays(np.asarray(source, np.float64), np.asarray(target, np.float64))
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is an error below
        here_mean, there_mean = here.mean(axis=-2), there.mean(axis=-2)
        x, y = np.moveaxis(here - here_mean[..., None, :], -1, 0)
        u, v = np.moveaxis(there - there_mean[..., None, :], -1, 0)
        spread = (x * x + y * y).sum(axis=-1)
    usable = np.isfinite(spread) & np.isfinite(there_mean).all(axis=-1) & (spread > 1e-12)
    if not usable.all():
        raise InputError(
            "landmarks are not finite or all coincide",
            where=f"face {int(np.flatnonzero(~np.ravel(usable))[0])}" if usable.ndim else None,
            expected="five distinct points in pixels",
        )
    cosine = (x * u + y * v).sum(axis=-1) / spread
    sine = (x * v - y * u).sum(axis=-1) / spread
    return _assemble(cosine, sine, here_mean, there_mean)


def similarity_matrix(
    scale: npt.ArrayLike,
    degrees: npt.ArrayLike,
    shift_x: npt.ArrayLike,
    shift_y: npt.ArrayLike,
    size: int = TEMPLATE_SIZE,
) -> npt.NDArray[np.float64]:
    """Similarities about the centre of an image: the alignment errors of faces that are already aligned.

    Args:
        scale: Factor, > 1 enlarges the face; scalar or (N,) as all arguments.
        degrees: Rotation, positive clockwise on the screen.
        shift_x: Shift to the right, as a fraction of the image width.
        shift_y: Shift downwards, as a fraction of the image width.
        size: Width and height of the image in pixels.

    Returns:
        Matrices (N, 2, 3) from the aligned to the erroneous frame; N = 1 where all arguments are scalars.
    """
    arrays = (np.asarray(value, np.float64) for value in (scale, degrees, shift_x, shift_y))
    factor, angle, right, down = np.broadcast_arrays(*(np.atleast_1d(array) for array in arrays))
    radians = np.radians(angle)
    centre = np.full((len(factor), 2), (size - 1) / 2)
    shift = np.stack([right, down], axis=-1) * size
    return _assemble(factor * np.cos(radians), factor * np.sin(radians), centre, centre + shift)


def transform(matrices: npt.ArrayLike, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Apply matrices (..., 2, 3) to points (..., P, 2)."""
    matrix = np.asarray(matrices, np.float64)
    moved: npt.NDArray[np.float64] = np.asarray(points, np.float64) @ np.swapaxes(matrix[..., :2], -1, -2)
    return moved + matrix[..., None, :, 2]


def warp(image: Image, matrix: npt.ArrayLike, size: int = TEMPLATE_SIZE) -> Image:
    """Resample an image (H, W) or (H, W, C) by a 2×3 ``matrix`` to ``size`` × ``size``: bilinear, black outside.

    Source: ``cv2.warpAffine(..., borderValue=0.0)`` as in insightface ``face_align.norm_crop``.
    """
    import cv2  # the template alone, which the adversary needs, does without

    forward = np.asarray(matrix, np.float64)
    return np.asarray(cv2.warpAffine(image, forward, (size, size), flags=cv2.INTER_LINEAR, borderValue=0.0), np.uint8)


def align(image: Image, landmarks: npt.ArrayLike, size: int = TEMPLATE_SIZE) -> Image:
    """Crop one face (H, W, 3) by the similarity that maps its five ``landmarks`` (5, 2) onto the template.

    Raises:
        InputError: The landmarks are not finite or all coincide.
    """
    return warp(image, similarity(landmarks, template(size)), size)


def _assemble(
    cosine: FloatArray, sine: FloatArray, source_centre: FloatArray, target_centre: FloatArray
) -> npt.NDArray[np.float64]:
    """Matrices that turn and scale by (cosine, sine) and take ``source_centre`` to ``target_centre``."""
    matrix = np.empty((*np.shape(cosine), 2, 3))
    matrix[..., 0, 0] = matrix[..., 1, 1] = cosine
    matrix[..., 1, 0] = sine
    matrix[..., 0, 1] = -np.asarray(sine)
    matrix[..., 2] = target_centre - (matrix[..., :2] @ source_centre[..., None])[..., 0]
    return matrix
