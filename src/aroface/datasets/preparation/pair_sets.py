"""Own sets of pairs: from a list of pairs or folders of people to a ``.bin`` file, its people and its manifest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import sparse

from aroface.datasets.corrupt_images import OnCorrupt
from aroface.datasets.formats.checks import FOLDS, check_pairs
from aroface.datasets.formats.pair_people import PairRow, people_path, write_pair_people
from aroface.datasets.formats.pairs import Pairs, write_pairs
from aroface.datasets.manifest import manifest_path, refuse_other_file, sample_identity, write_manifest
from aroface.datasets.preparation.detected_landmarks import detect_landmarks
from aroface.datasets.preparation.pair_folds import draw_pairs, fold_of, fold_pairs, shared_people
from aroface.datasets.preparation.pair_lists import ListedPair, read_pair_list
from aroface.datasets.preparation.person_folders import MAX_LEFT_OUT, LostPeople, account_for_lost, find_people
from aroface.datasets.preparation.photograph_checks import leave_out_corrupt, require_aligned
from aroface.datasets.preparation.photographs import Photograph
from aroface.errors import InputError
from aroface.faces.detection.detector import Detector
from aroface.omissions import Omissions
from aroface.progress import track

PAIRS = 6000
"""Largest number of pairs that are drawn by default: that of LFW."""

_MISSING = "no such file"
_LOST_PAIR = "pair of an image that is left out"
_PAIRING = 1501  # purpose of the random stream

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PairSetOptions:
    """Options of making a set of pairs.

    Attributes:
        images: Folder that the paths of a list are relative to; by default the list's own.
        pairs: Largest number of pairs that are drawn from folders of people.
        seed: Seed of these draws.
        people_depth: Number of folders down to a person's, where it is not found by itself.
        lost_people: Treatment of people of whom no image can be taken: an error, or they are left out.
        resize_crops: True if square images of any size are taken for aligned crops.
        on_corrupt: Treatment of an image that cannot be decoded: an error, or it is left out.
        max_left_out: Share of the images that may be left out, 0 … 1.
    """

    images: Path | None = None
    pairs: int = PAIRS
    seed: int = 0
    people_depth: int | None = None
    lost_people: LostPeople = "error"
    resize_crops: bool = False
    on_corrupt: OnCorrupt = "error"
    max_left_out: float = MAX_LEFT_OUT


@dataclass(frozen=True, slots=True)
class PairSet:
    """Result of making a set of pairs.

    Attributes:
        pairs: Number of pairs.
        genuine: Number of genuine ones.
        images: Number of different images.
        people: Number of people.
        shared: Number of people who are in several folds.
        origin: Origin of the people's names, in words.
        omissions: Account of what was left out.
        corrupt: Images that cannot be decoded and were left out, each with the reason.
    """

    pairs: int
    genuine: int
    images: int
    people: int
    shared: int
    origin: str
    omissions: Omissions
    corrupt: Sequence[str]

    def __str__(self) -> str:
        return (
            f"{self.pairs:,} pairs ({self.genuine:,} genuine), {self.images:,} images of {self.people:,} people,"
            f" {self.origin}"
        )

    def fold_line(self) -> str:
        """Statement on the people of the folds."""
        if self.shared == 0:
            return f"{FOLDS} folds, nobody in two of them"
        return (
            f"{FOLDS} folds that do not keep people apart: {self.shared:,} of {self.people:,} are in several, so that"
            " the accuracy's thresholds are chosen on people who are tested as well"
        )


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Pairs in the order of the set: paths and labels, people's names, and the origin of these."""

    first: list[Path]
    second: list[Path]
    same: npt.NDArray[np.bool_]
    names: list[tuple[str, str]]
    origin: str


