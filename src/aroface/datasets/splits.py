"""Splits of people and images: people tested, pairs, galleries and probes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Image = tuple[int, int]
"""Number of a person and number of one of this person's images."""


@dataclass(frozen=True, slots=True)
class PairList:
    """Pairs of images, the first half of each fold genuine.

    Attributes:
        first: First image of each pair.
        second: Second image of each pair.
        same: Labels, bool (N,), true where both show one person.
    """

    first: list[Image]
    second: list[Image]
    same: npt.NDArray[np.bool_]


def split_people(names: Iterable[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    """Disjoint parts (rest, chosen), the second with this fraction of the names, both in alphabetical order.

    Each name has a place that depends on it and the seed alone, so one more person moves hardly anybody.
    """
    order = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    chosen = round(fraction * len(order))
    return sorted(order[chosen:]), sorted(order[:chosen])


def sample_pairs(counts: Sequence[int], most: int, folds: int, rng: np.random.Generator) -> PairList:
    """Verification pairs, none twice; every person in turn gives a genuine pair until there are enough.

    Args:
        counts: Number of images of each person.
        most: Number of pairs wanted. There are fewer where the images give fewer genuine ones, or impostors are so few
            that they would run out.
        folds: Number of folds; the number of pairs is a multiple of twice their number.
        rng: Generator of the random choices.
    """
    images = np.asarray(counts, np.int64)
    genuine_total = int((images * (images - 1) // 2).sum())
    impostor_total = int((images.sum() ** 2 - (images**2).sum()) // 2)
    half = min(most // 2, genuine_total, impostor_total // 2) // folds * folds
    genuine = _genuine(images, half, rng)
    impostors = _impostors(images, half, rng)
    folded = zip(*(_in_folds(pairs, folds) for pairs in (genuine, impostors)), strict=True)
    pairs = [pair for one, other in folded for pair in (*one, *other)]
    same = np.tile(np.repeat([True, False], half // folds), folds)
    return PairList([first for first, _ in pairs], [second for _, second in pairs], same)


def split_images(
    counts: Sequence[int], gallery: int, probes: int, rng: np.random.Generator
) -> tuple[list[Image], list[Image]]:
    """Gallery and probe images of every person: at most so many, and of the probes no more than half of all images.

    Args:
        counts: Number of images of each person, at least 2.
        gallery: Largest number of gallery images of each person.
        probes: Largest number of probes of each person.
        rng: Generator of the random choices.
    """
    known: list[Image] = []
    searched: list[Image] = []
    for person, count in enumerate(counts):
        order = rng.permutation(count).tolist()
        cut = min(probes, count // 2)
        searched += [(person, image) for image in sorted(order[:cut])]
        known += [(person, image) for image in sorted(order[cut : cut + gallery])]
    return known, searched


def _genuine(images: npt.NDArray[np.int64], wanted: int, rng: np.random.Generator) -> list[tuple[Image, Image]]:
    totals = images * (images - 1) // 2
    cap = 1
    while np.minimum(totals, cap).sum() < wanted:
        cap *= 2
    turns, people, numbers = [], [], []
    for person, total in enumerate(totals.tolist()):
        chosen = rng.choice(total, min(total, cap), replace=False)
        turns.append(np.arange(len(chosen)))
        people.append(np.full(len(chosen), person))
        numbers.append(chosen)
    turn, who, number = (np.concatenate(arrays) for arrays in (turns, people, numbers))
    taken = np.lexsort((rng.random(len(turn)), turn))[:wanted]
    taken = rng.permutation(taken)
    # Pair number k of a person is (i, j), j < i, in the order (1, 0), (2, 0), (2, 1), (3, 0) …
    later = ((1 + np.sqrt(1 + 8.0 * number[taken])) // 2).astype(np.int64)
    earlier = number[taken] - later * (later - 1) // 2
    rows = zip(who[taken].tolist(), later.tolist(), earlier.tolist(), strict=True)
    return [((person, one), (person, other)) for person, other, one in rows]


def _impostors(images: npt.NDArray[np.int64], wanted: int, rng: np.random.Generator) -> list[tuple[Image, Image]]:
    pairs: dict[tuple[Image, Image], None] = {}
    while len(pairs) < wanted:
        one, other = rng.integers(len(images), size=2).tolist()
        if one == other:
            continue
        first, second = (one, int(rng.integers(images[one]))), (other, int(rng.integers(images[other])))
        if (second, first) not in pairs:
            pairs[first, second] = None
    return list(pairs)


def _in_folds(pairs: list[tuple[Image, Image]], folds: int) -> list[list[tuple[Image, Image]]]:
    per_fold = len(pairs) // folds
    return [pairs[per_fold * fold : per_fold * (fold + 1)] for fold in range(folds)]
