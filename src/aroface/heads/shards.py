"""Which classes a rank holds."""

from __future__ import annotations

from aroface.errors import InputError


def shard(num_classes: int, rank: int, world: int) -> range:
    """The classes of ``rank`` among ``world`` ranks: contiguous; if they do not divide, the first ranks hold one more.

    Raises:
        InputError: there are fewer classes than ranks.
    """
    if num_classes < world:
        raise InputError(
            f"{num_classes} classes for {world} ranks", expected="a class for each rank", remedy="use fewer ranks"
        )
    size, more = divmod(num_classes, world)
    start = rank * size + min(rank, more)
    return range(start, start + size + (rank < more))
