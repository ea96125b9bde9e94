"""What providers give out, as the layout that is read here: trees of crops, and record files in another order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aroface.datasets.contents import data_identity
from aroface.datasets.folders import whole_folder
from aroface.datasets.images import read_image
from aroface.datasets.manifest import write_manifest
from aroface.datasets.photographs import Photograph
from aroface.datasets.recordio import open_writer, pack
from aroface.datasets.training_set import INDEX, PROPERTY, RECORDS, TrainingSet, write_training_set
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.files import write_text
from aroface.progress import track

IDENTITIES = "identities.txt"
_SUFFIXES = frozenset({".jpg", ".jpeg"})
_ORDER = 1401  # purpose of the random stream


def prepare(source: Path, out: Path, *, shuffle: bool = False, seed: int = 0) -> tuple[int, int]:
    """Write a training set; the images are taken over byte for byte, one at a time.

    Args:
        source: a folder with ``train.rec``, or folders of aligned 112×112 JPEGs, one a person, at any depth (archives
            of WebFace unpack to such folders below folders of parts); ``identities.txt`` then names the people.
        out: the set; it appears when it is whole.
        shuffle: write records in random order, without a header record: reading goes on in sequence where a disk seeks
            slowly. Otherwise in class order, with header and ranges.
        seed: of that order.

    Returns:
        The numbers of images and of people.

    Raises:
        InputError: no such set, an image is no 112×112 JPEG, two folders of people have one name, or something that was
            not made here stands at ``out``.
    """
    images = _records(source) if (source / RECORDS).exists() else _tree(source)
    count, classes = len(images.labels), images.classes
    rng = np.random.default_rng([seed, _ORDER])
    order = rng.permutation(count) if shuffle else np.argsort(images.labels, kind="stable")
    with whole_folder(out) as folder:
        numbers = track(order.tolist(), "writing", count)
        items = ((int(images.labels[number]), images.jpeg(number)) for number in numbers)
        if shuffle:
            _write_shuffled(folder, items, classes)
        else:
            write_training_set(folder, items, classes)
        if images.people:
            write_text(folder / IDENTITIES, "".join(f"{name}\n" for name in images.people))
        identity = data_identity(folder)
        counts = {"identities": classes, "images": count}
        write_manifest(folder, name=out.name, kind="training", identity=identity, counts=counts)
    return count, classes


@dataclass(frozen=True, slots=True)
class _Images:
    """Labelled JPEGs.

    Attributes:
        labels: int64 (N,).
        classes: number of people.
        jpeg: from number to bytes.
        people: their names, where they have any.
    """

    labels: npt.NDArray[np.int64]
    classes: int
    jpeg: Callable[[int], bytes]
    people: list[str]


def _records(source: Path) -> _Images:
    found = TrainingSet.open(source)
    return _Images(found.labels, found.num_classes, found.jpeg, [])


def _tree(source: Path) -> _Images:
    if not source.is_dir():
        raise InputError("no such folder", file=source)
    folders: dict[str, list[Path]] = {}
    for directory, below, names in os.walk(source):
        below.sort()
        files = [Path(directory) / name for name in sorted(names) if Path(name).suffix.lower() in _SUFFIXES]
        if not files:
            continue
        person = Path(directory).name
        if person in folders:
            raise InputError(
                "a second folder of this name: are they one person?",
                file=directory,
                expected=f"one folder a person, beside {folders[person][0].parent}",
            )
        folders[person] = files
    if len(folders) < 2:
        raise InputError(f"{len(folders)} folders with JPEGs", file=source, expected="a folder for each person")
    people = sorted(folders)
    files = [path for name in people for path in folders[name]]
    labels = np.repeat(np.arange(len(people)), [len(folders[name]) for name in people])
    return _Images(labels, len(people), lambda number: _crop(files[number]), people)


def _crop(path: Path) -> bytes:
    data = Photograph(path).as_it_is()
    if data is None:
        height, width = read_image(path).shape[:2]
        what, expected = f"an image of {width}×{height} pixels", f"a JPEG of {TEMPLATE_SIZE}×{TEMPLATE_SIZE}"
        remedy = "aroface data prepare --align aligns raw crops, aroface data pack photographs with landmarks"
        raise InputError(what, file=path, expected=expected, remedy=remedy)
    return data


def _write_shuffled(folder: Path, items: Iterator[tuple[int, bytes]], classes: int) -> None:
    with open_writer(folder / RECORDS, folder / INDEX) as writer:
        for key, (label, jpeg) in enumerate(items):
            writer.write(key, pack(float(label), jpeg, key))
    write_text(folder / PROPERTY, f"{classes},{TEMPLATE_SIZE},{TEMPLATE_SIZE}\n")
