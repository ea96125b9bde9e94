"""IJB-B and IJB-C on disk: loosely cropped faces with landmarks, templates of them, pairs and galleries of templates.

Layout: in ``meta/`` the lists ``{ijbb,ijbc}_face_tid_mid.txt`` (image, template, medium), ``…_name_5pts_score.txt``
(image, x1 y1 … x5 y5, score of the detector) and ``…_template_pair_label.txt`` (template, template, 0 or 1); the images
in ``loose_crop/``. For the search among many, ``…_1N_gallery_{S1,S2}.csv`` of IJB-B or ``…_{G1,G2}.csv`` of IJB-C and
``…_1N_probe_mixed.csv`` (template, subject, …). A loose crop with an EXIF orientation is turned before it is aligned,
as ``cv2.imread`` of the released script does. Source: insightface ``recognition/_evaluation_/ijb``.

The release has further lists of landmarks, ``…_name_5pts_score_retina.txt`` and ``…_name_box_score_5pts.txt`` (image,
box, score, x1 y1 … x5 y5), which the option ``landmarks`` of a benchmark chooses; insightface's script reads the first.
NIST's own release of the benchmarks is the format of :mod:`aroface.datasets.formats.ijb_release`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from aroface.datasets.formats.base import COLUMNS, ROWS, Findings, Pixels, SetFormat
from aroface.datasets.formats.checks import check_mates, check_pairs
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
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.files import atomic_open, write_text

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
LANDMARKS = ("name_5pts_score", "name_5pts_score_retina", "name_box_score_5pts")
"""Lists of landmarks, as the option ``landmarks`` names them; the first is the one of the released script."""

_BOX_LIST = LANDMARKS[2]
_BOX_FORM = "name, box of four, score, x1 y1 … x5 y5"
_BOX_COLUMNS = (16, 17)  # name, box, score and points, with or without one more column before the box
_PAIRS = Form((("template", "integer"), ("template", "integer"), ("label", "integer")))
_SEARCH = Form((("template", "integer"), ("subject", "integer")), commas=True, header=True)
_HEADER = "TEMPLATE_ID,SUBJECT_ID,FILENAME"

Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """N images with their templates, media and landmarks.

    Attributes:
        benchmark: Name of the benchmark, ``ijbb`` or ``ijbc``.
        folder: Folder of the images.
        names: File names, (N,).
        templates: Template of each image, int64 (N,).
        media: Medium (still or video) of each image, int64 (N,).
        landmarks: Five points in pixels, float32 (N, 5, 2).
        scores: Scores of the face detector, float32 (N,).
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
        """Path of an image, which may be missing."""
        return self.folder / str(self.names[position])

    def crop(self, position: int, size: int = TEMPLATE_SIZE) -> Pixels:
        """Align an image by its landmarks, uint8 (size, size, 3), RGB; black where the loose crop ends.

        It is turned by its EXIF orientation first, as ``cv2.imread`` of the released script does: the landmarks are of
        that frame. Crops that a program has cut out carry no such tag, and all others give the same bytes without
        turning, so that this is no option, and features that were computed before keep their meaning.

        Raises:
            InputError: The image is missing or damaged, or its landmarks all coincide.
        """
        from aroface.datasets.formats.image_checks import read_file

        path = self.path(position)
        return aligned_face(read_file(path), path, self.landmarks[position], size)


@dataclass(frozen=True, slots=True, eq=False)
class TemplateTable:
    """T templates with their subjects.

    Attributes:
        ids: Numbers of the templates, ascending, int64 (T,).
        subjects: Subject of each template, int64 (T,).
    """

    ids: Int64
    subjects: Int64

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class IdentificationProtocol:
    """The 1:N protocol: two galleries, and the probes that are searched for in each.

    Attributes:
        galleries: Two galleries, by name.
        probes: Templates that are searched for in each.
    """

    galleries: dict[str, TemplateTable]
    probes: TemplateTable


@dataclass(frozen=True, slots=True, eq=False)
class IJB:
    """Content of a tree.

    Attributes:
        faces: Images, with their templates and landmarks.
        pairs: Templates that are compared, int64 (P, 2).
        same: Label of each pair, bool (P,), true where both templates show one person.
        search: Galleries and probes; None for a tree without these lists.
    """

    faces: Faces
    pairs: Int64
    same: Bools
    search: IdentificationProtocol | None


