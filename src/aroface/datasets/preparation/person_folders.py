"""Image files in folders, of people or not: found at any depth, by content, with an account of omissions."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aroface.datasets.file_names import check_name
from aroface.datasets.image_formats import MORE_SUFFIXES, UNREADABLE, format_of_file
from aroface.datasets.retrying_reads import retrying
from aroface.errors import InputError
from aroface.omissions import Omissions
from aroface.progress import track

LostPeople = Literal["error", "omit"]

MAX_LEFT_OUT = 0.02
"""Fraction of the images that a command leaves out by default before it refuses to continue."""

_HIDDEN, _NO_IMAGE, _NO_FILE = "hidden", "not an image", "not a file"
_MATTERS_OF_COURSE = frozenset({_HIDDEN, _NO_IMAGE, _NO_FILE})
_BROKEN = "link that leads nowhere"


@dataclass(frozen=True, slots=True)
class PersonFolders:
    """Images by person.

    Attributes:
        people: Image files of each person by the folder's name, both in order.
        depth: Number of folders from the root to a person's, that one included.
        total: Number of images, those left out included.
    """

    people: dict[str, list[Path]]
    depth: int
    total: int

    def __str__(self) -> str:
        images = sum(map(len, self.people.values()))
        return f"{images:,} images of {len(self.people):,} people"


def find_images(folder: Path, omissions: Omissions, also: Container[str] = ()) -> list[Path]:
    """All image files below a folder, in order; links are followed, names that begin with a dot are left out.

    A file is an image by its first bytes. One with the ending of an image and other bytes is returned as well: it is
    damaged, which shows when it is read.

    Args:
        folder: Folder to search.
        omissions: Account of what is left out: images of formats that cannot be decoded, links that lead nowhere and,
            as a matter of course, what is no image.
        also: Endings, in small letters, of further files to return, such as videos.

    Raises:
        InputError: The folder is missing, or something in it cannot be read or has a name that is not UTF-8.
    """
    if not folder.is_dir():
        raise InputError("a file" if folder.exists() else "no such folder", file=folder, expected="a folder of images")
    images = []
    for path, kind in track(_walk(folder), "looking for images"):
        name = path.relative_to(folder)
        if kind == "image" or (kind == _NO_IMAGE and path.suffix.lower() in also):
            images.append(path)
        elif kind in _MATTERS_OF_COURSE:
            omissions.note(kind, name)
        else:
            omissions.add(kind, name)
    return images


def find_people(
    folder: Path, omissions: Omissions, *, depth: int | None = None, lost: LostPeople = "error"
) -> PersonFolders:
    """The images of people, a folder for each.

    People's folders lie at one depth below ``folder``: the smallest at which more than half of the folders that hold
    images hold some directly. What lies in folders below a person's is the person's as well (``anna/2019/1.jpg``);
    an image above the people's folders is left out.

    Args:
        folder: Parent of the people's folders, or of folders of them.
        omissions: Account of what is left out, see `find_images`.
        depth: Depth of the people's folders, where the rule does not find it.
        lost: Treatment of people's folders from which no image is taken: an error, or they are left out.

    Raises:
        InputError: See `find_images`; no image is there, two folders of people have one name, a person is lost, or what
            should be a person's folder may be one of several people's.
    """
    images = find_images(folder, omissions)
    total = len(images) + omissions.counted
    if depth is None:
        depth = _depth_of_people(path.relative_to(folder).parts for path in {path.parent for path in images})
        _require_persons(folder, images, depth)
    people: dict[str, list[Path]] = {}
    places: dict[str, Path] = {}
    for path in images:
        parts = path.relative_to(folder).parts
        if len(parts) <= depth:
            omissions.add("outside the people's folders", path.relative_to(folder))
            continue
        person_folder, person = folder.joinpath(*parts[:depth]), parts[depth - 1]
        if places.setdefault(person, person_folder) != person_folder:
            raise InputError(
                "a second folder of this name: are they one person?",
                file=person_folder,
                expected=f"one folder a person, beside {places[person]}",
                remedy="rename one, or say how deep the people's folders lie by --people-depth",
            )
        people.setdefault(person, []).append(path)
    if not people:
        raise InputError(
            "no folder of a person in it",
            file=folder,
            expected="person/image.jpg, or folders of such folders",
            remedy=omissions.lines()[0] if len(omissions) else None,
        )
    account_for_lost(_folders_at(folder, depth) - set(places.values()), lost, omissions, folder)
    return PersonFolders({person: people[person] for person in sorted(people)}, depth, total)


def account_for_lost(places: set[Path], lost: LostPeople, omissions: Omissions, folder: Path) -> None:
    """Refuse people of whom no image is left, or count them.

    Args:
        places: Their folders.
        lost: Treatment of these folders.
        omissions: Account that they are added to.
        folder: Folder that all lie in.

    Raises:
        InputError: There are some and ``lost`` is ``error``.
    """
    if not places:
        return
    names = [path.relative_to(folder) for path in sorted(places)]
    if lost == "error":
        others = f", one of {len(names):,} such folders" if len(names) > 1 else ""
        reasons = "".join(f"; {line}" for line in omissions.lines()[:1])
        raise InputError(
            f"the folder holds no image that can be used{others}{reasons}",
            file=folder / names[0],
            remedy="remove it, put in the person's images, or choose --lost-people omit",
        )
    for name in names:
        omissions.note("person without an image", name)


def _walk(root: Path) -> Iterator[tuple[Path, str]]:
    """List all files below a folder, each with its kind: ``image``, or that of an omission."""
    waiting: list[tuple[Path, frozenset[tuple[int, int]]]] = [(root, frozenset())]
    while waiting:
        folder, above = waiting.pop()
        state = retrying(folder.stat, folder)
        here = (state.st_dev, state.st_ino)
        if here in above:
            yield folder, "link to a folder that it lies in"
            continue
        below = []
        for name, is_folder in _listing(folder):
            path = folder / name
            if name.startswith("."):
                yield path, _HIDDEN
                continue
            check_name(path)
            if is_folder:
                below.append((path, above | {here}))
            else:
                yield path, _kind_of(path)
        waiting += reversed(below)


def _listing(folder: Path) -> list[tuple[str, bool]]:
    """Names in a folder, in order, and whether each is a folder."""

    def listed() -> list[tuple[str, bool]]:
        with os.scandir(folder) as entries:
            return sorted((entry.name, entry.is_dir()) for entry in entries)

    return retrying(listed, folder)


def _kind_of(path: Path) -> str:
    if not path.is_file():  # to open a pipe would wait for ever
        return _BROKEN if path.is_symlink() and not path.exists() else _NO_FILE
    image_format = format_of_file(path)
    if image_format in UNREADABLE:
        return f"{image_format}, which cannot be decoded here: {UNREADABLE[image_format]}"
    if image_format is not None or path.suffix.lower() in MORE_SUFFIXES:
        return "image"
    return _NO_IMAGE


def _depth_of_people(holders: Iterable[tuple[str, ...]]) -> int:
    """The smallest depth at which more than half of the folders with images below them hold some directly.

    Args:
        holders: Folders that hold images directly, each as its parts below the root.
    """
    folders = set(holders)
    for depth in range(1, max(map(len, folders), default=0) + 1):
        direct = sum(len(parts) == depth for parts in folders)
        if 2 * direct > len({parts[:depth] for parts in folders if len(parts) >= depth}):
            return depth
    return 1


def _require_persons(folder: Path, images: Iterable[Path], depth: int) -> None:
    """Refuse folders that stand among people's but may be folders of people: the images lie in several within.

    Raises:
        InputError: There is one.
    """
    within: dict[tuple[str, ...], set[str]] = {}
    for path in images:
        parts = path.relative_to(folder).parts
        if len(parts) > depth:
            within.setdefault(parts[:depth], set()).add(parts[depth] if len(parts) > depth + 1 else "")
    for parent, names in within.items():
        if len(names) > 1 and "" not in names:
            raise InputError(
                f"images in {len(names):,} folders and none beside them: are these of one person?",
                file=folder.joinpath(*parent),
                expected="images in it, as in most folders beside it",
                remedy=f"choose --people-depth {depth} if they are; else move the folders up",
            )


def _folders_at(folder: Path, depth: int) -> set[Path]:
    """The visible folders that lie ``depth`` below a folder."""
    folders = {folder}
    for _ in range(depth):
        folders = {
            path for parent in folders for path in parent.iterdir() if path.is_dir() and not path.name.startswith(".")
        }
    return folders
