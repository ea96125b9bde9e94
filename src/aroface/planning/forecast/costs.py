"""Cost of a configuration before anything is submitted: device-hours, memory and disk of every training.

Time of one image of one device, in seconds, at ``D`` features and ``C`` classes:

    plain = 1 / rate + 6·D·(C − C of the rate) / S(fp32)        where the registry has a rate
    plain = 6·multiply_adds / S(precision) + 6·D·C / S(fp32)    elsewhere

with ``S`` the device's sustained floating-point operations a second (6 = two a multiply-add, one forward pass and a
backward pass of two), times the factor of the adversary. Several GPUs are taken to scale perfectly.

Memory of one device, in bytes, at ``P`` parameters, ``B`` images a step and ``N`` devices:

    12·P (weights, gradients, momentum) + 2·P (half-precision copies, under fp16 and bf16)
    + 12·D·ceil(C/N) (the classifier's shard: weights, gradients, momentum) + 8·D·B (gathered features, gradients)
    + 4·LOGIT_COPIES·B·K (logits) + activations·A + WORKSPACE (GPUs)

``K`` is ceil(C/N), but no more than the classes of a chunk; ``A`` is ceil(B/N), but no more than ``micro_batch``.

What a training measured replaces its estimate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aroface.datasets.formats.registry import FORMATS
from aroface.datasets.registry import REGISTRIES, read_benchmarks, read_datasets
from aroface.distributed.sharding import CLASSES_AT_ONCE
from aroface.embedding.alignment_sweep import number_of_variants
from aroface.embedding.protocols import PROTOCOLS
from aroface.errors import InputError
from aroface.files import read_json
from aroface.models.footprint_table import Footprint, find_footprint
from aroface.planning.config import Experiment
from aroface.planning.data_sources import DataSource
from aroface.planning.plan import Plan, PlannedBenchmark
from aroface.schemas import read_yaml, validate
from aroface.shipped import shipped
from aroface.training.lr_schedule import linear_scaling
from aroface.training.recipe import fitting_processes

THROUGHPUT = REGISTRIES / "throughput.yaml"
CPU = "cpu"
LOGIT_COPIES = 3
"""Matrices of logits that are held at once: cosines, probabilities, and the gradient of one of them."""
WORKSPACE = 3.5e9
"""Bytes of CUDA's context, of kernels' workspaces and of what the allocator keeps back: what insightface's report on
eight A100 (benchmarks/train/nvidia_a100.md) has beyond the other terms. With it, and with all logits of a shard at once
as there, the formula is within 1 % of 10.1 and 13.1 GB (IResNet-50 and -100, 1,024 images a step), 5 % below 16.4 GB
(2,048) and 11 % below 66.7 GB (10,240)."""
USABLE = 0.9
"""Share of a GPU's memory that a training is let fill by this estimate."""
BATCH_LOSS_FACTORS = {"symmetry": 3.0, "diversion": 4 / 3}
"""Time of a step with a batch loss that passes more images through the network: two with gradients, or one without."""
FACTOR_RATIO = 0.25
"""Share of the batch that the registry's factor of ``adversary_on: subset`` is about."""

_FLOAT = 4  # bytes
_FLOPS = 6  # of a multiply-add of the forward pass, in one training step
_RECORD_BYTES, _VARIANT_BYTES = 3_000, 1_800  # of a record, and of each variant of a sensitivity sweep


@dataclass(frozen=True, slots=True)
class Device:
    """Device of a training.

    Attributes:
        key: Key in ``throughput.yaml``.
        label: Printed name.
        memory: Bytes that a training may fill; None where no limit is known.
        flops: Sustained floating-point operations a second, by precision; of one thread where it is a CPU.
        assumed: True if the configuration leaves its type open.
    """

    key: str
    label: str
    memory: float | None
    flops: Mapping[str, float]
    assumed: bool

    @property
    def is_gpu(self) -> bool:
        """True if its hours are GPU-hours."""
        return self.key != CPU


