"""Orders of P identities with K images each."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from aroface.datasets.identity_batches import identity_order
from aroface.errors import InputError

COUNTS = [9, 1, 4, 30, 2, 7, 0, 5, 12, 3, 6, 3]
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(len(COUNTS)), COUNTS))


@pytest.mark.parametrize(("world", "size", "images"), [(1, 12, 4), (2, 6, 3), (3, 6, 2), (4, 4, 2), (1, 2, 2)])
def test_each_rank_has_whole_identities_none_twice_in_a_batch(world: int, size: int, images: int) -> None:
    order = identity_order(LABELS, 5, 1, world, size, images)
    groups = LABELS[order].reshape(-1, world * size // images, images)
    assert len(groups) == len(LABELS) // (world * size)
    assert (groups == groups[:, :, :1]).all()
    for batch in groups[:, :, 0]:
        assert len({*batch.tolist()}) == len(batch)
    for chosen in order.reshape(-1, images).tolist():
        assert len({*chosen}) == min(images, COUNTS[LABELS[chosen[0]]])


def test_identities_and_their_images_take_turns() -> None:
    order = identity_order(LABELS, 5, 1, 1, 10, 2)
    batches = LABELS[order].reshape(-1, 5, 2)[:, :, 0]
    assert len(batches) == 8
    for first in range(0, 8, 2):  # 11 identities have images: two batches of five, then all of them again
        assert len({*batches[first : first + 2].flatten().tolist()}) == 10


@pytest.mark.parametrize("seed", range(20))
def test_no_image_comes_again_before_all_of_its_identity_have_come(seed: int) -> None:
    times = Counter(
        identity_order(LABELS, seed, 1, 1, 8, 2).tolist()
    )  # two batches of four, three identities left over
    for label, count in enumerate(COUNTS):
        seen = [times[place] for place in np.flatnonzero(label == LABELS).tolist()]
        assert not count or max(seen) - min(seen) <= 1, label


def test_the_order_is_a_function_of_seed_epoch_and_split() -> None:
    first = identity_order(LABELS, 5, 1, 2, 6, 3)
    assert np.array_equal(first, identity_order(LABELS, 5, 1, 2, 6, 3))
    for other in (identity_order(LABELS, 6, 1, 2, 6, 3), identity_order(LABELS, 5, 2, 2, 6, 3)):
        assert other.shape == first.shape
        assert not np.array_equal(first, other)
    assert np.array_equal(first, identity_order(LABELS, 5, 1, 1, 12, 3)), "ranks share the batches of one"


@pytest.mark.parametrize(
    ("split", "line"),
    [
        ((1, 10, 4), "images_per_identity: 4 images of each identity in 10 images a process; expected a number that"),
        ((2, 12, 2), "images_per_identity: 11 identities for batches of 12; expected as many at least; choose a sm"),
    ],
)
def test_batches_that_cannot_be_are_refused(split: tuple[int, int, int], line: str) -> None:
    with pytest.raises(InputError) as thrown:
        identity_order(LABELS, 0, 0, *split)
    assert str(thrown.value).startswith(line)
