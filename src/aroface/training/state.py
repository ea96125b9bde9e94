"""Resumable state: complete or absent on disk, the newest kept, an older one used if the newest is damaged.

A state is a folder ``state-{step}`` with ``common-of-{w}.pt``, which rank 0 of w processes writes, and
``rank-{r}-of-{w}.pt`` of each rank. It counts when all of them exist, each written atomically; no process waits for
another.
"""

from __future__ import annotations

import errno
import pickle
import re
import shutil
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor

from aroface.errors import InputError
from aroface.files import atomic_open, free_bytes, writing
from aroface.training.execution import KEPT_STATES

_FOLDER = re.compile(r"state-(\d{9})")
_COMMON = re.compile(r"common-of-(\d{3})\.pt")


class CheckpointWriter:
    """Asynchronous checkpoint writer: training blocks only for the copy to host memory.

    Args:
        folder: Folder of the run's states.
        rank: Rank of this process; rank 0 also writes the common state.
        world_size: Number of processes.
        keep: Number of complete states that are kept.
    """

    def __init__(self, folder: Path, rank: int = 0, world_size: int = 1, keep: int = KEPT_STATES) -> None:
        self._folder, self._rank, self._world_size, self._keep = folder, rank, world_size, keep
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._writing: Future[None] | None = None
        self._buffers: dict[str, Tensor] = {}
        self._on_gpu = False  # until something is copied from there: a training on the CPU must not touch a GPU

    @property
    def busy(self) -> bool:
        """True while a state is being written.

        Raises:
            OSError: The write failed; earlier states are unaffected.
        """
        if self._writing is None:
            return False
        if self._writing.done():
            self.wait()
            return False
        return True

    def save(self, step: int, common: dict[str, Any], own: dict[str, Any]) -> Path:
        """Copy a state and begin to write it; waits first for one that is still being written.

        Args:
            step: Number of steps done.
            common: State that all processes have in common; only rank 0 writes it.
            own: State of this process alone.

        Returns:
            The state's folder.

        Raises:
            OSError: The write of the state before failed; earlier states are unaffected.
        """
        self.wait()
        folder = self._folder / f"state-{step:09d}"
        saved = SavedState(folder, step, self._world_size)
        files = {saved.own_file(self._rank): self._copy(own, "own")}
        if self._rank == 0:
            files[saved.common_file] = self._copy({"step": step, "world_size": self._world_size, **common}, "common")
        if self._on_gpu:
            torch.cuda.synchronize()
        self._writing = self._writer.submit(self._write, files)
        return folder

    def wait(self) -> None:
        """Wait for the write in progress.

        Raises:
            OSError: The write failed.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """Finish the write in progress and end the writer."""
        self._writer.shutdown()

    def _copy(self, value: Any, path: str) -> Any:
        """Copy all tensors of ``value`` to host memory that the next state reuses for the same path."""
        if isinstance(value, dict):
            return {key: self._copy(item, f"{path}/{key}") for key, item in value.items()}
        if isinstance(value, list):
            return [self._copy(item, f"{path}/{number}") for number, item in enumerate(value)]
        if not isinstance(value, Tensor):
            return value
        self._on_gpu |= value.is_cuda
        buffer = self._buffers.get(path)
        if buffer is None or buffer.shape != value.shape or buffer.dtype != value.dtype:
            buffer = torch.empty(value.shape, dtype=value.dtype, pin_memory=value.is_cuda)
            self._buffers[path] = buffer
        return buffer.copy_(value.detach(), non_blocking=True)

    def _write(self, files: dict[Path, Any]) -> None:
        for path, content in files.items():
            with atomic_open(path, _size(content) or None) as file:
                torch.save(content, file)
        if self._rank == 0:
            whole = _whole(self._folder)
            for old, _ in _folders(self._folder):
                if len(whole) > self._keep and old < whole[self._keep - 1].step:
                    shutil.rmtree(self._folder / f"state-{old:09d}", ignore_errors=True)


@dataclass(frozen=True, slots=True)
class SavedState:
    """Complete state on disk.

    Attributes:
        folder: Folder of the state.
        step: Number of steps done.
        world_size: Number of processes that wrote it.
    """

    folder: Path
    step: int
    world_size: int

    @property
    def common_file(self) -> Path:
        """Path of the state that all processes had in common."""
        return self.folder / f"common-of-{self.world_size:03d}.pt"

    def own_file(self, rank: int) -> Path:
        """Return the path of the state of process ``rank`` alone."""
        return self.folder / f"rank-{rank:03d}-of-{self.world_size:03d}.pt"

    @property
    def whole(self) -> bool:
        """True if all of its files exist."""
        return self.common_file.exists() and all(self.own_file(rank).exists() for rank in range(self.world_size))


Parts = tuple[dict[str, Any], list[dict[str, Any]]]
"""Common state, and the requested states of single processes."""


def load(
    folder: Path,
    recipe_hash: str,
    needed: Callable[[int], range],
    all_agree: Callable[[bool], bool] = bool,
) -> Parts | None:
    """Load the newest complete state of this recipe that every process can read; None if there is none.

    A damaged one is skipped with a warning.

    Args:
        folder: Folder of the run's states.
        recipe_hash: Hash of the recipe to resume.
        needed: Function from the number of processes that wrote a state to the ranks whose parts this process needs.
        all_agree: Function that tells whether something holds on all processes.

    Raises:
        InputError: The folder holds the state of another recipe.
        NoRoomError: The next state would not fit on the disk: better reported now than after hours.
    """
    for saved in _whole(folder):
        parts: Parts | None
        try:
            parts = (
                _load(saved.common_file),
                [_load(saved.own_file(rank)) for rank in needed(saved.world_size)],
            )
        except (BadZipFile, RuntimeError, EOFError, ValueError, KeyError, OSError, pickle.UnpicklingError) as error:
            warnings.warn(f"{saved.folder}: damaged ({type(error).__name__}), trying the one before", stacklevel=2)
            parts = None
        if not all_agree(parts is not None) or parts is None:
            continue
        if parts[0].get("recipe_hash") != recipe_hash:
            raise InputError(
                "state of another recipe",
                file=saved.folder,
                expected=recipe_hash,
                remedy="give each run a state folder of its own",
            )
        _check_room(saved)
        return parts
    return None


def _check_room(saved: SavedState) -> None:
    """Check that there is room for another state as large as this one."""
    needed = sum(file.stat().st_size for file in saved.folder.glob("*.pt"))
    with writing(saved.folder.parent, needed):
        if free_bytes(saved.folder) < needed:
            raise OSError(errno.ENOSPC, "no room for the next state")


def _size(value: Any) -> int:
    """Sum up the bytes of the tensors in a state."""
    if isinstance(value, dict):
        return sum(_size(item) for item in value.values())
    return value.nbytes if isinstance(value, Tensor) else 0


def tidy(folder: Path) -> None:
    """Remove half-written files of a killed process."""
    for leftover in folder.glob("state-*/.*.pt"):
        leftover.unlink()


def _load(path: Path) -> dict[str, Any]:
    with ZipFile(path) as archive:  # torch itself does not verify the checksums
        if (member := archive.testzip()) is not None:
            raise BadZipFile(f"{member} has changed")
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


def _folders(folder: Path) -> list[tuple[int, Path]]:
    matches = ((_FOLDER.fullmatch(path.name), path) for path in folder.glob("state-*"))
    return sorted((int(match[1]), path) for match, path in matches if match)


def _whole(folder: Path) -> list[SavedState]:
    """List the complete states, newest first."""
    states = []
    for step, path in reversed(_folders(folder)):
        sizes = [int(match[1]) for match in (_COMMON.fullmatch(file.name) for file in path.iterdir()) if match]
        states += [saved for size in sizes if (saved := SavedState(path, step, size)).whole]
    return states