@dataclass(frozen=True, slots=True, eq=False)
class IJBFace:
    """JPEG of an image to write; the other fields as in `Faces`."""

    template: int
    medium: int
    jpeg: bytes
    landmarks: npt.ArrayLike
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class ListedFace:
    """Lines of an image in the lists; the fields as in `Faces`."""

    name: str
    template: int
    medium: int
    landmarks: npt.ArrayLike
    score: float


class IJBFormat(SetFormat):
    """A tree of IJB-B or IJB-C."""

    kind = "ijb"
    layout = "an IJB-B or IJB-C tree"
    default_name = "ijb"

    def matches(self, data: Path) -> bool:
        """Return whether the tree has the list of faces of a benchmark."""
        return is_ijb(data)

    def files(self, data: Path) -> tuple[Path, list[str]]:
        """Lists of the benchmark, and the folder of images."""
        lists = sorted(path.relative_to(data).as_posix() for path in (data / "meta").glob(f"{_benchmark(data)}_*"))
        return data, [*lists, IMAGES]

    def facts(self, data: Path) -> dict[str, object]:
        """See :class:`SetFormat`."""
        tree = read_ijb(data)
        there = [name for name in LANDMARKS if _list(data, tree.faces.benchmark, f"{name}.txt").exists()]
        facts: dict[str, object] = {
            "benchmark": tree.faces.benchmark,
            "images": len(tree.faces),
            "templates": len(np.unique(tree.faces.templates)),
            "media": len(np.unique(tree.faces.media)),
            "pairs": len(tree.same),
            "genuine": int(tree.same.sum()),
        }
        if len(there) > 1:
            facts["lists of landmarks"] = ", ".join(there)
        if tree.search is not None:
            facts |= {f"gallery {name}": len(gallery) for name, gallery in tree.search.galleries.items()}
            facts["probes"] = len(tree.search.probes)
        return facts

    def preview(self, data: Path) -> list[list[Pixels]]:
        """See :class:`SetFormat`."""
        faces = read_faces(data)
        templates = [np.flatnonzero(faces.templates == template) for template in np.unique(faces.templates)[:ROWS]]
        return [[faces.crop(int(position)) for position in positions[:COLUMNS]] for positions in templates]

    def check(self, data: Path, threads: int) -> Findings:
        """See :class:`SetFormat`."""
        from aroface.datasets.formats.image_checks import check_images, check_labels, read_file, unlisted

        tree = read_ijb(data)
        faces = tree.faces
        templates = len(np.unique(faces.templates))
        findings = Findings({"images": len(faces), "templates": templates, "pairs": len(tree.pairs)})
        findings.noted["search"] = (
            "no lists of the 1:N protocol" if tree.search is None else "galleries and probes are there"
        )
        check_labels(findings, lambda: check_ijb_labels(data, tree))
        findings.left_out = unlisted(data, [IMAGES], map(faces.path, range(len(faces))))

        def face(image: bytes, number: int) -> Pixels:
            return aligned_face(image, faces.path(number), faces.landmarks[number], TEMPLATE_SIZE)

        check_images(findings, len(faces), lambda number: read_file(faces.path(number)), face, threads)
        return findings


def is_ijb(folder: Path) -> bool:
    """Return whether a folder looks like a tree of IJB-B or IJB-C."""
    return any(_list(folder, benchmark, "face_tid_mid.txt").exists() for benchmark in GALLERIES)


def aligned_face(data: bytes, file: Path, landmarks: npt.ArrayLike, size: int) -> Pixels:
    """Align a loose crop as a network gets it, uint8 (size, size, 3), RGB.

    Args:
        data: Encoded image.
        file: Path of its file, for the message.
        landmarks: Five points in pixels, (5, 2).
        size: Height and width of the result in pixels.

    Raises:
        InputError: The image is damaged, or its landmarks are not finite or all coincide.
    """
    from aroface.datasets.formats.image_checks import decoded
    from aroface.datasets.orientation import orientation_in, upright
    from aroface.faces.geometry import align

    image = upright(decoded(data, file, None), orientation_in(data))
    try:
        return align(image, landmarks, size)
    except InputError as error:
        raise InputError(str(error), file=file) from None


def check_ijb_labels(data: Path, tree: IJB) -> None:
    """Check that the metrics of IJB-B or IJB-C are defined on the content of the tree ``data``.

    Raises:
        InputError: The pairs of templates are all of one kind, or no probe has a mate in a gallery.
    """
    check_pairs(tree.same, data, folds=False)
    if tree.search is not None:
        enrolled = np.concatenate([gallery.subjects for gallery in tree.search.galleries.values()])
        probes = tree.search.probes.subjects
        check_mates(bool(np.isin(probes, enrolled).any()), len(probes), data)


