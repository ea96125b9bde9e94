"""Synthetic faces: an identity and its circumstances in, an aligned photograph-like image and its landmarks out."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from aroface.faces import textures
from aroface.faces.anatomy import EYE_Y, SKULL, SKULL_Y, Anatomy, Relief, depth
from aroface.faces.geometry import TEMPLATE_SIZE, similarity, template, transform
from aroface.faces.population import Identities, Nuisances, sample_identities, sample_nuisances

__all__ = ["Identities", "Nuisances", "render", "sample_identities", "sample_nuisances"]

Floats = npt.NDArray[np.floating[Any]]

_CHUNK = 64
_SHIFT = 5


def render(
    identities: Identities,
    nuisances: Nuisances,
    size: int = TEMPLATE_SIZE,
    matrices: npt.ArrayLike | None = None,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Draw one face a row.

    Args:
        identities: who, N rows (select with ``identities[rows]``).
        nuisances: under which circumstances, N rows.
        size: width and height of the images in pixels.
        matrices: (N, 2, 3), from the aligned frame (``size`` pixels) to the output frame. Drawn exactly: the scene
            goes on beyond the aligned crop and nothing is resampled. Without them the faces come out aligned.

    Returns:
        Images uint8 (N, size, size, 3), RGB, and landmarks float32 (N, 5, 2) in their pixels.

    Raises:
        ValueError: the numbers of rows differ.
    """
    count = len(nuisances)
    extra = np.tile(np.eye(2, 3), (count, 1, 1)) if matrices is None else np.asarray(matrices, np.float64)
    if len(identities) != count or extra.shape != (count, 2, 3):
        raise ValueError(f"{len(identities)} identities, {count} nuisances, matrices of shape {extra.shape}")
    images = np.empty((count, size, size, 3), np.uint8)
    landmarks = np.empty((count, 5, 2), np.float32)
    for start in range(0, count, _CHUNK):
        rows = slice(start, start + _CHUNK)
        images[rows], landmarks[rows] = _render_chunk(identities[rows], nuisances[rows], size, extra[rows])
    return images, landmarks


def _rotation(how: Nuisances) -> Floats:
    """Head rotation (N, 3, 3): yaw, then pitch, then roll."""
    yaw, pitch, roll = (np.radians(angle.astype(np.float64)) for angle in (how.yaw, how.pitch, how.roll))
    zero, one = np.zeros(len(how)), np.ones(len(how))
    about_y = np.array([[np.cos(yaw), zero, np.sin(yaw)], [zero, one, zero], [-np.sin(yaw), zero, np.cos(yaw)]])
    about_x = np.array([[one, zero, zero], [zero, np.cos(pitch), -np.sin(pitch)], [zero, np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), zero], [np.sin(roll), np.cos(roll), zero], [zero, zero, one]])
    x, y, z = (np.moveaxis(matrix, 2, 0) for matrix in (about_x, about_y, about_z))
    return z @ x @ y


