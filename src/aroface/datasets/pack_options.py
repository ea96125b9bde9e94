"""What a folder of photographs is packed into, and the identities that follow before anything is packed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from aroface.datasets.hashes import FileHashes
from aroface.datasets.manifest import listing_hash
from aroface.errors import InputError
from aroface.files import sha256_file
from aroface.schemas import validate

Part = Literal["train", "pairs", "pairs_lq", "tinyface"]

SEMANTICS = 1
"""Raised by hand whenever the same folder and options give another result than before."""

_SPLIT = ("seed", "test_fraction", "singletons", "jpeg_quality")
_PAIRS = (*_SPLIT, "pairs", "folds")
_MATTERS: dict[Part, tuple[str, ...]] = {
    "train": (*_SPLIT, "min_images"),
    "pairs": _PAIRS,
    "pairs_lq": (*_PAIRS, "degradation", "resolution", "alignment", "which"),
    "tinyface": (*_SPLIT, "probe_resolution", "probe_alignment", "gallery_per_identity", "probes_per_identity"),
}


@dataclass(frozen=True, slots=True)
class PackOptions:
    """How a folder is packed.

    Attributes:
        landmarks: CSV of five landmarks an image, by which raw images are aligned; None: they are aligned crops.
        seed: of every random choice.
        test_fraction: of the people with two images or more, 0 … 1; the others are trained on.
        min_images: of a person who is trained on.
        singletons: what people with one image are: an error, or distractors.
        jpeg_quality: of images that cannot be taken as they are.
        pairs: at most, half of them genuine; fewer where the people tested have fewer images.
        folds: that the pairs come in.
        degradation: of the pairs of low quality.
        resolution: smallest and largest width in pixels that they are reduced to.
        alignment: their errors, as ``generate.schema.json`` describes them.
        which: of their images lose quality.
        probe_resolution: width in pixels that the probes of the TinyFace-like set are downsampled to.
        probe_alignment: errors of these probes.
        gallery_per_identity: at most.
        probes_per_identity: at most; never more than half of a person's images.
    """

    landmarks: str | None = None
    seed: int = 0
    test_fraction: float = 0.2
    min_images: int = 2
    singletons: Literal["error", "distractors"] = "error"
    jpeg_quality: int = 95
    pairs: int = 6000
    folds: int = 10
    degradation: Literal["none", "downsample", "surveillance"] = "surveillance"
    resolution: tuple[int, int] = (14, 24)
    alignment: Literal["exact"] | Mapping[str, Any] = "exact"
    which: Literal["second", "both"] = "second"
    probe_resolution: int = 20
    probe_alignment: Literal["exact"] | Mapping[str, Any] = "exact"
    gallery_per_identity: int = 3
    probes_per_identity: int = 3

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any], *, file: str | PathLike[str] | None = None) -> PackOptions:
        """Options as a configuration or the command line has them, the others as they are by default.

        Args:
            options: by name; ``landmarks`` may be a path.
            file: named in messages.

        Raises:
            InputError: a name is unknown or a value is out of range.
        """
        plain: dict[str, Any] = {
            name: str(value) if isinstance(value, Path) else value for name, value in options.items()
        }
        validate({"pack": plain}, "generate", file=file)
        if "resolution" in plain:
            low, high = plain["resolution"] = tuple(plain["resolution"])
            if low > high:
                raise InputError(f"the resolution {low}, {high} ends below its start", file=file, record="pack")
        return cls(**plain)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is made."""
        train: tuple[Part, ...] = ("train",) if self.test_fraction < 1 else ()
        return (*train, "pairs", "pairs_lq", "tinyface") if self.test_fraction > 0 else train

    def alignment_of(self, part: Part) -> str | Mapping[str, Any]:
        """The errors of alignment in a part; see ``generate.schema.json``."""
        return {"pairs_lq": self.alignment, "tinyface": self.probe_alignment}.get(part, "exact")


def packed_identities(
    folder: Path, options: PackOptions, hashes: FileHashes | None = None
) -> dict[str, dict[str, Any]]:
    """The manifests' identities of the parts of a package and, as ``all``, of the whole; it reads the folder once.

    A part's identity has only the options that matter to it: another probe resolution makes no training stale.

    Args:
        folder: of photographs.
        options: how it is packed.
        hashes: of its files, as far as they are remembered.

    Raises:
        InputError: there is no such folder or landmarks file.
    """
    listing = listing_hash(folder, hashes)
    chosen: dict[str, Any] = {**asdict(options), "landmarks": _landmarks_hash(options)}
    identities = {}
    for part in options.parts:
        matters = {name: chosen[name] for name in ("landmarks", *_MATTERS[part])}
        identities[str(part)] = _identity(part, matters, listing)
    return {**identities, "all": _identity("all", chosen, listing)}


def _identity(part: str, options: Mapping[str, Any], listing: str) -> dict[str, Any]:
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
    return {"packed": part, "options": plain, "listing": listing, "semantics": SEMANTICS}


def _landmarks_hash(options: PackOptions) -> str | None:
    if options.landmarks is None:
        return None
    if not Path(options.landmarks).is_file():
        raise InputError("no such file", file=options.landmarks)
    return sha256_file(options.landmarks)
