"""IJB-S as its authors give it out: videos, stills, the boxes of the faces in them, and the lists of the protocols.

Layout: ``img/``, ``videos/``, ``videos_ground_truth/`` and ``protocols/`` (:mod:`aroface.datasets.formats.ijbs`), and
``img.md5``, ``videos.md5`` and ``videos_ground_truth.md5``. ``aroface data prepare`` cuts the faces out and aligns
them.

The ground truth is read as a file a video, named after it, or one file for all. Its first line names the columns:
``SUBJECT_ID``, ``FRAME_NUM``, ``FACE_X``, ``FACE_Y``, ``FACE_WIDTH`` and ``FACE_HEIGHT``, in a file for all also
``FILENAME``, in any order and among others. Columns without or with other names are given by the caller. Boxes of
stills are those of the metadata, in the columns of these names.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from aroface.datasets.formats.base import COLUMNS, ROWS, Findings, Pixels, SetFormat
from aroface.datasets.formats.ijbs import (
    FACES,
    METADATA,
    NAMINGS,
    check_ijbs_labels,
    list_names,
    named,
    naming_of,
    read_lists,
)
from aroface.datasets.formats.text_tables import column_places, csv_lines
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE_SIZE

STILLS, VIDEOS, GROUND_TRUTH = "img", "videos", "videos_ground_truth"

_ALIASES = {
    "subject": ("SUBJECT_ID", "SUBJECT", "PERSON_ID", "PID"),
    "frame": ("FRAME_NUM", "FRAME", "FRAME_NUMBER", "FRAME_ID"),
    "file": ("FILENAME", "FILE", "VIDEO_FILENAME", "VIDEO"),
    "x": ("FACE_X", "X"),
    "y": ("FACE_Y", "Y"),
    "width": ("FACE_WIDTH", "WIDTH", "W"),
    "height": ("FACE_HEIGHT", "HEIGHT", "H"),
}
COLUMN_NAMES = tuple(_ALIASES)
"""Names of the columns of the ground truth that a caller may give; ``-`` stands for any other."""

_BOX = ("x", "y", "width", "height")
_EXPECTED = "SUBJECT_ID,FRAME_NUM,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT"
_REMEDY = "name its columns by --columns, such as subject,frame,x,y,width,height; - for one that is of no use"
_SUFFIXES = frozenset({".csv", ".txt", ".tsv"})


class FaceBox(NamedTuple):
    """Box of a person in a frame or still; without a number the box is one of a still."""

    subject: int
    frame: int | None
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """Files of the ground truth.

    Attributes:
        files: File of each video, by the stem of the video's name.
        common: File of all videos, if there is one.
        columns: Names of the columns in their order; empty where the first line names them.
    """

    files: dict[str, Path]
    common: Path | None
    columns: tuple[str, ...]

    def of_video(self, stem: str) -> Iterator[FaceBox]:
        """Boxes of a video, by the stem of its name; none where the ground truth does not know it.

        Raises:
            InputError: A line is malformed.
        """
        path = self.files.get(stem, self.common)
        if path is None:
            return
        for file, box in _read_boxes(path, self.columns, of_all=path == self.common):
            if box.frame is not None and (file is None or Path(file).stem == stem):
                yield box


class IJBSReleaseFormat(SetFormat):
    """A release of IJB-S, without faces."""

    kind = "ijbs"
    layout = "an IJB-S release"
    default_name = "ijbs"

    def matches(self, data: Path) -> bool:
        """Return whether the folder has the lists, and videos or stills in place of faces."""
        raw = any((data / name).is_dir() for name in (VIDEOS, STILLS))
        return raw and naming_of(data) is not None and not (data / FACES).is_dir()

    def files(self, data: Path) -> tuple[Path, list[str]]:
        """Lists, folders, and the lists of MD5 sums."""
        folders = [name for name in (STILLS, VIDEOS, GROUND_TRUTH) if (data / name).is_dir()]
        sums = [f"{name}.md5" for name in folders if (data / f"{name}.md5").is_file()]
        return data, [*list_names(data), *folders, *sums]

    def facts(self, data: Path) -> dict[str, object]:
        """See :class:`SetFormat`."""
        tree = read_lists(data)
        there = {name: len(files_by_stem(data / name)) for name in (STILLS, VIDEOS, GROUND_TRUTH)}
        return {
            "layout": "release: aroface data prepare makes faces of it",
            "subjects": len({template.subject for template in tree.templates}),
            "templates": len(tree.templates),
            **{name.replace("_", " "): count for name, count in tree.counts.items()},
            **{f"files in {name}": count for name, count in there.items()},
        }

    def preview(self, data: Path) -> list[list[Pixels]]:
        """See :class:`SetFormat`."""
        from aroface.datasets.images import letterbox, read_image

        stills = sorted(files_by_stem(data / STILLS).values())[: COLUMNS * ROWS]
        return [[letterbox(read_image(path), TEMPLATE_SIZE) for path in stills]]

    def check(self, data: Path, threads: int) -> Findings:
        """See :class:`SetFormat`."""
        from aroface.datasets.formats.image_checks import check_labels, check_photographs

        tree = read_lists(data)
        stills = sorted(files_by_stem(data / STILLS).values())
        findings = Findings({"images": len(stills), "templates": len(tree.templates), **tree.counts})
        check_labels(findings, lambda: check_ijbs_labels(data, tree))
        _check_sums(findings, data)
        wanted = {stem.partition("_")[2] for template in tree.templates for stem in template.media if _is_video(stem)}
        absent = sorted(wanted - files_by_stem(data / VIDEOS).keys())
        if absent:
            more = f" and {len(absent) - 1:,} more" if len(absent) > 1 else ""
            findings.failed["videos"] = f"{absent[0]}{more} of {len(wanted):,}: not in {VIDEOS}"
        else:
            findings.noted["videos"] = f"all {len(wanted):,} of the lists are there"
        check_photographs(findings, stills, threads)
        return findings


def is_ijbs_release(folder: Path) -> bool:
    """Return whether a folder looks like a release of IJB-S."""
    return naming_of(folder) is not None and (folder / GROUND_TRUTH).is_dir() and (folder / VIDEOS).is_dir()


def files_by_stem(folder: Path) -> dict[str, Path]:
    """Files at any depth of a folder, by their names without ending; hidden ones are left out."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {path.stem: path for path in files}


