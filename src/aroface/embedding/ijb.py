"""Protocols of IJB-B and IJB-C: rows are images in the order of the list of faces, aligned while they are read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.datasets.formats.checks import check_ijb_labels
from aroface.datasets.formats.ijb import TemplateTable, read_ijb
from aroface.embedding.image_source import Images, ImageSource

THREADS = min(4, os.cpu_count() or 1)
"""Images decoded and aligned at once; libjpeg-turbo and OpenCV leave Python's lock alone meanwhile."""


def open_source(path: Path, options: Mapping[str, Any], size: int) -> ImageSource:
    """The N images of an IJB-B or IJB-C tree, with all that its lists say of them.

    Arrays: ``templates``, ``media`` and ``detector_scores`` (N,) of the images; ``pairs`` (P, 2) of templates and
    ``same`` (P,); where the tree has the lists of the search, ``probes`` and for each gallery ``gallery_{name}``, rows
    of (template, subject). ``layout`` has the names of the galleries.

    Args:
        path: the tree.
        options: resolved options of the protocol.
        size: side of the aligned images in pixels.

    Raises:
        InputError: see :func:`~aroface.datasets.formats.ijb.read_ijb`; pairs of one kind only; no probe with a mate;
            later, an image is missing or damaged, or its landmarks all coincide.
    """
    found = read_ijb(path)
    check_ijb_labels(path, found)

    def images(start: int, stop: int) -> Images:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="align") as pool:
            return np.stack(list(pool.map(lambda row: found.faces.crop(row, size), range(start, stop))))

    arrays: dict[str, NDArray[Any]] = {
        "templates": found.faces.templates,
        "media": found.faces.media,
        "detector_scores": found.faces.scores,
        "pairs": _narrow(found.pairs),
        "same": found.same,
    }
    galleries = found.search.galleries if found.search else {}
    if found.search:
        arrays |= {f"gallery_{name}": _table(gallery) for name, gallery in galleries.items()}
        arrays["probes"] = _table(found.search.probes)
    return ImageSource(len(found.faces), images, arrays, {"galleries": list(galleries)})


def _table(templates: TemplateTable) -> NDArray[np.int64]:
    return np.stack([templates.ids, templates.subjects], axis=1)


def _narrow(numbers: NDArray[np.int64]) -> NDArray[Any]:
    """The same numbers in 32 bits where they fit: IJB-C has 31 million of them."""
    ends = np.iinfo(np.int32)
    fits = len(numbers) == 0 or (numbers.min() >= ends.min and numbers.max() <= ends.max)
    return numbers.astype(np.int32) if fits else numbers
