"""Light on the skull and its relief."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from aroface.faces.portrait.relief import Relief
from aroface.faces.portrait.shapes import SKULL_Y, Floats
from aroface.faces.portrait.traits import Nuisances

_BALL = (45.0, 66.0)
"""Half-axes of the ellipsoid that is lit: wider than the skull, for cheeks are flatter than a ball."""


class Lights:
    """Light for a batch of faces, worked out on a grid of half the resolution: light on skin is smooth.

    A Gaussian bump's exponent is a quadratic form of the pixel, and its slope is linear in the pixel times the bump
    itself; so each face costs two small matrix products and one exponential.

    Args:
        relief: K bumps of N faces.
        how: Circumstances of the images.
        camera: (N, 2, 4), from the frame of the head to pixels.
        view: (N, 2, 3), from the photograph (turned head, not aligned yet) to pixels; the light turns with it.
        size: Width and height in pixels.
    """

    def __init__(self, relief: Relief, how: Nuisances, camera: Floats, view: Floats, size: int) -> None:
        self.size, self.how = size, how
        self.half = (size + 1) // 2
        self.unit = size / 2
        axis = ((np.arange(self.half) * 2 + 0.5 - (size - 1) / 2) / self.unit).astype(np.float32)
        self.x, self.y = (grid.ravel() for grid in np.meshgrid(axis, axis))
        self.monomials = np.stack([self.x**2, self.x * self.y, self.y**2, self.x, self.y, np.ones_like(self.x)])
        self.exponents, self.mixture = self._coefficients(relief, camera)
        scale = np.sqrt(np.abs(np.linalg.det(camera[:, :, :2]))) / self.unit
        self.axes = (scale[:, None] * _BALL).astype(np.float32)
        self.centre = self._on_grid(np.broadcast_to([0.0, SKULL_Y + 2, 0.0], (len(camera), 1, 3)), camera)[:, 0].astype(
            np.float32
        )
        turn = view[:, :, :2] / np.sqrt(np.abs(np.linalg.det(view[:, :, :2])))[:, None, None]
        planar = (turn @ how.light[:, :2, None])[:, :, 0]
        self.light = np.concatenate([planar, how.light[:, 2:]], axis=1).astype(np.float32)

    def _on_grid(self, points: Floats, camera: Floats) -> Floats:
        pixels = points @ np.swapaxes(camera[:, :, :3], 1, 2) + camera[:, None, :, 3]
        return (pixels - (self.size - 1) / 2) / self.unit

    def _coefficients(self, relief: Relief, camera: Floats) -> tuple[Floats, Floats]:
        """Exponents over the monomials (N, K, 6); what bumps add to height, slopes and tint (N, 10, K)."""
        plane = camera[:, :, :2] / self.unit
        inverse = np.linalg.inv(plane)
        xx, xy, yy = np.moveaxis(relief.precision, 2, 0)
        form = np.stack([xx, xy, xy, yy], axis=-1).reshape(*xx.shape, 2, 2)
        form = np.swapaxes(inverse, 1, 2)[:, None] @ form @ inverse[:, None]
        a, b, c = form[..., 0, 0], form[..., 0, 1], form[..., 1, 1]
        x, y = np.moveaxis(self._on_grid(relief.centre, camera), 2, 0)
        ax_by, bx_cy = a * x + b * y, b * x + c * y
        exponents = np.stack([a, 2 * b, c, -2 * ax_by, -2 * bx_cy, ax_by * x + bx_cy * y], axis=-1) * -0.5
        high = relief.height * np.sqrt(np.abs(np.linalg.det(plane)))[:, None]
        slopes = [-high * a, -high * b, high * ax_by, -high * b, -high * c, high * bx_cy]
        mixture = np.stack([relief.height, *slopes, *np.moveaxis(relief.tint, 2, 0)], axis=1)
        return exponents.astype(np.float32), mixture.astype(np.float32)

    def on(self, i: int) -> npt.NDArray[np.float32]:
        """Light on the skin of face ``i`` relative to even light, in red, green and blue: (3, size, size)."""
        bumps = np.exp(self.exponents[i] @ self.monomials)
        height, xx, xy, x1, yx, yy, y1, *tint = self.mixture[i] @ bumps
        out_x = (self.x - self.centre[i, 0]) / self.axes[i, 0]
        out_y = (self.y - self.centre[i, 1]) / self.axes[i, 1]
        out_z = np.sqrt(np.maximum(1 - out_x * out_x - out_y * out_y, 0.04))
        slope_x = out_x / out_z - (xx * self.x + xy * self.y + x1)
        slope_y = 0.7 * out_y / out_z - (yx * self.x + yy * self.y + y1)
        length = 1 / np.sqrt(slope_x * slope_x + slope_y * slope_y + 1)
        light_x, light_y, light_z = self.light[i]
        facing = slope_x * light_x + slope_y * light_y + light_z
        diffuse = np.maximum(facing * length, 0)
        halfway = np.maximum((facing + 1) * length / np.sqrt(2 + 2 * light_z), 0)
        eighth = np.square(np.square(np.square(halfway)))
        shine = 0.10 * eighth * eighth * eighth
        ambient = self.how.ambient[i]
        hollow = np.clip(1 + 0.045 * height, 0.6, 1.15) * (0.75 + 0.25 * out_z)
        light = ambient * hollow + (1.18 - 0.72 * ambient) * diffuse
        lit = np.empty((3, self.size, self.size), np.float32)
        for plane, change in zip(lit, tint, strict=True):
            small = ((1 + change) * light + shine).reshape(self.half, self.half)
            large = cv2.resize(small, (2 * self.half, 2 * self.half), interpolation=cv2.INTER_LINEAR)
            plane[:] = large[: self.size, : self.size]
        return lit
