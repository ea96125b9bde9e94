"""Low quality: few pixels, blur, noise and compression; and the alignment errors that come with it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from scipy.special import ndtr

from aroface.errors import InputError
from aroface.faces.geometry import similarity_matrix

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

_MEASURED_AT = (14, 18, 24, 32, 48, 112)
_SCALE_SD = (0.0425, 0.0309, 0.0212, 0.0142, 0.0083, 0.0057)
_DEGREES_SD = (2.33, 1.82, 1.30, 0.90, 0.53, 0.36)
_SHIFT_SD = (0.0133, 0.0096, 0.0066, 0.0044, 0.0025, 0.0015)

_KERNEL_RADIUS = 5


def _check_degrees_of_freedom(value: float) -> None:
    if not value > 2:
        raise InputError(
            f"{value} degrees of freedom", expected="more than 2, or the errors have no standard deviation"
        )


@dataclass(frozen=True, slots=True)
class AlignmentErrorModel:
    """Distribution of a detector's alignment errors, growing as the resolution falls.

    The standard deviations were measured with SCRFD-2.5G on 2,400 faces of LFW, which it found again after they were
    downsampled to 112, 48, 32, 24, 18 and 14 pixels; between these they are interpolated over the logarithm of the
    resolution, beyond them they stay as at the nearest.

    Attributes:
        name: Name in records.
        tail: Factor of all standard deviations; older detectors err more.
        degrees_of_freedom: Degrees of freedom of the Student t distribution that the errors follow at these standard
            deviations, > 2. All errors of one face share its heavy tail: a failing detector is wrong in every respect.
            Infinite: Gaussian.
    """

    name: str
    tail: float = 1.0
    degrees_of_freedom: float = inf

    def __post_init__(self) -> None:
        if not (isfinite(self.tail) and self.tail >= 0):
            raise InputError(f"tail {self.tail} of alignment error model {self.name!r}", expected="a number >= 0")
        _check_degrees_of_freedom(self.degrees_of_freedom)

    def sds(self, resolution: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Standard deviations of scale (relative), rotation (degrees) and shift (fraction of the width, each axis).

        Args:
            resolution: Resolution of the face crops in pixels, (N,).

        Returns:
            Three arrays (N,).
        """
        log_resolution = np.log(np.atleast_1d(np.asarray(resolution, np.float64)))
        known = np.log(_MEASURED_AT)
        scale, degrees, shift = (
            self.tail * np.interp(log_resolution, known, measured) for measured in (_SCALE_SD, _DEGREES_SD, _SHIFT_SD)
        )
        return scale, degrees, shift

    def sample(self, resolution: npt.ArrayLike, rng: np.random.Generator, size: int = 112) -> Floats:
        """Draw one alignment error a face.

        Args:
            resolution: Resolution of the face crops in pixels, (N,).
            rng: Generator of the random choices.
            size: Width and height of the aligned frame in pixels.

        Returns:
            Similarities (N, 2, 3) from the aligned to the erroneous frame.
        """
        scale, degrees, shift = self.sds(resolution)
        error = rng.standard_normal((len(scale), 4)) * _tails(len(scale), self.degrees_of_freedom, rng)[:, None]
        return similarity_matrix(
            np.exp(scale * error[:, 0]), degrees * error[:, 1], shift * error[:, 2], shift * error[:, 3], size
        )


ALIGNMENT_ERRORS = MappingProxyType(
    {
        model.name: model
        for model in (
            AlignmentErrorModel("scrfd"),
            AlignmentErrorModel("older", tail=2.0, degrees_of_freedom=3.0),
        )
    }
)
"""Models by name: the detector that was measured, and an older one that errs twice as much and at times fails."""


def landmark_noise(
    landmarks: npt.ArrayLike,
    sd_px: npt.ArrayLike,
    rng: np.random.Generator,
    degrees_of_freedom: float = inf,
) -> npt.NDArray[np.float32]:
    """Landmarks as a failing detector finds them: each is off by itself, all of one face by its heavy tail.

    Args:
        landmarks: (N, 5, 2) in pixels.
        sd_px: Standard deviation of each coordinate in pixels, one for all or (N,).
        rng: Generator of the random choices.
        degrees_of_freedom: Degrees of freedom of a Student t distribution with this standard deviation, > 2; infinite
            for a Gaussian.

    Returns:
        float32 (N, 5, 2).
    """
    _check_degrees_of_freedom(degrees_of_freedom)
    exact = np.asarray(landmarks, np.float64)
    sd = np.broadcast_to(np.asarray(sd_px, np.float64), len(exact)) * _tails(len(exact), degrees_of_freedom, rng)
    return np.asarray(exact + sd[:, None, None] * rng.standard_normal(exact.shape), np.float32)


