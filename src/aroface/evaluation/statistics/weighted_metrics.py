"""Metrics of a run on the items of a benchmark, as functions of how often each item counts.

Every protocol can give its metrics in this form; from it follow the value, the bootstrap interval and, with the same
draws for two runs, the test of their difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.evaluation.statistics.bootstrap import Floats, Statistic, interval, samples

Booleans = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class WeightedMetrics:
    """Metrics that are measured on the same N pairs or probes.

    Attributes:
        strata: (N,) label of each item; a bootstrap draws within each.
        statistic: Function from multiplicities (B, N) to the metrics by name, each (B,).
        hits: Hits (N,) by name of a metric that is a fraction of hits. Items that do not count for it, such as probes
            without a mate, are none.
    """

    strata: NDArray[Any]
    statistic: Statistic
    hits: Mapping[str, Booleans] = field(default_factory=dict)

    def values(self) -> dict[str, float]:
        """The metrics, each item counting once."""
        once = np.ones((1, len(self.strata)), dtype=np.int64)
        return {name: value.item() for name, value in self.statistic(once).items()}

    def samples(self, **draws: int) -> dict[str, Floats]:
        """The metrics over bootstrap replicates; ``draws`` as of :func:`.bootstrap.samples`."""
        return samples(self.statistic, self.strata, **draws)

    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % interval of each metric."""
        return {name: interval(values) for name, values in self.samples().items()}
