"""Robustness of one to four models to alignment errors on the same pairs: the cost of errors, and those tolerated.

Everything is measured as the protocol ``sensitivity`` measures it, without the same groups of people and with the same
draws of people in every condition and for every model. So differences of any two of them, of their drops and of their
tolerated errors have paired intervals. Rates, drops and differences have those of the jackknife; a tolerated error,
which may lie beyond the sweep, that of a bootstrap.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import combinations
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from aroface import __version__
from aroface.datasets.formats.pair_people import read_pair_people
from aroface.datasets.formats.pairs import read_pairs
from aroface.embedding.alignment_sweep import HIGH_QUALITY, LEVELS, choose_pairs, quality_key
from aroface.embedding.benchmark_spec import resolve
from aroface.embedding.embed import EmbedOptions, embed_with
from aroface.embedding.embedder import seconds_an_image
from aroface.embedding.external_model import Model
from aroface.embedding.feature_store import StoredFeatures, open_features
from aroface.embedding.pairs import image_numbers
from aroface.embedding.sensitivity import Order, open_source
from aroface.embedding.worst_case import FACTOR as WORST
from aroface.embedding.worst_case import WorstCases, embed_worst_case
from aroface.errors import InputError
from aroface.evaluation.norm_response import NormResponse, norm_responses
from aroface.evaluation.protocols.pairs import check_kinds, pair_counts
from aroface.evaluation.protocols.sensitivity import measure_variant, variant_distances, variant_metrics
from aroface.evaluation.statistics.bootstrap import REPLICATES, Multiplicities, samples
from aroface.evaluation.statistics.jackknife import Difference, difference, interval
from aroface.evaluation.statistics.people import drawn_pairs, numbered, people_of_pairs, with_genuine_pairs
from aroface.files import digest, sha256_file
from aroface.progress import track
from aroface.results import INDEX

Floats = NDArray[np.float64]

MOST_MODELS, MOST_QUALITIES = 4, 4  # that a page has room for
MAPS = (("scale", "rotation"), ("rotation", "shift"))
"""Pairs of factors whose errors are also combined."""
CORRUPTION_LEVELS: Mapping[str, tuple[float, ...]] = {
    "blur": (1, 2, 4),
    "noise": (10, 25, 50),
    "jpeg": (70, 85, 95),
    "contrast": (0.5, 0.75, 0.9),
    "occlusion": (0.2, 0.35, 0.5),
}
"""Levels of corruptions of pixels, see :data:`aroface.faces.corruption.CORRUPTIONS`."""
_MAP_LEVELS = 3  # of each factor, besides none
_NAME = 200  # characters of a model's name in that of a folder, which has a hash behind it


@dataclass(frozen=True, slots=True)
class GridPart:
    """Part of a sweep, with features of its own.

    Attributes:
        name: Name of the folder of its features.
        quality: Quality of the images, as in the grid.
        swept: Options of the protocol on what is swept, beyond the levels of single errors.
        aligned: True for errors of the alignment, false for corruptions of pixels.
    """

    name: str
    quality: str | int
    swept: Mapping[str, Any]
    aligned: bool = True


@dataclass(frozen=True, slots=True)
class SweepGrid:
    """Grid of the sweep; the defaults are those of the benchmark ``fae`` in ``config.yaml``.

    Attributes:
        qualities: ``hq`` for images as they are, numbers for the side in pixels that probes are reduced to.
        scale: Relative errors of scale.
        degrees: Errors of rotation in degrees.
        shift: Lengths of the shift, fractions of the image width.
        joint: Multiples of ``joint_maximum`` of the specification, all three at once.
        metrics: Names as in records; the report is about the first.
        max_pairs: Number of pairs, evenly spaced in the set; None for all.
        flip: True if the embedding of the mirrored image is added.
        seed: Seed of the errors' directions.
        worst_case: True if the adversary's errors, of the sizes of ``joint``, are measured as well.
        order: Order of misaligning and reducing probes; see :mod:`aroface.embedding.sensitivity`.
        corruptions: True if corruptions of the pixels are measured as well, at :data:`CORRUPTION_LEVELS`.
    """

    qualities: tuple[str | int, ...] = (HIGH_QUALITY, 24, 14)
    scale: tuple[float, ...] = (0.05, 0.1, 0.15)
    degrees: tuple[float, ...] = (5, 10, 20)
    shift: tuple[float, ...] = (0.03, 0.06, 0.12)
    joint: tuple[float, ...] = (0.5, 1.0)
    metrics: tuple[str, ...] = ("tar_strict_at_far_1e-2", "accuracy", "auc")
    max_pairs: int | None = None
    flip: bool = True
    seed: int = 0
    worst_case: bool = False
    order: Order = "camera"
    corruptions: bool = False

    def check(self) -> None:
        """Refuse what makes no report, before anything is embedded.

        Raises:
            InputError: No level of a factor, or too many qualities.
        """
        if not 1 <= len(self.qualities) <= MOST_QUALITIES:
            expected = f"1 to {MOST_QUALITIES}: a page has no room for more"
            raise InputError(f"{len(self.qualities)} qualities", where="--qualities", expected=expected)
        for option in LEVELS.values():
            if not getattr(self, option):
                raise InputError(f"no level of {option}", expected="one at least")
        for part in self.parts():
            self.spec(Path("pairs.bin"), "RGB", part)

    def parts(self) -> list[GridPart]:
        """The parts: each quality, and the corruptions if they are wanted."""
        levels = {factor: coarse(sorted(getattr(self, LEVELS[factor]))) for pair in MAPS for factor in pair}
        maps = {"maps": [*map(list, MAPS)], "map_levels": levels}
        parts = [GridPart(quality_key(quality), quality, maps) for quality in self.qualities]
        if self.corruptions:
            swept: dict[str, list[float]] = {option: [] for option in LEVELS.values()}
            swept |= {kind: [*each] for kind, each in CORRUPTION_LEVELS.items()}
            parts.append(GridPart("corrupted", HIGH_QUALITY, swept, aligned=False))
        return parts

    def spec(self, path: Path, color: str, part: GridPart) -> dict[str, Any]:
        """The specification of one part, as :func:`aroface.embedding.embed.embed_with` takes it.

        Raises:
            InputError: A level or quality out of range.
        """
        options = {
            "color": color,
            "flip": self.flip,
            "fusion": "sum",
            "alignment": "as_stored",
            "qualities": [part.quality],
            "max_pairs": self.max_pairs,
            "seed": self.seed,
            "metric": [*self.metrics],
            # Any order is the same where nothing is reduced.
            **({} if part.quality == HIGH_QUALITY else {"order": self.order}),
            **{option: sorted(getattr(self, option)) for option in LEVELS.values()},
        }
        spec = resolve({"name": "robustness", "protocol": "sensitivity", "path": str(path), "options": options})
        return {**spec, "options": {**spec["options"], **part.swept}}


def coarse(levels: Sequence[float]) -> list[float]:
    """At most three of ascending levels, evenly spaced, the largest among them: those of the heat maps."""
    if len(levels) <= _MAP_LEVELS:
        return [*levels]
    return [levels[round((number + 1) * len(levels) / _MAP_LEVELS) - 1] for number in range(_MAP_LEVELS)]


class Perturbation(NamedTuple):
    """One way in which all probes are spoilt.

    Attributes:
        quality: ``hq``, ``r24`` ...
        factor: Kind of error; None for none.
        level: Size of the error in the factor's unit.
        other: Second factor, None for none.
        other_level: Size of its error.
    """

    quality: str
    factor: str | None = None
    level: float = 0.0
    other: str | None = None
    other_level: float = 0.0


@dataclass(frozen=True, slots=True)
class Quantity:
    """Number with its values without each group of people, and on other draws of people.

    Attributes:
        value: Measured value.
        samples: (B,) of the bootstrap, the same draws for all quantities.
        left_out: (G,) values without each group of people; None for what only the bootstrap tells.
        people: Number of people of a rate; None for what is none, such as a difference.
    """

    value: float
    samples: Floats
    left_out: Floats | None = None
    people: int | None = None

    def __sub__(self, other: Quantity) -> Quantity:
        return self._with(other, np.subtract)

    def __truediv__(self, other: Quantity) -> Quantity:
        return self._with(other, np.divide)

    def _with(self, other: Quantity, operation: np.ufunc) -> Quantity:
        left = None
        if self.left_out is not None and other.left_out is not None:
            left = operation(self.left_out, other.left_out)
        return Quantity(float(operation(self.value, other.value)), operation(self.samples, other.samples), left)

    @property
    def interval(self) -> tuple[float, float]:
        """Interval of 95 %; ends of the bootstrap's may be infinite."""
        if self.left_out is not None:
            if self.people is not None:
                ends = interval(self.value, self.left_out, self.people)
            else:
                estimate = self._from_zero()
                ends = estimate.low, estimate.high
            if np.isfinite(ends).all():
                return ends
        low, high = np.quantile(self.samples, [0.025, 0.975], method="inverted_cdf")
        return float(low), float(high)

    @property
    def p_value(self) -> float:
        """Two-sided p-value of the value 0."""
        if self.left_out is not None and np.isfinite(self._from_zero().p_value):
            return self._from_zero().p_value
        fewer = min(np.count_nonzero(self.samples <= 0), np.count_nonzero(self.samples >= 0))
        return min(1.0, 2 * (int(fewer) + 1) / (len(self.samples) + 1))

    def _from_zero(self) -> Difference:
        left = self.samples[:0] if self.left_out is None else self.left_out
        return difference(0.0, self.value, np.zeros_like(left), left)

    @property
    def significant(self) -> bool:
        """Return whether the interval leaves 0 out."""
        low, high = self.interval
        return low > 0 or high < 0


