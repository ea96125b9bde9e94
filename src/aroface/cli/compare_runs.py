"""The verb ``aroface compare-runs``."""

from __future__ import annotations

import argparse
from pathlib import Path

from aroface.cli.arguments import Arguments, Verbs, add_verb, positive


def add_statistics_verbs(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs,
        "compare-runs",
        "test whether two runs differ on a benchmark, image by image",
        "aroface compare-runs --features results/features/RUN/tinyface results/features/OTHER/tinyface --metric rank1",
        _do_compare_runs,
    )
    verb.add_argument(
        "--features", type=Path, nargs=2, required=True, metavar=("A", "B"), help="as aroface embed wrote"
    )
    verb.add_argument(
        "--metric", action="append", metavar="NAME", help="as in a record; may be repeated (default: all)"
    )
    verb.add_argument("--replicates", type=positive, default=1000, metavar="N", help="of the bootstrap (%(default)s)")


def _do_compare_runs(options: Arguments) -> None:
    from aroface.embedding.feature_store import open_features
    from aroface.evaluation.compare_runs import compare, table

    first, second = map(open_features, options.features)
    rows = compare(first, second, options.metric, replicates=options.replicates)
    print(f"A  {first.index['checkpoint']['run']}\nB  {second.index['checkpoint']['run']}\n\n{table(rows)}", end="")
