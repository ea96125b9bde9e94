"""IJB-S on disk: surveillance videos of many people, searched for among stills, bookings and other videos.

Layout: ``protocols/`` has ``cs6_metadata.csv`` (subject, file, …: who is seen where), the lists of probes
``cs6_surveillance_to_{single-booking,surveillance}_probe.csv`` and ``cs6_uav_to_single-booking_probe.csv`` (file), and
``galleries/cs6_surveillance_to_{single,booking,surveillance}_{g1,g2}.csv`` (template, subject, file, …). Files have
names such as ``videos/4012.mp4`` and ``img/101146.jpg``. The faces, cropped and aligned, lie in ``faces/<subject>/`` as
``videos_4012_<frame>.jpg`` and ``img_101146.jpg``; where no face was found there is no file.
Source: Kalka et al., "IJB-S: IARPA Janus Surveillance Video Benchmark", BTAS 2018; for the columns PFE ``ijbs.py``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aroface.datasets.formats.text_tables import Form, blocks, read_columns, row_error
from aroface.errors import InputError
from aroface.files import write_text

FACES = "faces"
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

_SIGHTINGS = Form((("subject", "integer"), ("file", "text")), commas=True, header=True)
_GALLERY = Form((("template", "integer"), ("subject", "integer"), ("file", "text")), commas=True, header=True)
_PROBE = Form((("file", "text"),), commas=True, header=True)
_FILE = re.compile(r"(?:(videos)/([A-Za-z0-9-]+)|(img)/([A-Za-z0-9_-]+))\.[A-Za-z0-9]+")
_FACE = re.compile(r"(videos_[A-Za-z0-9-]+)_([0-9]{1,18})\.jpg|(img_[A-Za-z0-9_-]+)\.jpg")

Medium = tuple[int, str]
"""A subject and a video or still that shows it, such as (7, ``videos_4012``) or (7, ``img_101146``)."""


@dataclass(frozen=True, slots=True, order=True)
class Template:
    """What represents one person.

    Attributes:
        subject: the person.
        media: stems of the files, ascending, such as ``videos_4012``.
    """

    subject: int
    media: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class IJBS:
    """All that a tree holds.

    Attributes:
        folder: of the faces.
        galleries: by kind (`GALLERIES`) the templates of both, ascending. A still is a template of ``single``, all
            stills of a person are one of ``booking``, a video is one of ``surveillance``.
        probes: by kind (`PROBES`), ascending. Each is one person in one file; a file that shows several is several.
        frames: of each medium that has a face on disk, the frames' numbers as the files have them, in their order; of
            a still one empty string.
        unattributed: files in the lists of probes that, says the metadata, show nobody.
    """

    folder: Path
    galleries: dict[str, tuple[list[Template], list[Template]]]
    probes: dict[str, list[Template]]
    frames: dict[Medium, npt.NDArray[np.str_]]
    unattributed: int

    @property
    def templates(self) -> list[Template]:
        """All templates, each once, ascending."""
        parts = [part for both in self.galleries.values() for part in both] + list(self.probes.values())
        return sorted({template for part in parts for template in part})

    @property
    def media(self) -> list[Medium]:
        """All media with a face on disk, ascending: what there is to embed, each once."""
        return sorted(self.frames)

    def files(self, medium: Medium) -> list[Path]:
        """The faces of a medium in the order of its frames; none where none was found."""
        subject, stem = medium
        frames = self.frames.get(medium, np.empty(0, np.str_)).tolist()
        return [self.folder / str(subject) / f"{stem}{'_' if frame else ''}{frame}.jpg" for frame in frames]

    def count(self, template: Template) -> int:
        """The number of faces of a template; one of none is compared as a vector of zeros, and never found."""
        return sum(len(self.frames.get((template.subject, stem), ())) for stem in template.media)


@dataclass(frozen=True, slots=True)
class IJBSFace:
    """A face to write, a JPEG; the frame's number is None for a still."""

    subject: int
    medium: str
    frame: int | None
    jpeg: bytes


