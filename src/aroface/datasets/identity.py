"""Identity of a data set on disk, and the hash of it by which jobs depend on the set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aroface.datasets.formats.registry import detect
from aroface.datasets.manifest import manifest_hash, manifest_path, read_manifest
from aroface.files import is_there


def data_hash(data: Path) -> str:
    """Hash of the identity of the set ``data``.

    Raises:
        InputError: See `data_identity`.
    """
    return manifest_hash(data_identity(data))


def data_identity(data: Path) -> dict[str, Any]:
    """Identity of the set ``data``: that of its manifest if it has one, else samples of its files.

    Of a folder of images all names count, and the content of some images of some people: cheap, however many it has.
    A link is followed: the same set has the same hash wherever it is seen from.

    Raises:
        InputError: The set is of no known format, or a file is missing or not as the manifest says.
    """
    data = data.resolve()
    if is_there(manifest_path(data)):
        return dict(read_manifest(data)["identity"])
    return detect(data).identity(data)
