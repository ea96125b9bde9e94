"""Registry of the protocols whose stored features can be evaluated: a new one is a module and a line here."""

from __future__ import annotations

from aroface.embedding.feature_store import StoredFeatures
from aroface.errors import InputError
from aroface.evaluation.protocols import ijb, ijbs, pairs, sensitivity, tinyface
from aroface.evaluation.protocols.base import EvaluationProtocol

PROTOCOLS: dict[str, EvaluationProtocol] = {
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


def protocol_of(features: StoredFeatures) -> EvaluationProtocol:
    """Protocol under which features were embedded.

    Raises:
        InputError: No protocol has the name that they give.
    """
    name = features.index["protocol"]["name"]
    if name not in PROTOCOLS:
        raise InputError(f"protocol {name!r}", file=features.folder, expected=f"one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
