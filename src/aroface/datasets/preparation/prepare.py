"""Preparation of received sets in the layout that is read here: trees of crops, and record files in another order."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aroface.datasets.corrupt_images import OnCorrupt, is_damage
from aroface.datasets.formats.record_layout import INDEX, RECORDS, find_layout
from aroface.datasets.formats.recordio import open_writer, pack
from aroface.datasets.formats.training_set import TrainingSet, check_classes, write_property, write_training_set
from aroface.datasets.identity import data_identity
from aroface.datasets.images import decode
from aroface.datasets.manifest import atomic_folder, write_manifest
from aroface.datasets.preparation.person_folders import MAX_LEFT_OUT, LostPeople
from aroface.datasets.preparation.photograph_checks import CORRUPT, leave_out_corrupt
from aroface.datasets.preparation.photographs import JPEG_QUALITY, read_people
from aroface.datasets.preparation.shards.base import ShardOptions, ShardSource, check_people, note_others
from aroface.datasets.preparation.shards.registry import shard_source
from aroface.datasets.preparation.shards.writer import (
    ShardWriteOptions,
    forget_progress,
    partial_folder,
    write_shards,
)
from aroface.errors import InputError
from aroface.files import write_text
from aroface.omissions import Omissions
from aroface.progress import track

IDENTITIES = "identities.txt"
_EMPTY_CLASS = "class without an image"
_ORDER = 1401  # purpose of the random stream


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """Options of writing a training set, and bounds of what may be left out of it.

    Attributes:
        shuffle: True to write records in random order, without a header record: reading stays sequential where a disk
            seeks slowly. Otherwise they are in class order, with header and ranges.
        seed: Seed of that order.
        jpeg_quality: Quality of crops in other formats than JPEG, which are encoded again.
        people_depth: Number of folders down to a person's, where it is not found by itself.
        resize_crops: True if square images of any size are taken for aligned crops.
        on_corrupt: Treatment of an image that cannot be decoded: an error, or it is left out.
        max_left_out: Share of the images that may be left out, 0 … 1.
        lost_people: Treatment of people of whom no image is left: an error, or they are left out.
        split: Name of the split of a Hugging Face set.
        image_column: Name of its column of images.
        label_column: Name of its column of labels.
    """

    shuffle: bool = False
    seed: int = 0
    jpeg_quality: int = JPEG_QUALITY
    people_depth: int | None = None
    resize_crops: bool = False
    on_corrupt: OnCorrupt = "error"
    max_left_out: float = MAX_LEFT_OUT
    lost_people: LostPeople = "error"
    split: str | None = None
    image_column: str | None = None
    label_column: str | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """Result of preparing: numbers of images and people, omissions, and the damaged images among them."""

    images: int
    people: int
    omissions: Omissions
    corrupt: Sequence[str]


def prepare(source: Path, out: Path, options: PrepareOptions | None = None) -> Prepared:
    """Write a training set; JPEGs are taken over byte for byte, one image at a time.

    A set in shards (:mod:`aroface.datasets.preparation.shards`) is read as a stream, and an interrupted call resumes at
    the last whole shard. Shuffling takes twice the room, as the records are written in order first.

    Args:
        source: Folder of records, or with folders of aligned 112×112 crops, one a person, at any depth (archives of
            WebFace unpack to such folders below folders of parts); ``identities.txt`` then names the people. Or a set
            in shards: zip archives of such folders, Parquet or Arrow files, tar archives of WebDataset, an LMDB file.
        out: Folder of the set, which appears when it is complete.
        options: Options of preparing.

    Raises:
        InputError: No such set, an image is no aligned crop, two folders of people have one name, more is left out than
            the options allow, or something that was not made here stands at ``out``.
    """
    options = options or PrepareOptions()
    omissions = Omissions()
    shards = shard_source(source) if find_layout(source) is None else None
    for option in ("split", "image_column", "label_column"):
        if getattr(options, option) is not None and not (shards and shards.has_columns):
            raise InputError(f"--{option.replace('_', '-')} is for Parquet and Arrow files", file=source)
    if shards is not None:
        return _sharded(shards, source, out, omissions, options)
    images = _records(source, omissions, options) if find_layout(source) else _tree(source, omissions, options)
    count, classes = len(images.labels), images.classes
    order = _random_order(count, options.seed) if options.shuffle else np.argsort(images.labels, kind="stable")
    with atomic_folder(out) as folder:
        numbers = track(order.tolist(), "writing", count)
        items = ((int(images.labels[number]), images.jpeg(number)) for number in numbers)
        if options.shuffle:
            _write_shuffled(folder, items, classes)
        else:
            write_training_set(folder, items, classes)
        if images.people:
            write_text(folder / IDENTITIES, "".join(f"{name}\n" for name in images.people))
        _write_manifest(folder, out.name, classes, count, omissions, images.corrupt)
    return Prepared(count, classes, omissions, images.corrupt)


def _write_manifest(
    folder: Path, name: str, classes: int, count: int, omissions: Omissions, corrupt: Sequence[str]
) -> None:
    write_manifest(
        folder,
        name=name,
        kind="training",
        identity=data_identity(folder),
        counts={"identities": classes, "images": count},
        left_out=omissions.summary(),
        corrupt=corrupt,
    )


def _sharded(kind: ShardSource, source: Path, out: Path, omissions: Omissions, options: PrepareOptions) -> Prepared:
    """Write a set in shards as records; those are shuffled when they are complete, as shards come in their order."""
    if options.people_depth is not None:
        raise InputError("is no tree of folders", file=source, remedy="leave out --people-depth")
    opened = kind.open(source, ShardOptions(options.split, options.image_column, options.label_column), omissions)
    check_people(opened.people or (), source)
    note_others(source, opened.shards, omissions)
    _account_for_lost_people(opened.lost, source, omissions, options)
    how = ShardWriteOptions(options.jpeg_quality, options.resize_crops, options.on_corrupt)
    with partial_folder(out) as folder:
        written = write_shards(opened, folder, how)
        count, corrupt = written.progress.images, written.progress.corrupt
        omissions.note_all(written.progress.left_out)
        omissions.extend(CORRUPT, corrupt)
        omissions.check(count + omissions.counted, options.max_left_out, file=source)
        lost = sorted({label for label in written.progress.corrupt_labels if not written.images[label]})
        _account_for_lost_classes(lost, opened.people, source, omissions, options)
        for label in np.setdiff1d(np.flatnonzero(written.images == 0), lost):  # that the source does not use either
            omissions.note(_EMPTY_CLASS, opened.people[label] if opened.people else str(label))
        if opened.people:
            write_text(folder / IDENTITIES, "".join(f"{name}\n" for name in opened.people))
        if options.shuffle:
            _shuffle(folder, len(written.images), options.seed)
        else:
            forget_progress(folder)
        _write_manifest(folder, out.name, len(written.images), count, omissions, corrupt)
    return Prepared(count, len(written.images), omissions, corrupt)


def _account_for_lost_classes(
    lost: Sequence[int], people: Sequence[str] | None, source: Path, omissions: Omissions, options: PrepareOptions
) -> None:
    """Refuse classes of which no image is left, or count them; their labels stay."""
    names = [people[label] if people else str(label) for label in lost]
    if names and options.lost_people == "error":
        raise InputError(
            f"class {names[0]} has no image that can be decoded, as {len(names):,} classes have not",
            file=source,
            remedy="choose --lost-people omit to keep the class without an image",
        )
    for name in names:
        omissions.note(_EMPTY_CLASS, name)


def _account_for_lost_people(names: Sequence[str], source: Path, omissions: Omissions, options: PrepareOptions) -> None:
    """Refuse people of whom a set in shards holds files but no image, or count them."""
    if names and options.lost_people == "error":
        others = f", one of {len(names):,} such people" if len(names) > 1 else ""
        reasons = "".join(f"; {line}" for line in omissions.lines()[:1])
        raise InputError(
            f"no image that can be used{others}{reasons}",
            file=source,
            where=names[0],
            remedy="put in the person's images, or choose --lost-people omit",
        )
    for name in names:
        omissions.note("person without an image", name)


@dataclass(frozen=True, slots=True)
class _Images:
    """Labelled JPEGs.

    Attributes:
        labels: Labels, int64 (N,).
        classes: Number of people.
        jpeg: Function from the number of an image to its bytes.
        people: Names of the people, where they have any.
        corrupt: Images that were left out because they cannot be decoded, each with the reason.
    """

    labels: npt.NDArray[np.int64]
    classes: int
    jpeg: Callable[[int], bytes]
    people: list[str]
    corrupt: list[str]


def _records(source: Path, omissions: Omissions, options: PrepareOptions) -> _Images:
    """The images of a record set; labels stay as they are, also where a person loses all images."""
    if options.people_depth is not None or options.resize_crops:
        raise InputError(
            "holds records, no folders of people", file=source, remedy="leave out --people-depth and --resize-crops"
        )
    records = TrainingSet.open(source)
    if options.on_corrupt == "error":
        return _Images(records.labels, records.num_classes, records.jpeg, [], [])
    reasons = [_fault(records, number) for number in track(range(len(records)), "decoding")]
    corrupt = [reason for reason in reasons if reason is not None]
    omissions.extend(CORRUPT, corrupt)
    omissions.check(len(records), options.max_left_out, file=source)
    whole = np.flatnonzero([reason is None for reason in reasons])
    lost = np.setdiff1d(records.labels, records.labels[whole])
    _account_for_lost_classes(lost.tolist(), None, source, omissions, options)
    return _Images(
        records.labels[whole], records.num_classes, lambda number: records.jpeg(int(whole[number])), [], corrupt
    )


def _fault(images: TrainingSet, number: int) -> str | None:
    """Reason why an image cannot be decoded."""
    try:
        decode(images.jpeg(number))
    except InputError as error:
        if not is_damage(error):
            raise
        return str(error)
    except ValueError as error:
        return str(images.error(number, f"cannot be decoded ({error})"))
    return None


def _tree(source: Path, omissions: Omissions, options: PrepareOptions) -> _Images:
    lost = options.lost_people
    all_people = read_people(source, omissions=omissions, depth=options.people_depth, lost=lost)
    photographs, corrupt = leave_out_corrupt(all_people.photographs, source, omissions, options.on_corrupt, lost)
    omissions.check(all_people.total, options.max_left_out, file=source)
    if len(photographs) < 2:
        raise InputError(f"images of {len(photographs)} people", file=source, expected="a folder for each of 2 or more")
    people = sorted(photographs)
    photos = [photo for name in people for photo in photographs[name]]
    labels = np.repeat(np.arange(len(people)), [len(photographs[name]) for name in people])

    def jpeg(number: int) -> bytes:
        return photos[number].jpeg(options.jpeg_quality, resize=options.resize_crops)

    return _Images(labels, len(people), jpeg, people, corrupt)


def _random_order(count: int, seed: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng([seed, _ORDER]).permutation(count)


def _shuffle(folder: Path, classes: int, seed: int) -> None:
    """Write the records of a complete partial folder in random order in their place, as `prepare` does of records.

    A call that is interrupted here resumes with the first of them; the disk holds both for a while.
    """
    records, shuffled = TrainingSet.open(folder), folder / "shuffled"
    shuffled.mkdir(exist_ok=True)
    numbers = track(_random_order(len(records), seed).tolist(), "shuffling", len(records))
    _write_shuffled(shuffled, ((int(records.labels[number]), records.jpeg(number)) for number in numbers), classes)
    forget_progress(folder)  # which is of the other order: half of both would pass for it
    for path in folder.glob("*.npy"):  # labels that opening the records has kept beside them
        path.unlink()
    for name in (RECORDS, INDEX):
        (shuffled / name).replace(folder / name)
    shutil.rmtree(shuffled)


def _write_shuffled(folder: Path, items: Iterator[tuple[int, bytes]], classes: int) -> None:
    check_classes(classes, folder)
    with open_writer(folder / RECORDS, folder / INDEX) as writer:
        for key, (label, jpeg) in enumerate(items):
            writer.write(key, pack(float(label), jpeg, key))
    write_property(folder, classes)
