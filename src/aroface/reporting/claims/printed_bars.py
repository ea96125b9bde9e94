"""Bars of the paper's figure 1, whose values the authors do not print: read off the picture, with a reading error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from os import PathLike
from pathlib import Path
from typing import Any

from aroface.reporting.records import RecordedExperiment
from aroface.schemas import read_yaml, validate
from aroface.shipped import shipped

PAPER = Path("workflow/registries/paper_figure.yaml")
"""Registry of the bars."""


@dataclass(frozen=True, slots=True)
class PrintedBar:
    """A bar as it was read.

    Attributes:
        change: Change of a rate by a misalignment, negative: in points, or in per cent of the aligned rate, which the
            picture does not tell.
        error: Largest error of reading.
    """

    change: Decimal
    error: Decimal


def read_authors(path: str | PathLike[str] = PAPER) -> Mapping[str, Any]:
    """The content of the registry.

    Raises:
        InputError: The file is missing or malformed.
    """
    file = shipped(Path(path))
    authors: Mapping[str, Any] = read_yaml(file)
    validate(authors, "paper_figure", file=file)
    return authors


def printed_bar(
    authors: Mapping[str, Any], benchmark: str, metric: str, experiment: RecordedExperiment
) -> PrintedBar | None:
    """The authors' bar of a metric on a benchmark; None where the picture has none of this experiment.

    Args:
        authors: Content of the registry.
        benchmark: Key of the benchmark that repeats a group of bars.
        metric: Name of the metric.
        experiment: Experiment, whose training set and backbone have to be the authors'.
    """
    if (experiment.dataset, experiment.arch) != (authors["trained_on"], authors["arch"]):
        return None
    panel = next((each for each in authors["panels"] if each["benchmark"] == benchmark), None)
    if panel is None or metric not in panel["metrics"] or experiment.method not in panel["changes"]:
        return None
    change = panel["changes"][experiment.method][panel["metrics"].index(metric)]
    return PrintedBar(Decimal(str(change)), Decimal(str(panel["reading_error"])))
