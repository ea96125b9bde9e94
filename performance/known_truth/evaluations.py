"""Intervals of one evaluation, and paired tests of two equal networks, as records and ``compare-runs`` print them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.random import Generator

from aroface.embedding.feature_store import StoredFeatures
from aroface.evaluation import robustness
from aroface.evaluation.compare_runs import compare_metrics
from aroface.evaluation.protocols.registry import protocol_of
from aroface.evaluation.statistics.multiplicity import holm
from aroface.evaluation.statistics.people import people_of_pairs
from aroface.reporting.figures.curves import curves
from aroface.reporting.records import Record, RecordedExperiment
from aroface.reporting.robustness.findings import significant
from known_truth.populations import LEVELS, POPULATIONS
from known_truth.rows import LEVEL, Key, Observations

FAMILY = "any metric after Holm"
POINTS = 2.0
"""Loss that is tolerated, in points."""


def evaluated(population: str, rng: Generator) -> Observations:
    """Intervals of one network on a new benchmark, and the comparison with a second, equal one."""
    networks = POPULATIONS[population].draw(rng, networks=2)
    protocol = protocol_of(networks[0])
    ours, theirs = (protocol.measure(each) for each in networks)
    found: dict[Key, tuple[float, ...]] = {}
    for part in ours:
        ends = part.intervals()
        for name in part.left_out.values:
            found["interval", name] = (part.values[name], *ends.get(name, (math.nan, math.nan)))
    rows = [row for one, other in zip(ours, theirs, strict=True) for row in compare_metrics(one, other)]
    for row in rows:
        found["interval", f"difference of {row.metric}"] = (row.difference, *row.interval, 0.0)
        found["test", row.metric] = (row.p_value,)
    adjusted = holm([row.p_value for row in rows if math.isfinite(row.p_value)])
    found["share", FAMILY] = (float(min(adjusted, default=1.0) < LEVEL),)
    return found


def swept(rng: Generator) -> Observations:
    """The same of a sweep, and the points of its curves."""
    (features,) = POPULATIONS["swept pairs"].draw(rng)
    series = protocol_of(features).evaluate(features).series
    return {**evaluated("swept pairs", rng), **dict(_swept(series))}


def _swept(series: Any) -> Iterator[tuple[Key, tuple[float, ...]]]:
    """Values and drops of a sensitivity sweep; errors of rotation are other images, which cost nothing."""
    for point in series:
        if point["level"] == 0:
            continue
        place = f"{point['metric']}, {'no error' if point['factor'] == 'rotation' else 'error'} {point['level']:g}"
        for name, low, high in (
            ("value", "low", "high"),
            ("drop", "drop_low", "drop_high"),
            ("relative_drop", "relative_drop_low", "relative_drop_high"),
        ):
            values = tuple(math.nan if point[each] is None else float(point[each]) for each in (name, low, high))
            yield ("interval", f"{name.replace('_', ' ')} of {place}"), values
        if point["factor"] == "rotation":
            yield ("share", f"significant drop of {place}"), (float(point["significant"]),)


# Pages and figures of alignment errors


def page(rng: Generator) -> Observations:
    """All numbers of a robustness page of two equal models."""
    population = POPULATIONS["few swept pairs"]
    networks = population.draw(rng, networks=2)
    arrays = networks[0].arrays
    people = people_of_pairs(arrays["images"], arrays["same"])
    metrics = tuple(networks[0].index["protocol"]["options"]["metric"])
    grid = robustness.SweepGrid(("hq",), scale=LEVELS, degrees=(), shift=(), joint=(), metrics=metrics)
    nobody: Any = None
    part = robustness._SweepPart(nobody, Path(), people, Path(), "hq", grid, nobody, "")
    sweeps = [robustness.Sweep(name, "", part.measure(each)) for name, each in zip("AB", networks, strict=True)]
    found: dict[Key, tuple[float, ...]] = {}
    for row in robustness.table(robustness.Robustness(Path(), grid, {}, {}, sweeps), POINTS):
        found |= dict(_told(row))
    errors = [each for each in sweeps[0].measured if each.factor is not None]
    gaps = [sweeps[1].drop(each, metric) - sweeps[0].drop(each, metric) for each in errors for metric in metrics]
    found["share", "any difference of drops after Holm"] = (float(any(significant(gaps))),)
    return found


def _told(row: Mapping[str, Any]) -> Iterator[tuple[Key, tuple[float, ...]]]:
    """Observations of a row of the page's table, of the first model and of the difference."""
    differs = row["model"] != "A"
    tolerated = row["metric"].startswith("tolerated")
    if row["model"] == "B" or (tolerated and row["factor"] == "rotation"):
        return
    kind = {None: "without error", "scale": f"error {row['level']:g}", "rotation": "no error 1"}[row["factor"]]
    kind = "error" if tolerated else kind
    place = f"{row['metric']}, {kind}"
    truth = (0.0,) if differs else ()
    for name, what in (("value", ""), ("drop_points", "drop of "), ("relative_drop", "relative drop of ")):
        ends = "" if name == "value" else f"{name}_"
        if name in row:
            values = tuple(float(row[each]) for each in (name, f"{ends}low", f"{ends}high"))
            yield ("interval", f"{'difference of ' if differs else ''}{what}{place}"), (*values, *truth)
    if "significant" in row and (differs or row["factor"] == "rotation"):
        what = ("difference of " if differs else "") + ("drop of " if row["factor"] else "")
        yield ("share", f"significant {what}{place}"), (float(row["significant"]),)


def figure(rng: Generator) -> Observations:
    """Curves of a figure, ends of intervals averaged over three seeds."""
    records = [_recorded(seed, each) for seed, each in enumerate(POPULATIONS["swept pairs"].draw(rng, networks=3))]
    found: dict[Key, tuple[float, ...]] = {}
    for (_, factor), curve in curves(records, "auc").items():
        for number, level in enumerate(curve.levels):
            place = f"auc, {'no error' if factor == 'rotation' else 'error'} {level:g}"
            if level == 0:
                continue
            found["interval", f"value of {place}"] = (curve.values[number], curve.low[number], curve.high[number])
            drop = (curve.drop[number], curve.drop_low[number], curve.drop_high[number])
            found["interval", f"drop of {place}"] = drop
            if factor == "rotation":
                found["share", f"significant drop of {place}"] = (float(curve.significant[number]),)
    return found


def _recorded(seed: int, features: StoredFeatures) -> Record:
    series = [dict(point) for point in protocol_of(features).evaluate(features).series]
    experiment, protocol = RecordedExperiment("method", "faces", "r8"), {"name": "sensitivity"}
    return Record(Path(), f"s{seed}", experiment, seed, "fae", protocol, {}, (), {}, series, {}, {})
