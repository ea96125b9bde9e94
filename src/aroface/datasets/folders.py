"""Folders that are either whole or absent."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aroface.datasets.manifest import MANIFEST
from aroface.errors import InputError
from aroface.leftovers import temporary_prefix, tidy_once


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path`` that takes this name only when the body has ended well.

    What stood there before is replaced if it was made here, which its manifest shows.

    Raises:
        InputError: something else stands there.
    """
    if path.exists() and not (path / MANIFEST).is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(
            f"exists and has no {MANIFEST}, so it was not made here",
            file=path,
            remedy="name another place or remove it",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    tidy_once(path.parent)
    temporary = Path(tempfile.mkdtemp(prefix=temporary_prefix(path), dir=path.parent))
    try:
        yield temporary
        temporary.chmod(path.parent.stat().st_mode & 0o777)
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