def make_pair_set(
    source: Path, out: Path, options: PairSetOptions = PairSetOptions(), detector: Detector | None = None
) -> PairSet:
    """Write a ``.bin`` file of pairs, the people of its pairs beside it, and its manifest.

    Pairs of a list are all taken, in folds of the list or others that keep people apart where that is possible. From
    folders of people as many genuine as impostor pairs are drawn, by the seed. Crops that are JPEGs of 112 × 112 pixels
    are taken over byte for byte. With a detector the images are photographs, aligned by their largest faces; an
    interrupted call resumes from the faces it has found.

    Args:
        source: List of pairs, see `read_pair_list`, or folder with one folder for each person.
        out: The set, ``NAME.bin``.
        options: Options.
        detector: Detector of the faces in photographs; None for aligned crops.

    Raises:
        InputError: The source is malformed; more is left out than the options allow; crops are not aligned; fewer than
            ten pairs, or pairs of one kind; or a file that was not made here stands at ``out``.
    """
    _check_out(out)
    omissions = Omissions()
    faces = _Faces(source, out, options, detector, omissions)
    chosen = _drawn(source, faces, options) if source.is_dir() else _listed(source, faces, options)
    check_pairs(chosen.same, source)
    numbers = _numbers(chosen.names)
    bytes_of: dict[Path, bytes] = {}
    for path in track([path for both in zip(chosen.first, chosen.second, strict=True) for path in both], "writing"):
        if path not in bytes_of:
            bytes_of[path] = faces.usable[path].jpeg(resize=options.resize_crops)
    _write(out, chosen, bytes_of, omissions, faces.corrupt)
    faces.forget()
    return PairSet(
        len(chosen.same),
        int(chosen.same.sum()),
        len(bytes_of),
        int(numbers.max()) + 1,
        shared_people(numbers),
        chosen.origin,
        omissions,
        faces.corrupt,
    )


class _Faces:
    """Aligned faces of the images that can be used.

    Attributes:
        usable: Aligned face of each image by the path in the source.
        corrupt: Images that cannot be decoded, each with the reason.
    """

    def __init__(
        self, source: Path, out: Path, options: PairSetOptions, detector: Detector | None, omissions: Omissions
    ) -> None:
        self.omissions = omissions
        self.usable: dict[Path, Photograph] = {}
        self.corrupt: list[str] = []
        self._source, self._options, self._detector = source, options, detector
        self._work = out.with_name(f".{out.name}.faces")

    def find(self, paths: Sequence[Path], total: int) -> None:
        """Look for the faces of these images, and check how many are left out of ``total``."""
        if paths:
            self._find(paths)
        self.omissions.check(total, self._options.max_left_out, file=self._source)

    def forget(self) -> None:
        """Remove the faces that an interrupted call would resume from."""
        shutil.rmtree(self._work, ignore_errors=True)

    def _find(self, paths: Sequence[Path]) -> None:
        parent, options = _parent(paths), self._options
        images = {"": [Photograph(path) for path in paths]}
        images, self.corrupt = leave_out_corrupt(images, parent, self.omissions, options.on_corrupt, "omit")
        if self._detector is None:
            require_aligned(images, resize=options.resize_crops)
        elif images:
            images = detect_landmarks(images, parent, self._work, self._detector, self.omissions, "omit")
        self.usable = {image.path: image for each in images.values() for image in each}


def _check_out(out: Path) -> None:
    if out.suffix != ".bin":
        raise InputError("not the name of a file of pairs", file=out, expected="NAME.bin")
    refuse_other_file(out)


def _parent(paths: Sequence[Path]) -> Path:
    """Folder that all images lie in."""
    return Path(os.path.commonpath([path.parent for path in paths]))


def _drawn(source: Path, faces: _Faces, options: PairSetOptions) -> _Chosen:
    """Pairs of people's folders."""
    if options.images is not None:
        raise InputError("--images is for lists", file=source, remedy="leave it out: the folder holds the images")
    folders = find_people(source, faces.omissions, depth=options.people_depth, lost=options.lost_people)
    faces.find([path for paths in folders.people.values() for path in paths], folders.total)
    people = {name: [path for path in paths if path in faces.usable] for name, paths in folders.people.items()}
    lost = [folders.people[name][0].relative_to(source).parts for name, paths in people.items() if not paths]
    places = {source.joinpath(*parts[: folders.depth]) for parts in lost}
    account_for_lost(places, options.lost_people, faces.omissions, source)
    people = {name: paths for name, paths in people.items() if paths}
    images = list(people.values())
    drawn = draw_pairs([len(paths) for paths in images], options.pairs, [options.seed, _PAIRING])
    if len(drawn.same) < FOLDS:
        most = f"{len(drawn.same)} pairs of {len(people)} people and {sum(map(len, images))} images"
        remedy = "add people with several images, or raise --pairs"
        raise InputError(most, file=source, expected=f"{2 * FOLDS} or more", remedy=remedy)
    names = list(people)
    first, second = ([images[who][number] for who, number in side] for side in (drawn.first, drawn.second))
    whose = [(names[one], names[other]) for (one, _), (other, _) in zip(drawn.first, drawn.second, strict=True)]
    return _Chosen(first, second, drawn.same, whose, "named by their folders")


