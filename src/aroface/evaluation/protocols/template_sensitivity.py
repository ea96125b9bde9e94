"""Sensitivity of pairs of templates: each variant pooled and scored by itself, with the same people left out of all.

Pooled are one side of one variant at a time, so memory holds the templates of two sides and the scores of one variant:
4 bytes a pair and 4 D bytes a template. The time is that of an evaluation of the pairs for each variant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aroface.embedding.feature_store import StoredFeatures
from aroface.evaluation.metrics.pair_scores import pair_scores
from aroface.evaluation.metrics.template_pooling import PooledTemplates, pool
from aroface.evaluation.protocols.ijb import Rows, TemplatePeople, measure_verification, people_of
from aroface.evaluation.protocols.pairs import check_kinds, pair_counts
from aroface.evaluation.statistics.jackknife import LeaveOut
from aroface.evaluation.statistics.people_metrics import PeopleMetrics


@dataclass(frozen=True, slots=True, eq=False)
class TemplateSweep:
    """All variants of a benchmark of templates.

    Attributes:
        features: Stored features.
        people: People of the templates of both sides, those of the first side before those of the second.
        first: (P,) places of the pairs' first templates among these.
        second: (P,) places of the second ones.
        pooled: First templates by the row at which their images begin, the last that were pooled.
    """

    features: StoredFeatures
    people: TemplatePeople
    first: Rows
    second: Rows
    pooled: dict[int, PooledTemplates] = field(default_factory=dict)

    @classmethod
    def of(cls, features: StoredFeatures) -> TemplateSweep:
        """Read the lists of stored features.

        Raises:
            InputError: Pairs of one kind only, or a template without an image.
        """
        arrays = features.arrays
        check_kinds(arrays["same"], features)
        every = _listed(np.unique(arrays["templates"]))
        sides = [_listed(np.unique(arrays["templates"][arrays[f"{name}_images"]])) for name in ("first", "second")]
        found = people_of(features, every)
        places = np.concatenate([every.rows(side.ids) for side in sides])
        people = TemplatePeople(found.numbers[places], found.groups[places], found.units)
        first, second = (side.rows(column) for side, column in zip(sides, arrays["pairs"].T, strict=True))
        return cls(features, people, first, second + np.int32(len(sides[0].ids)))

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of images, templates, people and pairs."""
        arrays = self.features.arrays
        images, templates = len(arrays["templates"]), len(np.unique(arrays["pairs"]))
        return {"images": images, "templates": templates, "people": self.people.units, **pair_counts(arrays["same"])}

    def measure(self, variant: Mapping[str, Any], names: Sequence[str]) -> PeopleMetrics:
        """Measure the rates by ``names`` of one variant of ``layout``, with and without each group of people."""
        if variant["first"] not in self.pooled:
            self.pooled.clear()
            self.pooled[variant["first"]] = self._pool("first", variant["first"])
        sides = (self.pooled[variant["first"]], self._pool("second", variant["second"]))
        vectors = np.concatenate([side.vectors for side in sides])
        scores = pair_scores(vectors, self.first, self.second)
        measured = measure_verification(scores, self.first, self.second, self.features.arrays["same"], self.people)
        left_out = {name: measured.left_out.values[name] for name in names}
        return PeopleMetrics(
            {name: measured.values[name] for name in names},
            LeaveOut(measured.left_out.unit, measured.left_out.units, left_out),
            {name: measured.trials[name] for name in names},
            {name: measured.resolution[name] for name in names},
        )

    def _pool(self, side: str, start: int) -> PooledTemplates:
        arrays, options = self.features.arrays, self.features.index["protocol"]["options"]
        images = arrays[f"{side}_images"]
        return pool(
            self.features.values[start : start + len(images)],
            arrays["templates"][images],
            arrays["media"][images],
            arrays["detector_scores"][images] if options["detector_weighting"] else None,
            norm_weighting=options["norm_weighting"],
        )


def _listed(ids: Rows) -> PooledTemplates:
    """Templates of which only the numbers are asked for."""
    return PooledTemplates(ids, np.empty((len(ids), 0), np.float32))