def _render_chunk(
    who: Identities, how: Nuisances, size: int, extra: Floats
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    anatomy = Anatomy(who, how)
    turn = _rotation(how)
    flat = anatomy.landmarks() @ np.swapaxes(turn, 1, 2)[:, :, :2]
    crop = similarity(flat, template(size))
    view = np.concatenate([extra[:, :, :2] @ crop[:, :, :2], extra[:, :, :2] @ crop[:, :, 2:] + extra[:, :, 2:]], axis=2)
    camera = np.concatenate([view[:, :, :2] @ turn[:, :2], view[:, :, 2:]], axis=2)
    lights = _Lights(anatomy.relief(), how, camera, view, size)
    outlines = _Outlines(anatomy, camera)
    images = np.empty((len(who), size, size, 3), np.uint8)
    for i in range(len(who)):
        canvas = _backdrop(how, i, view[i], size)
        outlines.paint(canvas, i)
        shade = lights.shade(i)
        shade *= _complexion(who, i, camera[i], size)[..., None]
        images[i] = _expose(canvas, shade, how, i)
    return images, transform(view, flat).astype(np.float32)


class _Outlines:
    """All shapes of a chunk in pixels, ready to be filled."""

    def __init__(self, anatomy: Anatomy, camera: Floats) -> None:
        self.items = []
        to_pixels = camera[:, :, :3].astype(np.float32)
        for shape in anatomy.shapes:
            points = shape.points.reshape(len(camera), -1, 3) @ np.swapaxes(to_pixels, 1, 2)
            points = (points + camera[:, None, :, 3].astype(np.float32)) * (1 << _SHIFT)
            fixed = np.rint(points).astype(np.int32).reshape(*shape.points.shape[:-1], 2)
            weight = np.full((len(camera), 1), 255 * shape.weight)
            colours = np.concatenate([shape.colour, weight], axis=1).tolist()
            self.items.append((fixed, colours, shape.visible.tolist(), fixed.ndim == 4))

    def paint(self, canvas: npt.NDArray[np.uint8], i: int) -> None:
        for points, colours, visible, strands in self.items:
            if not visible[i]:
                continue
            if strands:
                cv2.polylines(canvas, points[i], False, colours[i], 1, cv2.LINE_AA, _SHIFT)
            else:
                cv2.fillPoly(canvas, points[i][None], colours[i], cv2.LINE_AA, _SHIFT)


class _Lights:
    """Light on the skull and its bumps, evaluated on a grid of half resolution."""

    def __init__(self, relief: Relief, how: Nuisances, camera: Floats, view: Floats, size: int) -> None:
        self.size = size
        self.half = (size + 1) // 2
        axis = np.arange(self.half) * 2 + 0.5
        self.unit = size / 2
        grid_x, grid_y = np.meshgrid(axis, axis)
        self.x = ((grid_x - (size - 1) / 2) / self.unit).astype(np.float32).ravel()
        self.y = ((grid_y - (size - 1) / 2) / self.unit).astype(np.float32).ravel()
        self.monomials = np.stack([self.x**2, self.x * self.y, self.y**2, self.x, self.y, np.ones_like(self.x)])
        self.quadratic, self.mixture = self._coefficients(relief, camera)
        self.centre, self.axes = self._head(camera)
        turned = view[:, :, :2] / np.sqrt(np.abs(np.linalg.det(view[:, :, :2])))[:, None, None]
        planar = (turned @ how.light[:, :2, None])[:, :, 0]
        self.light = np.concatenate([planar, how.light[:, 2:]], axis=1).astype(np.float32)
        self.how = how

    def _coefficients(self, relief: Relief, camera: Floats) -> tuple[Floats, Floats]:
        """Exponents as quadratic forms of the grid (N, K, 6), and what the bumps add to slopes and tint (N, 10, K)."""
        plane = camera[:, :, :2] / self.unit
        inverse = np.linalg.inv(plane)
        xx, xy, yy = np.moveaxis(relief.precision, 2, 0)
        matrix = np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2)
        form = np.swapaxes(inverse, 1, 2)[:, None] @ matrix @ inverse[:, None]
        centre = (relief.centre @ np.swapaxes(camera[:, :, :3], 1, 2) + camera[:, None, :, 3] - (self.size - 1) / 2) / self.unit
        a, b, c = form[..., 0, 0], form[..., 0, 1], form[..., 1, 1]
        mx, my = centre[..., 0], centre[..., 1]
        quadratic = -0.5 * np.stack(
            [a, 2 * b, c, -2 * (a * mx + b * my), -2 * (b * mx + c * my), a * mx**2 + 2 * b * mx * my + c * my**2], axis=-1
        )
        scale = np.sqrt(np.abs(np.linalg.det(plane)))[:, None]
        height = relief.height * scale
        slope_x = [-height * a, -height * b, height * (a * mx + b * my)]
        slope_y = [-height * b, -height * c, height * (b * mx + c * my)]
        tint = np.moveaxis(relief.tint, 2, 0)
        mixture = np.stack([height / scale, *slope_x, *slope_y, *tint], axis=1)
        return quadratic.astype(np.float32), mixture.astype(np.float32)

    def _head(self, camera: Floats) -> tuple[Floats, Floats]:
        """Centre (N, 2) and half-axes (N,) × 2 of the skull's silhouette in grid units."""
        scale = np.sqrt(np.abs(np.linalg.det(camera[:, :, :2]))) / self.unit
        point = np.array([0.0, SKULL_Y + 2, 0.0])
        centre = (camera[:, :, :3] @ point + camera[:, :, 3] - (self.size - 1) / 2) / self.unit
        return centre.astype(np.float32), np.stack([scale * SKULL[0], scale * SKULL[1]], axis=1).astype(np.float32)

    def shade(self, i: int) -> npt.NDArray[np.float32]:
        """Light that falls on every pixel, relative to even light; (size, size, 3)."""
        bumps = np.exp(self.quadratic[i] @ self.monomials)
        height, xx, xy, x1, yx, yy, y1, *tint = self.mixture[i] @ bumps
        nx = (self.x - self.centre[i, 0]) / self.axes[i, 0]
        ny = (self.y - self.centre[i, 1]) / self.axes[i, 1]
        nz = np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0.04))
        gx = nx / nz - (xx * self.x + xy * self.y + x1)
        gy = 0.7 * ny / nz - (yx * self.x + yy * self.y + y1)
        length = 1 / np.sqrt(gx * gx + gy * gy + 1)
        lx, ly, lz = self.light[i]
        lambert = np.maximum((gx * lx + gy * ly + lz) * length, 0)
        shine = 0.10 * np.maximum((gx * lx + gy * ly + (lz + 1)) * length / np.sqrt(2 + 2 * lz + 1e-3), 0) ** 24
        ambient = float(self.how.ambient[i])
        occlusion = np.clip(1 + 0.045 * height, 0.6, 1.15) * (0.75 + 0.25 * nz)
        light = ambient * occlusion + (1.18 - 0.72 * ambient) * lambert
        shade = np.stack([(1 + channel) * light + shine for channel in tint], axis=-1)
        small = shade.reshape(self.half, self.half, 3)
        return cv2.resize(small, (2 * self.half, 2 * self.half), interpolation=cv2.INTER_LINEAR)[: self.size, : self.size]


