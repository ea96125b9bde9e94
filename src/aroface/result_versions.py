"""Versions of the meaning of results, raised by hand.

They are part of the names of results, so raising one makes new results beside the old ones. A change of the code that
leaves all results as they were raises none, and nothing runs again.
"""

from __future__ import annotations

TRAINING = 2
"""Raised when the same recipe, data and seed come to give other weights."""

IMPORT = 1
"""Raised when the same released checkpoint comes to give other weights."""

EMBEDDING = 1
"""Raised when the same weights, benchmark and options come to give other features."""

PROTOCOLS = {"ijb": 3, "ijbs": 3, "pairs": 3, "sensitivity": 3, "tinyface": 3}
"""Raised, protocol by protocol, when the same features come to give other numbers, or more of them."""


def protocol_version(name: str) -> int:
    """Version of a protocol's numbers; 1 for one that is not listed, whose version was never raised."""
    return PROTOCOLS.get(name, 1)
