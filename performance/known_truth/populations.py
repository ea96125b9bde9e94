"""Features of people who never were: benchmarks whose true rates are known, and networks that are truly equal.

A face is a point: the person's own place, a share of a direction that many have in common (people with much of it are
mistaken for one another: wolves and lambs), and noise, more for some people than for others (goats). Two networks see
the same people and images; each adds its own opinion of a person and its own noise of an image, drawn alike, so that
they differ on any one benchmark and are equal over all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from aroface.embedding.feature_store import StoredFeatures

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

DIMENSION = 24
LEVELS = (0.5, 1.0)
"""Sizes of the errors of the swept pairs."""


@dataclass(frozen=True)
class Faces:
    """Model of faces.

    Attributes:
        noise: Noise of an image against the person's own place, of the median person.
        goats: Standard deviation of its logarithm over people.
        wolves: Mean share of the common direction.
        opinion: Share of a network's own opinion in a person's place.
        own: Share of a network's own noise in that of an image.
    """

    noise: float
    goats: float = 0.3
    wolves: float = 0.25
    opinion: float = 0.25
    own: float = 0.5

    def seen(
        self, rng: Generator, owners: Integers, networks: int = 1, gains: Sequence[float] | None = None
    ) -> list[NDArray[np.float32]]:
        """Features of images (N, D) by each network.

        Args:
            rng: Source of the draws.
            owners: (N,) person of each image.
            networks: Number of networks.
            gains: Factor of each network's noise; all equal by default.
        """
        people = int(owners.max()) + 1
        places = rng.normal(size=(people, DIMENSION)) / np.sqrt(DIMENSION)
        places += self.wolves * rng.exponential(size=(people, 1)) * np.eye(DIMENSION)[0]
        spread = self.noise * np.exp(self.goats * rng.normal(size=(people, 1)))
        shared = rng.normal(size=(len(owners), DIMENSION)) / np.sqrt(DIMENSION)
        found = []
        for gain in gains or [1.0] * networks:
            opinions = rng.normal(size=(people, DIMENSION)) / np.sqrt(DIMENSION)
            own = rng.normal(size=shared.shape) / np.sqrt(DIMENSION)
            noise = np.sqrt(1 - self.own) * shared + np.sqrt(self.own) * own
            centres = np.sqrt(1 - self.opinion) * places + np.sqrt(self.opinion) * opinions
            found.append((centres[owners] + gain * spread[owners] * noise).astype(np.float32))
        return found


def stored(
    protocol: str,
    values: NDArray[np.float32],
    arrays: Mapping[str, NDArray[Any]],
    options: Mapping[str, Any] | None = None,
    layout: Mapping[str, Any] | None = None,
) -> StoredFeatures:
    """Features as a protocol finds them on disk."""
    index = {
        "protocol": {"name": protocol, "options": dict(options or {})},
        "layout": dict(layout or {}),
        "benchmark_manifest_hash": "0" * 64,
    }
    return StoredFeatures(Path("simulated"), index, values, arrays)


# Pairs


@dataclass(frozen=True)
class PairSet:
    """Labelled pairs in ten folds of different people, as many genuine as impostor pairs in each.

    Attributes:
        faces: Model of faces.
        people: Number of people.
        pairs: Number of pairs.
        images: Mean number of images of a person: some have many, most have two.
        profile: True if everybody has ten frontal images for the first side and four in profile for the second.
        named: True if a file beside the set names the people of each pair.
    """

    faces: Faces
    people: int
    pairs: int
    images: float = 4
    profile: bool = False
    named: bool = False

    def lists(self, rng: Generator) -> tuple[Integers, Integers, NDArray[np.bool_]]:
        """Owners of images, numbers of the images of each pair (N, 2), and labels, fold by fold."""
        number = np.full(self.people, 14) if self.profile else 1 + rng.geometric(1 / (self.images - 1), self.people)
        before, half = np.cumsum(number) - number, self.pairs // 20
        rows = []
        for part in np.array_split(rng.permutation(self.people), 10):
            mates = self._owners(rng, part, number, half)
            strangers = np.stack([self._owners(rng, part, number, half), rng.choice(part, half)], axis=1)
            strangers[:, 1] = np.where(strangers[:, 0] == strangers[:, 1], np.roll(part, 1)[0], strangers[:, 1])
            kept = strangers[:, 0] != strangers[:, 1]
            strangers = strangers[kept][rng.integers(kept.sum(), size=half)]
            kinds = (np.stack([mates, mates], axis=1), strangers)
            rows += [before[owners] + self._images(rng, owners, number) for owners in kinds]
        same = np.tile(np.repeat([True, False], half), 10)
        return np.repeat(np.arange(self.people), number), np.concatenate(rows), same

    def _owners(self, rng: Generator, part: Integers, number: Integers, count: int) -> Integers:
        """Person of each of the genuine pairs of a fold: all as often, or the oftener the more images."""
        if self.profile:
            return np.resize(part, count)
        return rng.choice(part, count, p=(number[part] - 1) / (number[part] - 1).sum())

    def _images(self, rng: Generator, owners: Integers, number: Integers) -> Integers:
        """Two different images of the owners of each pair (N, 2), by their places among the owner's."""
        if self.profile:
            return np.stack([rng.integers(10, size=len(owners)), 10 + rng.integers(4, size=len(owners))], axis=1)
        first = rng.integers(number[owners[:, 0]])
        other = (first + 1 + rng.integers(number[owners[:, 0]] - 1)) % number[owners[:, 0]]
        return np.stack([first, other % number[owners[:, 1]]], axis=1)

    def draw(self, rng: Generator, networks: int = 1) -> list[StoredFeatures]:
        """Stored features of a new set of people by each network."""
        owners, images, same = self.lists(rng)
        arrays = {"same": same, "images": images.astype(np.int32)}
        arrays |= {"people": owners[images]} if self.named else {}
        return [stored("pairs", values[images.ravel()], arrays) for values in self.faces.seen(rng, owners, networks)]