def _listed(source: Path, faces: _Faces, options: PairSetOptions) -> _Chosen:
    """Pairs of a list, without those of images that are left out."""
    if options.people_depth is not None:
        raise InputError("--people-depth is for folders of people", file=source, remedy="leave it out")
    root = options.images if options.images is not None else source.parent
    listed = read_pair_list(source, root)
    lines = {path: pair.line for pair in reversed(listed) for path in (pair.second, pair.first)}
    paths = sorted(lines)
    there = [path for path in paths if path.is_file()]
    if not there:
        raise InputError(
            f"none of its {len(paths):,} images is there: {listed[0].first}",
            file=source,
            where=f"line {listed[0].line}",
            remedy=f"paths are relative to {root}: name another folder by --images",
        )
    faces.omissions.extend(_MISSING, sorted(lines.keys() - set(there)))
    faces.find(there, len(paths))
    pairs = [pair for pair in listed if pair.first in faces.usable and pair.second in faces.usable]
    for pair in listed:
        if pair.first not in faces.usable or pair.second not in faces.usable:
            faces.omissions.note(_LOST_PAIR, f"line {pair.line}")
    same = np.array([pair.same for pair in pairs], np.bool_)
    check_pairs(same, source)
    names, origin = _people_of(pairs, same, source, root)
    folds = [pair.fold for pair in pairs] if len(pairs) == len(listed) and pairs[0].fold is not None else None
    order = fold_pairs(_numbers(names), same, folds)
    return _Chosen(
        [pairs[number].first for number in order],
        [pairs[number].second for number in order],
        same[order],
        [names[number] for number in order],
        origin,
    )


def _people_of(
    pairs: Sequence[ListedPair], same: npt.NDArray[np.bool_], source: Path, root: Path
) -> tuple[list[tuple[str, str]], str]:
    """Names of the people of listed pairs, and their origin.

    The list names them; or the folders of the images do, where each pair agrees with that; or they are numbered, joined
    by genuine pairs and shared images.
    """
    if all(pair.people is not None for pair in pairs):
        return [pair.people for pair in pairs if pair.people is not None], "named by the list"
    folders = [(pair.first.parent, pair.second.parent) for pair in pairs]
    if all((one == other) == label for (one, other), label in zip(folders, same.tolist(), strict=True)):
        return [(_named(one, root), _named(other, root)) for one, other in folders], "named by the images' folders"
    images = {path: number for number, path in enumerate(dict.fromkeys(p for q in pairs for p in (q.first, q.second)))}
    ends = np.array([[images[pair.first], images[pair.second]] for pair in pairs], np.int64)
    links = sparse.coo_array((np.ones(same.sum(), np.int32), tuple(ends[same].T)), shape=(len(images), len(images)))
    _, labels = sparse.csgraph.connected_components(links, directed=False)
    numbers = labels[ends]
    wrong = np.flatnonzero((numbers[:, 0] == numbers[:, 1]) & ~same)
    if len(wrong):
        pair = pairs[wrong[0]]
        what = f"{pair.first.name} and {pair.second.name} are different people, but genuine pairs join them"
        raise InputError(what, file=source, where=f"line {pair.line}", remedy="correct the labels")
    names = [(f"person {one}", f"person {other}") for one, other in numbers.tolist()]
    return names, "joined by genuine pairs and shared images"


def _named(folder: Path, root: Path) -> str:
    return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else folder.as_posix()


def _numbers(names: Sequence[tuple[str, str]]) -> Integers:
    """Number of the person on each side of N pairs, (N, 2)."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(name for both in names for name in both))}
    return np.array([[numbers[one], numbers[other]] for one, other in names], np.int64).reshape(-1, 2)


def _write(
    out: Path, chosen: _Chosen, bytes_of: Mapping[Path, bytes], omissions: Omissions, corrupt: Sequence[str]
) -> None:
    for stale in (manifest_path(out), people_path(out)):
        stale.unlink(missing_ok=True)
    images = [bytes_of[path] for both in zip(chosen.first, chosen.second, strict=True) for path in both]
    write_pairs(out, Pairs(images, chosen.same))
    parent = _parent([*chosen.first, *chosen.second])
    folds = fold_of(len(chosen.same)) + 1
    rows = [
        PairRow(int(fold), bool(same), *names, *(path.relative_to(parent).as_posix() for path in (first, second)))
        for fold, same, names, first, second in zip(
            folds, chosen.same, chosen.names, chosen.first, chosen.second, strict=True
        )
    ]
    write_pair_people(out, rows)
    beside = people_path(out).name
    write_manifest(
        out,
        name=out.stem,
        kind="pairs",
        identity=sample_identity(out.parent, [out.name, beside]),
        counts={"pairs": len(rows), "identities": int(_numbers(chosen.names).max()) + 1},
        left_out=omissions.summary(),
        corrupt=corrupt,
        beside=[beside],
    )
