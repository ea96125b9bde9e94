"""People behind the images and templates of a benchmark that names nobody."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from aroface.evaluation.metrics.vectors import unit
from aroface.evaluation.statistics.bootstrap import Multiplicities
from aroface.evaluation.statistics.jackknife import groups_of

Booleans = NDArray[np.bool_]
Integers = NDArray[np.int64]
Rows = NDArray[np.integer[Any]]

_ALIKE = 1e-3  # largest distance between unit features of one image: what half precision rounds
_PROJECTIONS = 6


def linked(first: Rows, second: Rows, count: int) -> Integers:
    """Person of each of ``count`` images or templates, (count,): links join what shows one person.

    Args:
        first: (L,) one side of each link.
        second: (L,) other side.
        count: Number of images or templates.

    Returns:
        Numbers from 0, in the order of the first image of each person.
    """
    links = sparse.coo_array((np.ones(len(first), np.int32), (first, second)), shape=(count, count))
    _, labels = sparse.csgraph.connected_components(links, directed=False)
    _, firsts, numbers = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(firsts))[numbers]


def equal_images(features: NDArray[np.floating[Any]]) -> Integers:
    """Number of the image behind each of N features, (N,): features that differ by rounding only are of one image.

    Args:
        features: (N, D) of any length. Those of one image differ where it was embedded in batches of different sizes.
    """
    rows = unit(features, np.float64)
    projected = rows @ np.random.default_rng(0).normal(size=(rows.shape[1], _PROJECTIONS))
    reach = _ALIKE * np.sqrt(rows.shape[1] * _PROJECTIONS)  # a projection is hardly ever longer than this
    near = cKDTree(projected).query_pairs(reach, output_type="ndarray")
    alike = np.linalg.norm(rows[near[:, 0]] - rows[near[:, 1]], axis=1) <= _ALIKE
    return linked(near[alike, 0], near[alike, 1], len(rows))


def people_of_pairs(images: Rows, same: Booleans) -> Integers:
    """Person in both images of N labelled pairs, (N, 2), as far as pairs tell: genuine ones and shared images link.

    A person in several pairs that share no image counts as several. Nobody is taken for somebody else.

    Args:
        images: (N, 2) number of each image.
        same: (N,) labels, true where a pair shows one person.
    """
    _, numbers = np.unique(images, return_inverse=True)
    numbers = numbers.reshape(-1, 2)
    return numbered(linked(numbers[same, 0], numbers[same, 1], int(numbers.max()) + 1)[numbers])


def numbered(people: Rows) -> Integers:
    """People of pairs, (N, 2) of any numbers, by numbers from 0 without gaps."""
    _, numbers = np.unique(people, return_inverse=True)
    return numbers.reshape(-1, 2)


def kept_pairs(people: Integers, same: Booleans) -> Multiplicities:
    """Pairs that stay when a group of people is left out, ones of zeros and ones (G, N)."""
    groups = groups_of(with_genuine_pairs(people, same))[people]
    return np.stack([(groups != group).all(axis=1) for group in range(int(groups.max()) + 1)]).astype(np.int64)


class PairsWithoutGroups:
    """The matrix of :func:`kept_pairs` for any number of pairs: products with it, of memory as of one row.

    Args:
        people: (N, 2) people of each pair.
        same: (N,) labels, true where a pair shows one person.
    """

    def __init__(self, people: Integers, same: Booleans) -> None:
        self.groups: Integers = groups_of(with_genuine_pairs(people, same))
        self._sides = self.groups[people]
        self._within = self._sides[:, 0] == self._sides[:, 1]
        self.count = int(self.groups.max()) + 1

    def __matmul__(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Sums (G,) of ``values`` (N,) over the pairs that stay without each group."""
        one = np.bincount(self._sides[:, 0], values, self.count)
        other = np.bincount(self._sides[:, 1], np.where(self._within, 0, values), self.count)
        return np.asarray(np.sum(values, dtype=np.float64) - one - other)

    def parts(self) -> list[NDArray[np.intp]]:
        """Pairs that each of the G groups takes part in, by their numbers."""
        pairs = np.arange(len(self._sides))
        sides = np.concatenate([self._sides[:, 0], self._sides[~self._within, 1]])
        owners = np.concatenate([pairs, pairs[~self._within]])
        order = np.argsort(sides, kind="stable")
        return np.split(owners[order], np.cumsum(np.bincount(sides, minlength=self.count)))[: self.count]


def drawn_pairs(drawn: Multiplicities, people: Integers, same: Booleans) -> Multiplicities:
    """Multiplicities of N pairs in B draws of people, (B, N).

    A genuine pair counts as often as its person was drawn, an impostor pair as often as the product of its two people's
    numbers: the subsets bootstrap of Bolle, Ratha and Pankanti (CVIU 2004), for pairs within and across people.

    Args:
        drawn: (B, number of people) multiplicities.
        people: (N, 2) people of each pair.
        same: (N,) labels, true where a pair shows one person.
    """
    one, other = drawn[:, people[:, 0]], drawn[:, people[:, 1]]
    return np.where(same, one, one * other)


def with_genuine_pairs(people: Integers, same: Booleans) -> Booleans:
    """Flags of people with a genuine pair, (number of people,): strata for groups and draws."""
    genuine = np.zeros(int(people.max()) + 1, np.bool_)
    genuine[people[same]] = True
    return genuine
