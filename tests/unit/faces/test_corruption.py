"""Corruptions of pixels: each does what its name says, grows with its level, and depends on nothing but the seed."""

from __future__ import annotations

import numpy as np
import pytest

from aroface.embedding.alignment_sweep import PIXELS, Variant, draw_directions
from aroface.embedding.sensitivity import spoil
from aroface.evaluation.robustness import CORRUPTION_LEVELS
from aroface.faces.corruption import CORRUPTIONS, corrupt
from crops import pixels

IMAGES = np.stack([pixels(number) for number in range(3)])
SEEDS = np.arange(3)


def test_the_sweep_knows_all_of_them():
    assert tuple(CORRUPTIONS) == PIXELS == tuple(CORRUPTION_LEVELS)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_larger_levels_do_more_harm(kind):
    harms = []
    for level in CORRUPTION_LEVELS[kind]:
        changed = corrupt(IMAGES, kind, level, SEEDS)
        assert changed.shape == IMAGES.shape and changed.dtype == np.uint8
        assert (corrupt(IMAGES[1:], kind, level, SEEDS[1:]) == changed[1:]).all(), "no image depends on others"
        harms.append(np.abs(changed.astype(int) - IMAGES).mean())
    assert harms[0] > 0.1 and harms == sorted(harms)


def test_what_they_do():
    assert corrupt(IMAGES, "noise", 10, SEEDS).astype(float).std() > IMAGES.std() - 1
    low = corrupt(IMAGES, "contrast", 0.75, SEEDS)
    np.testing.assert_allclose(low.std(axis=(1, 2)), IMAGES.std(axis=(1, 2)) / 4, atol=0.5)
    np.testing.assert_allclose(low.mean(axis=(1, 2)), IMAGES.mean(axis=(1, 2)), atol=0.5)
    covered = corrupt(IMAGES, "occlusion", 0.5, SEEDS)
    assert [(image == 128).all(axis=2).sum() >= 56 * 56 for image in covered] == [True] * 3
    assert (covered == IMAGES).all(axis=(3)).mean() == pytest.approx(0.75, abs=0.02)
    edges = [np.abs(np.diff(image.astype(int), axis=1)).max() for image in corrupt(IMAGES, "blur", 4, SEEDS)]
    assert max(edges) < np.abs(np.diff(IMAGES.astype(int), axis=2)).max() / 3


def test_a_sweep_corrupts_a_pair_in_the_same_way_at_every_level():
    directions = draw_directions(3, 0)

    def spoilt(factor: str, level: float, rows: slice = slice(None)) -> np.ndarray:
        return spoil(IMAGES[rows], Variant(None, factor, level), directions[rows], {}, "camera")

    assert (spoilt("occlusion", 0.2) == spoilt("occlusion", 0.2001)).all()
    parts = [spoilt("noise", 25.0, slice(n, n + 1)) for n in range(3)]
    assert (np.concatenate(parts) == spoilt("noise", 25.0)).all()
