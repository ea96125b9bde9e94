"""Time of one face, from the photograph to the feature."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from aroface.datasets.images import Pixels
from aroface.datasets.preparation.photograph_faces import choose, cut_face, find_faces, show_photograph
from aroface.embedding.embedder import Embedder
from aroface.errors import InputError
from aroface.faces.detection.detector import Detector
from aroface.faces.synthetic import render, sample_identities, sample_nuisances

FRUITS_LIMITS = (100, 500, 1000)
"""Milliseconds that a face may take in the tracks of FRUITS, from detection to feature, on one core of a CPU.

Source: Zhu et al., WebFace260M, CVPR 2021, section 4 ("Face Recognition Under Inference Time conStraint").
"""

REPEATS = 20
_SCENE = (480, 640)  # height and width in pixels of the photograph that is drawn


@dataclass(frozen=True, slots=True)
class FaceTime:
    """Time of one face, in milliseconds.

    Attributes:
        detection: Median time of the detection; None without a detector.
        alignment: Median time of the alignment.
        embedding: Median time of the embedding.
        whole: Median time of all three together.
        fast: 10th percentile of the whole.
        slow: 90th percentile of the whole.
        repeats: Number of measurements.
        size: Width and height of the photograph in pixels.
    """

    detection: float | None
    alignment: float
    embedding: float
    whole: float
    fast: float
    slow: float
    repeats: int
    size: tuple[int, int]

    def limit(self) -> int | None:
        """The smallest of `FRUITS_LIMITS` that nine of ten measurements keep; None if they keep none."""
        return next((limit for limit in FRUITS_LIMITS if self.slow <= limit), None)


def time_face(
    embedder: Embedder,
    detector: Detector | None = None,
    photograph: Pixels | None = None,
    *,
    flip: bool = True,
    repeats: int = REPEATS,
) -> FaceTime:
    """Measure the time of one face, alone, as a door or a telephone has it; the first two calls do not count.

    Args:
        embedder: Network.
        detector: Detector; None to measure alignment and embedding alone.
        photograph: Photograph, uint8 (H, W, 3), RGB; by default a face that is drawn, in 640×480 pixels.
        flip: True if the embedding of the mirrored image is added.
        repeats: Number of measurements.

    Raises:
        InputError: The detector finds no face in ``photograph``.
    """
    image, points = (photograph, None) if photograph is not None else _drawn()
    if detector is not None:
        found = find_faces([show_photograph(image)], detector)[0]
        points = found[choose(found, "largest")[0]].points if found else points
        if points is None:
            raise InputError("the detector finds no face in the photograph", remedy="name another one")
    if points is None:
        raise InputError("a photograph without a detector", remedy="name one by --detector, or leave it out")
    face = cut_face(image, points, embedder.size)
    steps: list[Callable[[], object]] = [
        (lambda: None) if detector is None else lambda: find_faces([show_photograph(image)], detector),
        lambda: cut_face(image, points, embedder.size),
        lambda: embedder.embed(face[None], flip=flip, batch_size=1),
    ]
    times = np.array([_measured(steps) for _ in range(repeats + 2)])[2:] * 1000
    detection, alignment, embedding = map(float, np.median(times, axis=0))
    whole = times.sum(axis=1)
    fast, slow = map(float, np.percentile(whole, (10, 90)))
    size = image.shape[1], image.shape[0]
    return FaceTime(
        detection if detector is not None else None,
        alignment,
        embedding,
        float(statistics.median(whole.tolist())),
        fast,
        slow,
        repeats,
        size,
    )


def _measured(steps: Sequence[Callable[[], object]]) -> list[float]:
    """Seconds of each step."""
    ends = [time.perf_counter()]
    for step in steps:
        step()
        ends.append(time.perf_counter())
    return [after - before for before, after in pairwise(ends)]


def _drawn() -> tuple[Pixels, npt.NDArray[np.float32]]:
    """A face of a third of a photograph's height, and its landmarks."""
    height, width = _SCENE
    inwards = np.array([[[0.35, 0, height * 0.325], [0, 0.35, height * 0.325]]])
    how = sample_nuisances(1, np.random.default_rng(1), 0.3)
    images, points = render(sample_identities(1, 0), how, height, inwards)
    left = (width - height) // 2
    scene = np.pad(images[0], ((0, 0), (left, width - height - left), (0, 0)), mode="edge")
    return scene, (points[0] + [left, 0]).astype(np.float32)
