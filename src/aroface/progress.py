"""Progress of long work: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
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

from aroface.humanize import bytes_text, clock_text

Item = TypeVar("Item")

console = Console(stderr=True)

LINE_EVERY = 60.0
"""Seconds between two lines of one piece of work, where there is no terminal."""


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yield from ``items`` while standard error shows how many are done and the time left.

    On a terminal that is a bar; elsewhere, as in a log file, a line every minute.

    Args:
        items: Pieces of work.
        description: Description of the work, in a few words.
        total: Number of items, where it does not show in them.
    """
    if not console.is_terminal:
        yield from _told(items, description, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        yield from bar.track(items, total=total, description=description)


def _told(items: Iterable[Item], description: str, total: int | None) -> Iterator[Item]:
    whole = total if total is not None else len(items) if isinstance(items, Sized) else None
    lines = _Lines(description, whole)
    for number, item in enumerate(items):
        lines.tell(number)
        yield item


class _Lines:
    """Lines of progress.

    Args:
        description: Description of the work.
        total: Amount of it, None if it is not known.
        words: Function that writes an amount.
    """

    def __init__(self, description: str, total: int | None, words: Callable[[int], str] = "{:,}".format) -> None:
        self._description, self._total, self._words = description, total, words
        self._begin = self._last = time.monotonic()

    def tell(self, done: int, ready: int = 0) -> None:
        """Print a line, if it is time for one.

        Args:
            done: Amount that is done, what was ready before included.
            ready: Amount that was done before this call.
        """
        now = time.monotonic()
        if now - self._last < LINE_EVERY:
            return
        self._last = now
        line = f"{self._description}: {self._words(done)}"
        if self._total:
            line += f" of {self._words(self._total)} ({min(done / self._total, 1):.0%})"
            if ready < done < self._total:
                line += f", {clock_text((now - self._begin) / (done - ready) * (self._total - done))} left"
        print(line, file=sys.stderr, flush=True)


@contextmanager
def track_bytes(description: str, total: int | None, ready: int = 0) -> Iterator[Callable[[int], None]]:
    """Show how many bytes are done, their rate and the time left; yields a function that moves it on by some of them.

    Args:
        description: Description of the work, in a few words.
        total: Number of bytes, None if it is not known.
        ready: Number of them that were there before.
    """
    if not console.is_terminal:
        lines, done = _Lines(description, total, bytes_text), ready

        def move(count: int) -> None:
            nonlocal done
            done += count
            lines.tell(done, ready)

        yield move
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(description, total=total, completed=ready)
        yield lambda count: bar.advance(task, count)