def is_ijbs(folder: Path) -> bool:
    """Whether a folder looks like an IJB-S tree."""
    return (folder / METADATA).exists()


def ijbs_files(folder: Path) -> tuple[Path, list[str]]:
    """A folder, and the names in it of the lists and folders that the tree consists of."""
    lists = [METADATA, *(name for both in GALLERIES.values() for name in both), *PROBES.values()]
    people = sorted(path.relative_to(folder).as_posix() for path in (folder / FACES).glob("*/"))
    return folder, [*lists, *people]


def ijbs_facts(folder: Path) -> dict[str, object]:
    """What a tree holds, by name.

    Raises:
        InputError: see `read_ijbs`.
    """
    found = read_ijbs(folder)
    templates = found.templates
    facts: dict[str, object] = {
        "subjects": len({template.subject for template in templates}),
        "enrolled": len({each.subject for both in found.galleries.values() for part in both for each in part}),
        "faces": sum(map(len, found.frames.values())),
        "templates": len(templates),
        "without a face": sum(found.count(template) == 0 for template in templates),
        "files without a subject": found.unattributed,
    }
    for kind, both in found.galleries.items():
        facts[f"gallery {kind}"] = " + ".join(str(len(part)) for part in both)
    return facts | {f"probes {kind}": len(part) for kind, part in found.probes.items()}


def read_ijbs(folder: Path) -> IJBS:
    """Read all lists of a tree and which faces are there.

    Raises:
        InputError: a list is missing, empty or malformed, a gallery's video does not show its subject, no probe of a
            list shows anybody, or none of the templates has a face.
    """
    sightings = _read_sightings(folder / METADATA)
    galleries = {kind: _read_galleries(folder, kind, sightings) for kind in GALLERIES}
    shown: dict[str, list[int]] = {}
    for subject, stem in sorted(sightings):
        shown.setdefault(stem, []).append(subject)
    probes, unattributed = {}, 0
    for kind, name in PROBES.items():
        (files,) = read_columns(folder / name, _PROBE)
        stems = set(_stems(folder / name, _PROBE, files))
        probes[kind] = sorted(Template(subject, (stem,)) for stem in stems for subject in shown.get(stem, []))
        unattributed += len(stems - shown.keys())
        if not probes[kind]:
            raise InputError("none of the files shows anybody", file=folder / name, expected=f"files of {METADATA}")
    found = IJBS(folder / FACES, galleries, probes, {}, unattributed)
    wanted = {(template.subject, stem) for template in found.templates for stem in template.media}
    found.frames.update(_find_faces(folder / FACES, wanted))
    return found


def write_ijbs(
    folder: Path,
    faces: Iterable[IJBSFace],
    sightings: Iterable[Medium],
    galleries: Mapping[str, tuple[Sequence[Template], Sequence[Template]]],
    probes: Mapping[str, Iterable[str]],
) -> dict[str, int]:
    """Write a tree; the faces are taken one by one, the lists are written last.

    Args:
        folder: where; made if it is not there.
        faces: in any order.
        sightings: who is seen where, with or without a face on disk; the lines of the metadata.
        galleries: by kind; see `IJBS`.
        probes: stems of files, by kind.

    Returns:
        The numbers of faces, of templates in all galleries, and of files in all lists of probes.
    """
    count = 0
    for face in faces:
        place = folder / FACES / str(face.subject)
        place.mkdir(parents=True, exist_ok=True)
        ending = "" if face.frame is None else f"_{face.frame}"
        (place / f"{face.medium}{ending}.jpg").write_bytes(face.jpeg)
        count += 1
    templates = files = 0
    for kind, both in galleries.items():
        for name, part in zip(GALLERIES[kind], both, strict=True):
            rows = [
                f"{number},{template.subject},{_file(stem)}"
                for number, template in enumerate(part, start=1)
                for stem in template.media
            ]
            _write_list(folder / name, "TEMPLATE_ID,SUBJECT_ID,FILENAME", rows)
            templates += len(part)
    for kind, stems in probes.items():
        rows = [_file(stem) for stem in stems]
        _write_list(folder / PROBES[kind], "FILENAME", rows)
        files += len(rows)
    _write_list(folder / METADATA, "SUBJECT_ID,FILENAME", [f"{subject},{_file(stem)}" for subject, stem in sightings])
    return {"faces": count, "gallery_templates": templates, "probe_files": files}


