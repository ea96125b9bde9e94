"""Own sets for 1:N search: folders of people as gallery and as probes, in TinyFace's layout."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aroface.datasets.corrupt_images import OnCorrupt
from aroface.datasets.formats.tinyface import write_tinyface
from aroface.datasets.manifest import atomic_folder, files_under, refuse_other, sample_identity, write_manifest
from aroface.datasets.preparation.detected_landmarks import detect_landmarks
from aroface.datasets.preparation.person_folders import (
    MAX_LEFT_OUT,
    LostPeople,
    find_images,
    find_people,
)
from aroface.datasets.preparation.photograph_checks import Photographs, leave_out_corrupt, require_aligned
from aroface.datasets.preparation.photographs import Photograph
from aroface.errors import InputError
from aroface.faces.detection.detector import Detector
from aroface.files import write_text
from aroface.omissions import Omissions
from aroface.progress import track

SOURCES = "sources.csv"
"""File of a set that names the person and the source of each image."""

_GALLERY, _PROBES, _DISTRACTORS = "gallery", "probes", "distractors"
_STRANGER = "probe of a person who is not in the gallery"
_SAME = "image that is in the gallery and among the probes"


@dataclass(frozen=True, slots=True)
class SearchSetOptions:
    """Options of making a set for search.

    Attributes:
        distractors: Folder of images of other people, who join the gallery.
        people_depth: Number of folders down to a person's, where it is not found by itself.
        lost_people: Treatment of people of whom no image can be taken: an error, or they are left out.
        resize_crops: True if square images of any size are taken for aligned crops.
        on_corrupt: Treatment of an image that cannot be decoded: an error, or it is left out.
        max_left_out: Share of the images that may be left out, 0 … 1.
    """

    distractors: Path | None = None
    people_depth: int | None = None
    lost_people: LostPeople = "error"
    resize_crops: bool = False
    on_corrupt: OnCorrupt = "error"
    max_left_out: float = MAX_LEFT_OUT


@dataclass(frozen=True, slots=True)
class SearchSet:
    """Result of making a set for search.

    Attributes:
        people: Number of people in the gallery, distractors aside.
        counts: Numbers of images by part.
        omissions: Account of what was left out.
        corrupt: Images that cannot be decoded and were left out, each with the reason.
    """

    people: int
    counts: Mapping[str, int]
    omissions: Omissions
    corrupt: Sequence[str]

    def __str__(self) -> str:
        counts = self.counts
        gallery = f"gallery: {counts[_GALLERY]:,} images of {self.people:,} people"
        return f"{gallery} and {counts[_DISTRACTORS]:,} distractors; {counts[_PROBES]:,} probes"


def make_search_set(
    gallery: Path,
    probes: Path,
    out: Path,
    options: SearchSetOptions = SearchSetOptions(),
    detector: Detector | None = None,
) -> SearchSet:
    """Write a TinyFace tree, with the sources of its images in `SOURCES` and a manifest.

    A person is whom folders of one name are of, in the gallery and among the probes. Crops that are JPEGs of 112 × 112
    pixels are taken over byte for byte. With a detector the images are photographs, aligned by their largest faces; an
    interrupted call resumes from the faces it has found.

    Args:
        gallery: Folder with one for each person who is known.
        probes: Folder with one for each person who is searched for.
        out: Root of the tree.
        options: Options.
        detector: Detector of the faces in photographs; None for aligned crops.

    Raises:
        InputError: No people in a folder, or no probe whose person is in the gallery; a person is lost; an image is
            damaged or no aligned crop; more is left out than the options allow; or a folder that was not made here
            stands at ``out``.
    """
    refuse_other(out)
    _refuse_within(out, [gallery, probes, options.distractors])
    omissions = Omissions()
    images, total = _images(gallery, probes, options, omissions)
    parent = Path(os.path.commonpath([photo.path.parent.absolute() for each in images.values() for photo in each]))
    images, corrupt = leave_out_corrupt(images, parent, omissions, options.on_corrupt, options.lost_people)
    work = out.with_name(f".{out.name}.faces")
    if detector is None:
        require_aligned(images, resize=options.resize_crops)
    else:
        images = detect_landmarks(images, parent, work, detector, omissions, options.lost_people)
    images = _mated(images, omissions, parent)
    omissions.check(total, options.max_left_out, file=parent)
    people = {name: number for number, name in enumerate(_names(images, _GALLERY), start=1)}
    if not _names(images, _PROBES):
        raise InputError("no probe of a person in the gallery", file=probes, expected=f"folders named as in {gallery}")
    with atomic_folder(out) as folder:
        counts = _write(folder, images, people, parent, resize=options.resize_crops)
        write_manifest(
            folder,
            name=out.name,
            kind="tinyface",
            identity=sample_identity(folder, files_under(folder)),
            counts=counts,
            left_out=omissions.summary(),
            corrupt=corrupt,
        )
    shutil.rmtree(work, ignore_errors=True)
    return SearchSet(len(people), counts, omissions, corrupt)


def _refuse_within(out: Path, sources: Sequence[Path | None]) -> None:
    for source in sources:
        if source is not None and source.resolve() in (out.resolve(), *out.resolve().parents):
            raise InputError("lies in a folder that is read", file=out, remedy="name a place beside it")


def _images(gallery: Path, probes: Path, options: SearchSetOptions, omissions: Omissions) -> tuple[Photographs, int]:
    """Images by part and person (``gallery/anna``), and the number of all, those left out included."""
    images: Photographs = {}
    total = 0
    how = {"depth": options.people_depth, "lost": options.lost_people}
    taken: set[Path] = set()
    for part, folder in ((_GALLERY, gallery), (_PROBES, probes)):
        found = find_people(folder.absolute(), omissions, **how)  # type: ignore[arg-type]
        total += found.total
        for name, paths in found.people.items():
            for path in paths:
                if path.resolve() in taken:
                    raise InputError(_SAME, file=path, remedy="give probes of their own: a search would find itself")
            images[f"{part}/{name}"] = [Photograph(path) for path in paths]
            taken |= {path.resolve() for path in paths}
    if options.distractors is not None:
        others = find_images(options.distractors.absolute(), omissions)
        total += len(others)
        images[_DISTRACTORS] = [Photograph(path) for path in others if path.resolve() not in taken]
        for path in others:
            if path.resolve() in taken:
                omissions.add("distractor that is in the gallery or among the probes", path)
    return {name: each for name, each in images.items() if each}, total


def _mated(images: Photographs, omissions: Omissions, parent: Path) -> Photographs:
    """The images without those of probes whose people are not in the gallery."""
    known = {f"{_PROBES}/{name}" for name in _names(images, _GALLERY)} | {_DISTRACTORS}
    for name, photographs in images.items():
        if name.startswith(f"{_PROBES}/") and name not in known:
            omissions.extend(_STRANGER, (photo.path.relative_to(parent) for photo in photographs))
    return {name: each for name, each in images.items() if name in known or name.startswith(f"{_GALLERY}/")}


def _names(images: Photographs, part: str) -> list[str]:
    """Names of the people of a part, in order."""
    return sorted(name.partition("/")[2] for name in images if name.startswith(f"{part}/"))


def _write(
    folder: Path, images: Photographs, people: Mapping[str, int], parent: Path, *, resize: bool
) -> dict[str, int]:
    parts = {part: list(_listed(images, part)) for part in (_GALLERY, _PROBES)}
    others = images.get(_DISTRACTORS, [])

    def labelled(part: str) -> Iterator[tuple[int, bytes]]:
        for name, photo in track(parts[part], f"packing {part}"):
            yield people[name], photo.jpeg(resize=resize)

    counts = write_tinyface(
        folder,
        labelled(_GALLERY),
        labelled(_PROBES),
        (photo.jpeg(resize=resize) for photo in track(others, "packing distractors")),
    )
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("part", "number", "identity", "person", "source"))
    for part, listed in parts.items():
        for number, (name, photo) in enumerate(listed, start=1):
            table.writerow((part, number, people[name], name, photo.path.relative_to(parent).as_posix()))
    for number, photo in enumerate(others, start=1):
        table.writerow((_DISTRACTORS, number, "", "", photo.path.relative_to(parent).as_posix()))
    write_text(folder / SOURCES, text.getvalue())
    return counts


def _listed(images: Photographs, part: str) -> Iterator[tuple[str, Photograph]]:
    for name in _names(images, part):
        for photo in images[f"{part}/{name}"]:
            yield name, photo
