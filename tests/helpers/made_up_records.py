"""Records of runs that never were, for the tests of the paper room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aroface.files import digest, write_json

OPTIONS = {"color": "RGB", "flip": True, "fusion": "sum", "alignment": "five_point"}


def write_record(
    folder: Path,
    method: str,
    metrics: Mapping[str, float],
    *,
    dataset: str = "ms1mv2",
    arch: str = "r100",
    seed: int = 0,
    benchmark: str = "tinyface",
    protocol: str = "tinyface",
    version: int = 1,
    options: Mapping[str, Any] = OPTIONS,
    lr: float = 0.1,
    manifest: str = "e" * 64,
    series: Sequence[Mapping[str, Any]] = (),
    curves: Mapping[str, Any] | None = None,
    jackknife: Mapping[str, Sequence[float]] | None = None,
    resolution: Mapping[str, float] | None = None,
    released: bool = False,
    run: str | None = None,
) -> Path:
    """Write one valid record and return its path; of a training, or of weights that others released.

    The run is named as a plan would name it, unless it has a name already.
    """
    recipe = {"arch": arch, "head": {"name": method}, "optimiser": {"lr": lr}}
    recipe_hash = digest({"recipe": recipe, "seed": seed})
    run = run or f"{method}-{dataset}-{arch}-s{seed}-{recipe_hash[:8]}"
    path = folder / run / f"{benchmark}.json"
    record = {
        "schema": 1,
        "run": run,
        "experiment": {"method": method, "dataset": dataset, "arch": arch, "seed": seed},
        "benchmark": benchmark,
        "protocol": {"name": protocol, "version": version, "options": dict(options)},
        "metrics": dict(metrics),
        "intervals": {},
        "counts": {"probes": 3728},
        "series": list(series),
        "provenance": {
            "recipe": recipe,
            "recipe_hash": recipe_hash,
            "weights_sha256": digest(run),
            "data": {"name": dataset, "manifest_hash": "d" * 64},
            "benchmark_manifest_hash": manifest,
            "git_commit": "c" * 40,
            "versions": {"torch": "2.13.0"},
            "embed_wall_s": 1.5,
            "evaluate_wall_s": 0.5,
            "command": f"aroface evaluate --features results/features/{run}/{benchmark} --out {path.name}",
        },
    }
    if jackknife is not None:
        record["jackknife"] = [{"unit": "people", "units": 200, "values": {k: [*v] for k, v in jackknife.items()}}]
    if resolution is not None:
        record["resolution"] = dict(resolution)
    if curves is not None:
        record["curves"] = curves
    if released:
        record["provenance"] |= {"recipe": None, "recipe_hash": None, "source": "released"}
        record["provenance"]["data"]["manifest_hash"] = None
    write_json(path, record)
    return path


def sweep(clean: float, slope: float, qualities: Sequence[str] = ("hq", "r24", "r14")) -> list[dict[str, Any]]:
    """A sensitivity series that falls linearly, the faster the lower the quality; the first step is insignificant."""
    points = []
    for rank, quality in enumerate(qualities):
        for factor, levels in (("scale", (0.0, 0.1, 0.2)), ("rotation", (0.0, 5.0, 10.0)), ("shift", (0.0, 0.05, 0.1))):
            for step, level in enumerate(levels):
                drop = slope * step * (1 + rank)
                value = max(clean - 0.2 * rank - drop, 0.0)
                points.append(
                    {
                        "quality": quality,
                        "factor": factor,
                        "level": level,
                        "metric": "tar_strict_at_far_1e-2",
                        "value": value,
                        "low": max(value - 0.02, 0.0),
                        "high": min(value + 0.02, 1.0),
                        "drop": drop,
                        "drop_low": drop - 1.5 * slope * (1 + rank),
                        "drop_high": drop + 0.02,
                    }
                )
    return points
