"""Folds of labelled pairs: ten contiguous parts that show no person twice, where that is possible.

The accuracy of a pair set is a mean over folds whose thresholds are chosen on the others, so that a person in two folds
is known to the threshold. Folds are sized as the accuracy divides a set: ten parts, the first ones a pair longer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

from aroface.datasets.formats.checks import FOLDS
from aroface.datasets.splits import Image, PairList, sample_pairs

Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]


def fold_of(pairs: int) -> Integers:
    """Fold of each of N pairs, (N,), from 0 on."""
    return np.repeat(np.arange(FOLDS), [len(part) for part in np.array_split(np.arange(pairs), FOLDS)])


def fold_pairs(people: Integers, same: Booleans, folds: Sequence[object] | None = None) -> Integers:
    """Numbers of labelled pairs, (N,), in the order of their folds.

    Pairs whose list names folds, ten of the right sizes, keep them. Others are divided so that nobody is in two folds;
    where that cannot be done, each fold gets its share of genuine and of impostor pairs in the order of the list.

    Args:
        people: (N, 2) people of each pair, numbered from 0.
        same: (N,) labels.
        folds: Name of the fold of each pair, as the list has it.
    """
    order = _listed(folds) if folds is not None else None
    if order is None:
        order = _apart(people, same)
    return order if order is not None else _stratified(same)


def shared_people(people: Integers) -> int:
    """Number of people who occur in several folds of ordered pairs, (N, 2)."""
    found = np.unique(np.stack([people.ravel(), np.repeat(fold_of(len(people)), 2)]), axis=1)[0]
    return int(np.count_nonzero(np.bincount(found) > 1))


def draw_pairs(counts: Sequence[int], most: int, seed: Sequence[int]) -> PairList:
    """Draw pairs of people, as many genuine as impostor pairs in each fold, and nobody in two folds.

    With fewer than two people a fold, or too few genuine pairs in one, pairs are drawn among all people.

    Args:
        counts: Number of images of each person.
        most: Largest number of pairs.
        seed: Seed of the draws.
    """
    rng = np.random.default_rng(seed)
    images = np.asarray(counts, np.int64)
    capacity = images * (images - 1) // 2
    order = np.lexsort((rng.random(len(images)), -capacity))
    turn = np.arange(len(images)) % (2 * FOLDS)
    fold = np.minimum(turn, 2 * FOLDS - 1 - turn)  # to and fro, so that folds get equal shares
    groups = [np.sort(order[fold == number]) for number in range(FOLDS)]
    half = min((_largest_half(images[group]) for group in groups), default=0)
    half = min(half, most // 2 // FOLDS)
    if half < 1:
        return sample_pairs(counts, most, FOLDS, rng)
    drawn = [(group, sample_pairs(images[group].tolist(), 2 * half, 1, rng)) for group in groups]

    def named(group: Integers, side: Sequence[Image]) -> list[Image]:
        return [(int(group[person]), image) for person, image in side]

    return PairList(
        [image for group, pairs in drawn for image in named(group, pairs.first)],
        [image for group, pairs in drawn for image in named(group, pairs.second)],
        np.concatenate([pairs.same for _, pairs in drawn]),
    )


def _largest_half(images: Integers) -> int:
    """Number of genuine pairs, and of as many impostor pairs, that people with so many images give."""
    impostors = int((images.sum() ** 2 - (images**2).sum()) // 2)
    return min(int((images * (images - 1) // 2).sum()), impostors // 2)


def _listed(folds: Sequence[object]) -> Integers | None:
    """Order of the folds of a list; None if they are other than the accuracy takes."""
    names = {name: number for number, name in enumerate(dict.fromkeys(folds))}
    numbers = np.array([names[name] for name in folds], np.int64)
    order = np.argsort(numbers, kind="stable")
    return order if np.array_equal(numbers[order], fold_of(len(numbers))) else None


def _apart(people: Integers, same: Booleans) -> Integers | None:
    """Order in which folds share nobody: sets of linked people, the largest first, fill the emptiest folds."""
    if len(same) < FOLDS:
        return None
    count = int(people.max()) + 1
    links = sparse.coo_array((np.ones(len(people), np.int32), (people[:, 0], people[:, 1])), shape=(count, count))
    _, labels = sparse.csgraph.connected_components(links, directed=False)
    _, group = np.unique(labels[people[:, 0]], return_inverse=True)
    sizes = np.stack([np.bincount(group, same == kind) for kind in (True, False)], axis=1).astype(np.int64)
    room = np.bincount(fold_of(len(same)))
    wanted = room[:, None] * np.array([same.mean(), 1 - same.mean()])
    held = np.zeros((FOLDS, 2))
    fold_of_group = np.empty(len(sizes), np.int64)
    for number in np.argsort(-sizes.sum(axis=1), kind="stable"):
        fits = held.sum(axis=1) + sizes[number].sum() <= room
        if not fits.any():
            return None
        # The sum of squared gaps falls most where both kinds of pairs are wanted.
        gain = ((wanted - held) * sizes[number]).sum(axis=1)
        chosen = int(np.argmax(np.where(fits, gain, -np.inf)))
        held[chosen] += sizes[number]
        fold_of_group[number] = chosen
    return np.lexsort((~same, fold_of_group[group]))


def _stratified(same: Booleans) -> Integers:
    """Order in which every fold has its share of genuine and of impostor pairs."""
    place = np.empty(len(same))
    for kind in (True, False):
        chosen = np.flatnonzero(same == kind)
        place[chosen] = (np.arange(len(chosen)) + 0.5) / max(len(chosen), 1)
    spread = np.argsort(place, kind="stable")
    return spread[np.lexsort((~same[spread], fold_of(len(same))))]
