"""IJB-S on disk: surveillance videos of many people, searched for among stills, bookings and other videos.

Layout: ``protocols/`` has ``cs6_metadata.csv`` (subject, file, …: who is seen where), the lists of probes
``cs6_surveillance_to_{single-booking,surveillance}_probe.csv`` and ``cs6_uav_to_single-booking_probe.csv`` (file), and
``galleries/cs6_surveillance_to_{single,booking,surveillance}_{g1,g2}.csv`` (template, subject, file, …). Files have
names such as ``videos/4012.mp4`` and ``img/101146.jpg``. The faces, cropped and aligned, lie in ``faces/<subject>/`` as
``videos_4012_<frame>.jpg`` and ``img_101146.jpg``; where no face was found there is no file. In later releases the
names of the lists begin with ``ijbs_``; their columns are the same. The release itself, without faces, is the format of
:mod:`aroface.datasets.formats.ijbs_release`.
Source: Kalka et al., "IJB-S: IARPA Janus Surveillance Video Benchmark", BTAS 2018; for the columns PFE ``ijbs.py``, for
the later names that of PETALface.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aroface.datasets.formats.base import COLUMNS, ROWS, Findings, Pixels, SetFormat
from aroface.datasets.formats.checks import check_mates
from aroface.datasets.formats.text_tables import Form, blocks, read_columns, row_error
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.files import write_text

FACES = "faces"
NAMINGS = ("cs6", "ijbs")
"""Beginnings of the names of the lists; the constants below have the first."""
METADATA = "protocols/cs6_metadata.csv"
GALLERIES = {
    kind: tuple(f"protocols/galleries/cs6_surveillance_to_{kind}_{part}.csv" for part in ("g1", "g2"))
    for kind in ("single", "booking", "surveillance")
}
"""The two lists of each kind of gallery."""
PROBES = {
    "single-booking": "protocols/cs6_surveillance_to_single-booking_probe.csv",
    "surveillance": "protocols/cs6_surveillance_to_surveillance_probe.csv",
    "uav": "protocols/cs6_uav_to_single-booking_probe.csv",
}
"""The list of each kind of probes."""
SEARCHES = {
    "surveillance_to_single": ("single-booking", "single"),
    "surveillance_to_booking": ("single-booking", "booking"),
    "surveillance_to_surveillance": ("surveillance", "surveillance"),
    "uav_to_single": ("uav", "single"),
    "uav_to_booking": ("uav", "booking"),
}
"""List of probes and kind of galleries of each search, by its name."""

_SIGHTINGS = Form((("subject", "integer"), ("file", "text")), commas=True, header=True)
_GALLERY = Form((("template", "integer"), ("subject", "integer"), ("file", "text")), commas=True, header=True)
_PROBE = Form((("file", "text"),), commas=True, header=True)
_FILE = re.compile(r"(?:(videos)/([A-Za-z0-9-]+)|(img)/([A-Za-z0-9_-]+))\.[A-Za-z0-9]+")
_FACE = re.compile(r"(videos_[A-Za-z0-9-]+)_([0-9]{1,18})\.jpg|(img_[A-Za-z0-9_-]+)\.jpg")

Medium = tuple[int, str]
"""A subject and a video or still that shows it, such as (7, ``videos_4012``) or (7, ``img_101146``)."""


@dataclass(frozen=True, slots=True, order=True)
class Template:
    """Media that together represent one person.

    Attributes:
        subject: Number of the person.
        media: Stems of the files, ascending, such as ``videos_4012``.
    """

    subject: int
    media: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class IJBS:
    """Content of a tree.

    Attributes:
        folder: Folder of the faces.
        galleries: Templates of both galleries by kind (`GALLERIES`), ascending. A still is a template of ``single``,
            all stills of a person are one of ``booking``, a video is one of ``surveillance``.
        probes: Probes by kind (`PROBES`), ascending. Each is one person in one file; a file that shows several people
            is several probes.
        frames: Numbers of the frames, as the files have them and in their order, of each medium that has a face on
            disk; for a still one empty string.
        unattributed: Number of files in the lists of probes that show nobody, according to the metadata.
        counts: Numbers of what the lists name, see `list_counts`.
    """

    folder: Path
    galleries: dict[str, tuple[list[Template], list[Template]]]
    probes: dict[str, list[Template]]
    frames: dict[Medium, npt.NDArray[np.str_]]
    unattributed: int
    counts: dict[str, int]

    @property
    def templates(self) -> list[Template]:
        """All templates, each once, ascending."""
        parts = [part for both in self.galleries.values() for part in both] + list(self.probes.values())
        return sorted({template for part in parts for template in part})

    @property
    def media(self) -> list[Medium]:
        """All media with a face on disk, ascending: the ones to embed, each once."""
        return sorted(self.frames)

    def files(self, medium: Medium) -> list[Path]:
        """Paths of the faces of a medium in the order of its frames; empty where none was detected."""
        subject, stem = medium
        frames = self.frames.get(medium, np.empty(0, np.str_)).tolist()
        return [self.folder / str(subject) / f"{stem}{'_' if frame else ''}{frame}.jpg" for frame in frames]

    def count(self, template: Template) -> int:
        """Number of faces of a template; one without is compared as a vector of zeros, and never retrieved."""
        return sum(len(self.frames.get((template.subject, stem), ())) for stem in template.media)


@dataclass(frozen=True, slots=True)
class IJBSFace:
    """JPEG of a face to write; the frame's number is None for a still."""

    subject: int
    medium: str
    frame: int | None
    jpeg: bytes


