"""The protocols whose benchmarks can be embedded, by name: a new one is a module and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aroface.embedding import ijb, ijbs, pairs, sensitivity, tinyface
from aroface.embedding.image_source import ImageSource

OPEN_SOURCE: dict[str, Callable[[Path, Mapping[str, Any], int], ImageSource]] = {
    "ijb": ijb.open_source,
    "pairs": pairs.open_source,
    "sensitivity": sensitivity.open_source,
    "tinyface": tinyface.open_source,
    "ijbs": ijbs.open_source,
}
"""From path, resolved options and size of the images to the rows of images that one kind of benchmark becomes."""