@dataclass(frozen=True, slots=True)
class Sweep:
    """One model under all conditions.

    Attributes:
        name: Name of the model.
        description: Architecture, length of the embedding and input, in a few words.
        measured: Metrics of each condition by name.
    """

    name: str
    description: str
    measured: Mapping[Perturbation, Mapping[str, Quantity]]

    def value(self, condition: Perturbation, metric: str) -> Quantity:
        """A metric under a condition; errors of size 0 are none."""
        quality, factor, level, other, other_level = condition
        if other is not None and other_level == 0:
            other = None
        if factor is not None and level == 0:
            factor, level, other, other_level = other, other_level, None, 0.0
        return self.measured[Perturbation(quality, factor, level, other, other_level if other else 0.0)][metric]

    def drop(self, condition: Perturbation, metric: str) -> Quantity:
        """Cost of the error: the value of the same quality without it, minus that under the condition."""
        return self.value(Perturbation(condition.quality), metric) - self.value(condition, metric)

    def levels(self, quality: str, factor: str) -> list[float]:
        """Sizes of one factor alone, ascending, without 0."""
        return sorted(each.level for each in self.measured if each[:2] == (quality, factor) and each.other is None)


@dataclass(frozen=True, slots=True)
class Facts:
    """Origin of a report.

    Attributes:
        made: Time at which the last features were completed, or that of ``SOURCE_DATE_EPOCH``.
        version: Version of this package.
        command: Command that measures the same again; empty where none is known.
        files: Name and sha256 of the pairs and of each model.
    """

    made: datetime
    version: str
    command: str
    files: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Robustness:
    """All that was measured.

    Attributes:
        pairs: Path of the pair file.
        grid: Grid of the sweep.
        joint_maximum: ``scale``, ``degrees`` and ``shift`` of the joint error of level 1.
        counts: Numbers of pairs, genuine, impostors, bootstrap_replicates.
        sweeps: Sweeps, one for each model.
        notes: Notes on omissions, with the reason.
        facts: Provenance.
        norms: Responses of the norm to alignment errors, by the name of the model.
    """

    pairs: Path
    grid: SweepGrid
    joint_maximum: Mapping[str, float]
    counts: Mapping[str, int]
    sweeps: Sequence[Sweep]
    notes: Sequence[str] = field(default_factory=tuple)
    facts: Facts | None = None
    norms: Mapping[str, Sequence[NormResponse]] = field(default_factory=dict)

    @property
    def falsely_accepted(self) -> float | None:
        """Impostor pairs above the threshold of the first metric, on which it rests; None for one without a FAR."""
        _, separator, far = self.grid.metrics[0].partition("_at_far_")
        return self.counts["impostors"] * float(far) if separator else None

    @property
    def qualities(self) -> list[str]:
        """Names of the qualities."""
        return [quality_key(quality) for quality in self.grid.qualities]

    @property
    def factors(self) -> list[str]:
        """Kinds of error that were swept one at a time, or jointly."""
        return [factor for factor, option in LEVELS.items() if getattr(self.grid, option)]


