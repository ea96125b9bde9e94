"""The circumstances that images are taken under."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from aroface.errors import InputError
from aroface.faces.portrait.textures import SIDE, backdrops
from aroface.faces.portrait.traits import OCCLUSIONS, Nuisances

Floats = npt.NDArray[np.floating[Any]]

_OCCLUSION_ODDS = {"patch": 0.05, "hat": 0.05, "mask": 0.025, "hand": 0.04, "sunglasses": 0.025}


class _ImageDraws:
    """Draws for n images from one stream, in the order they are asked for."""

    def __init__(self, n: int, rng: np.random.Generator, difficulty: float) -> None:
        self.n, self.rng, self.difficulty = n, rng, difficulty

    def varying(self, sd: float, limit: float, *width: int) -> Floats:
        """Normal draws about 0, the wider the more difficult, up to ``limit``; (N, *width)."""
        return np.clip(self.difficulty * sd * self.rng.standard_normal((self.n, *width)), -limit, limit)

    def uniform(self, low: float, high: float, *width: int) -> Floats:
        return self.rng.uniform(low, high, (self.n, *width))


def sample_nuisances(n: int, rng: np.random.Generator, difficulty: float = 1.0) -> Nuisances:
    """Draw the circumstances of ``n`` images.

    Args:
        n: Number of images.
        rng: Generator of the random choices.
        difficulty: Factor, 0..2, of pose, expression, lighting, camera and the odds of occlusion: 0 gives frontal,
            neutral, evenly lit faces that differ in backdrop and clothes only, 1 the variety of
            unconstrained photographs.

    Raises:
        InputError: The difficulty is not within 0..2.
    """
    if not 0 <= difficulty <= 2:
        raise InputError(f"difficulty {difficulty} of synthetic faces", expected="0..2")
    draw = _ImageDraws(n, rng, difficulty)
    values: dict[str, Any] = (
        _pose(draw) | _expression(draw) | _light(draw) | _camera(draw) | _surroundings(draw) | _occlusion(draw)
    )
    values = {name: array.astype(np.float32) for name, array in values.items()}
    return Nuisances(**values | _choices(draw))


def _pose(draw: _ImageDraws) -> dict[str, Floats]:
    return {"yaw": draw.varying(17, 40), "pitch": draw.varying(8, 20), "roll": draw.varying(9, 30)}


def _expression(draw: _ImageDraws) -> dict[str, Floats]:
    return {
        "smile": np.clip(draw.difficulty * draw.uniform(-0.35, 1.1), -0.3, 1),
        "mouth_open": np.clip(draw.difficulty * draw.uniform(-0.9, 1.0), 0, 1),
        "eye_open": 1 + np.clip(draw.varying(0.22, 0.8), -0.75, 0.3),
        "brow_raise": draw.varying(0.5, 1.2),
        "gaze": draw.varying(0.8, 1.8, 2),
    }


def _light(draw: _ImageDraws) -> dict[str, Floats]:
    azimuth, elevation = np.radians(draw.varying(50, 85)), np.radians(draw.varying(22, 50) - 25)
    level = np.cos(elevation)
    light = np.stack([np.sin(azimuth) * level, np.sin(elevation), np.cos(azimuth) * level], axis=1)
    return {"light": light, "ambient": 0.62 - draw.difficulty * draw.uniform(0, 0.28)}


def _camera(draw: _ImageDraws) -> dict[str, Floats]:
    warmth = draw.varying(0.07, 0.18)
    return {
        "exposure": np.exp(draw.varying(0.2, 0.45)),
        "tint": 1 + np.stack([warmth, draw.varying(0.012, 0.03), -warmth], axis=1),
        "contrast": 1 + draw.varying(0.14, 0.35),
        "focus": 0.45 + draw.difficulty * draw.uniform(0, 0.45),
        "noise": draw.difficulty * draw.uniform(0.4, 3.2),
    }


def _surroundings(draw: _ImageDraws) -> dict[str, Floats]:
    return {
        "backdrop": _dull(draw.uniform(15, 225, 2, 1), np.clip(draw.rng.normal(0, 0.11, (draw.n, 2, 3)), -0.3, 0.3)),
        "backdrop_place": draw.uniform(0, 1, 4),
        "clothes": _dull(draw.uniform(15, 225, 1), draw.uniform(-0.3, 0.3, 3)),
        "hair_shift": draw.varying(1.0, 2.5, 3),
    }


def _occlusion(draw: _ImageDraws) -> dict[str, Floats]:
    return {
        "occlusion_shape": draw.uniform(0, 1, 6),
        "occlusion_colour": _dull(draw.uniform(25, 225, 1), draw.uniform(-0.25, 0.25, 3)),
    }


def _choices(draw: _ImageDraws) -> dict[str, npt.NDArray[np.int64]]:
    odds = np.array([_OCCLUSION_ODDS.get(kind, 0.0) for kind in OCCLUSIONS]) * draw.difficulty
    odds[0] = 1 - odds.sum()
    return {
        "occlusion": draw.rng.choice(len(OCCLUSIONS), size=draw.n, p=odds),
        "backdrop_kind": draw.rng.integers(0, len(backdrops()), draw.n),
        "noise_place": draw.rng.integers(0, SIDE, (draw.n, 2)),
    }


def _dull(grey: Floats, colour: Floats) -> Floats:
    """Colours around a grey, as most of the world is."""
    return np.clip(grey * (1 + colour), 5, 245)
