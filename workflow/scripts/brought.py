"""Results that were brought into a fresh clone, whose times say nothing: what belongs together by its content stays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aroface.errors import InputError
from aroface.files import read_json
from aroface.planning.plan import Benchmark, Plan

KNOWN = Path(".snakemake/metadata")
"""Where Snakemake notes what it made, and of which content: with that it needs no times."""


def trust_what_was_brought(plan: Plan) -> None:
    """Give features the time of now that are older than the weights they were made of, and records likewise.

    A copy of ``results`` without times may have them in any order, and features would be computed again. Nothing is
    done once Snakemake has made anything here.

    Args:
        plan: its runs and benchmarks are looked at.
    """
    if KNOWN.exists() and any(KNOWN.iterdir()):
        return
    for run in plan.runs:
        checkpoint = plan.results / "runs" / run / "checkpoint.json"
        for benchmark in plan.benchmarks.values():
            index = plan.results / "features" / run / benchmark.name / "index.json"
            record = plan.results / "records" / run / f"{benchmark.name}.json"
            _renew(index, checkpoint, _same_weights)
            _renew(record, index, lambda made, of, benchmark=benchmark: _same_measurement(made, of, benchmark))


def _renew(made: Path, of: Path, belong: Callable[[Any, Any], bool]) -> None:
    """Give one file the time of now if it is older than the other and of the same content's making."""
    if not (made.exists() and of.exists()) or made.stat().st_mtime_ns > of.stat().st_mtime_ns:
        return
    try:
        if belong(read_json(made), read_json(of)):
            now = max(time.time_ns(), of.stat().st_mtime_ns + 10**6)  # another machine's clock may be ahead
            os.utime(made, ns=(now, now))
    except (InputError, KeyError, TypeError):
        return  # whatever it is, it is not known to belong


def _same_weights(index: Any, checkpoint: Any) -> bool:
    return bool(index["checkpoint"]["weights_sha256"] == checkpoint["weights"]["sha256"])


def _same_measurement(record: Any, index: Any, benchmark: Benchmark) -> bool:
    provenance, protocol = record["provenance"], {**index["protocol"], "version": benchmark.version}
    weights = provenance["weights_sha256"] == index["checkpoint"]["weights_sha256"]
    files = provenance["benchmark_manifest_hash"] == index["benchmark_manifest_hash"]
    return bool(weights and files and record["protocol"] == protocol)
