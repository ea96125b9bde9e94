"""From shapes and light to pixels: backdrop, painting, and what the camera does."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.faces.portrait import textures
from aroface.faces.portrait.head import EYE_Y
from aroface.faces.portrait.shapes import Floats, Shape, depth
from aroface.faces.portrait.traits import Identities, Nuisances

Canvas = npt.NDArray[np.uint8]

_FRACTION_BITS = 5
_HEADROOM = 0.55
"""Grey levels on the sensor for each grey level of evenly lit paint: bright light must not clip before exposure."""


class Outlines:
    """Shapes of a batch in fixed-point pixels, ready to be filled.

    Args:
        shapes: Shapes from the back to the front, each of N rows.
        camera: (N, 2, 4), from the frame of the head to pixels.
        size: Width and height in pixels.
    """

    def __init__(self, shapes: list[Shape], camera: Floats, size: int) -> None:
        count = len(camera)
        self.thickness = max(1, round(size / TEMPLATE_SIZE))
        self.items = []
        for shape in shapes:
            flat = shape.points.reshape(count, -1, 3) @ np.swapaxes(camera[:, :, :3], 1, 2) + camera[:, None, :, 3]
            fixed = np.rint(flat * (1 << _FRACTION_BITS)).astype(np.int32).reshape(*shape.points.shape[:-1], 2)
            rgb = np.broadcast_to(np.clip(np.asarray(shape.colour), 0, 255), (count, 3))
            paint = np.column_stack([rgb, np.full(count, 255 * shape.weight)]).tolist()
            visible = [True] * count if shape.visible is None else shape.visible.tolist()
            self.items.append((fixed, paint, visible))

    def paint(self, canvas: Canvas, i: int) -> None:
        """Paint face ``i`` onto a canvas (size, size, 4) of red, green, blue and the weight of the light."""
        for points, paint, visible in self.items:
            if not visible[i]:
                continue
            if points.ndim == 3:
                cv2.fillPoly(canvas, [points[i]], paint[i], cv2.LINE_AA, _FRACTION_BITS)
            else:
                cv2.polylines(canvas, points[i], False, paint[i], self.thickness, cv2.LINE_AA, _FRACTION_BITS)


class Backdrops:
    """Two colours mixed by a texture, fixed to the photograph."""

    def __init__(self, how: Nuisances, view: Floats, size: int) -> None:
        self.size, self.kind = size, how.backdrop_kind
        placement = how.backdrop_place
        self.onto = textures.placement(
            view, 0.12 * (placement[:, 2] - 0.5), 0.8 + 1.2 * placement[:, 3], placement[:, :2]
        )
        mix = np.linspace(0, 1, 256)[:, None]
        colours = np.zeros((len(how), 256, 4), np.uint8)
        colours[..., :3] = how.backdrop[:, :1] * (1 - mix) + how.backdrop[:, 1:] * mix
        self.colours = colours.view(np.uint32)[..., 0]

    def canvas(self, i: int) -> Canvas:
        """The backdrop of image ``i``, (size, size, 4), on which no light falls."""
        mix = textures.sample(textures.backdrops()[self.kind[i]], self.onto[i], self.size)
        return np.asarray(self.colours[i][mix].view(np.uint8).reshape(self.size, self.size, 4))


class Complexions:
    """Texture of the skin, fixed to the face by the plane through eyes and mouth."""

    def __init__(self, who: Identities, camera: Floats, size: int) -> None:
        self.who, self.size = who, size
        x, y = np.array([-17.6, 17.6, 0.0]), np.array([EYE_Y, EYE_Y, 25.6])
        seen = np.stack([x, y, depth(x, y)], axis=1) @ np.swapaxes(camera[:, :, :3], 1, 2) + camera[:, None, :, 3]
        frame = np.swapaxes(seen, 1, 2) @ np.linalg.inv(np.stack([x, y, np.ones(3)]))
        self.onto = textures.placement(frame, who.texture[:, 2], 2.0, who.texture[:, :2])

    def on(self, i: int) -> npt.NDArray[np.float32]:
        """Factor of the light that the skin of face ``i`` gives back, (size, size)."""
        strength = 0.035 * float(self.who.texture_strength[i]) / textures.UNIT
        factor = textures.sample(textures.skin(), self.onto[i], self.size).astype(np.float32)
        factor *= strength
        factor += 1 - 128 * strength
        if self.who.freckles[i] > 0:
            dots = textures.sample(textures.freckles(), self.onto[i], self.size)
            factor -= dots * np.float32(0.18 / 255 * self.who.freckles[i])
        return factor


class Cameras:
    """Exposure, white balance and contrast as one curve a colour, then focus and noise."""

    def __init__(self, who: Identities, how: Nuisances, size: int) -> None:
        self.how, self.size = how, size
        self.blur = (how.focus * size / TEMPLATE_SIZE).tolist()
        metered = (150 / np.maximum(who.skin.mean(axis=1), 1)) ** 0.42
        gain = (how.exposure * metered)[:, None] * how.tint
        scene = np.arange(256)[:, None] / (255 * _HEADROOM) * gain[:, None, :]
        shoulder = 0.7 + 0.3 * (1 - np.exp(-(scene - 0.7) / 0.3))
        contrast = how.contrast[:, None, None]
        photo = (np.where(scene > 0.7, shoulder, scene) - 0.45) * contrast + 0.45
        self.curve = np.clip(np.rint(255 * photo), 0, 255).astype(np.uint8)

    def expose(self, canvas: Canvas, light: npt.NDArray[np.float32], i: int) -> Canvas:
        """The photograph (size, size, 3) of a painted canvas under ``light`` (3, size, size), which is used up."""
        red, green, blue, weight = cv2.split(canvas)
        share = weight * np.float32(_HEADROOM / 255)
        light -= 1
        light *= share
        light += _HEADROOM
        for plane, paint in zip(light, (red, green, blue), strict=True):
            plane *= paint
        np.clip(light, 0, 255, out=light)
        image = cv2.LUT(cv2.merge(list(light.astype(np.uint8))), self.curve[i][None])
        image = cv2.GaussianBlur(image, (0, 0) if self.size > TEMPLATE_SIZE else (3, 3), self.blur[i])
        row, column = self.how.noise_place[i].tolist()
        grain = textures.noise()[row : row + self.size, column : column + self.size]
        gain = float(self.how.noise[i]) / textures.UNIT
        return np.asarray(cv2.addWeighted(image, 1.0, grain, gain, -128 * gain), np.uint8)
