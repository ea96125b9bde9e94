"""Results of which Snakemake's notes say too little: what is whole, and belongs together by its content, stays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aroface.datasets.identity import data_hash
from aroface.errors import InputError
from aroface.files import read_json
from aroface.planning.plan import Plan, PlannedBenchmark

KNOWN = Path(".snakemake/metadata")
"""Folder of Snakemake's notes on what it made, and of which content: with them it needs no times."""


def trust_what_was_brought(plan: Plan) -> None:
    """Give features the time of now that are older than the weights they were made of, and records likewise.

    A copy of ``results`` without times may have them in any order, and features would be computed again. Nothing is
    done once Snakemake has made anything here.

    Args:
        plan: Plan of the configuration.
    """
    if KNOWN.exists() and any(KNOWN.iterdir()):
        return
    for run in plan.runs:
        checkpoint = plan.results.run(run).checkpoint
        for benchmark in plan.benchmarks.values():
            index = plan.results.features(run, benchmark.name).index
            record = plan.results.record(run, benchmark.name)
            _renew(index, checkpoint, _same_weights)
            _renew(record, index, lambda made, of, benchmark=benchmark: _same_measurement(made, of, benchmark))


def trust_what_is_whole(plan: Plan, persistence: type[Any]) -> None:
    """Let Snakemake take runs and data sets for whole that are there, though it was killed before it could note it.

    Every output appears at once or not at all, and the names of these say what is in them. Snakemake would make them
    again, and leave out of its plan whatever is still to be made of them: it does so with all that is behind an
    ``ancient()`` input, whether it is there or not. What has no such name is made again, with today's parameters.

    Args:
        plan: Plan of the runs and data sets that are trusted.
        persistence: Snakemake's class of that name, whose method ``incomplete`` is replaced.
    """
    incomplete, runs = persistence.incomplete, plan.results.runs
    named = [*(run.source for run in plan.runs.values()), *(each.source for each in plan.benchmarks.values())]
    sources = {source.manifest: source for source in named}
    packed = {file for making in plan.sources.makings if making.folder is not None for file in making.manifests}

    def is_whole(file: Path) -> bool:
        source = sources.get(file)
        if source is None or file not in packed:
            return source is not None or runs in file.parents
        try:  # the parts of packed photographs lie in a folder that is named after the first one
            return data_hash(source.path) == source.manifest_hash
        except InputError:
            return False

    async def incomplete_or_unknown(self: Any, job: Any) -> list[Any]:
        marked = await incomplete(self, job)
        whole = [file for file in marked if is_whole(Path(file))]
        for file in whole if not self.dag.workflow.dryrun else ():
            self._unmark_incomplete(self._get_key(file))
        return [file for file in marked if file not in whole]

    persistence.incomplete = incomplete_or_unknown


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


def _same_measurement(record: Any, index: Any, benchmark: PlannedBenchmark) -> bool:
    provenance, protocol = record["provenance"], {**index["protocol"], "version": benchmark.version}
    weights = provenance["weights_sha256"] == index["checkpoint"]["weights_sha256"]
    files = provenance["benchmark_manifest_hash"] == index["benchmark_manifest_hash"]
    return bool(weights and files and record["protocol"] == protocol)
