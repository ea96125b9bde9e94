"""Faces of photographs of any size: found where they are, placed at full resolution, and cut out aligned.

A photograph is shown to the detector whole, reduced to a side at which its network finds faces of a twentieth of it.
In a photograph without a face at that scale the search goes on as in a crop that the face fills
(:mod:`aroface.faces.detection.crops`). The landmarks of a face that was found in a reduced photograph are then found
again in a square about it at full resolution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from aroface.datasets.images import Pixels
from aroface.datasets.preparation.box_crops import cut, padded_square
from aroface.errors import InputError
from aroface.faces.detection.crops import Setting, located, placement, show
from aroface.faces.detection.detector import DetectedFace, Detector, overlap
from aroface.faces.geometry import align, similarity, template

FaceChoice = Literal["largest", "best", "all"]

SEVERAL: Mapping[FaceChoice, str] = MappingProxyType(
    {"largest": "several faces, the largest taken", "best": "several faces, the one of the best score taken"}
)
"""Kind of the photographs with several faces, of which none is left out, by the rule that takes one."""

DETECT_SIZE = 640
"""Longer side in pixels to which a photograph is reduced for the detector, as SCRFD's authors evaluate it."""

_CROP = Setting()
_COARSEST = 32  # stride of a detector of the SCRFD family
_CLOSE_UP = Setting(256, 256)  # of the square about a face, which fills half of it
_SURROUNDINGS = 0.5  # part of the face's side that the square has beyond it on each side
_SAME = 0.3  # intersection over union of two boxes of one face
_SMALLEST = 1e-3  # pixels by which five landmarks differ at least


@dataclass(frozen=True, slots=True, eq=False)
class ShownPhotograph:
    """A photograph and what a detector sees of it.

    Attributes:
        image: Photograph, uint8 (H, W, 3), RGB.
        setting: Way in which it is shown.
        shown: Square that the detector sees, uint8 (canvas, canvas, 3).
    """

    image: Pixels
    setting: Setting
    shown: Pixels


