"""Tileable textures that skin, backdrops and sensor noise are cut from; drawn once from fixed seeds."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

SIDE = 512


def _spectrum(seed: int, low: float, high: float, slope: float, side: int = SIDE) -> Floats:
    """Tileable Gaussian noise with wavelengths of ``low`` to ``high`` pixels, power falling by ``slope``; unit sd."""
    rng = np.random.default_rng([0x7E87, seed])
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    gain = np.where((frequency >= 1 / high) & (frequency <= 1 / low), np.maximum(frequency, 1e-6) ** -slope, 0.0)
    wave = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side))) * gain, s=(side, side))
    return (wave / wave.std()).astype(np.float32)


@cache
def skin() -> Floats:
    """Blotches, pores and lines of the skin: zero mean, about unit sd; one unit is a template pixel / 2."""
    return np.clip(0.8 * _spectrum(1, 12, 60, 1.2) + 0.55 * _spectrum(2, 4, 14, 0.5), -2.5, 2.5).astype(np.float32)


@cache
def freckles() -> Floats:
    """Sparse soft dark dots in 0..1."""
    dots = _spectrum(3, 3.5, 9, 0.0)
    clusters = _spectrum(4, 30, 120, 0.5)
    return np.clip((dots - 1.25 + 0.35 * clusters) * 1.4, 0, 1).astype(np.float32)


@cache
def backdrops() -> list[Floats]:
    """Textures in 0..1 that mix the two colours of a backdrop: smooth, cloudy, patchy, striped."""
    smooth = 0.5 + 0.25 * _spectrum(5, 120, 512, 1.0)
    cloudy = 0.5 + 0.22 * _spectrum(6, 16, 256, 1.3)
    patchy = 0.5 + 0.5 * np.tanh(3.0 * _spectrum(7, 50, 256, 1.0)) + 0.06 * _spectrum(8, 6, 30, 0.5)
    column = np.arange(SIDE, dtype=np.float32) * (2 * np.pi / SIDE)
    stripes = 0.5 + 0.5 * np.tanh(4 * np.sin(7 * column + 2 * np.sin(3 * column)) + 1.5 * np.sin(2 * column))
    striped = np.broadcast_to(stripes, (SIDE, SIDE)) + 0.08 * _spectrum(9, 8, 60, 0.8)
    return [np.clip(field, 0, 1).astype(np.float32) for field in (smooth, cloudy, patchy, striped)]


@cache
def noise() -> Floats:
    """Sensor noise, unit sd, (SIDE, SIDE, 3): mostly shared by the colours and slightly correlated in space."""
    rng = np.random.default_rng([0x7E87, 10])
    grain = rng.standard_normal((SIDE, SIDE, 1)) + 0.6 * rng.standard_normal((SIDE, SIDE, 3))
    field = grain + 0.5 * np.roll(grain, 1, axis=1) + 0.5 * np.roll(grain, 1, axis=0)
    return (field / field.std()).astype(np.float32)
