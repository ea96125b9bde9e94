"""Degraded sets of a set of pairs: few pixels on one side (HR→LR) or on both (LR→LR), for each of several sizes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aroface.datasets.formats.pair_people import people_path, read_pair_rows, write_pair_people
from aroface.datasets.formats.pairs import Pairs, pair_face, read_pairs, write_pairs
from aroface.datasets.identity import data_hash
from aroface.datasets.images import encode_png
from aroface.datasets.manifest import manifest_path, read_manifest, refuse_other_file, write_manifest
from aroface.errors import InputError
from aroface.faces.degrade import downsample, surveillance
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.progress import track

Sides = Literal["hr-lr", "lr-lr"]
Degradation = Literal["downsample", "surveillance"]

PIXELS = (56, 28, 14, 7)
"""Sides in pixels that faces of 112 are reduced to by default."""

_SEMANTICS = 1  # to be raised when other images come out of the same options
_DEGRADING = 1701  # purpose of the random stream
_AT_ONCE = 256  # images that are handed to the threads together


@dataclass(frozen=True, slots=True)
class DegradeOptions:
    """Options of degrading a set of pairs.

    Attributes:
        pixels: Sides in pixels that faces are reduced to, each a set of its own.
        sides: Sides of a pair that are degraded: the second (``hr-lr``), or both (``lr-lr``); each a set of its own.
        degradation: Fewer pixels alone (area average, enlarged bicubically), or all that a surveillance camera does.
        seed: Seed of a camera's random choices.
    """

    pixels: Sequence[int] = PIXELS
    sides: Sequence[Sides] = ("hr-lr", "lr-lr")
    degradation: Degradation = "downsample"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class DegradedSet:
    """A degraded set.

    Attributes:
        path: The set, a ``.bin`` file.
        pairs: Number of its pairs.
        made: False if it was there already.
    """

    path: Path
    pairs: int
    made: bool


def degrade_pairs(source: Path, out: Path, options: DegradeOptions = DegradeOptions()) -> list[DegradedSet]:
    """Write the degraded sets ``{name}_{sides}_{pixels}.bin`` of a set of pairs, each with its manifest.

    An image is degraded in the same way wherever it occurs. Images that are not degraded keep their bytes, degraded
    ones are PNG files of 112 pixels. The people of the pairs are kept where a file names them. Sets that are there from
    the same source and options stay: an interrupted call resumes with the next one.

    Args:
        source: Set of pairs.
        out: Folder.
        options: Options.

    Raises:
        InputError: The source is malformed, a size is not within 1..111, or another file stands at a set's place.
    """
    for pixels in options.pixels:
        if not 1 <= pixels < TEMPLATE_SIZE:
            raise InputError(f"{pixels} pixels", where="--pixels", expected=f"1 to {TEMPLATE_SIZE - 1}")
    read = read_pairs(source)
    rows, origin = read_pair_rows(source, read.same), data_hash(source)
    kinds = [(sides, pixels) for sides in dict.fromkeys(options.sides) for pixels in dict.fromkeys(options.pixels)]
    places = [out / f"{source.stem}_{sides}_{pixels}.bin" for sides, pixels in kinds]
    for place in places:
        refuse_other_file(place)
    done = []
    for (sides, pixels), place in zip(kinds, places, strict=True):
        how: dict[str, Any] = {"degradation": options.degradation, "pixels": pixels, "sides": sides}
        how |= {"seed": options.seed} if options.degradation == "surveillance" else {}
        identity = {"degraded": how, "source": origin, "semantics": _SEMANTICS}
        made = not _is_there(place, identity)
        if made:
            degraded = Pairs(_degraded(read, source, sides, pixels, options), read.same)
            manifest_path(place).unlink(missing_ok=True)
            write_pairs(place, degraded)
            beside = []
            if rows is not None:
                write_pair_people(place, rows)
                beside.append(people_path(place).name)
            counts = {"pairs": len(read.same)}
            write_manifest(place, name=place.stem, kind="pairs", identity=identity, counts=counts, beside=beside)
        done.append(DegradedSet(place, len(read.same), made))
    return done


def _is_there(place: Path, identity: dict[str, Any]) -> bool:
    if not place.exists():
        return False
    try:
        return bool(read_manifest(place)["identity"] == identity)
    except InputError:  # interrupted between its files
        return False


def _degraded(pairs: Pairs, source: Path, sides: Sides, pixels: int, options: DegradeOptions) -> list[bytes]:
    """Images of the degraded set in order."""
    numbers: dict[bytes, int] = {}
    for image in pairs.images:
        numbers.setdefault(image, len(numbers))
    first = {number: place for place, number in reversed([*enumerate(map(numbers.__getitem__, pairs.images))])}
    step = 1 if sides == "lr-lr" else 2
    places = range(0 if sides == "lr-lr" else 1, len(pairs.images), step)
    wanted = list(dict.fromkeys(numbers[pairs.images[place]] for place in places))

    def make(number: int) -> bytes:
        face = pair_face(pairs.images[first[number]], source, first[number], TEMPLATE_SIZE)[None]
        if options.degradation == "downsample":
            return encode_png(downsample(face, pixels)[0])
        rng = np.random.default_rng([options.seed, _DEGRADING, pixels, number])
        return encode_png(surveillance(face, pixels, rng)[0])

    made: dict[int, bytes] = {}
    with ThreadPoolExecutor(thread_name_prefix="degrade") as pool:
        for begin in track(range(0, len(wanted), _AT_ONCE), f"{sides} {pixels}"):
            part = wanted[begin : begin + _AT_ONCE]
            made.update(zip(part, pool.map(make, part), strict=True))
    images = list(pairs.images)
    for place in places:
        images[place] = made[numbers[images[place]]]
    return images
