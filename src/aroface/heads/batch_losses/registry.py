"""Batch losses by kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aroface.heads.batch_losses.base import BatchLoss
from aroface.heads.batch_losses.diversion import Diversion, DiversionOptions
from aroface.heads.batch_losses.symmetry import Symmetry, SymmetryOptions
from aroface.heads.batch_losses.topology import Topology, TopologyOptions
from aroface.typed_options import build_kind

BATCH_LOSSES: dict[str, tuple[Callable[[Any], BatchLoss], type]] = {
    "topology": (Topology, TopologyOptions),
    "symmetry": (Symmetry, SymmetryOptions),
    "diversion": (Diversion, DiversionOptions),
}
"""Batch loss and the dataclass of its options, by kind."""


def build(kind: str, **options: Any) -> BatchLoss:
    """Make the batch loss ``kind``; options that are not given have their defaults.

    Raises:
        InputError: An unknown kind or option, or an option of the wrong type or range.
    """
    return build_kind(BATCH_LOSSES, kind, options, "batch loss", "batch_loss")
