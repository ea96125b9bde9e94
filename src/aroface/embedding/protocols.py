"""The protocols whose benchmarks can be embedded, by name: a new one is a module and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aroface.datasets.manifest import data_hash
from aroface.embedding import pairs, sensitivity, tinyface
from aroface.embedding.source import Source


@dataclass(frozen=True, slots=True)
class Protocol:
    """How one kind of benchmark becomes rows of images.

    Attributes:
        open_source: (path, resolved options, size of the images) to the rows.
        parts: path to a folder and the names in it that make up the benchmark.
    """

    open_source: Callable[[Path, Mapping[str, Any], int], Source]
    parts: Callable[[Path], tuple[Path, list[str]]]


PROTOCOLS = {
    "pairs": Protocol(pairs.open_source, pairs.parts),
    "sensitivity": Protocol(sensitivity.open_source, pairs.parts),
    "tinyface": Protocol(tinyface.open_source, tinyface.parts),
}


def benchmark_hash(spec: Mapping[str, Any]) -> str:
    """Manifest hash of the benchmark's files: of their manifest where they have one, else of samples of them.

    Raises:
        InputError: a file is missing, or not of the size that the manifest says.
    """
    path = Path(spec["path"])
    return data_hash(spec["name"], path, PROTOCOLS[spec["protocol"]].parts(path)[1])
