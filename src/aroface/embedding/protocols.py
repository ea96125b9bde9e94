"""Registry of the protocols whose benchmarks can be embedded: a new one is a module and a line here."""

from __future__ import annotations

from os import PathLike

from aroface.embedding import ijb, ijbs, pairs, sensitivity, tinyface
from aroface.embedding.base import EmbeddingProtocol
from aroface.errors import InputError

PROTOCOLS: dict[str, EmbeddingProtocol] = {
    protocol.name: protocol
    for protocol in (
        ijb.PROTOCOL,
        ijbs.PROTOCOL,
        pairs.PROTOCOL,
        sensitivity.PROTOCOL,
        tinyface.PROTOCOL,
    )
}
"""Protocols by name."""


def find_protocol(name: str, *, file: str | PathLike[str] | None = None, where: str = "protocol") -> EmbeddingProtocol:
    """Look up a protocol.

    Args:
        name: Name of the protocol.
        file: File that names it, for the message.
        where: Key under which it is named, for the message.

    Raises:
        InputError: No protocol has this name.
    """
    if name not in PROTOCOLS:
        expected = f"one of {', '.join(PROTOCOLS)}"
        raise InputError(f"unknown protocol {name!r:.40}", file=file, where=where, expected=expected)
    return PROTOCOLS[name]