def downsample(images: Images, resolution: npt.ArrayLike) -> Images:
    """Reduce images to a width of ``resolution`` pixels by area averaging, and enlarge them again bicubically.

    Args:
        images: Images, uint8 (N, H, W, 3).
        resolution: 1..W, one for all or (N,).

    Returns:
        uint8 (N, H, W, 3).

    Raises:
        InputError: A resolution is not within 1..W.
    """
    out = np.empty_like(images)
    for image, width, target in zip(images, _widths(images, resolution), out, strict=True):
        target[:] = _enlarge(_reduce(image, width), image, cv2.INTER_CUBIC)
    return out


def surveillance(images: Images, resolution: npt.ArrayLike, rng: np.random.Generator) -> Images:
    """Faces as a surveillance camera records them, enlarged to the size they came in.

    In the order of a real camera: defocus and motion blur the scene, the sensor has few pixels and adds noise (more in
    the light), the recording is JPEG compressed, and whoever looks at it enlarges it, bicubically or bilinearly.

    Args:
        images: Images, uint8 (N, H, W, 3).
        resolution: Width of the face on the sensor in pixels, 1..W, one for all or (N,).
        rng: Generator of the random choices.

    Returns:
        uint8 (N, H, W, 3).

    Raises:
        InputError: A resolution is not within 1..W.
    """
    count = len(images)
    widths = _widths(images, resolution)
    defocus, motion = rng.uniform(0.15, 0.45, count), rng.gamma(1.0, 0.35, count).clip(max=2.0)
    kernels = _blur_kernels(2 * defocus, 2 * motion, rng.uniform(0, np.pi, count))
    read_noise, photon_noise = rng.uniform(1.0, 5.0, count), rng.uniform(0.05, 0.4, count)
    quality = rng.integers(35, 86, count)
    bicubic = rng.random(count) < 0.5
    out = np.empty_like(images)
    for i, image in enumerate(images):
        blurred = cv2.filter2D(_reduce(image, min(2 * widths[i], image.shape[1])), -1, kernels[i])
        seen = _reduce(np.asarray(blurred, np.uint8), widths[i]).astype(np.float64)
        sd = np.sqrt(read_noise[i] ** 2 + photon_noise[i] * seen)
        noisy = np.clip(np.rint(seen + sd * rng.standard_normal(seen.shape)), 0, 255).astype(np.uint8)
        encoded = simplejpeg.encode_jpeg(noisy, quality=int(quality[i]), colorsubsampling="420")
        recorded = simplejpeg.decode_jpeg(encoded)
        out[i] = _enlarge(recorded, image, cv2.INTER_CUBIC if bicubic[i] else cv2.INTER_LINEAR)
    return out


def _widths(images: Images, resolution: npt.ArrayLike) -> list[int]:
    """The resolution of each image, checked."""
    widths = np.broadcast_to(np.asarray(resolution), len(images))
    if ((widths < 1) | (widths > images.shape[2])).any():
        raise InputError(
            f"resolution {widths.min()}..{widths.max()} of images {images.shape[2]} pixels wide",
            expected=f"1..{images.shape[2]}",
        )
    return [int(width) for width in widths]


def _reduce(image: Images, width: int) -> Images:
    if width == image.shape[1]:
        return image
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _enlarge(small: Images, like: Images, interpolation: int) -> Images:
    return np.asarray(cv2.resize(small, (like.shape[1], like.shape[0]), interpolation=interpolation), np.uint8)


def _blur_kernels(sigma: Floats, length: Floats, angle: Floats) -> npt.NDArray[np.float32]:
    """A Gaussian smeared along a line, (N, K, K): the exact convolution of defocus and steady motion.

    Args:
        sigma: Standard deviation of the defocus in pixels, (N,).
        length: Length of the motion in pixels, (N,).
        angle: Angle of the motion in radians, (N,).
    """
    axis = np.arange(-_KERNEL_RADIUS, _KERNEL_RADIUS + 1.0)
    cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    along = axis * cosine + axis[:, None] * sine
    across = axis[:, None] * cosine - axis * sine
    spread, half = sigma[:, None, None], np.maximum(length, 1e-3)[:, None, None] / 2
    smear = ndtr((along + half) / spread) - ndtr((along - half) / spread)
    kernel = smear * np.exp(-0.5 * (across / spread) ** 2)
    return np.asarray(kernel / kernel.sum(axis=(1, 2), keepdims=True), np.float32)


def _tails(count: int, degrees_of_freedom: float, rng: np.random.Generator) -> Floats:
    """Factors (N,) that make Gaussian errors Student t distributed with the same standard deviation."""
    if degrees_of_freedom == inf:
        return np.ones(count)
    return np.asarray(np.sqrt((degrees_of_freedom - 2) / rng.chisquare(degrees_of_freedom, count)))
