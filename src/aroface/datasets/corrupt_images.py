"""Training images that cannot be used: which they are, how many are too many, and whose image takes their place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import floor
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from aroface.errors import InputError

OnCorrupt = Literal["error", "skip"]


def is_damage(error: InputError) -> bool:
    """Tell whether an image is to blame for an error, and not the disk that fails while it is read.

    What is skipped because of a disk would depend on the disk's moods.
    """
    return not isinstance(error.__context__, OSError)


@dataclass(frozen=True, slots=True)
class Corrupt:
    """One image that cannot be used.

    Attributes:
        position: Position in the training set.
        label: Class of the image.
        reason: File, record and fault in one line.
    """

    position: int
    label: int
    reason: str


@dataclass(frozen=True, slots=True)
class Filled:
    """Image that fills a row of a batch: the one at ``position``, after ``corrupt`` ones before it."""

    position: int
    corrupt: tuple[Corrupt, ...] = ()


class Tolerance:
    """Treatment of images that cannot be used, and the account of those that were met.

    Args:
        on_corrupt: ``error`` ends at the first; ``skip`` lists it and takes another image in its place.
        max_fraction: Fraction of the set's images that may be skipped, 0 … 1; one more ends with an error.
        images: Number of images of the whole set.
        name: Name of the set, for messages.

    Attributes:
        found: Images skipped so far in this process, each once, in the order of the batches.

    Raises:
        InputError: An unknown choice, or a fraction out of range.
    """

    def __init__(self, on_corrupt: OnCorrupt, max_fraction: float, images: int, name: str) -> None:
        if on_corrupt not in get_args(OnCorrupt):
            raise InputError(f"on_corrupt is {on_corrupt!r}", expected=" or ".join(get_args(OnCorrupt)))
        if not 0 <= max_fraction <= 1:
            raise InputError(f"max_corrupt_fraction is {max_fraction}", expected="a number from 0 to 1")
        self.found: list[Corrupt] = []
        self._skips = on_corrupt == "skip"
        self._max_fraction = max_fraction
        self._images = images
        self._name = name
        self._allowed = min(floor(max_fraction * images + 1e-9), images - 1)  # 0.29 of 100 are 29; one must be left
        self._known: set[int] = set()

    def fill(
        self, slot: int, order: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], load: Callable[[int], None]
    ) -> Filled:
        """Load the image of a slot of the epoch's order or, where it is corrupt, of the next slot whose image is not.

        The order is a circle: after its last slot comes its first. So the choice is a pure function of order and slot,
        whatever the number of ranks and threads and wherever an epoch was resumed. Safe to call from many threads.

        Args:
            slot: Position in ``order``.
            order: Positions of the whole epoch, of all ranks, int64 (N,).
            labels: Classes by position, int64 (N,).
            load: Function that puts the image at a position where it belongs, or raises `InputError`.

        Raises:
            InputError: An image is corrupt and may not be skipped, too many are, or a file cannot be read at all.
        """
        corrupt: list[Corrupt] = []
        while True:
            position = int(order[(slot + len(corrupt)) % len(order)])
            try:
                load(position)
            except InputError as error:
                label = int(labels[position])
                if not self._skips or not is_damage(error):
                    raise InputError(str(error), remedy=f"the record's class is {label}") from None
                corrupt.append(Corrupt(position, label, str(error)))
                if len(corrupt) > self._allowed:
                    raise self._too_many(corrupt) from None
            else:
                return Filled(position, tuple(corrupt))

    def account(self, filled: Filled) -> None:
        """Enter the corrupt images of one row into the list.

        Raises:
            InputError: They are more now than the set may have.
        """
        for corrupt in filled.corrupt:
            if corrupt.position not in self._known:
                self._known.add(corrupt.position)
                self.found.append(corrupt)
        if len(self.found) > self._allowed:
            raise self._too_many(self.found)

    def _too_many(self, corrupt: list[Corrupt]) -> InputError:
        return InputError(
            f"{len(corrupt)} of its {self._images} images, met so far, cannot be used",
            file=self._name,
            expected=f"at most {self._allowed} (--max-corrupt-fraction {self._max_fraction:g})",
            remedy=f"the last: {corrupt[-1].reason}; the record's class is {corrupt[-1].label}",
        )
