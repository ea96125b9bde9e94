"""Batches of a few images of each of many identities (P × K), for losses that compare the images of a batch.

Such an order is a pure function of labels, seed, epoch and the split of the batch over the ranks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aroface.errors import InputError

_IDENTITIES, _IMAGES = 1103, 1104  # purposes of the random streams, which the loader numbers from 1101

Int64 = npt.NDArray[np.int64]


def identity_order(
    labels: Int64, seed: int, epoch: int, world_size: int, batch_size: int, images_per_identity: int
) -> Int64:
    """Order the images of an epoch so that each batch has the same number of images of each of its identities.

    Identities come in random order, all of them once before any comes again, but for those of a permutation that fill
    no batch; none comes twice in a batch. So an identity with few images is seen as often as one with many. The images
    of an identity come in a random order of their own, all of them once in an epoch before any comes again: only an
    identity with fewer than ``images_per_identity`` of them repeats one within a batch.

    Args:
        labels: Classes by position, int64 (N,).
        seed: Seed of the order.
        epoch: Number of the epoch.
        world_size: Number of ranks; each has identities of its own in a batch.
        batch_size: Number of images of a batch on each rank.
        images_per_identity: Number of images of an identity in a batch, K.

    Returns:
        Positions int64 (M,) of N // (world_size · batch_size) batches of all ranks: those of a batch follow each other,
        within them those of a rank, and within them those of an identity.

    Raises:
        InputError: K is no divisor of the batch, or there are fewer identities than a batch has.
    """
    if batch_size % images_per_identity:
        raise InputError(
            f"{images_per_identity} images of each identity in {batch_size} images a process",
            where="images_per_identity",
            expected="a number that divides them",
        )
    at_once = world_size * batch_size // images_per_identity
    batches = len(labels) // (world_size * batch_size)
    present, counts = np.unique(labels, return_counts=True)
    if len(present) < at_once:
        raise InputError(
            f"{len(present)} identities for batches of {at_once}",
            where="images_per_identity",
            expected="as many at least",
            remedy="choose a smaller batch, or more images of each",
        )
    draws = np.random.default_rng([seed, _IDENTITIES, epoch])
    whole = len(present) // at_once
    rounds = -(-batches // whole)
    chosen = np.concatenate([draws.permutation(len(present))[: whole * at_once] for _ in range(rounds)])
    chosen = chosen[: batches * at_once]
    keys = np.random.default_rng([seed, _IMAGES, epoch]).random(len(labels), dtype=np.float32)
    by_identity = np.lexsort((keys, labels))
    first = np.cumsum(counts) - counts
    images = _times_before(chosen)[:, None] * images_per_identity + np.arange(images_per_identity)
    return by_identity[first[chosen, None] + images % counts[chosen, None]].reshape(-1)


def _times_before(values: Int64) -> Int64:
    """Number of times that each value has come before, int64 (n,)."""
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    times = np.empty_like(values)
    times[order] = np.arange(len(values)) - np.searchsorted(ascending, ascending)
    return times
