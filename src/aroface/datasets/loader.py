"""Training batches: JPEGs decoded by threads into reused buffers, flipped and normalised on the device.

The decoder releases the interpreter's lock, so threads share one index and one set of buffers where worker processes
would copy both. Which images a batch holds, in which order, and which are flipped are pure functions of seed and epoch.
On a CPU the normalised batch lies in one of two buffers that take turns: fresh memory costs as much as the arithmetic.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
import torch

from aroface.datasets.corrupt_images import Corrupt, Filled, OnCorrupt, Tolerance
from aroface.datasets.formats.training_set import TrainingSet
from aroface.datasets.identity_batches import identity_order
from aroface.errors import InputError

_ORDER, _FLIPS = 1101, 1102  # purposes of the random streams
_AHEAD = 2  # batches in the making while one is used
_RING = _AHEAD + 2  # and the one before it is still valid; even, for the two normalised buffers that take turns
_CHUNK = 16  # images of one task of a thread, and of one step of normalising
_LEVELS = np.arange(256, dtype=np.float32) / np.float32(127.5) - np.float32(1)  # what each byte becomes

Int64 = npt.NDArray[np.int64]
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(slots=True)
class Batch:
    """One batch, valid until the next but one is asked for.

    Attributes:
        images: Pixels, uint8 (B, S, S, 3), RGB, not yet flipped.
        labels: Classes, int64 (B,).
        indices: Positions in the training set, int64 (B,).
        flips: Flags, bool (B,), of the images that `to_network` mirrors left to right.
    """

    images: torch.Tensor
    labels: torch.Tensor
    indices: Int64
    flips: torch.Tensor
    _copied: torch.cuda.Event | None = None
    _room: torch.Tensor | None = None


def _permutation(n: int, seed: int, epoch: int) -> Int64:
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(n)


def _share(values: npt.NDArray[Scalar], rank: int, world_size: int, batch_size: int) -> npt.NDArray[Scalar]:
    """Cut values into whole global batches of ``world_size * batch_size`` and join one rank's part of each."""
    batches = len(values) // (world_size * batch_size)
    whole = values[: batches * world_size * batch_size]
    return whole.reshape(batches, world_size, batch_size)[:, rank].reshape(-1)


