"""Manifests: what a data set on disk is made of, and the hash by which a training depends on it.

The hash covers the *identity* alone: the spec and seed of a generated set, options and content of a packed folder,
samples of received files. It is known before a generated set exists and does not change when a set is moved.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aroface.datasets.file_names import MANIFEST, check_name
from aroface.datasets.hashes import FileHashes
from aroface.errors import InputError
from aroface.files import check_place, digest, read_json, replacing_folder, sha256_file, write_json
from aroface.omissions import KindSummary
from aroface.schemas import validate


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path`` that takes this name only when the body has ended well.

    What stood there before is replaced if it was made here, which its manifest shows.

    Raises:
        InputError: Something else stands there.
    """
    refuse_other(path)
    with replacing_folder(path) as temporary:
        yield temporary


def refuse_other(path: Path) -> None:
    """Refuse the place of a set where something else stands than one that was made here, or an empty folder.

    Raises:
        InputError: Something else does.
    """
    if path.exists() and not (path / MANIFEST).is_file() and not (path.is_dir() and not any(path.iterdir())):
        remedy = "name another place or remove it"
        raise InputError(f"exists and has no {MANIFEST}, so it was not made here", file=path, remedy=remedy)


def refuse_other_file(path: Path) -> None:
    """Refuse the place of a set that is a file, where nothing can be written or another file stands.

    Raises:
        InputError: A file without a manifest beside it stands there, a folder, or no file can be made.
    """
    check_place(path)
    if path.exists() and not manifest_path(path).exists():
        what = f"exists without {manifest_path(path).name}, so it was not made here"
        raise InputError(what, file=path, remedy="name another place or remove it")


_SAMPLE = 1 << 20
_SAMPLED = 64  # files of a folder that are read: other crops under the same names are another set


def manifest_hash(identity: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of an identity."""
    return digest(dict(identity))


def manifest_path(data: Path) -> Path:
    """Path of the manifest of a set: in its folder, or beside its file."""
    return data.with_name(f"{data.name}.{MANIFEST}") if data.suffix == ".bin" else data / MANIFEST


def files_under(folder: Path) -> list[str]:
    """Relative names of all files under a folder, sorted; manifests and hidden files are left out.

    Raises:
        InputError: A name is not UTF-8.
    """
    files = []
    for directory, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(directory).relative_to(folder)
        visible = [name for name in names if not name.startswith(".") and not name.endswith(MANIFEST)]
        for name in (*folders, *visible):
            check_name(Path(directory) / name)
        files += [(here / name).as_posix() for name in visible]
    return sorted(files)


def write_manifest(
    data: Path,
    *,
    name: str,
    kind: str,
    identity: Mapping[str, Any],
    counts: Mapping[str, int],
    left_out: Mapping[str, KindSummary] | None = None,
    corrupt: Sequence[str] = (),
    beside: Sequence[str] = (),
) -> None:
    """Hash the files of a set and write its manifest.

    Args:
        data: Folder of the set, or its ``.bin`` file.
        name: Name of the set.
        kind: ``training``, ``pairs``, ``tinyface`` or, for a folder of such sets, ``package``.
        identity: Description of all that decides the content.
        counts: Counts such as images, identities, pairs.
        left_out: Summary of what was left out when the set was made, see `aroface.omissions`.
        corrupt: Images that were left out because they cannot be decoded, each with the reason.
        beside: Names of further files of the set beside a ``.bin`` file.
    """
    root, names = (data.parent, [data.name, *beside]) if data.is_file() else (data, files_under(data))
    files = {item: {"size": (root / item).stat().st_size, "sha256": sha256_file(root / item)} for item in names}
    manifest = {"name": name, "kind": kind, "identity": dict(identity), "files": files, "counts": dict(counts)}
    manifest |= {"left_out": dict(left_out)} if left_out else {}
    manifest |= {"corrupt": list(corrupt)} if corrupt else {}
    validate(manifest, "manifest")
    write_json(manifest_path(data), manifest)


def read_manifest(data: Path) -> dict[str, Any]:
    """The manifest of a set, given its folder or its ``.bin`` file.

    Raises:
        InputError: There is none, it is malformed, or a file it lists is missing or of another size.
    """
    path = manifest_path(data)
    manifest: dict[str, Any] = read_json(path)
    validate(manifest, "manifest", file=path)
    root = path.parent
    for name, entry in manifest["files"].items():
        size = (root / name).stat().st_size if (root / name).is_file() else None
        if size != entry["size"]:
            raise InputError(
                "the file is missing" if size is None else f"the file has {size} bytes",
                file=root / name,
                expected=f"{entry['size']} bytes, says {path.name}",
                remedy="make the set again",
            )
    return manifest


def sample_identity(folder: Path, files: Iterable[str]) -> dict[str, Any]:
    """The identity of a received set from the size and the two ends of each of its files: cheap, however large it is.

    Args:
        folder: Folder of the set.
        files: Relative names; of a folder among them, the names of its entries count.

    Raises:
        InputError: One of them is not there.
    """
    return {"files": {item: _sample(folder / item) for item in sorted(files)}}


def _sample(path: Path) -> dict[str, Any]:
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir())
        chosen = [path / names[len(names) * i // _SAMPLED] for i in range(_SAMPLED)] if names else []
        contents = [sha256_file(file) for file in dict.fromkeys(chosen) if file.is_file()]
        return {"entries": len(names), "sample": digest([names, contents])}
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            sample = hashlib.sha256(file.read(_SAMPLE))
            file.seek(max(size - _SAMPLE, 0))
            sample.update(file.read(_SAMPLE))
    except FileNotFoundError:
        raise InputError("no such file", file=path) from None
    return {"size": size, "sample": sample.hexdigest()}


def listing_hash(folder: Path, hashes: FileHashes | None = None) -> str:
    """SHA-256 over the relative names, sizes and contents of all files under a folder.

    Args:
        folder: Folder of photographs.
        hashes: Remembered hashes of its files; None to read them all.

    Raises:
        InputError: There is no such folder.
    """
    if not folder.is_dir():
        raise InputError("no such folder", file=folder)
    hashes = hashes or FileHashes(folder)
    return digest([_listed(folder, name, hashes) for name in files_under(folder)])


def _listed(folder: Path, name: str, hashes: FileHashes) -> list[Any]:
    path = folder / name
    if path.is_symlink() and not path.exists():
        return [name, "link to", os.fsencode(path.readlink()).decode(errors="backslashreplace")]
    if not path.is_file():  # to read a pipe would wait for ever
        return [name, "no file"]
    return [name, path.stat().st_size, hashes.sha256(name)]
