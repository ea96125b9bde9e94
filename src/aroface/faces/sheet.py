"""Contact sheets: many small images on one, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import cv2
import numpy as np
import numpy.typing as npt

from aroface.files import write_bytes

_PAPER, _INK = 255, (40, 40, 40)
_LABEL_HEIGHT = 14


def contact_sheet(
    images: npt.ArrayLike,
    columns: int | None = None,
    labels: Sequence[str] | None = None,
    gap: int = 2,
) -> npt.NDArray[np.uint8]:
    """Lay images out in rows on white.

    Args:
        images: Images, uint8 (N, H, W, 3), N >= 1.
        columns: Number of images in a row; by default that of a nearly square sheet.
        labels: Labels, one short ASCII text for each image, printed below it.
        gap: Gap of white pixels between images and around them.

    Returns:
        The sheet, uint8 (height, width, 3); places that the last row leaves over stay white.

    Raises:
        ValueError: No images, or labels that are not one for each image.
    """
    tiles = np.asarray(images, np.uint8)
    if tiles.ndim != 4 or len(tiles) == 0:
        raise ValueError(f"images of shape {tiles.shape}, expected (N, H, W, 3) with N >= 1")
    if labels is not None and len(labels) != len(tiles):
        raise ValueError(f"{len(labels)} labels for {len(tiles)} images")
    count, height, width, channels = tiles.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    step_y = height + gap + (_LABEL_HEIGHT if labels is not None else 0)
    step_x = width + gap
    sheet = np.full((rows * step_y + gap, columns * step_x + gap, channels), _PAPER, np.uint8)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        top, left = gap + row * step_y, gap + column * step_x
        sheet[top : top + height, left : left + width] = tile
        if labels is not None:
            _write(sheet[top + height : top + height + _LABEL_HEIGHT, left : left + width], labels[index])
    return sheet


def write_sheet(path: str | PathLike[str], sheet: npt.NDArray[np.uint8]) -> None:
    """Write an RGB sheet (H, W, 3) as a PNG file, atomically."""
    _, encoded = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    write_bytes(path, encoded.tobytes())


def _write(strip: npt.NDArray[np.uint8], text: str) -> None:
    """Print ``text`` into a strip of the sheet, made smaller where it would not fit."""
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.38
    (width, _), _ = cv2.getTextSize(text, font, size, 1)
    size *= min(1.0, (strip.shape[1] - 2) / max(width, 1))
    canvas = np.ascontiguousarray(strip)
    cv2.putText(canvas, text, (1, _LABEL_HEIGHT - 4), font, size, _INK, 1, cv2.LINE_AA)
    strip[:] = canvas
