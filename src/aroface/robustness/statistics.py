"""Batch norm during an attack; made by the models, which need it as well."""

from aroface.models.statistics import frozen_statistics, running_statistics

__all__ = ["frozen_statistics", "running_statistics"]
