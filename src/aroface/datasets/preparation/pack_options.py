"""Options of packing a folder of photographs, and the identities that follow before anything is packed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from aroface.datasets.corrupt_images import OnCorrupt
from aroface.datasets.hashes import FileHashes
from aroface.datasets.image_formats import SUFFIXES
from aroface.datasets.manifest import listing_hash
from aroface.datasets.orientation import UPRIGHT, orientation_of
from aroface.datasets.preparation.detector_names import detector_identity
from aroface.datasets.preparation.person_folders import MAX_LEFT_OUT, LostPeople, PersonFolders, find_people
from aroface.errors import InputError
from aroface.files import refuse_special, sha256_file
from aroface.omissions import Omissions
from aroface.schemas import validate

MAX_SUSPECT = 0.02
"""Share of the images with implausible landmarks above which they are refused by default."""

Part = Literal["train", "pairs", "pairs_lq", "tinyface"]

Orientation = Literal["exif", "stored"]
"""The frame of landmarks: the photograph as viewers and ``cv2.imread`` show it, or its pixels as they are stored."""

SEMANTICS = 1
"""Raised by hand whenever the same folder and options give another result than before."""

_DETECTION = 1  # raised when a detector's faces are placed or cut otherwise
_MORE_IMAGES = 2  # in place of `SEMANTICS`, where the folder holds images that the first rules left out
_ALLOWANCES = ("on_corrupt", "max_left_out", "lost_people", "resize_crops", "max_suspect_landmarks")
"""Options that make a set of a folder that would be refused, and never another set: they are no part of an identity."""
_FRAMES = (
    "people_depth",
    "orientation",
    "detector",
    "threshold",
)  # part of an identity only where they are chosen or act
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
    """Options of packing a folder.

    Attributes:
        landmarks: CSV of five landmarks an image, by which raw images are aligned; None: they are aligned crops.
        detector: Detector that finds the landmarks in place of a CSV: a key of the registry, ``mtcnn``, or a path.
        threshold: Lowest score of its faces; None for that of its authors.
        seed: Seed of every random choice.
        test_fraction: Fraction of the people with two images or more who are tested, 0 … 1; the others are trained on.
        min_images: Least number of images of a person who is trained on.
        singletons: Treatment of people with one image: an error, or distractors.
        jpeg_quality: Quality of JPEGs that are encoded anew.
        pairs: Largest number of pairs, half of them genuine; fewer where the people tested have fewer images.
        folds: Number of folds of the pairs.
        degradation: Degradation of the pairs of low quality.
        resolution: Smallest and largest width in pixels that they are reduced to.
        alignment: Alignment errors of these pairs, as ``generate.schema.json`` describes them.
        which: Images of a pair that lose quality.
        probe_resolution: Width in pixels that the probes of the TinyFace-like set are downsampled to.
        probe_alignment: Alignment errors of these probes.
        gallery_per_identity: Largest number of gallery images of a person.
        probes_per_identity: Largest number of probes of a person; never more than half of a person's images.
        people_depth: Number of folders down to a person's, where it is not found by itself.
        orientation: Frame of the landmarks: photographs as they are shown (``exif``) or as they are stored.
        resize_crops: True if square images of any size are taken for aligned crops.
        on_corrupt: Treatment of an image that cannot be decoded: an error, or it is left out.
        max_left_out: Share of the images that may be left out, 0 … 1.
        lost_people: Treatment of people of whom no image is left: an error, or they are left out.
        max_suspect_landmarks: Share of the images whose landmarks may be implausible, 0 … 1.
    """

    landmarks: str | None = None
    detector: str | None = None
    threshold: float | None = None
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
    people_depth: int | None = None
    orientation: Orientation = "exif"
    resize_crops: bool = False
    on_corrupt: OnCorrupt = "error"
    max_left_out: float = MAX_LEFT_OUT
    lost_people: LostPeople = "error"
    max_suspect_landmarks: float = MAX_SUSPECT

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any], *, file: str | PathLike[str] | None = None) -> PackOptions:
        """Options as a configuration or the command line has them, the others as they are by default.

        Args:
            options: Options by name; ``landmarks`` may be a path.
            file: Origin of the options, for messages.

        Raises:
            InputError: A name is unknown or a value is out of range.
        """
        plain: dict[str, Any] = {
            name: str(value) if isinstance(value, Path) else value for name, value in options.items()
        }
        validate({"pack": plain}, "generate", file=file)
        if "resolution" in plain:
            low, high = plain["resolution"] = tuple(plain["resolution"])
            if low > high:
                raise InputError(f"the resolution {low}, {high} ends below its start", file=file, where="pack")
        if plain.get("detector") is not None and plain.get("landmarks") is not None:
            raise InputError("landmarks and a detector", file=file, where="pack", expected="one of the two")
        if plain.get("threshold") is not None and plain.get("detector") is None:
            raise InputError("threshold without a detector", file=file, where="pack", remedy="leave it out")
        return cls(**plain)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Names of the parts that are made."""
        train: tuple[Part, ...] = ("train",) if self.test_fraction < 1 else ()
        return (*train, "pairs", "pairs_lq", "tinyface") if self.test_fraction > 0 else train

    def alignment_of(self, part: Part) -> str | Mapping[str, Any]:
        """Alignment errors of a part; see ``generate.schema.json``."""
        return {"pairs_lq": self.alignment, "tinyface": self.probe_alignment}.get(part, "exact")


