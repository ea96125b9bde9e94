"""Frames of a video by number, decoded by OpenCV's own FFmpeg from front to back.

OpenCV is a dependency already and its wheels bring FFmpeg, so nothing more is installed. A video is never sought in:
what a seek lands on depends on its key frames, and a box belongs to one frame. Memory holds one frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from aroface.datasets.images import Pixels
from aroface.errors import InputError


def frames(path: Path, numbers: Iterable[int]) -> Iterator[tuple[int, Pixels]]:
    """Number and pixels of some frames, uint8 (H, W, 3), RGB, in ascending order; those beyond the end are left out.

    Frames are as they are stored: a video that declares a rotation is not turned, as boxes are of the stored frame.

    Args:
        path: Path of the video.
        numbers: Numbers of the frames, the first being 0.

    Raises:
        InputError: The file is missing, or is no video that FFmpeg reads.
    """
    yield from _decoded(path, iter(sorted(set(numbers))), turned=False)


def every(path: Path, step: int) -> Iterator[tuple[int, Pixels]]:
    """Number and pixels of each ``step``-th frame from the first on, uint8 (H, W, 3), RGB, turned as players show it.

    Args:
        path: Path of the video.
        step: Number of frames from one to the next, 1 or more.

    Raises:
        InputError: The file is missing, or is no video that FFmpeg reads.
    """
    yield from _decoded(path, itertools.count(0, step), turned=True)


def _decoded(path: Path, numbers: Iterator[int], *, turned: bool) -> Iterator[tuple[int, Pixels]]:
    """Frames by ascending numbers, until the video ends."""
    if not path.is_file():
        raise InputError("no such file", file=path)
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not video.isOpened():
            raise InputError("cannot be read as a video", file=path, expected="a format of FFmpeg, such as MP4 or AVI")
        video.set(cv2.CAP_PROP_ORIENTATION_AUTO, int(turned))
        position = 0
        for number in numbers:
            while position <= number:
                if not video.grab():
                    if position == 0:
                        raise InputError("the video has no frame that can be decoded", file=path)
                    return
                position += 1
            whole, frame = video.retrieve()
            if not whole:
                return
            yield number, np.ascontiguousarray(frame[:, :, ::-1])
    finally:
        video.release()