def measure_robustness(
    models: Sequence[Model],
    pairs: Path,
    out: str | PathLike[str],
    grid: SweepGrid,
    *,
    batch_size: int | None = None,
    threads: int | None = None,
    command: str = "",
) -> Robustness:
    """Embed and measure every model under every condition.

    Features lie in ``{out}/features``, a folder for each model and quality; those that are complete are not made again.
    One model's features of one quality are read at a time.

    Args:
        models: Models, one to four, of different names.
        pairs: Path of a ``.bin`` file of labelled pairs.
        out: Folder of the results.
        grid: Grid of the sweep.
        batch_size: Number of images in one forward pass; by default as many as fit the device.
        threads: Number of threads of torch's arithmetic on the CPU.
        command: Command line, for the report.

    Raises:
        InputError: The pair file is malformed or has pairs of one kind only, a level is out of range, an embedding is
            not finite, embeddings do not distinguish images, there are too many models, or two of one name.
    """
    _check_models(models, grid)
    sweeps, counts, maximum, notes = [], {}, {}, []
    norms: dict[str, list[NormResponse]] = {}
    people = _people(pairs, grid.max_pairs)
    for number, model in enumerate(models, start=1):
        prefix = f"{number}/{len(models)} {model.name}"
        execution = EmbedOptions(batch_size or model.embedder.batch_size, threads)
        measured: dict[Perturbation, dict[str, Quantity]] = {}
        for part in grid.parts():
            folder = Path(out) / "features" / _slug(model) / part.name
            sweep = _PartSweep(model, pairs, people, folder, part, grid, execution, prefix)
            features = sweep.embed()
            same = features.arrays["same"]
            check_kinds(same, features)
            counts = {**pair_counts(same), "people": int(people.max()) + 1, "bootstrap_replicates": REPLICATES}
            maximum = features.index["protocol"]["options"]["joint_maximum"]
            for condition, quantities in sweep.measure(features).items():
                measured.setdefault(condition, quantities)  # undistorted images may be in several parts
            if part.aligned:
                norms.setdefault(model.name, []).extend(norm_responses(features))
                if grid.worst_case and isinstance(model.embedder.network, nn.Module):
                    measured |= sweep.measure_worst(features)
        if grid.worst_case and not isinstance(model.embedder.network, nn.Module):
            notes.append(f"No worst case of {model.name}: an ONNX model has no gradients.")
        sweeps.append(Sweep(model.name, _words(model), measured))
    facts = _facts(models, pairs, grid, Path(out) / "features", command)
    return Robustness(pairs, grid, maximum, counts, sweeps, notes, facts, norms)