class IJBSFormat(SetFormat):
    """A tree of IJB-S."""

    kind = "ijbs"
    layout = "an IJB-S tree"
    default_name = "ijbs"

    def matches(self, data: Path) -> bool:
        """Return whether the tree has the metadata, under either name."""
        return naming_of(data) is not None

    def files(self, data: Path) -> tuple[Path, list[str]]:
        """Metadata, lists, and the folders of people."""
        lists = list_names(data)
        people = sorted(path.relative_to(data).as_posix() for path in (data / FACES).glob("*/"))
        return data, [*lists, *people]

    def facts(self, data: Path) -> dict[str, object]:
        """See :class:`SetFormat`."""
        tree = read_ijbs(data)
        templates = tree.templates
        enrolled = {template.subject for both in tree.galleries.values() for part in both for template in part}
        facts: dict[str, object] = {
            "subjects": len({template.subject for template in templates}),
            "enrolled": len(enrolled),
            "faces": sum(map(len, tree.frames.values())),
            "templates": len(templates),
            "without a face": sum(tree.count(template) == 0 for template in templates),
            "files without a subject": tree.unattributed,
        }
        for kind, both in tree.galleries.items():
            facts[f"gallery {kind}"] = " + ".join(str(len(part)) for part in both)
        return facts | {f"probes {kind}": len(part) for kind, part in tree.probes.items()}

    def preview(self, data: Path) -> list[list[Pixels]]:
        """See :class:`SetFormat`."""
        from aroface.datasets.images import letterbox, read_image

        tree = read_ijbs(data)
        rows = [tree.files(medium)[:COLUMNS] for medium in tree.media[:ROWS]]
        return [[letterbox(read_image(path), TEMPLATE_SIZE) for path in row] for row in rows]

    def check(self, data: Path, threads: int) -> Findings:
        """See :class:`SetFormat`."""
        from aroface.datasets.formats.image_checks import check_files, check_labels, unlisted

        tree = read_ijbs(data)
        files = [path for medium in tree.media for path in tree.files(medium)]
        templates = tree.templates
        findings = Findings({"images": len(files), "templates": len(templates), **tree.counts})
        faceless = sum(tree.count(template) == 0 for template in templates)
        counted = f"{faceless} without a face, which count as misses"
        findings.noted["templates"] = counted if faceless else "all with faces"
        findings.left_out = unlisted(data, [FACES], files)
        check_labels(findings, lambda: check_ijbs_labels(data, tree))
        check_files(findings, files, threads)
        return findings


def check_ijbs_labels(data: Path, tree: IJBS) -> None:
    """Check that some metric of IJB-S is defined on the content of the tree ``data``.

    Raises:
        InputError: No probe of any search has a mate in a gallery.
    """
    enrolled = {
        kind: {template.subject for gallery in both for template in gallery} for kind, both in tree.galleries.items()
    }
    mated = any(
        template.subject in enrolled[gallery]
        for probes, gallery in SEARCHES.values()
        for template in tree.probes[probes]
    )
    check_mates(mated, len({template for part in tree.probes.values() for template in part}), data)


def naming_of(folder: Path) -> str | None:
    """Beginning of the names of a tree's lists, one of `NAMINGS`; None where there is no metadata."""
    return next((naming for naming in NAMINGS if (folder / named(METADATA, naming)).exists()), None)


def named(name: str, naming: str) -> str:
    """Name of a list, one of the constants, in another naming."""
    return name.replace(f"{NAMINGS[0]}_", f"{naming}_", 1)


