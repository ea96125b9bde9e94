"""Fetching of registered sets into the data folder: download, unpack, inspect, and only then pin."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aroface.datasets.preparation.archive import MAX_RATIO, RefusedFileError, unpack
from aroface.datasets.preparation.connection import Limits
from aroface.datasets.preparation.download import download, find_in_folder, refused_path
from aroface.datasets.preparation.received import check_pair_file, check_received
from aroface.datasets.registry import Benchmark, Download, Entry, google_drive, is_fetched, missing
from aroface.errors import InputError
from aroface.files import write_text

CONNECTIONS = 4
DEFAULTS = Limits()
_PIN_BYTES = 4096


def fetch(
    entry: Entry,
    data_dir: Path,
    connections: int = CONNECTIONS,
    *,
    limits: Limits = DEFAULTS,
    max_bytes: int | None = None,
    max_ratio: float = MAX_RATIO,
) -> list[Path]:
    """Download the missing files of a registered set, and unpack them.

    The hash of a file without a published one is written beside it (``NAME.sha256``, as ``sha256sum -c`` reads it) once
    it could be opened and has what is expected of it; later downloads are held to that. A file that is not what it
    should be is set aside as ``NAME.refused``, so that the next call fetches it again.

    Args:
        entry: Entry of the registry.
        data_dir: Folder of received sets.
        connections: Number of ranges of a file fetched at once.
        limits: Bounds of the downloads; that of the size only where the registry has none.
        max_bytes: Size of the largest file, whatever the registry has; None takes the registry's.
        max_ratio: Largest ratio of what an archive holds to its own size.

    Returns:
        Paths of the fetched files; empty if all existed.

    Raises:
        InputError: The set has to be requested, a download or an archive has other content than expected, or a limit is
            reached.
    """
    line = missing(entry, data_dir)
    if line is None or (entry.downloads and is_fetched(entry, data_dir)):
        return []
    if not entry.downloads:
        raise InputError(line)
    fetched = []
    for number, item in enumerate(entry.downloads, 1):
        path = data_dir / item.file
        bounds = replace(limits, max_bytes=max_bytes or item.max_bytes or limits.max_bytes)
        wanted = entry.files if number == len(entry.downloads) else ()
        pairs = isinstance(entry, Benchmark) and entry.protocol == "pairs" and item.file == entry.path
        _bring(item, path, data_dir, connections, bounds, wanted, max_ratio, pairs=pairs)
        fetched.append(path)
    line = missing(entry, data_dir)
    if line is not None and not is_fetched(entry, data_dir):
        raise InputError(f"fetched and unpacked, but not all is there: {line}", file=fetched[0])
    return fetched


def _bring(
    item: Download,
    path: Path,
    data_dir: Path,
    connections: int,
    limits: Limits,
    wanted: Sequence[str],
    max_ratio: float,
    *,
    pairs: bool,
) -> None:
    """Download one file; without a published hash, pin a usable one on first download."""
    pin = path.with_name(f"{path.name}.sha256")
    pinned = _read_pin(pin) if item.sha256 is None and pin.is_file() else None
    known = item.sha256 or pinned
    url = item.url
    if item.inside is not None and not path.exists():
        url = google_drive(find_in_folder(item.url, item.inside, path, page=item.page, limits=limits))
    try:
        digest = download(
            url,
            path,
            sha256=known,
            size=item.size,
            page=item.page,
            connections=connections,
            limits=limits,
        )
    except InputError as error:
        if pinned is None or pinned not in str(error):
            raise
        remedy = f"if the provider has a new version, remove {pin} to take it"
        raise InputError(str(error), remedy=remedy) from None
    try:
        if item.unpack:
            unpack(path, data_dir, wanted=wanted, max_ratio=max_ratio)
        else:
            check_received(path)
            if pairs:
                check_pair_file(path)
    except RefusedFileError as error:
        if known is not None:
            raise
        aside = refused_path(path)
        path.replace(aside)
        raise InputError(str(error), remedy=f"set aside as {aside.name}; the next call fetches it again") from None
    if not pin.exists():
        write_text(pin, f"{digest}  {path.name}\n")


def _read_pin(pin: Path) -> str:
    """The hash that a ``.sha256`` file holds."""
    with open(pin, "rb") as file:
        fields = file.read(_PIN_BYTES).decode("ascii", "replace").lower().split()
    if not fields or not re.fullmatch("[0-9a-f]{64}", fields[0]):
        raise InputError(
            "no sha256", file=pin, expected="64 hexadecimal digits and a file name", remedy="remove it to pin anew"
        )
    return fields[0]