def remaining_work(
    models: Sequence[Model], pairs: Path, out: str | PathLike[str], grid: SweepGrid, *, batch_size: int | None = None
) -> tuple[int, float]:
    """Estimate the images that `measure_robustness` has to embed, and their time, by a trial batch of each model.

    Returns:
        Number of images of all models together, without what lies in ``out``, and seconds; worst cases come on top.

    Raises:
        InputError: See `measure_robustness`.
    """
    _check_models(models, grid)
    rows: dict[str, int] = {}
    images, seconds = 0, 0.0
    for model in models:
        folder = Path(out) / "features" / _slug(model)
        todo = [part for part in grid.parts() if not (folder / part.name / INDEX).exists()]
        for part in todo:
            if part.name not in rows:
                spec = grid.spec(pairs, model.embedder.color, part)
                rows[part.name] = open_source(pairs, spec["options"], model.embedder.size).rows
        count = sum(rows[part.name] for part in todo)
        images += count
        if count:
            seconds += count * seconds_an_image(model.embedder, flip=grid.flip, batch_size=batch_size)
    return images, seconds


def _facts(models: Sequence[Model], pairs: Path, grid: SweepGrid, features: Path, command: str) -> Facts:
    """The report's origin; a second call on the same features gives the same."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch and not epoch.isdigit():
        raise InputError(f"SOURCE_DATE_EPOCH is {epoch!r}", expected="seconds since 1970")
    indices = [
        features / _slug(model) / f"{part.name}{ending}" / INDEX
        for model in models
        for part in grid.parts()
        for ending in ("", f"-{WORST}")
    ]
    stamps = [index.stat().st_mtime for index in indices if index.exists()]
    made = datetime.fromtimestamp(int(epoch) if epoch else int(max(stamps)), UTC)
    weights = [model.checkpoint["weights"] for model in models]
    files = [(pairs.name, sha256_file(pairs)), *((each["file"], each["sha256"]) for each in weights)]
    return Facts(made, __version__, command, files)


def _check_models(models: Sequence[Model], grid: SweepGrid) -> None:
    if not 1 <= len(models) <= MOST_MODELS:
        raise InputError(f"{len(models)} models", expected=f"1 to {MOST_MODELS}")
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{names.count(name)} models are called {name!r}", remedy="name them: NAME=PATH")
    if grid.worst_case and not any(isinstance(model.embedder.network, nn.Module) for model in models):
        raise InputError("the worst case needs gradients", expected="a checkpoint or a run, not an ONNX model")


def _slug(model: Model) -> str:
    name = re.sub(r"[^A-Za-z0-9]+", "-", model.name[:_NAME]).strip("-").lower() or "model"
    return f"{name}-{digest({key: model.checkpoint[key] for key in ('weights', 'input')}, 8)}"


def _words(model: Model) -> str:
    form, arch = model.checkpoint["input"], model.checkpoint["experiment"]["arch"]
    kind = "ONNX" if arch == "onnx" else arch
    if not isinstance(model.embedder.network, nn.Module) and arch != "onnx":
        kind = f"{arch} as ONNX"
    size, color, mean, std = (form[key] for key in ("size", "color", "mean", "std"))
    side = "×".join(map(str, form["crop"])) + f" of {size}×{size}" if "crop" in form else f"{size}×{size}"
    return f"{kind}, {model.embedder.dimension} features, {side} {color}, mean {mean:g}, std {std:g}"


@dataclass(frozen=True, slots=True)
class _PartSweep:
    """Sweep of one model over one part of the grid.

    Attributes:
        model: Model to measure.
        pairs: Path of the pair file.
        people: (N, 2) people of the pairs that are measured.
        folder: Folder of the features.
        part: Part of the grid.
        grid: Grid of the sweep.
        execution: Batch size and threads.
        prefix: Beginning of the texts of progress bars.
    """

    model: Model
    pairs: Path
    people: NDArray[np.int64]
    folder: Path
    part: GridPart
    grid: SweepGrid
    execution: EmbedOptions
    prefix: str

    def embed(self) -> StoredFeatures:
        """Embed all variants; do nothing where they are complete."""
        spec = self.grid.spec(self.pairs, self.model.embedder.color, self.part)
        named = {**spec, "name": f"{self.prefix}, {self.part.name}"}
        embed_with(self.model.checkpoint, lambda: self.model.embedder, named, self.folder, self.execution)
        return open_features(self.folder)

    def measure(self, features: StoredFeatures) -> dict[Perturbation, dict[str, Quantity]]:
        """Measure all variants of the sweep."""
        return self._measure_all(features, features.index["layout"]["variants"])

    def measure_worst(self, features: StoredFeatures) -> dict[Perturbation, dict[str, Quantity]]:
        """Embed and measure the adversary's errors, of the sizes of the joint ones."""
        count, levels = len(features.arrays["same"]), sorted(self.grid.joint)
        cases = WorstCases(None if self.part.quality == HIGH_QUALITY else int(self.part.quality), levels)
        worst = embed_worst_case(
            self.model.embedder,
            features,
            self.pairs,
            self.folder.with_name(f"{self.folder.name}-{WORST}"),
            cases,
            batch_size=self.execution.batch_size,
            description=f"worst case {self.prefix}",
        )
        variants = [
            {
                "quality": quality_key(self.part.quality),
                "factor": WORST,
                "level": level,
                "first": 0,
                "second": number * count,
            }
            for number, level in enumerate(levels, start=1)
        ]
        return self._measure_all(worst, variants)

    def _measure_all(
        self, features: StoredFeatures, variants: Sequence[Mapping[str, Any]]
    ) -> dict[Perturbation, dict[str, Quantity]]:
        same, names = features.arrays["same"], self.grid.metrics
        measured = {}
        for variant in track(variants, f"measure {self.prefix}"):
            metrics = measure_variant(features, variant, same, self.people, names)
            samples = _samples(variant_distances(features, variant, same), same, self.people, names)
            perturbation = Perturbation(
                variant["quality"], variant["factor"], variant["level"], *variant.get("other", (None, 0.0))
            )
            measured[perturbation] = {
                name: Quantity(metrics.values[name], samples[name], metrics.left_out.values[name], metrics.trials[name])
                for name in names
            }
        return measured


