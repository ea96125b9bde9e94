"""IJB-B and IJB-C on disk: loosely cropped faces with landmarks, templates of them, pairs and galleries of templates.

Layout: in ``meta/`` the lists ``{ijbb,ijbc}_face_tid_mid.txt`` (image, template, medium), ``…_name_5pts_score.txt``
(image, x1 y1 … x5 y5, score of the detector) and ``…_template_pair_label.txt`` (template, template, 0 or 1); the images
in ``loose_crop/``. For the search among many, ``…_1N_gallery_{S1,S2}.csv`` of IJB-B or ``…_{G1,G2}.csv`` of IJB-C and
``…_1N_probe_mixed.csv`` (template, subject, …). A loose crop with an EXIF orientation is turned before it is aligned,
as ``cv2.imread`` of the released script does. Source: insightface ``recognition/_evaluation_/ijb``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aroface.datasets.formats.text_tables import (
    Form,
    blocks,
    count_lines,
    plain_names,
    read_columns,
    row_error,
    unknown,
)
from aroface.errors import InputError
from aroface.files import write_text

IMAGES = "loose_crop"
GALLERIES = {"ijbb": ("S1", "S2"), "ijbc": ("G1", "G2")}
"""Names of the two galleries of each benchmark."""

_FACES = Form((("name", "text"), ("template", "integer"), ("medium", "integer")))
_POINTS = Form(
    (
        ("name", "text"),
        *((f"{axis}{number}", "number") for number in range(1, 6) for axis in "xy"),
        ("score", "number"),
    )
)
_PAIRS = Form((("template", "integer"), ("template", "integer"), ("label", "integer")))
_SEARCH = Form((("template", "integer"), ("subject", "integer")), commas=True, header=True)
_HEADER = "TEMPLATE_ID,SUBJECT_ID,FILENAME"

Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """N images and what they belong to.

    Attributes:
        benchmark: ``ijbb`` or ``ijbc``.
        folder: of the images.
        names: of their files, (N,).
        templates: the template of each, int64 (N,).
        media: the medium (still or video) of each, int64 (N,).
        landmarks: five points in pixels, float32 (N, 5, 2).
        scores: of the face detector, float32 (N,).
    """

    benchmark: str
    folder: Path
    names: npt.NDArray[np.str_]
    templates: Int64
    media: Int64
    landmarks: Float32
    scores: Float32

    def __len__(self) -> int:
        return len(self.names)

    def path(self, position: int) -> Path:
        """The file of an image; whether it is there shows when it is read."""
        return self.folder / str(self.names[position])

    def crop(self, position: int, size: int = 112) -> npt.NDArray[np.uint8]:
        """An image aligned by its landmarks, uint8 (size, size, 3), RGB; black where the loose crop ends.

        It is turned by its EXIF orientation first, as ``cv2.imread`` of the released script does: the landmarks are of
        that frame. Crops that a program has cut out carry no such tag, and all others give the same bytes without
        turning, so that this is no option, and features that were computed before keep their meaning.

        Raises:
            InputError: the image is missing or damaged, or its landmarks all coincide.
        """
        # Who reads lists alone need not wait for OpenCV.
        from aroface.datasets.formats.checks import aligned_face, read_file

        path = self.path(position)
        return aligned_face(read_file(path), path, self.landmarks[position], size)


@dataclass(frozen=True, slots=True, eq=False)
class TemplateTable:
    """T templates and whom they show.

    Attributes:
        ids: of the templates, ascending, int64 (T,).
        subjects: int64 (T,).
    """

    ids: Int64
    subjects: Int64

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class IdentificationProtocol:
    """The 1:N protocol: who is searched for in which galleries.

    Attributes:
        galleries: two, by name.
        probes: templates that are searched for in each.
    """

    galleries: dict[str, TemplateTable]
    probes: TemplateTable


@dataclass(frozen=True, slots=True, eq=False)
class IJB:
    """All that a tree holds.

    Attributes:
        faces: the images.
        pairs: templates that are compared, int64 (P, 2).
        same: whether a pair shows one person, bool (P,).
        search: galleries and probes, None where the tree has no such lists.
    """

    faces: Faces
    pairs: Int64
    same: Bools
    search: IdentificationProtocol | None


@dataclass(frozen=True, slots=True, eq=False)
class IJBFace:
    """An image to write, a JPEG; the other fields as in `Faces`."""

    template: int
    medium: int
    jpeg: bytes
    landmarks: npt.ArrayLike
    score: float


def is_ijb(folder: Path) -> bool:
    """Whether a folder looks like an IJB-B or IJB-C tree."""
    return any(_list(folder, benchmark, "face_tid_mid.txt").exists() for benchmark in GALLERIES)


def ijb_files(folder: Path) -> tuple[Path, list[str]]:
    """A folder, and the names in it of the lists and folders that the tree consists of."""
    lists = sorted(path.relative_to(folder).as_posix() for path in (folder / "meta").glob(f"{_benchmark(folder)}_*"))
    return folder, [*lists, IMAGES]


def ijb_facts(folder: Path) -> dict[str, object]:
    """What a tree holds, by name.

    Raises:
        InputError: see `read_ijb`.
    """
    found = read_ijb(folder)
    facts: dict[str, object] = {
        "benchmark": found.faces.benchmark,
        "images": len(found.faces),
        "templates": len(np.unique(found.faces.templates)),
        "media": len(np.unique(found.faces.media)),
        "pairs": len(found.same),
        "genuine": int(found.same.sum()),
    }
    if found.search is not None:
        facts |= {f"gallery {name}": len(gallery) for name, gallery in found.search.galleries.items()}
        facts["probes"] = len(found.search.probes)
    return facts


def read_ijb(folder: Path) -> IJB:
    """Read all lists of a tree.

    Raises:
        InputError: a list is missing, empty or malformed, or names what another does not know.
    """
    faces = read_faces(folder)
    pairs, same = read_template_pairs(folder, faces)
    return IJB(faces, pairs, same, read_search(folder, faces))


def read_faces(folder: Path) -> Faces:
    """Read which images there are, of which template and medium, with which landmarks.

    The landmarks may be listed in another order than the templates. Images are not looked for before they are read.

    Raises:
        InputError: a list is missing, empty or malformed, or one has a name that the other lacks.
    """
    benchmark = _benchmark(folder)
    path, points_path = (_list(folder, benchmark, name) for name in ("face_tid_mid.txt", "name_5pts_score.txt"))
    names, templates, media = read_columns(path, _FACES)
    point_names, *values = read_columns(points_path, _POINTS)
    odd = plain_names(names.tolist())
    if odd is not None:
        raise row_error(path, _FACES, odd, f"the name is {names[odd]!r:.60}", expected=f"a file name in {IMAGES}")
    points = np.stack(values, axis=1)
    if not np.array_equal(names, point_names):
        points = points[_places(names, point_names, path, points_path)]
    return Faces(
        benchmark,
        folder / IMAGES,
        names.astype(np.str_),
        templates,
        media,
        np.ascontiguousarray(points[:, :10]).reshape(-1, 5, 2),
        np.ascontiguousarray(points[:, 10]),
    )


def read_template_pairs(folder: Path, faces: Faces) -> tuple[Int64, Bools]:
    """Read the pairs of templates of the 1:1 protocol, int64 (P, 2), and whether each shows one person, bool (P,).

    Beyond the result's memory it takes some hundred MB, however long the list is.

    Raises:
        InputError: the list is missing, empty or malformed, a label is not 0 or 1, or a template has no image.
    """
    path = _list(folder, faces.benchmark, "template_pair_label.txt")
    known = np.unique(faces.templates)
    most = count_lines(path)
    pairs, same = np.empty((most, 2), np.int64), np.empty(most, np.bool_)
    end = 0
    for row, (first, second, labels) in blocks(path, _PAIRS):
        end = row + len(labels)
        here = pairs[row:end]
        here[:, 0], here[:, 1], same[row:end] = first, second, labels == 1
        wrong, strange = (labels != 0) & (labels != 1), unknown(here, known)
        if wrong.any():
            at = int(wrong.argmax())
            raise row_error(path, _PAIRS, row + at, f"the label is {labels[at]}", expected="0 or 1")
        if strange is not None:
            which = here[strange][~np.isin(here[strange], known)][0]
            raise row_error(path, _PAIRS, row + strange, f"template {which} has no image")
    return pairs[:end], same[:end]


def read_search(folder: Path, faces: Faces) -> IdentificationProtocol | None:
    """Read the galleries and probes of the 1:N protocol; None where the tree has none of their lists.

    Raises:
        InputError: only some of the lists are there, one is empty or malformed, or a template has no image or two
            subjects.
    """
    galleries = GALLERIES[faces.benchmark]
    paths = [_search_list(folder, faces.benchmark, part) for part in (*galleries, None)]
    if not any(path.exists() for path in paths):
        return None
    known = np.unique(faces.templates)
    *found, probes = (_read_templates(path, known) for path in paths)
    return IdentificationProtocol(dict(zip(galleries, found, strict=True)), probes)


def write_ijb(
    folder: Path,
    benchmark: str,
    faces: Iterable[IJBFace],
    pairs: Int64,
    same: Bools,
    search: IdentificationProtocol | None = None,
) -> dict[str, int]:
    """Write a tree; the images are taken one by one, the lists are written last.

    Args:
        folder: where; made if it is not there.
        benchmark: ``ijbb`` or ``ijbc``.
        faces: images in any order; their files are numbered.
        pairs: templates, int64 (P, 2).
        same: bool (P,).
        search: galleries under the names in `GALLERIES`, and probes.

    Returns:
        The numbers of images, templates and pairs.

    Raises:
        ValueError: the galleries have other names.
    """
    if search is not None and tuple(search.galleries) != GALLERIES[benchmark]:
        raise ValueError(f"galleries {', '.join(search.galleries)}, expected {', '.join(GALLERIES[benchmark])}")
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    listed, points, images = [], [], dict[int, list[str]]()
    for number, face in enumerate(faces, start=1):
        name = f"{number}.jpg"
        (folder / IMAGES / name).write_bytes(face.jpeg)
        images.setdefault(face.template, []).append(name)
        listed.append(f"{name} {face.template} {face.medium}")
        values = np.append(np.asarray(face.landmarks, np.float32).ravel(), np.float32(face.score))
        points.append(" ".join([name, *map(str, values)]))
    _write_lines(_list(folder, benchmark, "face_tid_mid.txt"), listed)
    _write_lines(_list(folder, benchmark, "name_5pts_score.txt"), points)
    rows = zip(pairs.tolist(), same.tolist(), strict=True)
    labelled = [f"{first} {second} {int(genuine)}" for (first, second), genuine in rows]
    _write_lines(_list(folder, benchmark, "template_pair_label.txt"), labelled)
    if search is not None:
        for part, templates in (*search.galleries.items(), (None, search.probes)):
            _write_lines(_search_list(folder, benchmark, part), [_HEADER, *_search_rows(templates, images)])
    return {"images": len(listed), "templates": len(images), "pairs": len(labelled)}


def _list(folder: Path, benchmark: str, name: str) -> Path:
    return folder / "meta" / f"{benchmark}_{name}"


def _search_list(folder: Path, benchmark: str, gallery: str | None) -> Path:
    return _list(folder, benchmark, f"1N_gallery_{gallery}.csv" if gallery else "1N_probe_mixed.csv")


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))


def _search_rows(templates: TemplateTable, images: Mapping[int, list[str]]) -> list[str]:
    """One line an image, as the original lists have them."""
    rows = zip(templates.ids.tolist(), templates.subjects.tolist(), strict=True)
    return [f"{template},{subject},{IMAGES}/{name}" for template, subject in rows for name in images[template]]


def _benchmark(folder: Path) -> str:
    there = [benchmark for benchmark in GALLERIES if _list(folder, benchmark, "face_tid_mid.txt").exists()]
    if len(there) != 1:
        expected = " or ".join(f"meta/{benchmark}_face_tid_mid.txt" for benchmark in GALLERIES)
        raise InputError("two benchmarks in one folder" if there else "no IJB tree", file=folder, expected=expected)
    return there[0]


def _places(
    names: npt.NDArray[np.object_], others: npt.NDArray[np.object_], path: Path, others_path: Path
) -> list[int]:
    """Where each name stands in a list of the same names in another order."""
    place = {name: row for row, name in enumerate(others.tolist())}
    for row, name in enumerate(names.tolist()):
        if name not in place:
            raise row_error(path, _FACES, row, f"{others_path.name} has no {name!r:.60}")
    if len(place) < len(others):
        row = next(row for row, name in enumerate(others.tolist()) if place[name] != row)
        raise row_error(others_path, _POINTS, row, f"{others[row]!r:.60} stands here twice")
    mine = dict.fromkeys(names.tolist())
    if len(mine) < len(names):
        raise InputError("a name stands here twice", file=path, expected="each name once, as the lists' orders differ")
    for row, name in enumerate(others.tolist()):
        if name not in mine:
            raise row_error(others_path, _POINTS, row, f"{path.name} has no {name!r:.60}")
    return [place[name] for name in names.tolist()]


def _read_templates(path: Path, known: Int64) -> TemplateTable:
    templates, subjects = read_columns(path, _SEARCH)
    strange = unknown(templates, known)
    if strange is not None:
        raise row_error(path, _SEARCH, strange, f"template {templates[strange]} has no image")
    ids, first, place = np.unique(templates, return_index=True, return_inverse=True)
    differing = np.flatnonzero(subjects[first][place] != subjects)
    if len(differing):
        row = int(differing[0])
        what = f"template {templates[row]} shows subject {subjects[row]}"
        raise row_error(path, _SEARCH, row, what, expected=f"subject {subjects[first][place][row]} as before")
    return TemplateTable(ids, subjects[first])