def list_names(folder: Path) -> list[str]:
    """Names of the lists of a tree: metadata, galleries and probes."""
    names = [METADATA, *(name for both in GALLERIES.values() for name in both), *PROBES.values()]
    naming = naming_of(folder) or NAMINGS[0]
    return [named(name, naming) for name in names]


def read_ijbs(folder: Path) -> IJBS:
    """Read all lists of a tree, and the names of its faces.

    Raises:
        InputError: A list is missing, empty or malformed, a gallery's video does not show its subject, no probe of a
            list shows anybody, or none of the templates has a face.
    """
    tree = read_lists(folder)
    tree.frames.update(_find_faces(folder / FACES, wanted_media(tree)))
    return tree


def wanted_media(tree: IJBS) -> set[Medium]:
    """All media of the templates, with or without a face on disk."""
    return {(template.subject, stem) for template in tree.templates for stem in template.media}


def read_lists(folder: Path) -> IJBS:
    """Read all lists of a tree, which need not have faces yet.

    Raises:
        InputError: See `read_ijbs`, but for the last.
    """
    naming = naming_of(folder) or NAMINGS[0]
    sightings = _read_sightings(folder / named(METADATA, naming))
    galleries = {kind: _read_galleries(folder, kind, naming, sightings) for kind in GALLERIES}
    shown: dict[str, list[int]] = {}
    for subject, stem in sorted(sightings):
        shown.setdefault(stem, []).append(subject)
    probes, files_of, unattributed = {}, {}, 0
    for kind, name in PROBES.items():
        path = folder / named(name, naming)
        (files,) = read_columns(path, _PROBE)
        stems = set(stems_of(path, _PROBE, files))
        probes[kind] = sorted(Template(subject, (stem,)) for stem in stems for subject in shown.get(stem, []))
        unattributed += len(stems - shown.keys())
        files_of[kind] = len(stems)
        if not probes[kind]:
            expected = f"files of {named(METADATA, naming)}"
            raise InputError("none of the files shows anybody", file=path, expected=expected)
    counts = list_counts(sightings, galleries, files_of)
    return IJBS(folder / FACES, galleries, probes, {}, unattributed, counts)


def list_counts(
    sightings: set[Medium],
    galleries: Mapping[str, tuple[Sequence[Template], Sequence[Template]]],
    probe_files: Mapping[str, int],
) -> dict[str, int]:
    """Counts that the readers of the release state, by name.

    Args:
        sightings: Subjects and the media that show them.
        galleries: Templates of both galleries by kind.
        probe_files: Number of files in each list of probes.

    Returns:
        ``videos``; ``sightings``, pairs of a person and a video; ``gallery_videos`` and ``probe_videos`` of the search
        for surveillance in surveillance.
    """
    videos = [stem for _, stem in sightings if stem.startswith("videos_")]
    return {
        "videos": len(set(videos)),
        "sightings": len(videos),
        "gallery_videos": sum(map(len, galleries["surveillance"])),
        "probe_videos": probe_files["surveillance"],
    }


def write_ijbs(
    folder: Path,
    faces: Iterable[IJBSFace],
    sightings: Iterable[Medium],
    galleries: Mapping[str, tuple[Sequence[Template], Sequence[Template]]],
    probes: Mapping[str, Iterable[str]],
) -> dict[str, int]:
    """Write a tree; the faces are taken one by one, the lists are written last.

    Args:
        folder: Root of the tree, created if missing.
        faces: Faces in any order.
        sightings: Subjects and media in which they are seen, with or without a face on disk; lines of the metadata.
        galleries: Templates of both galleries by kind; see `IJBS`.
        probes: Stems of files by kind.

    Returns:
        Numbers of faces, of templates in all galleries, and of files in all lists of probes.
    """
    count = 0
    for face in faces:
        person = folder / FACES / str(face.subject)
        person.mkdir(parents=True, exist_ok=True)
        ending = "" if face.frame is None else f"_{face.frame}"
        (person / f"{face.medium}{ending}.jpg").write_bytes(face.jpeg)
        count += 1
    templates = files = 0
    for kind, both in galleries.items():
        for name, gallery in zip(GALLERIES[kind], both, strict=True):
            rows = [
                f"{number},{template.subject},{_file(stem)}"
                for number, template in enumerate(gallery, start=1)
                for stem in template.media
            ]
            _write_list(folder / name, "TEMPLATE_ID,SUBJECT_ID,FILENAME", rows)
            templates += len(gallery)
    for kind, stems in probes.items():
        rows = [_file(stem) for stem in stems]
        _write_list(folder / PROBES[kind], "FILENAME", rows)
        files += len(rows)
    _write_list(folder / METADATA, "SUBJECT_ID,FILENAME", [f"{subject},{_file(stem)}" for subject, stem in sightings])
    return {"faces": count, "gallery_templates": templates, "probe_files": files}