def _people(path: Path, most: int | None) -> NDArray[np.int64]:
    """People (N, 2) of the pairs of a file that are measured."""
    pairs = read_pairs(path)
    chosen = choose_pairs(pairs.same, most)
    people = read_pair_people(path, pairs.same)
    if people is not None:
        return numbered(people[chosen])
    return people_of_pairs(image_numbers(pairs.images)[chosen], pairs.same[chosen])


def _samples(
    distances: Floats, same: NDArray[np.bool_], people: NDArray[np.int64], names: Sequence[str]
) -> dict[str, Floats]:
    """Metrics of draws of people; draws without a genuine or without an impostor pair are none."""

    def statistic(drawn: Multiplicities) -> dict[str, Floats]:
        weights = drawn_pairs(drawn, people, same)
        usable = weights[:, same].any(axis=1) & weights[:, ~same].any(axis=1)
        return dict(variant_metrics(distances, same, names, weights[usable]))

    return samples(statistic, with_genuine_pairs(people, same))


def tolerated(sweep: Sweep, quality: str, factor: str, metric: str, points: float) -> Quantity:
    """The size of error at which the drop first exceeds ``points`` (of 100), in the factor's unit.

    Between two levels, and between none and the smallest, the drop is taken to grow linearly. Infinite where it exceeds
    ``points`` at no level. Of each draw of the pairs the same is asked, which gives the interval.
    """
    levels = sweep.levels(quality, factor)
    drops = [sweep.drop(Perturbation(quality, factor, level), metric) for level in levels]
    values = np.array([[0.0, *(drop.value for drop in drops)]])
    samples = np.stack([np.zeros_like(drops[0].samples), *(drop.samples for drop in drops)], axis=1)
    at = np.array([0.0, *levels])
    return Quantity(float(_crossing(at, values, points / 100)[0]), _crossing(at, samples, points / 100))


