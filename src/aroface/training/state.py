"""Resumable state: whole or absent on disk, the newest two kept, the older one used if the newer is damaged."""

from __future__ import annotations

import fcntl
import io
import pickle
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from aroface.errors import InputError
from aroface.files import write_bytes

KEPT = 2
_NAME = re.compile(r"state-(\d{9})\.pt")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the state folder for one process; a second training of the same run is refused.

    Raises:
        InputError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                "another process is training this run", file=folder, remedy="wait for it, or stop it first"
            ) from None
        yield


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write ``state`` as the newest one and drop all but the last :data:`KEPT`.

    If it cannot be written, the states that were there are as good as before.
    """
    buffer = io.BytesIO()
    torch.save({"step": step, **state}, buffer)
    path = folder / f"state-{step:09d}.pt"
    write_bytes(path, buffer.getvalue())
    for old in _states(folder)[:-KEPT]:
        old.unlink()
    return path


def load(folder: Path, recipe_hash: str) -> dict[str, Any] | None:
    """The newest readable state of this recipe, or None where there is none.

    A damaged file is passed over with a warning; what a kill left half-written is removed. Tensors are on the CPU.

    Raises:
        InputError: the folder holds the state of another recipe.
    """
    for leftover in folder.glob(".state-*"):
        leftover.unlink()
    for path in reversed(_states(folder)):
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
            warnings.warn(f"{path}: damaged ({type(error).__name__}), trying the one before", stacklevel=2)
            continue
        if state.get("recipe_hash") != recipe_hash:
            raise InputError(
                "state of another recipe",
                file=path,
                expected=recipe_hash,
                remedy="give each run a state folder of its own",
            )
        return state
    return None


def _states(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("state-*.pt") if _NAME.fullmatch(path.name))
