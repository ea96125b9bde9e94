"""Differences of a network among groups of people: spread of the accuracies and ratio of the error rates.

Source: Wang and Deng, "Mitigating bias in face recognition using skewness-aware reinforcement learning", CVPR 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class GroupDifferences:
    """Accuracies of groups, each in [0, 1].

    Attributes:
        mean: Mean of the groups.
        spread: Sample standard deviation of the groups.
        ratio: Skewed error ratio: largest error rate by the smallest, infinite where a group has no error.
        worst: Name of the group of the lowest accuracy.
        best: Name of the group of the highest.
    """

    mean: float
    spread: float
    ratio: float
    worst: str
    best: str

    def lines(self) -> list[str]:
        """Lines of text, in per cent."""
        ratio = f"{self.ratio:.2f}" if np.isfinite(self.ratio) else "not bounded: a group without errors"
        return [
            f"mean of the groups         {100 * self.mean:.2f} %",
            f"standard deviation         {100 * self.spread:.2f} points",
            f"skewed error ratio         {ratio}",
            f"worst, best                {self.worst}, {self.best}",
        ]


def group_differences(accuracies: Mapping[str, float]) -> GroupDifferences:
    """Compare two or more groups.

    Args:
        accuracies: Accuracy of each group by its name.
    """
    values = np.array([*accuracies.values()])
    errors = 1 - values
    ratio = float(errors.max() / errors.min()) if errors.min() > 0 else (1.0 if errors.max() == 0 else np.inf)
    names = [*accuracies]
    best, worst = names[int(values.argmax())], names[int(values.argmin())]
    return GroupDifferences(float(values.mean()), float(values.std(ddof=1)), ratio, worst, best)
