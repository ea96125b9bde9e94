"""Synthetic faces: an identity and its circumstances in, an aligned photograph-like image and its landmarks out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aroface.faces.geometry import TEMPLATE_SIZE, similarity, template, transform
from aroface.faces.portrait import features, hair, head, props, textures
from aroface.faces.portrait.circumstances import sample_nuisances
from aroface.faces.portrait.light import Lights
from aroface.faces.portrait.paint import Backdrops, Cameras, Complexions, Outlines
from aroface.faces.portrait.people import sample_identities
from aroface.faces.portrait.relief import relief
from aroface.faces.portrait.shapes import Floats, Shape
from aroface.faces.portrait.traits import Identities, Nuisances

__all__ = ["Identities", "Nuisances", "render", "sample_identities", "sample_nuisances"]

_CHUNK = 64
"""Images drawn at a time: what bounds the memory."""


def render(
    identities: Identities,
    nuisances: Nuisances,
    size: int = TEMPLATE_SIZE,
    matrices: npt.ArrayLike | None = None,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Draw one face a row; the same rows always give the same bytes, whatever rows are drawn with them.

    Args:
        identities: Identities of N images (select with ``identities[rows]``).
        nuisances: Circumstances of N images.
        size: Width and height of the images in pixels, 1..512.
        matrices: (N, 2, 3), from the aligned frame of ``size`` pixels to the output frame. Drawn exactly: the scene
            goes on beyond the aligned crop, and nothing is resampled. Without them the faces come out aligned.

    Returns:
        Images uint8 (N, size, size, 3), RGB, and their exact landmarks float32 (N, 5, 2) in pixels. The landmarks of an
        aligned face lie about the template, not on it: no similarity takes every pose there.

    Raises:
        ValueError: The numbers of rows differ, or the size is out of range.
    """
    if not 1 <= size <= textures.SIDE:
        raise ValueError(f"size {size}, expected 1..{textures.SIDE}")
    count = len(nuisances)
    extra = np.tile(np.eye(2, 3), (count, 1, 1)) if matrices is None else np.asarray(matrices, np.float64)
    if len(identities) != count or extra.shape != (count, 2, 3):
        raise ValueError(f"{len(identities)} identities, {count} nuisances, matrices of shape {extra.shape}")
    images = np.empty((count, size, size, 3), np.uint8)
    landmarks = np.empty((count, 5, 2), np.float32)
    for start in range(0, count, _CHUNK):
        rows = slice(start, start + _CHUNK)
        images[rows], landmarks[rows] = _render(identities[rows], nuisances[rows], size, extra[rows])
    return images, landmarks


def _render(
    who: Identities, how: Nuisances, size: int, extra: Floats
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    person = head.HeadShape.of(who, how)
    turn = _rotation(how)
    photographed = person.landmarks() @ np.swapaxes(turn, 1, 2)[:, :, :2]
    crop = similarity(photographed, template(size))
    linear = extra[:, :, :2] @ crop[:, :, :2]
    offset = extra[:, :, :2] @ crop[:, :, 2:] + extra[:, :, 2:]
    view = np.concatenate([linear, offset], axis=2)
    camera = np.concatenate([linear @ turn[:, :2], offset], axis=2)
    backdrops, outlines = Backdrops(how, view, size), Outlines(_shapes(person), camera, size)
    lights, complexions = Lights(relief(person), how, camera, view, size), Complexions(who, camera, size)
    cameras = Cameras(who, how, size)
    images = np.empty((len(who), size, size, 3), np.uint8)
    for i in range(len(who)):
        canvas = backdrops.canvas(i)
        outlines.paint(canvas, i)
        light = lights.on(i)
        light *= complexions.on(i)
        images[i] = cameras.expose(canvas, light, i)
    return images, transform(view, photographed).astype(np.float32)


def _shapes(person: head.HeadShape) -> list[Shape]:
    """Everything that is painted, from the back to the front."""
    return [
        *head.body(person),
        *head.skin(person),
        *features.eyes(person),
        *features.brows(person),
        *features.nose(person),
        *hair.beard(person),
        *features.mouth(person),
        *hair.scalp(person),
        *props.glasses(person),
        *props.occlusion(person),
    ]


def _rotation(how: Nuisances) -> Floats:
    """Rotation of the head (N, 3, 3): yaw about the vertical, then pitch, then roll."""
    angles = np.radians(np.stack([how.yaw, how.pitch, how.roll]).astype(np.float64))
    (cy, cp, cr), (sy, sp, sr) = np.cos(angles), np.sin(angles)
    zero, one = np.zeros_like(cy), np.ones_like(cy)
    yaw = np.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy], axis=1).reshape(-1, 3, 3)
    pitch = np.stack([one, zero, zero, zero, cp, -sp, zero, sp, cp], axis=1).reshape(-1, 3, 3)
    roll = np.stack([cr, -sr, zero, sr, cr, zero, zero, zero, one], axis=1).reshape(-1, 3, 3)
    return np.asarray(roll @ pitch @ yaw)