def _write_list(path: Path, header: str, rows: Iterable[str]) -> None:
    write_text(path, "".join(f"{line}\n" for line in (header, *rows)))


def _file(stem: str) -> str:
    """Name of the file in the lists."""
    folder, _, name = stem.partition("_")
    return f"{folder}/{name}.{'mp4' if folder == 'videos' else 'jpg'}"


def stems_of(path: Path, form: Form, files: Iterable[str], first_row: int = 0) -> list[str]:
    """Turn names as in the lists, ``videos/4012.mp4``, into stems, ``videos_4012``."""
    stems = []
    for row, file in enumerate(files, start=first_row):
        match = _FILE.fullmatch(file.strip())
        if not match:
            expected = "such as videos/4012.mp4 or img/101146.jpg"
            raise row_error(path, form, row, f"the file is {file!r:.60}", expected=expected)
        stems.append("_".join(group for group in match.groups() if group))
    return stems


def _read_sightings(path: Path) -> set[Medium]:
    """Read subjects and the media that show them. The list has a line a frame; each subject and file are kept once."""
    seen: set[tuple[int, str]] = set()
    stems: dict[str, str] = {}
    for row, (subjects, files) in blocks(path, _SIGHTINGS):
        names = files.tolist()
        new = {name: index for index, name in reversed(list(enumerate(names))) if name not in stems}
        for name, index in new.items():
            (stems[name],) = stems_of(path, _SIGHTINGS, [name], row + index)
        seen.update(zip(subjects.tolist(), map(stems.__getitem__, names), strict=True))
    return seen


def _read_galleries(
    folder: Path, kind: str, naming: str, sightings: set[Medium]
) -> tuple[list[Template], list[Template]]:
    one, other = (_read_gallery(folder / named(name, naming), kind, naming, sightings) for name in GALLERIES[kind])
    return one, other


def _read_gallery(path: Path, kind: str, naming: str, sightings: set[Medium]) -> list[Template]:
    _, subjects, files = read_columns(path, _GALLERY)
    media = list(zip(subjects.tolist(), stems_of(path, _GALLERY, files), strict=True))
    if kind == "surveillance":
        for row, medium in enumerate(media):
            if medium not in sightings:
                what = f"subject {medium[0]} is not seen in {files[row].strip()}"
                raise row_error(path, _GALLERY, row, what, expected=f"a subject and file of {named(METADATA, naming)}")
    if kind != "booking":
        return sorted({Template(subject, (stem,)) for subject, stem in media})
    stems: dict[int, set[str]] = {}
    for subject, stem in media:
        stems.setdefault(subject, set()).add(stem)
    return sorted(Template(subject, tuple(sorted(stills))) for subject, stills in stems.items())


def _find_faces(folder: Path, wanted: set[Medium]) -> dict[Medium, npt.NDArray[np.str_]]:
    """List the frames on disk of each medium, in their order."""
    if not folder.is_dir():
        remedy = "aroface data prepare RELEASE --out TREE cuts them out of the release's videos and stills"
        raise InputError("no such folder", file=folder, remedy=remedy)
    faces: dict[Medium, npt.NDArray[np.str_]] = {}
    for subject in sorted({subject for subject, _ in wanted}):
        if (folder / str(subject)).is_dir():
            faces |= {medium: frames for medium, frames in _faces_of(folder, subject).items() if medium in wanted}
    if not faces:
        expected = "faces named as in 7/videos_4012_13.jpg or 7/img_101146.jpg"
        raise InputError("there is no face of any template", file=folder, expected=expected)
    return faces


def _faces_of(folder: Path, subject: int) -> dict[Medium, npt.NDArray[np.str_]]:
    frames: dict[str, list[str]] = {}
    with os.scandir(folder / str(subject)) as entries:
        for match in filter(None, (_FACE.fullmatch(entry.name) for entry in entries)):
            video, frame, still = match.groups()
            frames.setdefault(video or still, []).append(frame or "")
    return {
        (subject, stem): np.array(sorted(numbers, key=lambda number: (int(number or 0), number)), np.str_)
        for stem, numbers in frames.items()
    }