@dataclass(frozen=True, slots=True)
class Training:
    """Cost of one experiment; all fields but ``runs`` are of one seed.

    Fields that depend on the number of images are None until it is known.

    Attributes:
        experiment: Method trained on a data set.
        recipe: Its resolved recipe.
        runs: Names of its runs, each with the device-hours that it took, if it is finished.
        images: Number of images of an epoch, whole batches only.
        steps: Number of steps of the optimiser.
        images_per_s: Images per second of one device, the adversary included.
        measured: True if that follows from a measured rate rather than from an assumption.
        hours: Device-hours.
        devices: Number of devices of one run.
        memory: Bytes of each device.
        fits_on: Smallest power of two of devices whose memory is enough; None if that is not known, or none is.
        weights: Bytes on disk.
        state: Bytes of all resumable states that are kept.
        features: Bytes of the features of all benchmarks.
        records: Bytes of all records.
    """

    experiment: Experiment
    recipe: Mapping[str, Any]
    runs: Mapping[str, float | None]
    images: int | None
    steps: int | None
    images_per_s: float | None
    measured: bool
    hours: float | None
    devices: int
    memory: float | None
    fits_on: int | None
    weights: float
    state: float | None
    features: float
    records: float

    @property
    def done(self) -> list[str]:
        """Its finished runs."""
        return [run for run, hours in self.runs.items() if hours is not None]

    @property
    def wall_hours(self) -> float | None:
        """Hours on the clock of one run."""
        return None if self.hours is None else self.hours / self.devices

    @property
    def disk(self) -> float:
        """Bytes of all its runs, finished or not."""
        return len(self.runs) * (self.weights + (self.state or 0) + self.features + self.records)

    @property
    def total_hours(self) -> float:
        """Device-hours of all its runs: measured of those that are finished, estimated of the others."""
        return sum(self.hours or 0 if hours is None else hours for hours in self.runs.values())


@dataclass(frozen=True)
class Costs:
    """Cost of a plan.

    Attributes:
        device: Device of each training.
        trainings: Costs by experiment.
        budget: GPU-hours that trainings still to be done may take; None for no limit.
        rows: Number of feature rows of each benchmark; None where the number of images is unknown yet.
        counts: Counts of each set, as far as they are known.
        throughput: Registry.
    """

    device: Device
    trainings: tuple[Training, ...]
    budget: float | None
    rows: Mapping[str, int | None]
    counts: Mapping[str, Mapping[str, int]]
    throughput: Mapping[str, Any]

    @property
    def uncounted(self) -> list[str]:
        """Benchmarks of which nobody knows the number of images yet."""
        return [name for name, number in self.rows.items() if number is None]

    @cached_property
    def unfinished(self) -> list[str]:
        """Names of the runs still to be trained."""
        return [run for training in self.trainings for run, hours in training.runs.items() if hours is None]

    @property
    def hours_done(self) -> float:
        """Device-hours that the finished runs took."""
        return sum(hours or 0 for training in self.trainings for hours in training.runs.values())

    @property
    def disk(self) -> float:
        """Bytes of all that the trainings and evaluations of the plan leave behind."""
        return sum(training.disk for training in self.trainings)

    def hours_of(self, runs: Iterable[str]) -> float:
        """Estimated device-hours of some runs."""
        return sum(self.training_of[run].hours or 0 for run in runs)

    @cached_property
    def training_of(self) -> dict[str, Training]:
        """The training of each run."""
        return {run: training for training in self.trainings for run in training.runs}

    def longest(self, runs: Iterable[str]) -> float:
        """Hours on the clock of the longest of some runs."""
        return max((self.training_of[run].wall_hours or 0 for run in runs), default=0)

    def over_budget(self, runs: Iterable[str]) -> bool:
        """True if some runs need more GPU-hours than the budget has; those of CPUs need none."""
        return self.budget is not None and self.device.is_gpu and self.hours_of(runs) > self.budget

    def check_budget(self, runs: Iterable[str] | None = None) -> None:
        """Refuse what the budget does not allow.

        Args:
            runs: Names of the runs to be trained; all unfinished ones by default.

        Raises:
            InputError: They need more GPU-hours than there are.
        """
        chosen = self.unfinished if runs is None else list(runs)
        if self.over_budget(chosen):
            trainings = "1 training needs" if len(chosen) == 1 else f"{len(chosen)} trainings need"
            raise InputError(
                f"{trainings} about {self.hours_of(chosen):,.0f} GPU-hours, budget_gpu_hours allows {self.budget:,g}",
                remedy="raise it or ask for less; no training was started",
            )


def plan_costs(plan: Plan, *, root: Path = Path()) -> Costs:
    """Work out what a plan costs.

    Args:
        plan: Names runs and benchmarks.
        root: Folder of the repository.

    Raises:
        InputError: ``throughput.yaml`` is malformed, or does not have the configured type of GPU.
    """
    known = shipped(root / THROUGHPUT)
    throughput = read_yaml(known)
    validate(throughput, "throughput", file=known)
    device = _device(plan, throughput)
    folder = root / REGISTRIES
    entries = {**read_datasets(folder / "datasets.yaml"), **read_benchmarks(folder / "benchmarks.yaml")}
    published = {key: entry.counts for key, entry in entries.items()}
    counts = {name: count(plan, source, published) for name, source in _sources(plan).items()}
    rows = {name: feature_rows(each.spec, counts[each.source.name]) for name, each in plan.benchmarks.items()}
    runs: dict[tuple[str, str, str], dict[str, float | None]] = {}
    for run in plan.runs.values():
        runs.setdefault(run.experiment.key, {})[run.name] = _hours_taken(plan, run.name)
    experiments = {run.experiment.key: run.experiment for run in plan.runs.values()}
    trainings = tuple(
        _training(experiment, experiment.recipe, runs[key], counts[experiment.dataset], device, throughput, plan, rows)
        for key, experiment in experiments.items()
        if experiment.recipe is not None
    )
    return Costs(device, trainings, plan.values["budget_gpu_hours"], rows, counts, throughput)


