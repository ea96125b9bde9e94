"""Batch norm that normalises by the batch without remembering it; made by the models, which need it as well."""

from aroface.models.statistics import frozen_statistics

__all__ = ["frozen_statistics"]
