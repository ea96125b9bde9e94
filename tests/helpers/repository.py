"""Places of the repository that tests read."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
SPECS = ROOT / "paper_tables" / "specs"
REGISTRIES = ROOT / "workflow" / "registries"
GOLDEN = ROOT / "tests" / "golden"
