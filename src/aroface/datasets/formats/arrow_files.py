"""Arrow files: streams, as `datasets` saves them, and files with a directory; batches and columns of encoded images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def open_arrow(source: Any) -> Any:
    """Reader of an open Arrow file of either form."""
    import pyarrow as arrow

    head = source.read(6)
    source.seek(0)
    return arrow.ipc.open_file(source) if head == b"ARROW1" else arrow.ipc.open_stream(source)


def batches_of(reader: Any) -> Iterator[Any]:
    """Batches of a reader in their order, unchecked."""
    if not hasattr(reader, "num_record_batches"):
        yield from reader
        return
    for number in range(reader.num_record_batches):
        yield reader.get_batch(number)


def holds_images(kind: Any) -> bool:
    """Return whether values of a type are encoded images: bytes, or what has them in a field ``bytes``."""
    import pyarrow.types as types

    if types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _is_binary(kind.field(place).type)
    return _is_binary(kind)


def _is_binary(kind: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_binary(kind) or types.is_large_binary(kind))
