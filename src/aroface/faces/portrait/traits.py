"""Traits of an identity and circumstances of an image: two tables of numbers.

Lengths are in pixels of the 112-pixel template on an average face, in the frame of the head (see
:mod:`aroface.faces.portrait.shapes`); angles of traits are in radians, those of the pose in degrees; colours are RGB in
0..255 under even light. What has no unit is 1 on average or a share in 0..1.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

OCCLUSIONS = ("none", "patch", "hat", "mask", "hand", "sunglasses")
"""Kinds of occlusion, which :attr:`Nuisances.occlusion` counts."""


class _Table:
    """Arrays that share axis 0; a selection of rows is again such a table."""

    __slots__ = ()

    def _columns(self) -> dict[str, npt.NDArray[Any]]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(next(iter(self._columns().values())))

    def __getitem__(self, rows: slice | npt.ArrayLike) -> Self:
        index = rows if isinstance(rows, slice) else np.atleast_1d(np.asarray(rows))
        return type(self)(**{name: values[index] for name, values in self._columns().items()})


@dataclasses.dataclass(frozen=True, slots=True)
class Identities(_Table):
    """N identities; each array has N rows, and a second axis where more numbers make one trait.

    The half-widths of jaw, chin, cheek and brow are relative to that of the face; heights are y, which points down.
    Traits that not everybody has (freckles, beard, glasses …) are 0 on those who have not.
    """

    face_width: Floats
    cheek_width: Floats
    jaw_width: Floats
    chin_width: Floats
    brow_width: Floats
    chin_length: Floats
    cheekbone: Floats
    chin_relief: Floats
    chin_cleft: Floats
    ear_size: Floats
    ear_flare: Floats
    asymmetry: Floats

    skin: Floats
    blush: Floats
    age: Floats
    texture: Floats
    texture_strength: Floats
    freckles: Floats
    marks: Floats
    scar: Floats

    eye_gap: Floats
    eye_width: Floats
    eye_height: Floats
    eye_tilt: Floats
    eye_round: Floats
    eye_depth: Floats
    eye_bags: Floats
    lid_fold: Floats
    lashes: Floats
    iris: Floats
    iris_size: Floats
    brow_height: Floats
    brow_thickness: Floats
    brow_length: Floats
    brow_arch: Floats
    brow_tilt: Floats
    brow_gap: Floats
    brow_density: Floats

    nose_length: Floats
    nose_width: Floats
    nose_bridge: Floats
    nose_height: Floats
    nose_tip: Floats
    nose_bend: Floats
    nostril: Floats
    mouth_width: Floats
    mouth_height: Floats
    mouth_tilt: Floats
    upper_lip: Floats
    lower_lip: Floats
    cupid_bow: Floats
    lips: Floats

    hair: Floats
    hair_cover: Floats
    hair_top: Floats
    hair_side: Floats
    hair_length: Floats
    hair_lean: Floats
    hair_comb: Floats
    hair_lock: Floats
    hair_wave: Floats
    hairline: Floats
    hair_peak: Floats
    hair_recession: Floats
    hair_parting: Floats
    hair_fringe: Floats
    beard: Floats
    beard_extent: Floats
    moustache: Floats
    moustache_droop: Floats
    stubble: Floats

    glasses: Floats
    glasses_size: Floats
    glasses_tall: Floats
    glasses_round: Floats
    glasses_colour: Floats


@dataclasses.dataclass(frozen=True, slots=True)
class Nuisances(_Table):
    """The circumstances of N images; each array has N rows.

    Yaw is positive towards the viewer's right, pitch upwards, roll clockwise. ``light`` is a unit vector towards the
    light. ``backdrop`` holds two colours, mixed by the texture ``backdrop_kind``.
    """

    yaw: Floats
    pitch: Floats
    roll: Floats
    smile: Floats
    mouth_open: Floats
    eye_open: Floats
    brow_raise: Floats
    gaze: Floats
    hair_shift: Floats
    clothes: Floats
    light: Floats
    ambient: Floats
    exposure: Floats
    tint: Floats
    contrast: Floats
    focus: Floats
    noise: Floats
    noise_place: Integers
    backdrop: Floats
    backdrop_place: Floats
    backdrop_kind: Integers
    occlusion: Integers
    occlusion_shape: Floats
    occlusion_colour: Floats
