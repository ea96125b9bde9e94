"""Your own faces: a folder of photographs, one sub-folder a person, in the formats of the real sets.

People are split into those who are trained on and those who are tested; the latter give verification pairs, the same
pairs at low quality, and a TinyFace-like search with people of one image as distractors.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aroface.datasets.degradation import Treatment
from aroface.datasets.formats.checks import FOLDS
from aroface.datasets.formats.pairs import Pairs, write_pairs
from aroface.datasets.formats.tinyface import write_tinyface
from aroface.datasets.formats.training_set import write_training_set
from aroface.datasets.images import encode_jpeg
from aroface.datasets.manifest import atomic_folder, write_manifest
from aroface.datasets.preparation.detected_landmarks import detect_landmarks
from aroface.datasets.preparation.pack_options import PackOptions, packed_identities
from aroface.datasets.preparation.photograph_checks import check_landmarks, leave_out_corrupt, require_aligned
from aroface.datasets.preparation.photographs import Photograph, read_people
from aroface.datasets.splits import PairList, sample_pairs, split_images, split_people
from aroface.errors import InputError
from aroface.faces.detection.detector import Detector
from aroface.omissions import Omissions
from aroface.progress import track

__all__ = ["PackOptions", "Packed", "pack"]

_WHERE = "--test-fraction or --options of data pack, data.NAME.pack of a configuration"
_PAIRING, _PAIR_IMAGES, _SEARCH, _PROBE_IMAGES = 1301, 1302, 1303, 1304

Person = list[Photograph]


def pack(folder: Path, out: Path, options: PackOptions | None = None, detector: Detector | None = None) -> Packed:
    """Write ``train/``, ``pairs.bin``, ``pairs_lq.bin`` and ``tinyface/``, each with its manifest, below ``out``.

    Crops that are JPEGs of 112 × 112 pixels already are taken over byte for byte. What is left out stands in the
    package's manifest.

    Args:
        folder: ``person/image.jpg`` or another usual format; aligned crops unless the options name landmarks.
        out: Folder of the package, which appears when it is complete.
        options: Options of packing; by default a fifth of the people is tested.
        detector: The detector that the options name; an interrupted call resumes from the faces it has found.

    Raises:
        InputError: A person has no image, or one while the options do not treat that case; an image is damaged, is no
            aligned crop or has no landmarks; more is left out, or more landmarks are implausible, than the options
            allow; there are too few people; or something that was not made here stands at ``out``.
    """
    options = options or PackOptions()
    omissions = Omissions()
    work = out.with_name(f".{out.name}.faces")
    people, corrupt, suspects = _usable_people(folder, options, omissions, detector, work)
    singles = [name for name, images in people.items() if len(images) == 1]
    if singles and options.singletons == "error":
        raise InputError(
            f"one image only, as of {len(singles)} of {len(people)} people",
            file=folder / singles[0],
            remedy="add images, or choose singletons: distractors (--singletons)",
        )
    rest, tested = split_people(people.keys() - set(singles), options.test_fraction, options.seed)
    trained = [name for name in rest if len(people[name]) >= options.min_images]
    for name in sorted(set(rest) - set(trained)):
        omissions.note("person with too few images to be trained on", name)
    if "pairs" not in options.parts:
        for name in singles:
            omissions.note("person with one image, of no use without a test", name)
    identities = packed_identities(folder, options)
    with atomic_folder(out) as package:
        counts: dict[str, int] = {"left_out": len(rest) - len(trained)}
        if "train" in options.parts:
            counts |= _train(
                package / "train", [people[name] for name in trained], options, identities["train"], folder
            )
        if "pairs" in options.parts:
            chosen = [people[name] for name in tested]
            counts |= _pairs(package, chosen, options, identities, folder)
            others = [people[name][0] for name in singles]
            counts |= _tinyface(package / "tinyface", chosen, others, options, identities["tinyface"])
        write_manifest(
            package,
            name=out.name,
            kind="package",
            identity=identities["all"],
            counts=counts,
            left_out=omissions.summary(),
            corrupt=corrupt,
        )
    shutil.rmtree(work, ignore_errors=True)
    return Packed(len(people), sum(map(len, people.values())), counts, omissions, corrupt, suspects)


@dataclass(frozen=True, slots=True)
class Packed:
    """Result of packing.

    Attributes:
        people: Number of people.
        images: Number of their images.
        counts: Numbers of the parts, as the package's manifest has them.
        omissions: Summary of the images that were left out.
        corrupt: Images that cannot be decoded and were left out, each with the reason.
        suspects: Images whose landmarks are implausible; they are packed all the same.
    """

    people: int
    images: int
    counts: Mapping[str, int]
    omissions: Omissions
    corrupt: Sequence[str]
    suspects: Omissions

    def __str__(self) -> str:
        summaries = [f"{self.images:,} images of {self.people:,} people"]
        if "train_images" in self.counts:
            summaries.append(f"train: {self.counts['train_images']:,} of {self.counts['train_identities']:,}")
        if "pairs" in self.counts:
            summaries.append(f"test: {self.counts['pairs']:,} pairs of {self.counts['test_identities']:,}")
            search = (f"{self.counts[kind]:,} {kind}" for kind in ("gallery", "probes", "distractors"))
            summaries.append(", ".join(search))
        return "; ".join(summaries)


def _usable_people(
    folder: Path, options: PackOptions, omissions: Omissions, detector: Detector | None, work: Path
) -> tuple[dict[str, Person], list[str], Omissions]:
    """The photographs that can be packed, those that cannot be decoded, and those with implausible landmarks."""
    table = None if options.landmarks is None else Path(options.landmarks)
    lost = options.lost_people
    all_people = read_people(
        folder, table, omissions=omissions, depth=options.people_depth, lost=lost, orientation=options.orientation
    )
    people, corrupt = leave_out_corrupt(all_people.photographs, folder, omissions, options.on_corrupt, lost)
    if detector is not None:
        people = detect_landmarks(people, folder, work, detector, omissions, lost)
    omissions.check(all_people.total, options.max_left_out, file=folder)
    if detector is not None:
        return people, corrupt, Omissions()
    if table is None:
        require_aligned(people, resize=options.resize_crops)
        return people, corrupt, Omissions()
    return people, corrupt, check_landmarks(people, folder, table, options.max_suspect_landmarks)


def _require_two(people: list[Person], purpose: str, folder: Path, remedy: str) -> None:
    if len(people) < 2:
        what = f"{len(people)} people to {purpose}"
        raise InputError(what, file=folder, expected="2 or more", remedy=f"{remedy} ({_WHERE})")


def _train(
    out: Path, people: list[Person], options: PackOptions, identity: dict[str, Any], folder: Path
) -> dict[str, int]:
    _require_two(people, "train on", folder, "lower test_fraction or min_images")
    labelled = [(label, photo) for label, person in enumerate(people) for photo in person]
    items = ((label, _jpeg(photo, options)) for label, photo in track(labelled, "packing the training set"))
    counts = {"identities": len(people), "images": write_training_set(out, items, len(people))}
    write_manifest(out, name=out.name, kind="training", identity=identity, counts=counts)
    return {"train_identities": counts["identities"], "train_images": counts["images"]}


def _pairs(
    package: Path, people: list[Person], options: PackOptions, identities: dict[str, dict[str, Any]], folder: Path
) -> dict[str, int]:
    _require_two(people, "test", folder, "raise test_fraction, or set it to 0 to test nobody")
    rng = np.random.default_rng([options.seed, _PAIRING])
    chosen = sample_pairs([len(person) for person in people], options.pairs, options.folds, rng)
    if len(chosen.same) < FOLDS:
        raise InputError(
            f"{len(people)} people to test give {len(chosen.same)} pairs for {options.folds} folds",
            file=folder,
            expected=f"at least {FOLDS} pairs",
            remedy=f"raise test_fraction or pairs, or lower folds ({_WHERE})",
        )
    counts = {"identities": len(people), "pairs": len(chosen.same)}
    for name, images in (
        ("pairs", _clean_images(chosen, people, options)),
        ("pairs_lq", _low_images(chosen, people, options)),
    ):
        file = package / f"{name}.bin"
        write_pairs(file, Pairs(list(track(images, f"packing {name}", 2 * len(chosen.same))), chosen.same))
        write_manifest(file, name=name, kind="pairs", identity=identities[name], counts=counts)
    return {"test_identities": len(people), "pairs": counts["pairs"]}


def _tinyface(
    out: Path, people: list[Person], others: list[Photograph], options: PackOptions, identity: dict[str, Any]
) -> dict[str, int]:
    rng = np.random.default_rng([options.seed, _SEARCH])
    sizes = [len(person) for person in people]
    gallery, probes = split_images(sizes, options.gallery_per_identity, options.probes_per_identity, rng)
    width = options.probe_resolution
    treatment = Treatment(1.0, (width, width), options.probe_alignment, "downsample")
    streams = (np.random.default_rng([options.seed, _PROBE_IMAGES, number]) for number in range(len(probes)))
    counts = write_tinyface(
        out,
        ((who, _jpeg(people[who][image], options)) for who, image in track(gallery, "packing the gallery")),
        (
            (who, _low_jpeg(people[who][image], options, treatment, stream))
            for (who, image), stream in zip(track(probes, "packing the probes"), streams, strict=True)
        ),
        (_jpeg(photo, options) for photo in track(others, "packing the distractors")),
    )
    write_manifest(out, name=out.name, kind="tinyface", identity=identity, counts=counts)
    return counts


def _clean_images(pairs: PairList, people: list[Person], options: PackOptions) -> Iterator[bytes]:
    made: dict[tuple[int, int], bytes] = {}
    for image in _in_turn(pairs):
        if image not in made:
            made[image] = _jpeg(people[image[0]][image[1]], options)
        yield made[image]


def _low_images(pairs: PairList, people: list[Person], options: PackOptions) -> Iterator[bytes]:
    treatment = Treatment(1.0, options.resolution, options.alignment)
    if options.degradation == "none":
        treatment = Treatment(0.0, options.resolution, options.alignment)
    elif options.degradation == "downsample":
        treatment = Treatment(1.0, options.resolution, options.alignment, "downsample")
    for number, (who, image) in enumerate(_in_turn(pairs)):
        photo = people[who][image]
        if options.which == "second" and number % 2 == 0:
            yield _jpeg(photo, options)
        else:
            yield _low_jpeg(photo, options, treatment, np.random.default_rng([options.seed, _PAIR_IMAGES, number]))


def _in_turn(pairs: PairList) -> Iterable[tuple[int, int]]:
    return (image for both in zip(pairs.first, pairs.second, strict=True) for image in both)


def _jpeg(photo: Photograph, options: PackOptions) -> bytes:
    return photo.jpeg(options.jpeg_quality, resize=options.resize_crops)


def _low_jpeg(photo: Photograph, options: PackOptions, treatment: Treatment, rng: np.random.Generator) -> bytes:
    resolutions = treatment.resolutions(1, rng)
    error = None if treatment.alignment == "exact" else treatment.errors(resolutions, rng)[0]
    faces = photo.face(error)[None].copy()
    treatment.degrade(faces, resolutions, rng)
    return encode_jpeg(faces[0], options.jpeg_quality)