def last_share(n: int, world_size: int, batch_size: int) -> int:
    """Images of each rank in an epoch's incomplete last batch, 0 if there is none.

    The ranks have equal shares: the first images of the order come again where they do not divide, as
    ``torch.utils.data.DistributedSampler`` has it. A share of one image, on which batch norm cannot train, is left out.
    """
    share = -(-(n % (world_size * batch_size)) // world_size)
    return share if share > 1 else 0


class BatchLoader:
    """The batches of a training set, epoch by epoch.

    Args:
        training_set: Source of the JPEGs.
        batch_size: Number of images of a batch on this rank.
        seed: Seed of order and flips; the same on all ranks.
        rank: This process's rank.
        world_size: Number of ranks.
        threads: Number of decoder threads; it changes nothing but the speed.
        size: Height and width that every image must have.
        flip: Probability of a horizontal flip.
        on_corrupt: Treatment of an image that cannot be used (damaged record, no JPEG, wrong size): ``error`` ends the
            epoch, ``skip`` takes the next usable image of the epoch's order instead, with its own label.
        max_corrupt_fraction: Fraction of the set's images that may be skipped; one more ends the epoch. Each rank
            counts those that it has met since it was started.
        pin_memory: True if batches lie in pinned memory, from which a GPU copies them by itself.
        keep_last: True if an epoch ends with a smaller batch of the remaining images; see :func:`last_share`.
        images_per_identity: Number of images of each identity in a batch, see `identity_order`; None for batches of a
            random order.

    Attributes:
        batches_per_epoch: Number of batches in an epoch.
        images_per_epoch: Number of images in an epoch, of all ranks.

    Raises:
        InputError: The set is smaller than one batch of all ranks, or an option is out of range.
    """

    def __init__(
        self,
        training_set: TrainingSet,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        *,
        threads: int = 2,
        size: int = 112,
        flip: float = 0.5,
        on_corrupt: OnCorrupt = "error",
        max_corrupt_fraction: float = 0.001,
        pin_memory: bool = False,
        keep_last: bool = False,
        images_per_identity: int | None = None,
    ) -> None:
        self.batches_per_epoch = len(training_set) // (world_size * batch_size)
        self._last = last_share(len(training_set), world_size, batch_size) if keep_last else 0
        self.images_per_epoch = world_size * (self.batches_per_epoch * batch_size + self._last)
        self.batches_per_epoch += self._last > 0
        if self.batches_per_epoch == 0:
            raise InputError(
                f"the training set {training_set.name} has {len(training_set)} images, "
                f"one batch takes {batch_size} on each of {world_size} ranks",
                remedy="choose a smaller batch",
            )
        if images_per_identity and self._last:
            raise InputError(
                f"a last batch of {world_size * self._last} images with images_per_identity",
                where="last_batch",
                expected="dropped: that batch has its identities at random",
            )
        self._images_per_identity = images_per_identity
        self._set = training_set
        self._batch_size = batch_size
        self._seed = seed
        self._rank = rank
        self._world_size = world_size
        self._threads = threads
        self._size = size
        self._flip = flip
        self._pin_memory = pin_memory
        self._tolerance = Tolerance(on_corrupt, max_corrupt_fraction, len(training_set), training_set.name)

    @property
    def corrupt(self) -> list[Corrupt]:
        """The images skipped so far, each once, in the order in which the batches that were handed out met them."""
        return self._tolerance.found

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from batch ``start`` on; the same batches, however often an epoch is resumed.

        Raises:
            InputError: A file cannot be read, or an image cannot be used and may not be skipped; names file and record.
        """
        order, share = self._order(epoch), (self._rank, self._world_size, self._batch_size)
        n = len(order)
        coins = np.random.default_rng([self._seed, _FLIPS, epoch]).random(n, dtype=np.float32) < self._flip
        positions, flips = _share(order, *share), _share(coins, *share)
        if self._last:
            whole = (self.batches_per_epoch - 1) * self._batch_size * self._world_size
            tail = (whole + self._rank * self._last + np.arange(self._last)) % n
            positions, flips = np.append(positions, order[tail]), np.append(flips, coins[tail])
        ring = self._empty_batches()
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="decode")

        def begin(number: int) -> tuple[Batch, list[Future[list[Filled]]]]:
            batch = ring[number % len(ring)]
            rows = slice(number * self._batch_size, (number + 1) * self._batch_size)
            first = (number * self._world_size + self._rank) * self._batch_size
            if self._last and number == self.batches_per_epoch - 1:
                batch = self._empty_batch(self._last, None)
                first = number * self._world_size * self._batch_size + self._rank * self._last
            return batch, self._fill(pool, batch, positions[rows], flips[rows], order, first)

        try:
            pending = deque(begin(number) for number in range(start, self.batches_per_epoch)[:_AHEAD])
            for number in range(start, self.batches_per_epoch):
                if number + _AHEAD < self.batches_per_epoch:
                    pending.append(begin(number + _AHEAD))
                batch, tasks = pending.popleft()
                self._finish(batch, [filled for task in tasks for filled in task.result()])
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)

    def _order(self, epoch: int) -> Int64:
        """Positions of an epoch's images, of all ranks."""
        if self._images_per_identity is None:
            return _permutation(len(self._set), self._seed, epoch)
        split = (self._world_size, self._batch_size, self._images_per_identity)
        return identity_order(self._set.labels, self._seed, epoch, *split)

    def _empty_batches(self) -> list[Batch]:
        shape = (self._batch_size, self._size, self._size, 3)
        rooms = [torch.empty(math.prod(shape)) for _ in range(2)]  # takes no memory before it is written to
        return [self._empty_batch(self._batch_size, rooms[number % 2]) for number in range(_RING)]

    def _empty_batch(self, count: int, room: torch.Tensor | None) -> Batch:
        shape = (count, self._size, self._size, 3)
        images = torch.empty(shape, dtype=torch.uint8, pin_memory=self._pin_memory)
        return Batch(images, torch.empty(0), np.empty(0, np.int64), torch.empty(0), _room=room)

    def _fill(
        self,
        pool: ThreadPoolExecutor,
        batch: Batch,
        indices: Int64,
        flips: npt.NDArray[np.bool_],
        order: Int64,
        first: int,
    ) -> list[Future[list[Filled]]]:
        """Begin to decode a batch, which has the slots of the epoch's order from ``first`` on."""
        if batch._copied is not None:
            batch._copied.synchronize()
        batch.indices = indices
        batch.flips = torch.from_numpy(flips)
        rows = batch.images.numpy()
        self._set.will_need(indices)
        chunks = (slice(begin, begin + _CHUNK) for begin in range(0, len(rows), _CHUNK))
        return [pool.submit(self._decode, first + chunk.start, rows[chunk], order) for chunk in chunks]

    def _decode(self, first: int, rows: npt.NDArray[np.uint8], order: Int64) -> list[Filled]:
        fill, labels = self._tolerance.fill, self._set.labels
        return [fill(first + number, order, labels, partial(self._load, row)) for number, row in enumerate(rows)]

    def _load(self, row: npt.NDArray[np.uint8], position: int) -> None:
        try:
            # A larger image does not fit the row, which simplejpeg sees in the header: nothing is allocated for it.
            height, width = simplejpeg.decode_jpeg(self._set.jpeg(position), "RGB", buffer=row).shape[:2]
        except ValueError as error:
            raise self._set.error(position, f"the JPEG cannot be decoded ({error})") from None
        except OSError as error:
            raise self._set.error(position, f"cannot be read ({error.strerror or error})") from None
        if (height, width) != (self._size, self._size):
            raise self._set.error(position, f"the image has {width}×{height} pixels")

    def _finish(self, batch: Batch, filled: list[Filled]) -> None:
        """Enter what the rows really hold."""
        if any(row.corrupt for row in filled):
            for row in filled:
                self._tolerance.account(row)
            batch.indices = np.array([row.position for row in filled], np.int64)
        batch.labels = torch.from_numpy(self._set.labels[batch.indices])


def to_network(batch: Batch, device: torch.device | str, channels_last: bool = False) -> torch.Tensor:
    """Convert images for a network: flipped where the batch has a flag, float32 (B, 3, S, S) in [-1, 1], RGB.

    The values are those of torchvision's ``ToTensor`` and ``Normalize(0.5, 0.5)``, bit for bit, on every device.

    Args:
        batch: Batch from the loader; it is not changed.
        device: Device of the result; the bytes travel as uint8.
        channels_last: True to give the result that memory format; its shape stays the same.

    Returns:
        The images. On a CPU they are valid as long as the batch is, until the next but one is asked for, and until
        this function is called again with the batch: the memory is used again.
    """
    if torch.device(device).type == "cpu":
        return _normalised(batch, channels_last)
    images = batch.images.to(device, non_blocking=True, copy=True)
    if images.is_cuda:
        batch._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        batch._copied.record()
    rows = batch.flips.nonzero()[:, 0].to(images.device)
    images[rows] = images[rows].flip(2)
    images = images.permute(0, 3, 1, 2)
    if not channels_last:
        images = images.contiguous()
    # A divisor on the device: by a number CUDA would multiply with its reciprocal, and 111 of 256 values would differ.
    return images.float().div_(torch.full((), 127.5, device=images.device)).sub_(1)


def _normalised(batch: Batch, channels_last: bool) -> torch.Tensor:
    """`to_network` on the CPU, some images at a time: their bytes stay in the cache, the floats are written once.

    OpenCV moves pixels of three bytes ten times as fast as torch, and works on so few images in the calling thread
    alone; threads of torch's would wait for each other, at full power, where the decoders could run.
    """
    images, flips = batch.images.numpy(), batch.flips.tolist()
    count, height, width, channels = images.shape
    if batch._room is None:
        batch._room = torch.empty(images.size)
    floats = batch._room.numpy().reshape(count, -1)
    pixels = np.empty_like(images[:_CHUNK])
    for begin in range(0, count, _CHUNK):
        part = pixels[: count - begin]
        for image, flip, target in zip(images[begin:], flips[begin:], part, strict=False):
            if flip:
                cv2.flip(image, 1, dst=target)
            else:
                target[:] = image
        if not channels_last:
            planes = np.stack(cv2.split(part.reshape(-1, width, channels))).reshape(channels, -1, height, width)
            part = np.ascontiguousarray(planes.swapaxes(0, 1))
        cv2.LUT(
            part.reshape(-1, width, channels), _LEVELS, dst=floats[begin : begin + _CHUNK].reshape(-1, width, channels)
        )
    if channels_last:
        return batch._room.view(count, height, width, channels).permute(0, 3, 1, 2)
    return batch._room.view(count, channels, height, width)
