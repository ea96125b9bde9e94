"""Corruptions of an image's pixels, which leave the face where it is: blur, noise, JPEG, contrast and occlusion.

Source: after Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions", ICLR 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from aroface.faces.geometry import TEMPLATE_SIZE

Image = npt.NDArray[np.uint8]

_GREY = 128


def _blur(image: Image, level: float, _: np.random.Generator) -> Image:
    sd = level * len(image) / TEMPLATE_SIZE
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sd, borderType=cv2.BORDER_REPLICATE), np.uint8)


def _noise(image: Image, level: float, rng: np.random.Generator) -> Image:
    noisy = np.rint(image + level * rng.standard_normal(image.shape))
    return np.asarray(noisy.clip(0, 255), np.uint8)


def _jpeg(image: Image, level: float, _: np.random.Generator) -> Image:
    quality = max(1, round(100 - level))
    encoded = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality, colorsubsampling="420")
    return np.asarray(simplejpeg.decode_jpeg(encoded), np.uint8)


def _contrast(image: Image, level: float, _: np.random.Generator) -> Image:
    mean = image.mean(axis=(0, 1))
    return np.asarray(np.rint(mean + (1 - level) * (image - mean)), np.uint8)


def _occlusion(image: Image, level: float, rng: np.random.Generator) -> Image:
    size = len(image)
    side = round(level * size)
    top, left = rng.integers(0, size - side + 1, 2)
    covered = image.copy()
    covered[top : top + side, left : left + side] = _GREY
    return covered


CORRUPTIONS: Mapping[str, Callable[[Image, float, np.random.Generator], Image]] = MappingProxyType(
    {"blur": _blur, "noise": _noise, "jpeg": _jpeg, "contrast": _contrast, "occlusion": _occlusion}
)
"""Corruptions by name.

Levels: ``blur``, standard deviation in pixels of a face of 112; ``noise``, standard deviation in grey levels; ``jpeg``,
100 less the quality; ``contrast``, share that is lost; ``occlusion``, side of a grey square at a random place, as a
fraction of the image's.
"""


def corrupt(images: Image, kind: str, level: float, seeds: npt.NDArray[np.int64]) -> Image:
    """Corrupt images (N, size, size, 3).

    Args:
        images: Images, uint8, RGB.
        kind: Name of the corruption.
        level: Its size, see :data:`CORRUPTIONS`.
        seeds: (N,) seed of each image's random choices, at least 0.
    """
    rngs = (np.random.default_rng(int(seed)) for seed in seeds)
    return np.stack([CORRUPTIONS[kind](image, level, rng) for image, rng in zip(images, rngs, strict=True)])