def _write_list(path: Path, header: str, rows: Iterable[str]) -> None:
    write_text(path, "".join(f"{line}\n" for line in (header, *rows)))


def _file(stem: str) -> str:
    """The file that lists name."""
    folder, _, name = stem.partition("_")
    return f"{folder}/{name}.{'mp4' if folder == 'videos' else 'jpg'}"


def _stems(path: Path, form: Form, files: Iterable[str], first_row: int = 0) -> list[str]:
    """``videos/4012.mp4`` as ``videos_4012``."""
    stems = []
    for row, file in enumerate(files, start=first_row):
        found = _FILE.fullmatch(file.strip())
        if not found:
            expected = "such as videos/4012.mp4 or img/101146.jpg"
            raise row_error(path, form, row, f"the file is {file!r:.60}", expected=expected)
        stems.append("_".join(part for part in found.groups() if part))
    return stems


def _read_sightings(path: Path) -> set[Medium]:
    """Who is seen where. The list has a line a frame; each subject and file are kept once."""
    seen: set[tuple[int, str]] = set()
    stems: dict[str, str] = {}
    for row, (subjects, files) in blocks(path, _SIGHTINGS):
        names = files.tolist()
        new = {name: place for place, name in reversed(list(enumerate(names))) if name not in stems}
        for name, place in new.items():
            (stems[name],) = _stems(path, _SIGHTINGS, [name], row + place)
        seen.update(zip(subjects.tolist(), map(stems.__getitem__, names), strict=True))
    return seen


def _read_galleries(folder: Path, kind: str, sightings: set[Medium]) -> tuple[list[Template], list[Template]]:
    one, other = (_read_gallery(folder / name, kind, sightings) for name in GALLERIES[kind])
    return one, other


def _read_gallery(path: Path, kind: str, sightings: set[Medium]) -> list[Template]:
    _, subjects, files = read_columns(path, _GALLERY)
    media = list(zip(subjects.tolist(), _stems(path, _GALLERY, files), strict=True))
    if kind == "surveillance":
        for row, medium in enumerate(media):
            if medium not in sightings:
                what = f"subject {medium[0]} is not seen in {files[row].strip()}"
                raise row_error(path, _GALLERY, row, what, expected=f"a subject and file of {METADATA}")
    if kind != "booking":
        return sorted({Template(subject, (stem,)) for subject, stem in media})
    stems: dict[int, set[str]] = {}
    for subject, stem in media:
        stems.setdefault(subject, set()).add(stem)
    return sorted(Template(subject, tuple(sorted(each))) for subject, each in stems.items())


def _find_faces(folder: Path, wanted: set[Medium]) -> dict[Medium, npt.NDArray[np.str_]]:
    """The frames on disk of each medium, in their order."""
    if not folder.is_dir():
        raise InputError("no such folder", file=folder)
    found: dict[Medium, npt.NDArray[np.str_]] = {}
    for subject in sorted({subject for subject, _ in wanted}):
        if (folder / str(subject)).is_dir():
            found |= {medium: frames for medium, frames in _faces_of(folder, subject).items() if medium in wanted}
    if not found:
        expected = "faces named as in 7/videos_4012_13.jpg or 7/img_101146.jpg"
        raise InputError("there is no face of any template", file=folder, expected=expected)
    return found


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
