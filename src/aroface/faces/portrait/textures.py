"""Tileable textures that skin, backdrops and sensor noise are cut from; drawn once from fixed seeds.

All are uint8 with 128 in the middle, and laid out twice in each direction, so that cuts rarely cross the border.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Texture = npt.NDArray[np.uint8]

SIDE = 512
UNIT = 40.0
"""Grey levels that one standard deviation of the skin or the noise takes."""


def _waves(seed: int, low: float, high: float, slope: float) -> Floats:
    """Tileable Gaussian noise of unit sd, wavelengths ``low`` to ``high`` pixels, amplitude falling by ``slope``."""
    rng = np.random.default_rng([0x7E87, seed])
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    inside = (frequency >= 1 / high) & (frequency <= 1 / low)
    gain = np.where(inside, np.maximum(frequency, 1 / SIDE) ** -slope, 0.0)
    wave = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) * gain, s=(SIDE, SIDE))
    return np.asarray(wave / wave.std())


def _grey(field: Floats) -> Texture:
    """Grey levels, laid out twice in each direction."""
    levels = np.clip(np.rint(field), 0, 255).astype(np.uint8)
    return np.tile(levels, (2, 2, 1)[: levels.ndim])


@cache
def skin() -> Texture:
    """Blotches and pores, one standard deviation being UNIT grey levels around 128."""
    return _grey(128 + UNIT * (0.85 * _waves(1, 14, 64, 1.2) + 0.5 * _waves(2, 4, 14, 0.5)))


@cache
def freckles() -> Texture:
    """Sparse soft dots in clusters, 0 (none) to 255."""
    dots = _waves(3, 5.0, 9, 0.0) + 0.6 * _waves(4, 30, 120, 0.5)
    return _grey(255 * np.clip((dots - 1.4) * 0.8, 0, 1))


@cache
def backdrops() -> tuple[Texture, ...]:
    """Mixtures of the two colours of a backdrop: smooth, cloudy, patchy, upright edges."""
    smooth = 0.5 + 0.3 * _waves(5, 200, 512, 1.0)
    cloudy = 0.5 + 0.24 * _waves(6, 40, 256, 1.4)
    patchy = 0.5 + 0.45 * np.tanh(2.2 * _waves(7, 60, 300, 1.0))
    column = np.arange(SIDE) * (2 * np.pi / SIDE)
    bars = np.tanh(4 * np.sin(4 * column + 2 * np.sin(3 * column)) + 1.5 * np.sin(2 * column))
    upright = 0.5 + 0.4 * bars[None] + 0.1 * _waves(9, 40, 300, 1.0)
    return tuple(_grey(255 * field) for field in (smooth, cloudy, patchy, upright))


@cache
def noise() -> Texture:
    """Sensor noise in RGB, mostly shared by the colours and slightly correlated in space; UNIT grey levels of sd."""
    rng = np.random.default_rng([0x7E87, 10])
    grain = rng.standard_normal((SIDE, SIDE, 1)) + 0.6 * rng.standard_normal((SIDE, SIDE, 3))
    field = grain + 0.5 * np.roll(grain, 1, axis=1) + 0.5 * np.roll(grain, 1, axis=0)
    return _grey(128 + UNIT * field / field.std())


def sample(texture: Texture, onto: Floats, size: int) -> Texture:
    """Cut (size, size) out of a texture; ``onto`` (2, 3) maps pixels of the cut to the texture."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(texture, onto, (size, size), flags=flags, borderMode=cv2.BORDER_WRAP), np.uint8)


def placement(frame: Floats, turns: Floats, zoom: Floats | float, place: Floats) -> Floats:
    """Maps from pixels to a texture that is fixed to moving frames.

    Args:
        frame: (N, 2, 3), from the frame that the texture sticks to, to pixels.
        turns: (N,), how the texture is turned in its frame, in whole turns.
        zoom: Number of texels for each unit of the frame.
        place: (N, 2) in 0..1, where in the texture the frame's origin lies.

    Returns:
        (N, 2, 3), for :func:`sample`.
    """
    angle = 2 * np.pi * turns.astype(np.float64)
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=-1).reshape(-1, 2, 2)
    linear = np.reshape(zoom, (-1, 1, 1)) * turn @ np.linalg.inv(frame[:, :, :2])
    offset = SIDE * (0.5 + place.astype(np.float64))[:, :, None] - linear @ frame[:, :, 2:]
    return np.concatenate([linear, offset], axis=2)
