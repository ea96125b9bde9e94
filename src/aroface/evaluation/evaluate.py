"""From stored features to a record, whatever the protocol."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from aroface import result_versions
from aroface.embedding.feature_store import StoredFeatures, open_features
from aroface.errors import InputError
from aroface.evaluation.protocols import ijb, ijbs, pairs, sensitivity, tinyface
from aroface.evaluation.protocols.outcome import Outcome
from aroface.evaluation.record import build_record
from aroface.files import write_json

PROTOCOLS: dict[str, Callable[[StoredFeatures], Outcome]] = {
    "ijb": ijb.evaluate,
    "pairs": pairs.evaluate,
    "sensitivity": sensitivity.evaluate,
    "tinyface": tinyface.evaluate,
    "ijbs": ijbs.evaluate,
}
"""What turns stored features into what a record holds, by the name of the protocol."""


def evaluate(
    features_dir: str | PathLike[str], *, command: str | None = None, source: str | PathLike[str] | None = None
) -> dict[str, Any]:
    """Evaluate a complete folder of features and return its record.

    Args:
        features_dir: ``results/features/{run}/{benchmark}``.
        command: the command line that makes the record again, for its provenance.
        source: what error lines name in place of a folder of features that does not stay.

    Raises:
        InputError: the folder is incomplete, of an unknown protocol, or its labels do not allow the protocol's metrics.
    """
    started = time.monotonic()
    features = open_features(features_dir)
    if source is not None:
        features = replace(features, folder=Path(source))
    name = features.index["protocol"]["name"]
    if name not in PROTOCOLS:
        raise InputError(f"protocol {name!r}", file=features.folder, expected=f"one of {', '.join(PROTOCOLS)}")
    outcome = PROTOCOLS[name](features)
    seconds = time.monotonic() - started
    return build_record(
        features.index, outcome, version=result_versions.PROTOCOLS[name], seconds=seconds, command=command
    )


def evaluate_features(
    features_dir: str | PathLike[str], out: str | PathLike[str], *, command: str | None = None
) -> dict[str, Any]:
    """Evaluate a folder of features and write its record to ``out``; see :func:`evaluate`."""
    record = evaluate(features_dir, command=command)
    write_json(out, record)
    return record
