"""Attributes that have another value for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager


@contextmanager
def temporarily(value: object, attribute: str, of: Iterable[object]) -> Iterator[None]:
    """While the body runs, ``attribute`` is ``value`` in all of these; each then gets back what it had.

    Args:
        value: what it is meanwhile.
        attribute: the attribute's name.
        of: objects that have it.
    """
    before = [(part, getattr(part, attribute)) for part in of]
    for part, _ in before:
        setattr(part, attribute, value)
    try:
        yield
    finally:
        for part, old in before:
            setattr(part, attribute, old)