def adversary_factor(adversary: Mapping[str, Any], factors: Mapping[str, Any]) -> float:
    """Time of a step with this adversary against that of a plain one.

    Args:
        adversary: Adversary of a resolved recipe.
        factors: ``random``, ``all`` and ``subset`` of the registry; what the last two cost more than a plain step grows
            with the number of ascent steps, and that of a subset with its share of the batch.
    """
    if adversary["kind"] == "none":
        return 1.0
    if adversary["kind"] == "random":
        return float(factors["random"])
    steps = adversary.get("steps", 1)
    if adversary.get("adversary_on", "all") == "all":
        return float(1 + steps * (factors["all"] - 1))
    return float(1 + steps * (factors["subset"] - 1) * adversary["warped_ratio"] / FACTOR_RATIO)


def plain_seconds(
    recipe: Mapping[str, Any], classes: int, device: Device, rates: Iterable[Mapping[str, Any]]
) -> tuple[float, bool]:
    """Seconds that one device takes for one image in plain training, and whether that follows from a measured rate."""
    arch, precision, features = recipe["arch"], recipe["precision"], recipe["embedding_size"]
    threads = 1 if device.is_gpu else recipe["cpu_threads"]
    for rate in rates:
        if (rate["device"], rate["arch"], rate["precision"]) == (device.key, arch, precision):
            more = _FLOPS * features * (classes - rate["classes"]) / device.flops["fp32"]
            return max(1 / rate["images_per_s"] + more, 0.5 / rate["images_per_s"]) / threads, True
    backbone = _FLOPS * find_footprint(arch, features, precision).multiply_adds / device.flops[precision]
    return (backbone + _FLOPS * features * classes / device.flops["fp32"]) / threads, False