def find_ground_truth(root: Path, columns: Sequence[str] = ()) -> GroundTruth:
    """Look for the files of the ground truth.

    Args:
        root: Root of the release.
        columns: Names of the columns in their order, of `COLUMN_NAMES` or ``-``; empty where the first line names them.

    Raises:
        InputError: There is none, or a name of a column is unknown.
    """
    unknown = [name for name in columns if name not in (*COLUMN_NAMES, "-")]
    if unknown or (columns and not {"subject", "frame", *_BOX} <= {*columns}):
        what = f"no column {unknown[0]!r:.40}" if unknown else "not all columns are named"
        raise InputError(what, where="--columns", expected=f"all of {', '.join(COLUMN_NAMES)} but for file, and -")
    folder = root / GROUND_TRUTH
    by_stem = {stem: path for stem, path in files_by_stem(folder).items() if path.suffix.lower() in _SUFFIXES}
    if not by_stem:
        raise InputError("no ground truth in it", file=folder, expected=f"a .csv or .txt file a video: {_EXPECTED}")
    first = next(iter(by_stem.values()))
    common = first if len(by_stem) == 1 and _tells_files(first, columns) else None
    videos = files_by_stem(root / VIDEOS).keys()
    files = {_video_of(stem, videos): path for stem, path in by_stem.items()}
    return GroundTruth({} if common else files, common, tuple(columns))


def boxes_of_stills(root: Path) -> dict[tuple[int, str], tuple[float, float, float, float]]:
    """Boxes of stills by person and stem of the medium, as far as the metadata have them.

    Raises:
        InputError: A line is malformed.
    """
    path = root / named(METADATA, naming_of(root) or NAMINGS[0])
    places, header, _ = _columns_of(path, (), required=("subject", "file"))
    if not header or not {*_BOX} <= places.keys():
        return {}
    boxes: dict[tuple[int, str], tuple[float, float, float, float]] = {}
    for file, box in _read_boxes(path, (), of_all=True, frames=False):
        name = Path(file or "")
        if name.parent.name == STILLS:
            boxes.setdefault((box.subject, f"{STILLS}_{name.stem}"), box.box)
    return boxes


