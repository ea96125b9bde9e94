"""Loose crops: faces somewhere in a larger image, with the landmarks by which they are to be aligned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from aroface.datasets.images import encode_jpeg
from aroface.datasets.synthetic.rendering import RenderingPlan, draw_by
from aroface.faces.geometry import TEMPLATE, TEMPLATE_SIZE, similarity, similarity_matrix, transform
from aroface.faces.synthetic import render, sample_nuisances

SIZE = 168
"""Width and height of a loose crop; an aligned one of 112 pixels fits in with a margin of a quarter on each side."""

_SCALE, _DEGREES, _SHIFT = 0.1, 20.0, 0.05  # how far a face may be off the middle of its loose crop
_POSES = 1  # number of the random stream that places the faces


@dataclass(frozen=True, slots=True, eq=False)
class LooseCrop:
    """Face with the landmarks and score of a detector.

    Attributes:
        jpeg: JPEG of `SIZE` × `SIZE` pixels.
        landmarks: Landmarks as the detector has found them, float32 (5, 2).
        score: Score of the detector, 0 … 1; lower as a rule where the face has few pixels.
    """

    jpeg: bytes
    landmarks: npt.NDArray[np.float32]
    score: float


def draw_loose(plan: RenderingPlan, workers: int | None = None) -> Iterator[LooseCrop]:
    """Draw the loose crops of a plan, in its order, while they are taken.

    The plan's alignment errors are in the landmarks: a crop that is aligned by them has just these errors.

    Args:
        plan: Images to draw.
        workers: Number of processes; by default one a core, but no more than have enough to do.
    """
    return draw_by(_draw_chunk, plan, workers)


def _draw_chunk(plan: RenderingPlan) -> list[LooseCrop]:
    rng, placing = np.random.default_rng(plan.stream), np.random.default_rng((*plan.stream, _POSES))
    count = len(plan.rows)
    nuisances = sample_nuisances(count, rng, plan.difficulty)
    resolutions = np.where(plan.treated, plan.treatment.resolutions(count, rng), TEMPLATE_SIZE)
    errors = np.where(plan.treated[:, None, None], plan.treatment.errors(resolutions, rng), np.eye(2, 3))
    scale, degrees, right, down = placing.uniform(-1, 1, (4, count))
    middle = TEMPLATE_SIZE / SIZE * (1 + _SCALE * scale)
    places = similarity_matrix(middle, _DEGREES * degrees, _SHIFT * right, _SHIFT * down, SIZE)
    # See rendering.py for the threads of BLAS.
    with threadpool_limits(1, user_api="blas"):
        images, exact = render(plan.people[plan.rows], nuisances, SIZE, places)
    landmarks = _found(exact, errors)
    plan.treatment.degrade(images, resolutions, rng)
    doubt = placing.random(count) * (0.02 + 0.3 * (1 - resolutions / TEMPLATE_SIZE))
    jpegs = (encode_jpeg(image, plan.jpeg_quality) for image in images)
    return [LooseCrop(*fields) for fields in zip(jpegs, landmarks, (1 - doubt).tolist(), strict=True)]


def _found(exact: npt.NDArray[np.float32], errors: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Landmarks that align faces with these errors, (N, 5, 2).

    Let S align the exact landmarks and E be the error. Of the points S⁻¹ E⁻¹ S x the least-squares alignment is E S.
    """
    aligning = similarity(exact, TEMPLATE)
    moved = transform(_inverse(errors), transform(aligning, exact))
    return np.asarray(transform(_inverse(aligning), moved), np.float32)


def _inverse(matrices: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    linear = np.linalg.inv(matrices[:, :, :2])
    return np.concatenate([linear, -linear @ matrices[:, :, 2:]], axis=2)
