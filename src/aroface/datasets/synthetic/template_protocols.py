"""Composition of the synthetic IJB sets before anything is drawn: templates, media, galleries and pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aroface.datasets.formats.ijb import GALLERIES, IdentificationProtocol, TemplateTable
from aroface.datasets.formats.ijbs import Medium, Template
from aroface.datasets.splits import sample_pairs

Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_VIDEOS, _ENROLMENT, _UAV, _STILLS = 4001, 5001, 6001, 101  # numbers of the first ones


@dataclass(frozen=True, slots=True, eq=False)
class TemplateSet:
    """Composition of an IJB-B or IJB-C tree.

    Attributes:
        people: Person on each of N images, from 0, int64 (N,).
        templates: Template of each image, from 1, int64 (N,).
        media: Medium of each image, from 1, each of one template, int64 (N,).
        probes: Flags of the images of probes, bool (N,).
        pairs: Pairs of templates, int64 (P, 2).
        same: Labels of the pairs, bool (P,).
        search: Galleries and probes; subjects are people counted from 1.
    """

    people: Int64
    templates: Int64
    media: Int64
    probes: Bools
    pairs: Int64
    same: Bools
    search: IdentificationProtocol


@dataclass(frozen=True, slots=True, eq=False)
class SurveillanceSet:
    """Composition of an IJB-S tree.

    Attributes:
        faces: Subject (from 1), stem of the file and number of the frame (None for a still) of each face.
        of_videos: Flags of the faces of videos, bool (N,).
        sightings: Subjects and the media that show them, also without a face.
        galleries: Templates of both galleries by kind; see `aroface.datasets.formats.ijbs`.
        probes: Stems of the files, by kind.
    """

    faces: list[tuple[int, str, int | None]]
    of_videos: Bools
    sightings: list[Medium]
    galleries: dict[str, tuple[list[Template], list[Template]]]
    probes: dict[str, list[str]]


def template_set(resolved: Mapping[str, Any], rng: np.random.Generator) -> TemplateSet:
    """Cast an IJB-B or IJB-C tree.

    Args:
        resolved: Complete specification, ``ijb`` of ``generate.schema.json``.
        rng: Generator of the random choices.
    """
    known, per_identity = resolved["identities"], resolved["templates_per_identity"]
    counts = [per_identity] * known + [1] * resolved["distractors"]
    people = np.repeat(np.arange(len(counts)), counts)  # of each template
    ids = 1 + np.arange(len(people))
    enrolled = np.zeros(len(people), bool)
    enrolled[: known * per_identity : per_identity] = True
    fewest, most = resolved["images_per_template"]
    images = rng.integers(fewest, most, len(people), endpoint=True)
    rows = np.repeat(np.arange(len(people)), images)  # template of each image
    within = np.arange(len(rows)) - np.repeat(images.cumsum() - images, images)
    # Neighbouring images of a template come from different media, as far as it has several.
    _, media = np.unique(rows * images.max() + within % resolved["media_per_template"], return_inverse=True)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    drawn = sample_pairs(counts, resolved["pairs"], 1, rng)
    pairs = [(first[a] + i, first[b] + j) for (a, i), (b, j) in zip(drawn.first, drawn.second, strict=True)]
    half = np.isin(people, rng.permutation(known)[: known // 2])
    galleries = {
        name: TemplateTable(ids[enrolled & mask], 1 + people[enrolled & mask])
        for name, mask in zip(GALLERIES[resolved["benchmark"]], (half, ~half), strict=True)
    }
    return TemplateSet(
        people=people[rows],
        templates=ids[rows],
        media=1 + media,
        probes=~enrolled[rows],
        pairs=ids[np.array(pairs, np.int64).reshape(-1, 2)],
        same=drawn.same,
        search=IdentificationProtocol(galleries, TemplateTable(ids[~enrolled], 1 + people[~enrolled])),
    )


def surveillance_set(resolved: Mapping[str, Any], rng: np.random.Generator) -> SurveillanceSet:
    """Cast an IJB-S tree; each video shows everybody, that of the galleries everybody who is enrolled.

    Args:
        resolved: Complete specification, ``ijbs`` of ``generate.schema.json``.
        rng: Generator of the random choices.
    """
    known, stills = resolved["subjects"], resolved["stills_per_subject"]
    enrolled, everybody = range(1, known + 1), range(1, known + resolved["unenrolled"] + 1)
    videos, uav, enrolment = (
        [f"videos_{first + number}" for number in range(count)]
        for first, count in (
            (_VIDEOS, resolved["videos_per_subject"]),
            (_UAV, resolved["uav_per_subject"]),
            (_ENROLMENT, 1),
        )
    )
    pictures = {
        subject: [f"img_{_STILLS + (subject - 1) * stills + number}" for number in range(stills)]
        for subject in enrolled
    }
    seen = [(subject, video) for video in videos for subject in everybody]
    unseen = {seen[row] for row in rng.choice(len(seen), resolved["undetected"], replace=False)}
    filmed = [
        *seen,
        *((subject, video) for video in uav for subject in everybody),
        *((subject, video) for video in enrolment for subject in enrolled),
    ]
    faces: list[tuple[int, str, int | None]] = [
        (person, stem, None) for person in enrolled for stem in pictures[person]
    ]
    fewest, most = resolved["frames_per_video"]
    for subject, video in filmed:
        frames = rng.integers(1, 30, rng.integers(fewest, most, endpoint=True)).cumsum()
        if (subject, video) not in unseen:
            faces += [(subject, video, frame) for frame in frames.tolist()]
    half = set((1 + rng.permutation(known)[: known // 2]).tolist())
    halves = [sorted(half), sorted(set(enrolled) - half)]
    galleries = {
        "single": [[Template(subject, (pictures[subject][0],)) for subject in members] for members in halves],
        "booking": [[Template(subject, tuple(sorted(pictures[subject]))) for subject in members] for members in halves],
        "surveillance": [[Template(subject, (enrolment[0],)) for subject in members] for members in halves],
    }
    return SurveillanceSet(
        faces=faces,
        of_videos=np.array([frame is not None for _, _, frame in faces]),
        sightings=[*((subject, stem) for subject in enrolled for stem in pictures[subject]), *filmed],
        galleries={kind: (one, other) for kind, (one, other) in galleries.items()},
        probes={"single-booking": videos, "surveillance": videos, "uav": uav},
    )
