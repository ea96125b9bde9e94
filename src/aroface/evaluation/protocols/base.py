"""Evaluation side of a protocol: metrics from stored features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface import result_versions
from aroface.embedding.feature_store import StoredFeatures
from aroface.evaluation.protocols.outcome import Outcome
from aroface.evaluation.statistics.people_metrics import PeopleMetrics


@dataclass(frozen=True, slots=True)
class EvaluationProtocol:
    """Evaluation protocol as far as stored features are concerned.

    Attributes:
        name: Name of the protocol, as in :data:`aroface.embedding.protocols.PROTOCOLS`.
        evaluate: Function from stored features to the measured part of a record.
        measure: Function from stored features to the metrics that two runs can be compared by.
        images: Function from stored features to the numbers of their images, of protocols that know people by these
            alone.
    """

    name: str
    evaluate: Callable[[StoredFeatures], Outcome]
    measure: Callable[[StoredFeatures], Sequence[PeopleMetrics]]
    images: Callable[[StoredFeatures], NDArray[np.integer[Any]]] | None = None

    @property
    def version(self) -> int:
        """Version of the protocol's numbers, see `aroface.result_versions`."""
        return result_versions.protocol_version(self.name)
