"""Encoded images: JPEG by libjpeg-turbo, everything else by OpenCV; RGB, never rotated by what EXIF says."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from aroface.errors import InputError

Pixels = npt.NDArray[np.uint8]

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


def decode(data: bytes) -> Pixels:
    """The pixels of an encoded image, uint8 (H, W, 3), RGB.

    Raises:
        ValueError: the bytes are no image, or not a whole one.
    """
    if data.startswith(JPEG_START):
        return np.asarray(simplejpeg.decode_jpeg(data, "RGB"))
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if image is None:
        raise ValueError("the bytes are no image")
    return np.asarray(image, np.uint8)


def encode_jpeg(image: Pixels, quality: int) -> bytes:
    """A JPEG of an RGB image with the chroma subsampling (4:2:0) that face data sets have."""
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, "RGB", "420"))


def read_image(path: Path) -> Pixels:
    """The pixels of an image file, uint8 (H, W, 3), RGB.

    Raises:
        InputError: the file is missing or is no whole image.
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
        ValueError: the image is not square, so that a face in it would be distorted.
    """
    height, width = image.shape[:2]
    if height != width:
        raise ValueError(f"the image has {width}×{height} pixels, a face crop is square")
    if height == size:
        return image
    interpolation = cv2.INTER_AREA if height > size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (size, size), interpolation=interpolation), np.uint8)
