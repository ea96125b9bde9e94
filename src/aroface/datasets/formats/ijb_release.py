"""IJB-B and IJB-C as NIST gave them out: photographs and frames, and lists of templates with the box of each face.

Layout: the images of the lists below ``images/`` or below the root, and the lists in ``protocols/`` or ``protocol/``,
in either of two forms:

- ``{ijbb,ijbc}_1N_gallery_{S1,S2 | G1,G2}.csv``, ``…_1N_probe_mixed.csv`` and ``ijbb_11_S1_S2_matches.csv`` or
  ``ijbc_11_G1_G2_matches.csv``;
- the older ``test1/{enroll_templates,verif_templates,match}.csv`` and ``test4/{gallery_G1,gallery_G2,probes}.csv``.

The lists of templates have a header; ``TEMPLATE_ID``, ``SUBJECT_ID``, ``FILENAME`` (or ``FILE``), ``FACE_X``,
``FACE_Y``, ``FACE_WIDTH``, ``FACE_HEIGHT`` and ``SIGHTING_ID`` are read by name. A list without sightings takes them
from ``…metadata….csv``, else from the file names: frames of a video are one medium. The matches have no header.

The images have no landmarks, so that a benchmark needs ``aroface data prepare``, which finds the faces in the boxes and
writes the layout of :mod:`aroface.datasets.formats.ijb`.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from aroface.datasets.formats.base import COLUMNS, ROWS, Findings, Pixels, SetFormat
from aroface.datasets.formats.ijb import GALLERIES, TemplateTable, is_ijb
from aroface.datasets.formats.text_tables import Form, blocks, column_places, csv_lines, unknown
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE_SIZE

IMAGES, PROTOCOLS = "images", ("protocols", "protocol")

_FOLDERS = ("img", "frames")

_MATCHES = Form((("template", "integer"), ("template", "integer")), commas=True)
_HEADS = {
    "template": ("TEMPLATE_ID",),
    "subject": ("SUBJECT_ID",),
    "file": ("FILENAME", "FILE"),
    "x": ("FACE_X",),
    "y": ("FACE_Y",),
    "width": ("FACE_WIDTH",),
    "height": ("FACE_HEIGHT",),
    "sighting": ("SIGHTING_ID",),
}
_REQUIRED = ("template", "subject", "file")
_FRAME = re.compile(r"(.*?)[_-]\d+$")

Box = tuple[float, float, float, float]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ListedFaces:
    """N images of templates, as the lists have them, each once.

    Attributes:
        files: Names of the images, (N,).
        templates: Template of each, int64 (N,).
        media: Medium of each within its template, int64 (N,).
        boxes: Left, top, width and height in pixels, float64 (N, 4); not a number where a list has none.
    """

    files: list[str]
    templates: Int64
    media: Int64
    boxes: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.files)

    def box(self, row: int) -> Box | None:
        """Box of an image; None where there is none, so that the whole image is the face's."""
        left, top, width, height = self.boxes[row].tolist()
        return None if any(map(math.isnan, (left, top, width, height))) else (left, top, width, height)


@dataclass(frozen=True, slots=True, eq=False)
class IJBRelease:
    """Content of the lists.

    Attributes:
        benchmark: Name of the benchmark, ``ijbb`` or ``ijbc``.
        images: Folder that the names of the images are below.
        faces: Images of all templates.
        galleries: Two galleries, by name.
        probes: Templates that are searched for; None where the older form has no ``test4``.
        subjects: Subject of each template, by its number.
        matches: List of the pairs that are compared.
    """

    benchmark: str
    images: Path
    faces: ListedFaces
    galleries: dict[str, TemplateTable]
    probes: TemplateTable | None
    subjects: dict[int, int]
    matches: Path

    def pairs(self) -> Iterator[tuple[Int64, npt.NDArray[np.bool_]]]:
        """Pairs of templates, int64 (P, 2), some at a time, and whether both show one person, bool (P,).

        Raises:
            InputError: The list is missing, empty or malformed, or a template is in no other list.
        """
        known = np.array(sorted(self.subjects), np.int64)
        subjects = np.array([self.subjects[number] for number in known.tolist()], np.int64)
        for row, (first, second) in blocks(self.matches, _MATCHES):
            pairs = np.stack([first, second], axis=1)
            strange = unknown(pairs, known)
            if strange is not None:
                where = f"pair {row + strange + 1}"
                raise InputError("a template is in no other list", file=self.matches, where=where)
            of_pair = subjects[np.searchsorted(known, pairs)]
            yield pairs, of_pair[:, 0] == of_pair[:, 1]


