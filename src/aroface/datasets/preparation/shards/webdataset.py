"""WebDataset: tar archives in which files of one name and several endings are a sample, here an image and ``.cls``.

The archives are read from front to end; memory holds one sample, and the names in one archive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from aroface.datasets.preparation.archive import tar_members
from aroface.datasets.preparation.shards.base import (
    MOST_BYTES,
    LabelledImage,
    ShardedSet,
    ShardOptions,
    ShardSource,
    file_state,
    natural_paths,
)
from aroface.errors import InputError
from aroface.omissions import Omissions

_ARCHIVE = re.compile(r"\.(tar|tar\.(gz|bz2|xz)|tgz)$", re.IGNORECASE)
_IMAGES = frozenset({"jpg", "jpeg", "png", "webp", "bmp", "ppm", "pgm"})
_LABEL = "cls"
_LABEL_BYTES = 32
_NEITHER = "sample of neither image nor label"
_SAMPLE = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]*)")  # as webdataset splits names: at the first dot of the last part


class WebDatasetShards(ShardSource):
    """A folder of tar archives, or one of them."""

    layout = "tar archives of samples with .jpg and .cls, as WebDataset writes them"

    def matches(self, source: Path) -> bool:
        """See :class:`ShardSource`."""
        return bool(_archives(source))

    def open(self, source: Path, options: ShardOptions, omissions: Omissions) -> ShardedSet:
        """See :class:`ShardSource`."""
        return _Samples(_archives(source))


class _Samples(ShardedSet):
    def __init__(self, archives: list[Path]) -> None:
        self.shards = archives
        self.key = [file_state(archive) for archive in archives]

    def read(self, number: int, omissions: Omissions) -> Iterator[LabelledImage]:
        """Samples of one archive in its order."""
        archive = self.shards[number]
        key, label, image = "", b"", b""
        count = 0
        for member, read in tar_members(archive):
            match = _SAMPLE.fullmatch(member.name)
            if match is None or not member.isfile():
                if not member.isdir():
                    omissions.note("no part of a sample", f"{archive.name}: {member.name}")
                continue
            if match[1] != key:
                if label or image:
                    yield _sample(archive, key, label, image)
                    count += 1
                elif key:
                    omissions.note(_NEITHER, f"{archive.name}: {key}")
                key, label, image = match[1], b"", b""
            ending = match[2].lower().rpartition(".")[2]
            if ending == _LABEL:
                _check_size(archive, member.name, member.size, _LABEL_BYTES)
                if label:
                    raise InputError("two labels in one sample", file=archive, where=key)
                label = read()
            elif ending in _IMAGES:
                _check_size(archive, member.name, member.size, MOST_BYTES)
                if image:
                    raise InputError("two images in one sample", file=archive, where=key)
                image = read()
        if label or image:
            yield _sample(archive, key, label, image)
            count += 1
        elif key:
            omissions.note(_NEITHER, f"{archive.name}: {key}")
        if count == 0:
            raise InputError("no sample in it", file=archive, expected="files of one name with .jpg and .cls")


def _archives(source: Path) -> list[Path]:
    if source.is_file():
        return [source] if _ARCHIVE.search(source.name) else []
    if not source.is_dir():
        return []
    return natural_paths(path for path in source.iterdir() if _ARCHIVE.search(path.name) and path.is_file())


def _check_size(archive: Path, name: str, size: int, most: int) -> None:
    if size > most:
        raise InputError(f"{size:,} bytes", file=archive, where=name, expected=f"at most {most:,}")


def _sample(archive: Path, key: str, label: bytes, image: bytes) -> LabelledImage:
    if not image or not label:
        what = "an image without .cls" if image else ".cls without an image"
        raise InputError(what, file=archive, where=key, expected="a sample of .jpg and .cls")
    text = label.strip()
    if not re.fullmatch(rb"[0-9]{1,12}", text):
        raise InputError(
            f"the label is {text!r:.40}", file=archive, where=key, expected="a whole number from 0 in .cls"
        )
    return LabelledImage(int(text), image, key)
