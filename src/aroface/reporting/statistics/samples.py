"""Values of a method or of a difference of two methods over seeds, with what another draw of people would change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aroface.reporting.rounding import exact

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sample:
    """Values over seeds.

    Attributes:
        values: Seed to a fraction, or to a difference of fractions.
        left_out: For each set of people by its name, seed to the (G,) values without each group of them; empty where
            they are not known of every seed.
        floor: Least standard deviation over seeds that the metric's resolution allows to believe in.
        lacking: Reason why ``left_out`` is empty.
        one_run: True if a single reported run was subtracted, whose deviation is not known.
    """

    values: Mapping[int, float]
    left_out: Mapping[str, Mapping[int, Floats]] = field(default_factory=dict)
    floor: float = 0.0
    lacking: str = ""
    one_run: bool = False

    @property
    def seeds(self) -> list[int]:
        """The seeds in their order."""
        return sorted(self.values)


def deviation_floor(resolution: float) -> float:
    """Least standard deviation of a value that can move in steps of ``resolution`` only: that of rounding to it."""
    return resolution / math.sqrt(12)


def difference(of: Sample, minus: Sample) -> Sample:
    """The difference seed by seed, over the seeds that both have.

    Runs of one seed share data order and initialisation, so pairing by seed removes what the two have in common; the
    people are the same, so that difficult ones cancel.
    """
    seeds = [seed for seed in of.seeds if seed in minus.values]
    lacking = of.lacking or minus.lacking
    left_out: dict[str, dict[int, Floats]] = {}
    if not lacking and {*of.left_out} != {*minus.left_out}:
        lacking = "the two were not measured on the same people"
    if not lacking:
        left_out = {
            people: {seed: of.left_out[people][seed] - minus.left_out[people][seed] for seed in seeds}
            for people in of.left_out
        }
    values = {seed: float(exact(of.values[seed]) - exact(minus.values[seed])) for seed in seeds}
    floor = math.hypot(of.floor, minus.floor)
    return Sample(values, left_out, floor, lacking, of.one_run or minus.one_run)


def against_reported(of: Sample, reported: float) -> Sample:
    """The difference from the value that others reported of a single run."""
    values = {seed: float(exact(of.values[seed]) - exact(reported)) for seed in of.seeds}
    lacking = "the reported run has no values without groups of people"
    return Sample(values, {}, math.hypot(of.floor, of.floor), lacking, one_run=True)


def mean_of(samples: Sequence[Sample]) -> Sample:
    """The mean of several cells, seed by seed, over the seeds that all have.

    Cells of one benchmark share its people; people of different benchmarks are independent.
    """
    seeds = sorted(set.intersection(*({*sample.values} for sample in samples)))
    count = len(samples)
    lacking = next((sample.lacking for sample in samples if sample.lacking), "")
    values = {seed: float(sum(exact(sample.values[seed]) for sample in samples) / count) for seed in seeds}
    left_out: dict[str, dict[int, Floats]] = {}
    for sample in samples if not lacking else ():
        for people, by_seed in sample.left_out.items():
            found = left_out.setdefault(people, {})
            for seed in seeds:
                found[seed] = found.get(seed, 0.0) + by_seed[seed] / count
    floor = math.sqrt(sum(sample.floor**2 for sample in samples)) / count
    return Sample(values, left_out, floor, lacking, any(sample.one_run for sample in samples))
