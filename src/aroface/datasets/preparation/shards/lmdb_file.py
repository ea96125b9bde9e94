"""LMDB of labelled images, as HSFace comes: keys ``0``, ``1``, … with msgpack of image and label.

``__len__`` and ``__classnum__`` hold the numbers of images and classes. A sample of three items (image, feature,
label), as Vec2Face's copy of WebFace4M has it, is read as well. Memory holds one page and one sample.

Source: HaiyuWu/Vec2Face@9d9fa8c ``scripts/prepare_training_set.py`` and
HaiyuWu/SOTA-Face-Recognition-Train-and-Test@b8c42fe ``utils/imagelist2lmdb.py``, ``utils/lmdb2dataset.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from aroface.datasets.preparation.shards.base import (
    MOST_BYTES,
    LabelledImage,
    ShardedSet,
    ShardOptions,
    ShardSource,
    file_state,
)
from aroface.datasets.preparation.shards.lmdb_reader import LmdbReader, is_lmdb
from aroface.errors import InputError, printable
from aroface.omissions import Omissions

_BLOCK = 1 << 16  # images of one shard
_DATA = "data.mdb"
_LENGTH, _CLASSES, _KEYS = b"__len__", b"__classnum__", b"__keys__"
_NUMBER = re.compile(rb"0|[1-9][0-9]{0,18}")
_SAMPLE_BYTES = MOST_BYTES + (1 << 20)  # beside the image a feature may be there
_LAYOUT = "msgpack of image and label"
_MOST_IMAGES = 1 << 32


class LmdbFile(ShardSource):
    """A database file, or a folder with ``data.mdb``."""

    layout = "an LMDB file of images and labels, as HSFace's hsface10k.lmdb"

    def matches(self, source: Path) -> bool:
        """See :class:`ShardSource`."""
        return is_lmdb(_file(source))

    def open(self, source: Path, options: ShardOptions, omissions: Omissions) -> ShardedSet:
        """See :class:`ShardSource`."""
        return _Database(_file(source), omissions)


class _Database(ShardedSet):
    def __init__(self, file: Path, omissions: Omissions) -> None:
        self._reader = LmdbReader(file)
        self._count = self._number(_LENGTH, _MOST_IMAGES)
        self.classes = self._number(_CLASSES, 1 << 24)
        self.shards = [file] * -(-self._count // _BLOCK)
        self.key = file_state(file)
        self._account_for_others(omissions)

    def _account_for_others(self, omissions: Omissions) -> None:
        """Account for entries that are not among the images whose number the database states."""
        known = sum(key in self._reader for key in (_LENGTH, _CLASSES, _KEYS))
        if self._reader.entries == self._count + known:
            return
        for key in self._reader.all_keys():
            digits = _NUMBER.fullmatch(key)
            if digits and int(key) >= self._count:
                omissions.add(f"image beyond {_LENGTH.decode()}", f"key {int(key)}")
            elif not digits and key not in (_LENGTH, _CLASSES, _KEYS):
                omissions.note("entry that is no image", f"key {printable(ascii(key)[2:-1], 40)}")

    def _number(self, key: bytes, most: int) -> int:
        data = self._reader.get(key, 16)
        items = None if data is None else unpack_items(data)
        if items is None or len(items) != 1 or not isinstance(items[0], int) or not 1 <= items[0] <= most:
            raise InputError(
                f"no number under {key.decode()}",
                file=self._reader.path,
                expected=f"{_LENGTH.decode()} and {_CLASSES.decode()} with the numbers of images and classes",
            )
        return items[0]

    def read(self, number: int, omissions: Omissions) -> Iterator[LabelledImage]:
        """Images of one block in the order of their keys."""
        for index in range(number * _BLOCK, min((number + 1) * _BLOCK, self._count)):
            location = f"key {index}"
            data = self._reader.get(b"%d" % index, _SAMPLE_BYTES)
            if data is None:
                what = f"no such key, although {_LENGTH.decode()} is {self._count:,}"
                raise InputError(what, file=self._reader.path, where=location)
            items = unpack_items(data)
            if items is None or len(items) not in (2, 3):
                raise InputError("no sample", file=self._reader.path, where=location, expected=_LAYOUT)
            image, label = items[0], items[-1]
            if not isinstance(image, bytes) or not isinstance(label, int) or label < 0:
                raise InputError("no image and label", file=self._reader.path, where=location, expected=_LAYOUT)
            yield LabelledImage(label, image, location)


def unpack_items(data: bytes) -> list[bytes | int] | None:
    """Items of a msgpack array of bytes and whole numbers, or the only item; None for anything else.

    Source: the specification of msgpack; texts count as bytes, as older versions wrote them.
    """
    if not data:
        return None
    count, position = 1, 0
    if 0x90 <= data[0] <= 0x9F:
        count, position = data[0] & 0x0F, 1
    items: list[bytes | int] = []
    for _ in range(count):
        parsed = _item(data, position)
        if parsed is None:
            return None
        item, position = parsed
        items.append(item)
    return items if position == len(data) else None


_UNSIGNED = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_SIGNED = {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}


def _item(data: bytes, position: int) -> tuple[bytes | int, int] | None:
    """The item at a position, and the position after it."""
    if position >= len(data):
        return None
    tag, position = data[position], position + 1
    if tag < 0x80 or tag >= 0xE0:
        return (tag if tag < 0x80 else tag - 0x100), position
    if tag in _UNSIGNED or tag in _SIGNED:
        size = _UNSIGNED.get(tag) or _SIGNED[tag]
        end = position + size
        return None if end > len(data) else (int.from_bytes(data[position:end], "big", signed=tag in _SIGNED), end)
    if 0xA0 <= tag <= 0xBF:
        length = tag & 0x1F
    elif tag in _BYTES:
        length, position = int.from_bytes(data[position : position + _BYTES[tag]], "big"), position + _BYTES[tag]
    else:
        return None
    end = position + length
    return None if end > len(data) else (data[position:end], end)


def _file(source: Path) -> Path:
    return source / _DATA if source.is_dir() else source
