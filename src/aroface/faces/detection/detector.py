"""Interface of a face detector: images in, faces with five landmarks out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Fact = str | int | float

NO_FACE = "no face found"
"""Kind of the images in which there is none."""

_INCIDENTAL = ("file", "onnxruntime", "provider")


@dataclass(frozen=True, slots=True, eq=False)
class DetectedFace:
    """One face in an image; pixel centres are at integer coordinates.

    Attributes:
        box: Left, top, right, bottom in pixels, float32 (4,).
        points: Landmarks, float32 (5, 2), in pixels and in the order of :data:`aroface.faces.geometry.TEMPLATE`: left
            eye, right eye, nose, left and right mouth corner, left being the viewer's.
        score: 0 … 1.
    """

    box: npt.NDArray[np.float32]
    points: npt.NDArray[np.float32]
    score: float


class Detector(Protocol):
    """Finds faces; one instance is called by one thread at a time."""

    @property
    def name(self) -> str:
        """Short name, part of the name of the folder of crops aligned with it."""

    @property
    def facts(self) -> Mapping[str, Fact]:
        """Facts, for reports, that decide its detections, such as the sha256 of the weights and the threshold."""

    def detect(self, images: Sequence[Image]) -> list[list[DetectedFace]]:
        """The faces in each image, in any order.

        Args:
            images: Images, uint8 (H, W, 3), RGB, of any size each.
        """


def deciding_facts(detector: Detector) -> dict[str, Fact]:
    """The facts that decide which faces are found: neither where the file lies nor what runs it."""
    return {name: value for name, value in detector.facts.items() if name not in _INCIDENTAL}


def overlap(box: npt.ArrayLike, others: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Intersection over union of a box (4,) with each of others (N, 4), float64 (N,)."""
    one, many = np.asarray(box, np.float64), np.asarray(others, np.float64)
    sides = np.clip(np.minimum(one[2:], many[:, 2:]) - np.maximum(one[:2], many[:, :2]), 0, None)
    common = sides.prod(axis=1)
    areas = np.clip(many[:, 2:] - many[:, :2], 0, None).prod(axis=1) + np.clip(one[2:] - one[:2], 0, None).prod()
    return np.asarray(common / np.maximum(areas - common, 1e-9))
