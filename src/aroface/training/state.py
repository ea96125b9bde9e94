"""Resumable state: whole or absent on disk, the newest kept, an older one used if the newest is damaged.

A state is a folder ``state-{step}`` with ``common-of-{w}.pt``, which the first of w processes writes, and
``rank-{r}-of-{w}.pt`` of each. It counts when all of them are there, each of which appears in one piece; no process
waits for another.
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

KEPT = 2
_FOLDER = re.compile(r"state-(\d{9})")
_COMMON = re.compile(r"common-of-(\d{3})\.pt")


class CheckpointWriter:
    """Writes states beside the training, which waits for a copy in memory and never for the disk.

    Args:
        folder: of the run's states.
        rank: of this process; the first also writes what all have in common.
        world_size: number of processes.
        keep: how many whole states stay.
    """

    def __init__(self, folder: Path, rank: int = 0, world_size: int = 1, keep: int = KEPT) -> None:
        self._folder, self._rank, self._world_size, self._keep = folder, rank, world_size, keep
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._writing: Future[None] | None = None
        self._room: dict[str, Tensor] = {}
        self._on_gpu = False  # until something is copied from there: a training on the CPU must not touch a GPU

    @property
    def busy(self) -> bool:
        """Whether a state is being written.

        Raises:
            OSError: it could not be; what was there before is as good as it was.
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
            step: steps that are done.
            common: what all processes have in common; only the first process's is written.
            own: what only this process has.

        Returns:
            The state's folder.

        Raises:
            OSError: the state before could not be written; what was there before is as good as it was.
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
        """Wait until nothing is being written any more.

        Raises:
            OSError: what was being written could not be.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """End the writer, after what it has begun."""
        self._writer.shutdown()

    def _copy(self, value: Any, place: str) -> Any:
        """``value`` with all tensors copied to memory that is used again for the same place of the next state."""
        if isinstance(value, dict):
            return {key: self._copy(each, f"{place}/{key}") for key, each in value.items()}
        if isinstance(value, list):
            return [self._copy(each, f"{place}/{number}") for number, each in enumerate(value)]
        if not isinstance(value, Tensor):
            return value
        self._on_gpu |= value.is_cuda
        room = self._room.get(place)
        if room is None or room.shape != value.shape or room.dtype != value.dtype:
            room = torch.empty(value.shape, dtype=value.dtype, pin_memory=value.is_cuda)
            self._room[place] = room
        return room.copy_(value.detach(), non_blocking=True)

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
    """A whole state on disk.

    Attributes:
        folder: where it lies.
        step: steps that were done.
        world_size: number of processes that wrote it.
    """

    folder: Path
    step: int
    world_size: int

    @property
    def common_file(self) -> Path:
        """Where what all processes had in common lies."""
        return self.folder / f"common-of-{self.world_size:03d}.pt"

    def own_file(self, rank: int) -> Path:
        """Where what process ``rank`` alone had lies."""
        return self.folder / f"rank-{rank:03d}-of-{self.world_size:03d}.pt"

    @property
    def whole(self) -> bool:
        """Whether all of its files are there."""
        return self.common_file.exists() and all(self.own_file(rank).exists() for rank in range(self.world_size))


Parts = tuple[dict[str, Any], list[dict[str, Any]]]
"""What all processes had in common, and what was asked for of the single ones."""


def load(
    folder: Path,
    recipe_hash: str,
    needed: Callable[[int], range],
    all_agree: Callable[[bool], bool] = bool,
) -> Parts | None:
    """The newest whole state of this recipe that every process can read, or None where there is none.

    A damaged one is passed over with a warning.

    Args:
        folder: of the run's states.
        recipe_hash: of the recipe that is to go on.
        needed: from the number of processes that wrote a state to those whose parts this process needs.
        all_agree: whether something holds on all processes.

    Raises:
        InputError: the folder holds the state of another recipe.
        NoRoomError: the next state would not fit on the disk: better said now than after hours.
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
    """See that a state as large as this one can be written beside it."""
    needed = sum(file.stat().st_size for file in saved.folder.glob("*.pt"))
    with writing(saved.folder.parent, needed):
        if free_bytes(saved.folder) < needed:
            raise OSError(errno.ENOSPC, "no room for the next state")


def _size(value: Any) -> int:
    """Bytes of the tensors in a state."""
    if isinstance(value, dict):
        return sum(_size(each) for each in value.values())
    return value.nbytes if isinstance(value, Tensor) else 0


def tidy(folder: Path) -> None:
    """Remove what a kill left half-written."""
    for leftover in folder.glob("state-*/.*.pt"):
        leftover.unlink()


def _load(path: Path) -> dict[str, Any]:
    with ZipFile(path) as archive:  # torch itself does not look whether the bytes are those that were written
        if (member := archive.testzip()) is not None:
            raise BadZipFile(f"{member} has changed")
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


def _folders(folder: Path) -> list[tuple[int, Path]]:
    matches = ((_FOLDER.fullmatch(path.name), path) for path in folder.glob("state-*"))
    return sorted((int(match[1]), path) for match, path in matches if match)


def _whole(folder: Path) -> list[SavedState]:
    """The whole states, newest first."""
    found = []
    for step, path in reversed(_folders(folder)):
        sizes = [int(match[1]) for match in (_COMMON.fullmatch(each.name) for each in path.iterdir()) if match]
        found += [saved for size in sizes if (saved := SavedState(path, step, size)).whole]
    return found
