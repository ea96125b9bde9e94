"""Shards of the classes: one contiguous range for each rank."""

from __future__ import annotations

from aroface.errors import InputError

CLASSES_AT_ONCE = 4096
"""Number of classes of a chunk: with a batch of B samples, B times as many logits are in memory at once."""


def shard(num_classes: int, rank: int, world: int) -> range:
    """Return the classes of ``rank`` among ``world`` ranks; if they do not divide, the first ranks hold one more.

    Raises:
        InputError: There are fewer classes than ranks.
    """
    if num_classes < world:
        raise InputError(
            f"{num_classes} classes for {world} ranks", expected="a class for each rank", remedy="use fewer ranks"
        )
    size, more = divmod(num_classes, world)
    start = rank * size + min(rank, more)
    return range(start, start + size + (rank < more))