def show_photograph(image: Pixels, detect_size: int = DETECT_SIZE) -> ShownPhotograph:
    """Bring a photograph to the scale at which a detector is to see it.

    Args:
        image: Photograph, uint8 (H, W, 3), RGB, of any size.
        detect_size: Longer side in pixels to which it is reduced; a smaller one keeps its size.
    """
    longer = max(image.shape[:2])
    side = min(longer, detect_size)
    setting = _CROP if longer <= _CROP.face else Setting(side, -(-side // _COARSEST) * _COARSEST)
    return ShownPhotograph(image, setting, show(image, setting))


def find_faces(photographs: Sequence[ShownPhotograph], detector: Detector) -> list[list[DetectedFace]]:
    """The faces of each photograph in its own pixels, the largest box first.

    Args:
        photographs: Photographs, as `show_photograph` gives them.
        detector: Detector.
    """
    found = _detect([each.image for each in photographs], photographs, detector)
    bare = [number for number, faces in enumerate(found) if not faces and photographs[number].setting != _CROP]
    images = [photographs[number].image for number in bare]
    again = [ShownPhotograph(image, _CROP, show(image, _CROP)) for image in images]
    for number, faces in zip(bare, _detect(images, again, detector), strict=True):
        found[number] = faces
    reduced = [
        (number, place)
        for number, faces in enumerate(found)
        for place, face in enumerate(faces)
        if _gains(face, photographs[number])
    ]
    close = [_close_up(photographs[number].image, found[number][place], detector) for number, place in reduced]
    for (number, place), face in zip(reduced, close, strict=True):
        found[number][place] = face
    return [sorted(faces, key=lambda face: -_area(face)) for faces in found]


def choose(faces: Sequence[DetectedFace], which: FaceChoice) -> list[int]:
    """Numbers of the faces that a rule takes.

    Args:
        faces: Faces of a photograph, the largest first.
        which: ``largest`` box, ``best`` score, or ``all``.
    """
    if which == "all" or not faces:
        return list(range(len(faces)))
    return [0] if which == "largest" else [int(np.argmax([face.score for face in faces]))]


def check_choice(which: str) -> None:
    """Refuse an unknown rule.

    Raises:
        InputError: It is none of `FaceChoice`.
    """
    if which not in get_args(FaceChoice):
        raise InputError(f"faces {which!r}", expected=" or ".join(get_args(FaceChoice)))


def cut_face(image: Pixels, points: npt.NDArray[np.float32], size: int) -> Pixels:
    """Align a face of a photograph; one of more than twice the size is averaged first, else its pixels would alias.

    Args:
        image: Photograph, uint8 (H, W, 3).
        points: Landmarks (5, 2) in its pixels.
        size: Side of the aligned face in pixels.

    Returns:
        uint8 (size, size, 3).
    """
    matrix = similarity(points, template(size))
    factor = int(1 / np.hypot(matrix[0, 0], matrix[0, 1]))
    if factor < 2:
        return align(image, points, size)
    back = np.linalg.inv(matrix[:, :2])
    corners = (np.array([[0, 0], [size, 0], [0, size], [size, size]]) - matrix[:, 2]) @ back.T
    left, top = (int(value) for value in np.floor(corners.min(axis=0)) - factor)
    cells = int(np.ceil(np.ptp(corners, axis=0).max() / factor)) + 3
    square = cut(image, left, top, cells * factor)
    averaged = np.asarray(cv2.resize(square, (cells, cells), interpolation=cv2.INTER_AREA), np.uint8)
    return align(averaged, (points - [left, top] + 0.5) / factor - 0.5, size)


def _detect(images: Sequence[Pixels], shown: Sequence[ShownPhotograph], detector: Detector) -> list[list[DetectedFace]]:
    """The faces in pixels of the images, of which the detector sees what is shown."""
    detections = detector.detect([each.shown for each in shown]) if shown else []
    forth = [placement(image.shape[0], image.shape[1], each.setting) for image, each in zip(images, shown, strict=True)]
    placed = [[located(face, way) for face in faces] for faces, way in zip(detections, forth, strict=True)]
    return [[face for face in faces if _usable(face)] for faces in placed]


def _usable(face: DetectedFace) -> bool:
    finite = np.isfinite(face.points).all() and np.isfinite(face.box).all()
    return bool(finite and np.ptp(face.points, axis=0).max() > _SMALLEST and _area(face) > 0)


def _gains(face: DetectedFace, photograph: ShownPhotograph) -> bool:
    """Tell whether a square about a face shows more of it than the photograph as the detector saw it."""
    height, width = photograph.image.shape[:2]
    scale = photograph.setting.face / max(height, width)
    return bool(scale < 1 and scale * _side(face) * (1 + 2 * _SURROUNDINGS) < _CLOSE_UP.face)


def _close_up(image: Pixels, face: DetectedFace, detector: Detector) -> DetectedFace:
    """The face again, found in a square about it; as it is where nothing is found there."""
    left, top, right, bottom = map(float, face.box)
    corner_x, corner_y, side = padded_square((left, top, right - left, bottom - top), _SURROUNDINGS)
    square = cut(image, corner_x, corner_y, side)
    corner = np.array([corner_x, corner_y], np.float32)
    (faces,) = _detect([square], [ShownPhotograph(square, _CLOSE_UP, show(square, _CLOSE_UP))], detector)
    if not faces:
        return face
    moved = [DetectedFace(each.box + np.tile(corner, 2), each.points + corner, each.score) for each in faces]
    shared = overlap(face.box, [each.box for each in moved])
    nearest = int(np.argmax(shared))
    # The score stays that of the photograph: one scale for all faces of it.
    return DetectedFace(moved[nearest].box, moved[nearest].points, face.score) if shared[nearest] >= _SAME else face


def _side(face: DetectedFace) -> float:
    return float(max(face.box[2] - face.box[0], face.box[3] - face.box[1]))


def _area(face: DetectedFace) -> float:
    return float(np.prod(np.clip(face.box[2:] - face.box[:2], 0, None)))
