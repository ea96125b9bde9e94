"""From a raw crop of one person to an aligned face: squared, enlarged, searched, and aligned by what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from aroface.faces.detection.detector import DetectedFace, Image, overlap
from aroface.faces.geometry import TEMPLATE_SIZE, similarity, template, transform, warp

FACE, CANVAS = 128, 192
"""Of 112/160, 128/192 and 160/224 with SCRFD-2.5G on 1,500 faces of LFW at 14 to 112 pixels: the smallest that missed
none at 24 pixels and more. Larger ones placed the points worse on small faces, and are slower."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Presentation of a crop to the detector.

    Attributes:
        face: Side in pixels to which the squared crop is brought.
        canvas: Side of the black square in whose middle it is shown: a detector wants to see where a face ends.
    """

    face: int = FACE
    canvas: int = CANVAS

    def __post_init__(self) -> None:
        if not 0 < self.face <= self.canvas:
            raise ValueError(f"face {self.face} and canvas {self.canvas}, expected 0 < face <= canvas")


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """Result of aligning a crop.

    Attributes:
        image: Aligned face, uint8 (112, 112, 3); the squared crop, resized, where no face was found.
        face: Face in pixels of the crop, None where none was found.
        faces: Number of faces found.
    """

    image: Image
    face: DetectedFace | None
    faces: int


def squarify(image: Image) -> Image:
    """The image in the middle of a black square of its longer side."""
    return _centred(image, max(image.shape[:2]))


def show(image: Image, setting: Setting = Setting()) -> Image:
    """Canvas with a crop, as the detector sees it, uint8 (canvas, canvas, 3)."""
    return _centred(_resize(squarify(image), setting.face), setting.canvas)


def placement(height: int, width: int, setting: Setting = Setting()) -> npt.NDArray[np.float64]:
    """The matrix (2, 3) from the pixels of a crop to those that the detector sees."""
    side = max(height, width)
    scale, margin = setting.face / side, (setting.canvas - setting.face) // 2
    start = np.array([(side - width) // 2, (side - height) // 2])
    # Resizing keeps the outer edges of the pixels in their places, not their centres.
    offset = scale * (start + 0.5) - 0.5 + margin
    return np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])


def finish(image: Image, faces: Sequence[DetectedFace], setting: Setting = Setting()) -> Aligned:
    """Align a raw crop of one labelled person by one of the faces that were found in what `show` gave.

    The pixels of the crop itself are resampled, once; the enlarged one is for the detector alone. Of several faces the
    one is taken whose box overlaps the crop most (intersection over union): the crop is the box that was labelled with
    the person. The largest face alone could be a neighbour that the crop cuts, the nearest to its centre a false find
    in the middle of the face.

    Args:
        image: Crop, uint8 (H, W, 3), RGB, of any size.
        faces: Faces that the detector found.
        setting: Way the crop was shown to it.
    """
    if not faces:
        return Aligned(_resize(squarify(image), TEMPLATE_SIZE), None, 0)
    height, width = image.shape[:2]
    forth = placement(height, width, setting)
    crop = transform(forth, [[-0.5, -0.5], [width - 0.5, height - 0.5]]).ravel()
    chosen = located(faces[int(np.argmax(overlap(crop, [face.box for face in faces])))], forth)
    aligned = warp(image, similarity(chosen.points, template()))
    return Aligned(aligned, chosen, len(faces))


def located(face: DetectedFace, forth: npt.NDArray[np.float64]) -> DetectedFace:
    """A face in pixels of the image that was shown; ``forth`` leads from there to what the detector saw."""
    scale, offset = forth[0, 0], forth[:, 2]
    points = ((face.points - offset) / scale).astype(np.float32)
    box = ((face.box.reshape(2, 2) - offset) / scale).astype(np.float32).ravel()
    return DetectedFace(box, points, face.score)


def _centred(image: Image, side: int) -> Image:
    height, width = image.shape[:2]
    if height == width == side:
        return image
    square = np.zeros((side, side, 3), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = image
    return square


def _resize(square: Image, side: int) -> Image:
    if len(square) == side:
        return square
    interpolation = cv2.INTER_AREA if len(square) > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (side, side), interpolation=interpolation), np.uint8)
