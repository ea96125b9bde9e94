"""Registered sets brought into the data folder: downloaded, pinned, unpacked, and looked over."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

from aroface.datasets.download import download
from aroface.datasets.registry import Download, Entry, missing
from aroface.errors import InputError
from aroface.files import write_text

CONNECTIONS = 4


def fetch(entry: Entry, data_dir: Path, connections: int = CONNECTIONS) -> list[Path]:
    """Download what is not there yet of a registered set, and unpack it.

    The hash of a file without a published one is written beside it (``NAME.sha256``, as ``sha256sum -c`` reads it) by
    the first download; later ones are held to that.

    Args:
        entry: of the registry.
        data_dir: folder of received sets.
        connections: parts of a file fetched at once.

    Returns:
        What was fetched; nothing if everything was there.

    Raises:
        InputError: the set has to be requested, or a download or an archive is not what it should be.
    """
    line = missing(entry, data_dir)
    if line is None:
        return []
    if not entry.downloads:
        raise InputError(line)
    fetched = []
    for item in entry.downloads:
        path = data_dir / item.file
        _fetch_pinned(item, path, connections)
        fetched.append(path)
        if item.unpack:
            unpack(path, data_dir)
    line = missing(entry, data_dir)
    if line is not None:
        raise InputError(f"fetched and unpacked, but not all is there: {line}", file=fetched[0])
    return fetched


def unpack(archive: Path, folder: Path) -> list[Path]:
    """Unpack a zip or tar archive; what it holds appears in ``folder`` whole.

    Members that point out of the archive, links and devices among them, are refused.

    Args:
        archive: of any compression that the standard library reads.
        folder: where its top-level entries go; files of the same names there are left alone, and then nothing is moved.

    Returns:
        The new top-level entries.

    Raises:
        InputError: it is no archive, it is damaged, a member is refused, or a name is taken by something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{archive.name}.", dir=folder))
    try:
        _extract(archive, temporary)
        entries = sorted(temporary.iterdir())
        taken = [entry.name for entry in entries if (folder / entry.name).exists()]
        if taken:
            raise InputError(
                f"holds {', '.join(taken)}, which {folder} has already",
                file=archive,
                remedy="remove or rename that, and start again",
            )
        return [entry.rename(folder / entry.name) for entry in entries]
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _fetch_pinned(item: Download, path: Path, connections: int) -> None:
    pin = path.with_name(f"{path.name}.sha256")
    expected = item.sha256
    if expected is None and pin.exists():
        expected = pin.read_text(encoding="utf-8").split()[0]
    found = download(item.url, path, sha256=expected, connections=connections)
    if not pin.exists():
        write_text(pin, f"{found}  {path.name}\n")


def _extract(archive: Path, folder: Path) -> None:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                _refuse_outside(packed, archive)
                packed.extractall(folder)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as packed_tar:
                packed_tar.extractall(folder, filter="data")
        else:
            raise InputError("neither a zip nor a tar archive", file=archive)
    except tarfile.FilterError as error:
        raise InputError(f"a member is refused: {error}", file=archive) from None
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(f"the archive cannot be read ({error})", file=archive) from None


def _refuse_outside(packed: zipfile.ZipFile, archive: Path) -> None:
    for member in packed.infolist():
        name = Path(member.filename)
        if name.is_absolute() or ".." in name.parts or member.external_attr >> 28 == 0o12:
            raise InputError(f"a member is refused: {member.filename!r} points elsewhere", file=archive)
