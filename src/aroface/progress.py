"""Progress of long work: a bar on a terminal, silence elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

Item = TypeVar("Item")

console = Console(stderr=True)


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yield from ``items`` while a bar on standard error shows how many are done and the time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield from bar.track(items, total=total, description=description)


@contextmanager
def track_bytes(description: str, total: int | None, ready: int = 0) -> Iterator[Callable[[int], None]]:
    """A bar of bytes, with their rate and the time left; yields a function that moves it on by some of them."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(description, total=total, completed=ready)
        yield lambda count: bar.advance(task, count)
