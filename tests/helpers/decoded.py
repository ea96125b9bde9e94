"""Images of a set, decoded at once."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aroface.datasets.formats.pairs import pair_face
from aroface.datasets.images import Pixels


def decode_images(images: Sequence[bytes], size: int = 112) -> Pixels:
    """Encoded images as a network gets them, uint8 (N, size, size, 3), RGB."""
    return np.stack([pair_face(image, Path("images"), number, size) for number, image in enumerate(images)])