def read_ijb(folder: Path, landmarks: str | None = None) -> IJB:
    """Read all lists of a tree.

    Args:
        folder: Root of the tree.
        landmarks: One of `LANDMARKS`; None takes the first.

    Raises:
        InputError: A list is missing, empty or malformed, or names what another does not know.
    """
    faces = read_faces(folder, landmarks)
    pairs, same = read_template_pairs(folder, faces)
    return IJB(faces, pairs, same, read_search(folder, faces))


def landmark_list(folder: Path, landmarks: str | None = None) -> Path:
    """Path of a list of landmarks, which need not exist.

    Args:
        folder: Root of the tree.
        landmarks: One of `LANDMARKS`; None takes the first.

    Raises:
        InputError: The folder is no tree.
    """
    return _list(folder, _benchmark(folder), f"{landmarks or LANDMARKS[0]}.txt")


def read_faces(folder: Path, landmarks: str | None = None) -> Faces:
    """Read the lists of images with their templates, media and landmarks.

    The landmarks may be listed in another order than the templates. Missing images show when they are read.

    Args:
        folder: Root of the tree.
        landmarks: One of `LANDMARKS`; None takes the first.

    Raises:
        InputError: A list is missing, empty or malformed, or one has a name that the other lacks.
    """
    benchmark = _benchmark(folder)
    path, points_path = _list(folder, benchmark, "face_tid_mid.txt"), landmark_list(folder, landmarks)
    names, templates, media = read_columns(path, _FACES)
    point_names, *values = _read_boxed(points_path) if landmarks == _BOX_LIST else read_columns(points_path, _POINTS)
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
    """Read the pairs of templates of the 1:1 protocol, int64 (P, 2), and the label of each, bool (P,).

    Beyond the result's memory it takes some hundred MB, however long the list is.

    Raises:
        InputError: The list is missing, empty or malformed, a label is not 0 or 1, or a template has no image.
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
    """Read the galleries and probes of the 1:N protocol; None for a tree without any of their lists.

    Raises:
        InputError: Some of the lists are missing, one is empty or malformed, or a template has no image or two
            subjects.
    """
    galleries = GALLERIES[faces.benchmark]
    paths = [_search_list(folder, faces.benchmark, gallery) for gallery in (*galleries, None)]
    if not any(path.exists() for path in paths):
        return None
    known = np.unique(faces.templates)
    *tables, probes = (_read_templates(path, known) for path in paths)
    return IdentificationProtocol(dict(zip(galleries, tables, strict=True)), probes)


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
        folder: Root of the tree, created if missing.
        benchmark: Name of the benchmark, ``ijbb`` or ``ijbc``.
        faces: Images in any order; their files are numbered.
        pairs: Pairs of templates, int64 (P, 2).
        same: Labels of the pairs, bool (P,).
        search: Galleries under the names in `GALLERIES`, and probes.

    Returns:
        Numbers of images, templates and pairs.

    Raises:
        ValueError: The galleries have other names.
    """
    if search is not None and tuple(search.galleries) != GALLERIES[benchmark]:
        raise ValueError(f"galleries {', '.join(search.galleries)}, expected {', '.join(GALLERIES[benchmark])}")
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    listed = []
    for number, face in enumerate(faces, start=1):
        name = f"{number}.jpg"
        (folder / IMAGES / name).write_bytes(face.jpeg)
        listed.append(ListedFace(name, face.template, face.medium, face.landmarks, face.score))
    return write_lists(folder, benchmark, listed, [(pairs, same)], search)