def packed_identities(
    folder: Path, options: PackOptions, hashes: FileHashes | None = None
) -> dict[str, dict[str, Any]]:
    """The manifests' identities of the parts of a package and, as ``all``, of the whole; it reads the folder once.

    A part's identity has only the options that matter to it: another probe resolution makes no training stale.

    Args:
        folder: Folder of photographs.
        options: Options of packing.
        hashes: Remembered hashes of its files.

    Raises:
        InputError: There is no such folder or landmarks file, or it holds no people.
    """
    listing = listing_hash(folder, hashes)
    folders = find_people(folder, Omissions(), depth=options.people_depth, lost="omit")
    semantics = _MORE_IMAGES if _holds_more(folder, folders) else SEMANTICS
    frames = _frames(options, folders)
    chosen: dict[str, Any] = {**asdict(options), "landmarks": _landmarks_hash(options)}
    for name in (*_ALLOWANCES, *_FRAMES):
        del chosen[name]
    identities = {}
    for part in options.parts:
        matters = {name: chosen[name] for name in ("landmarks", *_MATTERS[part])} | frames
        identities[str(part)] = _identity(part, matters, listing, semantics)
    return {**identities, "all": _identity("all", chosen | frames, listing, semantics)}


def _holds_more(folder: Path, people: PersonFolders) -> bool:
    """Tell whether some images lie deeper than ``person/image`` or have an unusual ending."""
    paths = (path for paths in people.people.values() for path in paths)
    return any(len(path.relative_to(folder).parts) != 2 or path.suffix.lower() not in SUFFIXES for path in paths)


def _frames(options: PackOptions, people: PersonFolders) -> dict[str, Any]:
    """Depth of people's folders, if it is chosen, and frame of the landmarks, if any photograph is turned."""
    chosen: dict[str, Any] = {}
    if options.people_depth is not None:
        chosen["people_depth"] = options.people_depth
    if options.detector is not None:
        chosen["detector"] = {**detector_identity(options.detector), "semantics": _DETECTION}
        if options.threshold is not None:
            chosen["detector"]["threshold"] = options.threshold
    paths = (path for paths in people.people.values() for path in paths)
    turns = options.landmarks is not None and options.orientation == "exif"
    if turns and any(orientation_of(path) != UPRIGHT for path in paths):
        chosen["orientation"] = "exif"
    return chosen


def _identity(part: str, options: Mapping[str, Any], listing: str, semantics: int) -> dict[str, Any]:
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
    return {"packed": part, "options": plain, "listing": listing, "semantics": semantics}


def _landmarks_hash(options: PackOptions) -> str | None:
    if options.landmarks is None:
        return None
    refuse_special(options.landmarks)
    if not Path(options.landmarks).is_file():
        raise InputError("no such file", file=options.landmarks)
    return sha256_file(options.landmarks)