@dataclass(frozen=True)
class SweptPairs:
    """A pair set whose second images are spoilt by errors of growing size.

    Attributes:
        pairs: Set that is spoilt.
        levels: Sizes of the error ``scale``. An error of ``rotation`` is none: the second images are others.
        metrics: Metrics that are measured.
    """

    pairs: PairSet
    levels: tuple[float, ...]
    metrics: tuple[str, ...]

    def draw(self, rng: Generator, networks: int = 1) -> list[StoredFeatures]:
        """Stored features of a new set of people by each network."""
        owners, images, same = self.pairs.lists(rng)
        directions = rng.normal(size=(len(owners), DIMENSION)) / np.sqrt(DIMENSION)
        errors = [(None, 0.0), *(("scale", level) for level in self.levels), ("rotation", 1.0)]
        variants = [
            {"quality": "hq", "factor": factor, "level": level, "first": 0, "second": number * len(same)}
            for number, (factor, level) in enumerate(errors, start=1)
        ]
        arrays = {"same": same, "images": images.astype(np.int32)}
        options = {"metric": list(self.metrics)}
        found = []
        for values in self.pairs.faces.seen(rng, np.tile(owners, 2), networks):
            first, second, others = (values[rows] for rows in (*images.T, len(owners) + images[:, 1]))
            spoilt = [second + level * directions[images[:, 1]] for level in (0.0, *self.levels)]
            rows = np.concatenate([first, *spoilt, others]).astype(np.float32)
            found.append(stored("sensitivity", rows, arrays, options, {"variants": variants}))
        return found


# Searches


@dataclass(frozen=True)
class ClosedSearch:
    """Probes of few people each, in a gallery with distractors (TinyFace)."""

    faces: Faces
    people: int
    probes: float
    mates: float
    distractors: int

    def draw(self, rng: Generator, networks: int = 1) -> list[StoredFeatures]:
        each = 1 + rng.poisson(self.probes - 1, self.people)
        mates = 1 + rng.poisson(self.mates - 1, self.people)
        probe_labels, mate_labels = (np.repeat(np.arange(self.people), count) for count in (each, mates))
        others = self.people + np.arange(self.distractors)
        owners = np.concatenate([probe_labels, mate_labels, others])
        labels = np.concatenate([mate_labels, np.full(self.distractors, -100)])
        arrays = {"probe_labels": probe_labels, "gallery_labels": labels}
        return [stored("tinyface", values, arrays) for values in self.faces.seen(rng, owners, networks)]