class IJBReleaseFormat(SetFormat):
    """A release of IJB-B or IJB-C by NIST."""

    kind = "ijb"
    layout = "a release of IJB-B or IJB-C by NIST"
    default_name = "ijb"

    def matches(self, data: Path) -> bool:
        """Return whether the folder has the lists of either form."""
        return is_ijb_release(data)

    def files(self, data: Path) -> tuple[Path, list[str]]:
        """Lists, and the folders of images."""
        lists = [path.relative_to(data).as_posix() for path in _lists(data)]
        apart = (data / IMAGES).is_dir()
        return data, [*lists, *(name for name in ((IMAGES,) if apart else _FOLDERS) if (data / name).is_dir())]

    def facts(self, data: Path) -> dict[str, object]:
        """See :class:`SetFormat`."""
        release = read_release(data)
        counts = np.array([(len(same), int(same.sum())) for _, same in release.pairs()]).sum(axis=0).tolist()
        facts: dict[str, object] = {
            "layout": "release: aroface data prepare finds the landmarks",
            "benchmark": release.benchmark,
            "images": len(set(release.faces.files)),
            "images of templates": len(release.faces),
            "templates": len(release.subjects),
            "pairs": counts[0],
            "genuine": counts[1],
        }
        facts |= {f"gallery {name}": len(table) for name, table in release.galleries.items()}
        return facts | ({"probes": len(release.probes)} if release.probes is not None else {})

    def preview(self, data: Path) -> list[list[Pixels]]:
        """See :class:`SetFormat`."""
        from aroface.datasets.images import letterbox, read_image

        release = read_release(data)
        names = list(dict.fromkeys(release.faces.files))[: COLUMNS * ROWS]
        return [[letterbox(read_image(release.images / name), TEMPLATE_SIZE) for name in names]]

    def check(self, data: Path, threads: int) -> Findings:
        """See :class:`SetFormat`."""
        from aroface.datasets.formats.image_checks import check_labels, check_photographs

        release = read_release(data)
        files = [release.images / name for name in sorted(set(release.faces.files))]
        compared = sum(len(same) for _, same in release.pairs())
        findings = Findings({"images": len(files), "templates": len(release.subjects), "pairs": compared})
        check_labels(findings, lambda: None)  # preparing checks them
        check_photographs(findings, files, threads)
        return findings


@dataclass(frozen=True, slots=True)
class _Lists:
    """Paths of the lists of a release."""

    benchmark: str
    folder: Path
    galleries: tuple[Path, ...]
    probes: Path
    more: tuple[Path, ...]
    matches: Path


def is_ijb_release(folder: Path) -> bool:
    """Return whether a folder looks like a release of IJB-B or IJB-C by NIST."""
    return _find(folder) is not None and not is_ijb(folder)


def read_release(data: Path) -> IJBRelease:
    """Read the lists of templates.

    Memory holds them: some 100 bytes for each of IJB-C's 0.5 million images of templates.

    Raises:
        InputError: A list is missing, empty or malformed, or a template shows two subjects.
    """
    lists = _find(data)
    if lists is None:
        expected = "protocols/ijbc_1N_probe_mixed.csv or protocols/test1"
        raise InputError("no release of IJB-B or IJB-C", file=data, expected=expected)
    rows: dict[tuple[int, str, Box], str] = {}
    subjects: dict[int, int] = {}
    tables: dict[Path, list[int]] = {}
    for path in dict.fromkeys((*lists.galleries, lists.probes, *lists.more)):
        if path.is_file():
            tables[path] = _read_templates(path, rows, subjects)
    if not rows:
        raise InputError("no list of templates", file=lists.folder)
    galleries = {
        name: _table(tables[path], subjects)
        for name, path in zip(GALLERIES[lists.benchmark], lists.galleries, strict=True)
        if path in tables
    }
    probes = _table(tables[lists.probes], subjects) if lists.probes in tables else None
    images = data / IMAGES if (data / IMAGES).is_dir() else data
    faces = _faces(lists, rows, subjects)
    return IJBRelease(lists.benchmark, images, faces, galleries, probes, subjects, lists.matches)


def _lists(data: Path) -> list[Path]:
    lists = _find(data)
    if lists is None:
        return []
    named = (*lists.galleries, lists.probes, *lists.more, lists.matches, *_metadata(lists.folder))
    return [path for path in dict.fromkeys(named) if path.is_file()]