def _crossing(levels: Floats, drops: Floats, limit: float) -> Floats:
    """First crossing of ``limit`` by each of the curves ``drops`` (B, K), which begin at 0."""
    above = drops > limit
    after = np.maximum(above.argmax(axis=1), 1)
    rows = np.arange(len(drops))
    low, high = drops[rows, after - 1], drops[rows, after]
    rise = np.where(high > low, high - low, 1.0)
    crossings = levels[after - 1] + (limit - low) / rise * (levels[after] - levels[after - 1])
    return np.where(above.any(axis=1), crossings, np.inf)


def table(robustness: Robustness, points: float) -> Iterator[dict[str, Any]]:
    """All numbers as rows: values of every model, tolerated errors, differences of every two models.

    ``drop`` and its interval are in points (of 100), the relative drop is a fraction of the undistorted value, all else
    is a fraction in [0, 1] or a size of error. A row whose model is ``B - A`` has differences of values and of drops.
    """
    for sweep in robustness.sweeps:
        for condition, values in sweep.measured.items():
            for metric in values:
                yield _row(sweep, condition, metric)
    for sweep in robustness.sweeps:
        for quality in robustness.qualities:
            for factor in robustness.factors:
                for metric in robustness.grid.metrics:
                    tolerance = tolerated(sweep, quality, factor, metric, points)
                    name = f"tolerated_error_at_{points:g}_points_of_{metric}"
                    yield {**_place(sweep.name, Perturbation(quality, factor)), "metric": name, **_three("", tolerance)}
    for one, other in combinations(robustness.sweeps, 2):
        for condition in one.measured:
            if condition in other.measured:
                yield from (_difference(one, other, condition, metric) for metric in robustness.grid.metrics)


