"""Degradations of a low-quality set: reduced resolution, as of a surveillance camera, and alignment errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from aroface.faces.degrade import ALIGNMENT_ERRORS, downsample, landmark_noise, surveillance
from aroface.faces.geometry import TEMPLATE, TEMPLATE_SIZE, similarity, similarity_matrix

Alignment = Literal["exact"] | Mapping[str, Any]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Treatment:
    """Degradation of images, drawn at random.

    Attributes:
        probability: Probability that an image is degraded, 0 … 1.
        resolution: Smallest and largest width in pixels that a degraded face is reduced to.
        alignment: ``exact``, or the errors of alignment as ``generate.schema.json`` describes them; they apply to
            images that keep their resolution too.
        degradation: Kind of degradation: fewer pixels alone, or all that a surveillance camera does.
    """

    probability: float = 0.0
    resolution: tuple[int, int] = (14, 24)
    alignment: Alignment = "exact"
    degradation: Literal["downsample", "surveillance"] = "surveillance"

    def resolutions(self, count: int, rng: np.random.Generator) -> Integers:
        """Widths that the faces are reduced to, int64 (N,); the full width for those that are not degraded."""
        low, high = self.resolution
        degraded = rng.random(count) < self.probability
        return np.where(degraded, rng.integers(low, high, count, endpoint=True), TEMPLATE_SIZE)

    def errors(self, resolutions: Integers, rng: np.random.Generator) -> Floats:
        """One alignment error a face, (N, 2, 3), from the aligned to the erroneous frame of 112 pixels."""
        count = len(resolutions)
        if isinstance(self.alignment, str):
            return np.tile(np.eye(2, 3), (count, 1, 1))
        options = dict(self.alignment)
        if "model" in options:
            model = ALIGNMENT_ERRORS[options.pop("model")]
            return dataclasses.replace(model, **options).sample(resolutions, rng)
        if "landmark_noise" in options:
            exact = np.tile(TEMPLATE, (count, 1, 1))
            landmarks = landmark_noise(exact, options["landmark_noise"], rng, options.get("degrees_of_freedom", inf))
            return similarity(landmarks, TEMPLATE)
        scale, degrees, right, down = rng.uniform(-1, 1, (4, count))
        shift = options["shift"]
        return similarity_matrix(
            1 + options["scale"] * scale, options["degrees"] * degrees, shift * right, shift * down
        )

    def degrade(self, images: npt.NDArray[np.uint8], resolutions: Integers, rng: np.random.Generator) -> None:
        """Degrade, in place, those of the images (N, S, S, 3) whose resolution is below the full width.

        Faces are taken to be 112 pixels wide: of larger images the whole keeps as many more pixels than its face.
        """
        low = np.flatnonzero(resolutions < TEMPLATE_SIZE)
        if len(low) == 0:
            return
        widths = np.rint(resolutions[low] * (images.shape[2] / TEMPLATE_SIZE)).astype(np.int64)
        if self.degradation == "downsample":
            images[low] = downsample(images[low], widths)
        else:
            images[low] = surveillance(images[low], widths, rng)
