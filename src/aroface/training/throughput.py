"""Throughput of a training: images per second, and the share of its time spent waiting for data."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from aroface.datasets.loader import Batch


class ThroughputMeter:
    """Meter of images per second over about the last second, and of the share of all time spent waiting for data.

    Args:
        batch_size: Number of images of a step over all processes.
    """

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self.start()

    def start(self) -> None:
        """Begin anew: what was until now does not count."""
        self._began = self._since = time.monotonic()
        self._steps = 0
        self._waited = 0.0
        self.images_per_s = 0.0

    @property
    def data_wait(self) -> float:
        """Share of the time so far spent waiting for data, 0 … 1."""
        return self._waited / max(time.monotonic() - self._began, 1e-9)

    def numbers(self) -> dict[str, float]:
        """Return both, rounded, for the log."""
        return {"images_per_s": round(self.images_per_s, 1), "data_wait": round(self.data_wait, 3)}

    def waiting(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches; the time until each arrives counts as waiting."""
        iterator = iter(batches)
        while True:
            before = time.monotonic()
            batch = next(iterator, None)
            self._waited += time.monotonic() - before
            if batch is None:
                return
            yield batch

    def count(self) -> None:
        """Count a finished step."""
        self._steps += 1
        now = time.monotonic()
        if now - self._since > 1 or not self.images_per_s:
            self.images_per_s = self._steps * self._batch_size / max(now - self._since, 1e-9)
            self._since, self._steps = now, 0
