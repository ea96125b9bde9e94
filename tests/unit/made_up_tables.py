"""Records for every cell of a table that a run could fill, near the authors' values where there are any."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from made_up_records import write_record

from aroface.paper.spec import read_spec

PROTOCOLS = {"tinyface": "tinyface", "ijbb": "ijb", "ijbc": "ijb", "ijbs": "ijbs"}
SPREAD = (0.0011, -0.0007, 0.0023, -0.0032)


def fill_table(
    folder: Path,
    spec: Path,
    *,
    seeds: Iterable[int] = (0, 1, 2),
    shift: Callable[[str, str], float] = lambda row, column: 0.0,
    released: bool = False,
    also: bool = False,
) -> None:
    """Write the records.

    Args:
        folder: of the records.
        spec: the table.
        seeds: of each experiment.
        shift: fraction added in a row and a column, by their names.
        released: whether they are of released weights; then there is no scatter.
        also: whether the second names of the experiments are taken.
    """
    table = read_spec(spec)
    for number, row in enumerate(table.rows or ()):
        if not row.experiments:
            continue
        experiment = row.experiments[-1] if also else row.experiments[0]
        for seed in seeds:
            found: dict[str, dict[str, float]] = {}
            for index, column in enumerate(table.columns):
                if column.metric is None or column.benchmark is None:
                    continue
                base = float(row.reported.get(column.id) or 60 + 2 * index + number / 3) / 100
                noise = 0.0 if released else SPREAD[(seed + number * index) % 4]
                found.setdefault(column.benchmark, {})[column.metric] = base + noise + shift(row.key, column.id)
            for benchmark, metrics in found.items():
                write_record(
                    folder,
                    experiment["method"],
                    metrics,
                    dataset=experiment.get("dataset", "demo"),
                    arch=experiment.get("arch", "small"),
                    seed=seed,
                    benchmark=benchmark,
                    protocol=PROTOCOLS.get(benchmark, "pairs"),
                    released=released,
                )
