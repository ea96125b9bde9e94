"""Benchmark specification: the data to embed and the options of its protocol."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from aroface.datasets.formats.registry import FORMATS
from aroface.embedding.protocols import find_protocol
from aroface.schemas import validate


def resolve(benchmark: Mapping[str, Any], file: str | PathLike[str] | None = None) -> dict[str, Any]:
    """Check a specification against ``benchmark_spec.schema.json`` and write out the protocol's default options.

    Colour order, flip, fusion and alignment have no default. Where the options choose a part of a set that is there,
    such as a folder of TinyFace's crops, the path becomes that part's.

    Args:
        benchmark: Specification: ``name``, ``protocol``, ``path`` and ``options``.
        file: Origin of the specification, for the error line.

    Raises:
        InputError: An unknown protocol, an unknown or missing key, or a value of the wrong type or range.
    """
    validate(benchmark, "benchmark_spec", file=file)
    protocol = find_protocol(benchmark["protocol"], file=file)
    options, data = {**protocol.defaults, **benchmark["options"]}, Path(benchmark["path"])
    known = FORMATS.get(protocol.set_kind)
    chosen = data if known is None else known.chosen(data, options)
    return {**benchmark, **({} if chosen == data else {"path": chosen.as_posix()}), "options": options}