def _backdrop(how: Nuisances, i: int, view: Floats, size: int) -> npt.NDArray[np.uint8]:
    """What is behind the head, (size, size, 4); the fourth channel is the weight of the light."""
    u, v, spin, zoom = how.backdrop_place[i].astype(float)
    angle, factor = 2 * np.pi * spin, (0.8 + 1.6 * zoom) * TEMPLATE_SIZE / size
    turn = factor * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    onto = _texture_map(view, turn, np.array([u, v]) * textures.SIDE)
    mix = _sample(textures.backdrops()[how.backdrop_kind[i]], onto, size)[..., None]
    first, second = how.backdrop[i]
    canvas = np.zeros((size, size, 4), np.uint8)
    canvas[..., :3] = first + (second - first) * mix
    return canvas


def _complexion(who: Identities, i: int, camera: Floats, size: int) -> npt.NDArray[np.float32]:
    """Texture of the skin as a factor of its brightness, (size, size)."""
    anchors = np.array([[-17.6, EYE_Y], [17.6, EYE_Y], [0.0, 25.6]])
    lifted = np.column_stack([anchors, depth(anchors[:, 0], anchors[:, 1])])
    seen = lifted @ camera[:, :3].T + camera[:, 3]
    frame = cv2.getAffineTransform(anchors.astype(np.float32), seen.astype(np.float32))
    u, v, spin = who.texture[i].astype(float)
    angle = 2 * np.pi * spin
    turn = 2.0 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    onto = _texture_map(frame, turn, np.array([u, v]) * textures.SIDE)
    shade = _sample(textures.skin(), onto, size)
    shade *= 0.035 * who.texture_strength[i]
    shade += 1
    if who.freckles[i] > 0:
        shade -= 0.4 * who.freckles[i] * _sample(textures.freckles(), onto, size)
    return shade


def _texture_map(frame: Floats, turn: Floats, offset: Floats) -> Floats:
    """From pixels to texture: undo ``frame`` (2, 3), then ``turn`` (2, 2) and add ``offset``."""
    matrix = turn @ np.linalg.inv(frame[:, :2])
    return np.column_stack([matrix, offset - matrix @ frame[:, 2]])


def _sample(texture: npt.NDArray[np.float32], onto: Floats, size: int) -> npt.NDArray[np.float32]:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(texture, onto, (size, size), flags=flags, borderMode=cv2.BORDER_WRAP), np.float32)


def _expose(canvas: npt.NDArray[np.uint8], shade: Floats, how: Nuisances, i: int) -> npt.NDArray[np.uint8]:
    """Light the painted scene, then what the camera does: exposure, tint, contrast, noise."""
    size = len(canvas)
    photo = canvas.astype(np.float32)
    shade -= 1
    shade *= photo[..., 3:] * np.float32(1 / 255)
    shade += 1
    light = photo[..., :3] * shade
    gain = how.exposure[i] * how.contrast[i] * how.tint[i]
    light *= gain
    light += 118 * (1 - how.contrast[i])
    row, column = (how.noise_place[i] % (textures.SIDE - size)).tolist()
    light += how.noise[i] * textures.noise()[row : row + size, column : column + size]
    return cv2.convertScaleAbs(np.maximum(light, 0))
