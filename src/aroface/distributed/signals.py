"""Signals that ask a training to stop, handled by the processes that train and by the launcher alike."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""Signals that ask for an end: SIGUSR1 is a cluster's warning before the time limit."""

ECHO_S = 1.0
"""Seconds within which a repeated signal counts as the same one, passed on."""


@contextmanager
def handled(handler: Callable[[int], None]) -> Iterator[None]:
    """Call ``handler`` with the number of each of :data:`STOP_SIGNALS`; restore the earlier handlers at the end.

    Args:
        handler: Function of a signal's number.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        handler(number)

    before = {number: signal.signal(number, handle) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def ignore_stop_signals() -> None:
    """Ignore the signals from now on in this process, but not in the processes that it starts."""
    for number in STOP_SIGNALS:
        signal.signal(number, lambda number, frame: None)


class StopRequest:
    """First signal that asked this process to stop.

    Attributes:
        number: Number of the signal; 0 as long as none has come.
    """

    def __init__(self) -> None:
        self.number = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Remember a signal instead of ending at once; a second one of the same number acts as usual.

        Unless it is an echo of the first: Slurm signals all processes of a step, and a container passes on what it got.
        """
        first: dict[int, float] = {}

        def remember(number: int) -> None:
            self.number = number
            if time.monotonic() > first.setdefault(number, time.monotonic()) + ECHO_S:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)

        with handled(remember):
            yield
