"""Evaluation of stored features under any protocol: the result record."""

from __future__ import annotations

import time
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from aroface.embedding.feature_store import open_run_features
from aroface.evaluation.protocols.registry import protocol_of
from aroface.evaluation.record import build_record
from aroface.files import write_json


def evaluate(
    features_dir: str | PathLike[str], *, command: str | None = None, source: str | PathLike[str] | None = None
) -> dict[str, Any]:
    """Evaluate a complete folder of features and return its record.

    Args:
        features_dir: Folder ``results/features/{run}/{benchmark}``.
        command: Command line that makes the record again, for its provenance.
        source: Path that error lines name in place of a temporary folder of features.

    Raises:
        InputError: The folder is incomplete, of an unknown protocol, or its labels do not allow the protocol's metrics.
    """
    started = time.monotonic()
    features = open_run_features(features_dir)
    if source is not None:
        features = replace(features, folder=Path(source))
    protocol = protocol_of(features)
    outcome = protocol.evaluate(features)
    seconds = time.monotonic() - started
    return build_record(features.index, outcome, version=protocol.version, seconds=seconds, command=command)


def evaluate_features(
    features_dir: str | PathLike[str], out: str | PathLike[str], *, command: str | None = None
) -> dict[str, Any]:
    """Evaluate a folder of features and write its record to ``out``; see :func:`evaluate`."""
    record = evaluate(features_dir, command=command)
    write_json(out, record)
    return record
