"""Measures of image quality on a set of pairs: what each is worth, and how the network does at each quality."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aroface.datasets.formats.text_tables import csv_lines
from aroface.embedding.detected_faces import detect_faces
from aroface.embedding.embedder import Embedder
from aroface.errors import InputError
from aroface.evaluation.embedded_set import EmbeddedSet
from aroface.evaluation.metrics.error_discard import (
    RULES,
    Booleans,
    DiscardCurve,
    discard_curve,
    pair_quality,
)
from aroface.evaluation.metrics.score_thresholds import threshold_at
from aroface.evaluation.metrics.vectors import unit
from aroface.evaluation.mistakes import pair_scores
from aroface.evaluation.protocols.pairs import images_of
from aroface.evaluation.score_files import ScoreSet
from aroface.evaluation.scores import SystemVerdict, evaluate_scores
from aroface.evaluation.statistics.people import numbered, people_of_pairs
from aroface.faces.degrade import downsample
from aroface.faces.detection.detector import Detector
from aroface.files import read_document
from aroface.progress import track

Floats = NDArray[np.float64]

SIDES = (7, 10, 14, 20, 28, 40, 56, 80)
"""Sides in pixels that an image is reduced to for its resolution."""
STRATA = 4

_LOST = 0.02  # share of an image's contrast that its resolution may lose
_UNRECOGNISABLE = 4  # side in pixels at which nobody is recognised
_MOST_UNRECOGNISABLE = 1000  # images whose features the centre is the mean of
_BLOCK = 256  # images that are looked at together
_KEY = "image"
_MOST_COLUMNS = 8
_MOST_BYTES = 256_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Stratum:
    """Pairs of about the same quality.

    Attributes:
        lowest: Lowest quality of a pair, minus infinity where an image has none.
        highest: Highest quality.
        genuine: Number of genuine pairs.
        impostors: Number of impostor pairs.
        rejected: Number of genuine pairs below the threshold of all pairs.
        accepted: Number of impostor pairs at it or above.
        measured: Metrics of these pairs alone, at thresholds of their own; None where a kind is missing.
    """

    lowest: float
    highest: float
    genuine: int
    impostors: int
    rejected: int
    accepted: int
    measured: SystemVerdict | None


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredQuality:
    """Worth of a measure of quality on a set of pairs.

    Attributes:
        name: Name of the measure.
        curves: Error against discard, for each rule of the threshold.
        strata: Pairs by quality, poorest first.
        without: Number of images without a quality.
    """

    name: str
    curves: Sequence[DiscardCurve]
    strata: Sequence[Stratum]
    without: int


@dataclass(frozen=True, slots=True, eq=False)
class QualityReport:
    """All measures of quality on a set of pairs.

    Attributes:
        name: Name of the model or run.
        benchmark: Name of the set.
        fmr: Wished FMR.
        threshold: Lowest cosine that is accepted, of all pairs.
        genuine: Number of genuine pairs.
        impostors: Number of impostor pairs.
        measures: Measures, in the order given.
    """

    name: str
    benchmark: str
    fmr: float
    threshold: float
    genuine: int
    impostors: int
    measures: Sequence[MeasuredQuality]


def measure_qualities(embedded: EmbeddedSet, qualities: Mapping[str, Floats], fmr: float) -> QualityReport:
    """Measure the worth of each measure of quality.

    Args:
        embedded: Features of the protocol ``pairs``.
        qualities: Quality of each image (2N,) by the name of the measure, larger for better; not a number for none.
        fmr: Wished FMR, in (0, 1).

    Raises:
        InputError: Another protocol, pairs of one kind, or embeddings that do not distinguish images.
    """
    if embedded.protocol != "pairs":
        raise InputError(
            f"features of the protocol {embedded.protocol}", file=embedded.features.folder, expected="pairs"
        )
    scores, same = pair_scores(embedded.features), embedded.features.arrays["same"]
    threshold = threshold_at(np.sort(scores[~same]), np.sort(scores[same]), fmr)
    compared = ScoreSet(scores, same, _people(embedded))
    measures = []
    for name, images in track(qualities.items(), "qualities"):
        quality = pair_quality(images)
        curves = [discard_curve(scores, same, quality, fmr, rule) for rule in RULES]
        strata = [_stratum(compared.take(part), quality[part], threshold, fmr) for part in _strata(quality)]
        measures.append(MeasuredQuality(name, curves, strata, int(np.count_nonzero(np.isnan(images)))))
    genuine = int(same.sum())
    return QualityReport(embedded.name, embedded.benchmark, fmr, threshold, genuine, len(same) - genuine, measures)


def _people(embedded: EmbeddedSet) -> NDArray[np.int64]:
    features = embedded.features
    if "people" in features.arrays:
        return numbered(features.arrays["people"])
    return people_of_pairs(images_of(features), features.arrays["same"])


def _strata(quality: Floats) -> list[Booleans]:
    """Flags of the pairs of each stratum: quarters, or fewer where many pairs are of one quality."""
    ends = np.unique(np.quantile(quality, np.arange(1, STRATA) / STRATA, method="lower"))
    numbers = np.searchsorted(ends, quality, side="left")
    return [numbers == number for number in np.unique(numbers)]


def _stratum(scores: ScoreSet, quality: Floats, threshold: float, fmr: float) -> Stratum:
    same, passing = scores.same, scores.scores >= threshold
    both = bool(same.any() and (~same).any() and np.ptp(scores.scores) > 0)
    return Stratum(
        float(quality.min()),
        float(quality.max()),
        int(same.sum()),
        int(np.count_nonzero(~same)),
        int(np.count_nonzero(same & ~passing)),
        int(np.count_nonzero(~same & passing)),
        evaluate_scores("stratum", scores, [fmr]) if both else None,
    )


def image_qualities(
    embedded: EmbeddedSet, *, detector: Detector | None = None, embedder: Embedder | None = None
) -> dict[str, Floats]:
    """Quality of each image (2N,) by every measure that can be had, larger for better.

    ``norm`` of the feature; ``resolution``, the smallest side in pixels that keeps 98 % of the image's contrast; with a
    detector its score, and the negated alignment error and landmark geometry; with the network itself the distance of
    the feature from the centre of unrecognisable faces, the mean feature of the set's images reduced to 4 pixels.

    Args:
        embedded: Features and images of pairs.
        detector: Detector.
        embedder: The network that the features are of.

    Source: MagFace (norm); Deng et al., "Harnessing unrecognizable faces for improving face recognition", WACV 2023
    (distance to the centre of unrecognisable faces).
    """
    _, firsts, numbers = np.unique(images_of(embedded.features), return_index=True, return_inverse=True)
    images, rows = embedded.open_images(), firsts.tolist()
    every: dict[str, Floats] = {"norm": embedded.norms()}
    parts = [rows[begin : begin + _BLOCK] for begin in range(0, len(rows), _BLOCK)]
    resolution = np.concatenate([effective_resolution(images(part)) for part in track(parts, "resolution")])
    every["resolution"] = resolution[numbers.ravel()]
    if detector is not None:
        found = detect_faces(images, rows, detector)
        signs = {"detector score": 1, "alignment error": -1, "landmark geometry": -1}
        every |= {name: signs[name] * values[numbers.ravel()] for name, values in found.columns().items()}
    if embedder is not None:
        spaced = np.unique(np.linspace(0, len(rows) - 1, _MOST_UNRECOGNISABLE).astype(int))
        flip = bool(embedded.features.index["protocol"]["options"]["flip"])
        poor = [
            embedder.embed(downsample(images([rows[one] for one in part]), _UNRECOGNISABLE), flip=flip)
            for part in track(np.array_split(spaced, -(-len(spaced) // _BLOCK)), "unrecognisable faces")
        ]
        centre = unit(unit(np.concatenate(poor), np.float64).mean(axis=0, keepdims=True), np.float64)[0]
        values = embedded.features.values
        blocks = [unit(values[begin : begin + 4096], np.float64) @ centre for begin in range(0, len(values), 4096)]
        every["distance from unrecognisable"] = 1 - np.concatenate(blocks)
    return every


def effective_resolution(images: NDArray[np.uint8]) -> Floats:
    """Smallest side in pixels, of :data:`SIDES` or whole, that keeps an image's contrast but for 2 %, (N,).

    Contrast is the variance of the pixels. What a crop of a small face was enlarged from is not known, but what it
    can be reduced to without loss.

    Args:
        images: Images, uint8 (N, size, size, 3).
    """
    size = images.shape[1]
    found = np.full(len(images), float(size))
    exact = images.astype(np.float32)
    contrast = exact.var(axis=(1, 2, 3))
    for side in sorted((side for side in SIDES if side < size), reverse=True):
        lost = np.mean((exact - downsample(images, side)) ** 2, axis=(1, 2, 3), dtype=np.float32)
        keeps = lost <= _LOST * contrast
        found[keeps] = side
        if not keeps.any():
            break
    return found


def read_qualities(path: Path, embedded: EmbeddedSet, columns: Sequence[str] | None = None) -> dict[str, Floats]:
    """Read qualities of images from a CSV file: a column ``image`` and one for each measure.

    An image is named by its number, 2i and 2i + 1 of pair i, or as the file of people beside the set names it.

    Args:
        path: CSV file.
        embedded: Pairs.
        columns: Names of the measures; by default all columns but ``image``.

    Returns:
        Values of each image (2N,) by the name of the measure; not a number where the cell is empty.

    Raises:
        InputError: A column is missing, a value is no number, or an image has none.
    """
    reader = csv.reader(io.StringIO(read_document(path, "a CSV file of qualities", _MOST_BYTES)))
    header = [name.strip() for name in next(csv_lines(reader, path), [])]
    key = next((place for place, name in enumerate(header) if name.lower() in (_KEY, "path")), None)
    if key is None:
        raise InputError(
            "no column image", file=path, where="line 1", expected=f"{_KEY}, and a column for each measure"
        )
    names = [*columns] if columns else [name for place, name in enumerate(header) if place != key]
    for name in names:
        if name not in header:
            raise InputError(f"no column {name!r:.60}", file=path, where="line 1", expected=", ".join(header)[:200])
    if not 1 <= len(names) <= _MOST_COLUMNS:
        remedy = "choose some: --columns"
        raise InputError(f"{len(names)} measures", file=path, expected=f"1 to {_MOST_COLUMNS}", remedy=remedy)
    places = [header.index(name) for name in names]
    values: dict[str, list[float]] = {}
    for fields in csv_lines(reader, path):
        if not fields:
            continue
        if len(fields) != len(header):
            raise InputError(
                f"{len(fields)} columns", file=path, where=f"line {reader.line_num}", expected=f"{len(header)}"
            )
        values[fields[key].strip()] = [_number(fields[place], path, reader.line_num) for place in places]
    wanted = _image_names(embedded)
    lines = [values.get(name) or values.get(str(number)) for number, name in enumerate(wanted)]
    for number, line in enumerate(lines):
        if line is None:
            named = f"{number} ({wanted[number]})" if wanted[number] != str(number) else str(number)
            raise InputError(
                f"no line for image {named}", file=path, expected=f"a line for each of {len(wanted):,} images"
            )
    table = np.array(lines, np.float64).reshape(len(wanted), len(names))
    return {name: table[:, place] for place, name in enumerate(names)}


def _image_names(embedded: EmbeddedSet) -> list[str]:
    rows = embedded.pair_rows()
    if rows is None:
        return [str(number) for number in range(2 * len(embedded.features.arrays["same"]))]
    return [name for row in rows for name in (row.first, row.second)]


def _number(text: str, path: Path, line: int) -> float:
    try:
        value = float(text) if text.strip() else float("nan")
    except ValueError:
        raise InputError(f"{text!r:.40} is no number", file=path, where=f"line {line}") from None
    if np.isinf(value):
        raise InputError(f"{text!r:.40}", file=path, where=f"line {line}", expected="a finite number, or nothing")
    return value
