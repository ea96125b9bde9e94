"""Encoded images: JPEG by libjpeg-turbo, everything else by OpenCV; RGB, never rotated by EXIF."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from aroface.datasets.image_size import JPEG_START as JPEG_START
from aroface.datasets.image_size import PNG_START as PNG_START
from aroface.datasets.image_size import image_size
from aroface.datasets.png import without_remarks
from aroface.errors import InputError

Pixels = npt.NDArray[np.uint8]

CROP_PIXELS = 16_000_000
"""Most pixels of an image in a record or a pair file, which hold aligned faces."""

PHOTOGRAPH_MEGAPIXELS = 100.0
"""Most pixels of an image file, which may be a photograph, in millions."""


@dataclass(slots=True)
class _Limit:
    """Limit of image files: number of pixels, and the option that set it, for messages."""

    pixels: int = int(PHOTOGRAPH_MEGAPIXELS * 1e6)
    option: str = ""


_limit = _Limit()

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # errors about images are reported in one line


def allow_megapixels(megapixels: float, option: str = "--max-megapixels") -> None:
    """Set the limit of image files for the rest of this process.

    Args:
        megapixels: Millions of pixels; decoding takes three bytes for each.
        option: Option by which the user can raise it, for messages; empty where there is none.
    """
    _limit.pixels, _limit.option = int(megapixels * 1e6), option


def decode(data: bytes, max_pixels: int | None = None) -> Pixels:
    """The pixels of an encoded image, uint8 (H, W, 3), RGB.

    Args:
        data: Encoded image.
        max_pixels: Number of pixels beyond which it is refused before anything is allocated; None takes that of image
            files, see `allow_megapixels`.

    Raises:
        ValueError: The bytes are no image, not a whole one, or one of more pixels.
    """
    if max_pixels is None:
        check_pixels(data, _limit.pixels, _limit.option)
    else:
        check_pixels(data, max_pixels)
    try:
        if data.startswith(JPEG_START):
            return np.asarray(simplejpeg.decode_jpeg(data, "RGB"))
        if data.startswith(PNG_START):
            data = without_remarks(data) or b""
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (cv2.error, MemoryError):
        image = None
    if image is None:
        raise ValueError("the bytes are no image")
    return np.asarray(image, np.uint8)


def check_pixels(data: bytes, max_pixels: int, option: str = "") -> None:
    """Look at an image's header, and refuse more pixels than allowed.

    Args:
        data: Encoded image.
        max_pixels: Largest number of pixels.
        option: Option that sets it, for the message.

    Raises:
        ValueError: The bytes are no image, or one of more pixels.
    """
    width, height = image_size(data)
    if width * height > max_pixels:
        limit = f"{max_pixels / 1e6:,.4g} megapixels" + (f": see {option}" if option else "")
        raise ValueError(f"{width}×{height} pixels, more than {limit}")


def encode_jpeg(image: Pixels, quality: int) -> bytes:
    """A JPEG of an RGB image with the chroma subsampling (4:2:0) that face data sets have."""
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, "RGB", "420"))


def encode_png(image: Pixels) -> bytes:
    """A PNG of an RGB image."""
    return bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1])


def read_image(path: Path) -> Pixels:
    """The pixels of an image file, uint8 (H, W, 3), RGB.

    Raises:
        InputError: The file is missing, is no whole image, or one of more pixels than allowed.
    """
    try:
        return decode(path.read_bytes())
    except FileNotFoundError:
        raise InputError("no such file", file=path) from None
    except ValueError as error:
        raise InputError(f"cannot be read as an image ({error})", file=path) from None


def resize_square(image: Pixels, size: int) -> Pixels:
    """A square image at ``size`` × ``size`` pixels: averaged when it shrinks, bicubic when it grows.

    Raises:
        ValueError: The image is not square, so that a face in it would be distorted.
    """
    height, width = image.shape[:2]
    if height != width:
        raise ValueError(f"the image has {width}×{height} pixels, a face crop is square")
    if height == size:
        return image
    interpolation = cv2.INTER_AREA if height > size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (size, size), interpolation=interpolation), np.uint8)


def letterbox(image: Pixels, size: int) -> Pixels:
    """Put an image of any shape (H, W, 3) in the middle of a white square of ``size`` × ``size`` pixels."""
    height, width = image.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = image
    return resize_square(square, size)
