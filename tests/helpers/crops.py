"""Small aligned crops, and what a training set holds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from aroface.datasets.formats.training_set import TrainingSet
from aroface.datasets.images import encode_jpeg


def crop(number: int, size: int = 112) -> bytes:
    """A JPEG of coloured squares, another for each number."""
    return encode_jpeg(pixels(number, size), 80)


def png(number: int, size: int = 112) -> bytes:
    """The same as PNG."""
    return bytes(cv2.imencode(".png", pixels(number, size)[:, :, ::-1])[1])


def pixels(number: int, size: int = 112) -> np.ndarray:
    coarse = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_NEAREST)


def in_order(folder: Path) -> list[tuple[int, bytes]]:
    """Labels and images of a training set, in its order."""
    training_set = TrainingSet.open(folder)
    return [(int(label), training_set.jpeg(at)) for at, label in enumerate(training_set.labels)]


def held(folder: Path) -> Counter[tuple[int, bytes]]:
    """Labels and images of a training set, in any order."""
    return Counter(in_order(folder))