@dataclass(frozen=True)
class Templates:
    """Templates of people in two galleries: all pairs of enrolled ones and probes, and the search (IJB-B, IJB-C)."""

    faces: Faces
    people: int
    probes: float

    def draw(self, rng: Generator, networks: int = 1) -> list[StoredFeatures]:
        each = 1 + rng.poisson(self.probes - 1, self.people)
        subjects = np.concatenate([np.arange(self.people), np.repeat(np.arange(self.people), each)])
        numbers, enrolled = np.arange(len(subjects)), np.arange(self.people)
        probes = numbers[self.people :]
        pairs = np.stack([np.repeat(enrolled, len(probes)), np.tile(probes, self.people)], axis=1)
        half = self.people // 2
        arrays = {
            "templates": numbers,
            "media": numbers,
            "same": subjects[pairs[:, 0]] == subjects[pairs[:, 1]],
            "pairs": pairs.astype(np.int32),
            "probes": np.stack([probes, subjects[probes]], axis=1),
            "gallery_S1": np.stack([enrolled[:half], enrolled[:half]], axis=1),
            "gallery_S2": np.stack([enrolled[half:], enrolled[half:]], axis=1),
        }
        options = {"detector_weighting": False, "norm_weighting": True}
        layout = {"galleries": ["S1", "S2"]}
        return [stored("ijb", values, arrays, options, layout) for values in self.faces.seen(rng, subjects, networks)]


@dataclass(frozen=True)
class Videos:
    """Few people with many probes each, in two galleries of stills (IJB-S)."""

    faces: Faces
    people: int
    probes: int

    def draw(self, rng: Generator, networks: int = 1) -> list[StoredFeatures]:
        subjects = np.concatenate([np.arange(self.people), np.repeat(np.arange(self.people), self.probes)])
        numbers, half = np.arange(len(subjects)), self.people // 2
        nothing = np.empty(0, np.int64)
        names = ("single_booking", "surveillance", "uav")
        lists = {f"probes_{name}": nothing for name in names}
        lists |= {
            f"gallery_{name}_{part}": nothing for name in ("single", "booking", "surveillance") for part in (1, 2)
        }
        lists |= {"probes_single_booking": numbers[self.people :]}
        lists |= {"gallery_single_1": numbers[:half], "gallery_single_2": numbers[half : self.people]}
        offsets = np.arange(len(subjects) + 1)
        arrays = {
            "medium_offsets": offsets,
            "template_offsets": offsets,
            "template_media": numbers,
            "template_subjects": subjects,
            **lists,
        }
        return [stored("ijbs", values, arrays) for values in self.faces.seen(rng, subjects, networks)]


POPULATIONS: dict[str, PairSet | SweptPairs | ClosedSearch | Templates | Videos] = {
    "LFW-like": PairSet(Faces(0.6), people=2000, pairs=6000),
    "LFW-like, nearly solved": PairSet(Faces(0.4), people=2000, pairs=6000),
    "CFP-like": PairSet(Faces(0.7), people=500, pairs=7000, profile=True),
    "AgeDB-like": PairSet(Faces(0.6), people=440, pairs=6000, images=30),
    "AgeDB-like, people told": PairSet(Faces(0.6), people=440, pairs=6000, images=30, named=True),
    "swept pairs": SweptPairs(
        PairSet(Faces(0.6), people=400, pairs=1000), LEVELS, ("accuracy", "auc", "tar_strict_at_far_1e-2")
    ),
    "few swept pairs": SweptPairs(PairSet(Faces(0.6), people=250, pairs=600), LEVELS, ("tar_strict_at_far_1e-1",)),
    "TinyFace-like": ClosedSearch(Faces(0.65), people=800, probes=1.45, mates=1.7, distractors=4000),
    "IJB-like": Templates(Faces(0.55), people=200, probes=5.5),
    "IJB-S-like": Videos(Faces(0.9), people=202, probes=28),
}
"""Benchmarks by name, of sizes at which a repetition takes half a second."""