def _find(data: Path) -> _Lists | None:
    for name in PROTOCOLS:
        folder = data / name
        for benchmark, gallery_names in GALLERIES.items():
            probes = folder / f"{benchmark}_1N_probe_mixed.csv"
            if probes.is_file():
                galleries = tuple(folder / f"{benchmark}_1N_gallery_{gallery}.csv" for gallery in gallery_names)
                matches = folder / f"{benchmark}_11_{'_'.join(gallery_names)}_matches.csv"
                return _Lists(benchmark, folder, galleries, probes, (), matches)
            test1, test4 = folder / "test1", folder / "test4"
            galleries = tuple(test4 / f"gallery_{gallery}.csv" for gallery in gallery_names)
            older = (test1 / "match.csv").is_file()
            if older and (galleries[0].is_file() or benchmark == "ijbc"):
                more = (test1 / "enroll_templates.csv", test1 / "verif_templates.csv")
                return _Lists(benchmark, folder, galleries, test4 / "probes.csv", more, test1 / "match.csv")
    return None


def _read_templates(path: Path, rows: dict[tuple[int, str, Box], str], subjects: dict[int, int]) -> list[int]:
    """Read a list into ``rows``, the sighting of each image of a template, and ``subjects``; return its templates."""
    templates: dict[int, None] = {}
    for number, row in _named_rows(path, _REQUIRED):
        try:
            template, subject = int(float(row["template"])), int(float(row["subject"]))
            left, top, width, height = (float(row.get(name) or "nan") for name in ("x", "y", "width", "height"))
        except (ValueError, OverflowError):
            what = "a template, subject or box is no number"
            raise InputError(what, file=path, where=f"line {number}") from None
        if subjects.setdefault(template, subject) != subject:
            expected = f"subject {subjects[template]} as before"
            what = f"template {template} shows subject {subject}"
            raise InputError(what, file=path, where=f"line {number}", expected=expected)
        name = row["file"].strip()
        if not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            what = f"the file is {name!r:.60}"
            raise InputError(what, file=path, where=f"line {number}", expected="a name such as img/123.jpg")
        if math.isnan(left + top + width + height):
            left = top = width = height = math.nan  # one object, so that equal rows are equal
        rows.setdefault((template, name, (left, top, width, height)), row.get("sighting", "").strip())
        templates[template] = None
    if not templates:
        raise InputError("the list is empty", file=path)
    return list(templates)


def _named_rows(path: Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Number of each line and its known columns."""
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = csv_lines(csv.reader(file), path)
        header = next(lines, [])
        places = column_places(header, _HEADS)
        absent = [_HEADS[name][0] for name in required if name not in places]
        if absent:
            expected = ",".join(names[0] for names in _HEADS.values())
            raise InputError(f"no column {absent[0]}", file=path, where="line 1", expected=expected)
        for number, fields in enumerate(lines, start=2):
            if not fields:
                continue
            if len(fields) <= max(places[name] for name in required):
                raise InputError(f"{len(fields)} columns", file=path, where=f"line {number}", expected=len(header))
            yield number, {name: fields[index] for name, index in places.items() if index < len(fields)}


def _faces(lists: _Lists, rows: dict[tuple[int, str, Box], str], subjects: dict[int, int]) -> ListedFaces:
    sightings = {} if all(rows.values()) else _sightings(lists.folder)
    media: dict[str, int] = {}
    numbered = []
    for (template, name, _), sighting in rows.items():
        key = sighting or sightings.get((subjects[template], name)) or _medium(name)
        numbered.append(media.setdefault(key, len(media) + 1))
    templates = np.array([template for template, _, _ in rows], np.int64)
    boxes = np.array([box for _, _, box in rows], np.float64)
    return ListedFaces([name for _, name, _ in rows], templates, np.array(numbered, np.int64), boxes)


def _sightings(folder: Path) -> dict[tuple[int, str], str]:
    """Sighting of each person in each file, as the metadata have them."""
    for path in _metadata(folder):
        try:
            sightings = {
                (int(float(row["subject"])), row["file"].strip()): row["sighting"].strip()
                for _, row in _named_rows(path, ("subject", "file", "sighting"))
            }
        except (InputError, ValueError):
            continue
        return sightings
    return {}


def _metadata(folder: Path) -> list[Path]:
    return sorted(folder.glob("ijb?_metadata*.csv"))


def _medium(name: str) -> str:
    """Medium of an image by its name: the video of a frame, or the still itself."""
    path = PurePosixPath(name)
    match = _FRAME.fullmatch(path.stem)
    return f"{path.parent}/{match[1]}" if match and "frame" in name.lower() else name


def _table(templates: list[int], subjects: dict[int, int]) -> TemplateTable:
    ids = np.array(sorted(templates), np.int64)
    return TemplateTable(ids, np.array([subjects[number] for number in ids.tolist()], np.int64))
