"""The bench of intervals, tests and verdicts, ``performance/known_truth``, for tests."""

from __future__ import annotations

import sys

from repository import ROOT

PERFORMANCE = str(ROOT / "performance")
sys.path.insert(0, PERFORMANCE)
try:
    from known_truth import evaluations, populations, record, registry, rows, table
finally:
    sys.path.remove(PERFORMANCE)

__all__ = ["evaluations", "populations", "record", "registry", "rows", "table"]
