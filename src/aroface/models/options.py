"""Options of a backbone that end with its training; torch is not needed for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aroface.errors import InputError


@dataclass(frozen=True, slots=True)
class BackboneOptions:
    """Options of a backbone that affect its training only, not the exported model; IResNets only.

    The defaults are insightface's, the other values AdaFace's (``net.py`` of its code). Weights of any of them are
    those of a plain IResNet of the same shape: they load, export and evaluate as such.

    Attributes:
        dropout: Probability of a value to be dropped before the fully connected layer, in [0, 1).
        initialisation: ``normal``: convolutions from N(0, 0.1), the rest as PyTorch does; ``kaiming``: convolutions and
            the fully connected layer from N(0, 2 / fan out), no bias.
        plain_features: Last batch norm without weight and bias, which stay 1 and 0.
        identity_shortcut: Blocks that keep their width but not their side have a subsampled identity for a
            shortcut, in place of a convolution and batch norm.
    """

    dropout: float = 0.0
    initialisation: Literal["normal", "kaiming"] = "normal"
    plain_features: bool = False
    identity_shortcut: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}", where="backbone", expected="0 <= dropout < 1")


INSIGHTFACE = BackboneOptions()
"""The defaults."""
