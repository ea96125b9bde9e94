"""Who is drawn and under which circumstances: the traits of synthetic identities and the nuisances of an image.

Lengths are in units of a pixel of the 112-pixel template for the average face, colours are RGB in 0..255.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

MARKS = 5
"""Moles and scars that an identity can have."""

_SKIN = np.array([[238, 204, 184], [222, 178, 150], [196, 148, 116], [148, 104, 78], [96, 66, 52]], np.float32)
_HAIR = np.array(
    [
        [30, 25, 25],
        [46, 33, 27],
        [74, 50, 35],
        [108, 76, 50],
        [146, 106, 66],
        [204, 168, 112],
        [150, 78, 42],
        [150, 148, 146],
        [214, 210, 204],
    ],
    np.float32,
)
_IRIS = np.array(
    [[52, 32, 22], [88, 58, 34], [118, 94, 54], [86, 112, 76], [78, 116, 158], [112, 124, 136]], np.float32
)
_IRIS_ODDS = np.array([0.34, 0.24, 0.13, 0.09, 0.14, 0.06])
_HAIR_ODDS_FAIR = np.array([0.10, 0.16, 0.20, 0.16, 0.10, 0.12, 0.06, 0.07, 0.03])
_HAIR_ODDS_DARK = np.array([0.62, 0.24, 0.05, 0.0, 0.0, 0.0, 0.0, 0.07, 0.02])


class _Rows:
    """Arrays that share axis 0; a selection of rows is again such a table."""

    def __len__(self) -> int:
        first = dataclasses.fields(self)[0]  # type: ignore[arg-type]
        return len(getattr(self, first.name))

    def __getitem__(self, rows: npt.ArrayLike | slice) -> Self:
        index = rows if isinstance(rows, slice) else np.atleast_1d(np.asarray(rows))
        chosen = {field.name: getattr(self, field.name)[index] for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        return type(self)(**chosen)


@dataclasses.dataclass(frozen=True, slots=True)
class Identities(_Rows):
    """Traits of N identities; every array has N rows."""

    face_width: Floats
    jaw_width: Floats
    chin_width: Floats
    chin_length: Floats
    cheek_width: Floats
    brow_width: Floats
    skin: Floats
    blush: Floats
    texture: Floats
    texture_strength: Floats
    freckles: Floats
    age: Floats
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
    upper_lip: Floats
    lower_lip: Floats
    cupid_bow: Floats
    mouth_tilt: Floats
    lips: Floats
    cheekbone: Floats
    chin_relief: Floats
    chin_cleft: Floats
    ear_size: Floats
    ear_flare: Floats
    hair: Floats
    hair_cover: Floats
    hair_top: Floats
    hair_side: Floats
    hair_lean: Floats
    hair_comb: Floats
    hair_lock: Floats
    hair_peak: Floats
    hair_length: Floats
    hairline: Floats
    hair_recession: Floats
    hair_parting: Floats
    hair_fringe: Floats
    hair_wave: Floats
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
    marks: Floats
    scar: Floats
    asymmetry: Floats


@dataclasses.dataclass(frozen=True, slots=True)
class Nuisances(_Rows):
    """Circumstances of N images; every array has N rows. Angles are in degrees."""

    yaw: Floats
    pitch: Floats
    roll: Floats
    smile: Floats
    mouth_open: Floats
    eye_open: Floats
    brow_raise: Floats
    gaze: Floats
    light: Floats
    ambient: Floats
    exposure: Floats
    tint: Floats
    contrast: Floats
    backdrop: Floats
    backdrop_place: Floats
    backdrop_kind: npt.NDArray[np.int64]
    clothes: Floats
    hair_shift: Floats
    occlusion: npt.NDArray[np.int64]
    occlusion_shape: Floats
    occlusion_colour: Floats
    focus: Floats
    noise: Floats
    noise_place: npt.NDArray[np.int64]


OCCLUSIONS = ("none", "patch", "hat", "mask", "hand", "sunglasses")


class _Draw:
    """Draws traits by name, each from a stream of its own.

    So the first traits of n identities do not depend on n, and a new trait leaves the others as they are.
    """

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.seed = n, seed

    def stream(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, *name.encode()])

    def normal(self, name: str, mean: float, sd: float, width: int | None = None) -> Floats:
        """Normal draws cut at 2.2 standard deviations, (N,) or (N, width)."""
        shape = self.n if width is None else (self.n, width)
        return (mean + sd * np.clip(self.stream(name).standard_normal(shape), -2.2, 2.2)).astype(np.float32)

    def uniform(self, name: str, low: float, high: float, width: int | None = None) -> Floats:
        shape = self.n if width is None else (self.n, width)
        return self.stream(name).uniform(low, high, shape).astype(np.float32)


def sample_identities(n: int, seed: int) -> Identities:
    """Draw ``n`` identities.

    The same seed gives the same people, and the first of them do not depend on ``n``; different seeds give different
    people.
    """
    draw = _Draw(n, seed)
    masculine = draw.uniform("masculine", -1, 1)
    age = draw.uniform("age", 0, 1) ** 1.4
    tone = draw.uniform("tone", 0, 1)
    skin = _skin(draw, tone)
    hair = _hair(draw, tone, age)
    bearded = (masculine > 0.1) & (draw.uniform("bearded", 0, 1) < 0.45)
    moustached = (masculine > 0.1) & (draw.uniform("moustached", 0, 1) < 0.45)
    spectacled = draw.uniform("spectacled", 0, 1) < 0.22
    bald = (draw.uniform("bald", 0, 1) < 0.10 + 0.15 * age) & (masculine > 0)
    cropped = (draw.uniform("cropped", 0, 1) < 0.14) & (masculine > -0.2)
    afro = (draw.uniform("afro", 0, 1) < np.where(tone > 0.6, 0.18, 0.05)) & ~cropped
    long_haired = draw.uniform("long", -1, 1) > masculine + 0.1
    long_haired &= ~(cropped | afro | bald)
    length = np.where(long_haired, draw.uniform("long length", 25, 75), draw.uniform("short length", -18, -4))
    length = np.where(afro, draw.uniform("afro length", -8, 12), length)
    return Identities(
        face_width=draw.normal("face width", 36.3, 2.1) + 0.7 * masculine,
        jaw_width=draw.normal("jaw width", 0.80, 0.065) + 0.03 * masculine,
        chin_width=draw.normal("chin width", 0.42, 0.085) + 0.03 * masculine,
        chin_length=draw.normal("chin length", 43.8, 2.7) + 1.0 * masculine,
        cheek_width=draw.normal("cheek width", 1.0, 0.035),
        brow_width=draw.normal("brow width", 0.95, 0.03),
        skin=skin,
        blush=draw.uniform("blush", 0.0, 1.0),
        texture=draw.uniform("texture", 0, 1, 3),
        texture_strength=draw.uniform("texture strength", 0.4, 1.0) + 0.4 * age,
        freckles=np.where(draw.uniform("freckled", 0, 1) < 0.25, draw.uniform("freckles", 0.3, 1), 0).astype(
            np.float32
        ),
        age=age,
        eye_gap=draw.normal("eye gap", 17.6, 0.9),
        eye_width=draw.normal("eye width", 8.1, 0.75),
        eye_height=draw.normal("eye height", 3.7, 0.65) - 0.25 * masculine,
        eye_tilt=draw.normal("eye tilt", 0.05, 0.075),
        eye_round=draw.normal("eye round", 0.0, 0.35),
        eye_depth=draw.normal("eye depth", 1.0, 0.35) + 0.2 * masculine,
        eye_bags=draw.uniform("eye bags", 0.0, 0.6) + 0.6 * age,
        lid_fold=draw.uniform("lid fold", -0.4, 1.0),
        lashes=draw.uniform("lashes", 0.5, 1.1) - 0.3 * masculine,
        iris=_pick(
            draw, "iris", _IRIS, np.where(tone[:, None] > 0.55, _IRIS_ODDS * [1, 0.6, 0.1, 0, 0, 0], _IRIS_ODDS), 0.06
        ),
        iris_size=draw.normal("iris size", 3.7, 0.22),
        brow_height=draw.normal("brow height", -24.6, 1.3) + 0.9 * masculine,
        brow_thickness=draw.normal("brow thickness", 1.5, 0.38) + 0.45 * masculine,
        brow_length=draw.normal("brow length", 10.2, 0.9),
        brow_arch=draw.normal("brow arch", 1.7, 0.9) - 0.5 * masculine,
        brow_tilt=draw.normal("brow tilt", 0.0, 0.09),
        brow_gap=draw.normal("brow gap", 7.4, 1.2) - 0.6 * masculine,
        brow_density=draw.uniform("brow density", 0.45, 0.95),
        nose_length=draw.normal("nose length", 20.3, 1.5),
        nose_width=draw.normal("nose width", 7.4, 0.9) + 0.6 * tone,
        nose_bridge=draw.normal("nose bridge", 3.4, 0.6),
        nose_height=draw.normal("nose height", 12.0, 1.6),
        nose_tip=draw.normal("nose tip", 1.0, 0.22),
        nose_bend=draw.normal("nose bend", 0.0, 0.6),
        nostril=draw.normal("nostril", 1.0, 0.22),
        mouth_width=draw.normal("mouth width", 14.2, 1.4),
        mouth_height=draw.normal("mouth height", 25.6, 1.2),
        upper_lip=draw.normal("upper lip", 2.7, 0.6) - 0.4 * masculine + 0.6 * tone,
        lower_lip=draw.normal("lower lip", 3.6, 0.7) - 0.4 * masculine + 0.6 * tone,
        cupid_bow=draw.uniform("cupid bow", 0.0, 1.0),
        mouth_tilt=draw.normal("mouth tilt", 0.0, 0.7),
        lips=_lips(draw, skin, masculine),
        cheekbone=draw.normal("cheekbone", 1.0, 0.4),
        chin_relief=draw.normal("chin relief", 1.0, 0.4),
        chin_cleft=np.where(draw.uniform("cleft", 0, 1) < 0.2, draw.uniform("chin cleft", 0.5, 1), 0),
        ear_size=draw.normal("ear size", 1.0, 0.13),
        ear_flare=draw.normal("ear flare", 3.4, 1.3),
        hair=hair,
        hair_cover=np.where(bald, 0, np.where(cropped, draw.uniform("cropped cover", 0.45, 0.8), 1)),
        hair_top=np.where(afro, 16.0, 1.0) + draw.uniform("hair top", 0.5, 11.0),
        hair_side=np.where(afro, 9.0, 0.0) + draw.uniform("hair side", 0.5, 7.5) * np.where(long_haired, 1.0, 0.55),
        hair_lean=draw.normal("hair lean", 0.0, 0.5),
        hair_comb=draw.uniform("hair comb", 0.0, 1.0),
        hair_lock=draw.uniform("hair lock", -0.05, 0.2),
        hair_peak=draw.uniform("hair peak", -0.5, 1.0).clip(0),
        hair_length=length.astype(np.float32),
        hairline=draw.normal("hairline", -49.5, 3.2),
        hair_recession=(draw.uniform("recession", 0.0, 1.0) * np.where(masculine > 0, 0.4 + 0.6 * age, 0.2)).astype(
            np.float32
        ),
        hair_parting=draw.uniform("parting", -0.8, 0.8),
        hair_fringe=np.where(draw.uniform("fringed", 0, 1) < 0.35, draw.uniform("fringe", 4, 17), 0).astype(np.float32),
        hair_wave=np.where(afro, 0.8, draw.uniform("hair wave", 0, 1) ** 2),
        beard=np.where(bearded, draw.uniform("beard", 0.45, 0.95), 0).astype(np.float32),
        beard_extent=draw.uniform("beard extent", 0.0, 1.0),
        moustache=np.where(moustached, draw.uniform("moustache", 0.5, 0.95), 0).astype(np.float32),
        moustache_droop=draw.uniform("moustache droop", 0, 1),
        stubble=np.clip(masculine, 0, 1) * draw.uniform("stubble", 0, 1),
        glasses=np.where(spectacled, draw.uniform("glasses", 0.5, 1.1), 0).astype(np.float32),
        glasses_size=draw.normal("glasses size", 11.5, 1.2),
        glasses_tall=draw.uniform("glasses tall", 0.62, 0.95),
        glasses_round=draw.uniform("glasses round", 2.0, 5.0),
        glasses_colour=draw.uniform("glasses colour", 10, 110, 1) * draw.uniform("glasses hue", 0.6, 1, 3),
        marks=_marks(draw),
        scar=_scar(draw),
        asymmetry=draw.normal("asymmetry", 0.0, 0.35, 4),
    )


def sample_nuisances(n: int, rng: np.random.Generator, difficulty: float = 1.0) -> Nuisances:
    """Draw the circumstances of ``n`` images.

    Args:
        n: number of images.
        rng: the stream to draw from.
        difficulty: scales pose, expression, lighting, occlusion and noise; 0 gives frontal, neutral, evenly lit faces
            that differ in background only, 1 gives unconstrained photographs.
    """

    def normal(sd: float, limit: float, *width: int) -> Floats:
        draws = difficulty * sd * rng.standard_normal((n, *width))
        return np.clip(draws, -limit, limit).astype(np.float32)

    def uniform(low: float, high: float, *width: int) -> Floats:
        return rng.uniform(low, high, (n, *width)).astype(np.float32)

    azimuth, elevation = np.radians(normal(50, 85)), np.radians(-25 + normal(22, 50))
    light = np.stack([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], 1)
    odds = np.array([0.0, 0.05, 0.05, 0.025, 0.04, 0.025]) * difficulty
    odds[0] = max(0.0, 1 - odds.sum())
    warmth = normal(0.07, 0.18)
    tint = 1 + np.stack([warmth, normal(0.012, 0.03), -warmth], 1)
    return Nuisances(
        yaw=normal(17, 42),
        pitch=normal(8, 20),
        roll=normal(9, 30),
        smile=np.clip(uniform(-0.35, 1.1) * difficulty, -0.3, 1).astype(np.float32),
        mouth_open=np.clip(uniform(-0.9, 1.0) * difficulty, 0, 1).astype(np.float32),
        eye_open=1 + np.clip(normal(0.22, 0.8), -0.75, 0.3),
        brow_raise=normal(0.5, 1.2),
        gaze=normal(0.8, 1.8, 2),
        light=light.astype(np.float32),
        ambient=(0.62 - difficulty * uniform(0, 0.34)).astype(np.float32),
        exposure=np.exp(normal(0.2, 0.45)),
        tint=tint.astype(np.float32),
        contrast=1 + normal(0.14, 0.35),
        backdrop=_dull(uniform(15, 225, 2, 1), normal(0.11, 0.3, 2, 3) if difficulty else uniform(-0.2, 0.2, 2, 3)),
        backdrop_place=uniform(0, 1, 4),
        backdrop_kind=rng.integers(0, 4, n),
        clothes=_dull(uniform(15, 225, 1), uniform(-0.3, 0.3, 3)),
        hair_shift=normal(1.0, 2.5, 3),
        occlusion=rng.choice(len(OCCLUSIONS), size=n, p=odds),
        occlusion_shape=uniform(0, 1, 6),
        occlusion_colour=_dull(uniform(25, 225, 1), uniform(-0.25, 0.25, 3)),
        focus=(0.45 + difficulty * uniform(0, 0.45)).astype(np.float32),
        noise=(difficulty * uniform(0.4, 4.0)).astype(np.float32),
        noise_place=rng.integers(0, 1 << 16, (n, 2)),
    )


def _dull(grey: Floats, colour: Floats) -> Floats:
    """Colours around a grey, as most of the world is."""
    return np.asarray(np.clip(grey * (1 + colour), 5, 245), np.float32)


def _skin(draw: _Draw, tone: Floats) -> Floats:
    """Colour along the scale of skin tones with a personal redness and saturation."""
    place = tone * (len(_SKIN) - 1)
    low = np.minimum(place.astype(int), len(_SKIN) - 2)
    share = (place - low)[:, None]
    base = _SKIN[low] * (1 - share) + _SKIN[low + 1] * share
    red = draw.normal("redness", 0, 0.022)
    yellow = draw.normal("yellowness", 0, 0.022)
    return np.asarray(base * (1 + np.stack([red, -red - 0.3 * yellow, -0.6 * red - yellow], 1)), np.float32)


def _hair(draw: _Draw, tone: Floats, age: Floats) -> Floats:
    """Hair colour: darker with the skin, greyer with age."""
    odds = np.where(tone[:, None] > 0.55, _HAIR_ODDS_DARK, _HAIR_ODDS_FAIR)
    greying = np.array([1, 1, 1, 1, 1, 1, 1, 6, 8]) ** np.where(age > 0.6, 1.0, -1.0)[:, None]
    return _pick(draw, "hair", _HAIR, odds * greying, 0.025)


def _pick(draw: _Draw, name: str, palette: Floats, odds: Array, hue: float) -> Floats:
    """A colour of the palette by odds (N, colours), each channel varied by ``hue``, all by a tenth."""
    cumulative = np.cumsum(odds, axis=1)
    choice = (draw.uniform(name, 0, 1)[:, None] * cumulative[:, -1:] > cumulative).sum(axis=1)
    varied = palette[np.minimum(choice, len(palette) - 1)] * (1 + draw.normal(f"{name} hue", 0, hue, 3))
    return np.asarray(varied * (1 + draw.normal(f"{name} depth", 0, 0.1, 1)), np.float32)


def _lips(draw: _Draw, skin: Floats, masculine: Floats) -> Floats:
    """Lip colour: the skin's, redder and darker; painted on some."""
    natural = skin * [0.86, 0.66, 0.66] * (1 + draw.normal("lips", 0, 0.05, 3))
    painted = np.stack(
        [draw.uniform("lipstick", 130, 195), draw.uniform("lipstick g", 30, 85), np.full(draw.n, 70.0)], 1
    )
    share = ((draw.uniform("painted", 0, 1) < 0.35) & (masculine < -0.2))[:, None] * 0.6
    return np.asarray(natural * (1 - share) + painted * share, np.float32)


def _scar(draw: _Draw) -> Floats:
    """A scar on one in nine: x, y, direction in radians, half its length (0 where there is none); (N, 4)."""
    reach = np.where(draw.uniform("scarred", 0, 1) < 1 / 9, draw.uniform("scar reach", 3, 7), 0)
    x, y = draw.uniform("scar x", -26, 26), draw.uniform("scar y", -40, 36)
    return np.stack([x, y, draw.uniform("scar direction", 0, np.pi), reach], axis=1).astype(np.float32)


def _marks(draw: _Draw) -> Floats:
    """Moles at fixed places of the face: x, y, radius, darkness; (N, MARKS, 4), darkness 0 where there is none."""
    x = draw.uniform("mark x", -30, 30, MARKS)
    y = draw.uniform("mark y", -42, 42, MARKS)
    radius = draw.uniform("mark radius", 0.6, 1.3, MARKS)
    number = draw.stream("mark number").poisson(1.1, draw.n)
    darkness = np.where(np.arange(MARKS) < number[:, None], draw.uniform("mark darkness", 0.3, 0.6, MARKS), 0)
    return np.stack([x, y, radius, darkness], axis=2).astype(np.float32)