COLUMNS = (
    *("model", "quality", "factor", "level", "second_factor", "second_level", "metric", "value", "low", "high"),
    *("drop_points", "drop_points_low", "drop_points_high"),
    *("relative_drop", "relative_drop_low", "relative_drop_high", "significant"),
)


def _row(sweep: Sweep, condition: Perturbation, metric: str) -> dict[str, Any]:
    row = {**_place(sweep.name, condition), "metric": metric, **_three("", sweep.value(condition, metric))}
    if condition.factor is None:
        return row
    clean, drop = sweep.value(Perturbation(condition.quality), metric), sweep.drop(condition, metric)
    row |= {**_three("drop_points", drop, 100), "significant": drop.significant}
    if clean.value > 0 and clean.samples.min() > 0:
        row |= _three("relative_drop", drop / clean)
    return row


def _difference(one: Sweep, other: Sweep, condition: Perturbation, metric: str) -> dict[str, Any]:
    """A row of how ``other`` differs from ``one``: significant by the drop, or by the value where nothing is wrong."""
    value = other.value(condition, metric) - one.value(condition, metric)
    row = {**_place(f"{other.name} - {one.name}", condition), "metric": metric, **_three("", value)}
    if condition.factor is None:
        return {**row, "significant": value.significant}
    drop = other.drop(condition, metric) - one.drop(condition, metric)
    return {**row, **_three("drop_points", drop, 100), "significant": drop.significant}


def _place(model: str, condition: Perturbation) -> dict[str, Any]:
    keys = ("quality", "factor", "level", "second_factor", "second_level")
    columns = dict(zip(keys, condition, strict=True))
    if condition.other is None:
        columns |= {"second_factor": None, "second_level": None}
    return {"model": model, **columns}


def _three(name: str, quantity: Quantity, times: float = 1.0) -> dict[str, float]:
    low, high = quantity.interval
    names = (name, f"{name}_low", f"{name}_high") if name else ("value", "low", "high")
    return dict(zip(names, (times * quantity.value, times * low, times * high), strict=True))
