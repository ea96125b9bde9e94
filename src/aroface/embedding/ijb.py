"""Protocol ``ijb`` (IJB-B, IJB-C): rows are images in the order of the list of faces, aligned while they are read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.datasets.formats.arrow_folder import is_arrow_folder, row_face
from aroface.datasets.formats.arrow_ijb import ALIGNED, read_aligned_ijb
from aroface.datasets.formats.checks import check_pairs
from aroface.datasets.formats.ijb import TemplateTable, check_ijb_labels, landmark_list, read_ijb
from aroface.embedding.base import EmbeddingProtocol, listed_images
from aroface.embedding.image_source import Images, ImageSource
from aroface.errors import InputError

THREADS = min(4, os.cpu_count() or 1)
"""Images decoded and aligned at once; libjpeg-turbo and OpenCV leave Python's lock alone meanwhile."""


def open_source(path: Path, options: Mapping[str, Any], size: int) -> ImageSource:
    """Open the N images of an IJB-B or IJB-C tree, with the content of its lists.

    Arrays: ``templates``, ``media`` and ``detector_scores`` (N,) of the images; ``pairs`` (P, 2) of templates and
    ``same`` (P,); where the tree has the lists of the search, ``probes`` and for each gallery ``gallery_{name}``, rows
    of (template, subject). ``layout`` has the names of the galleries and, as ``alignment``, the list of landmarks and
    the report of what prepared the tree.

    Args:
        path: Root of the tree, or a folder of CVLface's toolkit.
        options: Resolved options of the protocol.
        size: Side of the aligned images in pixels.

    Raises:
        InputError: See :func:`~aroface.datasets.formats.ijb.read_ijb`; the pairs are all of one kind; no probe has a
            mate; later, an image is missing or damaged, or its landmarks all coincide. For a folder of the toolkit
            :func:`~aroface.datasets.formats.arrow_ijb.read_aligned_ijb`.
    """
    faces = open_faces(path, options, size)
    return ImageSource(faces.count, lambda start, stop: faces.crops(range(start, stop)), faces.arrays, faces.layout)


@dataclass(frozen=True, slots=True)
class TemplateFaces:
    """The N images of a benchmark of templates.

    Attributes:
        count: Number of images.
        crops: Function from numbers of images to the aligned images, uint8 (n, size, size, 3), RGB.
        arrays: Content of the lists, see :func:`open_source`.
        layout: Names of the galleries and the alignment.
    """

    count: int
    crops: Callable[[Sequence[int]], Images]
    arrays: Mapping[str, NDArray[Any]]
    layout: Mapping[str, Any]


def open_faces(path: Path, options: Mapping[str, Any], size: int) -> TemplateFaces:
    """Open a tree as :func:`open_source` does, with images by their numbers.

    Raises:
        InputError: See :func:`open_source`.
    """
    _check_options(path, options)
    if is_arrow_folder(path):
        return _open_rows(path, size)
    landmarks = options.get("landmarks")
    tree = read_ijb(path, landmarks)
    check_ijb_labels(path, tree)

    def crops(rows: Sequence[int]) -> Images:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="align") as pool:
            return np.stack(list(pool.map(lambda row: tree.faces.crop(row, size), rows)))

    arrays: dict[str, NDArray[Any]] = {
        "templates": tree.faces.templates,
        "media": tree.faces.media,
        "detector_scores": tree.faces.scores,
        "pairs": _narrow(tree.pairs),
        "same": tree.same,
    }
    galleries = tree.search.galleries if tree.search else {}
    if tree.search:
        arrays |= {f"gallery_{name}": _table(gallery) for name, gallery in galleries.items()}
        arrays["probes"] = _table(tree.search.probes)
    layout = {"galleries": list(galleries), "alignment": _alignment(path, landmarks)}
    return TemplateFaces(len(tree.faces), crops, arrays, layout)


def _open_rows(path: Path, size: int) -> TemplateFaces:
    benchmark = read_aligned_ijb(path)
    check_pairs(benchmark.same, path, folds=False)

    def crops(rows: Sequence[int]) -> Images:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="decode") as pool:
            return np.stack(list(pool.map(lambda row: row_face(benchmark.rows, row, size), rows)))

    arrays: dict[str, NDArray[Any]] = {
        "templates": benchmark.templates,
        "media": benchmark.media,
        "detector_scores": benchmark.scores,
        "pairs": _narrow(benchmark.pairs),
        "same": benchmark.same,
    }
    return TemplateFaces(len(benchmark.rows), crops, arrays, {"galleries": []})


def _alignment(path: Path, landmarks: str | None) -> dict[str, Any]:
    from aroface.datasets.preparation.align import described

    return {**described(path).get("alignment", {}), "landmarks": landmark_list(path, landmarks).name}


def _check_options(data: Path, options: Mapping[str, Any]) -> None:
    aligned, chosen = is_arrow_folder(data), options.get("alignment", "five_point")
    if aligned != (chosen == ALIGNED):
        holds = "aligned faces, as CVLface's toolkit has them" if aligned else "loose crops with landmarks"
        remedy = f"name {ALIGNED if aligned else 'five_point'} there"
        expected = f"alignment {chosen!r} as the benchmark's options say"
        raise InputError(f"holds {holds}", file=data, expected=expected, remedy=remedy)
    if aligned and "landmarks" in options:
        raise InputError("holds aligned faces without landmarks", file=data, remedy="leave out the option landmarks")


def _table(templates: TemplateTable) -> NDArray[np.int64]:
    return np.stack([templates.ids, templates.subjects], axis=1)


def _narrow(numbers: NDArray[np.int64]) -> NDArray[Any]:
    """Convert numbers to 32 bits where they fit: IJB-C has 31 million of them."""
    ends = np.iinfo(np.int32)
    fits = len(numbers) == 0 or (numbers.min() >= ends.min and numbers.max() <= ends.max)
    return numbers.astype(np.int32) if fits else numbers


PROTOCOL = EmbeddingProtocol(
    "ijb",
    "ijb",
    open_source,
    listed_images,
    synthetic_options={"norm_weighting": True, "detector_weighting": True},
    check_options=_check_options,
)
