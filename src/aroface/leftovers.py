"""Temporary files and folders named by the process that writes them, so that those of killed processes can go."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from aroface.processes import boot_id, is_dead

ABANDONED_S = 86400.0
"""Seconds without a write after which a temporary file of another machine, or of before the last start, is removed."""

_NAME_BYTES = 196  # of a file's name, of the 255 that its temporary may have

_TEMPORARY = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)-[a-z0-9_]{8}(\.\w+)?")

_tidied: set[Path] = set()
"""Folders in which this process has removed leftovers."""


def temporary_prefix(path: Path) -> str:
    """Beginning of the name of a temporary file or folder beside ``path``: hidden, with the process that writes it.

    Of a long name only the beginning is in it, so that disks take the name of the temporary as they take that of the
    file.
    """
    name = path.name[: _NAME_BYTES if path.name.isascii() else _NAME_BYTES // 4]
    return f".{name}.{_namespace()}-{os.getpid()}-"


def tidy_once(folder: Path) -> None:
    """Remove temporary files and folders of processes that were killed, once for each process and folder.

    A file goes if its process is known to be dead, or after a day without a write if it was another machine's; a
    folder only in the first case.
    """
    real = Path(os.path.realpath(folder))
    if real in _tidied:
        return
    _tidied.add(real)
    with suppress(OSError), os.scandir(real) as entries:
        left = [(Path(entry.path), match) for entry in entries if (match := _TEMPORARY.fullmatch(entry.name))]
        for path, match in left:
            here = match[1] == _namespace()
            if is_dead(int(match[2])) if here else not path.is_dir() and _is_abandoned(path):
                _remove(path)


def _is_abandoned(path: Path) -> bool:
    with suppress(OSError):
        return time.time() - path.stat().st_mtime > ABANDONED_S
    return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


@cache
def _namespace() -> str:
    """Eight hexadecimal digits that only processes share which see each other's numbers."""
    known = [boot_id()]
    with suppress(OSError):
        known.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:8]
