"""Embedding side of an evaluation protocol: rows of images, and all that a plan asks before there are any.

A protocol is a module of this package with an `EmbeddingProtocol`, and a line in
:data:`aroface.embedding.protocols.PROTOCOLS`; its metrics are in :mod:`aroface.evaluation.protocols`. A module imports
OpenCV within its functions: a plan needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aroface.embedding.image_source import ImageSource

Options = Mapping[str, Any]


def _accept(data: Path, options: Options) -> None:
    """Accept all options on all data."""


@dataclass(frozen=True, slots=True)
class EmbeddingProtocol:
    """Evaluation protocol as far as embedding and planning know it.

    Attributes:
        name: Name in specifications and records.
        set_kind: Kind of the data sets that it evaluates, see `aroface.datasets.formats.registry.FORMATS`.
        open_source: Function from path, resolved options and side of the images in pixels to the rows of images.
        feature_rows: Function from resolved options and counts of the data to the number of rows; None while the counts
            do not tell.
        defaults: Options that a specification may leave out; colour order, flip, fusion and alignment it may not.
        synthetic_options: Options of rendered sets beyond, or instead of, the ones that they share.
        also: Further kinds of data sets that it evaluates.
        check_options: Function that raises `InputError` for options that do not fit the data at a path; cheap, called
            before anything is trained.
    """

    name: str
    set_kind: str
    open_source: Callable[[Path, Options, int], ImageSource]
    feature_rows: Callable[[Options, Mapping[str, int]], int | None]
    defaults: Options = field(default_factory=dict)
    synthetic_options: Options = field(default_factory=dict)
    check_options: Callable[[Path, Options], None] = _accept
    also: tuple[str, ...] = ()

    @property
    def set_kinds(self) -> tuple[str, ...]:
        """All kinds of data sets that it evaluates."""
        return (self.set_kind, *self.also)


def listed_images(options: Options, counts: Mapping[str, int]) -> int | None:
    """Number of rows of a protocol that embeds every image of a set once."""
    return counts.get("images")
