"""Score files of systems: rates, thresholds for a wished FMR, and tests of three equal systems.

Rates of the whole population are told from millions of its comparisons, so that a threshold has a true value, and the
FMR and FNMR at each threshold that was found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from aroface.evaluation.metrics.vectors import unit
from aroface.evaluation.score_files import ScoreSet
from aroface.evaluation.scores import DecisionThreshold, SystemVerdict, compare_systems, evaluate_scores
from known_truth.populations import Faces, Floats, Integers
from known_truth.rows import LEVEL, Key, Observations

FMRS = (1e-2, 1e-3)
"""Wished FMRs."""
FACES = Faces(0.6)
SYSTEMS = ("A", "B", "C")
_PEOPLE, _COMPARISONS = 40_000, 4_000_000  # of the population
_BLOCK = 250_000


@dataclass(frozen=True)
class Matrix:
    """Probes of people who are enrolled, and of others, against a reference of each who is.

    Attributes:
        enrolled: Number of people with a reference.
        others: Number of people without.
        probes: Number of probes of each.
    """

    enrolled: int
    others: int
    probes: int

    def draw(self, rng: Generator, systems: int) -> list[ScoreSet]:
        """Scores of new people by each system."""
        owners = np.repeat(np.arange(self.enrolled + self.others), self.probes)
        references = np.arange(self.enrolled)
        people = np.stack([np.repeat(owners, self.enrolled), np.tile(references, len(owners))], axis=1)
        probes = np.repeat(np.arange(len(owners)), self.enrolled)
        found = []
        for values in FACES.seen(rng, np.concatenate([references, owners]), systems):
            vectors = unit(values, np.float64)
            scores = vectors[self.enrolled :] @ vectors[: self.enrolled].T
            found.append(ScoreSet(scores.ravel(), people[:, 0] == people[:, 1], people, probes))
        return found


@dataclass(frozen=True)
class Comparisons:
    """Comparisons of people of whom each is in one alone, as a file that names nobody is taken for.

    Attributes:
        genuine: Number of genuine comparisons.
        impostors: Number of impostor comparisons.
    """

    genuine: int
    impostors: int

    def draw(self, rng: Generator, systems: int) -> list[ScoreSet]:
        """Scores of new people by each system."""
        owners = np.concatenate([np.arange(self.genuine).repeat(2), self.genuine + np.arange(2 * self.impostors)])
        same = np.arange(self.genuine + self.impostors) < self.genuine
        return [ScoreSet(_between(values, _sides(same)), same) for values in FACES.seen(rng, owners, systems)]


FILES: dict[str, Matrix | Comparisons] = {
    "scores of a search": Matrix(enrolled=100, others=50, probes=3),
    "scores of unnamed people": Comparisons(genuine=600, impostors=3000),
}
"""Score files by name."""


def _sides(same: NDArray[np.bool_]) -> Integers:
    return np.arange(2 * len(same)).reshape(-1, 2)


def _between(values: NDArray[np.float32], pairs: Integers) -> Floats:
    """Scores of pairs of images (N, 2)."""
    vectors = unit(values, np.float64)
    parts = [pairs[start : start + _BLOCK].T for start in range(0, len(pairs), _BLOCK)]
    return np.concatenate([np.einsum("nd,nd->n", vectors[one], vectors[other]) for one, other in parts])


@dataclass(frozen=True)
class Population:
    """Scores of everybody, ascending."""

    genuine: Floats
    impostors: Floats

    def threshold(self, fmr: float) -> float:
        """The threshold that so many impostors reach."""
        return float(np.quantile(self.impostors, 1 - fmr))

    def fmr(self, threshold: float) -> float:
        """The share of impostors at or above a threshold."""
        return float(1 - np.searchsorted(self.impostors, threshold) / len(self.impostors))

    def fnmr(self, threshold: float) -> float:
        """The share of genuine comparisons below a threshold."""
        return float(np.searchsorted(self.genuine, threshold) / len(self.genuine))


@lru_cache(maxsize=1)
def population() -> Population:
    """Scores of many people: five images of each for genuine comparisons, one for those of impostors."""
    rng = np.random.default_rng(0)
    (values,) = FACES.seen(rng, np.repeat(np.arange(_PEOPLE), 5))
    first = 5 * np.arange(_PEOPLE)
    genuine = np.concatenate([first[:, None] + pair for pair in np.stack(np.triu_indices(5, 1), axis=1)])
    one = rng.integers(_PEOPLE, size=_COMPARISONS)
    other = (one + rng.integers(1, _PEOPLE, size=_COMPARISONS)) % _PEOPLE
    impostors = np.stack([first[one], first[other]], axis=1)
    return Population(np.sort(_between(values, genuine)), np.sort(_between(values, impostors)))


def evaluated(file: str, rng: Generator) -> Observations:
    """Intervals of one system, and comparisons of three equal ones."""
    drawn = FILES[file].draw(rng, len(SYSTEMS))
    verdicts = [evaluate_scores(name, scores, FMRS) for name, scores in zip(SYSTEMS, drawn, strict=True)]
    found: dict[Key, tuple[float, ...]] = {}
    for name, ends in verdicts[0].intervals.items():
        found["interval", name] = (verdicts[0].metrics[name], *ends)
    for threshold in verdicts[0].thresholds:
        found |= dict(_threshold(threshold))
    return found | dict(_compared(verdicts))


def _threshold(found: DecisionThreshold) -> Iterator[tuple[Key, tuple[float, ...]]]:
    everybody, wished = population(), f"{found.wished:.0e}".replace("e-0", "e-")
    truth = everybody.threshold(found.wished)
    yield ("interval", f"threshold for FMR {wished}"), (found.threshold, found.low, found.high, truth)
    fmr, fnmr = everybody.fmr(found.threshold), everybody.fnmr(found.threshold)
    yield ("interval", f"FMR at the threshold for {wished}"), (found.fmr, *found.fmr_interval, fmr)
    yield ("interval", f"FNMR at the threshold for {wished}"), (found.fnmr, *found.fnmr_interval, fnmr)


def _compared(verdicts: Sequence[SystemVerdict]) -> Iterator[tuple[Key, tuple[float, ...]]]:
    """The first two systems by each metric, and all three by each after Holm's method."""
    compared = compare_systems(verdicts)
    for each in compared:
        if (each.first, each.second) == SYSTEMS[:2]:
            yield ("interval", f"difference of {each.row.metric}"), (each.row.difference, *each.row.interval, 0.0)
            yield ("test", each.row.metric), (each.row.p_value,)
    for metric in dict.fromkeys(each.row.metric for each in compared):
        adjusted = [each.row.adjusted for each in compared if each.row.metric == metric]
        smallest = min((each for each in adjusted if math.isfinite(each)), default=1.0)
        yield ("share", f"any two of three systems by {metric}, after Holm"), (float(smallest < LEVEL),)
