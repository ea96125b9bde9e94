"""Records for every cell of a table that a run could fill, near the values in print where there are any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from aroface.reporting.tables.cells import point_of
from aroface.reporting.tables.spec import read_spec
from made_up_records import write_record

PROTOCOLS = {"tinyface": "tinyface", "ijbb": "ijb", "ijbc": "ijb", "ijbs": "ijbs", "fae": "sensitivity"}
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
    found: dict[tuple[str, str, str, int, str], tuple[dict[str, float], list[dict[str, Any]]]] = {}
    for number, row in enumerate(table.rows or ()):
        if not row.experiments:
            continue
        experiment = row.experiments[-1] if also else row.experiments[0]
        names = experiment["method"], experiment.get("dataset", "demo"), experiment.get("arch", "small")
        for seed in seeds:
            for index, column in enumerate(table.columns):
                if column.metric is None or column.benchmark is None:
                    continue
                known = row.known(column.id)
                digits = known if known is None or isinstance(known, str) else known.digits
                base = float(digits or 60 + 2 * index + number / 3) / 100
                noise = 0.0 if released else SPREAD[(seed + number * index) % 4]
                value = base + noise + shift(row.key, column.id)
                metrics, series = found.setdefault((*names, seed, column.benchmark), ({}, []))
                at = point_of(column, row.quality)
                if at is None or at.factor is None:
                    metrics[column.metric if at is None else f"{column.metric}_{at.quality}"] = value
                elif at.show == "value":
                    point = {"quality": at.quality, "factor": at.factor, "level": at.level, "metric": column.metric}
                    drop = 0.9 - value
                    point |= {"value": value, "low": max(value - 0.02, 0.0), "high": min(value + 0.02, 1.0)}
                    series.append(point | {"drop": drop, "drop_low": drop - 0.02, "drop_high": drop + 0.02})
    for (method, dataset, arch, seed, benchmark), (metrics, series) in found.items():
        protocol = PROTOCOLS.get(benchmark, "pairs")
        place: dict[str, Any] = {"dataset": dataset, "arch": arch, "seed": seed, "benchmark": benchmark}
        write_record(folder, method, metrics, protocol=protocol, series=series, released=released, **place)


def fill_experiment(folder: Path, spec: Mapping[str, Any], method: str, value: float, seed: int) -> None:
    """Write the records of one experiment for every column of a table that has a row for each experiment.

    Args:
        folder: of the records.
        spec: the table's YAML.
        method: of the experiment.
        value: fraction of the first column; further ones have a little more.
        seed: of the experiment.
    """
    found: dict[str, dict[str, float]] = {}
    series: dict[str, list[dict[str, Any]]] = {}
    for number, column in enumerate(spec["columns"]):
        if "metric" not in column:
            continue
        at, here = column.get("at", {}), value + number / 130
        if "factor" in at:
            point = {"metric": column["metric"], **{key: at[key] for key in ("quality", "factor", "level")}}
            drop = here / 4
            point |= {"value": 0.9 - drop, "low": 0.88 - drop, "high": 0.92 - drop}
            point |= {"drop": drop, "drop_low": drop - 0.02, "drop_high": drop + 0.02}
            series.setdefault(column["benchmark"], []).append(point)
        else:
            name = f"{column['metric']}_{at['quality']}" if "quality" in at else column["metric"]
            found.setdefault(column["benchmark"], {})[name] = here
    for benchmark, metrics in found.items():
        protocol = {"templates": "ijb", "videos": "ijbs", **PROTOCOLS}.get(benchmark, "pairs")
        options = {"dataset": "demo", "arch": "small", "seed": seed, "benchmark": benchmark, "protocol": protocol}
        write_record(folder, method, metrics, series=series.get(benchmark, []), **options)
