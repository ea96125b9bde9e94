"""Crops by the box that a release gives for a face, as AdaFace's readme cuts IJB-S: squared, padded, black outside."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from aroface.datasets.images import Pixels
from aroface.faces.geometry import TEMPLATE, TEMPLATE_SIZE

PADDING = 0.1
"""Part of its side by which a squared box grows on each of its sides."""

_LARGEST = 4  # sides of the image that one of a box may have

LOOSE_SIDE = 256
"""Side in pixels to which IJB-S's crops are brought before they are aligned."""

Float32 = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels."""


def padded_square(box: Box, padding: float = PADDING) -> tuple[int, int, int]:
    """Left, top and side, in whole pixels, of the square about a box, padded."""
    left, top, width, height = box
    side = max(width, height)
    left, top = left + (width - side) / 2 - padding * side, top + (height - side) / 2 - padding * side
    return round(left), round(top), max(round(side * (1 + 2 * padding)), 1)


def cut(image: Pixels, left: int, top: int, side: int) -> Pixels:
    """Square of an image, uint8 (side, side, 3); black where the image ends."""
    crop = np.zeros((side, side, 3), np.uint8)
    height, width = image.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if x0 < x1 and y0 < y1:
        crop[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    return crop


def loose_crop(image: Pixels, box: Box) -> Pixels:
    """Squared and padded box, at `LOOSE_SIDE` pixels."""
    crop = cut(image, *padded_square(box))
    return np.asarray(cv2.resize(crop, (LOOSE_SIDE, LOOSE_SIDE), interpolation=cv2.INTER_LINEAR), np.uint8)


def touches(image: Pixels, box: Box) -> bool:
    """Return whether a box has an area, a part of it within the image, and no side far beyond the image's."""
    left, top, width, height = box
    sides = np.isfinite(box).all() and width > 0 and height > 0
    small = sides and max(width, height) <= _LARGEST * max(image.shape[:2])  # a crop of it is allocated
    return bool(small and left < image.shape[1] and top < image.shape[0] and left + width > 0 and top + height > 0)


def points_in_box(left: float, top: float, side: float) -> Float32:
    """Landmarks (5, 2) of a face that fills a square as the template does."""
    return np.asarray(TEMPLATE / TEMPLATE_SIZE * side + [left, top], np.float32)
