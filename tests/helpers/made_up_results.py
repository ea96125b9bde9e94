"""Results of a whole configuration that were never computed: all that its tables and figures show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aroface.evaluation.metrics.operating_curves import abscissae
from aroface.planning.plan import Plan, PlannedBenchmark, PlannedRun, make_plan
from aroface.planning.products import Products, find_products
from aroface.reporting.tables.cells import point_of
from aroface.reporting.tables.spec import Column, RowSpec
from made_up_histories import write_history
from made_up_records import write_record

FACTORS = {"scale": "scale", "degrees": "rotation", "shift": "shift", "joint": "joint", "adversary": "adversary"}
"""Factor of a sweep by the option that lists its levels."""


def made_up_plan(folder: Path, *files: str, root: Path = Path(), **changes: Any) -> Plan:
    """A plan of a configuration with made-up results below ``folder`` for all its tables and figures."""
    changes = {"paths": {"results": str(folder)}, **changes}
    plan = make_plan([root / file for file in files], changes, root=root)
    fill_results(find_products(plan, root=root))
    return plan


def fill_results(products: Products) -> None:
    """Write records and histories of all runs of a plan."""
    plan = products.plan
    for number, run in enumerate(plan.runs.values()):
        for benchmark in plan.benchmarks.values():
            if benchmark.evaluates(run.experiment):
                _fill(products, run, benchmark, number)
        adversary = (run.experiment.recipe or {}).get("adversary", {"kind": "none"})["kind"]
        write_history(
            plan.results.runs, run.experiment.method, dataset=run.experiment.dataset, arch=run.experiment.arch,
            seed=run.seed, adversary=adversary, run=run.name,
        )  # fmt: skip


def _fill(products: Products, run: PlannedRun, benchmark: PlannedBenchmark, number: int) -> None:
    draw = np.random.default_rng([number, len(benchmark.name)])
    metrics: dict[str, float] = {}
    for row, column in _columns(products, benchmark.name):
        at = point_of(column, row.quality if row else None)
        if at is not None and at.factor is not None:
            continue
        known = row.known(column.id) if row and row.experiments and _is_of(row, run) else None
        digits = known if known is None or isinstance(known, str) else known.digits
        name = str(column.metric) if at is None else f"{column.metric}_{at.quality}"
        if digits is not None or name not in metrics:
            metrics[name] = round(float(digits or 60 + number) / 100 + float(draw.normal(0, 0.003)), 6)
    series = list(_series(benchmark, draw))
    curves = _curves(benchmark, draw)
    write_record(
        products.plan.results.records, run.experiment.method, metrics or {"accuracy": 0.9},
        dataset=run.experiment.dataset, arch=run.experiment.arch, seed=run.seed, benchmark=benchmark.name,
        protocol=benchmark.spec["protocol"], version=benchmark.version, options=benchmark.spec["options"],
        series=series, curves=curves, released=run.experiment.released is not None, run=run.name,
    )  # fmt: skip


def _columns(products: Products, benchmark: str) -> Iterator[tuple[RowSpec | None, Column]]:
    for spec in products.offered.values():
        for column in spec.columns:
            if column.benchmark == benchmark:
                yield from ((row, column) for row in spec.rows or (None,))


def _is_of(row: RowSpec, run: PlannedRun) -> bool:
    return any(each.items() <= run.experiment.described.items() for each in row.experiments)


def _series(benchmark: PlannedBenchmark, draw: np.random.Generator) -> Iterator[dict[str, Any]]:
    if benchmark.spec["protocol"] != "sensitivity":
        return
    options = benchmark.spec["options"]
    metrics = options["metric"] if isinstance(options["metric"], list) else [options["metric"]]
    for rank, quality in enumerate(str(each) for each in options["qualities"]):
        name = quality if quality == "hq" else f"r{quality}"
        slope = 0.04 * (1 + rank) + float(draw.uniform(0, 0.02))
        for option, factor in FACTORS.items():
            levels = options.get(option) or []
            for step, level in enumerate([0.0, *levels] if levels else []):
                drop = slope * step
                value = 0.9 - 0.1 * rank - drop
                for metric in metrics:
                    yield {
                        **{"quality": name, "factor": factor, "level": float(level), "metric": metric, "value": value},
                        **{"low": value - 0.02, "high": value + 0.02},
                        **{"drop": drop, "drop_low": drop - 0.01, "drop_high": drop + 0.01},
                        **{"relative_drop": drop / 0.9, "relative_drop_low": drop / 0.9 - 0.01},
                        **{"relative_drop_high": drop / 0.9 + 0.01, "significant": drop > 0.01},
                    }


def _curves(benchmark: PlannedBenchmark, draw: np.random.Generator) -> dict[str, Any] | None:
    if benchmark.spec["protocol"] not in ("pairs", "ijb"):
        return None
    far = abscissae(50_000, 1e-6)
    height = float(draw.uniform(0.02, 0.06))
    hits = [min(1.0, max(0.0, 1 + height * float(np.log10(each)))) for each in far]
    found: dict[str, Any] = {"tar_far": {"far": far, "tar": hits, "impostors": 50_000}}
    if benchmark.spec["protocol"] == "ijb":
        found["tpir_fpir"] = {"fpir": far, "tpir": hits, "unknown": 50_000}
    return found
