"""Images of a benchmark as rows, with the labels that evaluation needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ImageSource:
    """The images of a benchmark as rows in a fixed order.

    Attributes:
        rows: Number of rows.
        images: (start, stop) to the images of these rows, uint8 (stop - start, size, size, 3), RGB; called from a
            thread of its own.
        arrays: Labels and the like, stored beside the features.
        layout: Meaning of the rows, where their order alone does not tell it; JSON.
    """

    rows: int
    images: Callable[[int, int], Images]
    arrays: Mapping[str, NDArray[Any]]
    layout: Mapping[str, Any] = field(default_factory=dict)