def device_memory(
    footprint: Footprint,
    recipe: Mapping[str, Any],
    classes: int,
    gpus: int,
    micro_batch: int | None = None,
    classes_at_once: int = CLASSES_AT_ONCE,
) -> float:
    """Bytes that a training needs on each GPU, or on the CPU for 0 GPUs, by the formula in the module's docstring."""
    devices = max(1, gpus)
    batch, features = recipe["batch_size"], recipe["embedding_size"]
    most = recipe.get("images_per_pass") or micro_batch or batch
    rows, images = -(-classes // devices), min(-(-batch // devices), most)
    parameters = footprint.parameters * (3 * _FLOAT + (0 if recipe["precision"] == "fp32" else 2))
    shard = 3 * _FLOAT * rows * features
    gathered = 2 * _FLOAT * features * batch
    logits = LOGIT_COPIES * _FLOAT * min(batch, images * devices) * min(rows, classes_at_once)
    activations = footprint.activation_bytes * images
    return float(parameters + shard + gathered + logits + activations + (WORKSPACE if gpus else 0))


def devices_needed(
    footprint: Footprint, recipe: Mapping[str, Any], classes: int, limit: float, micro_batch: int | None = None
) -> int | None:
    """The smallest power of two of devices that hold a training in ``limit`` bytes each; None if 64 do not.

    Devices that the training would not keep busy do not count.
    """
    most = fitting_processes(64, recipe["batch_size"], recipe.get("images_per_pass"))
    numbers = (2**power for power in range(most.bit_length()))
    return next((n for n in numbers if device_memory(footprint, recipe, classes, n, micro_batch) <= limit), None)


def feature_rows(spec: Mapping[str, Any], counts: Mapping[str, int]) -> int | None:
    """Rows of features that a benchmark has; None if what it holds is not known yet.

    Args:
        spec: Specification of the benchmark.
        counts: Counts of its data.
    """
    return PROTOCOLS[spec["protocol"]].feature_rows(spec["options"], counts)


def count(plan: Plan, source: DataSource, published: Mapping[str, Mapping[str, int]]) -> Mapping[str, int]:
    """Counts of a set from its manifest, else from its specification, else from its provider."""
    if source.manifest.exists():
        written = _mapping(source.manifest)
        if "counts" in written:
            return dict(written["counts"])
    if source.received:
        return published.get(source.name, {})
    for making in plan.sources.makings:
        if making.name == source.name and making.verb == "generate":
            return FORMATS[making.spec["kind"]].requested_counts(making.spec["spec"])
    return {}


def scaling_differs(recipe: Mapping[str, Any]) -> bool:
    """True if a recipe's learning rate differs from the one that linear scaling gives for its batch."""
    lr, rule = recipe["optimiser"]["lr"], linear_scaling(recipe["batch_size"])
    return not math.isclose(lr, rule, rel_tol=1e-6)


def _sources(plan: Plan) -> dict[str, DataSource]:
    sources = [run.source for run in plan.runs.values()]
    sources += [benchmark.source for benchmark in plan.benchmarks.values()]
    return {source.name: source for source in sources}


def _device(plan: Plan, throughput: Mapping[str, Any]) -> Device:
    training = plan.values["training"]
    key = training["gpu_type"] or throughput["default_device"]
    if training["device"] == CPU or not plan.values["resources"]["train"]["gpus"]:
        key = CPU
    if key not in throughput["devices"] or (key == CPU and training["gpu_type"] == CPU):
        known = ", ".join(each for each in throughput["devices"] if each != CPU)
        problem, remedy = f"unknown type {key!r}", f"or a new entry in {THROUGHPUT}"
        raise InputError(problem, file=plan.file, where="training.gpu_type", expected=f"one of {known}", remedy=remedy)
    entry = throughput["devices"][key]
    memory = None if entry["memory_gb"] is None else entry["memory_gb"] * 1e9 * USABLE
    flops = {precision: 1e12 * value for precision, value in entry["sustained_tflops"].items()}
    return Device(key, entry["label"], memory, flops, key != CPU and training["gpu_type"] is None)


def _training(
    experiment: Experiment,
    recipe: Mapping[str, Any],
    runs: Mapping[str, float | None],
    counts: Mapping[str, int],
    device: Device,
    throughput: Mapping[str, Any],
    plan: Plan,
    rows: Mapping[str, int | None],
) -> Training:
    footprint, devices = _footprint(recipe), plan.devices(experiment).gpus if device.is_gpu else 1
    evaluated = [each for each in plan.benchmarks.values() if each.evaluates(experiment)]
    disk = {
        "weights": float(_FLOAT * footprint.parameters),
        "features": float(sum(_FLOAT * recipe["embedding_size"] * (rows[each.name] or 0) for each in evaluated)),
        "records": float(sum(_record_bytes(each) for each in evaluated)),
    }
    if not counts.keys() >= {"images", "identities"}:
        return Training(
            experiment, recipe, runs, None, None, None, False, None, devices, None, None, state=None, **disk
        )
    classes, batch = counts["identities"], recipe["batch_size"]
    steps = counts["images"] // batch
    images = steps * batch
    seconds, measured = plain_seconds(recipe, classes, device, throughput["rates"])
    factor = adversary_factor(recipe["adversary"], throughput["adversary"]["gpu" if device.is_gpu else "cpu"])
    # Its passes come beside the adversary's.
    seconds *= factor + BATCH_LOSS_FACTORS.get((recipe.get("batch_loss") or {}).get("kind", ""), 1) - 1
    hours = recipe["epochs"] * images * seconds / 3600
    micro_batch = plan.values["training"]["micro_batch"]
    memory = device_memory(footprint, recipe, classes, devices if device.is_gpu else 0, micro_batch)
    fits_on = devices_needed(footprint, recipe, classes, device.memory, micro_batch) if device.memory else None
    trained = footprint.parameters + classes * recipe["embedding_size"]
    whole = recipe["epochs"] * steps
    states = min(plan.values["training"]["keep"], -(-whole // plan.values["training"]["save_every"]))
    state = float(states * 2 * _FLOAT * trained)  # weights and momentum
    return Training(
        experiment,
        recipe,
        runs,
        images,
        whole,
        1 / seconds,
        measured,
        hours,
        devices,
        memory,
        fits_on,
        state=state,
        **disk,
    )


def _footprint(recipe: Mapping[str, Any]) -> Footprint:
    return find_footprint(recipe["arch"], recipe["embedding_size"], recipe["precision"])


def _record_bytes(benchmark: PlannedBenchmark) -> int:
    if benchmark.spec["protocol"] != "sensitivity":
        return _RECORD_BYTES
    return _VARIANT_BYTES * number_of_variants(benchmark.spec["options"])


def _hours_taken(plan: Plan, run: str) -> float | None:
    """Device-hours that a finished run took; 0 where it does not say; None if it is not finished."""
    checkpoint = plan.results.run(run).checkpoint
    if not checkpoint.exists():
        return None
    return float(_mapping(checkpoint).get("cost", {}).get("device_hours", 0))


def _mapping(path: Path) -> dict[str, Any]:
    value = read_json(path)
    return value if isinstance(value, dict) else {}