def _is_video(stem: str) -> bool:
    return stem.startswith(f"{VIDEOS}_")


def _video_of(stem: str, videos: Collection[str]) -> str:
    """Video that a file of the ground truth is of: the one of its name, up to additions."""
    plain = stem.removeprefix(f"{VIDEOS}_")
    candidates = (stem, plain, *(plain.split(mark)[0] for mark in "_-."))
    return next((candidate for candidate in candidates if candidate in videos), plain)


def _tells_files(path: Path, columns: Sequence[str]) -> bool:
    places, _, _ = _columns_of(path, columns, required=("subject",))
    return "file" in places


def _columns_of(path: Path, columns: Sequence[str], required: Sequence[str]) -> tuple[dict[str, int], bool, str | None]:
    """Place of each known column, whether the first line names them, and what stands between columns (None: spaces)."""
    if not path.is_file():
        raise InputError("no such file", file=path)
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        first = file.readline(1 << 16)
    separator = next((mark for mark in (",", ";", "\t") if mark in first), None)
    fields = [field.strip().strip('"') for field in (first.split(separator) if separator else first.split())]
    header = bool(fields) and not any(_is_number(field) for field in fields)
    if columns:
        return {name: place for place, name in enumerate(columns) if name != "-"}, header, separator
    places = column_places(fields, _ALIASES)
    absent = [name for name in required if name not in places]
    if not header or absent:
        what = "the line names no columns" if not header else f"no column {_ALIASES[absent[0]][0]}"
        raise InputError(what, file=path, where="line 1", expected=_EXPECTED, remedy=_REMEDY)
    return places, header, separator


def _read_boxes(
    path: Path, columns: Sequence[str], *, of_all: bool, frames: bool = True
) -> Iterator[tuple[str | None, FaceBox]]:
    """File, if the lines name it, and box of each line; lines without a box are passed over."""
    required = ("subject", *(("frame",) if frames else ()), *(("file",) if of_all else ()), *_BOX)
    places, header, separator = _columns_of(path, columns, required)
    width = max(places.values()) + 1
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as stream:
        lines = csv.reader(stream, delimiter=separator) if separator else (line.split() for line in stream)
        for number, fields in enumerate(csv_lines(lines, path), start=1):
            if not fields or (header and number == 1):
                continue
            if len(fields) < width:
                what = f"{len(fields)} columns"
                raise InputError(what, file=path, where=f"line {number}", expected=f"{width} or more")
            try:
                box = tuple(float(fields[places[name]] or "nan") for name in _BOX)
                frame = int(float(fields[places["frame"]])) if "frame" in places and fields[places["frame"]] else None
                subject = int(float(fields[places["subject"]]))
            except (ValueError, OverflowError):
                what = "subject, frame or box is no number"
                raise InputError(what, file=path, where=f"line {number}", expected=_EXPECTED, remedy=_REMEDY) from None
            if not any(map(math.isnan, box)):
                left, top, wide, high = box
                file = fields[places["file"]].strip() if "file" in places else None
                yield file, FaceBox(subject, frame, (left, top, wide, high))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_sums(findings: Findings, data: Path) -> None:
    from aroface.datasets.md5_lists import read_md5_list
    from aroface.progress import track

    checked = missing = 0
    for name in (STILLS, VIDEOS, GROUND_TRUTH):
        listed = read_md5_list(data, name)
        if listed is None:
            continue
        missing += len(listed.absent)
        for file in track(list(listed.sums), f"md5 of {name}"):
            try:
                listed.check(file)
            except InputError as error:
                findings.failed.setdefault("md5", str(error))
            checked += 1
    if "md5" in findings.failed:
        return
    absent = f"; {missing:,} listed files are not there" if missing else ""
    if missing and checked:
        findings.failed["md5"] = f"{checked:,} files as listed{absent}"
    else:
        findings.noted["md5"] = f"{checked:,} files as listed{absent}" if checked or missing else "no lists of sums"
