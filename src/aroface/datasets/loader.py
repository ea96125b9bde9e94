"""Training batches: JPEGs decoded by threads into reused buffers, flipped and normalised as a batch on the device.

The decoder releases the interpreter's lock, so threads share one index and one set of buffers where worker processes
would copy both. Which images a batch holds, in which order, and which are flipped are pure functions of seed and epoch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
import torch

from aroface.datasets.training_set import TrainingSet
from aroface.errors import InputError

_ORDER, _FLIPS = 1101, 1102  # purposes of the random streams
_AHEAD = 2  # batches in the making while one is used
_CHUNK = 16  # images of one task of a thread

Int64 = npt.NDArray[np.int64]
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(slots=True)
class Batch:
    """One batch, valid until the next but one is asked for.

    Attributes:
        images: uint8 (B, S, S, 3), RGB, not yet flipped.
        labels: int64 (B,).
        indices: positions in the training set, int64 (B,).
        flips: bool (B,), the images that `to_network` mirrors left to right.
    """

    images: torch.Tensor
    labels: torch.Tensor
    indices: Int64
    flips: torch.Tensor
    _copied: torch.cuda.Event | None = None


def epoch_order(n: int, seed: int, epoch: int, rank: int = 0, world_size: int = 1, *, batch_size: int) -> Int64:
    """Positions that one rank sees in one epoch, int64 (batches · batch_size,).

    The n images are permuted and cut into global batches of ``world_size * batch_size``, of which each rank takes its
    part; what is left over after the last whole global batch is dropped.
    """
    order = np.random.default_rng([seed, _ORDER, epoch]).permutation(n)
    return _share(order, rank, world_size, batch_size)


def _share(values: npt.NDArray[Scalar], rank: int, world_size: int, batch_size: int) -> npt.NDArray[Scalar]:
    batches = len(values) // (world_size * batch_size)
    whole = values[: batches * world_size * batch_size]
    return whole.reshape(batches, world_size, batch_size)[:, rank].reshape(-1)


class BatchLoader:
    """The batches of a training set, epoch by epoch.

    Args:
        training_set: where the JPEGs come from.
        batch_size: images a batch on this rank.
        seed: of order and flips; the same on all ranks.
        rank: of this process.
        world_size: number of ranks.
        threads: that decode; their number changes nothing but the speed.
        size: height and width that every image must have.
        flip: probability of a horizontal flip.

    Attributes:
        batches_per_epoch: whole batches in an epoch.

    Raises:
        InputError: the set is smaller than one batch of all ranks.
    """

    def __init__(
        self,
        training_set: TrainingSet,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        threads: int = 2,
        size: int = 112,
        flip: float = 0.5,
    ) -> None:
        self.batches_per_epoch = len(training_set) // (world_size * batch_size)
        if self.batches_per_epoch == 0:
            raise InputError(
                f"the training set {training_set.name} has {len(training_set)} images, "
                f"one batch takes {batch_size} on each of {world_size} ranks",
                remedy="choose a smaller batch",
            )
        self._set = training_set
        self._batch_size = batch_size
        self._seed = seed
        self._rank = rank
        self._world_size = world_size
        self._threads = threads
        self._size = size
        self._flip = flip

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from batch ``start`` on; the same batches, however often an epoch is resumed.

        Raises:
            InputError: a record is damaged, is no JPEG, or is not of the loader's size.
        """
        n, share = len(self._set), (self._rank, self._world_size, self._batch_size)
        order = epoch_order(n, self._seed, epoch, *share[:2], batch_size=self._batch_size)
        coins = np.random.default_rng([self._seed, _FLIPS, epoch]).random(n, dtype=np.float32) < self._flip
        flips = _share(coins, *share)
        ring = [self._empty_batch() for _ in range(_AHEAD + 2)]
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="decode")

        def begin(number: int) -> tuple[Batch, list[Future[None]]]:
            batch = ring[number % len(ring)]
            rows = slice(number * self._batch_size, (number + 1) * self._batch_size)
            return batch, self._fill(pool, batch, order[rows], flips[rows])

        try:
            pending = deque(begin(number) for number in range(start, self.batches_per_epoch)[:_AHEAD])
            for number in range(start, self.batches_per_epoch):
                if number + _AHEAD < self.batches_per_epoch:
                    pending.append(begin(number + _AHEAD))
                batch, tasks = pending.popleft()
                for task in tasks:
                    task.result()
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)

    def _empty_batch(self) -> Batch:
        shape = (self._batch_size, self._size, self._size, 3)
        images = torch.empty(shape, dtype=torch.uint8, pin_memory=torch.cuda.is_available())
        return Batch(images, torch.empty(0), np.empty(0, np.int64), torch.empty(0))

    def _fill(
        self, pool: ThreadPoolExecutor, batch: Batch, indices: Int64, flips: npt.NDArray[np.bool_]
    ) -> list[Future[None]]:
        if batch._copied is not None:
            batch._copied.synchronize()
        batch.indices = indices
        batch.labels = torch.from_numpy(self._set.labels[indices])
        batch.flips = torch.from_numpy(flips)
        rows = batch.images.numpy()
        self._set.will_need(indices)
        chunks = (slice(begin, begin + _CHUNK) for begin in range(0, self._batch_size, _CHUNK))
        return [pool.submit(self._decode, indices[chunk].tolist(), rows[chunk]) for chunk in chunks]

    def _decode(self, positions: list[int], rows: npt.NDArray[np.uint8]) -> None:
        for position, row in zip(positions, rows, strict=True):
            try:
                height, width = simplejpeg.decode_jpeg(self._set.jpeg(position), "RGB", buffer=row).shape[:2]
            except ValueError as error:
                raise self._set.error(position, f"the JPEG cannot be decoded ({error})") from None
            if (height, width) != (self._size, self._size):
                raise self._set.error(position, f"the image has {width}×{height} pixels")


def to_network(batch: Batch, device: torch.device | str, channels_last: bool = False) -> torch.Tensor:
    """The images as a network takes them: flipped where the batch says so, float32 (B, 3, S, S) in [-1, 1], RGB.

    The values are those of torchvision's ``ToTensor`` and ``Normalize(0.5, 0.5)``, bit for bit.

    Args:
        batch: as the loader gave it; it is not changed.
        device: where the result is wanted; the bytes travel as uint8.
        channels_last: give the result that memory format (its shape stays the same).
    """
    images = batch.images.to(device, non_blocking=True, copy=True)
    if images.is_cuda:
        batch._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        batch._copied.record()
    _mirror(images, batch.flips)
    images = images.permute(0, 3, 1, 2)
    if not channels_last:
        images = images.contiguous()
    return images.float().div_(127.5).sub_(1)


def _mirror(images: torch.Tensor, which: torch.Tensor) -> None:
    """Exchange left and right of some of the images (B, H, W, C), in place."""
    if images.is_cuda:
        rows = which.nonzero()[:, 0].to(images.device)
        images[rows] = images[rows].flip(2)
    elif which.any():
        # On the CPU torch moves each pixel's three bytes on their own; this takes a tenth of its time.
        array, mask = images.numpy(), which.numpy()
        chosen = array[mask]
        array[mask] = cv2.flip(chosen.reshape(-1, *chosen.shape[2:]), 1).reshape(chosen.shape)
