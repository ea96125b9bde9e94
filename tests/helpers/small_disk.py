"""A small disk that fills."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Disk:
    """A disk of a given size.

    Attributes:
        folder: where it is mounted.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._mount("-t", "tmpfs", "-o", f"size={size}", "small")

    def resize(self, size: int) -> None:
        """Make it larger, with all that is on it."""
        self._mount("-o", f"remount,size={size}")

    def end(self) -> None:
        """Take it away."""
        subprocess.run(["umount", "--lazy", str(self.folder)], check=False)

    def _mount(self, *words: str) -> None:
        subprocess.run(["mount", *words, str(self.folder)], check=True)
