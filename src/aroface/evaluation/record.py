"""The result record: one run on one benchmark, with all that its numbers depend on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aroface.environment_lock import lock_state
from aroface.evaluation.protocols.outcome import Outcome
from aroface.evaluation.statistics.jackknife import LeaveOut
from aroface.provenance import git_commit, versions
from aroface.schemas import validate

SCHEMA = 1
_DECIMALS = 9


def build_record(
    index: Mapping[str, Any], outcome: Outcome, *, version: int, seconds: float, command: str | None
) -> dict[str, Any]:
    """Join what was measured and where it comes from.

    Args:
        index: ``index.json`` of the features, see :func:`aroface.embedding.embed.embed_benchmark`.
        outcome: Outcome of the protocol's evaluation.
        version: Version of that evaluation; raised by hand when its numbers change their meaning.
        seconds: Wall time of the evaluation.
        command: Command line that makes the record again.

    Raises:
        InputError: Something in it is not as ``record.schema.json`` wants it.
    """
    checkpoint, protocol = index["checkpoint"], index["protocol"]
    alignment = index.get("layout", {}).get("alignment")
    record = {
        "schema": SCHEMA,
        "run": checkpoint["run"],
        "experiment": checkpoint["experiment"],
        "benchmark": index["benchmark"],
        "protocol": {"name": protocol["name"], "version": version, "options": protocol["options"]},
        "metrics": dict(outcome.metrics),
        "intervals": {name: list(ends) for name, ends in outcome.intervals.items()},
        "counts": dict(outcome.counts),
        **({"jackknife": [_leave_out(each) for each in outcome.jackknife]} if outcome.jackknife else {}),
        **({"resolution": dict(outcome.resolution)} if outcome.resolution else {}),
        "series": [dict(point) for point in outcome.series],
        **({"curves": {name: dict(curve) for name, curve in outcome.curves.items()}} if outcome.curves else {}),
        "provenance": {
            "source": checkpoint.get("source", "trained"),  # features of before others' weights were taken
            "recipe": checkpoint["recipe"],
            "recipe_hash": checkpoint["recipe_hash"],
            "weights_sha256": checkpoint["weights_sha256"],
            "data": checkpoint["data"],
            "benchmark_manifest_hash": index["benchmark_manifest_hash"],
            **({"alignment": alignment} if alignment else {}),
            "git_commit": git_commit(),
            "versions": versions(),
            "lock": lock_state(),
            "embed_wall_s": index["wall_s"],
            "evaluate_wall_s": round(seconds, 2),
            "command": command,
        },
    }
    validate(record, "record")
    return record


def _leave_out(part: LeaveOut) -> dict[str, Any]:
    values = {name: [round(float(value), _DECIMALS) for value in each] for name, each in part.values.items()}
    return {"unit": part.unit, "units": part.units, "values": values}
