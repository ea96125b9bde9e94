"""Evaluation side of a protocol: metrics from stored features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aroface import result_versions
from aroface.embedding.feature_store import StoredFeatures
from aroface.evaluation.protocols.outcome import Outcome
from aroface.evaluation.statistics.weighted_metrics import WeightedMetrics


@dataclass(frozen=True, slots=True)
class EvaluationProtocol:
    """Evaluation protocol as far as stored features are concerned.

    Attributes:
        name: Name of the protocol, as in :data:`aroface.embedding.protocols.PROTOCOLS`.
        evaluate: Function from stored features to the measured part of a record.
        weighted_metrics: Function from stored features to their metrics in a form that can be resampled.
    """

    name: str
    evaluate: Callable[[StoredFeatures], Outcome]
    weighted_metrics: Callable[[StoredFeatures], Sequence[WeightedMetrics]]

    @property
    def version(self) -> int:
        """Version of the protocol's numbers, see `aroface.result_versions`."""
        return result_versions.protocol_version(self.name)
