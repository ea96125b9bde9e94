"""What lies at a place on disk: which kind of set, of which files, and the hash by which jobs depend on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from aroface.datasets.formats.ijb import ijb_files, is_ijb
from aroface.datasets.formats.ijbs import ijbs_files, is_ijbs
from aroface.datasets.formats.image_folder import LAYOUT, images_of, is_image_folder, people
from aroface.datasets.formats.kinds import SetKind
from aroface.datasets.formats.tinyface import GALLERY_LIST, PROBE_LIST, RELEASED_CROPS, aligned_folders
from aroface.datasets.formats.training_set import FILES, RECORDS
from aroface.datasets.manifest import manifest_hash, manifest_path, read_manifest, sample_identity
from aroface.errors import InputError
from aroface.files import digest

_SAMPLED_PEOPLE = 64


def kind_of(data: Path) -> SetKind:
    """What a folder or file holds, by the files that its format demands.

    Raises:
        InputError: no known format.
    """
    if data.suffix == ".bin":
        return "pairs"
    if (data / RECORDS).exists():
        return "training"
    if (data / PROBE_LIST).exists():
        return "tinyface"
    if is_ijb(data):
        return "ijb"
    if is_ijbs(data):
        return "ijbs"
    if is_image_folder(data) and not _in_tinyface(data):
        return "training"
    raise InputError(
        "no data set" if data.exists() else "no such file or folder",
        file=data,
        expected=f"a folder with {RECORDS}, a .bin file, a TinyFace, IJB-B, IJB-C or IJB-S tree, or {LAYOUT}",
    )


def set_files(data: Path) -> tuple[Path, list[str]]:
    """A folder, and the names in it of the files and folders that a set consists of.

    Raises:
        InputError: see `kind_of`.
    """
    return _FILES[kind_of(data)](data)


def data_hash(data: Path) -> str:
    """The hash of the identity of what lies at ``data``.

    Raises:
        InputError: see `data_identity`.
    """
    return manifest_hash(data_identity(data))


def data_identity(data: Path) -> dict[str, Any]:
    """The identity of what lies at ``data``: that of its manifest where it has one, else samples of its files.

    Of a folder of images all names count, and the content of some images of some people: cheap, however many it has.
    A link is followed: the same set has the same hash wherever it is seen from.

    Raises:
        InputError: a file is missing, or not as the manifest says.
    """
    data = data.resolve()
    if manifest_path(data).exists():
        return dict(read_manifest(data)["identity"])
    folder, names = set_files(data)
    if kind_of(data) != "training" or (data / RECORDS).exists():
        return sample_identity(folder, names)
    sampled = names[:: -(-len(names) // _SAMPLED_PEOPLE)]
    return {**sample_identity(folder, sampled), "images": digest(images_of(folder))}


def _in_tinyface(data: Path) -> bool:
    """Whether a folder is the crops of a TinyFace tree, which lie in folders of JPEG files as well."""
    return any((parent / PROBE_LIST).exists() for parent in data.absolute().parents)


def _training_files(data: Path) -> tuple[Path, list[str]]:
    return data, list(FILES) if (data / RECORDS).exists() else people(data)


def _tinyface_files(data: Path) -> tuple[Path, list[str]]:
    folders = [each for crops in (RELEASED_CROPS, *aligned_folders(data)) for each in (data / crops).glob("*/")]
    return data, [GALLERY_LIST, PROBE_LIST, *(each.relative_to(data).as_posix() for each in folders)]


_FILES: dict[SetKind, Callable[[Path], tuple[Path, list[str]]]] = {
    "training": _training_files,
    "pairs": lambda data: (data.parent, [data.name]),
    "tinyface": _tinyface_files,
    "ijb": ijb_files,
    "ijbs": ijbs_files,
}
