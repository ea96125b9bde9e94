"""A folder with one sub-folder a person of JPEG files, 112×112 pixels each: a training set without records."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aroface.datasets.file_names import MANIFEST, check_name
from aroface.datasets.retrying_reads import retrying
from aroface.errors import InputError

_PROBED = 16  # sub-folders that are looked into to recognise the layout

LAYOUT = "nothing but one sub-folder a person of 112×112 JPEG files"
"""The layout in words, for messages."""

Int64 = npt.NDArray[np.int64]


class ImageFolder:
    """The images of such a folder by position, person after person; safe to read from many threads and processes.

    People are numbered in the order of their folders' names, as text ("10" comes before "9"), and so are the images of
    one. What begins with a dot is left out.

    Args:
        folder: Parent of the people's folders.

    Attributes:
        labels: Labels, int64 (N,), ascending.
        num_classes: Number of sub-folders.

    Raises:
        InputError: There is no sub-folder, one is empty, or something in it has not the name of a JPEG file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        images = images_of(folder)
        self._people = list(images)
        self.num_classes = len(images)
        self.labels: Int64 = np.repeat(np.arange(len(images)), [len(names) for names in images.values()])
        self._names = [name for names in images.values() for name in names]

    def __len__(self) -> int:
        return len(self._names)

    def where(self, position: int) -> tuple[Path, None]:
        """The file of an image, for messages."""
        return self._folder / self._people[self.labels[position]] / self._names[position], None

    def read(self, position: int) -> bytes:
        """The encoded image at ``position``.

        Raises:
            InputError: The file is gone, or cannot be read.
        """
        path = self.where(position)[0]
        return retrying(path.read_bytes, path)

    def will_need(self, positions: Iterable[int]) -> None:
        """Nothing: to announce a small file takes as long as to read it."""


def is_image_folder(folder: Path) -> bool:
    """Return whether a folder has the layout: people's folders and nothing else, in those files and some JPEG.

    Of many people only the first are looked at, and their images by name alone.

    Raises:
        InputError: A folder cannot be read, or a name in it is not UTF-8.
    """
    if not folder.is_dir() or not all(is_folder or name == MANIFEST for name, is_folder in _entries(folder)):
        return False
    inside = [entry for person in people(folder)[:_PROBED] for entry in _entries(folder / person)]
    return not any(is_folder for _, is_folder in inside) and any(_is_named_jpeg(name) for name, _ in inside)


def people(folder: Path) -> list[str]:
    """The names of the sub-folders in order.

    Raises:
        InputError: The folder is not there, or cannot be read.
    """
    return [name for name, is_folder in _entries(folder) if is_folder]


def images_of(folder: Path) -> dict[str, list[str]]:
    """The names of the images in each sub-folder, both in order.

    Raises:
        InputError: As `ImageFolder`.
    """
    images = {person: _images_of(folder / person) for person in people(folder)}
    if not images:
        raise InputError("no folder of a person in it", file=folder, expected=LAYOUT)
    return images


def _images_of(person: Path) -> list[str]:
    entries = _entries(person)
    if not entries:
        raise InputError("the folder holds no image", file=person, remedy="remove it, or put in the person's images")
    for name, is_folder in entries:
        if is_folder or not _is_named_jpeg(name):
            kind = "a folder" if is_folder else "no JPEG"
            raise InputError(f"is {kind}", file=person / name, expected=LAYOUT)
    return [name for name, _ in entries]


def _entries(folder: Path) -> list[tuple[str, bool]]:
    """Name, and whether it is a folder, of all that is visible in a folder, in order."""

    def listed() -> list[tuple[str, bool, bool]]:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
            return sorted((entry.name, entry.is_dir(), entry.is_file() or entry.is_symlink()) for entry in visible)

    listing = retrying(listed, folder)
    for name, is_folder, is_file in listing:
        check_name(folder / name)
        if not is_folder and not is_file:  # to read a pipe would wait for ever
            raise InputError("neither file nor folder", file=folder / name, expected=LAYOUT)
    return [(name, is_folder) for name, is_folder, _ in listing]


def _is_named_jpeg(name: str) -> bool:
    return name.lower().endswith((".jpg", ".jpeg"))
