"""Detector's view of aligned faces: score, error of the alignment, and geometry of the landmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aroface.embedding.image_source import Images
from aroface.faces.detection.crops import finish, show
from aroface.faces.detection.detector import Detector
from aroface.faces.geometry import TEMPLATE, TEMPLATE_SIZE, similarity, transform
from aroface.progress import track

Floats = NDArray[np.float64]

_AT_ONCE = 16


@dataclass(frozen=True, slots=True, eq=False)
class DetectedFaces:
    """Detections in N aligned faces; not a number where a detector finds none.

    Attributes:
        score: Score of the detector, (N,), 0 … 1.
        alignment: Error of the alignment, (N,): root mean square distance of the five landmarks from the template's, in
            pixels of a crop of 112.
        geometry: The same after the best similarity, (N,): what pose and expression move, however the face is aligned.
    """

    score: Floats
    alignment: Floats
    geometry: Floats

    def columns(self) -> Mapping[str, Floats]:
        """All three by name."""
        return {"detector score": self.score, "alignment error": self.alignment, "landmark geometry": self.geometry}


def detect_faces(images: Callable[[Sequence[int]], Images], rows: Sequence[int], detector: Detector) -> DetectedFaces:
    """Look for the face in each of some aligned images.

    Args:
        images: Function from numbers to images, uint8 (n, size, size, 3).
        rows: Their numbers, N.
        detector: Detector.
    """
    values = np.full((3, len(rows)), np.nan)
    for begin in track(range(0, len(rows), _AT_ONCE), "detector"):
        crops = images(rows[begin : begin + _AT_ONCE])
        for place, (crop, faces) in enumerate(zip(crops, detector.detect([show(crop) for crop in crops]), strict=True)):
            face = finish(crop, faces).face
            if face is None:
                continue
            points = (face.points.astype(np.float64) + 0.5) * (TEMPLATE_SIZE / len(crop)) - 0.5
            at_best = transform(similarity(points, TEMPLATE), points)
            values[:, begin + place] = face.score, _distance(points), _distance(at_best)
    return DetectedFaces(*values)


def _distance(points: Floats) -> float:
    return float(np.sqrt(np.mean(np.sum((points - TEMPLATE) ** 2, axis=1))))
