"""Format of a data set on disk: recognition, files, identity, description and verification as one object.

A format is a module of this package with a subclass of `SetFormat`, and a line in
:data:`aroface.datasets.formats.registry.FORMATS`. A module imports OpenCV and pandas within its functions: a plan asks
for files and identities, and needs neither.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from aroface.omissions import KindSummary

COLUMNS, ROWS = 12, 6
"""Images in a row of a contact sheet, and rows of it."""

_IMAGE_COUNTS = ("images", "gallery", "probes", "distractors")

Pixels = npt.NDArray[np.uint8]


@dataclass(slots=True)
class Findings:
    """Results of reading a whole set.

    Attributes:
        counts: Numbers of what it holds, by name.
        failed: Failures by check; a set with one is not fit for use.
        noted: Results of the other checks, the unusual ones among them.
        corrupt: Images that cannot be used, each with its place and the reason.
        left_out: Summary of the images that the set's lists leave out.
        image_size: Width and height of an image in pixels, where no file of the set states it.
    """

    counts: dict[str, int]
    failed: dict[str, str] = field(default_factory=dict)
    noted: dict[str, str] = field(default_factory=dict)
    corrupt: list[str] = field(default_factory=list)
    left_out: dict[str, KindSummary] = field(default_factory=dict)
    image_size: tuple[int, int] | None = None


class SetFormat(ABC):
    """Interface of a data-set format.

    Attributes:
        kind: Name in manifests, configurations and requests of synthetic sets.
        layout: Layout in words, for the message about a path that no format matches.
        default_name: Name of the folder or file of a set that the workflow makes.
        corrupt_allowed: True if a set may have images that cannot be used, which its reader then skips.
    """

    kind: ClassVar[str]
    layout: ClassVar[str]
    default_name: ClassVar[str]
    corrupt_allowed: ClassVar[bool] = False

    @abstractmethod
    def matches(self, data: Path) -> bool:
        """Return whether a path, which need not exist, has the files by which the format is recognised."""

    @abstractmethod
    def files(self, data: Path) -> tuple[Path, list[str]]:
        """Folder, and names in it of the files and folders that a set consists of."""

    @abstractmethod
    def facts(self, data: Path) -> dict[str, object]:
        """Description of a set by name: integers and text.

        Raises:
            InputError: The set is malformed.
        """

    @abstractmethod
    def preview(self, data: Path) -> list[list[Pixels]]:
        """Rows of a contact sheet: at most `ROWS` rows of images, uint8 (`TEMPLATE_SIZE`, `TEMPLATE_SIZE`, 3), RGB.

        A row of more than `COLUMNS` images is broken into several.

        Raises:
            InputError: The set is malformed, or an image that is shown is damaged.
        """

    @abstractmethod
    def check(self, data: Path, threads: int) -> Findings:
        """Read the whole set: structure, labels, and every image as a network gets it.

        Args:
            data: Folder or file of the set.
            threads: Number of decoder threads.

        Raises:
            InputError: The structure is malformed; a damaged image is a finding, not an error.
        """

    def identity(self, data: Path) -> dict[str, Any]:
        """Identity of a set without a manifest, as in `aroface.datasets.manifest`: samples of its files.

        Raises:
            InputError: A file is missing.
        """
        from aroface.datasets.manifest import sample_identity

        return sample_identity(*self.files(data))

    def chosen(self, data: Path, options: Mapping[str, Any]) -> Path:
        """Part of a set that is the set of a benchmark with these options; all of it, but for a few layouts."""
        return data

    def image_count(self, counts: Mapping[str, int]) -> int:
        """Number of images of a set with these counts; 0 where they do not tell."""
        return sum(counts.get(name, 0) for name in _IMAGE_COUNTS)

    def requested_counts(self, spec: Mapping[str, Any]) -> dict[str, int]:
        """Counts of a synthetic set, as far as its complete specification tells them."""
        return {}