def write_lists(
    folder: Path,
    benchmark: str,
    faces: Sequence[ListedFace],
    pairs: Iterable[tuple[Int64, Bools]],
    search: IdentificationProtocol | None = None,
) -> dict[str, int]:
    """Write the lists of a tree whose images are there.

    Args:
        folder: Root of the tree.
        benchmark: Name of the benchmark, ``ijbb`` or ``ijbc``.
        faces: Lines of the lists of images.
        pairs: Pairs of templates, int64 (P, 2), and their labels, bool (P,), some at a time.
        search: Galleries under the names in `GALLERIES`, and probes.

    Returns:
        Numbers of images, templates and pairs.
    """
    images: dict[int, list[str]] = {}
    for face in faces:
        images.setdefault(face.template, []).append(face.name)
    lines = (f"{face.name} {face.template} {face.medium}" for face in faces)
    _write_lines(_list(folder, benchmark, "face_tid_mid.txt"), lines)
    _write_lines(_list(folder, benchmark, "name_5pts_score.txt"), map(_points_line, faces))
    compared = _write_pairs(_list(folder, benchmark, "template_pair_label.txt"), pairs)
    if search is not None:
        for gallery, templates in (*search.galleries.items(), (None, search.probes)):
            _write_lines(_search_list(folder, benchmark, gallery), [_HEADER, *_search_rows(templates, images)])
    return {"images": len(faces), "templates": len(images), "pairs": compared}


def _points_line(face: ListedFace) -> str:
    values = np.append(np.asarray(face.landmarks, np.float32).ravel(), np.float32(face.score))
    return " ".join([face.name, *map(str, values)])


def _write_pairs(path: Path, parts: Iterable[tuple[Int64, Bools]]) -> int:
    """Write a list of pairs of millions of lines, some at a time; return their number."""
    count = 0
    with atomic_open(path) as file:
        for pairs, same in parts:
            rows = zip(pairs.tolist(), same.tolist(), strict=True)
            file.writelines(f"{first} {second} {int(genuine)}\n".encode() for (first, second), genuine in rows)
            count += len(same)
    return count


def _read_boxed(path: Path) -> list[npt.NDArray[Any]]:
    """Columns of a list with boxes, in the order of the list without: names, coordinates of the points, score.

    The last ten columns are the points and the one before them the score; commas or spaces stand between them.
    """
    if not path.is_file():
        raise InputError("no such file", file=path)
    with open(path, "rb") as file:
        first = file.readline(1 << 16)
    commas = b"," in first
    count = len(first.split(b",") if commas else first.split())
    if count not in _BOX_COLUMNS:
        raise InputError(f"{count} columns", file=path, where="line 1", expected=_BOX_FORM)
    numbers = tuple((f"column {number}", "number") for number in range(2, count + 1))
    form = Form((("name", "text"), *cast("Any", numbers)), commas=commas)
    names, *values = read_columns(path, form)
    return [names, *values[-10:], values[-11]]


def _list(folder: Path, benchmark: str, name: str) -> Path:
    return folder / "meta" / f"{benchmark}_{name}"


def _search_list(folder: Path, benchmark: str, gallery: str | None) -> Path:
    return _list(folder, benchmark, f"1N_gallery_{gallery}.csv" if gallery else "1N_probe_mixed.csv")


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))


def _search_rows(templates: TemplateTable, images: Mapping[int, list[str]]) -> list[str]:
    """Lines of a list, one an image, as the original lists have them."""
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
    """Row of each name in a list of the same names in another order."""
    rows = {name: row for row, name in enumerate(others.tolist())}
    for row, name in enumerate(names.tolist()):
        if name not in rows:
            raise row_error(path, _FACES, row, f"{others_path.name} has no {name!r:.60}")
    if len(rows) < len(others):
        row = next(row for row, name in enumerate(others.tolist()) if rows[name] != row)
        raise row_error(others_path, _POINTS, row, f"{others[row]!r:.60} stands here twice")
    mine = dict.fromkeys(names.tolist())
    if len(mine) < len(names):
        raise InputError("a name stands here twice", file=path, expected="each name once, as the lists' orders differ")
    for row, name in enumerate(others.tolist()):
        if name not in mine:
            raise row_error(others_path, _POINTS, row, f"{path.name} has no {name!r:.60}")
    return [rows[name] for name in names.tolist()]


def _read_templates(path: Path, known: Int64) -> TemplateTable:
    templates, subjects = read_columns(path, _SEARCH)
    strange = unknown(templates, known)
    if strange is not None:
        raise row_error(path, _SEARCH, strange, f"template {templates[strange]} has no image")
    ids, first, inverse = np.unique(templates, return_index=True, return_inverse=True)
    differing = np.flatnonzero(subjects[first][inverse] != subjects)
    if len(differing):
        row = int(differing[0])
        what = f"template {templates[row]} shows subject {subjects[row]}"
        raise row_error(path, _SEARCH, row, what, expected=f"subject {subjects[first][inverse][row]} as before")
    return TemplateTable(ids, subjects[first])
